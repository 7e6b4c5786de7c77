# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab's kernel: choose it, check its requirements, start and stop it."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time
import typing as t

from . import access, images, places, system, tables
from .errors import LabError
from .folder import CHECKOUT, Lab, started_at

BOOT_SECONDS = 90
# One SA of each kind that the lab needs, to test a kernel. The keys are used nowhere else.
PROBE = """\
{add} src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1000 enc cbc(aes) {key} auth-trunc hmac(sha256) {key}{half} 128
{add} src 192.0.2.1 dst 192.0.2.2 proto ah spi 0x1001 auth-trunc hmac(sha256) {key}{half} 128
{add} src 2001:db8::1 dst 2001:db8::2 proto esp spi 0x1002 enc cbc(aes) {key} auth-trunc hmac(sha256) {key}{half} 128
{add} src 2001:db8::1 dst 2001:db8::2 proto ah spi 0x1003 auth-trunc hmac(sha256) {key}{half} 128
""".format(add="xfrm state add", key="0x" + "0123456789abcdef" * 2, half="0123456789abcdef" * 2)


def host_kernel_refusal() -> str | None:
    """The kernel's reason why this machine's own kernel is unsuitable; None if it is suitable."""
    result = subprocess.run(
        ["unshare", "--net", "ip", "-batch", "-"], input=PROBE, check=False, capture_output=True, text=True
    )
    return None if result.returncode == 0 else (result.stderr.strip().splitlines() or ["unknown"])[0]


def choose(wanted: str, without: t.Sequence[str]) -> images.Image | None:
    """The User-Mode Linux for auto, uml, uml-VERSION or host; None for this machine's own kernel."""
    check_packages(uml=False)
    if without:
        needed = sorted(set(without) & set(tables.LAB_MODULES))
        if needed:
            raise LabError(f"--without {','.join(needed)}: the lab itself needs that. Name other modules.")
        if wanted == "host":
            raise LabError(
                "--without with --kernel host: this machine's kernel loads modules as others need them. Use --kernel"
                " uml."
            )
    elif wanted in ("auto", "host"):
        refusal = host_kernel_refusal()
        if refusal is None:
            return None
        if wanted == "host":
            raise LabError(
                f"--kernel host: this machine's kernel refuses a plain ESP or AH SA ({refusal}). Use --kernel uml."
            )
    check_packages(uml=True)
    version = wanted.removeprefix(images.PREFIX) if wanted.startswith(images.PREFIX) else ""
    return images.choose(version, images.images())


def packages() -> dict[str, str]:
    """Debian packages that the lab needs, each with a file that proves its presence: the group `lab` of debian.txt."""
    text = (CHECKOUT / "tests" / "requirements" / "debian.txt").read_text(encoding="utf-8")
    rows = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    return {row[0]: row[2] for row in rows if row[1] == "lab"}


def check_packages(*, uml: bool) -> None:
    """Report everything that is missing in one error."""
    if os.geteuid() != 0:
        raise LabError("the lab makes network namespaces and mounts: run it as root.")
    missing = [
        name
        for name, shown_by in packages().items()
        if not os.path.exists(shown_by) and (uml or name not in tables.UML_PACKAGES)
    ]
    if missing:
        raise LabError(
            "the lab needs Debian packages that are not installed. Run: apt-get install --no-install-recommends"
            f" {' '.join(missing)}"
        )
    if uml and os.uname().machine != "x86_64":
        raise LabError(
            f"User-Mode Linux is for x86_64, this machine is {os.uname().machine}. Use a kernel with ESP and AH, and"
            " --kernel host."
        )
    if uml and not os.path.exists("/dev/net/tun"):
        raise LabError(
            "/dev/net/tun is not there: the lab reaches User-Mode Linux through a tap. Load the module tun, or pass the"
            " device in."
        )
    if re.search(r'[\s":,\\]', str(CHECKOUT)):
        raise LabError(
            f"the checkout's path {str(CHECKOUT)!r} has a character that kernel command lines or overlays give a"
            " meaning. Move it."
        )


def build_library(lab: Lab, name: str) -> pathlib.Path:
    """Compile NAME.c, which is preloaded somewhere; the library's path."""
    library = lab.path / f"{name}.so"
    source = pathlib.Path(__file__).with_name(f"{name}.c")
    result = subprocess.run(
        ["gcc", "-O2", "-shared", "-fPIC", "-o", str(library), str(source)], check=False, capture_output=True, text=True
    )
    if result.returncode:
        raise LabError(f"{source}: the compiler refuses it.\n{result.stderr}")
    return library


def uml_command(lab: Lab, image: images.Image, memory: int) -> list[str]:
    """User-Mode Linux on this machine's files. Its memory is a file, best in memory; memory is in MiB."""
    shm = shutil.disk_usage("/dev/shm").free >> 20 if os.path.isdir("/dev/shm") else 0
    build_library(lab, places.POPULATE)
    environment = [f"LD_PRELOAD={build_library(lab, 'xstate')}", f"TMPDIR={'/dev/shm' if shm > memory else '/tmp'}"]
    python, *arguments = access.program("init")
    return [
        *("env", *environment, images.program_of(lab, image), *images.settings(image)),
        *(f"mem={memory}M", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "rw", "selinux=0"),
        *(
            "con=null",
            "con0=fd:0,fd:1",
            f"uml_dir={lab.path}/uml",
            "umid=lab",
            "vec0:transport=tap,ifname=tap0,depth=128,gro=1",
        ),
        # The kernel passes unknown settings to the first process as environment, and words after --
        # as arguments.
        *(f"LAB_FOLDER={lab.path}", f"init={python}", "--", *arguments),
    ]


def make_namespace(lab: Lab, *, tap: bool) -> None:
    """Create the network namespace that connects lab and controller. All traffic of the lab stays
    in it and in its children.
    """
    run("ip", "netns", "add", lab.namespace)
    if tap:
        batch = [
            "link set lo up",
            "tuntap add dev tap0 mode tap",
            f"addr add {tables.CONTROLLER_ADDRESS}/16 dev tap0",
            "link set tap0 up",
        ]
        run("ip", "-n", lab.namespace, "-batch", "-", stdin="\n".join(batch) + "\n")


def run(*command: str, stdin: str | None = None) -> str:
    """Run a command that must succeed; its output."""
    result = subprocess.run(command, input=stdin, check=False, capture_output=True, text=True)
    if result.returncode:
        raise LabError(f"{' '.join(command)}: {result.stderr.strip()}")
    return result.stdout


def quiet_processor() -> int:
    """The processor with the fewest labs."""
    labs: collections.Counter[int] = collections.Counter()
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            if b"/_lab/start.py\0supervise\0" in (process / "cmdline").read_bytes():
                labs.update(os.sched_getaffinity(int(process.name)))
    return min(os.sched_getaffinity(0), key=lambda processor: labs[processor])


def start(lab: Lab, image: images.Image | None, memory: int, *, daemon: bool) -> int:
    """Start the kernel, or without an image a lab on this machine's, in its own PID and mount
    namespaces; return the PID of the process whose end ends the lab. A daemon survives the caller;
    otherwise the lab dies with the caller, even if that is killed. User-Mode Linux, which runs one
    process at a time, is kept on one processor: it and its processes wait for each other at every
    system call, and to wake another processor takes longer than most calls.
    """
    command = uml_command(lab, image, memory) if image else access.program("init")
    namespaces = [
        "nsenter",
        f"--net=/run/netns/{lab.namespace}",
        "unshare",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
    ]
    processors = {quiet_processor()} if image else os.sched_getaffinity(0)

    def prepare() -> None:
        os.sched_setaffinity(0, processors)
        if not daemon:
            system.die_with_parent(signal.SIGKILL)

    environment = {"PATH": os.environ["PATH"], "LAB_FOLDER": str(lab.path), "HOME": "/root"}
    with lab.log.open("wb") as log:
        process = subprocess.Popen(
            [*namespaces, *access.program("supervise", *command)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd="/",
            start_new_session=True,
            preexec_fn=prepare,
        )
    process.returncode = 0  # do not wait for it: its PID shows whether the lab is alive
    return process.pid


def await_boot(lab: Lab, pid: int) -> dict[str, t.Any]:
    """Wait for the first process's report."""
    report = lab.path / "boot.json"
    deadline = time.monotonic() + BOOT_SECONDS
    while not report.exists():
        if started_at(pid) is None:
            raise LabError(f"the lab's kernel ended while it booted.\n{lab.log_tail()}")
        if time.monotonic() > deadline:
            raise LabError(f"the lab's kernel did not boot within {BOOT_SECONDS} s.\n{lab.log_tail()}")
        time.sleep(0.02)
    answer: dict[str, t.Any] = json.loads(report.read_text(encoding="utf-8"))
    if "error" in answer:
        raise LabError(f"the lab's first process failed:\n{answer['error'].rstrip()}")
    return answer


def stop(lab: Lab) -> None:
    """End every process in the lab's network namespace, every ssh client that still holds a
    connection there, and the namespace itself.
    """
    if not os.path.exists(f"/run/netns/{lab.namespace}"):
        return
    holders = subprocess.run(
        ["nsenter", f"--net=/run/netns/{lab.namespace}", "ss", "-Htnp"], check=False, capture_output=True, text=True
    ).stdout
    kill(sorted({int(pid) for pid in re.findall(r'\("ssh",pid=(\d+)', holders)}), signal.SIGTERM)
    lab.socket.unlink(missing_ok=True)
    kill([int(pid) for pid in run("ip", "netns", "pids", lab.namespace).split()], signal.SIGKILL)
    run("ip", "netns", "del", lab.namespace)


def kill(pids: t.Sequence[int], number: signal.Signals) -> None:
    """Signal processes and wait until they are gone."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
    deadline = time.monotonic() + 5
    while any(started_at(pid) is not None for pid in pids) and time.monotonic() < deadline:
        for pid in pids:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        time.sleep(0.01)
