# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The decisions of a rotation: from the hosts' answers to problems and pending work. Pure.

Results are the answers to one question, by host; ``expected`` is the result of `ipsec_keystore`: each
row of ``connections`` is a unit (two hosts or a group) with a unique name.
"""

from __future__ import annotations

import itertools
import typing as t

from .._connections.units import connection_of
from .._keystore.records import PREPARED, SWITCHING

Result = t.Mapping[str, t.Any]
Results = t.Mapping[str, Result]

Pair = t.FrozenSet[str]

FLUSH = "flush"
# Settings that change without a gap, each by itself or all together, if the run exchanges the policies.
_BESIDE = (frozenset(["mark"]), frozenset(["mode"]), frozenset(["reqid", "endpoints", "protocols"]))
# What inbound policies that accept both cannot tell apart: the outbound ones select the new SAs by something else.
_BY_OTHERS = frozenset(["protocols"])
_UNNAMED = "its endpoints, addresses, mark or if_id change"
_APART = "its mode or its protocols change, so that each host drops what its peer sends until both have changed"
_SAME_REQID = (
    "its protocols change, and new and old SAs have the same reqid, so that no policy can choose between them: with"
    " another reqid in the same run, there is no gap"
)
_NO_POLICIES = (
    "its reqid, mark, mode or addresses change, and without rotate_policies the run does not change its policies"
)
# What is known of the SAs of a host between two addresses after the cut-over.
_CONFIRMED, _REFUSED, _UNCONFIRMED = "confirmed", "refused", "unconfirmed"
# How many units a message names.
_NAMED = 3
# Why a host that was not asked a question is unfit.
UNASKED = "it was not asked, or not asked everything"


def is_unreachable(result: Result) -> bool:
    """Whether a host did not answer in time, so that its state is unknown."""
    return bool(result.get("unreachable") or result.get("timedout"))


def has_failed(result: Result) -> bool:
    return bool(result.get("failed")) or is_unreachable(result)


def was_skipped(result: Result) -> bool:
    return bool(result.get("skipped"))


def reason(result: Result) -> str:
    """Why a task failed, in one line."""
    text = " ".join(str(result.get("msg", "no reason given")).split())
    return f"unreachable ({text})" if is_unreachable(result) else text


def task_problems(results: Results) -> list[str]:
    """One sentence for each host on which the task failed or that could not be reached."""
    return [f"{host}: {reason(result)}" for host, result in sorted(results.items()) if has_failed(result)]


def in_place(results: Results, expected: Result) -> list[str]:
    """The hosts that do not hold the expected SAs in the kernel or in their file, according to
    `ipsec_preflight`, each with the first place that differs.
    """
    return [f"{host}: {found[0].place}" for host, found in differences(results, expected).items() if found]


class Difference(t.NamedTuple):
    """A place of a host that differs from the keystore, for one connection; leftovers have no ``name``."""

    name: str
    place: str


def differences(results: Results, expected: Result) -> dict[str, list[Difference]]:
    """By host: what of the kernel and of its file differs from the keystore, and which files an interrupted
    run left. ``results`` are those of `ipsec_preflight`.
    """
    held, stored = _by_pair(expected["held"]), _by_pair(expected["stored"])
    found: dict[str, list[Difference]] = {host: [] for host in sorted(expected["hosts"])}
    for host, differing in found.items():
        result = results[host]
        own = [
            (row["name"], pairs_of_hosts({"hosts": {}, "connections": [row]})[host])
            for row in expected["connections"]
            if host in row["endpoints"]
        ]
        for wanted, actual, place in (
            (held, result["held"], "the SADB"),
            (stored, result["file"]["digest"], result["file"]["path"]),
        ):
            differing += [
                Difference(name, place)
                for name, mine in own
                if any(actual.get(key) != value for pair in mine for key, value in wanted.get(pair, ()))
            ]
        if result["leftovers"]:
            differing.append(Difference("", ", ".join(result["leftovers"])))
    return found


def is_between(key: str, pair: Pair, owner: str) -> bool:
    """Whether a key of ``held`` is that of SAs between these addresses with this owner: reqid, mark, if_id."""
    return _pair(key) == pair and key.partition("#")[2] == owner


def _by_pair(fingerprints: t.Mapping[str, str]) -> dict[Pair, list[tuple[str, str]]]:
    """The items of ``held``, ``stored`` or ``digest`` by their pairs of addresses."""
    found: dict[Pair, list[tuple[str, str]]] = {}
    for key, value in fingerprints.items():
        found.setdefault(_pair(key), []).append((key, value))
    return found


def held_by(expected: Result, host: str) -> dict[str, str]:
    """The digests of ``held`` for the host's own pairs. No host learns those of others."""
    pairs = pairs_of_hosts(expected)[host]
    return {key: value for key, value in expected["held"].items() if _pair(key) in pairs}


def leftover(result: Result, suffix: str) -> bool:
    """Whether a host has a file with that suffix beside its protected one, according to `ipsec_preflight`."""
    return any(path.endswith(suffix) for path in result.get("leftovers", ()))


def filed(result: Result) -> set[Pair]:
    """The pairs of addresses that the host's protected file has SAs between, according to `ipsec_preflight`."""
    return {_pair(key) for key in result.get("file", {}).get("digest", {})}


def gaps(
    expected: Result,
    strategy: str,
    exchanging: t.AbstractSet[str] = frozenset(),
    pinned: t.Container[str] = (),
    nested: t.Container[str] = (),
) -> dict[str, str]:
    """Why units change with a gap (``flush``), by name. All others overlap: their hosts accept
    the new SAs before any host sends through them, and the previous ones until all hosts do.
    ``exchanging`` are the hosts whose policies the run sets, ``pinned`` the groups whose
    policies say which SA to send with, ``nested`` the units whose hosts can send through SAs of both modes at once.
    """
    behind = {name for view in expected["hosts"].values() for name in view["left_behind"]}
    found = {}
    for row in expected["connections"]:
        changing = set(row.get("changing", ()))
        if strategy == FLUSH:
            found[row["name"]] = "rotate_strategy is flush"
        elif row.get("multicast") and row["name"] not in pinned:
            found[row["name"]] = "its hosts share one SA, and send through it as soon as they have it"
        elif changing == _BY_OTHERS:
            found[row["name"]] = _SAME_REQID
        elif changing & {"mode", "other_protocols"} and row["name"] not in nested:
            found[row["name"]] = _APART
        elif row["name"] in behind and not _stand_beside(changing):
            found[row["name"]] = _UNNAMED
        elif changing and not exchanging >= row["endpoints"].keys():
            found[row["name"]] = _NO_POLICIES
        elif row.get("abandoned"):
            found[row["name"]] = "a generation was discarded that hosts may have used"
    return found


def moved(expected: Result) -> set[str]:
    """The units whose addresses change."""
    return {row["name"] for row in expected["connections"] if "endpoints" in row.get("changing", ())}


def changing_mode(expected: Result) -> list[Result]:
    """The rows of the units that change between transport and tunnel mode, and in nothing else that policies name."""
    return [row for row in expected["connections"] if set(row.get("changing", ())) == {"mode"}]


def moving(expected: Result) -> set[str]:
    """The units whose new SAs have another owner, other addresses or another mode than the current ones, so that both
    can be used at once.
    """
    return {row["name"] for row in expected["connections"] if _stand_beside(row.get("changing", ()))}


def _stand_beside(changing: t.Iterable[str]) -> bool:
    """Whether hosts can use the SAs with the previous settings and those with the new ones at once."""
    found = frozenset(changing)
    return bool(found - _BY_OTHERS) and any(found <= together for together in _BESIDE)


def pairs(expected: Result, names: t.Collection[str], host: str = "") -> set[Pair]:
    """The pairs of addresses of these units, with ``host`` only its own."""
    wanted = frozenset(names)
    rows = [row for row in expected["connections"] if row["name"] in wanted]
    by_host = pairs_of_hosts({"hosts": {}, "connections": rows})
    return set(by_host.get(host, ())) if host else set().union(*by_host.values())


def listed(found: t.Iterable[Pair]) -> list[str]:
    """Pairs in the form of module options."""
    return sorted("|".join(sorted(pair)) for pair in found)


def in_phase(expected: Result, *phases: str) -> set[str]:
    """The units whose next generation is in one of these phases."""
    return {row["name"] for row in expected["connections"] if row["phase"] in phases}


def ways_back(
    expected: Result, cut: Results, dead: t.AbstractSet[Pair], flushed: t.Container[str] = frozenset()
) -> set[Pair]:
    """The pairs whose hosts go back to their previous SAs. ``cut`` are the answers to the cut-over;
    through the new SAs of the pairs in ``dead``, packets left and did not arrive. The units in ``flushed``
    change with a gap.

    With overlap, each host accepts both generations. So hosts go back only if a kernel refused the
    new SAs or packets were lost, and not because a host is unreachable: its peers accept both. With
    flush, the two hosts of a pair must hold the same SAs: if both confirmed the new ones they keep
    them, whether or not they can still be reached, and otherwise both go back.
    """
    wanted = _by_pair(expected["digest"])
    found = set()
    for row in expected["connections"]:
        if row["phase"] not in (PREPARED, SWITCHING):
            continue
        for pair, hosts in _owners({"hosts": {}, "connections": [row]}).items():
            known = {_knowledge(cut[host], wanted.get(pair, ())) for host in hosts}
            if pair in dead or _REFUSED in known or (row["name"] in flushed and known != {_CONFIRMED}):
                found.add(pair)
    return found


def confirmed(expected: Result, cut: Results) -> set[Pair]:
    """The pairs whose hosts all confirmed the new SAs."""
    wanted = _by_pair(expected["digest"])
    return {
        pair
        for pair, hosts in _owners(expected).items()
        if pair in wanted and all(_knowledge(cut.get(host, {}), wanted[pair]) == _CONFIRMED for host in hosts)
    }


def _knowledge(cut: Result, wanted: t.Iterable[tuple[str, str]]) -> str:
    """Whether an answer to the cut-over confirms or refuses SAs; ``wanted`` are their digests."""
    if was_skipped(cut) or is_unreachable(cut):
        return _UNCONFIRMED
    differs = any(cut.get("digest", {}).get(key) != value for key, value in wanted)
    return _REFUSED if has_failed(cut) or differs else _CONFIRMED


def _pair(key: str) -> frozenset[str]:
    """The two addresses of a key of ``held``, ``stored`` or ``digest``."""
    return frozenset(key.partition("#")[0].split("|"))


def pairs_of_hosts(expected: Result) -> dict[str, set[frozenset[str]]]:
    """The address pairs of each host. Its addresses alone do not determine them: two hosts in
    different networks may have the same address.
    """
    found: dict[str, set[frozenset[str]]] = {host: set() for host in expected["hosts"]}
    for row in expected["connections"]:
        shared = {frozenset((_any_source(address), address)) for address in row.get("multicast", ())}
        for host in row["endpoints"]:
            found.setdefault(host, set()).update(shared)
        for host, other in itertools.permutations(row["endpoints"], 2) if not shared else ():
            found.setdefault(host, set()).add(frozenset((row["endpoints"][host], row["endpoints"][other])))
    return found


def pairs_of(row: Result) -> dict[str, set[Pair]]:
    """The address pairs of each host of one row of the connections."""
    return pairs_of_hosts({"hosts": {}, "connections": [row]})


def held_by_pair(expected: Result) -> dict[Pair, list[str]]:
    """The keys of ``held`` by their two addresses."""
    found: dict[Pair, list[str]] = {}
    for key in expected["held"]:
        found.setdefault(_pair(key), []).append(key)
    return found


def _any_source(destination: str) -> str:
    """The source of an SA that many senders share."""
    return "::" if ":" in destination else "0.0.0.0"


def _owners(expected: Result) -> dict[Pair, list[str]]:
    """The hosts of each pair."""
    found: dict[Pair, list[str]] = {}
    for host, ends in sorted(pairs_of_hosts(expected).items()):
        for pair in ends:
            found.setdefault(pair, []).append(host)
    return found


def reload_problems(results: Results, expected: Result) -> list[str]:
    """Units whose current keys a host has lost although they must not be loaded a second time.

    In a counter mode that would repeat nonces (RFC 8221 section 3). With an anti-replay window, peers
    would drop the host's packets, because its counter restarts (RFC 4303 section 3.3.3)."""
    rows = {row["name"]: row for row in expected["connections"]}
    by_connection: dict[str, dict[str, list[str]]] = {}
    for name, hosts in lost(results, expected).items():
        by_connection.setdefault(connection_of(name), {})[name] = hosts
    found = []
    for connection, units in by_connection.items():
        hosts = sorted({host for own in units.values() for host in own})
        # A host that lost its keys lost those of all its pairs.
        names = sorted(units) if len(units) <= _NAMED else [f"{connection}/{host}" for host in hosts]
        counter_mode = any(rows[name]["counter_mode"] for name in units)
        found.append(
            f"connection {connection} uses {'a counter mode' if counter_mode else 'anti-replay'}, and"
            f" {', '.join(hosts)} lost its keys. They must not be loaded again: run with rotate_new_keys: true, and"
            f" rotate_only: [{', '.join(names)}] for this connection alone"
        )
    return found


def lost(results: Results, expected: Result) -> dict[str, list[str]]:
    """The hosts that lost current keys that must not be loaded again, by unit."""
    wanted = held_by_pair(expected)
    found: dict[str, list[str]] = {}
    for row in expected["connections"]:
        if not (row["counter_mode"] or row["anti_replay"]) or row["outcome"] != "kept":
            continue
        for host, own in sorted(pairs_of(row).items()):
            keys = [key for pair in own for key in wanted.get(pair, ())]
            if any(results[host]["held"].get(key) != expected["held"][key] for key in keys):
                found.setdefault(row["name"], []).append(host)
    return found


def summed_up(expected: Result, names: t.Collection[str]) -> list[str]:
    """Short names for units: a connection is named as a whole if all of its units are named."""
    every: dict[str, set[str]] = {}
    for row in expected["connections"]:
        every.setdefault(connection_of(row["name"]), set()).add(row["name"])
    found = []
    for connection, units in every.items():
        own = sorted(units.intersection(names))
        if own and len(own) == len(units):
            found.append(connection)
        elif own:
            more = len(own) - _NAMED
            found.append(", ".join(own[:_NAMED]) + (f" and {more} more of {connection}" if more > 0 else ""))
    return found


def agreement(results: Results, expected: Result) -> list[str]:
    """Hosts whose SAs, according to the ``digest`` of their results, differ from those in the keystore."""
    found = []
    owners = _owners(expected)
    for pair, digest in sorted(expected["digest"].items()):
        for host in owners.get(_pair(pair), ()):
            if host not in results:
                continue
            actual = results[host].get("digest", {}).get(pair)
            if actual != digest:
                what = "holds no SAs" if actual is None else f"holds other SAs (digest {actual}, expected {digest})"
                found.append(f"{host}: {what} between {' and '.join(pair.split('|'))}")
    return found


def resumed_hosts(expected: Result) -> list[str]:
    """The hosts where an earlier, interrupted run may have saved the SAs that were there before a
    generation of this one. Those are the ones to restore.
    """
    return sorted({host for row in expected["connections"] if row["outcome"] == "resumed" for host in row["endpoints"]})


def left_alone(results: Results, expected: Result) -> set[Pair]:
    """The pairs whose SAs a rollback must not change: one of the two hosts may
    have held a discarded generation before this run, and a discarded key is never loaded again.
    ``results`` are those of `ipsec_preflight`.

    If hosts may have used a discarded generation of a connection, ``before`` has the digests of its
    current one. Hosts that held the current one, or nothing, may be rolled back."""
    found: set[Pair] = set()
    known = _by_pair({**expected["before"], **expected["held"]})
    for row in expected["connections"]:
        for pair, hosts in _owners({"hosts": {}, "connections": [row]}).items() if row.get("abandoned") else ():
            for host in hosts:
                held = results.get(host, {}).get("held", {})
                if any(held.get(key) not in (None, expected["before"].get(key)) for key, dummy in known.get(pair, ())):
                    found.add(pair)
    return found


def switched(results: Results, expected: Result, names: t.Collection[str]) -> set[Pair]:
    """The pairs of these units of which a host may have switched before this run: it held other SAs than the
    current ones. The backup that this run made of it must not be restored. ``results`` are those of `ipsec_preflight`.
    """
    found: set[Pair] = set()
    known = _by_pair({**expected["before"], **expected["held"]})
    for row in expected["connections"]:
        for pair, hosts in _owners({"hosts": {}, "connections": [row]}).items() if row["name"] in names else ():
            for host, (key, dummy) in itertools.product(hosts, known.get(pair, ())):
                if results[host].get("held", {}).get(key) != expected["before"].get(key):
                    found.add(pair)
    return found


def host_states(cut: Results, back: Results) -> dict[str, str]:
    """What each host holds after a rollback: "before", "next" or "unknown". ``back`` are the answers to
    the rollback; ``missing`` means that nothing had been saved, and the cut-over saves the previous
    SAs before it changes anything.

    A failed cut-over may have been killed after the switch, so it proves nothing. A host whose answer
    to the rollback is lost may have gone back. A missing file
    proves that nothing was changed, unless the host did not answer and may still be working."""
    found = {}
    for host, result in cut.items():
        answer = back.get(host, {})
        answered = bool(answer) and not was_skipped(answer) and not has_failed(answer)
        went_back = answered and not answer.get("missing")
        unchanged = was_skipped(result) or (
            answered and bool(answer.get("missing")) and not is_unreachable(result) and not result.get("changed")
        )
        if went_back or unchanged:
            found[host] = "before"
        else:
            found[host] = "unknown" if has_failed(result) or is_unreachable(answer) else "next"
    return found


def file_problems(results: Results, expected: Result) -> list[str]:
    """Hosts whose protected file has other SAs than the keystore, because another run staged in between."""
    found = []
    pairs = pairs_of_hosts(expected)
    for host, result in sorted(results.items()):
        wanted = {key: value for key, value in expected["stored"].items() if _pair(key) in pairs.get(host, ())}
        if any(result.get("digest", {}).get(key) != value for key, value in wanted.items()):
            found.append(
                f"{host}: its file {result.get('path')} does not hold the SAs that this run staged; is another run"
                " active?"
            )
    return found
