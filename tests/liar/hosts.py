# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A controller with a fleet of stand-in hosts, and queries for tests."""

from __future__ import annotations

import atexit
import functools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import typing as t

import yaml

from ansible.parsing.vault import VaultLib, VaultSecret

from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import format_address
from ansible_collections.ipsec.manual.plugins.module_utils._core.text import language
from ansible_collections.ipsec.manual.tests.liar import stand_in

COLLECTIONS = pathlib.Path(language.__file__).parents[7]
HOSTS = ("a", "b", "c")
ADDRESS = {"a": "192.0.2.1", "b": "192.0.2.2", "c": "192.0.2.3"}
CONNECTIONS: list[dict[str, t.Any]] = [
    {"name": "mesh", "endpoints": ADDRESS},
]
PASSWORD = "correct horse"
# The Python whose ansible-core the controller runs; this variable can name another one than that of
# the tests.
CONTROLLER = os.environ.get("LIAR_CONTROLLER", sys.executable)
PAIRS = (("a", "b"), ("a", "c"), ("b", "c"))


@functools.lru_cache(maxsize=None)
def _client() -> str:
    """The program in place of a host's Python, after a start of the stand-ins that it calls."""
    code = "from ansible_collections.ipsec.manual.tests.liar import stand_in; stand_in.serve()"
    server = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(COLLECTIONS)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    atexit.register(server.communicate)  # ends it
    assert server.stdout
    return stand_in.CLIENT % int(server.stdout.readline())


class Run(t.NamedTuple):
    """A finished run of ansible-playbook."""

    status: int
    output: str

    @property
    def text(self) -> str:
        """The output in one line, since Ansible breaks its own, and reports are lists of lines."""
        return " ".join(re.sub(r'",\n\s+"', " ", self.output).split())


class Fleet:
    """A project's folder, and a folder for each host."""

    def __init__(self, folder: pathlib.Path, like: Fleet | None = None) -> None:
        """Hosts that hold nothing, or ``like`` another fleet with its keystore."""
        if like is not None:
            shutil.copytree(like.folder, folder, dirs_exist_ok=True)
        self.folder = folder
        self.keystore = folder / "keystore"
        self.environment: dict[str, str] = {}
        (folder / "password").write_text(PASSWORD + "\n", encoding="utf-8")
        self.inventory: dict[str, t.Any] = {"all": {"vars": {"ipsec_connections": CONNECTIONS}, "hosts": {}}}
        for host in HOSTS:
            home = folder / host
            home.mkdir(exist_ok=True)
            if like is None:
                (home / "state.json").write_text(json.dumps(stand_in.EMPTY), encoding="utf-8")
            self.lie(host)
            python = home / "python"
            python.write_text(_client(), encoding="utf-8")
            python.chmod(0o755)
            self.inventory["all"]["hosts"][host] = {
                "ansible_connection": "local",
                "ansible_python_interpreter": str(python),
            }

    def lie(self, host: str, **modules: t.Any) -> None:
        """From now on the host falsifies answers of these modules, ``MODULE`` or ``MODULE:STATE``; see `stand_in`."""
        (self.folder / host / "lies.json").write_text(json.dumps(modules), encoding="utf-8")

    def run(
        self,
        *options: str,
        role: t.Mapping[str, t.Any] | None = None,
        extra: t.Mapping[str, t.Any] | None = None,
        play: t.Mapping[str, t.Any] | None = None,
        before: t.Sequence[t.Any] = (),
        name: str = "rotate",
    ) -> Run:
        """Run the role ``name`` over all hosts, with role parameters, extra variables, keywords of
        the play and tasks before.
        """
        roles = {"ansible.builtin.import_role": {"name": f"ipsec.manual.{name}"}, "vars": dict(role or {})}
        content = [{"hosts": "all", "gather_facts": False, "tasks": [*before, roles], **(play or {})}]
        (self.folder / "play.yml").write_text(json.dumps(content), encoding="utf-8")
        return self.playbook("play.yml", *options, extra=extra)

    def status(self, *options: str) -> Run:
        """Run the playbook `status` over all hosts."""
        return self.playbook("ipsec.manual.status", *options, extra={"rotate_keystore": str(self.keystore)})

    def playbook(self, name: str, *options: str, extra: t.Mapping[str, t.Any] | None) -> Run:
        """Run a playbook over all hosts."""
        (self.folder / "hosts.yml").write_text(yaml.safe_dump(self.inventory), encoding="utf-8")
        command = [
            CONTROLLER,
            "-m",
            "ansible",
            "playbook",
            "-i",
            "hosts.yml",
            "--vault-password-file",
            "password",
            *options,
        ]
        command += ["-e", json.dumps(dict(extra))] if extra else []
        environment = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_LOCALHOST_WARNING": "0",
            "ANSIBLE_LOCAL_TEMP": str(self.folder / "tmp"),
            **self.environment,
        }
        done = subprocess.run(
            [*command, name],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        return Run(done.returncode, done.stdout)

    def state(self, host: str) -> dict[str, t.Any]:
        found: dict[str, t.Any] = json.loads((self.folder / host / "state.json").read_text(encoding="utf-8"))
        return found

    def asked(self, host: str) -> list[dict[str, t.Any]]:
        """The requests to the host since the last call."""
        log = self.folder / host / "asked.jsonl"
        found = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.exists() else []
        log.unlink(missing_ok=True)
        return found

    def sas(self, host: str, pair: tuple[str, str]) -> set[t.Any]:
        """The SAs that the host's kernel holds between two hosts."""
        ends = {ADDRESS[name] for name in pair}
        found = stand_in._sas(self.state(host)["kernel"])
        return {sa for sa in found if {format_address(sa.source), format_address(sa.destination)} == ends}

    def sent(self, host: str, peer: str) -> set[t.Any]:
        """The SAs through which the host sends to a peer."""
        return {sa for sa in self.sas(host, (host, peer)) if format_address(sa.source) == ADDRESS[host]}

    def ciphers(self) -> set[str]:
        return {
            f"{sa.encryption}/{sa.authentication}" for host in HOSTS for sa in stand_in._sas(self.state(host)["kernel"])
        }

    def record(self, name: str) -> dict[str, t.Any]:
        vault = VaultLib([("default", VaultSecret(PASSWORD.encode()))])
        return t.cast("dict[str, t.Any]", yaml.safe_load(vault.decrypt((self.keystore / f"{name}.yml").read_bytes())))

    def leftovers(self) -> list[pathlib.Path]:
        """What runs left in Ansible's temporary directory."""
        return list((self.folder / "tmp").rglob("ipsec.manual.*"))

    @staticmethod
    def changed(run: Run) -> dict[str, int]:
        return {
            host: int(number) for host, number in re.findall(r"^(\w+)\s+: ok=\d+\s+changed=(\d+)", run.output, re.M)
        }
