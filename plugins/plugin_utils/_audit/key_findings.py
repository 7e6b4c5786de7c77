# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Findings about keys: age, budgets, agreement, algorithms, and keys that are where they must not be. Pure."""

from __future__ import annotations

import collections
import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core.audit.evidence import ENDING
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.algorithms import BY_NAME

from .findings import Finding, finding
from .fleet import DAY, Fleet, Host, Known, Pair, Row, digest_of, generation_of, is_comparable
from .remedies import OF_OTHERS, OURS
from .words import percent

Found = t.Iterator[Finding]

# The share of a budget from which on an SA is due, as by default in rotate_due. That of blocks is what is advised.
DUE = {"packets": 0.5, "bytes": 0.5, "blocks": 1.0}
# Seconds that a rotation may take between installing SAs and promoting them.
_PROMOTION = 900
_STEADY = "steady"
# What a kernel shows of its SAs: all, or all but their keys.
_SHOWN = ("digest", "outline")
# Remarks of a host that did not read its file, because of what they say.
_NOT_READ = (
    *("mode", "world-readable", "owner", "path", "links", "file-system", "unknown-file-system", "names", "invalid"),
)


def of_ages(fleet: Fleet) -> Found:
    for pair in fleet.pairs:
        known, age = fleet.known.get(pair.connection), age_of(fleet, pair)
        if age is None:
            # Where hosts answered and none has SAs, there are no keys in use, which is a finding of its own.
            if not fleet.sides(pair) or any(row["sas"] for dummy, rows in fleet.sides(pair) for row in rows):
                yield finding("key-age-unknown", pair=pair.name, connection=pair.connection)
        elif fleet.age_limit and age > fleet.age_limit:
            yield finding(
                "key-age",
                pair=pair.name,
                connection=pair.connection,
                age=round(age / DAY, 1),
                limit=round(fleet.age_limit / DAY, 1),
            )
        for host, rows in fleet.sides(pair):
            if _reloaded(host, rows, known):
                yield finding("key-reloaded", host.name, pair.name, connection=pair.connection)


def age_of(fleet: Fleet, pair: Pair) -> int | None:
    """Seconds since the keys of a pair were made: what the keystore says of the generation that is in use,
    but at least as long as the SAs are there. If no host answers, what the keystore says of the current one.
    None if unknown.
    """
    known = fleet.known.get(pair.connection)
    ages = []
    for dummy, rows in fleet.sides(pair):
        ages += [row["oldest"] for row in rows if row["sas"]]
        if known is not None:
            ages.append(known.created.get(generation_of(rows, known), 0))
    if known is not None and not fleet.sides(pair):
        ages += [known.created.get(known.current_of(key), 0) for key in pair.keys]
    return max(ages, default=0) or None


def _reloaded(host: Host, rows: t.Sequence[Row], known: Known | None) -> bool:
    """Whether SAs are younger than the use of their keys: added after their generation was promoted, or
    read from a file that is older than the boot.
    """
    present = [row for row in rows if row["sas"]]
    if not present:
        return False
    if any(row["reloaded"] for row in present):
        return True
    oldest = max(row["oldest"] for row in present)
    number = generation_of(present, known)
    if known is not None and known.promoted.get(number, 0) > oldest + _PROMOTION:
        return True
    file, uptime = host.answer["file"], host.answer["uptime"]
    return (
        bool(uptime and file["exists"])
        and digest_of(present) != ""
        and digest_of(present) == digest_of(present, "file_digest")
        and file["modified"] < host.answer["epoch"] - uptime
    )


def budgets_of(rows: t.Iterable[Row]) -> list[Row]:
    """What is used of each budget by some of the SAs, the one of which the largest share is used first."""
    found: dict[str, Row] = {}
    for budget in (budget for row in rows for budget in row["budgets"]):
        other = found.setdefault(budget["what"], budget)
        found[budget["what"]] = max(budget, other, key=_used)
    return sorted(found.values(), key=lambda budget: (_is_ending(budget), _used(budget)), reverse=True)


def _used(budget: Row) -> float:
    return float(budget["used"])


def _is_ending(budget: Row) -> bool:
    """Whether an SA is about to end. After as many blocks as are advised, it continues."""
    return _used(budget) >= ENDING and budget["what"] != "blocks"


def of_budgets(fleet: Fleet) -> Found:
    """Each budget that is due, on each host."""
    for pair in fleet.pairs:
        for host, rows in fleet.sides(pair):
            for budget in budgets_of(rows):
                what, used = budget["what"], _used(budget)
                if used >= DUE[what]:
                    kind = "due-now" if _is_ending(budget) else f"due-{what}"
                    words = {"used": percent(used), "what": what, "connection": pair.connection}
                    yield finding(kind, host.name, pair.name, what, **words)


def agreement_of(fleet: Fleet, pair: Pair) -> str:
    """Whether both hosts hold the same SAs: "same", "differs" or "unknown". Two kernels that hide keys show whether
    their SAs differ in something else, but not whether the keys are the same.
    """
    digests, outlines = ([digest_of(rows, field) for dummy, rows in fleet.sides(pair)] for field in _SHOWN)
    for found, same in ((digests, "same"), (outlines, "unknown")):
        if len(found) == len(pair.hosts) and all(found):
            return same if len(set(found)) == 1 else "differs"
    return "unknown"


def of_agreement(fleet: Fleet) -> Found:
    for pair in fleet.pairs:
        agreement, sides = agreement_of(fleet, pair), fleet.sides(pair)
        absent = [host for host, rows in sides if not any(row["sas"] for row in rows)]
        for host in absent:
            yield finding("no-sas", host.name, pair.name, connection=pair.connection)
        if agreement == "unknown" and not absent:
            yield finding("agreement-unknown", pair=pair.name, connection=pair.connection)
        behind = list(_behind(fleet, pair)) if agreement != "same" else []
        yield from behind
        if agreement == "differs" and not behind:
            yield finding("peers-differ", pair=pair.name, connection=pair.connection)
        for host, rows in sides:
            if _file_differs(host, rows) and not _is_newer(host, rows):
                yield finding("drift-file", host.name, pair.name, connection=pair.connection)
        yield from _files_beside_keystore(fleet, pair)


def _behind(fleet: Fleet, pair: Pair) -> Found:
    known = fleet.known.get(pair.connection)
    numbers = {host.name: generation_of(rows, known) for host, rows in fleet.sides(pair)}
    newest = max(numbers.values(), default=0)
    if 0 not in numbers.values():
        for name, number in numbers.items():
            if number < newest:
                yield finding(
                    "generation-behind", name, pair.name, connection=pair.connection, mine=number, theirs=newest
                )


def _files_beside_keystore(fleet: Fleet, pair: Pair) -> Found:
    """Files that hold other SAs of the pair than the keystore, whatever the kernel holds or shows. If it holds what the
    keystore has, its difference from the file is a finding already.
    """
    known = fleet.known.get(pair.connection)
    for host in (fleet.hosts[name] for name in pair.hosts if name in fleet.hosts):
        rows = [host.rows[key] for key in pair.keys if key in host.rows]
        if known is None or not _file_is_wrong(host, pair.keys, known):
            continue
        current = known.current_of(pair.keys[0])
        if generation_of(rows, known) == current and _file_differs(host, rows) and not _is_newer(host, rows):
            continue
        detail = _content_of_file(host, pair.keys, known)
        yield finding(
            "drift-file-keystore", host.name, pair.name, connection=pair.connection, detail=detail, theirs=current
        )


def _file_is_wrong(host: Host, keys: t.Iterable[str], known: Known) -> bool:
    """Whether the file does not hold of these SAs what the keystore has, unless a rotation is about to change both."""
    if known.phase != _STEADY or not known.current or not _file_was_read(host):
        return False
    return any(_in_file(host, key) != known.in_file(key) for key in keys)


def _content_of_file(host: Host, keys: t.Sequence[str], known: Known) -> str:
    """What the file holds of these SAs, in words."""
    found = [_in_file(host, key) for key in keys]
    if not any(found):
        return "no SAs"
    numbers = [
        {number for number, digest in known.files.get(key, {}).items() if digest == own}
        for key, own in zip(keys, found)
    ]
    same = set.intersection(*numbers)
    return f"generation {max(same)}" if same else "SAs that match no generation as a whole"


def _in_file(host: Host, key: str) -> str:
    """The fingerprint of the SAs of that name in the file, empty for none."""
    return str(host.rows[key]["file_digest"]) if key in host.rows else ""


def of_files(fleet: Fleet) -> Found:
    """Hosts whose file has other SAs than their kernel. SAs of others, such as those of an IKE daemon, are in no file.
    Nobody should load a file that is known to be wrong.
    """
    keys = fleet.keys()
    of_keys = {key: fleet.known.get(pair.connection) for pair in fleet.pairs for key in pair.keys}
    for host in fleet.hosts.values():
        mine = keys.get(host.name, ())
        others = [row for key, row in host.rows.items() if row["file_digest"] and key not in mine]
        loaded_later = [row for row in others if _differs_until_boot(host, row)]
        if loaded_later:
            yield finding("others-file", host.name, detail=len(loaded_later), file=host.file)
        if any((known := of_keys[key]) is not None and _file_is_wrong(host, [key], known) for key in mine):
            continue
        own = [row for key, row in host.rows.items() if key in mine]
        whose = [
            name
            for name, rows in ((OURS, own), (OF_OTHERS, others))
            if any(_file_differs(host, [row]) and _is_newer(host, [row]) for row in rows)
        ]
        if whose:
            yield finding("file-newer", host.name, place=host.file, detail=" and ".join(whose), file=host.file)


def _differs_until_boot(host: Host, row: Row) -> bool:
    """Whether the file has SAs of others, and the kernel has had none, or other ones, since before that was written."""
    if not host.sas_read:
        return False
    return not row["sas"] or (_file_differs(host, [row]) and not _is_newer(host, [row]))


def _file_differs(host: Host, rows: t.Sequence[Row]) -> bool:
    """Whether the file has other SAs than the kernel, or none. A kernel without any is a finding of its own. Files
    leave out counter modes.
    """
    return _file_was_read(host) and any(
        row["digest"]
        and row["storable_digest"] != row["file_digest"]
        or row["outline"]
        and row["storable_outline"] != row["file_outline"]
        for row in rows
    )


def _file_was_read(host: Host) -> bool:
    if not host.answer:
        return False
    unread = any(text.startswith("protected file:") for text in host.answer["unread"])
    return bool(host.answer["file"]["exists"]) and not unread and not host.remarks(*_NOT_READ)


def _is_newer(host: Host, rows: t.Sequence[Row]) -> bool:
    youngest = min(row["youngest"] for row in rows)
    return bool(
        host.answer["file"]["exists"] and host.answer["file"]["modified"] > host.answer["epoch"] - youngest + _PROMOTION
    )


def of_keystore(fleet: Fleet) -> Found:
    """Differences between hosts and the keystore."""
    if fleet.unread and fleet.pairs:
        yield finding("keystore-unread", detail=fleet.unread)
    for name, known in fleet.known.items():
        if known.phase != _STEADY:
            yield finding("rotation-unfinished", place=name, detail=known.phase, connection=name)
    retired = frozenset().union(*(known.retired for known in fleet.known.values()))
    for pair in fleet.pairs:
        known_here = fleet.known.get(pair.connection)
        for host, rows in fleet.sides(pair):
            if any(retired.intersection(row["fingerprints"]) for row in rows):
                yield finding("key-retired", host.name, pair.name, connection=pair.connection)
            elif (
                known_here is not None
                and known_here.phase == _STEADY
                and known_here.digests
                and is_comparable(rows)
                and not generation_of(rows, known_here)
            ):
                yield finding("drift-keystore", host.name, pair.name, connection=pair.connection)


def of_sharing(fleet: Fleet) -> Found:
    """Keys of two SAs, on one host or on two, and SPIs of two SAs of one host."""
    named = {key: pair for pair in fleet.pairs for key in pair.keys}
    users: dict[str, set[str]] = collections.defaultdict(set)
    for host in fleet.hosts.values():
        for key, row in host.rows.items():
            pair = named.get(key)
            if pair is not None and host.name not in pair.hosts:
                continue  # what it says of others' pairs does not count
            # The SAs of a group are one SA towards several addresses.
            whose = pair.connection if pair is not None and len(pair.keys) > 1 else key
            for fingerprint in row["fingerprints"]:
                users[fingerprint].add(whose)
            for kind, count in (("key-shared", row["shared_keys"]), ("spi-shared", row["shared_spis"])):
                if count:
                    yield _shared(kind, host.name, pair, key)
    groups = {pair.connection: pair for pair in fleet.pairs if len(pair.keys) > 1}
    for whose in sorted({key for keys in users.values() if len(keys) > 1 for key in keys}):
        yield _shared("key-shared", "", named.get(whose) or groups.get(whose), whose)


def _shared(kind: str, host: str, pair: Pair | None, key: str) -> Finding:
    """A finding about SAs by their name, or about those of a group by their connection."""
    detail = " and ".join(key.partition("#")[0].split("|"))
    if pair is None:
        return finding(kind, host, place=key.partition("#")[0], detail=detail)
    return finding(kind, host, pair.name, detail=detail, connection=pair.connection)


def of_algorithms(fleet: Fleet) -> Found:
    for pair in fleet.pairs:
        for host, rows in fleet.sides(pair):
            for name in sorted({name for row in rows for name in row["algorithms"]}):
                kind = _algorithm_kind(name)
                if kind:
                    yield finding(kind, host.name, pair.name, name, detail=name, connection=pair.connection)
            for word, kind in (("none", "no-integrity"), ("ah", "integrity-by-ah")):
                if any(row["integrity"] == word for row in rows):
                    yield finding(kind, host.name, pair.name, connection=pair.connection)


def _algorithm_kind(name: str) -> str:
    """The finding about an algorithm, empty for a good or an unknown one."""
    row = BY_NAME.get(name)
    if row is None:
        return ""
    if row.counter_mode:
        return "counter-mode"
    if row.advice.startswith("MUST NOT"):
        return "algorithm-must-not"
    return "algorithm-should-not" if row.advice else ""


def of_lockdown(fleet: Fleet) -> Found:
    for host in fleet.hosts.values():
        if host.answer.get("keys_hidden"):
            yield finding("keys-hidden", host.name)


GROUPS = (of_ages, of_budgets, of_agreement, of_files, of_keystore, of_sharing, of_algorithms, of_lockdown)
