# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options --apply, --compare and --remove: a file of SAs and the SADB, a file of policies and the SPD."""

from __future__ import annotations

import os
import typing as t

from ..errors import InputError, IpsecError, counted, raise_all
from ..files import protected
from ..sa.checks import ANYTHING
from ..sa.reuse import reused
from ..sadb import open_sadb
from ..sadb.base import XFRM, Sadb
from ..signals import uninterrupted
from ..text import language
from ..text.script import Step
from . import loading, output
from .execute import check
from .input import read_file
from .options import Options

if t.TYPE_CHECKING:
    from ..sa.model import SecurityAssociation
    from ..sa.plan import Operation, Plan
    from ..sadb.xfrm.backend import XfrmSadb
    from ..spd.policy import Policy, PolicyOperation
    from .policies import PolicyChange


def apply(path: str, options: Options) -> int:
    """Bring the SADB to the file of SAs, and the SPD to that of policies; or remove what belongs to
    the files, or only report the difference. Returns the exit status.

    Missing policies are added first and stay if the rest fails, so that traffic waits for its SAs."""
    sadb = open_sadb()
    policies = (
        _policies(os.path.abspath(options.policies), options, sadb)
        if options.policies
        else _left_behind(path, options, sadb)
    )
    if policies is None or not options.policies or not options.apply:
        return _apply(path, policies, options, sadb)
    policies.close()
    try:
        return _apply(path, policies, options, sadb)
    except IpsecError:
        _report(policies.path, policies.closing, len(policies.wanted) - len(policies.closing), options)
        output.say(
            f"the policies of {policies.path} are in place anyway: until the SAs are, their traffic does not pass"
        )
        raise


def rehearse(path: str, options: Options, before: str) -> int:
    """Make all checks of --apply, and change nothing; 1 if traffic would leave in the clear after a reboot, when there
    are no policies but these. With --no-policies that is a warning. ``before`` is the file of SAs that was loaded in
    the place of this one until now.
    """
    sadb = open_sadb()
    policies = _policies(options.policies, options, sadb) if options.policies else None
    if policies is not None and not policies.wanted:
        fix = "If that is meant, write --no-policies in its place."
        raise InputError("it names no policy, so the service would load none", policies.path, fix)
    sas = _read_sas(path, options, sadb)
    steps = _plan(sas, loading.read_record(path, before), options, sadb)
    added = [operation.new for operation in steps.operations if operation.new is not None]
    raise_all(sadb.preflight(added) if added else [])
    if options.no_policies:
        _warn_of_clear_text(sas, (), path, "from the next reload or boot on", sadb)
    return 0 if policies is None else _complain_of_uncovered(sas, policies.wanted, policies.path, path, sadb)


def _left_behind(path: str, options: Options, sadb: Sadb) -> PolicyChange | None:
    """How to remove what --no-policies left in the kernel, None if that is nothing."""
    if sadb.name != XFRM or not os.path.lexists(loading.RECORD_OF_POLICIES.path):
        return None
    from ..spd.kernel import Spd  # both only here, since few runs need them
    from . import policies

    return policies.left_behind(path, Spd().dump(), bool(options.remove))


def _policies(path: str, options: Options, sadb: Sadb) -> PolicyChange:
    """What a file of policies changes."""
    from ..spd.kernel import Spd  # all only here, since few runs have such a file
    from ..spd.text import parse
    from . import policies
    from .spd import require_policies

    require_policies(sadb)
    loaded = policies.read_record(path)
    wanted: tuple[Policy, ...] = ()
    if not _is_gone(path, options, loaded):
        wanted, warnings = parse(read_file(path, options, protected.PUBLIC), path)
        output.warn(warnings)
    return policies.change(path, wanted, loaded, Spd().dump(), bool(options.remove))


def _apply(path: str, policies: PolicyChange | None, options: Options, sadb: Sadb) -> int:
    loaded = loading.read_record(path)
    gone = _is_gone(path, options, [*loaded, *(policies.loaded if policies is not None else ())])
    sas = () if gone else _read_sas(path, options, sadb)
    if policies is not None and gone and not loaded:
        # Nothing says which SAs were those of the file.
        policies = policies.keep_guards_of(entry.sa for entry in sadb.dump() if not entry.larval)
    elif policies is not None and options.policies and not options.remove:
        policies = policies.keep_guards_of(sas)
    steps = _plan(sas, loaded, options, sadb)
    added = [operation.new for operation in steps.operations if operation.new is not None]
    if options.compare:
        _report_all(path, steps, policies, options)
        different = bool(steps.operations or (policies is not None and policies.operations))
        return max(int(different), _fail_open(policies, sas, path, options, sadb))
    raise_all(sadb.preflight(added) if added else [])
    with uninterrupted():
        if policies is not None:
            policies.carry_out(t.cast("XfrmSadb", sadb), steps.operations)
        elif steps.operations:
            sadb.apply(steps.operations)
        try:
            # The records come last: if writing them fails, what was loaded stays.
            if policies is not None:
                policies.note()
            loading.write_record(path, () if options.remove else sas)
            if options.rotation_due and added:
                protected.write(os.path.abspath(options.rotation_due), loading.rotation_due(steps).encode("ascii"))
        finally:
            _report_all(path, steps, policies, options)
    output.advise(added)
    if options.rotation_due and added:
        output.say(
            f"warning: loaded {counted(len(added), 'SA')} from {path}: if their keys were in use before, a rotation is"
            " due (RFC 4303 section 3.3.3)"
        )
    if not options.remove:
        return _fail_open(policies, sas, path, options, sadb)
    _say_what_stays(policies)
    return 0


def _say_what_stays(policies: PolicyChange | None) -> None:
    for policy in policies.kept if policies is not None else ():
        from ..spd.policy import label

        output.say(f"warning: policy {label(policy)} stays, since it guards SAs in the kernel")


def _read_sas(path: str, options: Options, sadb: Sadb) -> tuple[SecurityAssociation, ...]:
    settings = options.language()
    if options.remove:
        settings.update(ANYTHING)
    found = language.parse(read_file(path, options), path, **settings)
    output.warn(found.warnings)
    if not options.remove:
        check([Step("add", line, sa) for sa, line in zip(found.sas, found.lines)], path, sadb)
    return found.sas


def _is_gone(path: str, options: Options, loaded: t.Sequence[t.Any]) -> bool:
    """Whether --remove names a file that does not exist, so that only the record says what was loaded from it."""
    gone = bool(options.remove and loaded and not os.path.exists(path))
    if gone:
        output.say(f"warning: {path} does not exist; removing what was loaded from it")
    return gone


def _plan(
    sas: t.Sequence[SecurityAssociation], loaded: t.Sequence[SecurityAssociation], options: Options, sadb: Sadb
) -> Plan:
    actual = sadb.dump()
    if options.remove:
        return loading.remove_plan([*sas, *loaded], actual)
    steps = loading.load_plan(
        sas,
        loaded,
        actual,
        bool(actual) and sadb.keys_hidden(),
        options.allow_static_counter_mode,
        bool(actual) and sadb.tells_directions(),
    )
    raise_all(reused(steps.operations, actual, allow_shared_key=options.allow_shared_key))
    return steps


def _report_all(path: str, steps: Plan, policies: PolicyChange | None, options: Options) -> None:
    if policies is not None:
        _report(policies.path, policies.operations, policies.unchanged, options)
    _report(path, steps.operations, steps.unchanged, options)


def _report(path: str, operations: t.Sequence[Operation | PolicyOperation], unchanged: int, options: Options) -> None:
    """Print what a file changed, or would change."""
    if options.verbose or options.compare:
        output.write("".join(f"{operation}\n" for operation in operations))
    output.write(loading.summary(path, operations, unchanged) + "\n")


def _fail_open(
    policies: PolicyChange | None, sas: t.Sequence[SecurityAssociation], path: str, options: Options, sadb: Sadb
) -> int:
    """Report what would leave in the clear (returns 1), and policies that were kept to prevent it.
    What can be closed is already closed. Of policies that --no-policies left behind nobody expects that.
    """
    if policies is None:
        return 0
    from ..spd.policy import label

    if not options.policies:
        when = "once these policies are removed" if options.compare else "from now on"
        _warn_of_clear_text(sas, policies.outcome(), path, when, sadb)
        return 0
    for policy in policies.kept:
        output.say(
            f"warning: {policies.path} no longer names policy {label(policy)}. It stays, since it guards SAs of {path};"
            " remove those first"
        )
    return _complain_of_uncovered(sas, policies.outcome(), policies.path, path, sadb)


def _complain_of_uncovered(
    sas: t.Sequence[SecurityAssociation], held: t.Iterable[Policy], policies_file: str, path: str, sadb: Sadb
) -> int:
    """Report whose traffic would leave in the clear if the SPD holds these policies; 1 if any would."""
    from ..spd.guarding import between, uncovered

    found = uncovered(sas, held, sadb.local_addresses())
    if found:
        error = IpsecError(
            f"no policy uses {counted(len(found), 'SA')} of {path}, so traffic may leave unencrypted, between"
            f" {between(found)}",
            "SPD",
            f"Add their policies to {policies_file}, or remove the SAs from {path}.",
        )
        output.complain(error)
    return 1 if found else 0


def _warn_of_clear_text(
    sas: t.Sequence[SecurityAssociation], held: t.Iterable[Policy], path: str, when: str, sadb: Sadb
) -> None:
    """Say whose traffic leaves in the clear, as somebody wanted it, if the SPD holds these policies: none if they are
    there for all of it.
    """
    from ..spd.guarding import between, uncovered

    others = list(held)
    found = uncovered(sas, others, sadb.local_addresses())
    if others and not found:
        return
    whose = f"the traffic of {counted(len(found), 'SA')} leaves unencrypted" if found else "no traffic is encrypted"
    where = f", between {between(found)}" if found else ""
    output.say(
        f"warning: {path} is loaded without policies: {when}, {whose}, unless something else has policies for it{where}"
    )
