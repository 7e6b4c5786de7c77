# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A controller with its own project, and the lab's hosts, for end-to-end tests. They check with
ip(8), stat(1) and ansible-vault, not with our modules.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
import typing as t

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
LAB = str(CHECKOUT / "tests" / "lab" / "lab")
NAME = "e2e"
HOSTS = ("enigma", "partym", "third")
SECRET_FILE = "/etc/inet/secret/ipseckeys"

# The guide's connection over IPv4; a mesh of all three over IPv6; two more that share hosts with
# them, one with a cipher that must not be in a file.
CONNECTIONS: list[dict[str, t.Any]] = [
    {
        "name": "guide",
        "endpoints": {"enigma": "192.168.116.16", "partym": "192.168.13.213"},
        "associations": [
            {"protocol": "esp", "encryption_algorithm": "3des"},
            {"protocol": "ah", "authentication_algorithm": "md5"},
        ],
    },
    {
        "name": "mesh",
        "endpoints": {"enigma": "fd00:192:168:116::16", "partym": "fd00:192:168:13::213", "third": "fd00:10:116:2::16"},
    },
    {
        "name": "shared",
        "endpoints": ["enigma", "third"],
        "reqid": 7,
        "associations": [{"replay_window": 64, "esn": True}],
    },
    {
        "name": "counter",
        "endpoints": ["partym", "third"],
        "associations": [{"encryption_algorithm": "aes-gcm", "lifetimes": {"hard_packets": 1000000}}],
    },
]
# Which hosts each connection keys, in pairs of addresses.
GUIDE = ("192.168.116.16", "192.168.13.213")
SHARED = ("192.168.116.16", "10.116.2.16")
COUNTER = ("192.168.13.213", "10.116.2.16")
MESH = ("fd00:192:168:116::16", "fd00:192:168:13::213", "fd00:10:116:2::16")
# An SA of another program, between the hosts of the guide.
FOREIGN_SPI = "0x00c0ffee"
FOREIGN = (
    f"xfrm state add src {GUIDE[0]} dst {GUIDE[1]} proto esp spi {FOREIGN_SPI} reqid 4242 mode transport"
    f" enc cbc(aes) 0x{'5a' * 32}"
)


class SA(t.NamedTuple):
    """One SA as ip(8) shows it; ``keys`` are its hexadecimal keys, ``packets`` what it has carried."""

    source: str
    destination: str
    protocol: str
    spi: str
    reqid: int
    keys: tuple[str, ...]
    packets: int


def parse_sas(text: str) -> set[SA]:
    """The SAs in the output of `ip -s xfrm state`."""
    found = set()
    for block in filter(None, re.split(r"\n(?=src )", text.strip())):
        source, destination = t.cast("re.Match[str]", re.match(r"src (\S+) dst (\S+)", block)).groups()
        protocol, spi, reqid = t.cast(
            "re.Match[str]", re.search(r"proto (\w+) spi (0x[0-9a-f]{8})\S* reqid (\d+)", block)
        ).groups()
        keys = tuple(re.findall(r"^\s(?:enc|auth|auth-trunc|aead) \S+ 0x([0-9a-f]+)", block, re.M))
        packets = t.cast(
            "re.Match[str]", re.search(r"lifetime current:\s+\d+\(bytes\), (\d+)\(packets\)", block)
        ).group(1)
        found.add(SA(source, destination, protocol, spi, int(reqid), keys, int(packets)))
    return found


class Host:
    """A host of the lab."""

    def __init__(self, name: str, lab: str = NAME) -> None:
        self.name = name
        self.lab = lab

    def run(self, *command: str, check: bool = True) -> str:
        done = subprocess.run(
            [LAB, "run", "--name", self.lab, self.name, "--", *command],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0 or not check, f"{self.name}: {command}: {done.stderr}"
        return done.stdout

    def ip(self, words: str) -> str:
        """Run ip(8) with these words."""
        return self.run("ip", *words.split())

    def fault(self, what: str) -> None:
        done = subprocess.run(
            [LAB, "fault", "--name", self.lab, self.name, what], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr

    def sas(self, *pair: str) -> set[SA]:
        """All SAs, or those between two addresses."""
        found = parse_sas(self.run("ip", "-s", "xfrm", "state"))
        return {sa for sa in found if not pair or {sa.source, sa.destination} == set(pair)}

    def spis(self, *pair: str) -> set[str]:
        return {sa.spi for sa in self.sas(*pair)}

    def keys(self, *pair: str) -> set[str]:
        return {key for sa in self.sas(*pair) for key in sa.keys}

    def packets(self, *pair: str) -> dict[str, int]:
        return {sa.spi: sa.packets for sa in self.sas(*pair)}

    def secret_files(self) -> dict[str, str]:
        """Name to mode and owner of the files in the secret directory."""
        text = self.run("find", "/etc/inet/secret", "-mindepth", "1", "-printf", r"%f %m %u\n", check=False)
        return {name: rest for name, dummy, rest in (line.partition(" ") for line in text.splitlines())}

    def file(self) -> str:
        return self.run("cat", SECRET_FILE)

    def pings(self, address: str, source: str = "") -> bool:
        """``source`` is the host's own address to use."""
        own = ("-I", source) if source else ()
        return "1 received" in self.run("ping", "-c", "1", "-W", "3", *own, address, check=False)


@contextlib.contextmanager
def lab(name: str, hosts: t.Sequence[str] = HOSTS) -> t.Iterator[dict[str, Host]]:
    """Hosts by name, in a lab of this name, on the newest User-Mode Linux. Sessions run in parallel, so each has
    its own lab.
    """
    subprocess.run([LAB, "down", "--name", name], check=False, capture_output=True)
    subprocess.run([LAB, "up", "--kernel", "uml", "--name", name, "--hosts", ",".join(hosts)], check=True)
    try:
        yield {host: Host(host, name) for host in hosts}
    finally:
        subprocess.run([LAB, "down", "--name", name], check=True)


@contextlib.contextmanager
def on_the_wire(lab: str, *pairs: tuple[str, str], those: str = "") -> t.Iterator[list[str]]:
    """The packets that tcpdump sees between these addresses during the block, or ``those`` of them, one per line;
    filled when the block ends.
    """
    wire, seen = Host("wire", lab), []
    between = " or ".join(f"(host {one} and host {other})" for one, other in pairs)
    wanted = f"({between}) and {those}" if those else between
    watch = (
        f"tcpdump -n -l -i any '{wanted}' >/root/seen 2>/root/said & echo $!; until grep -q listening /root/said; do"
        " sleep 0.1; done"
    )
    watcher = wire.run("sh", "-c", watch).strip()
    yield seen
    lines = wire.run("sh", "-c", f"sleep 1; kill {watcher}; cat /root/seen").split("\n")
    seen += filter(None, lines)


class Losses(t.NamedTuple):
    """Pings that were sent and that were not answered."""

    sent: int
    lost: int


_UNDERWAY = 20  # packets at most that are not lost at the end, but on their way


@contextlib.contextmanager
def pinging(*routes: tuple[Host, str]) -> t.Iterator[list[Losses]]:
    """Hosts that ping an address a hundred times a second during the block; filled when it ends."""
    found: list[Losses] = []
    start = "ping -i 0.01 {} >/root/pings.{} 2>&1 & echo $!"
    pids = [
        host.run("sh", "-c", start.format(address, number)).strip() for number, (host, address) in enumerate(routes)
    ]
    yield found
    for number, ((host, dummy), pid) in enumerate(zip(routes, pids)):
        # It goes on for longer than what may be on its way, so that the block is watched to its end.
        text = host.run("sh", "-c", f"sleep 0.5; kill -INT {pid}; sleep 0.5; cat /root/pings.{number}")
        (sent,) = map(int, re.findall(r"(\d+) packets transmitted", text))
        answered = set(map(int, re.findall(r"icmp_seq=(\d+) ttl=", text)))
        # ping does not wait for the answers to its last packets.
        underway = min(sent - max(answered, default=0), _UNDERWAY)
        found.append(Losses(sent - underway, sent - underway - len(answered)))


def clear(seen: list[str]) -> list[str]:
    """The packets that are not ESP."""
    return [line for line in seen if "ESP(" not in line]


class Run(t.NamedTuple):
    """A finished run of ansible-playbook."""

    status: int
    output: str

    def changed(self) -> dict[str, int]:
        """Number of changed tasks by host."""
        return {
            host: int(number) for host, number in re.findall(r"^(\w+)\s+: ok=\d+\s+changed=(\d+)", self.output, re.M)
        }


class Project:
    """A folder with a playbook, connections, a vault password, and the keystore that the role creates.

    All runs get ``variables`` and ``environment``, too, and are started by the command ``prefix``.
    """

    def __init__(self, folder: pathlib.Path, lab: str = NAME) -> None:
        self.folder = folder
        self.inventory = CHECKOUT / "build" / "lab" / lab / "inventory.yml"
        self.keystore = folder / "keystore"
        self.password("correct horse")
        self.connections = CONNECTIONS
        self.variables: dict[str, t.Any] = {}
        self.environment: dict[str, str] = {}
        self.prefix: tuple[str, ...] = ()
        self.program = _tool("ansible-playbook")
        (folder / "rotate.yml").write_text(
            "- hosts: all\n  gather_facts: false\n  roles:\n    - role: ipsec.manual.rotate\n",
            encoding="utf-8",
        )

    def password(self, word: str) -> None:
        (self.folder / "password").write_text(word + "\n", encoding="utf-8")

    def start(
        self,
        *options: str,
        playbook: str = "rotate.yml",
        vault: bool = True,
        only: dict[str, t.Any] | None = None,
        **variables: t.Any,
    ) -> subprocess.Popen[str]:
        """Start a run with the usual settings and ``variables``, or with ``only`` those. Output
        goes to the file ``log`` of the project.
        """
        settings = only or {
            "ipsec_connections": self.connections,
            "rotate_keystore": str(self.keystore),
            "rotate_policies": True,
            "rotate_allow_static_counter_mode": True,
            **self.variables,
            **variables,
        }
        (self.folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
        secret = ["--vault-password-file", "password"] if vault else []
        command = [
            *self.prefix,
            self.program,
            "-i",
            str(self.inventory),
            *secret,
            "-e",
            "@settings.json",
            *options,
            playbook,
        ]
        environment = {**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_TIMEOUT": "8", "PYTHONUNBUFFERED": "1"}
        environment.update(self.environment)
        with open(self.folder / "log", "w", encoding="utf-8") as log:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                text=True,
                env=environment,
                start_new_session=True,
            )

    def output(self) -> str:
        return (self.folder / "log").read_text(encoding="utf-8")

    def finish(self, process: subprocess.Popen[str]) -> Run:
        try:
            status = process.wait(300)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        # A report is a list of lines, which break sentences.
        return Run(status, re.sub(r'",\n\s+"\s*', " ", self.output()))

    def run(self, *options: str, **settings: t.Any) -> Run:
        return self.finish(self.start(*options, **settings))

    def run_well(self, *options: str, **settings: t.Any) -> Run:
        done = self.run(*options, **settings)
        assert done.status == 0, done.output
        return done

    def run_badly(self, *options: str, **settings: t.Any) -> Run:
        done = self.run(*options, **settings)
        assert done.status != 0, done.output
        return done

    def await_output(self, process: subprocess.Popen[str], text: str, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while text not in self.output():
            assert process.poll() is None and time.monotonic() < deadline, self.output()
            time.sleep(0.05)

    def records(self, name: str) -> list[dict[str, t.Any]]:
        """The keystore's records of a connection, one for all pairs with the same history, decrypted as
        ansible-vault does.
        """
        import yaml

        from ansible.parsing.vault import VaultLib, VaultSecret

        secret = VaultSecret((self.folder / "password").read_bytes().strip())
        text = VaultLib([("default", secret)]).decrypt((self.keystore / f"{name}.yml").read_bytes())
        return t.cast("list[dict[str, t.Any]]", yaml.safe_load(text)["records"])

    def record(self, name: str) -> dict[str, t.Any]:
        """The only record of a connection."""
        (record,) = self.records(name)
        return record

    def spis(self, name: str, generation: str = "current") -> set[str]:
        found = [record[generation] for record in self.records(name) if record[generation] is not None]
        return {spi for row in found for spi in re.findall(r"spi (0x[0-9a-f]{8})", row["sas"])}

    def snapshot(self) -> dict[str, bytes]:
        """Every file of the keystore but its lock."""
        return {path.name: path.read_bytes() for path in sorted(self.keystore.glob("*.yml"))}


def _tool(name: str) -> str:
    beside = pathlib.Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else t.cast(str, shutil.which(name))
