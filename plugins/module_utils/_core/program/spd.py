# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options about the SPD alone: show or save policies, load a file of them, delete one, and flush all."""

from __future__ import annotations

import os
import typing as t

from ..errors import InputError, IpsecError, counted
from ..files import protected
from ..sadb import open_sadb
from ..sadb.base import Sadb
from ..signals import uninterrupted
from . import loading, output
from .input import read_file
from .options import Options

if t.TYPE_CHECKING:
    from ..spd.policy import Policy


def carry_out(options: Options) -> int:
    """What the options say. Returns the exit status."""
    sadb = require_policies(open_sadb())
    if options.show_policies:
        return _show(options)
    if options.save_policies:
        return _save(os.path.abspath(options.save_policies))
    if options.flush_policies:
        return _flush(options)
    if options.delete_policy:
        return _delete(options)
    return _load(os.path.abspath(options.policies), options, sadb)


def require_policies(sadb: Sadb) -> Sadb:
    """The SADB, if the policies of its system are those of this command."""
    from ..sadb.xfrm.backend import XfrmSadb  # only here, since few runs are about policies

    if not isinstance(sadb, XfrmSadb):
        raise InputError(
            "this system has policies of another kind",
            "policies",
            "Omit the option, and use the system's own tools.",
        )
    return sadb


def _show(options: Options) -> int:
    """Print each policy with its number, as a line, or as JSON with the fields of a file of policies."""
    from ..spd.kernel import Spd
    from ..spd.text import view

    entries = Spd().dump()
    if options.json:
        output.write_json([{"number": entry.number, **view(entry.policy)} for entry in entries], indent=1)
    else:
        output.write("".join(f"{entry.number:>10}  {_line(entry.policy)}\n" for entry in entries))
    return 0


def _save(path: str) -> int:
    """Write the policies, as far as a file can express them; 1 if it cannot for all. Never in the place of another
    file: whoever may do this could otherwise replace any.
    """
    from ..spd.kernel import Spd
    from ..spd.policy import label
    from ..spd.text import is_expressible, render

    # The kernel lists the last one first, while of several for a packet, the first one decides.
    entries = Spd().dump()[::-1]
    policies = [entry.policy for entry in entries if is_expressible(entry)]
    others = [entry.policy for entry in entries if not is_expressible(entry)]
    text = render(policies).encode("ascii")
    if os.path.lexists(path) or not protected.create(path, text):
        raise InputError("the file exists, and policies are saved to a new one only", path, "Name another file.")
    for policy in others:
        output.complain(
            IpsecError(
                "the policy has properties that a file cannot express, so it was not saved",
                label(policy),
                "Have the program that added it load it.",
            )
        )
    return 1 if others else 0


def _line(policy: Policy) -> str:
    from ..spd.policy import label
    from ..spd.text import template_view, view

    shown = view(policy)
    parts = [label(policy), policy.action, f"priority {policy.priority}"]
    parts += [f"{name} {shown[name]}" for name in ("mark", "if_id") if shown[name]]
    for template in policy.templates:
        row = template_view(template)
        ends = (
            f"{row['source'] or 'any'} > {row['destination'] or 'any'}" if row["source"] or row["destination"] else ""
        )
        words = (row["protocol"], row["mode"], ends, f"reqid {row['reqid']}", row["spi"], row["level"])
        parts.append(" ".join(filter(None, words)))
    return ", ".join((*parts, *policy.extra))


def _load(path: str, options: Options, sadb: Sadb) -> int:
    """Bring the SPD to the policies of a file. Those that guard SAs of the kernel stay, so that nothing of them leaves
    in the clear.
    """
    from ..spd.kernel import Spd
    from ..spd.policy import label
    from ..spd.text import parse
    from . import policies

    wanted, warnings = parse(read_file(path, options, protected.PUBLIC), path)
    output.warn(warnings)
    change = policies.change(path, wanted, policies.read_record(path), Spd().dump())
    change = change.keep_guards_of(entry.sa for entry in sadb.dump() if not entry.larval)
    with uninterrupted():
        Spd().apply(change.operations)
        change.note()
    if options.verbose:
        output.write("".join(f"{operation}\n" for operation in change.operations))
    output.write(loading.summary(path, change.operations, change.unchanged) + "\n")
    for policy in change.kept:
        output.say(
            f"warning: {path} no longer names policy {label(policy)}. It stays, since it guards SAs in the kernel"
        )
    return 0


def _delete(options: Options) -> int:
    """Delete the policy of a number that `_show` prints."""
    from ..spd.kernel import Spd
    from ..spd.policy import ABSENT, plan

    entries = Spd().dump()
    found = [entry for entry in entries if str(entry.number) == options.delete_policy]
    if not found:
        raise InputError("no policy has this number", "--delete-policy", "See: ipseckey --show-policies")
    if not found[0].complete:
        raise InputError(
            "the policy has properties that this command cannot express, so it belongs to another program",
            "--delete-policy",
            "Delete it with that program, or with: ip xfrm policy",
        )
    Spd().apply(plan([found[0].policy], entries, ABSENT))
    _warn_of_clear_text()
    return 0


def _flush(options: Options) -> int:
    """Delete all policies but those of sockets, whoever added them."""
    from ..spd.kernel import Spd

    count = Spd().flush()
    if options.verbose:
        output.write(f"flush: {counted(count, 'policy', 'policies')} deleted\n")
    _warn_of_clear_text()
    return 0


def _warn_of_clear_text() -> None:
    from ..spd.guarding import between, uncovered
    from ..spd.kernel import Spd

    sadb = open_sadb()
    sas = [entry.sa for entry in sadb.dump() if not entry.larval]
    found = uncovered(sas, [entry.policy for entry in Spd().dump()], sadb.local_addresses())
    if found:
        output.say(
            f"warning: no policy uses {counted(len(found), 'SA')}, so traffic may leave unencrypted, between"
            f" {between(found)}"
        )
