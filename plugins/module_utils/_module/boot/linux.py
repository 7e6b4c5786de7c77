# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The service of ipsec_boot on Linux: its files, and loading them now."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import typing as t

from ..._core.audit import service as at_boot
from ..._core.errors import IpsecError
from ..._core.files import protected
from ..._core.program import boot_file, loading
from ..._core.program import policies as file_of_policies
from ..._core.sa.checks import ANYTHING
from ..._core.sa.model import SecurityAssociation
from ..._core.sadb import open_sadb
from ..._core.spd.guarding import guarding, unguarded
from ..._core.spd.kernel import Spd
from ..._core.spd.policy import Policy, identity, label, warnings
from ..._core.spd.text import Doubts, is_expressible, read_policies, render
from ..._core.spd.text import parse as parse_policies
from ..._core.text import language
from .. import command as program
from ..base import Module, Result, warn
from ..clock import Deadline
from ..command import File
from . import operators, texts
from .services import Service

# Directories for the notes of the service and its command.
_NOTES = ("/run/ipseckey", os.path.dirname(at_boot.ROTATION_DUE))
# Why a policy that no longer guards any SA is kept.
_CLOSED = "without it the traffic that it protected would leave unencrypted. To remove it, run without purge: false"


def query(module: Module, service: Service) -> Result:
    """Whether the service is installed, and what it loads. Raises what is wrong with its file of
    policies, since the service would fail at boot.
    """
    file, policies_file = _loads(service)
    policies = (
        parse_policies(protected.read(policies_file, protection=protected.PUBLIC), policies_file)[0]
        if policies_file
        else ()
    )
    return {
        "installed": service.installed(),
        "enabled": service.enabled(),
        "file": file,
        "policies_file": policies_file,
        "policies": list(map(label, policies)),
    }


def _loads(service: Service) -> tuple[str, str]:
    """The files of SAs and of policies that the installed service loads; empty for none."""
    if not service.installed():
        return "", ""
    with open(service.path, encoding="utf-8", errors="replace") as stream:
        return at_boot.says(stream.read())


# Present


def install(module: Module, service: Service, deadline: Deadline) -> Result:
    """Install the service, and have it load now what it loads at boot."""
    with contextlib.nullcontext() if module.check_mode else boot_file.alone():
        return _install(module, service, deadline)


def _install(module: Module, service: Service, deadline: Deadline) -> Result:
    file: str = module.params["file"]
    doubts: Doubts = []
    named = read_policies(module.params["policies"], "policies", doubts)
    warn(module, [*doubts, *((text, label(policy)) for policy in named for text in warnings(policy))])
    kept = _kept(module, file, named)
    policies = (*named, *kept)
    wanted = _files(service, file, policies, module.params["ask_for_rotation"])
    wanted += operators.wanted(module, file, bool(policies), type(service))
    missing = [row for row in wanted if not program.is_current(row)]
    superfluous = [] if policies or not os.path.lexists(at_boot.POLICIES) else [File(at_boot.POLICIES, 0o644, b"")]
    superfluous += operators.superfluous(module)
    enabling = not service.enabled()
    loading_now = module.params["load"] and os.path.exists(file)
    active = service.active()
    before, after = _loads(service), (file, at_boot.POLICIES if policies else "")
    rewritten = at_boot.POLICIES in [row.path for row in missing]
    behind = service.behind()
    outdated = loading_now and active and _is_outdated(policies, file, before, rewritten, behind)
    starting = loading_now and not active
    if starting or outdated:
        _require_running(service)
    changes = bool(
        missing
        or superfluous
        or enabling
        or behind
        or outdated
        or (starting and (service.knows_what_runs or _pending(policies, file, before)))
    )
    diff = _diff(missing, superfluous)
    if not module.check_mode:
        with _restoring(module, service, [*missing, *superfluous]), _handing_over(before, after):
            _exchange(module, service, missing, superfluous, deadline)
            if enabling:
                service.do("enable")
        if outdated or starting:
            deadline.check("the service is installed, but nothing was loaded")
        _load(module, service, outdated, starting)
    result: Result = {
        "changed": changes,
        "installed": True,
        "enabled": True,
        "file": file,
        "policies_file": after[1],
        "policies": list(map(label, policies)),
        "kept": list(map(label, kept)),
        "files": [row.path for row in (*missing, *superfluous)],
    }
    if module._diff:
        result["diff"] = diff
    return result


def _exchange(
    module: Module, service: Service, missing: t.Sequence[File], superfluous: t.Sequence[File], deadline: Deadline
) -> None:
    """Install and remove files, and have the service manager read what changed."""
    for row in missing:
        deadline.check()
        program.install(module, row)
    if service.behind() or service.path in [row.path for row in missing]:
        service.reread()
    deadline.check()
    # Last, so that a service that starts in the meantime finds every file that it names.
    for row in superfluous:
        os.unlink(row.path)


def _require_running(service: Service) -> None:
    if not service.runs():
        raise IpsecError(
            "the service manager does not run on this host, so the service cannot load anything now",
            "load",
            "With load: false, it is installed for the next boot.",
        )


def _files(service: Service, file: str, policies: t.Sequence[Policy], ask_for_rotation: bool) -> list[File]:
    """The files to install, in an order in which none names one that is still missing."""
    policies_file = at_boot.POLICIES if policies else ""
    described = File(service.path, service.mode, texts.fill(service.text, file, policies_file, ask_for_rotation))
    data = [File(at_boot.POLICIES, 0o644, render(policies).encode("ascii"))] if policies else []
    return [*program.files(), *data, described]


def _kept(module: Module, file: str, named: t.Sequence[Policy]) -> list[Policy]:
    """The policies of the present file, or of the kernel, that nothing names, and without which
    traffic would leave unencrypted after a reboot.
    """
    sas: tuple[SecurityAssociation, ...] | None = None
    with contextlib.suppress(IpsecError):  # else it is unknown which SAs the policies guard
        sas = _sas(file)
    removed = set(map(identity, read_policies(module.params["removed"], "removed", [])))
    old = _unnamed(module, named)
    closed = [policy for policy in old if policy.templates]
    guards = closed if sas is None else guarding(old, sas)
    kept = (
        guards
        if module.params["purge"]
        else [policy for policy in closed if policy in guards or identity(policy) not in removed]
    )
    # Added by something that did not arrange to load them at boot, while SAs that only they guard will be. One that
    # differs from a named one in its templates only, as while these change, is replaced by it at boot.
    named_or_kept = set(map(identity, [*named, *kept]))
    held = [entry for entry in Spd().dump() if entry.complete and not entry.policy.extra] if sas else []
    others = [entry for entry in held if identity(entry.policy) not in named_or_kept]
    guarded = unguarded(sas or (), [*named, *kept])
    found = guarding((entry.policy for entry in others if is_expressible(entry)), guarded)
    for policy in guarding((entry.policy for entry in others if not is_expressible(entry)), guarded):
        module.warn(
            f"policy {label(policy)}: it guards SAs of {file}, but not after a reboot, since a file of policies cannot"
            " express it. Have the program that added it load it."
        )
    for policy in (*kept, *found):
        why = (
            f"it guards SAs of {file}. It is removed when they have left the file"
            if policy in guards or policy in found
            else _CLOSED
        )
        module.warn(f"policy {label(policy)}: no longer named, but kept, since {why}.")
    return [*kept, *found]


def _unnamed(module: Module, named: t.Sequence[Policy]) -> list[Policy]:
    """Policies in the policy file that are no longer named."""
    if not os.path.lexists(at_boot.POLICIES):
        return []
    identities = set(map(identity, named))
    try:
        old = parse_policies(protected.read(at_boot.POLICIES, protection=protected.PUBLIC), at_boot.POLICIES)[0]
    except IpsecError as error:
        module.warn(
            f"The present file of policies cannot be read, so its policies are unknown, and it is replaced. {error}"
        )
        return []
    return [policy for policy in old if identity(policy) not in identities]


def _sas(file: str) -> tuple[SecurityAssociation, ...]:
    """The SAs of the protected file, none if it does not exist. Raises what is wrong with it."""
    return language.parse(protected.read(file), file, **ANYTHING).sas if os.path.lexists(file) else ()


def _is_outdated(
    policies: t.Sequence[Policy], file: str, before: tuple[str, str], rewritten: bool, behind: bool
) -> bool:
    """Whether the service, which runs, has to load again: from another file, which its manager may not know yet
    (``behind``), or policies, if their file was ``rewritten`` or the kernel has others.
    """
    if (behind or before[0] != file) and _pending(policies, file, before):
        return True
    return bool(policies) and (rewritten or _differ(policies, file, before))


def _differ(policies: t.Sequence[Policy], file: str, before: tuple[str, str]) -> bool:
    """Whether the kernel's policies differ from those that the service would load, as after a run
    that only wrote the file.
    """
    found = file_of_policies.change(
        at_boot.POLICIES,
        policies,
        file_of_policies.read_record(at_boot.POLICIES, file_of_policies.owner(*before)),
        Spd().dump(),
    )
    with contextlib.suppress(IpsecError):  # loading reports what is wrong with the protected file
        found = found.keep_guards_of(_sas(file))
    return bool(found.operations)


def _pending(policies: t.Sequence[Policy], file: str, before: tuple[str, str]) -> bool:
    """Whether the service has something to load."""
    try:
        sadb = open_sadb()
        actual = sadb.dump()
        hidden = bool(actual) and sadb.keys_hidden()
        steps = loading.load_plan(
            _sas(file),
            loading.read_record(file, before[0]),
            actual,
            hidden,
            tells_directions=bool(actual) and sadb.tells_directions(),
        )
        return bool(steps.operations) or (bool(policies) and _differ(policies, file, before))
    except IpsecError:
        return True


@contextlib.contextmanager
def _handing_over(before: tuple[str, str], after: tuple[str, str]) -> t.Iterator[None]:
    """What was loaded from the files ``before`` counts as loaded from those ``after``."""
    owner = file_of_policies.owner(*before)
    with loading.handed_over(before[0], after[0]), file_of_policies.handed_over(owner, after[1]):
        yield


@contextlib.contextmanager
def _restoring(module: Module, service: Service, rows: t.Sequence[File]) -> t.Iterator[None]:
    """Restore every file if the block fails."""
    before = [
        (
            row.path,
            program.content_of(row),
            stat.S_IMODE(os.lstat(row.path).st_mode) if os.path.lexists(row.path) else 0,
        )
        for row in rows
    ]
    try:
        yield
    except (IpsecError, OSError):
        for path, content, mode in before:
            if content is not None:
                program.install(module, File(path, mode, content))
            elif os.path.lexists(path):
                os.unlink(path)
        with contextlib.suppress(IpsecError):
            service.reread()
        raise


def _load(module: Module, service: Service, outdated: bool, starting: bool) -> None:
    """Have the service load now what it loads at boot. If it cannot, raises why; the service stays
    installed, since it fails closed.
    """
    try:
        if outdated:
            service.do("reload")
        if starting:
            service.do("start")
    except IpsecError as error:
        hint = f"It is installed, and would fail at boot as well. {_reason(module)}".rstrip()
        raise IpsecError(error.message, error.place, hint) from None


def _reason(module: Module) -> str:
    """The error messages of the command, as the service runs it, which systemd would show in its journal only."""
    words = ["-n", "--allow-reserved-spi", "--allow-shared-key", "--compare", module.params["file"]]
    words += ["--policies", at_boot.POLICIES] if os.path.lexists(at_boot.POLICIES) else []
    dummy, dummy, messages = module.run_command([texts.COMMAND, *words])
    return "\n".join(line for line in messages.splitlines() if not line.startswith("ipseckey: warning: "))


def _diff(missing: t.Sequence[File], superfluous: t.Sequence[File]) -> dict[str, str]:
    """Texts in full, each below its path, and programs as digests."""
    packed = {row.path for row in program.files()}
    command = [row for row in missing if row.path in packed]
    texts_of = [row for row in (*missing, *superfluous) if row.path not in packed]

    def shown(content: t.Callable[[File], bytes | None]) -> str:
        found = ((row.path, content(row)) for row in texts_of)
        return program.digests(command, content) + "".join(
            f"{path}:\n{data.decode('utf-8', 'replace')}" for path, data in found if data
        )

    return {"before": shown(program.content_of), "after": shown(lambda row: row.content)}


# Absent


def remove(module: Module, service: Service, deadline: Deadline) -> Result:
    """Remove everything that was installed; SAs and policies stay in the kernel."""
    command = [row for row in program.files() if os.path.lexists(row.path)]
    own = [path for path in (service.path, at_boot.POLICIES, *_NOTES) if os.path.lexists(path)]
    own += [operators.PATH] if operators.is_ours() else []
    enabled, installed = service.enabled(), service.installed()
    if not module.check_mode:
        with boot_file.alone() if installed else contextlib.nullcontext():
            deadline.check()
            if enabled:
                service.do("disable")
            service.forget()
            # The lock may have made its directory.
            for path in {*own, *filter(os.path.lexists, _NOTES)}:
                shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
            if installed:
                service.forgotten()
            program.delete(command)
    paths = [*own, *(row.path for row in command)]
    result: Result = {
        "changed": bool(enabled or paths),
        "installed": False,
        "enabled": False,
        "file": "",
        "files": paths,
    }
    if module._diff:
        result["diff"] = {"before": "".join(f"{path}\n" for path in paths), "after": ""}
    return result
