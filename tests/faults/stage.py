# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A lab of three hosts on which faults happen: runs that stop at a place, and what must hold afterwards."""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time
import typing as t

from ansible_collections.ipsec.manual.tests.e2e.flows import Loss, flowing
from ansible_collections.ipsec.manual.tests.e2e.harness import LAB, SA, Host, Project, Run, on_the_wire, parse_sas

from .matrix import AMID, ANSWER, ASKED, HOSTS, MODE, Case, Task, tasks

NAME = "faults"
HOLDS = {ASKED: "before", AMID: "amid", ANSWER: "after"}
# While the mode changes, a host is held amid a task between the file that it loads at boot, by step, and its kernel.
SA_FILE, POLICY_FILE = "ipseckeys", "ipsecpolicies.json"
LOADED = {"stage": SA_FILE, "persist": SA_FILE}
OTHER_MODE = {"transport": "tunnel", "tunnel": "transport"}
HERE = pathlib.Path(__file__).resolve().parent
ADDRESSES = {
    "enigma": ("192.168.116.16", "fd00:192:168:116::16"),
    "partym": ("192.168.13.213", "fd00:192:168:13::213"),
    "third": ("10.116.2.16", "fd00:10:116:2::16"),
}
CONNECTIONS: list[dict[str, t.Any]] = [
    {"name": "mesh", "mode": "transport", "endpoints": {host: row[0] for host, row in ADDRESSES.items()}},
    {
        "name": "both6",
        "mode": "transport",
        "endpoints": {host: ADDRESSES[host][1] for host in ("enigma", "partym")},
        "associations": [{"protocol": "esp"}, {"protocol": "ah"}],
    },
]
RATE = 50  # packets a second on each flow, each way
FLOWS = {"-".join(pair): [[host, ADDRESSES[host][0]] for host in pair] for pair in itertools.combinations(ADDRESSES, 2)}
SETTINGS: dict[str, t.Any] = {
    "rotate_boot": True,
    "boot_service_manager": "sysvinit",
    "rotate_grace": 1,
    "rotate_timeout": 60,
    "ansible_python_interpreter": str(HERE / "python"),
}
_PAIRS = list(itertools.combinations(HOSTS, 2))
# Where a run may leave something on the controller, beside the folder of the project.
CONTROLLER = ("~/.ansible/tmp",)
SECRETS = "/etc/inet/secret"
# Puts a full disk in the place of a folder, until a line comes; its content is never elsewhere.
FILL = """
mkdir "$2" && mount --bind "$1" "$2" && mount -t tmpfs -o size=256k,mode=700 none "$1" && cp -a "$2"/. "$1"/ || exit
dd if=/dev/zero of="$1"/.ballast bs=1k 2>/dev/null; echo full; read line
rm "$1"/.ballast && find "$2" -mindepth 1 -delete && cp -a "$1"/. "$2"/ && umount "$1" && umount "$2" && rmdir "$2"
"""
FOREIGN_REQID, TAKEN_REQID = 4242, 99
FOREIGN_KEY, TAKEN_KEY = "5a" * 32, "a5" * 32
FOREIGN = (
    f"xfrm state add src 192.0.2.7 dst {{own}} proto esp spi 0xc0ffee reqid {FOREIGN_REQID} mode transport"
    f" enc cbc(aes) 0x{FOREIGN_KEY}",
    "xfrm policy add src 192.0.2.1 dst 192.0.2.2 dir fwd priority 42",
)
# What is not encrypted: neither ESP, also around IP or more ESP, nor, over IPv6, AH around ESP.
CLEAR = "not esp and not (ip6 proto 51 and ip6[40] = 50)"
HEAD, STATES = "The rotation stopped at: ", "Which host holds what:"
PREVIOUS, UNKNOWN = "what it held before this run", "unknown"
# A host, what it holds, and more of that up to the next host.
_SAID = re.compile(
    rf"\b({'|'.join(HOSTS)}): ({PREVIOUS}|{UNKNOWN}|generation \d+)(.*?)(?=\b(?:{'|'.join(HOSTS)}): |Fix this)", re.S
)
_KEY = re.compile(r"\b(?:encrkey|authkey) (?:0x)?([0-9a-f]{32,})")
_POLICY = re.compile(r"src (\S+) dst (\S+)\s+dir (in|out) priority ")
_REQUIRED = re.compile(r"\btmpl src \S+ dst \S+\s+proto (\w+) (?!.*\n\s+level use)")
_ENDS = re.compile(r"src ([^/\s]+)\S* dst ([^/\s]+)")
# What a host shows of itself, part by part; the search is for the keys of the first argument, a line each, and for
# those that its kernel holds.
EXAMINE = r"""
ip -s xfrm state; echo ====
ip xfrm policy; echo ====
find {secrets} -mindepth 1 ! -name .ballast -printf '%f %m %u\n'; echo ====
grep -h '^add' {secrets}/ipseckeys; echo ====
{{ printf '%s\n' "$1"; ip xfrm state | grep -o '0x[0-9a-f]\{{32,\}}' | cut -c3- | grep -v {foreign}; }} |
    grep -rlF -f - --exclude-dir=secret --exclude-dir=.pyenv --exclude-dir=.local --exclude-dir=kept \
        /root /tmp /var/tmp /run /dev/shm /etc/inet /var/lib/ipseckey 2>/dev/null
echo ====
shift
for to; do ping -c 1 -W 2 -q $to >/root/ping.$to 2>&1 & done; wait
grep -l ' 0 received' /root/ping.*; rm -f /root/ping.*
"""


class Seen(t.NamedTuple):
    """What a host holds: its SAs without counters, the lines of its policies, the modes of both by addresses, its
    secret files, the SPIs in its file, files elsewhere with one of the keys searched for, and addresses that did not
    answer.
    """

    sas: set[SA]
    policies: str
    modes: dict[frozenset[str], set[str]]
    files: dict[str, str]
    filed: set[str]
    leaks: list[str]
    silent: set[str]

    @property
    def spis(self) -> set[str]:
        """The SPIs of the role's SAs."""
        return {sa.spi for sa in self.sas if sa.reqid not in (FOREIGN_REQID, TAKEN_REQID)}

    def between(self, source: str, destination: str) -> set[str]:
        """The SPIs of the role's SAs from one address to another."""
        return {sa.spi for sa in self.sas if (sa.source, sa.destination) == (source, destination)} & self.spis

    @property
    def protected(self) -> dict[tuple[str, str, str], set[str]]:
        """The protocols that policies demand in each direction between two networks, also where others are optional."""
        found = {}
        for block in blocks(self.policies):
            match = _POLICY.match(block)
            if match:
                found[match[3], match[1], match[2]] = set(_REQUIRED.findall(block))
        return found


class Stage:
    """The lab, and a project whose runs can be stopped at a place."""

    def __init__(self, hosts: dict[str, Host], folder: pathlib.Path) -> None:
        self.hosts = hosts
        self.folder = folder
        self.project = Project(folder, NAME)
        self.project.connections = CONNECTIONS
        self.project.variables = {**SETTINGS, "rotate_report": str(folder / "report.json")}
        self.project.prefix = ("unshare", "-m", "--propagation", "private")
        self.project.environment = {
            "ANSIBLE_CALLBACK_PLUGINS": str(HERE / "callbacks"),
            "ANSIBLE_CALLBACKS_ENABLED": "pause",
            "PAUSES": "[]",
        }
        self.process: subprocess.Popen[str] | None = None
        self.broken = False
        self.keys: set[str] = set()
        for name in hosts:
            self.add_foreign(name)
        with self.in_the_clear() as seen:
            self.on("enigma", "ping -c 1 -q -W 5 $1", ADDRESSES["partym"][0], check=False)
        assert seen, "the wire does not show what is not encrypted"
        self.project.run_well()

    def in_the_clear(self) -> t.ContextManager[list[str]]:
        """The packets between hosts that were not encrypted during the block."""
        ends = [
            (one, other) for name, peer in _PAIRS for one, other in zip(_addresses(peer, name), _addresses(name, peer))
        ]
        return on_the_wire(NAME, *ends, those=CLEAR)

    def add_foreign(self, name: str) -> None:
        for line in FOREIGN:
            self.hosts[name].ip(line.format(own=ADDRESSES[name][0]))

    def on(self, name: str, script: str, *words: str, check: bool = True) -> str:
        return self.hosts[name].run("sh", "-c", script, "sh", *words, check=check)

    @contextlib.contextmanager
    def traffic(self, wanted: bool) -> t.Iterator[dict[str, Loss]]:
        """Traffic between all hosts, if wanted; what was lost, by name, is there at the end."""
        if wanted:
            with flowing(list(self.hosts.values()), FLOWS, RATE) as losses:
                yield losses
        else:
            yield {}

    # A run that stops at a place

    def start(self, case: Case, pauses: t.Sequence[Task]) -> None:
        """Start a run with new keys, and maybe another mode, that stops before these tasks."""
        self.keys = self.stored_keys()
        (self.folder / "report.json").unlink(missing_ok=True)
        shutil.rmtree(self.folder / "pauses", ignore_errors=True)
        (self.folder / "pauses").mkdir()
        self.project.environment["PAUSES"] = json.dumps(
            [[task.name, str(self.folder / "pauses" / task.step)] for task in pauses]
        )
        settings: dict[str, t.Any] = {"rotate_new_keys": True}
        if case.strategy == MODE:
            mesh, *others = self.project.connections
            self.project.connections = [{**mesh, "mode": OTHER_MODE[mesh["mode"]]}, *others]
        else:
            settings["rotate_strategy"] = case.strategy
        if case.fault == "clock":
            settings["rotate_cutover_delay"] = 20
        self.process = self.project.start(**settings)
        self.project.environment["PAUSES"] = "[]"

    def reach(self, task: Task) -> None:
        """Wait until the run is about to start the task."""
        assert self.process
        deadline = time.monotonic() + 300
        while not (self.folder / "pauses" / task.step).exists():
            assert self.process.poll() is None and time.monotonic() < deadline, self.project.output()
            time.sleep(0.02)

    def go_on(self, task: Task) -> None:
        (self.folder / "pauses" / task.step).rmdir()

    def hold(self, case: Case) -> bool:
        """Let the run go on to a place within the task; whether it gets there on the victim."""
        assert self.process
        file = LOADED.get(case.task.step, POLICY_FILE) if case.strategy == MODE else ""
        self.on(case.victim, f"printf %s '{file}' >/root/hold.{HOLDS[case.place]}")
        self.go_on(case.task)
        until = ("sh", "-c", "until [ -e /root/held ]; do sleep 0.2; done")
        command = [LAB, "run", "--name", NAME, case.victim, "--", *until]
        with subprocess.Popen(command) as waiting:
            while waiting.poll() is None and self.process.poll() is None:
                time.sleep(0.02)
            waiting.terminate()
        if self.process.poll() is not None:
            self.let_go(case.victim)
        return self.process.poll() is None

    def let_go(self, name: str) -> None:
        """Let a module that was held go on."""
        self.on(name, "rm -f /root/hold.* /root/held")

    def release(self, name: str) -> None:
        """Let a module that was held go on, and wait until it has ended."""
        self.let_go(name)
        self.on(name, "while pgrep -f tests/faults/[p]ython >/dev/null; do sleep 0.1; done")

    def settle(self, but: str) -> None:
        """Wait until the modules of all hosts but one have ended."""
        for name in self.hosts:
            if name != but:
                self.release(name)

    def finish(self) -> Run:
        assert self.process
        return self.project.finish(self.process)

    @contextlib.contextmanager
    def breaking(self) -> t.Iterator[None]:
        """A stage on which an assertion has failed is of no use to others."""
        try:
            yield
        except BaseException:
            self.broken = True
            self.kill()
            raise

    def kill(self) -> None:
        """Kill the controller: the run, and its workers, which have sessions of their own."""
        if self.process is None or self.process.poll() is not None:
            return
        family = [self.process.pid]
        for pid in family:
            children = subprocess.run(["pgrep", "-P", str(pid)], check=False, capture_output=True, text=True).stdout
            family += map(int, children.split())
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def lock_keystore(self) -> None:
        """Make the keystore read-only for this run alone: its mounts are private."""
        assert self.process
        enter = ("nsenter", "--mount", "--target", str(self.process.pid), "mount")
        store = str(self.project.keystore)
        subprocess.run([*enter, "--bind", store, store], check=True)
        subprocess.run([*enter, "-o", "remount,bind,ro", store], check=True)

    @contextlib.contextmanager
    def full_keystore(self) -> t.Iterator[None]:
        """Let the disk of the keystore be full for this run alone."""
        assert self.process
        enter = ("nsenter", "--mount", "--target", str(self.process.pid), "sh", "-c", FILL, "sh")
        words = (*enter, str(self.project.keystore), str(self.folder / "kept"))
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as disk:
            assert disk.stdout and disk.stdout.readline() == "full\n"
            yield
            disk.communicate("\n", timeout=60)
        assert disk.returncode == 0

    def beside(self) -> Project:
        """Another project with the same keystore and connections."""
        folder = self.folder / "beside"
        folder.mkdir(exist_ok=True)
        project = Project(folder, NAME)
        project.keystore, project.variables = self.project.keystore, SETTINGS
        project.connections = self.project.connections
        return project

    # What a run leaves

    def examine(self) -> dict[str, Seen]:
        """All hosts at the same time."""
        self.keys |= self.stored_keys()
        with concurrent.futures.ThreadPoolExecutor() as pool:
            return dict(zip(self.hosts, pool.map(self._examine, self.hosts)))

    def _examine(self, name: str) -> Seen:
        """Ask one host."""
        to = [address for other in HOSTS if other != name for address in _addresses(name, other)]
        script = EXAMINE.format(secrets=SECRETS, foreign=FOREIGN_KEY)
        state, policies, files, filed, leaks, silent = (
            self.hosts[name].run("sh", "-c", script, "sh", "\n".join(self.keys), *to, check=False).split("====\n")
        )
        return Seen(
            {sa._replace(packets=0) for sa in parse_sas(state)},
            policies,
            _modes(state, policies),
            {file: rest for file, dummy, rest in (row.partition(" ") for row in files.splitlines())},
            set(re.findall(r" spi (0x[0-9a-f]{8})", filed)),
            leaks.split(),
            {row.removeprefix("/root/ping.") for row in silent.split()},
        )

    def check_clean(self, seen: dict[str, Seen]) -> None:
        """Our policies stand, and what others put there; and no key, also of generations that are not in use, is in a
        file that it does not belong in, here or there.
        """
        for name, found in seen.items():
            assert {key: found.protected.get(key) for key in _policies(name)} == _policies(name), found.policies
            assert any(sa.reqid == FOREIGN_REQID for sa in found.sas), f"{name} lost an SA of another program"
            assert "src 192.0.2.1/32 dst 192.0.2.2/32" in found.policies, f"{name} lost a policy of another program"
            assert not found.leaks, f"{name} has keys in {found.leaks}"
            assert set(found.files.values()) <= {"600 root"}, found.files
        self.keys |= {key for found in seen.values() for sa in found.sas for key in sa.keys} - {FOREIGN_KEY, TAKEN_KEY}
        # The log of the run is in this folder.
        places = [str(self.folder), *filter(os.path.exists, map(os.path.expanduser, CONTROLLER))]
        words = ("grep", "-rlF", "-f", "-", *places)
        leaks = subprocess.run(words, input="\n".join(self.keys), stdout=subprocess.PIPE, text=True, check=False).stdout
        assert self.keys and not leaks, f"the controller has keys in {leaks}"

    def check_talk(self, seen: dict[str, Seen], *, but: t.Collection[frozenset[str]] = ()) -> None:
        """Every pair of hosts talks, but those whose data path is down, and nothing is where it should not be."""
        self.check_clean(seen)
        for name, found in seen.items():
            expected = {
                address
                for other in HOSTS
                if frozenset({name, other}) not in but
                for address in _addresses(name, other)
                if other != name
            }
            assert not found.silent & expected, f"{name} does not reach {found.silent & expected}\n{self.output()}"

    def agreed(self, seen: dict[str, Seen]) -> set[frozenset[str]]:
        """The pairs whose hosts each hold the SAs that the other one sends through."""

        def accepts(sender: str, receiver: str) -> bool:
            return all(
                set() != seen[sender].between(*ends) <= seen[receiver].between(*ends)
                for ends in zip(_addresses(receiver, sender), _addresses(sender, receiver))
            )

        return {frozenset({name, peer}) for name, peer in _PAIRS if accepts(name, peer) and accepts(peer, name)}

    def check_report(self, done: Run, seen: dict[str, Seen], victim: str) -> None:
        """The report of a run that stopped names the victim, and says of each host what it holds."""
        assert done.status != 0 and HEAD in done.output, done.output
        text = done.output.rpartition(HEAD)[2].partition("PLAY RECAP")[0]
        assert victim in text, done.output
        written = json.loads((self.folder / "report.json").read_text(encoding="utf-8"))
        assert written["outcome"] == "failed" and written["problems"], written
        assert text.startswith(f"{written['stopped_at']}."), (written, text)
        said = text.partition(STATES)[2]
        states = {found[1]: found[2] for found in _SAID.finditer(said)}
        kept = {found[1]: _kept(found[3]) for found in _SAID.finditer(said)}
        if not states:
            assert STATES not in text and "Every host still sends through its previous SAs" in text, done.output
            states = dict.fromkeys(HOSTS, PREVIOUS)
        assert states.keys() == {*HOSTS}, done.output
        for name, state in states.items():
            spis = self.generation(name, "current" if state == PREVIOUS else "next", kept.get(name, ()))
            assert state == UNKNOWN or spis <= seen[name].spis, f"{name}: {state}, {seen[name].spis}\n{done.output}"

    def generation(self, name: str, which: str, kept: t.Collection[frozenset[str]] = ()) -> set[str]:
        """The SPIs of a host's SAs, from the keystore; between the addresses of ``kept``, those of the next generation.
        There is no next generation once that is the current one.
        """
        records = [record for row in CONNECTIONS for record in self.project.records(row["name"])]
        return {
            spi
            for record in records
            for column in {which, "next"}
            for line in (record[column] or record["current"])["sas"].splitlines()
            if not {*line.split()}.isdisjoint(ADDRESSES[name])
            if column == ("next" if any(ends <= {*line.split()} for ends in kept) else which)
            for spi in re.findall(r" spi (0x[0-9a-f]{8})", line)
        }

    def stored_keys(self) -> set[str]:
        """All keys of the keystore."""
        records = [record for row in CONNECTIONS for record in self.project.records(row["name"])]
        return set(_KEY.findall(json.dumps(records, default=str)))

    def check_end(self, seen: dict[str, Seen], *, but: t.Collection[frozenset[str]] = ()) -> None:
        """One generation and one mode on all ends, in kernels, files and keystore, and nothing else."""
        self.check_talk(seen, but=but)
        records = [record for row in CONNECTIONS for record in self.project.records(row["name"])]
        for name, found in seen.items():
            assert found.protected == _policies(name) and "level use" not in found.policies, found.policies
            for row in self.project.connections:
                for peer in row["endpoints"].keys() - {name} if name in row["endpoints"] else ():
                    ends = frozenset((row["endpoints"][name], row["endpoints"][peer]))
                    assert found.modes[ends] == {row["mode"]}, f"{name}: {found.policies}\n{self.output()}"
            assert found.spis == self.generation(name, "current") == found.filed, f"{name}\n{self.output()}"
            assert set(found.files) == {"ipseckeys"}, f"{name}: {found.files}\n{self.output()}"
        assert all(record["next"] is None and record["phase"] == "steady" for record in records)

    def output(self) -> str:
        return self.project.output()

    @contextlib.contextmanager
    def taken(self, name: str) -> t.Iterator[None]:
        """Another program has SAs with an SPI that the next generation uses between this host and a peer."""
        rows = [
            dict(zip(words[2::2], words[3::2]), protocol=words[1])
            for record in self.project.records("mesh")
            for words in map(str.split, record["next"]["sas"].splitlines())
            if words[:2] == ["add", "esp"] and ADDRESSES[name][0] in words
        ]
        for row in (next(row for row in rows if row[end] == ADDRESSES[name][0]) for end in ("src", "dst")):
            words = (
                f"xfrm state add src 192.0.2.99 dst {row['dst']} proto esp spi {row['spi']} reqid {TAKEN_REQID}"
                f" mode transport enc cbc(aes) 0x{TAKEN_KEY}"
            )
            # The kernel refuses one that the role has already used.
            self.hosts[name].run("ip", *words.split(), check=False)
        assert any(sa.reqid == TAKEN_REQID for sa in self.hosts[name].sas())
        yield
        assert any(sa.reqid == TAKEN_REQID for sa in self.hosts[name].sas())
        self.hosts[name].ip(f"xfrm state deleteall reqid {TAKEN_REQID}")


def blocks(text: str) -> list[str]:
    """The SAs, or the policies, in the output of ip(8)."""
    return re.split(r"\n(?=src )", text)


def _modes(*texts: str) -> dict[frozenset[str], set[str]]:
    """The modes that SAs have, and templates of policies name, by the addresses of their traffic."""
    found: dict[frozenset[str], set[str]] = {}
    for text in texts:
        for block in blocks(text):
            match = _ENDS.match(block)
            if match:
                found.setdefault(frozenset(match.groups()), set()).update(re.findall(r" mode (\w+)", block))
    return found


def _addresses(name: str, other: str) -> list[str]:
    """The addresses of a host that another one shares SAs with."""
    return [
        row["endpoints"][other] for row in CONNECTIONS if other != name and {name, other} <= row["endpoints"].keys()
    ]


def _kept(said: str) -> set[frozenset[str]]:
    """The pairs of addresses of which a report says that a host keeps the new SAs."""
    return set(map(frozenset, re.findall(r"keeps the new SAs between (\S+) and ([^\s,]+)", said)))


def _policies(name: str) -> dict[tuple[str, str, str], set[str]]:
    """What `Seen.protected` is where the role's policies stand."""
    found = {}
    for row in CONNECTIONS:
        protocols = {part["protocol"] for part in row.get("associations", ({"protocol": "esp"},))}
        ends = row["endpoints"]
        for peer in ends.keys() - {name} if name in ends else ():
            here, there = (f"{ends[host]}/{128 if ':' in ends[host] else 32}" for host in (name, peer))
            found["out", here, there] = found["in", there, here] = protocols
    return found


def task_of(step: str) -> Task:
    return next(task for task in tasks() if task.step == step)
