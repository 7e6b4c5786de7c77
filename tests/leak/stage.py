# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A controller and hosts under observation, and the evaluation of findings. The controller runs in
separate mount and PID namespaces on this machine, isolated from everything else.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import re
import secrets
import shlex
import shutil
import subprocess
import sys
import threading
import typing as t
from pathlib import Path

from ansible.parsing.vault import VaultLib, VaultSecret

from . import marker, observe

TOP = Path(__file__).resolve().parents[2]
COLLECTIONS = TOP.parents[2]
HERE = Path(__file__).parent
WORK = COLLECTIONS.parent / "leak"  # not below /tmp, of which the cell has its own
LAB = (str(TOP / "tests" / "lab" / "lab"),)
NAME = "leak"
HOSTS = ("enigma", "partym")
OWN_FOLDERS = ("/run", "/tmp", "/dev/shm", "/etc/inet", "/var/tmp", "/root")
SECRET_FOLDER = "/etc/inet/secret/"
HISTORY = os.path.join("/root", ".bash_history")
CONTROLLER = "controller"
# Written by Ansible in every run with all its output enabled.
WRITTEN = ("ansible.log", "junit", "results", "tree")


class Leak(t.NamedTuple):
    """The marker where it must not be."""

    system: str
    finding: observe.Finding

    def __str__(self) -> str:
        kind, place, form, mode, uid, context = self.finding
        return (
            f"{self.system}: {kind} {place} ({form}{f', mode {mode}, uid {uid}' if kind == 'file' else ''}):"
            f" …{context!r}"
        )


class Outcome(t.NamedTuple):
    """A run and what was seen during it. ``counts`` and ``invocations`` are by system."""

    status: int
    output: str
    leaks: list[Leak]
    allowed: list[Leak]
    counts: dict[str, dict[str, int]]
    invocations: dict[str, set[str]]

    def kinds(self, system: str) -> set[str]:
        """The kinds of leaks on a system."""
        return {leak.finding.kind for leak in self.leaks if leak.system == system}


def is_allowed(system: str, finding: observe.Finding) -> bool:
    """A key may be in a protected file of a host: owned by root, mode 0600. The search does not
    cover the kernel's SADB.
    """
    return (
        system != CONTROLLER
        and finding.kind == "file"
        and finding.place.startswith(SECRET_FOLDER)
        and (finding.mode, finding.uid) == ("0600", 0)
    )


class System:
    """One observed system."""

    def __init__(self, name: str, command: t.Sequence[str], order: observe.Order) -> None:
        self.name = name
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/")
        self._send(dict(order))

    def ready(self) -> None:
        """Wait until the watches stand."""
        self._receive()

    def _send(self, message: dict[str, t.Any]) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def _receive(self) -> dict[str, t.Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the observer of {self.name} ended with status {self.process.wait()}")
        answer: dict[str, t.Any] = json.loads(line)
        return answer

    def collect(self) -> dict[str, t.Any]:
        """What was seen since the last call."""
        self._send({})
        return self._receive()

    def end(self) -> None:
        """Stop observing."""
        try:
            self.process.communicate(timeout=10)  # closes its input, at whose end it ends
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()


class Stage:
    """The lab's hosts and the controller's cell, each with its observer."""

    def __init__(self) -> None:
        self.marker = marker.new()
        self.search = marker.Search(self.marker)
        self.keys = marker.Keys(self.marker)
        shutil.rmtree(WORK, ignore_errors=True)
        WORK.mkdir(mode=0o700, parents=True)
        self.inventory = TOP / "build" / "lab" / NAME / "inventory.yml"
        subprocess.run([*LAB, "down", "--name", NAME], check=True, stdout=subprocess.DEVNULL)
        subprocess.run([*LAB, "up", "--kernel", "uml", "--name", NAME, "--hosts", ",".join(HOSTS)], check=True)
        self._systems: list[System] = []
        self._remembers = ""
        try:
            self._observe()
        except BaseException:
            self.end()
            raise

    def _observe(self) -> None:
        recorder = base64.b64encode(compile_recorder()).decode("ascii")
        order = observe.Order(
            marker=self.marker.hex(), recorder=recorder, private=False, search=list(OWN_FOLDERS), share=0.08
        )  # all hosts share one processor
        program = ["env", f"PYTHONPATH={COLLECTIONS}", "/usr/bin/python3", "-B", "-m", observe.__name__]
        cell = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", *program]
        private = observe.Order(
            marker=self.marker.hex(),
            recorder=recorder,
            private=True,
            search=["/run", "/tmp", "/dev/shm", "/var/tmp", str(WORK)],
            share=0.1,
        )
        self._systems.append(System(CONTROLLER, cell, private))
        self._systems += [System(host, [*LAB, "run", "--name", NAME, host, "--", *program], order) for host in HOSTS]
        for system in self._systems:
            system.ready()
        (unshare,) = (system.process.pid for system in self._systems if system.name == CONTROLLER)
        self._cell = Path(f"/proc/{unshare}/task/{unshare}/children").read_text(encoding="ascii").split()[0]

    def end(self) -> None:
        """Stop observers and lab; files are kept for the analysis of failures."""
        for system in self._systems:
            system.end()
        subprocess.run([*LAB, "down", "--name", NAME], check=True, stdout=subprocess.DEVNULL)

    def command(self, system: str, *command: str) -> list[str]:
        """The command line that runs a command on a system."""
        if system == CONTROLLER:
            folder = f"cd {shlex.quote(str(WORK))} && exec {shlex.join(command)}"
            return ["nsenter", f"--target={self._cell}", "--mount", "--pid", "--", "sh", "-c", folder]
        return [*LAB, "run", "--name", NAME, system, "--", *command]

    def run(
        self, system: str, *command: str, stdin: bytes = b"", environment: t.Mapping[str, str] | None = None
    ) -> Outcome:
        """Run a command on a system and evaluate its output and all observations."""
        result = subprocess.run(
            self.command(system, *command),
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            check=False,
        )
        seen = self._collect()
        if form := self.search.first(result.stdout):
            printed = observe.Finding("output", command[0], form, "", 0, self.search.context(result.stdout))
            seen[system]["findings"].append(printed)
        everything = [
            Leak(name, finding)
            for name, answer in seen.items()
            for finding in itertools.starmap(observe.Finding, answer["findings"])
            if (name, finding.kind, finding.place) != (self._remembers, "file", HISTORY)
        ]
        return Outcome(
            result.returncode,
            result.stdout.decode("utf-8", "replace"),
            [leak for leak in everything if not is_allowed(*leak)],
            [leak for leak in everything if is_allowed(*leak)],
            {name: answer["counts"] for name, answer in seen.items()},
            {name: set(answer["invocations"]) for name, answer in seen.items()},
        )

    def _collect(self) -> dict[str, dict[str, t.Any]]:
        seen: dict[str, dict[str, t.Any]] = {}
        threads = [
            threading.Thread(target=lambda system=system: seen.update({system.name: system.collect()}))
            for system in self._systems
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        missing = [system.name for system in self._systems if system.name not in seen]
        if missing:
            raise RuntimeError(f"the observers of {', '.join(missing)} do not answer")
        return seen

    def kernel_keys(self, host: str) -> list[bytes]:
        """The keys of a host's SADB in hex, as iproute2 shows them: one for each algorithm of each SA."""
        result = subprocess.run(self.command(host, "ip", "xfrm", "state"), check=True, stdout=subprocess.PIPE)
        return re.findall(rb"^\s*(?:enc|auth-trunc|auth|aead) \S+ 0x([0-9a-f]+)", result.stdout, re.MULTILINE)

    @contextlib.contextmanager
    def history(self, host: str) -> t.Iterator[None]:
        """On this host somebody once typed a key. It does not count as a leak as long as it stays in that file."""
        line = f"ipseckey add esp spi 0x9999 dst 192.0.2.1 encralg aes encrkey {self.keys.key(32).hex()}\n"
        self._remembers = host
        assert self.run(host, "sh", "-c", f"cat > {HISTORY}", stdin=line.encode()).leaks == []
        try:
            yield
        finally:
            self.run(host, "rm", HISTORY)
            self._remembers = ""

    def vault(self) -> VaultLib:
        """The vault whose password the playbooks get."""
        password = WORK / "vault.txt"
        if not password.exists():
            password.write_text(secrets.token_hex(16), encoding="ascii")
            password.chmod(0o600)
        return VaultLib([("default", VaultSecret(password.read_bytes()))])

    def write_variables(self, values: t.Mapping[str, t.Any]) -> None:
        """variables.yml, vault-encrypted: the only way for keys into a playbook."""
        (WORK / "variables.yml").write_bytes(self.vault().encrypt(json.dumps(values)))

    def clear(self) -> None:
        """Remove what a playbook left on the controller."""
        for name in (*WRITTEN, "facts", "retry", "variables.yml"):
            shutil.rmtree(WORK / name, ignore_errors=True)
            (WORK / name).unlink(missing_ok=True)

    def playbook(
        self,
        playbook: str,
        *arguments: str,
        pipelining: bool,
        debug: bool,
        settings: t.Mapping[str, t.Any] | None = None,
    ) -> Outcome:
        """Run a playbook of ours, or one of the collection by its full name, with maximum verbosity
        and all of Ansible's output enabled.

        ``settings`` and ``pipelining`` are variables of the group, as users set them; a task may override them.
        """
        inventory = WORK / "inventory"
        inventory.mkdir(exist_ok=True)
        shutil.copy(self.inventory, inventory / "1-lab.yml")
        group = {"lab": {"vars": {"ansible_ssh_pipelining": pipelining, **(settings or {})}}}
        (inventory / "2-settings.yml").write_text(json.dumps(group), encoding="utf-8")
        self.vault()
        path = playbook if playbook.count(".") == 2 else str(HERE / "playbooks" / playbook)
        outcome = self._ansible("ansible-playbook", "-vvvvv", "--diff", *arguments, path, debug=debug)
        silent = [name for name in WRITTEN if not (WORK / name).exists()]
        if silent:
            raise RuntimeError(f"Ansible did not write: {', '.join(silent)}\n{outcome.output}")
        return outcome

    def list_inventory(self) -> Outcome:
        """Make Ansible print all variables of all hosts, including cached facts, as the last playbook left them."""
        return self._ansible("ansible-inventory", "--list", debug=False)

    def _ansible(self, program: str, *arguments: str, debug: bool) -> Outcome:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
            "HOME": "/tmp/home",
            "ANSIBLE_HOME": "/tmp/home/.ansible",
            "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
            "ANSIBLE_LOG_PATH": str(WORK / "ansible.log"),
            "ANSIBLE_DEBUG": str(int(debug)),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_DISPLAY_TRACEBACK": "always",
            "ANSIBLE_DISPLAY_ARGS_TO_STDOUT": "1",
            "ANSIBLE_CACHE_PLUGIN": "ansible.builtin.jsonfile",
            "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(WORK / "facts"),
            "ANSIBLE_CALLBACK_PLUGINS": str(HERE / "callbacks"),
            "ANSIBLE_RETRY_FILES_ENABLED": "1",
            "ANSIBLE_RETRY_FILES_SAVE_PATH": str(WORK / "retry"),
            "ANSIBLE_CALLBACKS_ENABLED": "ansible.builtin.junit,ansible.builtin.tree,results",
            "ANSIBLE_CALLBACK_TREE_DIR": str(WORK / "tree"),
            "JUNIT_OUTPUT_DIR": str(WORK / "junit"),
            "LEAK_RESULTS": str(WORK / "results"),
        }
        options = ["-i", str(WORK / "inventory"), "--vault-password-file", str(WORK / "vault.txt")]
        return self.run(
            CONTROLLER, str(Path(sys.executable).with_name(program)), *options, *arguments, environment=environment
        )


def compile_recorder() -> bytes:
    """exec_record.c as a shared library."""
    library = WORK / "exec.so"
    source = HERE / "exec_record.c"
    definition = f'-DRECORD="{observe.RECORD}"'
    subprocess.run(
        ["gcc", "-Wall", "-Wextra", "-Werror", "-O2", "-shared", "-fPIC", definition, "-o", str(library), str(source)],
        check=True,
    )
    return library.read_bytes()
