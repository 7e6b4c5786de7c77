# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules, each in a separate process, with the kernel and the file system, checked by ip(8) and stat(2)."""

from __future__ import annotations

import functools
import importlib
import json
import os
import pkgutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import traceback
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible.module_utils._internal._json import _profiles
from ansible.module_utils.common.parameters import PASS_VARS
from ansible.module_utils.testing import patch_module_args

from ansible_collections.ipsec.manual.plugins.module_utils import _core
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import SecurityAssociation
from ansible_collections.ipsec.manual.plugins.module_utils._core.text.language import render
from ansible_collections.ipsec.manual.plugins.plugin_utils._gate import admit
from ansible_collections.ipsec.manual.tests.kernel import witness

MODULES = "ansible_collections.ipsec.manual.plugins.modules"

# Added to results by Ansible, mostly if a result has a path.
BY_ANSIBLE = {
    "changed",
    "diff",
    "warnings",
    "deprecations",
    "invocation",
    "gid",
    "group",
    "secontext",
    "size",
    "state",
    "uid",
}
# Since ansible-core 2.20 the arguments are in the result only on request.
INVOCATION = {"_ansible_inject_invocation": True} if "inject_invocation" in PASS_VARS else {}

# Otherwise imported on demand, when a child that is not root may be unable to read it.
for package in (_profiles, _core):
    for late in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(late.name)
for standard in ("hashlib", "hmac"):
    importlib.import_module(standard)

# Imported once, since an emulated kernel takes long for it.
MAIN: dict[str, t.Callable[[], None]] = {
    name: importlib.import_module(f"{MODULES}.{name}").main
    for name in (
        "ipsec_audit",
        "ipsec_policy",
        "ipsec_policy_info",
        "ipsec_preflight",
        "ipsec_probe",
        "ipsec_sa",
        "ipsec_sa_info",
        "ipsec_sadb",
        "ipsec_status",
        "ipseckeys_file",
    )
}
NOBODY = 65534

ENCRYPTION_KEY = "".join(f"5ec4e7{number:02x}" for number in range(1, 9))
AUTHENTICATION_KEY = "".join(f"5ec4e7{number:02x}" for number in range(17, 25))
OTHER_KEY = "".join(f"5ec4e7{number:02x}" for number in range(33, 41))

Arguments = t.Dict[str, t.Any]

ESP: Arguments = {
    "protocol": "esp",
    "spi": "0x8bcd1407",
    "source": "192.0.2.1",
    "destination": "192.0.2.2",
    "encryption_algorithm": "aes-cbc",
    "encryption_key": ENCRYPTION_KEY,
    "authentication_algorithm": "hmac-sha256",
    "authentication_key": AUTHENTICATION_KEY,
}
AH: Arguments = {
    "protocol": "ah",
    "spi": "0x8bcd1407",
    "source": "2001:db8::1",
    "destination": "2001:db8::2",
    "authentication_algorithm": "hmac-sha256",
    "authentication_key": AUTHENTICATION_KEY,
}


def run(
    module: str,
    check: bool = False,
    user: int = 0,
    meanwhile: t.Callable[[int], None] = lambda process: None,
    **arguments: t.Any,
) -> Arguments:
    """The module's result, from a child process that shares this one's network namespace; its output holds no key.

    ``meanwhile`` is called with the child's process id.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        sys.settrace(None)  # what coverage sees here would be lost with this process
        os.dup2(writing, 1)
        os.dup2(writing, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        try:
            os.setgid(user)
            os.setuid(user)
            with patch_module_args({**arguments, "_ansible_check_mode": check, "_ansible_diff": True, **INVOCATION}):
                MAIN[module]()
        except SystemExit:
            pass
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)
    os.close(writing)
    meanwhile(child)
    with os.fdopen(reading) as file:
        output = file.read()
    os.waitpid(child, 0)
    assert "5ec4e7" not in output.lower()
    try:
        result: Arguments = json.loads(output)
    except ValueError:
        raise AssertionError(output) from None
    if not result.get("failed"):
        expect_documented(module, result)
    return result


def expect_documented(module: str, result: Arguments) -> None:
    """Check that RETURN documents all returned values, at every documented depth, that values
    "always" returned are there, and that the controller accepts the answer unchanged.
    """
    given = {name: value for name, value in result.items() if name not in BY_ANSIBLE}
    admitted = admit(module, result)
    assert {name: admitted.get(name) for name in given} == given, admitted
    rows = returned(module)
    assert sorted(set(given) - set(rows)) == [], f"{module} returns what its documentation lacks"
    assert [name for name, row in rows.items() if row["returned"] in ("always", "success") and name not in given] == []
    for name, value in given.items():
        contains = rows[name].get("contains")
        for part in (value if isinstance(value, list) else [value]) if contains else ():
            assert sorted(set(part) - set(contains)) == [], f"{module}: {name}"
            assert [
                inner for inner, row in contains.items() if row["returned"] == "always" and inner not in part
            ] == [], f"{module}: {name}"


@functools.lru_cache(maxsize=None)
def returned(module: str) -> Arguments:
    return t.cast(Arguments, yaml.safe_load(importlib.import_module(f"{MODULES}.{module}").RETURN))


def expect_once(module: str, **arguments: t.Any) -> Arguments:
    """Run in check mode, for real, in check mode, for real: a change, the same change, none, none.
    Returns the result of the second.
    """
    before = everything()
    predicted = run(module, check=True, **arguments)
    assert everything() == before, "check mode changed something"
    done = run(module, **arguments)
    after = everything()
    repeated = [run(module, check=check, **arguments) for check in (True, False)]
    assert not any(result.get("failed") for result in (predicted, done, *repeated)), (predicted, done, repeated)
    assert [result["changed"] for result in (predicted, done, *repeated)] == [True, True, False, False]
    assert predicted["diff"] == done["diff"]
    assert all(result["diff"]["before"] == result["diff"]["after"] for result in repeated)
    assert everything() == after != before
    return done


def everything() -> tuple[t.Any, ...]:
    """The SADB, the SPD and the files."""
    files = [
        (path, path.lstat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in sorted(DIRECTORY.rglob("*"))
    ]
    return (witness.run("ip", "xfrm", "state"), witness.attributes(), witness.run("ip", "xfrm", "policy"), files)


def only_state() -> str:
    """The output of ip(8) about the only SA."""
    states = list(witness.states().values())
    assert len(states) == 1
    return states[0]


DIRECTORY = Path(tempfile.mkdtemp(prefix="ipsec-manual-", dir="/run"))


@pytest.fixture(autouse=True)
def clean_directory() -> t.Iterator[None]:
    yield
    for path in sorted(DIRECTORY.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


@pytest.fixture(scope="module", autouse=True)
def directory() -> t.Iterator[None]:
    yield
    DIRECTORY.rmdir()


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (
            ESP,
            [
                "src 192.0.2.1 dst 192.0.2.2",
                "mode transport",
                f"auth-trunc hmac(sha256) 0x{AUTHENTICATION_KEY} (256 bits) 128",
                f"enc cbc(aes) 0x{ENCRYPTION_KEY}",
            ],
        ),
        (
            {**AH, "mode": "tunnel"},
            ["src 2001:db8::1 dst 2001:db8::2", "proto ah", "mode tunnel", f"0x{AUTHENTICATION_KEY}"],
        ),
        (
            {**ESP, "source": "2001:db8::1", "destination": "2001:db8::2", "mode": "tunnel"},
            ["dst 2001:db8::2", "proto esp", "mode tunnel"],
        ),
        (
            {**AH, "source": "192.0.2.1", "destination": "192.0.2.2", "icv_bits": 96},
            ["proto ah", "mode transport", "(256 bits) 96"],
        ),
        (
            {**ESP, "replay_window": 128, "esn": True, "reqid": 7, "mark": "0x10/0xff", "if_id": 3},
            ["reqid 7", "flag esn", "mark 0x10/0xff", "if_id 0x3", "replay_window 128"],
        ),
        (
            {
                **ESP,
                "replay_window": 32,
                "lifetimes": {
                    "soft_packets": 900,
                    "hard_packets": 1000,
                    "hard_bytes": 1 << 33,
                    "soft_addtime": 60,
                    "hard_usetime": 90,
                },
            },
            [
                "replay-window 32",
                "soft 900(packets), hard 1000(packets)",
                "hard 8589934592(bytes)",
                "expire add: soft 60(sec)",
                "hard 90(sec)",
            ],
        ),
        (
            {**ESP, "encapsulation": {"source_port": 4501, "nat_remote": "10.0.0.1"}},
            ["encap type espinudp sport 4501 dport 4500 addr 10.0.0.1"],
        ),
        (
            {
                **ESP,
                "mode": "tunnel",
                "selector": {
                    "source": "10.1.0.0/16",
                    "destination": "10.2.0.0/16",
                    "protocol": "udp",
                    "destination_port": 53,
                },
            },
            ["sel src 10.1.0.0/16 dst 10.2.0.0/16 proto udp dport 53"],
        ),
        (
            {
                "protocol": "esp",
                "spi": "0x8bcd1407",
                "destination": "192.0.2.2",
                "encryption_algorithm": "3des",
                "encryption_key": OTHER_KEY[:48],
            },
            ["src 0.0.0.0 dst 192.0.2.2", "enc cbc(des3_ede)"],
        ),
    ],
)
def test_ipsec_sa_adds_and_removes(arguments: Arguments, shown: list[str]) -> None:
    expect_once("ipsec_sa", **arguments)
    text = only_state()
    for part in shown:
        assert part in text
    expect_once("ipsec_sa", **arguments, state="absent")
    assert witness.states() == {}


@pytest.mark.parametrize(
    ("change", "fields", "shown"),
    [
        ({"encryption_key": OTHER_KEY}, ["encryption_key"], f"0x{OTHER_KEY}"),
        ({"source": "192.0.2.9"}, ["source"], "src 192.0.2.9"),
        ({"mode": "tunnel"}, ["mode"], "mode tunnel"),
        ({"replay_window": 64, "reqid": 5}, ["replay_window", "reqid"], "reqid 5"),
    ],
)
def test_ipsec_sa_replaces_what_has_the_identity(change: Arguments, fields: list[str], shown: str) -> None:
    run("ipsec_sa", **ESP)
    done = expect_once("ipsec_sa", **{**ESP, **change})
    assert done["differences"] == fields
    text = only_state()
    assert shown in text


def test_ipsec_sa_removes_only_the_named_sa_of_another_program() -> None:
    for spi in ("0x8bcd1407", "0x8bcd1408"):
        witness.ip(f"xfrm state add dst 192.0.2.2 proto esp spi {spi} reqid 9 enc cbc(aes) 0x{OTHER_KEY}")
    expect_once("ipsec_sa", protocol="esp", spi="0x8bcd1407", destination="192.0.2.2", state="absent")
    assert list(witness.states()) == [("esp", 0x8BCD1408)]


def test_ipsec_sa_knows_a_mark_as_part_of_the_identity() -> None:
    run("ipsec_sa", **ESP, mark="0x1")
    run("ipsec_sa", **{**ESP, "encryption_key": OTHER_KEY, "authentication_key": OTHER_KEY[2:] + "00"}, mark="0x2")
    assert witness.state_text().count("proto esp") == 2
    assert run(
        "ipsec_sa", protocol="esp", spi="0x8bcd1407", destination="192.0.2.2", mark="1/0xffffffff", state="absent"
    )["changed"]
    text = only_state()
    assert "mark 0x2" in text


@pytest.mark.parametrize("spi", ["0x1", "0xff"])
def test_ipsec_sa_removes_what_has_a_reserved_spi(spi: str) -> None:
    witness.ip(f"xfrm state add dst 192.0.2.2 proto esp spi {spi} enc cbc(aes) 0x{OTHER_KEY}")
    assert run("ipsec_sa", **{**ESP, "spi": spi})["failed"]
    expect_once("ipsec_sa", protocol="esp", spi=spi, destination="192.0.2.2", state="absent")
    assert witness.states() == {}


def test_ipsec_sa_marks_and_pads_what_goes_out() -> None:
    options = {**ESP, "mode": "tunnel", "output_mark": "0x10/0xff", "tfc_padding": 1400}
    done = expect_once("ipsec_sa", **options)
    assert (done["sa"]["output_mark"], done["sa"]["tfc_padding"]) == ("0x10/0xff", 1400)
    shown = witness.attributes()[0x8BCD1407]
    assert [int.from_bytes(shown[kind], sys.byteorder) for kind in (29, 30, 22)] == [0x10, 0xFF, 1400]
    (reported,) = run("ipsec_sa_info")["sas"]
    assert (reported["output_mark"], reported["tfc_padding"], reported["nat_keepalive"], reported["flags"]) == (
        "0x10/0xff",
        1400,
        0,
        [],
    )
    assert expect_once("ipsec_sa", **{**options, "output_mark": "0x11/0xff"})["differences"] == ["output_mark"]
    assert expect_once("ipsec_sa", **ESP, mode="tunnel")["differences"] == ["output_mark", "tfc_padding"]


def test_ipsec_sa_sends_nat_keepalives_where_the_kernel_can() -> None:
    options = {**ESP, "encapsulation": {}, "direction": "outbound", "nat_keepalive": 20}
    if not witness.knows_nat_keepalive():
        for check in (True, False):
            refused = run("ipsec_sa", check=check, **options)
            assert (
                refused["failed"]
                and refused["msg"]
                == "nat_keepalive: this kernel does not support it. Remove it, or use Linux 6.11 or later."
            )
        assert witness.states() == {}
        return
    assert expect_once("ipsec_sa", **options)["sa"]["nat_keepalive"] == 20
    assert witness.attributes()[0x8BCD1407][34] == (20).to_bytes(4, sys.byteorder)
    assert run("ipsec_sa_info")["sas"][0]["nat_keepalive"] == 20
    assert expect_once("ipsec_sa", **{**options, "nat_keepalive": 0})["differences"] == ["nat_keepalive"]


def test_ipsec_sa_binds_to_a_direction_where_the_kernel_can() -> None:
    run("ipsec_sa", **ESP)
    reported = [["direction"], ["direction"]] if witness.knows_directions() else [[], []]
    assert [
        run("ipsec_sa", **ESP, **direction)["differences"] for direction in ({"direction": "inbound"}, {})
    ] == reported
    if reported[0]:
        expect_once("ipsec_sa", **ESP, direction="outbound")


def test_ipsec_sadb_binds_to_a_direction_where_the_kernel_can() -> None:
    sas = [witness.sa_of(spi) for spi in (0x1000, 0x1001)]
    run("ipsec_sadb", content=render(sas))
    for wanted in ([sas[0]._replace(direction="inbound"), sas[1]], sas):
        done = run("ipsec_sadb", state="exact", content=render(wanted))
        assert (
            done["counts"]["replaced"] == witness.knows_directions()
            and done["counts"]["unchanged"] == 2 - witness.knows_directions()
        )
        assert not run("ipsec_sadb", state="exact", content=render(wanted))["changed"]


def test_a_backup_refuses_what_no_text_can_express() -> None:
    run("ipsec_sa", **ESP, output_mark="5")
    before = witness.attributes()
    result = run("ipsec_sadb", state="flushed", scope="all", backup=str(DIRECTORY / "way_back"))
    assert result["failed"] and "the language has no word for what it has: output_mark=0x5/0xffffffff" in result["msg"]
    assert witness.attributes() == before


def test_an_outbound_sa_with_a_window_is_kept_as_it_is_and_warned_about() -> None:
    done = expect_once("ipsec_sa", **ESP, direction="outbound", replay_window=32)
    assert "cannot bind an outbound SA" in str(done["warnings"])
    assert "dir out" not in only_state()


@pytest.mark.parametrize(
    ("change", "reported"),
    [
        (
            {"encapsulation": {"nat_remote": "2001:db8::9"}},
            "encapsulation.nat_remote: 2001:db8::9 cannot be the address before translation",
        ),
        ({"encapsulation": {"nat_remote": "0.0.0.0"}}, "encapsulation.nat_remote: 0.0.0.0 cannot be"),
        ({"selector": {"source": "2001:db8::/32"}}, "selector: transport mode cannot carry another address family"),
    ],
)
def test_what_the_kernel_would_misread_is_refused(change: Arguments, reported: str) -> None:
    assert reported in run("ipsec_sa", **ESP, **change)["msg"]
    assert witness.states() == {}


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize(
    "module",
    [
        "ipsec_sa",
        "ipsec_sadb",
        "ipsec_sa_info",
        "ipsec_policy",
        "ipsec_policy_info",
        "ipseckeys_file",
        "ipsec_preflight",
    ],
)
def test_users_other_than_root_get_an_error(module: str, check: bool) -> None:
    text = render([witness.sa_of(0x1001)])
    arguments: dict[str, Arguments] = {
        "ipsec_sa": ESP,
        "ipsec_sadb": {"content": text},
        "ipsec_policy": {"direction": "out", "selector": {"destination": "192.0.2.2"}},
        "ipseckeys_file": {"content": text, "path": str(DIRECTORY / "keys")},
        "ipsec_preflight": {"path": str(DIRECTORY / "keys")},
    }
    before = everything()
    result = run(module, user=NOBODY, check=check, **arguments.get(module, {}))
    assert result.get("failed"), result
    assert "root" in result["msg"] or "CAP_NET_ADMIN" in result["msg"]
    assert everything() == before


def test_what_linux_cannot_express_is_refused_by_name() -> None:
    result = run("ipsec_sa", **ESP, encapsulation={"nat_local": "10.0.0.1"})
    assert result["msg"].startswith("encapsulation.nat_local: Linux ")
    assert witness.states() == {}


# Sets


def pair_of_sas(first: int) -> list[SecurityAssociation]:
    """ESP and AH, both ways."""
    there = {"source": b"\xc0\x00\x02\x01", "destination": b"\xc0\x00\x02\x02"}
    back = {"source": b"\xc0\x00\x02\x02", "destination": b"\xc0\x00\x02\x01"}
    return [
        witness.sa_of(first + number, cipher, **ends)
        for number, (cipher, ends) in enumerate((c, e) for e in (there, back) for c in ("aes-cbc", ""))
    ]


def held() -> set[int]:
    return {spi for dummy, spi in witness.states()}


@pytest.fixture(name="foreign")
def make_foreign() -> None:
    witness.add_sas_of_others(OTHER_KEY)


def test_ipsec_sadb_in_all_states(foreign: None) -> None:
    old, new = pair_of_sas(0x1000), pair_of_sas(0x2000)
    elsewhere = [witness.sa_of(0x3000, destination=b"\xc0\x00\x02\x63")]
    assert expect_once("ipsec_sadb", content=render(old + elsewhere))["counts"]["added"] == 5
    assert held() == {0x1000, 0x1001, 0x1002, 0x1003, 0x3000, 0xF001, 0xF002}
    done = expect_once("ipsec_sadb", content=render(new), state="exact")
    assert done["counts"] == {"added": 4, "replaced": 0, "deleted": 4, "unchanged": 0, "foreign": 2}
    assert held() == {0x2000, 0x2001, 0x2002, 0x2003, 0x3000, 0xF001, 0xF002}
    expect_once("ipsec_sadb", content=render(new[:1]), state="absent")
    assert held() == {0x2001, 0x2002, 0x2003, 0x3000, 0xF001, 0xF002}
    expect_once("ipsec_sadb", content=render(new), state="flushed")
    assert held() == {0x3000, 0xF001, 0xF002}
    expect_once("ipsec_sadb", state="flushed", scope="all", protocols=["esp"])
    assert held() == set()


def test_ipsec_sadb_by_direction(foreign: None) -> None:
    witness.run("ip", "address", "add", "192.0.2.1/32", "dev", "lo")
    old, new = pair_of_sas(0x1000), pair_of_sas(0x2000)
    run("ipsec_sadb", content=render(old))
    expect_once("ipsec_sadb", content=render(new), direction="inbound")
    assert held() == {0x1000, 0x1001, 0x1002, 0x1003, 0x2002, 0x2003, 0xF001, 0xF002}
    expect_once("ipsec_sadb", content=render(new), direction="outbound", state="exact")
    assert held() == {0x2000, 0x2001, 0x1002, 0x1003, 0x2002, 0x2003, 0xF001, 0xF002}
    expect_once("ipsec_sadb", content=render(new), state="exact")
    assert held() == {0x2000, 0x2001, 0x2002, 0x2003, 0xF001, 0xF002}


def test_a_rotation_and_its_rollback(foreign: None) -> None:
    """Stage, cut over at an instant, persist, and restore the previous state, including counters."""
    old, new = pair_of_sas(0x1000), pair_of_sas(0x2000)
    current, following, previous = (
        str(DIRECTORY / "secret" / name) for name in ("ipseckeys", "ipseckeys.next", "ipseckeys.previous")
    )
    expect_once("ipseckeys_file", path=current, content=render(old))
    run("ipsec_sadb", src=current)
    expect_once("ipseckeys_file", path=following, content=render(new))
    at = time.time() + 2.5
    done = run("ipsec_sadb", src=following, state="exact", backup=previous, at=at)
    assert time.time() >= at
    assert done["changed"]
    assert held() == {0x2000, 0x2001, 0x2002, 0x2003, 0xF001, 0xF002}
    assert (
        done["digest"]
        == run("ipsec_sa_info", src=following)["digest"]
        == run("ipsec_preflight", path=following)["file"]["digest"]
    )
    expect_once("ipseckeys_file", path=current, src=following, scope="peers")
    assert {stat.S_IMODE(os.stat(path).st_mode) for path in (current, following, previous)} == {0o600}
    assert stat.S_IMODE(os.stat(DIRECTORY / "secret").st_mode) == 0o700

    expect_once("ipsec_sadb", src=previous, scope_src=following, state="exact")
    assert held() == {0x1000, 0x1001, 0x1002, 0x1003, 0xF001, 0xF002}
    states = witness.states()
    for sa in old:
        assert f"0x{sa.authentication_key.hex()}" in states[sa.protocol, sa.spi]


def test_packets_pass_a_replay_window_after_a_rollback(peer: t.Callable[..., str]) -> None:
    """Regardless of the number of packets sent between the reading of the SADB and the instant."""
    old, new = witness.sa_of(0x1000, replay_window=32), witness.sa_of(0x2000, replay_window=32)
    following, previous = (str(DIRECTORY / "secret" / name) for name in ("next", "previous"))
    for path, sa in ((following, new), (previous, old)):
        run("ipseckeys_file", path=path, content=render([sa]))
    run("ipsec_sadb", src=previous)
    peer(witness.as_command(old), packets=3)
    at = time.time() + 6

    def keep_sending(dummy: int) -> None:
        while time.time() < at - 0.3:
            peer("", packets=20)

    assert run("ipsec_sadb", meanwhile=keep_sending, src=following, state="exact", backup=previous, at=at)["changed"]
    reported = peer("", packets=1)  # through the new SA, which the peer lacks
    arrived = witness.counters(reported)[1]
    assert arrived > 40
    assert run("ipsec_sadb", src=previous, scope_src=following, state="exact")["changed"]
    assert witness.counters(peer("", packets=30))[1] == arrived + 30


def test_an_instant_out_of_reach_changes_nothing() -> None:
    for at in (time.time() - 5, time.time() + 400):
        assert run("ipsec_sadb", content=render(pair_of_sas(0x1000)), at=at)["failed"]
    assert held() == set()


@pytest.mark.parametrize(
    ("options", "stopped", "reported"),
    [({"deadline": 0.2}, 0.7, "deadline: the deadline passed"), ({}, 2.0, "at: the instant passed")],
)
def test_a_module_that_was_stopped_for_too_long_applies_nothing(
    options: dict[str, float], stopped: float, reported: str
) -> None:
    """As when a host swaps for longer than its task's timeout: its peers were rolled back, and it
    must not continue alone.
    """
    run("ipsec_sadb", content=render(pair_of_sas(0x1000)))
    before = witness.run("ip", "xfrm", "state")
    at = time.time() + 3
    backup = DIRECTORY / "previous"

    def stop(process: int) -> None:
        while not backup.exists():
            time.sleep(0.01)
        os.kill(process, signal.SIGSTOP)
        time.sleep(max(0.0, at + stopped - time.time()))
        os.kill(process, signal.SIGCONT)

    instants = {name: at + seconds for name, seconds in options.items()}
    result = run(
        "ipsec_sadb",
        meanwhile=stop,
        content=render(pair_of_sas(0x2000)),
        state="exact",
        backup=str(backup),
        at=at,
        **instants,
    )
    assert result["msg"].startswith(reported)
    assert witness.run("ip", "xfrm", "state") == before


# Files


def test_ipseckeys_file_is_private_to_root() -> None:
    path = DIRECTORY / "made" / "keys"
    expect_once("ipseckeys_file", path=str(path), content=render(pair_of_sas(0x1000)))
    found = path.stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_nlink) == (0o600, 0, 1)
    expect_once("ipseckeys_file", path=str(path), state="absent")
    assert not list(path.parent.iterdir())


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("spoil", ["symbolic link", "somebody else's", "hard link", "linked directory", "not root"])
def test_a_key_file_that_stays_is_reported(spoil: str, check: bool) -> None:
    path = target = DIRECTORY / "keys"
    path.write_text(render(pair_of_sas(0x1000)), encoding="ascii")
    path.chmod(0o600)
    if spoil == "symbolic link":
        target = DIRECTORY / "link"
        target.symlink_to(path)
    elif spoil == "somebody else's":
        os.chown(path, NOBODY, 0)
    elif spoil == "hard link":
        os.link(path, DIRECTORY / "other")
    elif spoil == "linked directory":
        (DIRECTORY / "way").symlink_to(DIRECTORY)
        target = DIRECTORY / "way" / "keys"
    before = everything()
    result = run(
        "ipseckeys_file", check=check, user=NOBODY if spoil == "not root" else 0, path=str(target), state="absent"
    )
    assert result.get("failed"), result
    assert str(DIRECTORY) in result["msg"]
    assert everything() == before


def test_a_file_too_open_can_be_removed() -> None:
    path = DIRECTORY / "keys"
    path.write_text(render(pair_of_sas(0x1000)), encoding="ascii")
    path.chmod(0o644)
    predicted, done = (run("ipseckeys_file", check=check, path=str(path), state="absent") for check in (True, False))
    assert [predicted["changed"], done["changed"], path.exists()] == [True, True, False]


def test_two_tasks_may_keep_one_file() -> None:
    path = str(DIRECTORY / "keys")
    texts = [render(pair_of_sas(0x1000)), render([witness.sa_of(0x3000, destination=b"\xc0\x00\x02\x63")])]
    assert [run("ipseckeys_file", path=path, content=text, scope="peers")["changed"] for text in texts * 2] == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("spoil", ["group readable", "symbolic link", "somebody else's", "open directory"])
def test_an_unsafe_file_is_refused_and_nothing_changes(spoil: str) -> None:
    path, text = DIRECTORY / "keys", render(pair_of_sas(0x1000))
    path.write_text(text, encoding="ascii")
    path.chmod(0o600)
    if spoil == "group readable":
        path.chmod(0o640)
    elif spoil == "symbolic link":
        path.rename(DIRECTORY / "real")
        path.symlink_to(DIRECTORY / "real")
    elif spoil == "somebody else's":
        os.chown(path, NOBODY, 0)
    else:
        DIRECTORY.chmod(0o777)
    try:
        before = everything()
        for module, arguments in (
            ("ipsec_sadb", {"src": str(path)}),
            ("ipsec_sadb", {"content": text, "backup": str(path)}),
            ("ipsec_sadb", {"content": text, "backup": str(path), "check": True}),
            ("ipsec_sa_info", {"src": str(path)}),
            ("ipsec_probe", {"src": str(path)}),
            ("ipsec_preflight", {"path": str(path)}),
            ("ipseckeys_file", {"path": str(path), "content": text}),
            ("ipseckeys_file", {"path": str(DIRECTORY / "other"), "src": str(path)}),
        ):
            result = run(module, **arguments)
            assert result.get("failed"), (module, arguments, result)
            assert str(DIRECTORY) in result["msg"]
        assert everything() == before
    finally:
        DIRECTORY.chmod(0o700)


def test_the_guides_file_with_the_short_key_is_refused() -> None:
    text = (
        "add esp spi 8bcd1407 dst 192.168.13.213  encr_alg 3DES \\\n   encrkey "
        " d41fb74470271826a8e7a80d343cc5aae9e2a7f05f13730d\n#\nadd ah spi  18907dae  dst 192.168.13.213 auth_alg MD5 "
        " \\\n   authkey  e896f8df7f78d6cab36c94ccf293f031\n#\n#\nadd esp spi 122a43e4 dst 192.168.116.16 encr_alg 3DES"
        " \\\n    encrkey 137fb4739a55c9b3a1747baa06359826a5e4358e\n#\nadd ah spi  91825a77  dst 192.168.116.16"
        " auth_alg md5  \\\n   authkey  ad9ced7ad5f255c9a8605fba5eb4d2fd\n"
    )
    for module, more in (("ipsec_sadb", {}), ("ipseckeys_file", {"path": str(DIRECTORY / "keys")})):
        result = run(module, content=text, **more)
        assert "3des-cbc needs a key of 192 bits (48 hex digits), found 160 bits (40 hex digits)" in result["msg"]
        assert "content, line 9" in result["msg"]
    assert held() == set()
    good = text.replace("137fb4739a55", "dd325c5c137fb4739a55")
    expect_once("ipsec_sadb", content=good)
    assert held() == {0x8BCD1407, 0x18907DAE, 0x122A43E4, 0x91825A77}


# Policies, packets, readiness


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (
            {
                "direction": "out",
                "selector": {"source": "192.0.2.1/32", "destination": "192.0.2.2/32"},
                "templates": [{"protocol": "esp"}, {"protocol": "ah"}],
            },
            [
                "src 192.0.2.1/32 dst 192.0.2.2/32",
                "dir out",
                "proto esp reqid 0 mode transport",
                "proto ah reqid 0 mode transport",
            ],
        ),
        (
            {
                "direction": "fwd",
                "selector": {
                    "source": "2001:db8:1::/48",
                    "destination": "2001:db8:2::/48",
                    "protocol": "tcp",
                    "destination_port": 443,
                },
                "priority": 5,
                "mark": "0x10/0xff",
                "if_id": 3,
                "templates": [
                    {"mode": "tunnel", "source": "192.0.2.1", "destination": "192.0.2.2", "reqid": 7, "spi": "0x1001"}
                ],
            },
            [
                "dir fwd priority 5",
                "proto tcp dport 443",
                "tmpl src 192.0.2.1 dst 192.0.2.2",
                "spi 0x00001001 reqid 7 mode tunnel",
                "mark 0x10/0xff",
                "if_id 0x3",
            ],
        ),
        (
            {"direction": "in", "selector": {"source": "198.51.100.0/24"}, "action": "block"},
            ["src 198.51.100.0/24 dst 0.0.0.0/0", "dir in action block"],
        ),
    ],
)
def test_ipsec_policy_adds_and_removes(arguments: Arguments, shown: list[str]) -> None:
    expect_once("ipsec_policy", **arguments)
    (text,) = witness.policies()
    for part in shown:
        assert part in text
    (found,) = run("ipsec_policy_info")["policies"]
    assert found["direction"] == arguments["direction"]
    assert found["action"] == arguments.get("action", "allow")
    expect_once("ipsec_policy", **arguments, state="absent")
    assert witness.policies() == []


def test_ipsec_policy_never_guesses_a_family() -> None:
    telnet = {"protocol": "tcp", "destination_port": 23}
    assert "IPv4 alone" in run("ipsec_policy", direction="out", selector=telnet, action="block")["msg"]
    both = [
        {"direction": "out", "selector": {"destination": any_, **telnet}, "action": "block"}
        for any_ in ("0.0.0.0/0", "::/0")
    ]
    expect_once("ipsec_policy", policies=both)
    assert sorted(text.split()[1] for text in witness.policies()) == ["0.0.0.0/0", "::/0"]


def test_ipsec_policy_replaces_and_leaves_others_alone() -> None:
    witness.run(
        "ip", "xfrm", "policy", "add", "src", "203.0.113.0/24", "dst", "0.0.0.0/0", "dir", "in", "action", "block"
    )
    policies = [
        {
            "direction": direction,
            "selector": {"source": source, "destination": destination},
            "templates": [{"protocol": "esp"}],
        }
        for direction, source, destination in (("out", "192.0.2.1", "192.0.2.2"), ("in", "192.0.2.2", "192.0.2.1"))
    ]
    expect_once("ipsec_policy", policies=policies)
    done = expect_once("ipsec_policy", **{**policies[0], "templates": [{"protocol": "esp", "reqid": 8}]})
    assert done["operations"] == ["replace policy out 192.0.2.1/32 > 192.0.2.2/32 (templates)"]
    assert len(witness.policies()) == 3
    assert sum("203.0.113.0/24" in text for text in witness.policies()) == 1


def test_ipsec_probe_sends_through_the_sas() -> None:
    for command in (
        "link add v0 type veth peer name v1",
        "address add 192.0.2.1/24 dev v0",
        "link set v0 up",
        "link set v1 up",
        "neighbour add 192.0.2.2 lladdr 02:00:00:00:00:02 dev v0",
    ):
        witness.run("ip", *command.split())
    sas, path = pair_of_sas(0x1000), str(DIRECTORY / "keys")
    run("ipseckeys_file", path=path, content=render(sas))
    run("ipsec_sadb", src=path)
    selector = {"source": "192.0.2.1", "destination": "192.0.2.2"}
    run("ipsec_policy", direction="out", selector=selector, templates=[{"protocol": "esp"}, {"protocol": "ah"}])

    assert [row["after"] for row in run("ipsec_probe", src=path, check=True, count=2)["sent"]] == [0, 0]
    result = run("ipsec_probe", src=path, count=2)
    assert result["failures"] == []
    assert result["sent"] == [
        {"key": f"{sa.protocol}|192.0.2.2|0x{sa.spi:08x}", "before": 0, "after": 2} for sa in sas[:2]
    ]
    assert [row["after"] for row in result["received"]] == [0, 0]
    states = witness.states()
    assert [witness.counters(states[sa.protocol, sa.spi])[1] for sa in sas] == [2, 2, 0, 0]
    shown = {one["spi"]: one for one in run("ipsec_sa_info")["sas"]}
    assert shown["0x00001000"]["counters"]["packets"] == 2
    assert shown["0x00001000"]["budget"]["packets"] == 2**32 - 3

    name = "192.0.2.1|192.0.2.2#0,,0"
    result = run("ipsec_preflight", path=path, expected={name: "0" * 16}, usage=True)
    assert result["usage"].keys() == {name} and result["asked"] == []
    used = result["usage"][name]
    assert (used["packets"], used["packets_percent"]) == (2, 1) and used["bytes"] > 0 and used.get("age", 0) < 60
    assert not {"bytes_percent", "seconds_percent", "blocks64"} & used.keys()


def test_ipsec_probe_without_the_sa_sends_nothing() -> None:
    witness.run("ip", "address", "add", "192.0.2.1/32", "dev", "lo")
    path = str(DIRECTORY / "keys")
    run("ipseckeys_file", path=path, content=render(pair_of_sas(0x1000)))
    result = run("ipsec_probe", src=path)
    assert [row["after"] for row in result["sent"]] == [None, None]
    assert result["failures"]


def test_ipsec_preflight_finds_a_host_fit_or_says_why_not() -> None:
    witness.run("ip", "address", "add", "192.0.2.1/32", "dev", "lo")
    associations = [
        {
            "encryption_algorithm": "aes-cbc",
            "authentication_algorithm": "hmac-sha256",
            "esn": True,
            "replay_window": 64,
        },
        {"protocol": "ah", "authentication_algorithm": "hmac-sha512", "mode": "tunnel"},
    ]
    before = everything()
    fit = run(
        "ipsec_preflight", path=str(DIRECTORY / "new" / "keys"), addresses=["192.0.2.1"], associations=associations
    )
    assert not fit.get("failed"), fit
    assert abs(fit["epoch"] - time.time()) < 30
    unfit = run(
        "ipsec_preflight", path="/tmp/keys", addresses=["192.0.2.7"], associations=[{"encryption_algorithm": "rot13"}]
    )
    for part in (
        "addresses[0]: 192.0.2.7 is not an address of this host",
        "associations[0].encryption_algorithm: unknown encryption algorithm 'rot13'",
        "/tmp",
    ):
        assert part in unfit["msg"]
    assert everything() == before


def test_it_runs_as_ansible_runs_it() -> None:
    """A separate process, with options on standard input."""
    arguments = {"ANSIBLE_MODULE_ARGS": {**ESP, "_ansible_check_mode": False}}
    program = (
        "import sys; from ansible.module_utils import basic; basic._ANSIBLE_ARGS, basic._ANSIBLE_PROFILE ="
        f" sys.stdin.buffer.read(), 'legacy';from {MODULES}.ipsec_sa import main; main()"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], input=json.dumps(arguments), capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert json.loads(result.stdout)["changed"] is True
    assert held() == {0x8BCD1407}


# Claims of `attributes` in the documentation: first calls that each change something, in this
# order; then read-only ones.
KEYS = str(DIRECTORY / "attributes" / "keys")
POLICY: Arguments = {
    "direction": "out",
    "selector": {"destination": "192.0.2.2/32"},
    "templates": [{"protocol": "esp"}],
}
CHANGES: dict[str, t.Callable[[], list[Arguments]]] = {
    "ipsec_sa": lambda: [
        ESP,
        {**ESP, "encryption_key": OTHER_KEY},
        {**ESP, "reqid": 7},
        {**ESP, "state": "absent"},
        AH,
        {**AH, "icv_bits": 96},
    ],
    "ipsec_sadb": lambda: [
        {"content": render(pair_of_sas(0x1000))},
        {"content": render(pair_of_sas(0x2000)), "state": "exact", "backup": KEYS},
        {"src": KEYS, "scope": "peers", "state": "exact"},
        {"src": KEYS, "state": "absent"},
        {"content": render(pair_of_sas(0x3000))},
        {"state": "flushed", "scope": "all"},
    ],
    "ipseckeys_file": lambda: [
        {"path": KEYS, "content": render(pair_of_sas(0x1000))},
        {"path": KEYS, "content": render([witness.sa_of(0x3000, destination=b"\xc0\x00\x02\x63")]), "scope": "peers"},
        {"path": KEYS, "content": render(pair_of_sas(0x2000))},
        {"path": KEYS, "state": "absent"},
    ],
    "ipsec_policy": lambda: [
        POLICY,
        {**POLICY, "priority": 7},
        {**POLICY, "action": "block", "templates": []},
        {**POLICY, "state": "absent"},
    ],
}
LOOKS: dict[str, Arguments] = {
    "ipsec_audit": {"path": KEYS},
    "ipsec_sa_info": {},
    "ipsec_policy_info": {},
    "ipsec_preflight": {"path": KEYS},
    "ipsec_probe": {"src": KEYS, "count": 2},
    "ipsec_status": {"path": KEYS},
}
# No kernel has a part in these, or a service manager has: tests/controller/test_attributes.py,
# tests/e2e/test_boot.py and tests/unit/plugins/modules have the same about them.
WITHOUT_A_KERNEL = {
    "ipsec_audit_report",
    "ipsec_batch",
    "ipsec_boot",
    "ipsec_fleet",
    "ipsec_keystore",
    "ipsec_keystore_info",
    "ipsec_rotation",
    "ipseckey_command",
}


def fragments(module: str) -> list[str]:
    return t.cast(
        "list[str]",
        yaml.safe_load(importlib.import_module(f"{MODULES}.{module}").DOCUMENTATION)["extends_documentation_fragment"],
    )


def test_every_module_is_driven_below() -> None:
    known = {name for dummy, name, dummy2 in pkgutil.iter_modules(importlib.import_module(MODULES).__path__)}
    assert {*CHANGES, *LOOKS, *WITHOUT_A_KERNEL} == known


@pytest.mark.parametrize("module", CHANGES)
def test_documented_attributes_of_changing_modules_are_true(module: str) -> None:
    """Full support of check mode and differences, idempotent: check mode, for real, and both again."""
    assert "ipsec.manual._attributes.changes" in fragments(module)
    for arguments in CHANGES[module]():
        done = expect_once(module, **arguments)
        assert done["diff"]["before"] != done["diff"]["after"], arguments


@pytest.mark.parametrize("module", LOOKS)
def test_documented_attributes_of_reading_modules_are_true(module: str) -> None:
    """Nothing changes in either mode, there is no diff, and two calls return the same."""
    assert "ipsec.manual._attributes.info" in fragments(module)
    run("ipseckeys_file", path=KEYS, content=render(pair_of_sas(0x1000)))
    run("ipsec_sadb", src=KEYS)
    run("ipsec_policy", **{**POLICY, "direction": "in"})
    before = everything()
    results = [run(module, check=check, **LOOKS[module]) for check in (True, False, True, False)]
    assert not any(result.get("failed") or result["changed"] or "diff" in result for result in results), results
    assert everything() == before
    assert len({tuple(sorted(result)) for result in results}) == 1
