# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prints as JSON the seconds that the core, ip(8) and a C program take for the same SAs on this kernel.

    core.py COUNT ROUNDS WORK_FOLDER LINES

ESP, transport mode, AES-CBC-256 and HMAC-SHA-256-128, one SA to each of COUNT destinations. The
rivals take turns, so that a busy machine slows all of them, and the median of the rounds counts: the
fastest round favours the shorter work, which more often runs without interruption. A round before the
first one counts for nothing: in it the kernel loads its algorithms and hands out memory. Of LINES
lines of the same kind it is measured how long reading and checking takes, against JSON."""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

from ansible_collections.ipsec.manual.plugins.module_utils import _core
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import (
    SecurityAssociation,
    build,
    format_address,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.plan import plan
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb import open_sadb
from ansible_collections.ipsec.manual.plugins.module_utils._core.text import language, script

SOURCE = bytes((10, 255, 0, 1))
REQID = 7
# How often a round dumps the same SADB, and starts the command.
LOOKS = 3
# Number of references to an algorithm that a kernel without SAs may have.
FEW = 16


def make_sas(count: int) -> list[SecurityAssociation]:
    keys = os.urandom(64 * count)
    return [
        build(
            "esp",
            0x1000 + number,
            (0x0A000000 + number).to_bytes(4, "big"),
            SOURCE,
            "aes-cbc",
            "hmac-sha256",
            reqid=REQID,
            encryption_key=keys[64 * number : 64 * number + 32],
            authentication_key=keys[64 * number + 32 : 64 * number + 64],
        )
        for number in range(count)
    ]


def as_batch(sas: t.Sequence[SecurityAssociation]) -> str:
    """The same SAs for ``ip -batch``."""
    return "".join(
        f"xfrm state add src {format_address(sa.source)} dst {format_address(sa.destination)} proto esp spi {sa.spi}"
        f" reqid {sa.reqid} mode transport enc cbc(aes) 0x{sa.encryption_key.hex()} auth-trunc hmac(sha256)"
        f" 0x{sa.authentication_key.hex()} 128\n"
        for sa in sas
    )


def empty() -> None:
    subprocess.run(["ip", "xfrm", "state", "flush"], check=True)
    settle()


def settle() -> None:
    """Wait until the kernel has freed the deleted SAs, which it does later and, in the lab, on the
    processor that is measured.

    Each SA holds a reference to its algorithms, which /proc/crypto counts. The C program waits in the same way.
    """
    while any(
        int(number) > FEW
        for number in re.findall(r"^refcnt\s*: (\d+)", Path("/proc/crypto").read_text(encoding="ascii"), re.MULTILINE)
    ):
        time.sleep(0.001)


def expect(count: int) -> None:
    """Check with ip(8) that the SADB has this many SAs, so that doing nothing does not count as fast."""
    found = int(
        subprocess.run(["ip", "xfrm", "state", "count"], check=True, capture_output=True, text=True).stdout.split()[-1]
    )
    if found != count:
        sys.exit(f"the SADB holds {found} SAs instead of {count}")


class Clock:
    """The seconds of several rounds, by name."""

    def __init__(self) -> None:
        self.rounds: dict[str, list[float]] = {}

    def add(self, name: str, seconds: float) -> None:
        self.rounds.setdefault(name, []).append(seconds)

    def medians(self) -> dict[str, float]:
        return {name: statistics.median(seconds) for name, seconds in self.rounds.items()}

    def time(self, name: str, work: t.Callable[[], t.Any]) -> t.Any:
        began = time.perf_counter()
        result = work()
        self.add(name, time.perf_counter() - began)
        return result


def measure_core(clock: Clock, sas: list[SecurityAssociation]) -> None:
    sadb = open_sadb()
    empty()
    clock.time("core add", lambda: sadb.apply(plan(sas, sadb.dump(), "present").operations))
    expect(len(sas))
    for _look in range(LOOKS):
        # As a program does, which reads a SADB once: the SADB keeps what it has read.
        entries = clock.time("core dump", open_sadb().dump)
        if {entry.sa for entry in entries} != set(sas):
            sys.exit("the dump differs from the SAs added")
        del entries
        if clock.time("core second run", lambda: plan(sas, open_sadb().dump(), "present").operations):
            sys.exit("the second run would change something")
    # The C program does not build its messages, either. Reading, which takes nearly all of the
    # plan's time, has a separate target.
    deletions = clock.time("core plan of delete", lambda: plan(sas, sadb.dump(), "absent").operations)
    clock.time("core delete", lambda: (sadb.apply(deletions), settle()))
    expect(0)


def measure_c(clock: Clock, program: Path, count: int) -> None:
    empty()
    seconds = subprocess.run(
        [str(program), str(count), str(LOOKS)], check=True, capture_output=True, text=True
    ).stdout.split()
    expect(0)
    for name, each in zip(("C add", *["C dump"] * LOOKS, "C delete"), seconds):
        clock.add(name, float(each))


def measure_ip(clock: Clock, batch: str, count: int) -> None:
    empty()
    clock.time("ip -batch add", lambda: subprocess.run(["ip", "-batch", "-"], input=batch, check=True, text=True))
    expect(count)


class Command:
    """The ipseckey command as installed, with bytecode, and a file for it."""

    def __init__(self, text: str) -> None:
        # Not in the work folder, which the lab mounts from the host: it is not a local file system.
        self.folder = Path(tempfile.mkdtemp(prefix="ipsec-manual-bench-", dir="/root"))
        shutil.copytree(
            next(iter(_core.__path__)), self.folder / "ipseckey", ignore=shutil.ignore_patterns("__pycache__")
        )
        self.file, self.nothing = self._write("keys", text), self._write("nothing", "")
        self.run("-c", str(self.file))

    def _write(self, name: str, text: str) -> Path:
        file = self.folder / name
        file.write_text(text, encoding="ascii")
        file.chmod(0o600)
        return file

    def run(self, *words: str) -> None:
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(self.folder)}
        subprocess.run(
            ["/usr/bin/python3", "-m", "ipseckey.program.command", *words],
            env=environment,
            check=True,
            stderr=subprocess.DEVNULL,
        )


def measure_command(clock: Clock, command: Command, count: int) -> None:
    empty()
    for _look in range(LOOKS):
        clock.time("ipseckey -f, start", lambda: command.run("-f", str(command.nothing)))
    clock.time("ipseckey -f", lambda: command.run("-f", str(command.file)))
    expect(count)


def as_json(sas: t.Sequence[SecurityAssociation]) -> str:
    """The same SAs as one JSON document, with the keywords of an ipseckeys text."""
    return json.dumps(
        [
            {
                "protocol": sa.protocol,
                "spi": f"0x{sa.spi:08x}",
                "src": format_address(sa.source),
                "dst": format_address(sa.destination),
                "encr_alg": sa.encryption,
                "encrkey": sa.encryption_key.hex(),
                "auth_alg": sa.authentication,
                "authkey": sa.authentication_key.hex(),
                "reqid": sa.reqid,
            }
            for sa in sas
        ]
    )


def measure_text(clock: Clock, lines: int, rounds: int) -> None:
    sas = make_sas(lines)
    text, document = language.render(sas), as_json(sas)
    for _round in range(rounds):
        clock.time("json.loads", lambda: json.loads(document))
        steps = clock.time("parse and check", lambda: script.parse(text)).steps
        if [step.sa for step in steps] != sas:
            sys.exit("the text was not parsed into these SAs")
        del steps


def keep_memory(count: int) -> list[bytes]:
    """Make Python keep its memory for as many SAs as long as the result exists: it gives an arena (256 KB,
    or 1 MB) back to the kernel when it is empty, and the first access to a page is slow in User-Mode Linux.
    """
    return [bytes(400) for dummy in range(4 * count)][::250]


def main() -> None:
    count, rounds, folder, lines = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "baseline"
    compiler = [
        "gcc",
        "-O2",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-o",
        str(program),
        str(Path(__file__).with_name("baseline.c")),
    ]
    subprocess.run(compiler, check=True)
    sas = make_sas(count)
    command = Command(language.render(sas))
    kept = keep_memory(count)
    clock = Clock()
    for number in range(rounds + 1):
        measure_c(clock, program, count)
        measure_core(clock, sas)
        measure_command(clock, command, count)
        if number == 0:
            clock = Clock()
    # It has no target, and takes longer than everything else together.
    measure_ip(clock, as_batch(sas), count)
    empty()
    shutil.rmtree(command.folder)
    del kept
    reading = Clock()
    measure_text(reading, lines, rounds)
    measured = {"count": count, "seconds": clock.medians(), "lines": lines, "reading": reading.medians()}
    print(json.dumps({**measured, "python": sys.version.split()[0], "kernel": os.uname().release}))


if __name__ == "__main__":
    main()
