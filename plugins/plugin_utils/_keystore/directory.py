# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The keystore's directory: vault-encrypted files, one for each connection, replaced atomically,
and a lock that keeps a second run out.

No plaintext ever reaches a disk: records are encrypted and decrypted in memory, with the vault
secrets that Ansible loaded."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import pwd
import re
import secrets
import socket
import stat
import sys
import time
import typing as t

from ansible.errors import AnsibleError
from ansible.parsing.vault import VaultLib, is_encrypted

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import InputError

from . import identity as _identity
from . import roots as _roots
from .records import KeystoreError, Record, dump, load
from .roots import RootFile

if t.TYPE_CHECKING:
    from ansible.parsing.dataloader import DataLoader

SUFFIX = ".yml"
# Of the file of a key that stands alone; no connection's name begins with a dot or an underscore.
KEY_PREFIX = "_key."
LOCK = ".lock"
# What a crash may leave: a file that had not taken its name yet. It is encrypted.
_LEFT = re.compile(r"\..+\.[0-9a-f]{16}\.new")
_GITIGNORE = f"{LOCK}\n.*.new\n"
# The PID namespace of a Linux machine itself, PROC_PID_INIT_INO.
_FIRST_NAMESPACE = "pid:[4026531836]"
# A run on another machine cannot be seen to have ended; after this long it is taken for dead.
LEASE_SECONDS = 3600
LOCK_SECONDS = 30.0
# As many as Ansible Vault takes.
SALT_BYTES = 32

# What helps against a file that cannot be written.
_FIXES = {
    **dict.fromkeys((errno.EACCES, errno.EPERM), "Make the directory writable for the user who runs Ansible"),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "Make room on the file system, or raise the quota"),
    errno.EROFS: "Mount the file system writable, or move the keystore",
    errno.ELOOP: "Remove the symbolic link",
    errno.EIO: "Look for errors of the disk in the log of this machine's kernel",
}

_HOW_TO_LOAD = (
    "Give ansible-playbook --vault-id, --vault-password-file or --ask-vault-pass, or set vault_password_file in"
    " ansible.cfg."
)


def directory_of(loader: DataLoader, given: str) -> str:
    """The path of the keystore that an option names: relative to the playbook, not to where Ansible
    was started. ``~`` and ``$NAME`` are expanded.
    """
    path: str = loader.path_dwim(os.path.expanduser(os.path.expandvars(given)))
    if "ansible_collections" in path.split(os.sep):
        raise InputError(
            "the keystore would lie inside an installed collection",
            path,
            "Name a directory of your own, beside the inventory or the playbook.",
        )
    return path


class Origin(t.NamedTuple):
    """What a file was encrypted with: the identity that it names, empty for none, and the
    (identity, secret) that decrypted it.
    """

    label: str
    secret: tuple[str, t.Any]


class Vault:
    """Ansible's vault with the secrets it has loaded. ``vault_id`` chooses the identity that encrypts."""

    def __init__(
        self, secrets_loaded: t.Sequence[tuple[str, t.Any]] | None, vault_id: str = "", default_identity: str = ""
    ) -> None:
        self.secrets = list(secrets_loaded or ())
        self.vault_id = vault_id
        self.default_identity = default_identity

    def decrypt(self, data: bytes, place: str) -> tuple[str, Origin]:
        """The text, and what it was encrypted with."""
        if not is_encrypted(data):
            what = "is empty" if not data.strip() else "is not encrypted"
            raise KeystoreError(
                f"the keystore file {what}",
                place,
                "Restore it from version control; if its keys lay open, rotate them.",
            )
        self._need_secrets(place)
        try:
            # In one long line, since VaultLib makes an object of every line: a quarter of a gigabyte for a big mesh.
            header = data.partition(b"\n")[0]
            data = header + b"\n" + data[len(header) :].translate(None, b"\r\n")
            label = b";".join(header.split(b";")[3:4]).strip().decode("ascii")
            text, identity, secret = VaultLib(self.secrets).decrypt_and_get_vault_id(data)
            return bytes(text).decode("utf-8"), Origin(label, (identity, secret))
        except (AnsibleError, UnicodeDecodeError):
            raise KeystoreError(
                f"none of the vault secrets loaded ({', '.join(name for name, dummy in self.secrets)}) decrypts the"
                " keystore file",
                place,
                "Load the password it was encrypted with; if that is right, the file is damaged: restore it from"
                " version control.",
            ) from None

    def encrypt(self, text: str, origin: Origin | None, place: str) -> bytes:
        """``text`` encrypted with the identity ``vault_id``, else as the file was that it replaces,
        else as Ansible chooses.
        """
        identity, secret = self.choose(origin, place)
        # The label `default` is not written, as ansible-vault does. A salt of our own, since
        # Ansible takes a fixed one if it is configured (VAULT_ENCRYPT_SALT): in counter mode two
        # texts with the same password and salt give away each other.
        salt = secrets.token_bytes(SALT_BYTES)
        return bytes(
            VaultLib(self.secrets).encrypt(
                text, secret=secret, vault_id=None if identity == "default" else identity, salt=salt
            )
        )

    def choose(self, origin: Origin | None, place: str) -> tuple[str | None, t.Any]:
        """The label to write, None for none, and the secret. ``origin`` is that of the file to be
        replaced. Refuses where nothing could be encrypted.

        Several secrets may share an identity, while a password is changed; the one that decrypted
        the file is kept, else the first is taken."""
        self._need_secrets(place)
        if origin is not None and self.vault_id in ("", origin.secret[0]):
            return self.vault_id or origin.label or None, origin.secret[1]
        if self.vault_id:
            return self._first(self.vault_id, "vault_id")
        if self.default_identity:
            return self._first(self.default_identity, "DEFAULT_VAULT_ENCRYPT_IDENTITY")
        return self.secrets[0]

    def _first(self, identity: str, option: str) -> tuple[str, t.Any]:
        found = next((row for row in self.secrets if row[0] == identity), None)
        if found is None:
            names = ", ".join(dict.fromkeys(name for name, dummy in self.secrets))
            raise KeystoreError(
                f"no vault secret is loaded for the identity {identity}", option, f"Loaded are: {names}. {_HOW_TO_LOAD}"
            )
        return found

    def _need_secrets(self, place: str) -> None:
        if not self.secrets:
            raise KeystoreError("the keystore is vault-encrypted and no vault secret is loaded", place, _HOW_TO_LOAD)


class Keystore:
    """The files of one directory."""

    def __init__(self, directory: str, vault: Vault) -> None:
        self.directory = directory
        self.vault = vault
        self._origins: dict[str, Origin] = {}
        self._root_file: RootFile | None = None
        self._id = ""

    def path(self, name: str) -> str:
        return os.path.join(self.directory, name + SUFFIX)

    def names(self) -> list[str]:
        """The connections that have a file here."""
        return [name for name in self._files() if name[0] not in "._"]

    def key_names(self) -> list[str]:
        """The keys that have a file of their own here."""
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
                "Make it yours, with mode 0700.",
            ) from None
        return sorted(name[: -len(SUFFIX)] for name in found if name.endswith(SUFFIX) and name != SUFFIX)

    def read(self, name: str) -> Record | None:
        """The record of one connection, None where it has no file."""
        text = self.read_text(name)
        return load(text, name, self.path(name)) if text is not None else None

    def read_roots(self) -> RootFile:
        """The root secrets of derived generations; none where there is no file."""
        if self._root_file is None:
            text = self.read_text(_roots.NAME)
            self._root_file = _roots.load(text, self.path(_roots.NAME)) if text is not None else RootFile()
        return self._root_file

    def read_text(self, name: str) -> str | None:
        """What a file holds, None where there is none."""
        path = self.path(name)
        try:
            # Handed on unnamed: what is decrypted need not stay.
            text, self._origins[name] = self.vault.decrypt(_read_file(path), path)
        except FileNotFoundError:
            return None
        found = _identity.found_in(text)
        if found:
            _identity.check(found, self._own_id(), path, f"{_identity.NAME}{SUFFIX}")
        return text

    def _own_id(self) -> str:
        """The keystore's id; empty where no file has one yet."""
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

    def read_all(self) -> dict[str, Record]:
        """Every record of the directory, by connection."""
        return {name: record for name in self.names() for record in [self.read(name)] if record is not None}

    def check(self, name: str) -> None:
        """Refuse where the connection's file, which was read before, could not be encrypted."""
        self.vault.choose(self._origins.get(name), "vault")

    def write(self, *records: Record, roots: RootFile | None = None) -> None:
        """Replace each connection's file, and before them that of the root secrets where they are given."""
        texts = {_roots.NAME: _roots.dump(roots)} if roots is not None else {}
        self._root_file = None
        self.write_texts({**texts, **{record.connection: dump(record) for record in records}})

    def write_texts(self, texts: t.Mapping[str, str]) -> None:
        """Replace files, in order: whoever reads sees the old or the new one whole, also after a power failure.

        All are encrypted before any is replaced. Where replacing fails, the error names those that
        were replaced before. Each gets the keystore's id, which is written before any file that has
        it."""
        if not texts:
            return
        identity = self._own_id() or _identity.new()
        if not os.path.lexists(self.path(_identity.NAME)):
            if self._origins:
                # Whoever can read the files can read it.
                self._origins[_identity.NAME] = next(iter(self._origins.values()))
            texts = {_identity.NAME: _identity.dump(actor()), **texts}
        contents = {
            name: (
                self.path(name),
                self.vault.encrypt(_identity.marked(text, identity), self._origins.get(name), self.path(name)),
            )
            for name, text in texts.items()
        }
        written: list[str] = []
        for name, (path, data) in contents.items():
            try:
                _replace_file(path, data)
                if name != _identity.NAME:
                    written.append(name)
                _sync_directory(self.directory)
            except OSError as exc:
                done = f"Written were the connections {', '.join(written)} only" if written else "Nothing was changed"
                raise KeystoreError(
                    f"the keystore file cannot be written: {exc.strerror}",
                    path,
                    f"{_fix(exc)}, then run again. {done}.",
                ) from None

    def make_directory(self) -> None:
        """Make it where it is missing. What lies in it is for version control, but the lock is of
        this machine and this hour.
        """
        parent, name = os.path.split(os.path.abspath(self.directory))
        beside = os.path.join(parent, f".{name}.{secrets.token_hex(8)}.new")
        try:
            if os.path.isdir(self.directory):
                return
            os.makedirs(parent, exist_ok=True)
            # It gets its name with its content: a directory without .gitignore is one that somebody made otherwise.
            os.mkdir(beside, 0o700)
            try:
                _create_file(os.path.join(beside, ".gitignore"), _GITIGNORE.encode("ascii"), 0o644)
                os.rename(beside, self.directory)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(beside, ".gitignore"))
                    os.rmdir(beside)
                raise
            _sync_directory(parent)
        except OSError as exc:
            if os.path.isdir(self.directory):
                return
            if os.path.lexists(self.directory):
                raise KeystoreError(
                    "this is no directory", self.directory, "Name the keystore's directory, or move this away."
                ) from None
            raise KeystoreError(
                f"the keystore directory cannot be made: {exc.strerror}", self.directory, f"{_fix(exc)}."
            ) from None

    @contextlib.contextmanager
    def lock(self, runner: Runner | None, create: bool = True) -> t.Iterator[Lease | None]:
        """Alone with the directory. ``runner`` is the run that asks; another run that still goes on
        is refused by name. None asks for a moment only, for what touches no connection.

        Without ``create`` nothing is written, and None is given where there is no lock file: nobody has ever been here.
        """
        path = os.path.join(self.directory, LOCK)
        try:
            handle = os.open(
                path, (os.O_RDWR | os.O_CREAT if create else os.O_RDONLY) | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
            )
        except FileNotFoundError:
            if create:
                raise
            yield None
            return
        except OSError as exc:
            raise KeystoreError(
                f"the keystore's lock cannot be opened: {exc.strerror}", path, f"{_fix(exc)}."
            ) from None
        try:
            _flock(handle, path)
            lease = Lease(handle, path)
            if runner is not None:
                lease.refuse_others(runner)
            if create:
                self._sweep()
            yield lease
        finally:
            os.close(handle)

    def leave(self, runner: Runner) -> bool:
        """Let other runs in where the lease is this run's; True where it was. Another run's is left
        alone, and so is a keystore that nobody ever used.
        """
        path = os.path.join(self.directory, LOCK)
        try:
            handle = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return False
        except OSError as exc:
            raise KeystoreError(
                f"the keystore's lock cannot be opened: {exc.strerror}", path, f"{_fix(exc)}."
            ) from None
        try:
            _flock(handle, path)
            lease = Lease(handle, path)
            mine = lease.holder()[0] == runner
            if mine:
                lease.release()
            return mine
        finally:
            os.close(handle)

    def _sweep(self) -> None:
        """Remove what a crash left. Whoever is at work on such a file holds the lock."""
        with contextlib.suppress(OSError):
            for name in os.listdir(self.directory):
                if _LEFT.fullmatch(name):
                    os.unlink(os.path.join(self.directory, name))


class Runner(t.NamedTuple):
    """One run of Ansible: machine and its boot, process and its start, so that a number that is
    used again is not taken for the same process.

    ``machine`` is a digest of machine-id(5), empty where there is none. A name alone does not tell
    machines apart: images and containers share names. ``namespace`` is that of the process's number
    (pid_namespaces(7)), empty where it is not known: containers of one image may share the
    identity, too."""

    node: str
    boot: str
    pid: int
    started: str
    machine: str = ""
    namespace: str = ""

    @classmethod
    def of(cls, pid: int) -> Runner:
        namespace = _namespace()
        # Without one, /proc is missing or shows other processes.
        started = _start_of(pid) if namespace else ""
        return cls(
            socket.gethostname(), _first_line("/proc/sys/kernel/random/boot_id"), pid, started, _machine(), namespace
        )

    def is_alive(self) -> bool | None:
        """None if it cannot be seen because it runs, or may run, on another machine or in another container."""
        here = Runner.of(self.pid)
        # Earlier releases wrote no namespace.
        if (here.node, here.machine) != (self.node, self.machine) or self.namespace not in ("", here.namespace):
            return None
        if here.boot != self.boot:
            # The numbers of other namespaces restart with each boot, on each machine.
            return False if self.machine and self.namespace == _FIRST_NAMESPACE else None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False if self.namespace else None
        except PermissionError:
            # It belongs to another user.
            pass
        if here.started == self.started:
            return True
        # What /proc hides (hidepid) may be the same process.
        return False if here.started and self.namespace else None


class Lease:
    """Which run the keystore belongs to, from the preparation of a generation to its end. It lives
    in the lock file, and is held while that is locked.
    """

    def __init__(self, handle: int, path: str) -> None:
        self.handle = handle
        self.path = path

    def holder(self) -> tuple[Runner | None, float]:
        """The run that holds it, None for none, and since when."""
        try:
            held = json.loads(os.pread(self.handle, 65536, 0) or b"null")
            return (Runner(**held["runner"]), float(held["since"])) if held else (None, 0.0)
        except (ValueError, TypeError, KeyError):
            raise KeystoreError(
                "the keystore's lock holds no lease of this collection",
                self.path,
                "Remove it when no run uses this keystore.",
            ) from None

    def refuse_others(self, runner: Runner) -> None:
        other, since = self.holder()
        if other is None or other == runner:
            return
        alive = other.is_alive()
        if alive or (alive is None and time.time() - since < LEASE_SECONDS):
            where = "" if alive else f" on {other.node}, which cannot be seen from here"
            raise KeystoreError(
                f"another run (process {other.pid}{where}) has used this keystore for {int(time.time() - since)} s",
                self.path,
                "Wait for it to end; remove this file only when you know that it has.",
            )

    def take(self, runner: Runner) -> None:
        self._write(json.dumps({"runner": runner._asdict(), "since": int(time.time())}))

    def release(self) -> None:
        self._write("")

    def _write(self, text: str) -> None:
        os.ftruncate(self.handle, 0)
        os.pwrite(self.handle, text.encode("ascii"), 0)


def _flock(handle: int, path: str) -> None:
    end = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError as exc:
            if exc.errno not in (errno.EAGAIN, errno.EACCES):
                raise KeystoreError(
                    f"the keystore cannot be locked: {exc.strerror}", path, "Keep it on a file system that has locks."
                ) from None
        if time.monotonic() > end:
            raise KeystoreError(
                f"another process has held the keystore's lock for {LOCK_SECONDS:.0f} s",
                path,
                "Find it with fuser or lsof, and end it.",
            )
        time.sleep(0.05)


def _read_file(path: str) -> bytes:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except OSError as exc:
        what = "is a symbolic link" if exc.errno == errno.ELOOP else f"cannot be read: {exc.strerror}"
        raise KeystoreError(f"the keystore file {what}", path, "Keep the file itself there, readable by you.") from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise KeystoreError("the keystore file is no regular file", path, "Restore it from version control.")
    with os.fdopen(handle, "rb") as stream:
        return stream.read()


def _replace_file(path: str, data: bytes) -> None:
    temporary = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.{secrets.token_hex(8)}.new")
    try:
        _create_file(temporary, data, 0o600)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _create_file(path: str, data: bytes, mode: int) -> None:
    """A new file with its content on the disk."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(handle, left) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_directory(directory: str) -> None:
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def actor() -> str:
    """Who changes the keystore: user and controller."""
    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        user = str(os.geteuid())
    return f"{user}@{socket.gethostname()}"


def _first_line(path: str) -> str:
    try:
        with open(path, encoding="ascii") as stream:
            return stream.readline().strip()
    except OSError:
        return ""


def _namespace() -> str:
    """The PID namespace of this process; empty if there is no /proc, or it belongs to another namespace. Linux only."""
    if sys.platform != "linux":
        return sys.platform
    try:
        return os.readlink("/proc/self/ns/pid") if os.readlink("/proc/self") == str(os.getpid()) else ""
    except OSError:
        return ""


def _machine() -> str:
    # machine-id(5) asks that the identity itself be told to nobody.
    identity = _first_line("/etc/machine-id") or _first_line("/var/lib/dbus/machine-id")
    return hashlib.sha256(f"ipsec.manual keystore {identity}".encode("ascii")).hexdigest()[:16] if identity else ""


def _fix(exc: OSError) -> str:
    return _FIXES.get(exc.errno or 0, "Mend that")


def _start_of(pid: int) -> str:
    # The command in brackets may hold blanks; the 22nd field of proc_pid_stat(5) is the 20th after it.
    fields = _first_line(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 else ""
