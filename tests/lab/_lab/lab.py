# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Operations on a lab, on the controller's side."""

from __future__ import annotations

import concurrent.futures
import os
import re
import signal
import subprocess
import sys
import time
import typing as t

from . import access, folder, kernel, places, plan, spec, system, tables
from .errors import LabError
from .folder import Lab

LOST = 125  # exit status when the lab, not the command, failed
TIMED_OUT = 124
ANSWER_SECONDS = 15


class Boot(t.NamedTuple):
    """How to boot a lab."""

    kernel: str  # auto, host, uml, uml-VERSION
    memory: int  # MiB, User-Mode Linux only
    without: tuple[str, ...]


def boot(lab: Lab, how: Boot, hosts: tuple[plan.Host, ...], *, daemon: bool, **view: t.Any) -> dict[str, t.Any]:
    """Create the folder, start the kernel, wait until every sshd answers; return the state. A
    failure leaves nothing behind.
    """
    image = kernel.choose(how.kernel, how.without)
    chosen, modules = ("uml", str(image.modules)) if image else ("host", "")
    lab.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    lab.path.chmod(0o700)
    try:
        inside = hosts if hosts == plan.cell() else (plan.Host(tables.WIRE, "", None), *hosts)
        machine = spec.Spec(
            chosen,
            modules,
            str(lab.path),
            str(folder.LABS),
            str(folder.CHECKOUT),
            without=how.without,
            hosts=inside,
            **view,
        )
        spec.save(machine)
        access.write(lab, hosts, control=chosen == "uml")
        kernel.make_namespace(lab, tap=image is not None)
        started = time.time()
        pid = kernel.start(lab, image, how.memory, daemon=daemon)
        state = {
            "name": lab.name,
            "kernel": chosen,
            "pid": pid,
            "started": folder.started_at(pid),
            "owner": [os.getpid(), folder.started_at(os.getpid())],
            "without": list(how.without),
            "hosts": {host.name: host._asdict() | {"data": host.data and host.data._asdict()} for host in inside},
            "booting": True,
        }
        lab.save(state)
        state |= kernel.await_boot(lab, pid)
        state["booting"] = False
        state["boot_seconds"] = round(time.time() - started, 2)
        lab.save(state)
    except BaseException:
        remove(lab)
        raise
    return state


def up(lab: Lab, how: Boot, names: t.Sequence[str]) -> str:
    """Start a lab and check that every host answers; return the message for the user."""
    hosts = plan.plan_hosts(names)
    with folder.exclusive():
        sweep()
        state = lab.state()
        if state is not None:
            folder.check_alive(lab, state)
            raise LabError(
                f"lab {lab.name} is up already, with hosts {', '.join(addressed(state))}. Use it, or: tests/lab/lab"
                f" down --name {lab.name}"
            )
        started = time.monotonic()
        state = boot(lab, how, hosts, daemon=True, writable=(), shown=(), own_home=True)
    try:
        check_ssh(lab, [host.name for host in hosts])
    except BaseException:
        down(lab)
        raise
    return f"{status(lab)}\nup in {time.monotonic() - started:.1f} s; inventory: {lab.path / 'inventory.yml'}"


def check_ssh(lab: Lab, names: t.Sequence[str]) -> None:
    """Log in everywhere."""

    def answer(name: str) -> str:
        result = subprocess.run(
            access.ssh(lab, name, "true"), stdin=subprocess.DEVNULL, check=False, capture_output=True, text=True
        )
        return "" if result.returncode == 0 else f"{name}: {result.stderr.strip()}"

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        failures = [text for text in pool.map(answer, names) if text]
    if failures:
        raise LabError("hosts do not answer ssh:\n" + "\n".join(failures) + "\n" + lab.log_tail())


def remove(lab: Lab, *, keep_log: bool = False) -> None:
    """Stop the processes of a lab and delete its files."""
    kernel.stop(lab)
    lab.remove(keep_log=keep_log)


def down(lab: Lab, *, keep_log: bool = False) -> str:
    """End a lab, in whatever state it is."""
    known = lab.path.exists() or os.path.exists(f"/run/netns/{lab.namespace}")
    with folder.exclusive():
        sweep()
        remove(lab, keep_log=keep_log)
    return f"lab {lab.name} is down." if known else f"lab {lab.name} was not up."


def sweep() -> None:
    """Clean up after `exec` commands that were killed."""
    for lab in folder.all_labs():
        owner = re.fullmatch(re.escape(tables.EXEC) + "([0-9]+)", lab.name)
        if owner is None:
            continue
        state = lab.state()
        born = folder.started_at(int(owner[1]))
        if born is None or (state is not None and born != state["owner"][1]):
            remove(lab)


def addressed(state: dict[str, t.Any]) -> list[str]:
    """Hosts that ssh reaches."""
    return [name for name, host in state["hosts"].items() if host["management"]]


def status(lab: Lab) -> str:
    """A description of a living lab."""
    state = folder.living(lab)
    if not state["booting"]:
        check_answers(lab, state)
    lines = [
        f"lab {lab.name}: {'booting' if state['booting'] else 'up'}, kernel {state['kernel']}"
        f" {state.get('release', '')}"
    ]
    if state["without"]:
        lines.append(f"  without: {', '.join(state['without'])}")
    if state.get("missing_modules"):
        lines.append(f"  modules this kernel lacks: {', '.join(state['missing_modules'])}")
    for name in addressed(state):
        data = state["hosts"][name]["data"] or {"ipv4": "-", "ipv6": "-"}
        lines.append(
            f"  {name:<10} {data['ipv4']:<16} {data['ipv6']:<26} management {state['hosts'][name]['management']}"
        )
    return "\n".join(lines)


def entry(
    lab: Lab, state: dict[str, t.Any], target: str, cwd: str, command: t.Sequence[str], names: t.Sequence[str] = ()
) -> list[str]:
    """The command line that runs a command in the namespaces of target: a host, or a PID. names:
    environment variables to take along.
    """
    inner = access.program("enter", target, cwd, *command, inside=True)
    if state["kernel"] == "uml":
        return access.ssh(lab, "control", *inner, options=[f"-oSendEnv={name}" for name in names])
    return access.program("enter", str(first_process(state)), "/", *inner)


def init_pid(state: dict[str, t.Any]) -> str:
    """PID of the lab's first process, `init`, in its own PID namespace: on this machine's kernel
    its supervisor is there before it.
    """
    return "1" if state["kernel"] == "uml" else "2"


def first_process(state: dict[str, t.Any]) -> int:
    """PID of the lab's supervisor: the child of the process that made its namespaces. For labs on
    this machine's own kernel.
    """
    (child,) = folder.children_of(state["pid"])
    return child


def attended(
    lab: Lab, state: dict[str, t.Any], line: t.Sequence[str], environment: dict[str, str], timeout: float | None
) -> int:
    """Run a command line with this process's standard streams; its exit status."""
    blocking = {descriptor: os.get_blocking(descriptor) for descriptor in (0, 1, 2)}
    process = subprocess.Popen(line, env=environment, preexec_fn=lambda: system.die_with_parent(signal.SIGTERM))
    try:
        return attend(lab, state, process, timeout)
    finally:
        process.kill()
        process.wait()
        for (
            descriptor,
            value,
        ) in blocking.items():  # ssh does not restore them when it is killed, and the caller shares them
            os.set_blocking(descriptor, value)


def attend(lab: Lab, state: dict[str, t.Any], process: subprocess.Popen[bytes], timeout: float | None) -> int:
    """Wait for a command while checking the lab's kernel; return the command's exit status."""
    deadline = time.monotonic() + timeout if timeout else None
    while True:
        try:
            code = process.wait(0.25)
            break
        except subprocess.TimeoutExpired:
            pass
        if folder.death(lab, state):
            # The shared connection would wait for the dead lab, and keep this process's standard
            # streams open.
            subprocess.run(
                access.ssh(lab, "control", options=["-O", "exit"]),
                stdin=subprocess.DEVNULL,
                check=False,
                capture_output=True,
            )
            folder.check_alive(lab, state)
        if deadline and time.monotonic() > deadline:
            print(f"lab: the command did not end within {timeout:g} s.\n{lab.log_tail()}", file=sys.stderr)
            return TIMED_OUT
    if code == 255 and state["kernel"] == "uml":  # the command's own, or ssh's?
        check_answers(lab, state)
    return 128 - code if code < 0 else code


def check_answers(lab: Lab, state: dict[str, t.Any]) -> None:
    """Raise the error of a lab whose kernel has died or hangs."""
    folder.check_alive(lab, state)
    line = entry(lab, state, init_pid(state), "/", ["true"])
    try:
        result = subprocess.run(
            line, stdin=subprocess.DEVNULL, check=False, capture_output=True, text=True, timeout=ANSWER_SECONDS
        )
        problem = result.stderr.strip() if result.returncode else ""
    except subprocess.TimeoutExpired:
        problem = f"no answer within {ANSWER_SECONDS} s"
    if problem:
        folder.check_alive(lab, state)
        raise LabError(
            f"lab {lab.name}: its kernel runs (process {state['pid']}) but does not answer:"
            f" {problem}.\n{lab.log_tail()}"
        )


def run(lab: Lab, host: str, command: t.Sequence[str], timeout: float | None) -> int:
    """Run a command on a host, as root, with this process's standard streams; its exit status."""
    state = folder.living(lab)
    if host not in state["hosts"]:
        raise LabError(f"lab {lab.name} has no host {host!r}. It has: {', '.join(state['hosts'])}")
    environment = {"PATH": places.PATH, "HOME": "/root", "USER": "root", "LAB_FOLDER": str(lab.path)}
    return attended(lab, state, entry(lab, state, host, "/root", command), environment, timeout)


def fault(lab: Lab, action: str, host: str) -> str:
    """Inject a fault on a host, or repair it."""
    state = folder.living(lab)
    if host not in addressed(state):
        raise LabError(f"lab {lab.name} has no host {host!r}. It has: {', '.join(addressed(state))}")
    command = ["env", f"LAB_FOLDER={lab.path}", *access.program("fault", action, host, inside=True)]
    result = subprocess.run(
        entry(lab, state, init_pid(state), "/", command),
        stdin=subprocess.DEVNULL,
        check=False,
        capture_output=True,
        text=True,
    )
    if result.returncode:
        folder.check_alive(lab, state)
        raise LabError(f"lab {lab.name}: fault {action} {host}: {result.stderr.strip()}")
    return f"{host}: {action} done."


def execute(
    how: Boot, command: t.Sequence[str], names: t.Sequence[str], shown: t.Sequence[str], timeout: float | None
) -> int:
    """Run a command on a kernel with ESP and AH in its own network namespace; return its exit
    status. No lab is left behind.
    """
    lab = Lab(f"{tables.EXEC}{os.getpid()}")
    with folder.exclusive():
        sweep()
    try:
        state = boot(lab, how, plan.cell(), daemon=False, writable=(str(folder.BUILD),), shown=shown, own_home=False)
        environment = {"HOME": "/root", "USER": "root", "LAB_FOLDER": str(lab.path), "PATH": places.PATH}
        environment |= {name: os.environ[name] for name in names if name in os.environ}
        inner = ["env", f"PATH={os.environ['PATH']}", *command]
        line = entry(lab, state, tables.CELL, os.getcwd(), inner, names)
        return attended(lab, state, line, environment, timeout)
    finally:
        with folder.exclusive():
            remove(lab)


def requirements() -> str:
    """Debian packages, one per line."""
    return "\n".join(kernel.packages())
