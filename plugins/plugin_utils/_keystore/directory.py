# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The keystore's directory: vault-encrypted files, one for each connection, replaced atomically."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
import typing as t

from ansible import constants as C

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import InputError
from ansible_collections.ipsec.manual.plugins.module_utils._core.files import atomic

from . import identity as _identity
from . import roots as _roots
from .lease import Lease, Runner, actor, fix_of, locked
from .records import ConnectionRecord, KeystoreError
from .roots import RootFile
from .text import dump, load
from .vault import Decryption, Vault

if t.TYPE_CHECKING:
    from ansible.parsing.dataloader import DataLoader

SUFFIX = ".yml"
# Begins the file name of a single key; connection names never begin with a dot or an underscore.
KEY_PREFIX = "_key."
LOCK = ".lock"
# A temporary file that a crash may leave; its content is encrypted.
_NEW = ".new"
_LEFT = re.compile(r"\..+\.[0-9a-f]{12,16}\.new")
_GITIGNORE = f"{LOCK}\n.*{_NEW}\n"


def directory_of(loader: DataLoader, given: str) -> str:
    """The path of the keystore that an option names, relative to the playbook instead of the working
    directory. ``~`` and ``$NAME`` are expanded.
    """
    path: str = loader.path_dwim(os.path.expanduser(os.path.expandvars(given)))
    if "ansible_collections" in path.split(os.sep):
        raise InputError(
            "the keystore would be inside an installed collection",
            path,
            'Name a directory of your own, for the role with -e rotate_keystore="$PWD/keystore".',
        )
    return path


def open_keystore(loader: DataLoader, directory: str, vault_id: str = "") -> Keystore:
    """The keystore that an option names. Only the loader has the secrets from --vault-id, password
    files and prompts.
    """
    vault = Vault(loader._vault.secrets, vault_id, C.DEFAULT_VAULT_ENCRYPT_IDENTITY or "")
    return Keystore(directory_of(loader, directory), vault)


class Keystore:
    """The files of one directory."""

    def __init__(self, directory: str, vault: Vault) -> None:
        self.directory = directory
        self.vault = vault
        self._decryptions: dict[str, Decryption] = {}
        self._root_file: RootFile | None = None
        self._id = ""

    def path(self, name: str) -> str:
        return os.path.join(self.directory, name + SUFFIX)

    def names(self) -> list[str]:
        """The connections that have a file in the directory."""
        return [name for name in self._files() if name[0] not in "._"]

    def key_names(self) -> list[str]:
        """The single keys that have a file in the directory."""
        return [name[len(KEY_PREFIX) :] for name in self._files() if name.startswith(KEY_PREFIX)]

    def _files(self) -> list[str]:
        try:
            found = os.listdir(self.directory)
        except FileNotFoundError:
            return []
        except OSError as exc:
            raise KeystoreError(
                f"the keystore directory cannot be read: {exc.strerror}",
                self.directory,
                "Give it to the user who runs Ansible, with mode 0700.",
            ) from None
        return sorted(name[: -len(SUFFIX)] for name in found if name.endswith(SUFFIX) and name != SUFFIX)

    def read(self, name: str) -> ConnectionRecord | None:
        """The record of a connection, None if it has no file."""
        text = self.read_text(name)
        return load(text, name, self.path(name)) if text is not None else None

    def read_roots(self) -> RootFile:
        """The root secrets of derived generations; empty if there is no file."""
        if self._root_file is None:
            text = self.read_text(_roots.NAME)
            self._root_file = _roots.load(text, self.path(_roots.NAME)) if text is not None else RootFile()
        return self._root_file

    def read_text(self, name: str) -> str | None:
        """The decrypted text of a file, None if there is no file."""
        path = self.path(name)
        try:
            # The argument has no name here, so that the encrypted data can be freed.
            text, self._decryptions[name] = self.vault.decrypt(_read_file(path), path)
        except FileNotFoundError:
            return None
        found = _identity.found_in(text)
        if found:
            _identity.check(found, self._own_id(), path, f"{_identity.NAME}{SUFFIX}")
        return text

    def _own_id(self) -> str:
        """The keystore's id; empty if no file has one yet."""
        if not self._id:
            self._id = self._stored_id() or self._id_of_files()
        return self._id

    def _stored_id(self) -> str:
        path = self.path(_identity.NAME)
        try:
            return _identity.load(self.vault.decrypt(_read_file(path), path)[0], path)
        except FileNotFoundError:
            return ""

    def _id_of_files(self) -> str:
        found: dict[str, str] = {}
        for name in self._files():
            with contextlib.suppress(FileNotFoundError):
                found[name + SUFFIX] = _identity.found_in(
                    self.vault.decrypt(_read_file(self.path(name)), self.path(name))[0]
                )
        return _identity.agreed(found, self.directory)

    def read_all(self) -> dict[str, ConnectionRecord]:
        """All records of the directory, by connection."""
        return {name: record for name in self.names() for record in [self.read(name)] if record is not None}

    def check(self, name: str) -> None:
        """Raise KeystoreError if the connection's file, which must have been read, could not be encrypted."""
        self.vault.choose(self._decryptions.get(name), "vault")

    def write(self, *records: ConnectionRecord, roots: RootFile | None = None) -> None:
        """Replace each connection's file; if ``roots`` is given, replace the file of the root secrets first."""
        texts = {_roots.NAME: _roots.dump(roots)} if roots is not None else {}
        self._root_file = None
        self.write_texts({**texts, **{record.connection: dump(record) for record in records}})

    def write_texts(self, texts: t.Mapping[str, str]) -> None:
        """Replace files, in order. A reader sees the old or the new file, even after a power failure.

        All are encrypted before any is replaced. If replacing fails, the error names the files that
        were replaced. Each gets the keystore's id, whose own file is written first."""
        if not texts:
            return
        identity = self._own_id() or _identity.new()
        if not os.path.lexists(self.path(_identity.NAME)):
            if self._decryptions:
                # It must be readable with the same password as the files.
                self._decryptions[_identity.NAME] = next(iter(self._decryptions.values()))
            texts = {_identity.NAME: _identity.dump(actor()), **texts}
        contents = {
            name: (
                self.path(name),
                self.vault.encrypt(_identity.marked(text, identity), self._decryptions.get(name), self.path(name)),
            )
            for name, text in texts.items()
        }
        written: list[str] = []
        for name, (path, data) in contents.items():
            try:
                atomic.replace(path, data, suffix=_NEW)
                if name != _identity.NAME:
                    written.append(name)
                atomic.sync(self.directory)
            except OSError as exc:
                done = f"Only the connections {', '.join(written)} were written" if written else "Nothing was changed"
                raise KeystoreError(
                    f"the keystore file cannot be written: {exc.strerror}",
                    path,
                    f"{fix_of(exc)}, then run again. {done}.",
                ) from None

    def make_directory(self) -> None:
        """Make the directory if it is missing. Its files belong in version control, except the lock and
        temporary files.
        """
        parent, name = os.path.split(os.path.abspath(self.directory))
        beside = os.path.join(parent, f".{name}.{secrets.token_hex(8)}{_NEW}")
        try:
            if os.path.isdir(self.directory):
                return
            os.makedirs(parent, exist_ok=True)
            # Rename it with its content in place, so that one without .gitignore was made by somebody else.
            os.mkdir(beside, 0o700)
            try:
                atomic.create(os.path.join(beside, ".gitignore"), _GITIGNORE.encode("ascii"), 0o644)
                os.rename(beside, self.directory)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(beside, ".gitignore"))
                    os.rmdir(beside)
                raise
            atomic.sync(parent)
        except OSError as exc:
            if os.path.isdir(self.directory):
                return
            if os.path.lexists(self.directory):
                raise KeystoreError(
                    "the keystore is not a directory",
                    self.directory,
                    "Name the keystore's directory, or move this away.",
                ) from None
            raise KeystoreError(
                f"the keystore directory cannot be created: {exc.strerror}", self.directory, f"{fix_of(exc)}."
            ) from None

    @contextlib.contextmanager
    def lock(self, runner: Runner | None, create: bool = True) -> t.Iterator[Lease | None]:
        """Lock the directory. ``runner`` is this run; if another run that may still be active holds the
        lease, raises KeystoreError, which names it. With None, the lease is ignored: only for changes
        that affect no connection.

        Without ``create`` nothing is written. Yields None if there is no lock file, because the
        keystore was never used.
        """
        path = os.path.join(self.directory, LOCK)
        with locked(path, os.O_RDWR | os.O_CREAT if create else os.O_RDONLY) as lease:
            if lease is not None and runner is not None:
                lease.refuse_others(runner)
            if create:
                self._sweep()
            yield lease

    def leave(self, runner: Runner) -> bool:
        """Release the lease if this run holds it; True if it did. Otherwise nothing is changed."""
        with locked(os.path.join(self.directory, LOCK), os.O_RDWR) as lease:
            if lease is None or lease.holder()[0] != runner:
                return False
            lease.release()
            return True

    def _sweep(self) -> None:
        """Remove the temporary files of a crash. Only the holder of the lock writes such files."""
        with contextlib.suppress(OSError):
            for name in os.listdir(self.directory):
                if _LEFT.fullmatch(name):
                    os.unlink(os.path.join(self.directory, name))


def _read_file(path: str) -> bytes:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except OSError as exc:
        what = "is a symbolic link" if exc.errno == errno.ELOOP else f"cannot be read: {exc.strerror}"
        raise KeystoreError(
            f"the keystore file {what}",
            path,
            "Put the file itself there, and make it readable for the user who runs Ansible.",
        ) from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise KeystoreError("the keystore file is not a regular file", path, "Restore it from version control.")
    with os.fdopen(handle, "rb") as stream:
        return stream.read()
