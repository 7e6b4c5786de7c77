# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The work of ipseckey_command: install the core, which comes with the module, as one executable file.

One file is replaced by one rename, so that no run sees parts of two versions.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import os
import pkgutil
import stat
import sys
import typing as t
import zipfile

from .._core.errors import InputError, IpsecError
from .._core.files import atomic
from .._core.program import command as _packed  # Ansible packs what it imports, and that is installed
from .._core.program.completion import bash_script
from .._core.program.reference import man_page
from .base import Module, Result

NAME = "ipseckey"
USUAL_PYTHON = "/usr/bin/python3"
PROGRAM = f"sbin/{NAME}"
MANUAL = f"share/man/man8/{NAME}.8"
COMPLETION = f"share/bash-completion/completions/{NAME}"
# Directories that may have been made for these files, the deepest first. They are removed when empty.
DIRECTORIES = ("share/man/man8", "share/bash-completion/completions", "share/bash-completion")
_MAIN = f"import sys\n\nfrom {NAME}.program.command import main\n\nsys.exit(main())\n"
_OLDEST = (1980, 1, 1, 0, 0, 0)


PREFIX = "/usr/local"


class File(t.NamedTuple):
    """A file to install: its path, permission bits and content. A program must run with the
    arguments ``trial`` before it is put in place; another file must pass ``checker``, a command that
    gets its path.
    """

    path: str
    mode: int
    content: bytes
    trial: tuple[str, ...] = ()
    checker: tuple[str, ...] = ()


def apply_program(module: Module) -> Result:
    """Install the command, its manual page and its completion, or remove them."""
    params = module.params
    wanted = files(params["prefix"], params["python"])
    try:
        return _install(module, wanted) if params["state"] == "present" else _remove(module, wanted, params["prefix"])
    except OSError as exc:
        raise IpsecError(
            f"{exc.strerror}", exc.filename or params["prefix"], "Run as root (become: true), or choose another prefix."
        ) from None


def _python(given: str | None) -> str:
    # The name of the Python that runs Ansible may hold a version, which an upgrade of the system removes.
    python = given or (USUAL_PYTHON if os.path.exists(USUAL_PYTHON) else sys.executable)
    if not python.startswith("/") or len(python) > 100 or not python.isprintable() or " " in python:
        raise InputError(
            "this path cannot stand in the first line of a program",
            "python",
            "Give an absolute path without spaces.",
        )
    return python


def files(prefix: str = PREFIX, python: str | None = None) -> list[File]:
    """The command, its manual page and its completion. Without ``python``, it uses the host's usual one."""

    def path(name: str) -> str:
        return os.path.join(prefix, name)

    return [
        File(path(PROGRAM), 0o755, program(_python(python)), ("--help",)),
        File(path(MANUAL), 0o644, man_page().encode("ascii")),
        File(path(COMPLETION), 0o644, bash_script().encode("ascii")),
    ]


def program(python: str) -> bytes:
    """The command as one file: a line that names the interpreter, and a ZIP archive. The same core
    always gives the same bytes. Option ``-I`` keeps the user's paths out.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in [("__main__.py", _MAIN), *sources()]:
            archive.writestr(zipfile.ZipInfo(name, _OLDEST), text)
    return f"#!{python} -I\n".encode("ascii") + buffer.getvalue()


def sources() -> list[tuple[str, str]]:
    """The files of the core, by their names in the archive."""
    package = _packed.__name__.rsplit(".", 2)[0]
    folder = sys.modules[package].__path__
    found = {}
    for name, is_package in [
        (package, True),
        *((row.name, row.ispkg) for row in pkgutil.walk_packages(folder, f"{package}.")),
    ]:
        loader: t.Any = getattr(importlib.util.find_spec(name), "loader", None)
        text = loader.get_source(name) if loader is not None else None
        if text is None:
            raise IpsecError("the source of this part of the module is missing", name)
        found[NAME + name[len(package) :].replace(".", "/") + ("/__init__.py" if is_package else ".py")] = text
    return sorted(found.items())


def _install(module: Module, wanted: t.Sequence[File]) -> Result:
    missing = [file for file in wanted if not is_current(file)]
    before = digests(missing, content_of)
    if not module.check_mode:
        for file in missing:
            install(module, file)
    return _result(module, wanted, missing, before, digests(missing, lambda file: file.content))


def _remove(module: Module, wanted: t.Sequence[File], prefix: str) -> Result:
    there = [file for file in wanted if os.path.lexists(file.path)]
    before = digests(there, content_of)
    if not module.check_mode:
        delete(there, prefix)
    return _result(module, wanted, there, before, "")


def delete(there: t.Sequence[File], prefix: str = PREFIX) -> None:
    """Delete existing files of the command, and the directories that may have been made for them."""
    for file in there:
        os.unlink(file.path)
    if there:
        for directory in DIRECTORIES:
            with contextlib.suppress(OSError):
                os.rmdir(os.path.join(prefix, directory))


def is_current(file: File) -> bool:
    """Whether the file is as it should be, and not a link."""
    with contextlib.suppress(FileNotFoundError):
        found = os.lstat(file.path)
        return (
            stat.S_ISREG(found.st_mode)
            and stat.S_IMODE(found.st_mode) == file.mode
            and found.st_uid == os.geteuid()
            and content_of(file) == file.content
        )
    return False


def content_of(file: File) -> bytes | None:
    """The present content of the file; None if it does not exist."""
    try:
        with open(file.path, "rb") as stream:
            return stream.read()
    except FileNotFoundError:
        return None


def install(module: Module, file: File) -> None:
    """Replace the file, if the new one passes its trial and its check."""

    def check(temporary: str) -> None:
        status, dummy, err = module.run_command([temporary, *file.trial]) if file.trial else (0, "", "")
        if status:
            reason = err.strip().splitlines()[-1] if err.strip() else f"exit status {status}"
            fix = "Name a Python of 3.8 or later in python."
            raise IpsecError(f"the command does not start: {reason}", file.path, fix)
        if file.checker:
            status, out, err = module.run_command([*file.checker, temporary])
            if status:
                reason = " ".join((out + err).split()) or f"exit status {status}"
                raise IpsecError(f"{file.checker[0]} refuses it: {reason}", file.path, "Nothing was changed.")

    os.makedirs(os.path.dirname(file.path), mode=0o755, exist_ok=True)
    atomic.replace(file.path, file.content, file.mode, check=check)
    module.set_default_selinux_context(file.path, False)


def digests(there: t.Sequence[File], content: t.Callable[[File], bytes | None]) -> str:
    """Path and digest of each file that exists, one a line, for a difference."""
    found = [(file.path, content(file)) for file in there]
    return "".join(f"{path} sha256:{hashlib.sha256(data).hexdigest()}\n" for path, data in found if data is not None)


def _result(module: Module, wanted: t.Sequence[File], changed: t.Sequence[File], before: str, after: str) -> Result:
    result: Result = {"changed": bool(changed), "path": wanted[0].path, "files": [file.path for file in changed]}
    if module._diff:
        result["diff"] = {"before": before, "after": after}
    return result
