# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The work of ipsec_sadb: a set of SAs against the SADB."""

from __future__ import annotations

import re
import time
import typing as t

from .._core.errors import InputError, SadbError, raise_all
from .._core.files import protected
from .._core.sa.checks import ANYTHING
from .._core.sa.digest import digest
from .._core.sa.model import OUTBOUND, Entry, SecurityAssociation, identity, pair
from .._core.sa.plan import (
    ADD,
    BOTH,
    DELETE,
    EXACT,
    FLUSHED,
    PEERS,
    PRESENT,
    REPLACE,
    Operation,
    Plan,
    in_scope,
    joined,
    plan,
)
from .._core.sa.reuse import reused
from .._core.sadb import open_sadb
from .._core.sadb.backup import backup
from .._core.sadb.base import Sadb
from .._core.text.language import Document
from .base import KEYS_HIDDEN, Module, Result, sadb_diff
from .clock import Deadline, check_instant, wait_until
from .secrets import take_digest_key
from .text import read_file, read_pairs, read_text, warn_of

# The backup is made again this many seconds before the instant, or twice the time that the first one took.
SHORTEST_LEAD = 1.0
# Seconds from the addition of outbound SAs to the deletion of those that they replace. The kernel drops a
# packet whose SA is deleted between its choice and the packet's departure (XfrmOutStateInvalid, see
# xfrm_output_one in net/xfrm/xfrm_output.c); a busy processor stretches that moment.
SETTLING = 0.25


def apply_sadb(module: Module) -> Result:
    """Make the SADB agree with the text, within the scope."""
    params = module.params
    check_instant(params["at"])
    deadline, digest_key = Deadline(params["deadline"], params["at"]), take_digest_key(module)
    adding = params["state"] in (PRESENT, EXACT)
    _check_labels(params)
    if params["ignore_missing"] and params["src"] and not protected.status(params["src"]).exists:
        return {**_result(open_sadb(params["backend"]).name, Plan((), 0, 0)), "missing": True}
    text = read_text(module, {} if adding else ANYTHING)
    scope_sas = read_file(module, params["scope_src"], ANYTHING).sas if params["scope_src"] else ()
    _check_src_label(params)
    _check_scope(params, text.sas, scope_sas)
    text = text.without(read_pairs(params, "leave"))
    _check_backup(params)

    sadb = open_sadb(params["backend"])
    if adding:
        raise_all(
            [problem.at(f"{place}, {problem.place}") for sa, place in text.placed() for problem in sadb.refusals(sa)]
        )
        warn_of(module, text)
    first = time.monotonic()
    found = _compare(sadb, params, text, scope_sas)
    if found.keys_hidden and adding:
        module.warn(KEYS_HIDDEN)

    changing = bool(found.steps.operations) and not module.check_mode
    if changing:
        _save(params, found, deadline)
        if wait_until(params["at"], max(SHORTEST_LEAD, 2 * (time.monotonic() - first))):
            found = _compare(sadb, params, text, scope_sas)
            _save(params, found, deadline)
            wait_until(params["at"])
        deadline.check()
        applied = _apply(sadb, found.steps.operations, params["direction"], deadline)

    result = _result(sadb.name, found.steps)
    if changing:
        result["applied"] = applied
    if params["ignore_missing"]:
        result["missing"] = False
    if adding:
        sas: t.Sequence[SecurityAssociation] = text.sas
        if not (found.keys_hidden or module.check_mode):
            wanted = set(map(identity, sas))
            installed = sadb.dump() if changing else found.actual
            sas = [entry.sa for entry in installed if identity(entry.sa) in wanted]
        result["digest"] = digest(sas, digest_key)
    if module._diff:
        result["diff"] = sadb_diff(found.steps.operations)
    return result


class _Comparison(t.NamedTuple):
    """The SAs of the SADB, the operations that are needed, and the backup as text, empty if none is requested."""

    actual: t.Sequence[Entry]
    keys_hidden: bool
    steps: Plan
    backup: bytes


def _compare(
    sadb: Sadb,
    params: t.Mapping[str, t.Any],
    text: Document,
    scope_sas: t.Sequence[SecurityAssociation],
) -> _Comparison:
    sas = text.sas
    excluded = read_pairs(params, "leave")
    actual = [entry for entry in sadb.dump() if pair(entry.sa) not in excluded]
    keys_hidden = bool(actual) and sadb.keys_hidden()
    local = sadb.local_addresses()
    tells_directions = bool(actual) and sadb.tells_directions()
    whole, beside = read_pairs(params, "both_directions"), read_pairs(params, "beside")

    def steps_in(direction: str, chosen: t.Callable[[SecurityAssociation], bool], state: str) -> Plan:
        return plan(
            list(filter(chosen, sas)),
            [entry for entry in actual if chosen(entry.sa)],
            state,
            scope=params["scope"],
            direction=direction,
            local=local,
            protocols=params["protocols"],
            scope_sas=list(filter(chosen, scope_sas)),
            keys_hidden=keys_hidden,
            tells_directions=tells_directions,
        )

    steps = steps_in(params["direction"], lambda sa: pair(sa) not in whole and pair(sa) not in beside, params["state"])
    # The deletions that may wait come last.
    if beside:
        steps = joined(steps_in(params["direction"], lambda sa: pair(sa) in beside, PRESENT), steps)
    if whole:
        steps = joined(steps_in(BOTH, lambda sa: pair(sa) in whole, params["state"]), steps)
    # A file with a label is a backup of this host's SAs, which is restored even if other SAs have its keys.
    if steps.operations and not params["src_label"]:
        places = {identity(sa): place for sa, place in text.placed()}
        raise_all(reused(steps.operations, actual, places, params["allow_shared_key"]))
    saved = (
        _backup(sadb, params, steps, actual, (*sas, *scope_sas), keys_hidden, local)
        if steps.operations and params["backup"]
        else b""
    )
    return _Comparison(actual, keys_hidden, steps, saved)


def _apply(sadb: Sadb, operations: t.Sequence[Operation], direction: str, deadline: Deadline) -> dict[str, float]:
    """Carry the operations out, and return when this ``began`` and ``ended``, without the wait for packets
    that are about to leave through an SA that has been replaced.
    """
    times = {"began": time.time()}

    def settle() -> None:
        times["ended"] = time.time()
        time.sleep(SETTLING)
        deadline.check("the change was undone")

    sadb.apply(operations, settle if direction == OUTBOUND else None)
    return {"ended": time.time(), **times}


def _save(params: t.Mapping[str, t.Any], found: _Comparison, deadline: Deadline) -> None:
    if params["backup"] and found.steps.operations:
        protected.write(params["backup"], found.backup, deadline.check)


def _check_scope(
    params: t.Mapping[str, t.Any], sas: t.Sequence[SecurityAssociation], scope_sas: t.Sequence[SecurityAssociation]
) -> None:
    if sas or scope_sas:
        return
    if params["state"] == EXACT:
        raise InputError(
            "the text holds no SA",
            "src" if params["src"] else "content",
            "Use state flushed to remove SAs, or name the scope with scope_src.",
        )
    if params["state"] == FLUSHED and params["scope"] == PEERS:
        raise InputError(
            "nothing names the peers", "scope", "Give content, src or scope_src, or choose scope protocol or all."
        )
    if params["state"] == FLUSHED and params["scope"] != PEERS and params["scope"] != "all" and not params["protocols"]:
        raise InputError("nothing names a protocol", "protocols", "Give protocols, content or src.")


def _check_backup(params: t.Mapping[str, t.Any]) -> None:
    """Raise IpsecError for a backup that cannot be written or that would overwrite a file that is to be read."""
    if not params["backup"]:
        return
    for other in ("src", "scope_src"):
        if params[other] and re.sub("/+", "/", params[other]) == re.sub("/+", "/", params["backup"]):
            raise InputError(f"this is the file of {other}, which it would overwrite", "backup", "Name another file.")
    protected.writable(params["backup"])


def _backup(
    sadb: Sadb,
    params: t.Mapping[str, t.Any],
    steps: Plan,
    actual: t.Sequence[Entry],
    ours: t.Sequence[SecurityAssociation],
    keys_hidden: bool,
    local: t.AbstractSet[bytes],
) -> bytes:
    """The SAs in scope and all that are deleted, as text. Raises IpsecError if it could not be read back."""
    touched = {*in_scope([entry.sa for entry in actual if not entry.larval], ours, params["scope"])}
    touched.update(step.old.sa for step in steps.operations if step.old is not None and not step.old.larval)
    entries = [entry for entry in actual if entry.sa in touched and not entry.larval]
    if entries and keys_hidden:
        raise SadbError(
            "this kernel hides the keys of SAs (lockdown), so they cannot be backed up",
            "backup",
            "Omit backup and keep the old file.",
        )
    comment = "The SAs that ipsec.manual.ipsec_sadb found before it changed them."
    if params["backup_label"]:
        comment += f"\n{_LABEL}{params['backup_label']}"
    return backup(sadb, entries, local, comment, params["allow_reserved_spi"], params["allow_shared_key"]).encode(
        "utf-8"
    )


_LABEL = "Label: "
_LONGEST_LABEL = 100_000


def _check_labels(params: t.Mapping[str, t.Any]) -> None:
    """Raise InputError for a label that does not fit into one line of a comment, or that lacks its option."""
    for option, needed in (("backup_label", "backup"), ("src_label", "src")):
        label_given = params[option]
        if label_given is None:
            continue
        if not label_given.isprintable() or not 0 < len(label_given) <= _LONGEST_LABEL:
            raise InputError(
                "this is not a valid label", option, f"Use printable characters, at most {_LONGEST_LABEL}."
            )
        if not params[needed]:
            raise InputError(f"a label needs {needed}", option, f"Give {needed} too, or omit the label.")


def _check_src_label(params: t.Mapping[str, t.Any]) -> None:
    """Raise InputError if the file is a backup of another change."""
    if params["src_label"] is None:
        return
    lines = protected.read(params["src"]).decode("utf-8", "replace").splitlines()
    found = next((line[len(f"# {_LABEL}") :] for line in lines[:2] if line.startswith(f"# {_LABEL}")), "")
    if found != params["src_label"]:
        raise InputError(
            f"the file is a backup from {found or 'a change that it does not name'}, not from {params['src_label']}",
            params["src"],
            "Repeat the rotation that it names. If those connections have other keys by now, the file is left over from"
            " an older change: remove it.",
        )


def _result(backend: str, steps: Plan) -> Result:
    return {
        "changed": bool(steps.operations),
        "operations": [str(step) for step in steps.operations],
        "counts": {
            "added": steps.count(ADD),
            "replaced": steps.count(REPLACE),
            "deleted": steps.count(DELETE),
            "unchanged": steps.unchanged,
            "foreign": steps.foreign,
        },
        "backend": backend,
    }
