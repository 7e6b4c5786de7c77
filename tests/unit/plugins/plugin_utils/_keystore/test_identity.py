# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files belong to a keystore: a file of another one with the same password is refused by name."""

from __future__ import annotations

import itertools
import pathlib
import shutil
import typing as t

import pytest

from ansible.parsing.vault import VaultSecret

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import IpsecError
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.algorithms import BY_NAME
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.reader import read_connections
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore import (
    changes,
    generations,
    identity,
    records,
    roots,
    single_keys,
)
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.directory import Keystore
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.vault import Vault
from ansible_collections.ipsec.manual.tests.unit.plugins.generations import make

SECRETS = [("default", VaultSecret(b"correct horse"))]
PAIR = read_connections([{"name": "pair", "endpoints": {"a": "192.0.2.1", "b": "192.0.2.2"}}])[0]
MADE = make(records.KeyRecord("pair"), PAIR, generations.SpiAllocator(), set())
RECORD, PROMOTED = (records.ConnectionRecord.of(record) for record in (MADE, changes.promote(MADE, {})))
OTHER = RECORD._replace(connection="other")
FILES = ("pair", "other", "_root", "_key.own")


def opened(directory: pathlib.Path) -> Keystore:
    return Keystore(str(directory), Vault(SECRETS))


def made(directory: pathlib.Path) -> pathlib.Path:
    """A keystore with a file of each kind."""
    store = opened(directory)
    store.make_directory()
    store.write(RECORD, OTHER, roots=roots.add(roots.RootFile(), "me@here"))
    single_keys.remembered(store, "own", BY_NAME["aes-cbc"], None)
    (directory / ".lock").unlink(missing_ok=True)
    return directory


def without_ids(directory: pathlib.Path) -> pathlib.Path:
    """Make a keystore look as if an earlier release, without ids, had written it."""
    store = opened(directory)
    for name in FILES:
        unmark(store, name)
    (directory / "_keystore.yml").unlink()
    return directory


def unmark(store: Keystore, name: str) -> None:
    """Remove the id, as a person can do with ansible-vault."""
    path = pathlib.Path(store.path(name))
    text, origin = store.vault.decrypt(path.read_bytes(), "")
    first, dummy, rest = text.partition("\n")
    assert first.startswith("keystore: ")
    path.write_bytes(store.vault.encrypt(rest, origin, ""))


def ids(directory: pathlib.Path) -> dict[str, str]:
    return {
        path.stem: identity.found_in(Vault(SECRETS).decrypt(path.read_bytes(), "")[0])
        for path in sorted(directory.glob("*.yml"))
    }


def read_everything(directory: pathlib.Path) -> None:
    store = opened(directory)
    store.read_all()
    store.read_roots()
    single_keys.fingerprints(store, {})


def test_every_file_has_the_id_of_its_keystore_and_no_two_keystores_have_one(tmp_path: pathlib.Path) -> None:
    found, others = (ids(made(tmp_path / name)) for name in ("mine", "theirs"))
    assert set(found) == {"_keystore", *FILES} and len(set(found.values())) == len(set(others.values())) == 1
    assert set(found.values()) != set(others.values()) and all(len(value) == 32 for value in found.values())


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_keystore_is_refused_by_name(tmp_path: pathlib.Path, name: str) -> None:
    mine, theirs = made(tmp_path / "mine"), made(tmp_path / "theirs")
    shutil.copy(theirs / f"{name}.yml", mine)
    with pytest.raises(IpsecError) as caught:
        opened(mine).read_text(name)
    assert (
        str(caught.value)
        == f"{mine}/{name}.yml: the file belongs to another keystore, whose id is {ids(theirs)[name]};"
        f" _keystore.yml says {ids(mine)['_keystore']}. Restore it from version control. If it does belong here,"
        " remove its first line with ansible-vault edit."
    )
    before = {path: path.read_bytes() for path in mine.glob("*")}
    with pytest.raises(IpsecError, match="belongs to another keystore"):
        read_everything(mine)
    assert {path: path.read_bytes() for path in mine.glob("*")} == before


def test_no_mixture_of_two_keystores_is_read(tmp_path: pathlib.Path) -> None:
    sources = {"mine": made(tmp_path / "mine"), "theirs": made(tmp_path / "theirs")}
    names = ("_keystore", "pair", "other", "_root")
    for number, choice in enumerate(itertools.product(("mine", "theirs", ""), *[tuple(sources)] * 3)):
        directory = tmp_path / str(number)
        directory.mkdir(0o700)
        for name, source in zip(names, choice):
            if source:
                shutil.copy(sources[source] / f"{name}.yml", directory)
        if len({source for source in choice if source}) == 1:
            read_everything(directory)
        else:
            with pytest.raises(IpsecError, match="belongs to another keystore|holds files of several keystores"):
                read_everything(directory)


def test_files_of_earlier_releases_are_read_and_get_the_id_when_they_are_written(tmp_path: pathlib.Path) -> None:
    directory = without_ids(made(tmp_path / "keystore"))
    read_everything(directory)
    assert not (directory / "_keystore.yml").exists()
    store = opened(directory)
    store.read_all()
    store.write(PROMOTED)
    found = ids(directory)
    assert (
        found == {**dict.fromkeys(FILES, ""), "pair": found["_keystore"], "_keystore": found["_keystore"]}
        and found["_keystore"]
    )
    read_everything(directory)
    store = opened(directory)
    store.write(OTHER, roots=store.read_roots())
    assert set(ids(directory).values()) == {found["_keystore"], ""}
    assert opened(directory).read("pair") == PROMOTED


def test_a_whole_keystore_comes_back_from_a_backup(tmp_path: pathlib.Path) -> None:
    directory = made(tmp_path / "keystore")
    backup = shutil.copytree(directory, tmp_path / "backup")
    old = without_ids(shutil.copytree(directory, tmp_path / "old"))
    for source in (backup, old):
        opened(directory).write(PROMOTED)
        # As git restores the files of a commit: later files stay.
        shutil.copytree(source, directory, dirs_exist_ok=True)
        read_everything(directory)
        assert opened(directory).read("pair") == RECORD
    shutil.rmtree(directory)
    shutil.copytree(backup, directory)
    read_everything(directory)


def test_a_lost_id_is_read_from_the_files_and_stored_again(tmp_path: pathlib.Path) -> None:
    directory = made(tmp_path / "keystore")
    before = ids(directory)
    (directory / "_keystore.yml").unlink()
    read_everything(directory)
    assert not (directory / "_keystore.yml").exists()
    opened(directory).write(PROMOTED)
    assert ids(directory) == before


def test_files_that_disagree_where_no_id_is_kept_are_named(tmp_path: pathlib.Path) -> None:
    mine, theirs = made(tmp_path / "mine"), made(tmp_path / "theirs")
    shutil.copy(theirs / "pair.yml", mine)
    (mine / "_keystore.yml").unlink()
    attempts: list[t.Callable[[], t.Any]] = [
        lambda: opened(mine).read("pair"),
        lambda: opened(mine).read("other"),
        lambda: opened(mine).write(PROMOTED),
    ]
    for attempt in attempts:
        with pytest.raises(IpsecError) as caught:
            attempt()
        assert (
            f"_key.own.yml, _root.yml, other.yml: id {ids(mine)['other']}; pair.yml: id {ids(theirs)['pair']}"
            in str(caught.value)
        )
        assert "no _keystore.yml that says which one it is" in str(caught.value)
    assert not (mine / "_keystore.yml").exists()


def test_a_file_is_adopted_on_purpose(tmp_path: pathlib.Path) -> None:
    mine, theirs = made(tmp_path / "mine"), made(tmp_path / "theirs")
    shutil.copy(theirs / "pair.yml", mine)
    unmark(opened(mine), "pair")
    store = opened(mine)
    record = store.read("pair")
    assert record is not None
    store.write(record)
    assert len(set(ids(mine).values())) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "format: 1\n",
        'keystore: "00"\nformat: 1\n',
        f'keystore: "{"0f" * 16}"\nformat: 2\n',
        f'keystore: "{"0f" * 16}"\n[}}\n',
    ],
)
def test_a_file_without_an_id_is_refused(tmp_path: pathlib.Path, text: str) -> None:
    directory = made(tmp_path / "keystore")
    (directory / "_keystore.yml").write_bytes(Vault(SECRETS).encrypt(text, None, ""))
    for attempt in (lambda: opened(directory).read("pair"), lambda: opened(directory).write(PROMOTED)):
        with pytest.raises(
            IpsecError,
            match=r"_keystore\.yml: the file decrypts, but holds no id of a keystore that this release knows",
        ):
            attempt()


def test_the_id_has_the_same_password_as_the_files(tmp_path: pathlib.Path) -> None:
    directory = without_ids(made(tmp_path / "keystore"))
    store = Keystore(str(directory), Vault([("ops", VaultSecret(b"another")), *SECRETS]))
    record = store.read("pair")
    assert record is not None
    store.write(record)
    read_everything(directory)


def test_no_id_is_created_if_nothing_is_written(tmp_path: pathlib.Path) -> None:
    store = opened(tmp_path / "keystore")
    store.make_directory()
    store.write()
    assert [path.name for path in (tmp_path / "keystore").iterdir()] == [".gitignore"]
