# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action and the lookup, through ansible-playbook: the vault's secrets, the play's hosts and
check mode come from Ansible itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import pty
import re
import shutil
import subprocess
import sys
import typing as t

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import keys

COLLECTIONS = pathlib.Path(keys.__file__).parents[7]
CONNECTIONS = [
    {"name": "pair", "endpoints": {"a": "192.0.2.1", "b": "192.0.2.2"}},
    {
        "name": "mesh",
        "endpoints": {"a": "2001:db8::1", "b": "2001:db8::2", "c": "2001:db8::3"},
        "associations": [{}, {"protocol": "ah"}],
    },
]


class Controller:
    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.keystore = folder / "keystore"
        self.pid = 0
        for name, word in (("default", "correct"), ("ops", "horse"), ("wrong", "battery")):
            (folder / name).write_text(word)

    def play(
        self,
        *tasks: dict[str, t.Any],
        hosts: str = "all",
        options: t.Sequence[str] = ("--vault-password-file", "default"),
        started_in: pathlib.Path | None = None,
        **play: t.Any,
    ) -> tuple[int, str]:
        """Run tasks once, in a play of three hosts that are never contacted. Returns exit status and output."""
        steps = [{"name": f"Step {number}", "run_once": True, **task} for number, task in enumerate(tasks)]
        (self.folder / "play.json").write_text(
            json.dumps([{"hosts": hosts, "gather_facts": False, "tasks": steps, **play}])
        )
        command = [
            sys.executable,
            "-m",
            "ansible",
            "playbook",
            "-i",
            "a,b,c",
            "-v",
            *options,
            str(self.folder / "play.json"),
        ]
        environment = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_LOCALHOST_WARNING": "0",
        }
        with subprocess.Popen(
            command,
            cwd=started_in or self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            self.pid = process.pid
            output = process.communicate()[0]
        # The reasons of a failure are a list of lines, which break sentences.
        return process.returncode, re.sub(r'",\n\s+"\s*', " ", output)

    def well(self, *tasks: dict[str, t.Any], **options: t.Any) -> str:
        status, output = self.play(*tasks, **options)
        assert status == 0, output
        return output

    def badly(self, *tasks: dict[str, t.Any], **options: t.Any) -> str:
        status, output = self.play(*tasks, **options)
        assert status != 0, output
        return output

    def snapshot(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.keystore.glob("*.yml")}


def keystore(state: str = "prepared", **options: t.Any) -> dict[str, t.Any]:
    return {
        "ipsec.manual.ipsec_keystore": {"state": state, "directory": "keystore", "connections": CONNECTIONS, **options}
    }


def show(*names: str, options: str = "") -> dict[str, t.Any]:
    """A task that shows SPIs, fingerprints and addresses of the lookup's SAs, without keys."""
    look_up = f"lookup('ipsec.manual.ipsec_keystore', {list(names)!r}, directory='keystore'{options})"
    return {
        "ansible.builtin.debug": {
            "msg": f"{{{{ ({look_up} | ipsec.manual.ipseckeys_parse) | map(attribute='spi') | join(' ') }}}}"
        }
    }


@pytest.fixture
def controller(tmp_path: pathlib.Path) -> Controller:
    return Controller(tmp_path)


def shown(output: str) -> list[set[str]]:
    return [set(text.split()) for text in re.findall(r'"msg": "([^"]*)"', output)]


def test_a_generation_is_made_kept_promoted_and_replaced(controller: Controller) -> None:
    output = controller.well(
        keystore(),
        show("pair", options=", generation='next'"),
        keystore(),
        keystore("switching"),
        keystore("promoted"),
        show("pair"),
        keystore(),
        show("mesh", options=", host='b'"),
        show("pair", "mesh", options=", host='a'"),
        keystore(new_keys=True, only=["pair"]),
        show("pair", options=", generation='newest'"),
        show("mesh", options=", generation='newest'"),
        keystore("discarded", only=["pair"]),
    )
    assert re.findall(r"^(?:ok|changed): \[a\]", output, re.M) == [
        *(
            "changed: [a]",
            "ok: [a]",
            "ok: [a]",
            "changed: [a]",
            "changed: [a]",
            "ok: [a]",
            "ok: [a]",
            "ok: [a]",
            "ok: [a]",
        ),
        *("changed: [a]", "ok: [a]", "ok: [a]", "changed: [a]"),
    ]
    first, current, mesh_of_b, all_of_a, newest, mesh = shown(output)
    assert first == current and len(first) == 2 and len(mesh_of_b) == 8 and len(mesh) == 12
    assert all_of_a > current and len(all_of_a) == 10 and mesh_of_b < mesh
    assert len(newest) == 2 and not newest & current
    assert re.findall(r'"outcome": "(\w+)"', output)[:8] == ["made"] * 4 + ["resumed"] * 4


def test_pairs_can_be_named(controller: Controller) -> None:
    output = controller.well(
        keystore(),
        keystore("promoted"),
        show("mesh/a,b"),
        show("mesh/c"),
        {**keystore(new_keys=True, only=["mesh/b,a"]), "register": "made"},
        {"ansible.builtin.assert": {"that": "made.connections | map(attribute='name') | list == ['mesh/a,b']"}},
        show("mesh/a,b", options=", generation='newest'"),
        show("mesh/c", options=", generation='newest'"),
        keystore("promoted", only=["a,b"]),
        show("mesh", options=", host='a'"),
        *tried(show("mesh/a,d"), show("mesh/a,c", options=", generation='previous'"), keystore(only=["mesh/d"])),
    )
    found = [words for words in shown(output) if all(word.startswith("0x") for word in words)]
    old, of_c, new, still_of_c, all_of_a = found
    assert len(old) == len(new) == 4 and not old & new
    assert len(of_c) == 8 and of_c == still_of_c and new < all_of_a and len(all_of_a - new) == 4
    for message in (
        "there is no current generation for mesh/a,d",
        "there is no previous generation for mesh/a,c",
        "there is no connection, host or pair mesh/d",
    ):
        assert message in output


def test_every_run_reports_departed_hosts(controller: Controller) -> None:
    smaller = [CONNECTIONS[0], {**CONNECTIONS[1], "endpoints": {"a": "2001:db8::1", "b": "2001:db8::2"}}]
    departed = "[{'name': 'mesh', 'hosts': ['c'], 'pairs': [['a', 'c'], ['b', 'c']]}]"
    controller.well(
        keystore(),
        keystore("promoted"),
        {**keystore(connections=smaller), "register": "leaving"},
        keystore("promoted", connections=smaller),
        {**keystore(connections=smaller[:1]), "register": "left"},
        keystore("retired", connections=smaller, only=["mesh"]),
        {**keystore(connections=smaller), "register": "forgotten"},
        {
            "ansible.builtin.assert": {
                "that": [f"leaving.departed == {departed}", f"left.departed == {departed}", "forgotten.departed == []"]
            }
        },
    )


def test_a_relative_directory_is_beside_the_playbook_for_both(
    controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = controller.folder / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setenv("HOME", str(controller.folder / "home"))
    controller.well(
        keystore(),
        show("pair", options=", generation='next'"),
        keystore(directory="~/kept"),
        {
            "ansible.builtin.debug": {
                "msg": (
                    "{{ lookup('ipsec.manual.ipsec_keystore', 'pair', directory='~/kept', generation='next') | length >"
                    " 99 }}"
                )
            }
        },
        options=("--vault-password-file", str(controller.folder / "default")),
        started_in=elsewhere,
    )
    assert (controller.keystore / "pair.yml").exists() and (controller.folder / "home" / "kept" / "pair.yml").exists()
    assert not list(elsewhere.iterdir())


def test_taken_spis_that_are_reserved_are_accepted(controller: Controller) -> None:
    controller.well(keystore(taken_spis=["0x00000000", "0x00000064", "0x8bcd1407"]))


def tried(*tasks: dict[str, t.Any]) -> list[dict[str, t.Any]]:
    """Tasks that may fail without ending the play, so one run can test several."""
    return [{**task, "ignore_errors": True} for task in tasks]


def test_check_mode_writes_nothing_and_reports(controller: Controller) -> None:
    output = controller.well(keystore(), options=("--vault-password-file", "default", "--check", "--diff"))
    assert "changed: [a]" in output and "+next: generation 1" in output and not controller.keystore.exists()
    assert not re.search(r"[0-9a-f]{32}", output)
    checked = {**keystore(new_keys=True), "check_mode": True, "register": "checked"}
    controller.well(
        keystore(),
        keystore("promoted"),
        checked,
        {"ansible.builtin.assert": {"that": ["checked.changed", "checked.pending"]}},
    )
    output = controller.well(show("pair"), show("pair", options=", generation='newest'"))
    assert shown(output)[0] == shown(output)[1] != set()


def test_every_way_to_give_a_password_works(controller: Controller) -> None:
    both = ("--vault-id", "default@default", "--vault-id", "ops@ops")
    controller.well(keystore(vault_id="ops", only=["pair"]), keystore("promoted", only=["pair"]), options=both)
    # Promoting kept the identity without being asked.
    assert (controller.keystore / "pair.yml").read_bytes().startswith(b"$ANSIBLE_VAULT;1.2;AES256;ops\n")
    script = controller.folder / "client.sh"
    script.write_text("#!/bin/sh\necho horse\n")
    script.chmod(0o755)
    controller.well(show("pair"), options=("--vault-password-file", "client.sh"))


def rekey(controller: Controller, *options: str) -> None:
    command = [
        sys.executable,
        "-m",
        "ansible",
        "vault",
        "rekey",
        *options,
        *map(str, sorted(controller.keystore.glob("*.yml"))),
    ]
    subprocess.run(command, check=True, capture_output=True, cwd=controller.folder)


def test_ansible_vault_rekeys_every_file(controller: Controller) -> None:
    """Connections with random and with derived keys, the root secret, and a key that a lookup remembers."""
    keep = {
        "ansible.builtin.debug": {
            "msg": "{{ lookup('ipsec.manual.ipsec_key', 'aes', keystore='keystore', name='kept') | hash('sha256') }}"
        }
    }
    first = controller.well(
        keystore(only=["pair"]),
        keystore(only=["mesh"], store="derived"),
        keystore("promoted"),
        keep,
        show("pair", "mesh"),
    )
    assert sorted(controller.snapshot()) == ["_key.kept.yml", "_keystore.yml", "_root.yml", "mesh.yml", "pair.yml"]
    rekey(controller, "--vault-password-file", "default", "--new-vault-id", "ops@ops")
    assert all(data.startswith(b"$ANSIBLE_VAULT;1.2;AES256;ops\n") for data in controller.snapshot().values())
    assert "decrypts the keystore file" in controller.badly(keystore(new_keys=True))
    # The order of identities does not matter: a file keeps its own.
    both = ("--vault-id", "default@default", "--vault-id", "ops@ops")
    second = controller.well(
        keep,
        show("pair", "mesh"),
        keystore(new_keys=True, new_root=True, store="derived"),
        keystore("promoted"),
        options=both,
    )
    assert shown(first) == shown(second)
    assert all(data.startswith(b"$ANSIBLE_VAULT;1.2;AES256;ops\n") for data in controller.snapshot().values())
    # While a password is changed there are two with one name, and each file keeps its own.
    rekey(controller, "--vault-id", "ops@ops", "--new-vault-password-file", "wrong")
    controller.well(keep, keystore("retired"), options=("--vault-id", "default@default", "--vault-id", "default@wrong"))
    controller.well(keystore(new_keys=True), options=("--vault-password-file", "wrong"))


def test_every_reader_refuses_a_file_of_another_keystore_with_the_same_password(
    controller: Controller,
) -> None:
    controller.well(keystore(), keystore("promoted"))
    controller.keystore.rename(controller.folder / "another")
    controller.well(keystore(), keystore("promoted"))
    own = (controller.keystore / "pair.yml").read_bytes()
    shutil.copy(controller.folder / "another" / "pair.yml", controller.keystore)
    before = controller.snapshot()
    for task in (keystore(), show("pair"), {"ipsec.manual.ipsec_keystore_info": {"directory": "keystore"}}):
        assert "pair.yml: the file belongs to another keystore, whose id is " in controller.badly(task)
    controller.well(show("mesh"))
    assert controller.snapshot() == before
    (controller.keystore / "pair.yml").write_bytes(own)
    controller.well(keystore(), show("pair", "mesh"))


@pytest.mark.parametrize("last", [("promoted",), ("promoted", "retired")])
def test_the_difference_shows_keys_that_go_with_their_root_secret(
    controller: Controller, last: tuple[str, ...]
) -> None:
    pair: dict[str, t.Any] = {"store": "derived", "only": ["pair"]}
    controller.well(keystore(**pair), keystore("promoted", only=["pair"]), keystore(new_root=True, **pair))
    if last == ("promoted",):
        controller.well(keystore("promoted", only=["pair"]), keystore(new_keys=True, **pair))
    for state in last:
        outputs = [
            controller.well({**keystore(state, only=["pair"]), "diff": True, "check_mode": check})
            for check in (True, False)
        ]
        assert all(re.search(r"[-+]previous: generation 1 ", output) for output in outputs), outputs


@pytest.mark.parametrize(
    "options",
    [
        ("--ask-vault-pass",),
        ("--vault-id", "ops@prompt"),
        ("--vault-id", "default@default", "--vault-id", "ops@prompt"),
    ],
)
def test_a_password_that_is_typed_works(controller: Controller, options: tuple[str, ...]) -> None:
    controller.well(keystore(only=["pair"]), options=("--vault-id", "ops@ops"))
    (controller.folder / "play.json").write_text(
        json.dumps(
            [
                {
                    "hosts": "all",
                    "gather_facts": False,
                    "tasks": [{**keystore("promoted", only=["pair"]), "run_once": True}],
                }
            ]
        )
    )
    command = [sys.executable, "-m", "ansible", "playbook", "-i", "a,b,c", *options, "play.json"]
    pid, terminal = pty.fork()
    if not pid:
        os.chdir(controller.folder)
        os.execve(
            command[0],
            command,
            {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "ANSIBLE_LOCALHOST_WARNING": "0"},
        )
    output = b""
    with contextlib.suppress(OSError):  # the end of a terminal is an error
        while chunk := os.read(terminal, 4096):
            output += chunk
            if output.endswith((b"password: ", b"(ops): ")):
                os.write(terminal, b"horse\n")
    os.close(terminal)
    assert os.waitpid(pid, 0)[1] == 0, output.decode()
    assert (controller.keystore / "pair.yml").read_bytes().startswith(b"$ANSIBLE_VAULT;1.2;AES256;ops\n")


def test_facts_for_an_audit_have_no_key(controller: Controller) -> None:
    info = {"ipsec.manual.ipsec_keystore_info": {"directory": "keystore"}, "register": "found"}
    check = {
        "ansible.builtin.assert": {
            "that": [
                "found.connections | map(attribute='name') | list == ['mesh/a,b', 'mesh/a,c', 'mesh/b,c', 'pair']",
                "found.connections | map(attribute='connection') | unique | list == ['mesh', 'pair']",
                "found.connections | map(attribute='hosts') | map('join') | list == ['ab', 'ac', 'bc', 'ab']",
                (
                    "found.connections[3].phase == 'prepared' and found.connections[3].store == 'random' and"
                    " found.connections[3].next == 2"
                ),
                "found.connections[3].retired | map(attribute='reason') | list == ['unused']",
                (
                    "found.connections[0].phase == 'steady' and found.connections[0].store == 'derived' and"
                    " found.connections[0].generation == 1"
                ),
                "found.connections[0].root == found.roots[0].fingerprint and found.connections[0].age < 600",
                (
                    "'@' in found.connections[0].created_by and found.connections[0].promoted_by =="
                    " found.connections[0].created_by"
                ),
            ]
        }
    }
    output = controller.well(
        keystore(only=["pair"]),
        keystore("discarded", only=["pair"]),
        keystore(only=["pair"]),
        keystore(only=["mesh"], store="derived"),
        keystore("promoted", only=["mesh"]),
        info,
        check,
        {**keystore("retired", connections=CONNECTIONS[1:], only=["pair"]), "register": "ended"},
        {
            "ansible.builtin.assert": {
                "that": "ended.connections[0].generation == 0 and ended.connections[0].retired | length == 2"
            }
        },
    )
    assert not re.search(r"[0-9a-f]{32}", output)
    before = controller.snapshot()
    controller.badly(info, options=("--vault-password-file", "wrong"))
    (controller.keystore / ".lock").unlink()
    controller.well(info, options=("--vault-password-file", "default", "--check"))
    assert before == controller.snapshot() and not (controller.keystore / ".lock").exists()


def test_groups_of_the_inventory_and_all_connections_of_a_host(controller: Controller) -> None:
    """The group is `all`, and every host's address is a variable."""
    connections = [
        {"name": "fleet", "group": "all", "hub": "a"},
        {"name": "link", "group": "all", "multicast": ["224.0.0.5"], "associations": [{"protocol": "ah"}]},
        {"name": "fleet6", "group": "all", "hub": "a", "address_variable": "ipsec_address6"},
    ]
    addresses = {
        "ansible.builtin.set_fact": {
            "ipsec_address": "192.0.2.{{ 'abc'.index(inventory_hostname) + 1 }}",
            "ipsec_address6": "2001:db8::{{ 'abc'.index(inventory_hostname) + 1 }}",
        },
        "run_once": False,
    }
    look_up = (
        "lookup('ipsec.manual.ipsec_keystore', directory='keystore', generation='newest', host='b') |"
        " ipsec.manual.ipseckeys_parse"
    )
    output = controller.well(
        addresses,
        keystore(connections=connections, store="derived"),
        {"ansible.builtin.debug": {"msg": f"{{{{ {look_up} | map(attribute='destination') | join(' ') }}}}"}},
    )
    assert shown(output) == [{"192.0.2.1", "192.0.2.2", "224.0.0.5", "2001:db8::1", "2001:db8::2"}]
    peers = "ipsec.manual.ipsec_peers('b', addresses=hostvars, groups=groups)"
    output = controller.well(
        addresses, {"ansible.builtin.debug": {"msg": f"{{{{ ({connections} | {peers}).a | join(' ') }}}}"}}
    )
    assert {"192.0.2.1", "2001:db8::1"} <= shown(output)[0]
    nobody = look_up.replace("'b'", "'z'")
    assert "there is no newest generation of the host z" in controller.badly(
        {"ansible.builtin.debug": {"msg": f"{{{{ {nobody} }}}}"}}
    )


def test_without_the_right_secret_nothing_is_touched(controller: Controller) -> None:
    assert "no vault secret is loaded. Give ansible-playbook --vault-id" in controller.badly(keystore(), options=())
    assert not controller.snapshot()
    controller.well(keystore())
    before = controller.snapshot()
    tasks = tried(keystore(new_keys=True), keystore("promoted"), show("pair", options=", generation='next'"))
    output = controller.well(*tasks, options=("--vault-password-file", "wrong"))
    assert output.count("fatal: [a]: FAILED!") == 3 and output.count("...ignoring") == 3
    assert all("decrypts the keystore file" in part for part in output.split("...ignoring")[:3])
    (controller.keystore / "pair.yml").write_text("format: 1\n")
    output = controller.well(*tasks)
    assert all("pair.yml: the keystore file is not encrypted" in part for part in output.split("...ignoring")[:3])
    assert {**before, "pair.yml": b"format: 1\n"} == controller.snapshot()


def test_impossible_inputs_are_named(controller: Controller) -> None:
    output = controller.well(
        keystore(only=["pair"]),
        keystore("switching", only=["pair"]),
        *tried(keystore("discarded", only=["pair"])),
        keystore("discarded", only=["pair"], force=True),
        *tried(
            show("pair", options=", generation='newest'"),
            show("nobody"),
            keystore("promoted", only=["mesh"]),
            keystore(taken_spis=["0x8bcd1407", "-1"]),
            keystore(directory="ansible_collections/keystore"),
            keystore(only=["paar"]),
        ),
    )
    parts = output.split("...ignoring")
    for part, message in zip(
        parts,
        (
            "hosts may already use generation 1 of connection pair",
            "there is no newest generation",
            "there is no keystore file",
            "the connection has no keystore file",
            "taken_spis",
            "would be inside an installed collection",
            "there is no connection, host or pair paar. Known connections are: mesh, pair.",
        ),
        strict=False,
    ):
        assert message in part
    assert len(parts) == 8


@pytest.mark.parametrize("states", [("prepared",), ("prepared", "switching", "promoted")])
def test_the_lease_is_that_of_the_run_and_not_of_its_worker(controller: Controller, states: tuple[str, ...]) -> None:
    """It lasts beyond the promotion: the files that a run staged must still be removed from the hosts, and could
    already be those of the next run.
    """
    controller.well(*map(keystore, states))
    held = json.loads((controller.keystore / ".lock").read_text())["runner"]
    assert held["pid"] == controller.pid and held["started"]


def test_a_run_releases_only_its_own_lease(controller: Controller) -> None:
    lock = controller.keystore / ".lock"
    controller.well(keystore("released"))
    assert not controller.keystore.exists()
    controller.well(keystore(), {**keystore("released"), "check_mode": True})
    held = json.loads(lock.read_text())
    lock.write_text("")
    controller.badly(
        {
            "block": [keystore(), {"ansible.builtin.fail": {}}],
            "always": [keystore("released", connections=[{"name": "not looked at"}])],
        }
    )
    assert lock.read_text() == ""
    lock.write_text(json.dumps({**held, "runner": {**held["runner"], "node": "elsewhere"}}))
    controller.well(keystore("released"))
    assert "on elsewhere, which cannot be seen from here" in controller.badly(keystore())


@pytest.mark.parametrize(
    ("play", "message"),
    [
        ({"serial": 1}, "connection pair, endpoint b: serial splits this connection over two batches"),
        ({"strategy": "free", "hosts": "a,c"}, "strategy: the strategy free lets one host run ahead of its peers"),
        ({"connection": "winrm"}, "winrm is not known to hide what it carries"),
    ],
)
def test_a_run_that_separates_peers_is_refused(controller: Controller, play: dict[str, t.Any], message: str) -> None:
    output = controller.badly(keystore(check_run=True), **play)
    assert message in output
    if "hosts" in play:
        assert "connection pair, endpoint b: this host does not take part in the run" in output
    assert not controller.keystore.exists()


def test_modules_get_their_keys_hidden_or_not_at_all(controller: Controller, monkeypatch: pytest.MonkeyPatch) -> None:
    """The modules refuse their options, so no kernel is needed, but the keys travel anyway."""
    key = "5ec12e75" * 8
    sa = {
        "protocol": "esp",
        "spi": "0x1000",
        "destination": "host.example",
        "encryption_algorithm": "aes-cbc",
        "encryption_key": "{{ key }}",
    }
    # Variables from a file, so the key is not in an argument that Ansible quotes.
    (controller.folder / "secret.yml").write_text(
        json.dumps({"key": key, "text": f"add esp spi 0x1000 dst host.example encr_alg aes encrkey {key}"})
    )
    names = ("ipsec_sa", "ipsec_sadb", "ipseckeys_file")
    tasks = tried(
        *({f"ipsec.manual.{name}": sa if name == "ipsec_sa" else {"content": "{{ text }}"}} for name in names)
    )
    play: dict[str, t.Any] = {
        "connection": "local",
        "hosts": "a",
        "vars_files": ["secret.yml"],
        "vars": {"ansible_python_interpreter": sys.executable},
        "options": ("-vvvvv",),
    }
    monkeypatch.setenv("ANSIBLE_DEBUG", "1")
    monkeypatch.setenv("ANSIBLE_PIPELINING", "0")
    output = controller.well(*tasks, **play)
    assert output.count("fatal: [a]: FAILED!") == 3 and output.count("host.example") >= 3
    # In debug mode, Ansible shows what it runs, and would show the options. Without
    # pipelining the module would go into a file.
    for name in names:
        assert f"done with _execute_module (ipsec.manual.{name}, {{options hidden" in output
    assert key not in output and "AnsiballZ_ipsec" not in output
    monkeypatch.setenv("ANSIBLE_KEEP_REMOTE_FILES", "1")
    output = controller.well(*tasks, *tried(keystore(check_run=True)), **{**play, "hosts": "all"})
    assert (
        output.count("in a temporary file of the host, since ANSIBLE_KEEP_REMOTE_FILES is set") >= 3
        and key not in output
    )
    assert "ANSIBLE_KEEP_REMOTE_FILES: Ansible would keep modules and their keys" in output
