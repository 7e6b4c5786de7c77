# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import json
import os
import pathlib
import socket
import subprocess
import sys
import time
import tracemalloc
import typing as t

import pytest

from ansible.parsing.vault import VaultLib, VaultSecret

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import IpsecError
from ansible_collections.ipsec.manual.plugins.module_utils._core.files import atomic
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.reader import read_connections
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore import (
    changes,
    generations,
    lease,
    records,
    text,
)
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.directory import Keystore
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.lease import Runner
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.vault import Vault
from ansible_collections.ipsec.manual.tests.unit.plugins.generations import make

CONNECTION = read_connections([{"name": "pair", "endpoints": {"a": "192.0.2.1", "b": "192.0.2.2"}}])[0]
MADE = make(records.KeyRecord("pair"), CONNECTION, generations.SpiAllocator(), set())
RECORD, PROMOTED = (records.ConnectionRecord.of(record) for record in (MADE, changes.promote(MADE, {})))
ME = Runner.of(os.getpid())


def vault(*identities: str, word: str = "correct horse", **options: str) -> Vault:
    return Vault([(name, VaultSecret(f"{word} {name}".encode())) for name in identities], **options)


@pytest.fixture
def store(tmp_path: pathlib.Path) -> Keystore:
    found = Keystore(str(tmp_path / "keystore"), vault("default"))
    found.make_directory()
    return found


def file_of(store: Keystore) -> pathlib.Path:
    return pathlib.Path(store.path("pair"))


def test_records_are_read_back_and_never_in_plain_text(store: Keystore) -> None:
    store.write(RECORD)
    assert store.read("pair") == RECORD and store.read_all() == {"pair": RECORD} and store.names() == ["pair"]
    assert store.read("other") is None
    assert sorted(path.name for path in pathlib.Path(store.directory).iterdir()) == [
        ".gitignore",
        "_keystore.yml",
        "pair.yml",
    ]
    assert (
        file_of(store).stat().st_mode & 0o777 == 0o600 and pathlib.Path(store.directory).stat().st_mode & 0o777 == 0o700
    )
    assert file_of(store).read_bytes().startswith(b"$ANSIBLE_VAULT;1.1;AES256\n")


def test_no_two_files_have_the_same_salt_even_if_one_is_configured(
    store: Keystore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ansible Vault encrypts in counter mode: with equal salts, XOR of two files gives XOR of their texts."""
    monkeypatch.setenv("ANSIBLE_VAULT_ENCRYPT_SALT", "the same for all")
    assert b"the same for all".hex().encode().hex() in VaultLib(store.vault.secrets).encrypt("x").decode().replace(
        "\n", ""
    )
    salts = set()
    for record in (RECORD, PROMOTED, RECORD):
        store.write(record)
        body = b"".join(file_of(store).read_bytes().splitlines()[1:])
        salts.add(bytes.fromhex(body.decode()).split(b"\n")[0])
        assert store.read("pair") == record
    assert len(salts) == 3 and {len(salt) for salt in salts} == {64}


def test_reading_needs_no_object_for_every_line(store: Keystore) -> None:
    text = "x" * 1_000_000
    store.write_texts({"big": text})
    assert store.read_text("big").endswith(text)
    tracemalloc.start()
    store.read_text("big")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The file is four times as large as the text. Twice that and the buffers of Ansible Vault are
    # allowed, but no list of lines.
    assert peak < 14 * len(text)


def test_ansible_vault_reads_it(store: Keystore, tmp_path: pathlib.Path) -> None:
    store.write(RECORD)
    (tmp_path / "password").write_text("correct horse default\n")
    command = [
        sys.executable,
        "-m",
        "ansible",
        "vault",
        "view",
        "--vault-password-file",
        str(tmp_path / "password"),
        str(file_of(store)),
    ]
    assert text.load(subprocess.run(command, check=True, capture_output=True, text=True).stdout, "pair", "") == RECORD


def test_a_missing_directory_is_an_empty_keystore(tmp_path: pathlib.Path) -> None:
    store = Keystore(str(tmp_path / "none"), vault("default"))
    assert store.names() == [] and store.read("pair") is None
    with store.lock(ME, create=False) as lease:
        assert lease is None
    assert not (tmp_path / "none").exists()


def test_a_failed_write_leaves_the_old_file(store: Keystore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write(RECORD)
    before = file_of(store).read_bytes()

    def full(*dummy: t.Any) -> t.NoReturn:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(IpsecError) as caught:
        store.write(PROMOTED)
    assert (
        "pair.yml: the keystore file cannot be written: No space left on device. Free space on the file system"
        in str(caught.value)
    )
    assert "Nothing was changed." in str(caught.value)
    assert file_of(store).read_bytes() == before
    assert sorted(path.name for path in pathlib.Path(store.directory).iterdir()) == [
        ".gitignore",
        "_keystore.yml",
        "pair.yml",
    ]


@pytest.mark.parametrize(
    ("number", "fix"),
    [
        (errno.EACCES, "Make the directory writable"),
        (errno.EROFS, "Mount the file system writable"),
        (errno.EIO, "disk errors"),
        (errno.ENXIO, "Fix that"),
    ],
)
def test_a_partly_failed_write_names_the_written_files(
    store: Keystore, monkeypatch: pytest.MonkeyPatch, number: int, fix: str
) -> None:
    replace = os.replace

    def fail_later(source: str, target: str, **options: t.Any) -> None:
        if target.endswith("third.yml"):
            raise OSError(number, os.strerror(number))
        replace(source, target, **options)

    monkeypatch.setattr(os, "replace", fail_later)
    with pytest.raises(IpsecError) as caught:
        store.write(*(RECORD._replace(connection=name) for name in ("first", "second", "third", "fourth")))
    assert fix in str(caught.value) and "Only the connections first, second were written." in str(caught.value)
    assert store.names() == ["first", "second"]


def test_a_replaced_file_counts_even_if_the_directory_cannot_be_synced(
    store: Keystore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(dummy: str) -> t.NoReturn:
        raise OSError(errno.EIO, "Input/output error")

    store.write(RECORD)
    monkeypatch.setattr(atomic, "sync", fail)
    with pytest.raises(IpsecError, match="Only the connections pair were written"):
        store.write(PROMOTED)
    assert store.read("pair") == PROMOTED


def test_nothing_is_replaced_if_one_file_cannot_be_encrypted(store: Keystore) -> None:
    store.vault = vault("default", default_identity="ops")
    store.write()
    with pytest.raises(
        IpsecError, match="DEFAULT_VAULT_ENCRYPT_IDENTITY: no vault secret is loaded for the identity ops"
    ):
        store.write(RECORD, RECORD._replace(connection="other"))
    assert store.names() == []


def test_version_control_ignores_the_lock(tmp_path: pathlib.Path, store: Keystore) -> None:
    with store.lock(ME) as lease:
        assert lease is not None
        lease.take(ME)
    store.write(RECORD)
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    command = ["git", "-C", str(tmp_path), "ls-files", "--others", "--exclude-standard"]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.split() == [
        "keystore/.gitignore",
        "keystore/_keystore.yml",
        "keystore/pair.yml",
    ]
    # An existing directory keeps its mode and content.
    pathlib.Path(store.directory, ".gitignore").unlink()
    store.make_directory()
    assert not pathlib.Path(store.directory, ".gitignore").exists()


def test_a_file_in_the_place_of_the_directory_is_named(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(IpsecError, match="file: the keystore is not a directory"):
        Keystore(str(tmp_path / "file"), vault("default")).make_directory()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.write_bytes(b"format: 1\n"), "the keystore file is not encrypted"),
        (lambda path: path.write_bytes(b""), "the keystore file is empty"),
        (lambda path: path.write_bytes(path.read_bytes()[: len(path.read_bytes()) // 2]), "the file is damaged"),
        (lambda path: path.write_bytes(path.read_bytes()[:30]), "the file is damaged"),
        (
            lambda path: (path.rename(path.with_suffix(".kept")), path.symlink_to(path.with_suffix(".kept"))),
            "is a symbolic link",
        ),
        (lambda path: (path.unlink(), path.mkdir()), "not a regular file"),
    ],
)
def test_damaged_files_are_refused_and_kept(
    store: Keystore, spoil: t.Callable[[pathlib.Path], t.Any], message: str
) -> None:
    store.write(RECORD)
    spoil(file_of(store))
    before = file_of(store).read_bytes() if file_of(store).is_file() else None
    with pytest.raises(IpsecError) as caught:
        store.read("pair")
    assert message in str(caught.value) and str(file_of(store)) in str(caught.value)
    assert before is None or file_of(store).read_bytes() == before


def test_a_wrong_password_and_none_are_reported_differently(store: Keystore) -> None:
    store.write(RECORD)
    store.vault = vault("default", "ops", word="wrong battery")
    with pytest.raises(
        IpsecError, match=r"none of the vault secrets loaded \(default, ops\) decrypts the keystore file"
    ):
        store.read("pair")
    store.vault = Vault(None)
    with pytest.raises(
        IpsecError,
        match="no vault secret is loaded. Give ansible-playbook --vault-id, --vault-password-file or --ask-vault-pass",
    ):
        store.read("pair")
    with pytest.raises(IpsecError, match="no vault secret is loaded"):
        store.write(RECORD)


@pytest.mark.parametrize(
    ("first", "second", "header"),
    [
        (vault("default", "ops"), vault("default", "ops"), b"$ANSIBLE_VAULT;1.1;AES256"),
        (vault("ops", "default"), vault("default", "ops"), b"$ANSIBLE_VAULT;1.2;AES256;ops"),
        (vault("default", "ops", vault_id="ops"), vault("default", "ops"), b"$ANSIBLE_VAULT;1.2;AES256;ops"),
        (vault("default", "ops", default_identity="ops"), vault("default", "ops"), b"$ANSIBLE_VAULT;1.2;AES256;ops"),
        (vault("ops", "default"), vault("default", "ops", vault_id="default"), b"$ANSIBLE_VAULT;1.1;AES256"),
    ],
)
def test_a_file_keeps_its_identity(store: Keystore, first: Vault, second: Vault, header: bytes) -> None:
    store.vault = first
    store.write(RECORD)
    again = Keystore(store.directory, second)
    record = again.read("pair")
    assert record is not None
    again.write(PROMOTED)
    assert file_of(store).read_bytes().splitlines()[0] == header
    assert again.read("pair") == PROMOTED


SAME = [("ops", VaultSecret(b"first")), ("ops", VaultSecret(b"second"))]


@pytest.mark.parametrize("vault_id", ["", "ops"])
@pytest.mark.parametrize("used", [0, 1])
def test_of_two_secrets_with_one_identity_a_file_keeps_its_own(store: Keystore, vault_id: str, used: int) -> None:
    store.vault = Vault([SAME[used]])
    store.write(RECORD)
    store.vault = Vault(SAME, vault_id)
    assert store.read("pair") == RECORD
    store.write(PROMOTED)
    store.vault = Vault([SAME[used]])
    assert store.read("pair") == PROMOTED


def test_of_two_secrets_with_one_identity_a_new_file_gets_the_first(store: Keystore) -> None:
    for options in ({}, {"vault_id": "ops"}, {"default_identity": "ops"}):
        store.vault = Vault(SAME, **options)
        store.write(RECORD)
        assert Keystore(store.directory, Vault(SAME[:1])).read("pair") == RECORD


def test_a_file_without_a_label_keeps_the_secret_that_decrypts_it(store: Keystore) -> None:
    store.vault = Vault([("default", SAME[0][1])])
    store.write(RECORD)
    store.vault = Vault([("ops", SAME[1][1]), ("default", SAME[0][1])])
    store.read("pair")
    store.write(RECORD)
    assert Keystore(store.directory, Vault([("default", SAME[0][1])])).read("pair") == RECORD
    assert file_of(store).read_bytes().startswith(b"$ANSIBLE_VAULT;1.1;AES256\n")


def test_a_default_identity_that_is_not_chosen_need_not_be_loaded(store: Keystore) -> None:
    store.vault = vault("default", "ops", vault_id="ops", default_identity="absent")
    store.check("pair")
    store.write(RECORD)
    store.vault = vault("default", "ops", default_identity="absent")
    assert store.read("pair") == RECORD
    store.check("pair")
    store.write(RECORD)
    with pytest.raises(
        IpsecError,
        match=(
            "DEFAULT_VAULT_ENCRYPT_IDENTITY: no vault secret is loaded for the identity absent. Loaded are:"
            " default, ops"
        ),
    ):
        store.check("other")


def test_an_identity_that_is_not_loaded_is_named(store: Keystore) -> None:
    store.vault = vault("default", vault_id="ops")
    with pytest.raises(
        IpsecError, match="vault_id: no vault secret is loaded for the identity ops. Loaded are: default"
    ):
        store.write(RECORD)


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)


def end(process: subprocess.Popen[bytes]) -> None:
    process.communicate(b"\n")


def test_an_active_run_keeps_others_out_and_an_ended_one_does_not(store: Keystore) -> None:
    other = sleeper()
    with store.lock(Runner.of(other.pid)) as lease:
        assert lease is not None
        lease.take(Runner.of(other.pid))
    with pytest.raises(
        IpsecError, match=rf"another run \(process {other.pid}\) has used this keystore for 0 s"
    ) as caught, store.lock(ME):
        pass
    assert "remove this file only when" in str(caught.value)
    # The run itself may continue with its next task.
    with store.lock(Runner.of(other.pid)):
        pass
    end(other)
    with store.lock(ME) as lease:
        assert lease is not None
        lease.take(ME)
        lease.release()
    assert pathlib.Path(store.directory, ".lock").read_text() == ""


def test_a_lock_that_cannot_be_written_is_an_error_with_a_fix(store: Keystore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*dummy: t.Any) -> t.NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with store.lock(ME) as lease:
        assert lease is not None
        with pytest.raises(IpsecError) as caught:
            lease.take(ME)
    assert str(caught.value) == (
        f"{store.directory}/.lock: the keystore's lock cannot be written: No space left on device. Free space on the"
        " file system, or raise the quota, then run again."
    )


def test_a_lease_of_a_machine_whose_clock_is_ahead_is_no_negative_time_old(
    store: Keystore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.lock(ME) as lease:
        assert lease is not None
        lease.take(ME._replace(node="elsewhere"))
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 500)
    with pytest.raises(IpsecError, match="for 0 s"), store.lock(ME):
        pass


def test_a_reused_process_number_does_not_count(store: Keystore) -> None:
    with store.lock(ME) as lease:
        assert lease is not None
        lease.take(ME._replace(started="1"))
    with store.lock(ME):
        pass


@pytest.mark.parametrize(("age", "refused"), [(10, True), (lease.LEASE_SECONDS + 10, False)])
@pytest.mark.parametrize("other", [{"node": "elsewhere"}, {"boot": "another", "machine": ""}])
def test_a_lease_of_another_machine_holds_for_a_while(
    store: Keystore, age: int, refused: bool, other: dict[str, str]
) -> None:
    with store.lock(ME) as lease:
        assert lease is not None
        lease.take(ME._replace(**other))
    lock = pathlib.Path(store.directory, ".lock")
    held = json.loads(lock.read_text())
    lock.write_text(json.dumps({**held, "since": held["since"] - age}))
    if refused:
        with pytest.raises(
            IpsecError, match=rf"on {other.get('node', ME.node)}, which cannot be seen from here"
        ), store.lock(ME):
            pass
    else:
        with store.lock(ME):
            pass


@pytest.mark.parametrize("other", [{"node": "another container"}, {"started": "1"}])
def test_a_released_lease_admits_runs_that_cannot_see_the_holder(store: Keystore, other: dict[str, str]) -> None:
    away = ME._replace(node="elsewhere")
    with store.lock(away) as lease:
        assert lease is not None
        lease.take(away)
    assert not store.leave(away._replace(**other))
    with pytest.raises(IpsecError, match="another run"), store.lock(ME):
        pass
    assert store.leave(away)
    with store.lock(ME):
        pass
    assert not store.leave(away)


def test_releasing_an_unused_keystore_creates_nothing(tmp_path: pathlib.Path) -> None:
    assert not Keystore(str(tmp_path / "none"), Vault(())).leave(ME)
    assert list(tmp_path.iterdir()) == []


def test_an_invalid_lock_file_is_refused(store: Keystore) -> None:
    pathlib.Path(store.directory, ".lock").write_text("{}x")
    with pytest.raises(IpsecError, match="holds no lease"), store.lock(ME):
        pass
    with pytest.raises(IpsecError, match="holds no lease"):
        store.leave(ME)


def test_reading_needs_no_write_permission(store: Keystore, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = os.open

    def on_a_read_only_file_system(path: str, flags: int, *mode: int, **options: t.Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return genuine(path, flags, *mode, **options)

    with store.lock(ME) as lease:
        assert lease is not None
        lease.take(ME)
    monkeypatch.setattr(os, "open", on_a_read_only_file_system)
    with store.lock(ME, create=False) as lease:
        assert lease is not None
    with pytest.raises(IpsecError, match="another run"), store.lock(ME._replace(started="0"), create=False):
        pass
    with pytest.raises(IpsecError, match="Read-only file system. Mount the file system writable"), store.lock(ME):
        pass


def test_waiting_for_a_lock_ends(store: Keystore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "LOCK_SECONDS", 0.1)
    with store.lock(ME), pytest.raises(IpsecError, match="another process has held the keystore's lock"), store.lock(
        ME
    ):
        pass


def test_a_runner_is_this_machine_and_its_boot() -> None:
    assert ME.node == socket.gethostname() and ME.is_alive() is True
    assert ME._replace(pid=1 << 22).is_alive() is False


def test_only_a_run_on_the_same_machine_is_known_to_have_ended_at_a_reboot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "_machine", lambda: "this")
    monkeypatch.setattr(lease, "_namespace", lambda: "pid:[4026531836]")
    here = ME._replace(machine="this", namespace="pid:[4026531836]")
    assert here.is_alive() is True
    assert here._replace(boot="earlier").is_alive() is False
    assert here._replace(boot="earlier", namespace="").is_alive() is None
    assert here._replace(boot="other", machine="other").is_alive() is None
    assert here._replace(boot="other", machine="").is_alive() is None
    assert here._replace(machine="other").is_alive() is None
    monkeypatch.setattr(lease, "_machine", lambda: "")
    assert here._replace(boot="other", machine="").is_alive() is None
    assert here._replace(pid=1 << 22, machine="").is_alive() is False
    # The first container of another machine that has the same name.
    monkeypatch.setattr(lease, "_namespace", lambda: "pid:[4026532206]")
    assert here._replace(boot="other", namespace="pid:[4026532206]").is_alive() is None


def test_a_process_number_of_another_namespace_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ME.namespace == lease._namespace() != ""
    assert ME._replace(namespace="pid:[1]").is_alive() is None
    assert ME._replace(namespace="pid:[1]", pid=1 << 22).is_alive() is None
    monkeypatch.setattr(lease, "_namespace", lambda: "")
    assert ME.is_alive() is None and ME._replace(pid=1 << 22).is_alive() is None
    assert Runner.of(os.getpid()).is_alive() is True


def test_a_lease_of_an_earlier_release_proves_only_that_a_run_is_active(store: Keystore) -> None:
    other = sleeper()
    held = Runner.of(other.pid)._asdict()
    del held["namespace"]
    lock = pathlib.Path(store.directory, ".lock")
    lock.write_text(json.dumps({"runner": held, "since": int(time.time()) - 2 * lease.LEASE_SECONDS}))
    with pytest.raises(IpsecError, match=r"another run \(process [0-9]+\) has used this keystore"), store.lock(ME):
        pass
    end(other)
    with store.lock(ME):
        pass
    lock.write_text(json.dumps({"runner": held, "since": int(time.time())}))
    with pytest.raises(IpsecError, match="which cannot be seen from here"), store.lock(ME):
        pass


def test_a_process_that_proc_hides_is_not_taken_for_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    other = sleeper()
    runner = Runner.of(other.pid)
    monkeypatch.setattr(lease, "_start_of", lambda pid: "")
    assert runner.is_alive() is None
    end(other)
    assert runner.is_alive() is False


SEEN = """
import sys
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.lease import Runner
print(Runner("{0.node}", "{0.boot}", {0.pid}, "{0.started}", "{0.machine}", "{0.namespace}").is_alive())
"""


@pytest.mark.parametrize("options", [["--mount-proc"], []])
def test_two_containers_that_are_named_alike_do_not_take_each_other_for_dead(options: list[str]) -> None:
    """The same name, boot and machine-id, in another PID namespace, once with its own /proc and
    once with that of the other.
    """
    apart = ["unshare", "--fork", "--pid", *options]
    if subprocess.run([*apart, "true"], capture_output=True, check=False).returncode:
        apart = ["unshare", "--user", "--map-root-user", "--fork", "--pid", *options]
    if subprocess.run([*apart, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system does not allow PID namespaces")
    done = subprocess.run([*apart, sys.executable, "-c", SEEN.format(ME)], capture_output=True, text=True, check=False)
    assert done.stdout == "None\n", done.stderr
    assert (
        subprocess.run([sys.executable, "-c", SEEN.format(ME)], capture_output=True, text=True, check=True).stdout
        == "True\n"
    )


def test_the_lock_does_not_reveal_the_machine_id(store: Keystore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "_first_line", lambda path: "3d1219c7" * 4 if path == "/etc/machine-id" else "")
    found = Runner.of(os.getpid()).machine
    assert len(found) == 16 and "3d1219c7" not in found
