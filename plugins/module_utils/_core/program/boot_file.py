# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The option --boot-file: which files the service at boot loads.

Nothing is loaded. What the service loaded from its previous files counts as loaded from the new ones, so that the
next reload removes what these do not name."""

from __future__ import annotations

import contextlib
import os
import stat
import typing as t

from .. import programs
from ..audit import service
from ..errors import InputError, IpsecError, ProtectedFileError, raise_all
from ..files import atomic, protected
from ..signals import uninterrupted
from . import apply, loading, output, policies
from .options import Options

_PLACE = "--boot-file"
_INSTALL = "Install it where this command was installed from."
_REREAD = "Run: systemctl daemon-reload"
_TIMEOUT = 60  # seconds
# Whoever has locked this file may read which files the service loads, and change that. It is empty, in a directory
# of root.
_LOCK = "/run/ipseckey/boot-file"
_PATIENCE = 2 * _TIMEOUT
# A start script is a program.
_SCRIPT = protected.PUBLIC._replace(mode=0o755, refused=0o7022)


def switch(file: str, options: Options) -> int:
    """Have the service load ``file``, and the policies of ``options``: others, those of before, or none. Returns the
    exit status.
    """
    place = _place(file)
    with alone():
        return _switch(place, file, options)


def _switch(place: service.Place, file: str, options: Options) -> int:
    text = _text(place.path)
    before = service.says(text)
    policies_file = _policies_file(options, before[1])
    raise_all([*_problems(file, _PLACE), *(_problems(policies_file, "--policies") if policies_file else ())])
    # As the service reads it.
    reading = Options(
        apply=file,
        policies=policies_file,
        boot_file=file,
        no_policies=options.no_policies,
        numeric=True,
        allow_reserved_spi=True,
        allow_shared_key=True,
    )
    if apply.rehearse(file, reading, before[0]):
        output.say(f"{place.path} stays as it is")
        return 1
    after = (file, policies_file)
    new = service.switched(text, *after)
    if service.says(new) != after:
        raise IpsecError("the service is not as it was installed, so its files cannot be told", place.path, _INSTALL)
    if new == text:
        # Whoever wrote it may have been interrupted before systemd read it.
        if service.systemd_is_behind() and not _reread():
            raise IpsecError("systemd did not read the definition of the service", place.path, _REREAD)
        output.write(f"{place.path}: nothing changed; the service loads {_named(after, options)} already\n")
        return 0
    with uninterrupted():
        _put(place.path, text, new, before, after)
    output.write(f"{place.path}: the service loads {_named(after, options)} from now on\n")
    _say_what_follows(place, before, after)
    return 0


def _policies_file(options: Options, before: str) -> str:
    if options.no_policies:
        return ""
    return os.path.abspath(options.policies) if options.policies else before


def _named(files: tuple[str, str], options: Options) -> str:
    """What a service loads, as words."""
    if files[1]:
        return f"{files[0]} and the policies of {files[1]}"
    return f"{files[0]} and no policies" if options.no_policies else files[0]


def _say_what_follows(place: service.Place, before: tuple[str, str], after: tuple[str, str]) -> None:
    if before[1] and not after[1]:
        output.say(
            f"nothing was loaded or removed. To load it now, and to remove the policies of {before[1]}: {place.reload}"
        )
        output.say(f"to have the service load them again: ipseckey --boot-file {after[0]} --policies {before[1]}")
    else:
        output.say(f"nothing was loaded. To load it now: {place.reload}")


@contextlib.contextmanager
def alone() -> t.Iterator[None]:
    """No other run with --boot-file or of ipsec_boot is in this block: each goes by what it reads."""
    with _locked():
        yield


def _locked() -> t.IO[bytes]:
    while True:
        held = _opened()
        try:
            if not atomic.lock(held.fileno(), _PATIENCE):
                fix = "Wait until it ends, then run again."
                raise IpsecError("another run that sets up this service has not ended", service.NAME, fix)
            # Whoever removes the service removes this file, too.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(held.fileno()), os.stat(_LOCK)):
                    return held
        except BaseException:
            held.close()
            raise
        held.close()


def _opened() -> t.IO[bytes]:
    try:
        os.makedirs(os.path.dirname(_LOCK), protected.DIRECTORY_MODE, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        return open(os.open(_LOCK, flags, protected.FILE_MODE), "r+b")
    except OSError as exc:
        raise ProtectedFileError(f"the file cannot be written ({exc.strerror})", _LOCK, "Run as root.") from None


def _place(file: str) -> service.Place:
    """Where this host has the service. Raises InputError if there is none that can be switched."""
    manager = service.serving()
    if manager == service.SMF:
        fix = f"Run: svccfg -s {service.SMF_SERVICE} setprop config/config_file = astring: {file}"
        raise InputError("this system keeps the path in a property of its own service", _PLACE, fix)
    place = service.PLACES.get(manager)
    if place is None or not os.path.lexists(place.path):
        raise InputError(f"this host has no service {service.NAME}", _PLACE, _INSTALL)
    return place


def _text(path: str) -> str:
    """The text that defines the service. Raises if somebody else wrote it, or could write it."""
    text = protected.read(path, protection=_SCRIPT).decode("utf-8", "surrogateescape")
    if service.MANAGED not in text.splitlines() or not service.says(text)[0]:
        raise IpsecError("another program wrote this service", path, "Set its files there by hand.")
    for drop_in in service.overriding():
        message = "this drop-in of systemd replaces commands of the service, so it names what is loaded"
        fix = "Remove its lines ExecStart=, ExecReload= and ExecStop=, or set the files there by hand."
        raise IpsecError(message, drop_in, fix)
    return text


def _problems(file: str, place: str) -> t.Iterator[IpsecError]:
    """Why the service could not load this file at boot. It is root without the capabilities by which root reads
    everything, so that it needs the rights of an owner.
    """
    yield from service.file_problems(file, place)
    path, needed, right = file, stat.S_IRUSR, "u+r"
    while os.path.exists(path):
        if not os.lstat(path).st_mode & needed:
            yield ProtectedFileError("its mode keeps the service from reading it", path, f"chmod {right} {path}")
        if path == os.path.dirname(path):
            return
        path, needed, right = os.path.dirname(path), stat.S_IXUSR, "u+x"


def _reread() -> bool:
    """Have systemd, if it runs, read the definition of the service. Returns whether it did."""
    return not service.systemd_runs() or programs.succeeds("systemctl", "daemon-reload", timeout=_TIMEOUT)


def _put(path: str, old: str, new: str, before: tuple[str, str], after: tuple[str, str]) -> None:
    """Replace the text and have systemd read it; if that fails, everything is as it was."""
    owners = policies.owner(*before), policies.owner(*after)
    with loading.handed_over(before[0], after[0]), policies.handed_over(*owners):
        _replace(path, new)
        if not _reread():
            _replace(path, old)
            message = "systemd did not read the new definition of the service, so the old one is back"
            raise IpsecError(message, path, _REREAD)


def _replace(path: str, text: str) -> None:
    """Replace the content of a file; its mode and owner stay."""
    found = os.stat(path)

    def own(temporary: str) -> None:
        os.chown(temporary, found.st_uid, found.st_gid)

    try:
        atomic.replace(path, text.encode("utf-8", "surrogateescape"), stat.S_IMODE(found.st_mode), check=own)
        atomic.sync(os.path.dirname(path))
    except OSError as exc:
        raise IpsecError(f"the file cannot be written ({exc.strerror})", path, "Run as root.") from None
