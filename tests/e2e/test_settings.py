# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Changed settings, and SAs that a script made, under traffic: what hosts hold is replaced without a lost
packet, and what belongs to others stays. The tests build on each other, in this order.
"""

from __future__ import annotations

import hashlib
import pathlib
import re
import typing as t

import pytest

from ansible_collections.ipsec.manual.tests.e2e.flows import PROTOCOLS, Line, Loss, address, flowing, line, parted
from ansible_collections.ipsec.manual.tests.e2e.harness import SECRET_FILE, Host, Project, clear, lab, on_the_wire
from ansible_collections.ipsec.manual.tests.e2e.traffic import MARK

NAME = "e2e-settings"
RATE = 50  # packets a second, each way, on each of the flows
MARKED = f"{MARK:#x}/0xf"
MARKED_WIDE = f"{MARK & 3:#x}/0x3"  # what has the other mark, has this one, too
WINDOW: dict[str, t.Any] = {"replay_window": 64, "esn": True}


class Case(t.NamedTuple):
    """A connection, its reqid before and after the run, and what made what is there before, if not the role."""

    line: Line
    before: int
    after: int
    scripted: str = ""
    marks: tuple[str, str] = ("", "")  # before and after
    moved: Line | None = None  # where the first host has its address after the run
    protocols: str = ""  # after the run, if others than before

    @property
    def name(self) -> str:
        return self.line.connection["name"]

    @property
    def pair(self) -> tuple[str, str]:
        """The addresses of the SAs before the run."""
        return self.between(False)

    def between(self, changed: bool) -> tuple[str, str]:
        ends = self.connection(changed)["endpoints"].values()
        one, other = (end["address"] if isinstance(end, dict) else end for end in ends)
        return one, other

    @property
    def lines(self) -> list[Line]:
        return [self.line, *([self.moved] if self.moved else [])]

    def connection(self, changed: bool) -> dict[str, t.Any]:
        found = {**self.line.connection, "reqid": self.after if changed else self.before}
        mark = self.marks[changed]
        if changed and self.moved:
            first = next(iter(found["endpoints"]))
            own, there = found["endpoints"][first], self.moved.connection["endpoints"][first]
            moved = {**own, "address": there["address"]} if isinstance(own, dict) else there
            found["endpoints"] = {**found["endpoints"], first: moved}
        if changed and self.protocols:
            found["associations"] = PROTOCOLS[self.protocols]
        return {**found, "mark": mark} if mark else found


def case(name: str, made: Line, before: int, after: int, *more: t.Any) -> Case:
    return Case(made._replace(connection={**made.connection, "name": name}), before, after, *more)


CASES = (
    case("from-none", line(30, "esp", 4, "transport"), 0, 7),
    case("to-another", line(31, "esp", 6, "tunnel", **WINDOW), 7, 9),
    case("to-none", line(32, "both", 4, "transport"), 9, 0),
    case("script-none", line(33, "esp", 4, "transport"), 0, 0, "ip"),
    case("script-other", line(34, "esp", 4, "transport"), 77, 0, "ip"),
    case("setkey-none", line(47, "esp", 6, "transport"), 0, 0, "setkey"),
    case("setkey-other", line(48, "esp", 4, "tunnel"), 78, 0, "setkey"),
    case("ipseckeys", line(49, "esp", 4, "transport"), 0, 0, "ipseckeys"),
    case("to-mark", line(35, "esp", 4, "transport"), 0, 0, "", ("", MARKED)),
    case("from-mark", line(36, "esp", 6, "tunnel"), 0, 0, "", (MARKED, "")),
    case("to-wider-mark", line(39, "esp", 4, "transport"), 0, 0, "", (MARKED, MARKED_WIDE)),
    case("to-narrow-mark", line(40, "esp", 6, "transport"), 5, 5, "", (MARKED_WIDE, MARKED)),
    case("esp-to-both", line(41, "esp", 4, "transport"), 0, 7, "", ("", ""), None, "both"),
    case("both-to-esp", line(42, "both", 6, "transport"), 7, 9, "", ("", ""), None, "esp"),
    case("ah-to-both", line(43, "ah", 4, "transport"), 7, 0, "", ("", ""), None, "both"),
    case("tunnel-to-both", line(44, "esp", 4, "tunnel"), 0, 7, "", ("", ""), None, "both"),
    case("tunnel-to-esp", line(45, "both", 4, "tunnel"), 7, 9, "", ("", ""), None, "esp"),
    case("moves-renames", line(46, "esp", 4, "tunnel"), 5, 6, "", ("", ""), line(59, "esp", 4, "tunnel")),
    case("tunnel-moves", line(37, "esp", 4, "tunnel"), 0, 0, "", ("", ""), line(57, "esp", 4, "tunnel")),
    case("host-moves", line(38, "esp", 4, "transport"), 0, 0, "", ("", ""), line(58, "esp", 4, "transport")),
)
CASES_BY_NAME = {row.name: row for row in CASES}
FLOWS = {row.name: row.line.flow for row in CASES}
# With the new address, whose traffic is in clear text before.
MOVED = CASES[-1].between(True)
FLOWS["host-moves"] = [[host, there] for (host, dummy), there in zip(CASES[-1].line.flow, MOVED)]
WIDER = line(60, "esp", 4, "tunnel")  # its networks are added to another tunnel
FOREIGN_REQID = 4242
STRANGER = "192.0.2.9"
# Nothing is loaded at boot that no policy uses.
FOR_STRANGER = [
    {
        "direction": "out",
        "selector": {"source": end, "destination": STRANGER},
        "templates": [{"protocol": "esp", "mode": "transport"}],
    }
    for end in CASES_BY_NAME["ipseckeys"].pair
]
BOOT = {"rotate_boot": True, "boot_service_manager": "sysvinit", "rotate_boot_policies": FOR_STRANGER}
SETKEY = pathlib.Path(__file__).with_name("setkey.py")
# What arrives has the mark of everything that is sent here, as rules of a firewall would give it.
INGRESS = "tc qdisc add dev data0 clsact && tc filter add dev data0 ingress matchall action skbedit mark" f" {MARK}"


@pytest.fixture(scope="module", name="hosts")
def own_lab() -> t.Iterator[dict[str, Host]]:
    with lab(NAME, ("enigma", "partym")) as hosts:
        address(hosts, [found for row in CASES for found in row.lines])
        for host in hosts.values():
            host.run("sh", "-c", INGRESS)
        yield hosts


@pytest.fixture(scope="module", name="project")
def keyed_project(hosts: dict[str, Host], tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder: pathlib.Path = tmp_path_factory.mktemp("settings")
    project = Project(folder, NAME)
    project.variables = dict(BOOT)
    project.connections = [row.connection(False) for row in CASES if not row.scripted]
    project.run_well()
    for row in CASES:
        if row.scripted:
            script(hosts, row)
    return project


def script(hosts: dict[str, Host], row: Case) -> None:
    """Key two hosts by hand, with an SA of somebody else beside each."""
    for own, host in zip(row.pair, hosts.values()):
        SCRIPTS[row.scripted](host, row, own)
        for number, ends in enumerate((row.pair, row.pair[::-1]), 0x2001):
            add(host, ends, number, FOREIGN_REQID)


def key(number: int, ends: tuple[str, str], bits: int) -> str:
    return hashlib.sha256(f"{number} {ends}".encode()).hexdigest()[: bits // 4]


def add(host: Host, ends: tuple[str, str], spi: int, reqid: int) -> None:
    host.run(
        *("ip", "xfrm", "state", "add", "src", ends[0], "dst", ends[1], "proto", "esp"),
        *("spi", str(spi), "reqid", str(reqid), "mode", "transport"),
        *("enc", "cbc(aes)", f"0x{key(1, ends, 256)}", "auth-trunc", "hmac(sha256)", f"0x{key(2, ends, 256)}", "128"),
    )


def by_ip(host: Host, row: Case, own: str) -> None:
    for number, ends in enumerate((row.pair, row.pair[::-1]), 0x1001):
        add(host, ends, number, row.before)
    (peer,) = set(row.pair) - {own}
    for direction, source, destination in (("out", own, peer), ("in", peer, own)):
        template = f"tmpl proto esp reqid {row.before} mode transport"
        host.ip(f"xfrm policy add src {source}/32 dst {destination}/32 dir {direction} {template}")


def by_setkey(host: Host, row: Case, own: str) -> None:
    ways = [row.pair, row.pair[::-1]]
    networks = dict(zip(row.pair, (end for dummy, end in row.line.flow)))
    mode, level = row.line.connection["mode"], f"unique:{row.before}" if row.before else "require"
    lines = []
    for number, ends in enumerate(ways, 0x1001):
        keys = f"-E rijndael-cbc 0x{key(1, ends, 128)} -A hmac-sha1 0x{key(2, ends, 160)}"
        inner = " ".join(f"{networks[end]}/{128 if ':' in end else 32}" for end in ends)
        outer = "-".join(ends) if mode == "tunnel" else ""
        direction = "out" if own == ends[0] else "in"
        lines += [
            f"add {ends[0]} {ends[1]} esp {number} -m {mode} -u {row.before} {keys};",
            f"spdadd {inner} any -P {direction} ipsec esp/{mode}/{outer}/{level};",
        ]
    host.run("sh", "-c", 'printf "%s\\n" "$2" | /usr/bin/python3 -BIS "$1"', "sh", str(SETKEY), "\n".join(lines))


def by_file(host: Host, row: Case, own: str) -> None:
    """Into the file, beside what is in it, and into the kernel, with a peer that nobody else knows."""
    ways = [*enumerate((row.pair, row.pair[::-1]), 0x1001), (0x1003, (own, STRANGER))]
    text = "\n".join(
        f"add esp spi 0x{number:08x} src {ends[0]} dst {ends[1]} encr_alg aes encrkey {key(1, ends, 256)}"
        f" auth_alg sha512 authkey {key(2, ends, 256)}{key(3, ends, 256)}"
        for number, ends in ways
    )
    load = 'umask 077; printf "%s\\n" "$2" >/root/keys; cat /root/keys >>"$1"; ipseckey -f /root/keys; rm /root/keys'
    host.run("sh", "-c", load, "sh", SECRET_FILE, text)
    (peer,) = set(row.pair) - {own}
    for direction, source, destination in (("out", own, peer), ("in", peer, own)):
        host.ip(f"xfrm policy add src {source} dst {destination} dir {direction} tmpl proto esp mode transport")


SCRIPTS = {"ip": by_ip, "setkey": by_setkey, "ipseckeys": by_file}


def reqids(host: Host, row: Case) -> set[int]:
    """The reqids of the SAs between the addresses of a connection, but those of somebody else."""
    return {sa.reqid for sa in host.sas(*row.pair)} - {FOREIGN_REQID}


def shown(losses: dict[str, Loss]) -> str:
    return "".join(
        f"{name:<14}{row.sent:>7} sent {row.lost:>5} lost {row.gap:>8.1f} ms\n" for name, row in losses.items()
    )


def test_a_file_that_the_role_did_not_write_is_as_before_after_a_run_that_went_back(
    hosts: dict[str, Host], project: Project
) -> None:
    row = CASES_BY_NAME["ipseckeys"]

    def held() -> list[tuple[set[tuple[str, str]], set[str]]]:
        return [
            (set(re.findall(r"spi (\S+) .* encrkey (\S+)", host.file())), host.spis(*row.pair))
            for host in hosts.values()
        ]

    before = held()
    assert all({"0x00001001", "0x00001002"} <= {spi for spi, dummy in filed} & spis for filed, spis in before)
    others, project.connections = project.connections, [*project.connections, row.connection(True)]
    with parted(NAME, row.pair):
        done = project.run_badly(rotate_only=[row.name])
    project.connections = others
    assert "what it held before this run" in done.output
    assert held() == before


def test_settings_change_and_scripts_are_replaced_without_a_lost_packet(
    hosts: dict[str, Host], project: Project
) -> None:
    assert all(reqids(host, row) == {row.before} for host in hosts.values() for row in CASES)
    project.connections = [
        {**row.connection(True), **({"replaces_reqid": row.before} if row.scripted and row.before else {})}
        for row in CASES
    ]
    watched = [
        row.pair
        for row in CASES
        if row.name in ("from-none", "script-none", "script-other", "setkey-none", "ipseckeys")
    ]
    # What is inside a tunnel is never seen on the wire.
    tunnels = [row.line.flow for row in CASES if row.name in ("tunnel-moves", "setkey-other")]
    watched += [(one[1], other[1]) for one, other in tunnels]
    with on_the_wire(NAME, *watched) as seen, flowing(list(hosts.values()), FLOWS, RATE) as losses:
        done = project.run_well()
    print(shown(losses))
    assert "with a gap" not in done.output
    for row in losses.values():
        assert row.sent > 1000 and row.streamed > 0
        assert (row.lost, row.duplicated, row.breaks) == (0, 0, []), shown(losses)
    assert len(seen) > 1000 and clear(seen) == []


def test_only_the_new_sas_and_those_of_others_are_left(hosts: dict[str, Host], project: Project) -> None:
    for host in hosts.values():
        for row in CASES:
            found = host.sas(*row.between(True))
            assert not row.moved or not host.sas(*row.pair)
            assert {sa.spi for sa in found if sa.reqid != FOREIGN_REQID} == project.spis(row.name)
            assert {sa.reqid for sa in found} - {FOREIGN_REQID} == {row.after}
            assert sum(sa.reqid == FOREIGN_REQID for sa in found) == (2 if row.scripted else 0)
        (own,) = (end for end in CASES_BY_NAME["ipseckeys"].pair if host.ip(f"-o addr show to {end}"))
        assert host.spis(own, STRANGER) == {"0x00001003"} and f"dst {STRANGER}" in host.file()
        assert host.file().count("0x00001001") + host.file().count("0x00001002") == 0
        assert project.run_well().changed()[host.name] == 0


def test_algorithms_windows_selectors_and_protocols_change_without_a_lost_packet(
    hosts: dict[str, Host], project: Project
) -> None:
    """What concerns an SA alone, or policies alone. The tunnel that gets networks goes on carrying those it had."""
    stronger = {"authentication_algorithm": "hmac-sha512"}
    more: dict[str, dict[str, t.Any]] = {
        "from-none": {"associations": [{**PROTOCOLS["esp"][0], **stronger}]},
        "esp-to-both": {"associations": [{**row, **stronger} for row in PROTOCOLS["both"]]},
        "to-another": {"associations": [{**PROTOCOLS["esp"][0], "replay_window": 128, "esn": False}]},
        "to-none": {"upper_protocol": "udp"},
        # AH has become both in an earlier run, and becomes ESP alone now.
        "ah-to-both": {"associations": PROTOCOLS["esp"], "reqid": 11},
        "tunnel-to-esp": {"endpoints": widened(next(row for row in CASES if row.name == "tunnel-to-esp"))},
    }
    address(hosts, [WIDER])
    project.connections = [{**found, **more.get(found["name"], {})} for found in project.connections]
    with flowing(list(hosts.values()), {name: FLOWS[name] for name in more}, RATE) as losses:
        done = project.run_well()
    print(shown(losses))
    assert "with a gap" not in done.output
    said = " ".join(done.output.split())
    assert "connection tunnel-to-esp: traffic between networks that its tunnel does not carry yet pauses" in said
    assert said.count("does not carry yet") == 1
    for row in losses.values():
        assert row.sent > 1000 and row.streamed > 0
        assert (row.lost, row.duplicated, row.breaks) == (0, 0, []), shown(losses)
    (dummy, there), (dummy, here) = WIDER.flow
    assert hosts["partym"].pings(there, here)


def widened(row: Case) -> dict[str, t.Any]:
    """The endpoints of a tunnel, with the networks of another one, too."""
    ends, others = row.line.connection["endpoints"], WIDER.connection["endpoints"]
    return {host: {**end, "networks": end["networks"] + others[host]["networks"]} for host, end in ends.items()}


def test_hosts_talk_after_a_reboot(hosts: dict[str, Host]) -> None:
    hosts["enigma"].fault("reboot")
    address({"enigma": hosts["enigma"]}, [found for row in CASES for found in row.lines])
    # Anti-replay windows need new keys after a reboot, and ping gives its packets no mark.
    without = [row for row in CASES if row.name != "to-another" and not any(row.marks) and not row.moved]
    ends = {row.name: [end for dummy, end in row.line.flow] for row in without}
    assert [name for name, (there, here) in ends.items() if not hosts["partym"].pings(there, here)] == []
