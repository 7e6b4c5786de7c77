# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An abstract world for the exploration of rotations: hosts that hold generations in place of keys,
and a keystore whose records change by the functions of `changes`.

An SA is (generation, sender, receiver). What hosts are asked is executed as the modules document it.
"""

from __future__ import annotations

import functools
import itertools
import json
import typing as t

from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.reader import read_connections
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.units import names_of
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore import changes, records
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.steps import Question

Result = t.Dict[str, t.Any]
Sa = t.Tuple[int, str, str]
Sas = t.FrozenSet[Sa]
Policies = t.FrozenSet[t.Tuple[str, str]]

ADDRESS = {"a": "192.0.2.1", "b": "192.0.2.2", "c": "192.0.2.3"}
NAME = "mesh"
FILE = "/f"
NOTHING: Sas = frozenset()


class Host(t.NamedTuple):
    """What a host holds: its SADB, its protected file, the files beside it by suffix, the label of the
    backup, and its policies (direction and peer), in the kernel and for the service at boot.
    """

    kernel: Sas = NOTHING
    boot: Sas = NOTHING
    files: tuple[tuple[str, Sas], ...] = ()
    label: str = ""
    policies: Policies = frozenset()
    boot_policies: Policies = frozenset()
    unserved: bool = False

    def rebooted(self) -> Host:
        """The host after a reboot. Until its first run has ended, no service loads its policies."""
        lost = self.unserved or self.policies != self.boot_policies
        return self._replace(kernel=self.boot, policies=self.boot_policies, unserved=lost)


class Moment(t.NamedTuple):
    """A state of the world that outlives a run."""

    hosts: tuple[tuple[str, Host], ...]
    record: records.KeyRecord

    def host(self, name: str) -> Host:
        (found,) = [host for key, host in self.hosts if key == name]
        return found

    def with_host(self, name: str, host: Host) -> Moment:
        return self._replace(hosts=tuple((key, host if key == name else old) for key, old in self.hosts))

    def canonical(self) -> t.Any:
        """The same for worlds that differ only in the numbers of their generations, and in times."""
        record = self.record
        base = record.current.generation if record.current else 0
        return (
            tuple(
                (
                    name,
                    _less(host.kernel, base),
                    _less(host.boot, base),
                    tuple((suffix, _less(sas, base)) for suffix, sas in host.files),
                    int(host.label.rpartition(":")[2] or 0) - base if host.label else None,
                    host.policies,
                    host.boot_policies,
                )
                for name, host in self.hosts
            ),
            record.phase,
            record.next.generation - base if record.next else None,
            record.abandoned,
            record.current is None,
        )


@functools.lru_cache(maxsize=None)
def _less(sas: Sas, base: int) -> Sas:
    """The SAs with generations that count from ``base``."""
    return frozenset((number - base, sender, receiver) for number, sender, receiver in sas)


def names(moment: Moment) -> list[str]:
    return [name for name, dummy in moment.hosts]


def pairs_of(hosts: t.Sequence[str]) -> dict[tuple[str, ...], str]:
    """The pairs of the hosts, with their names."""
    return names_of(NAME, frozenset(itertools.combinations(sorted(hosts), 2)))


def sas_of(generation: int, hosts: t.Sequence[str], own: str = "", wanted: t.Collection[str] | None = None) -> Sas:
    """The SAs of a generation, those of one host, or those of ``wanted`` pairs."""
    return frozenset(
        (generation, sender, receiver)
        for pair, name in pairs_of(hosts).items()
        if (not own or own in pair) and (wanted is None or name in wanted)
        for sender, receiver in (pair, pair[::-1])
    )


def policies_of(name: str, hosts: t.Sequence[str]) -> Policies:
    """The policies of a host towards all others."""
    return frozenset((way, peer) for way in ("out", "in") for peer in hosts if peer != name)


def pair_of(sa: Sa) -> str:
    return "|".join(sorted((ADDRESS[sa[1]], ADDRESS[sa[2]])))


def digests(sas: Sas) -> dict[str, str]:
    """A digest for each pair: equal for equal SAs."""
    by_pair: dict[str, list[Sa]] = {}
    for sa in sorted(sas):
        by_pair.setdefault(pair_of(sa), []).append(sa)
    return {pair: json.dumps(found) for pair, found in by_pair.items()}


def text_of(sas: Sas) -> str:
    return json.dumps(sorted(sas))


def _sas(text: str) -> Sas:
    return frozenset((number, sender, receiver) for number, sender, receiver in json.loads(text or "[]"))


@functools.lru_cache(maxsize=None)
def connections(hosts: str) -> t.Any:
    return read_connections([{"name": NAME, "endpoints": {host: ADDRESS[host] for host in hosts}}])


def prepared(moment: Moment, new_keys: bool) -> tuple[records.KeyRecord, str]:
    """The record with the generation that hosts should use, and the outcome, as `_keystore.steps` does it."""
    (connection,) = connections("".join(names(moment)))
    record = moment.record
    outcome = changes.decide(record, connection, new_keys)
    if outcome == changes.MADE:
        record = changes.discard(record, {})
        made = records.Generation(record.last + 1, "", "", connection.settings())
        record = record._replace(phase=records.PREPARED, last=made.generation, next=made)
    return record, outcome


def expected(moment: Moment, record: records.KeyRecord, outcome: str) -> Result:
    """What `ipsec_keystore` returns about the record."""
    hosts = names(moment)
    newest = record.pick(records.NEWEST)
    assert newest is not None
    wanted = digests(sas_of(newest.generation, hosts))
    current = digests(sas_of(record.current.generation, hosts)) if record.current is not None else {}
    rows = [
        {
            "name": name,
            "generation": newest.generation,
            "current": record.current.generation if record.current else 0,
            "outcome": outcome,
            "phase": record.phase,
            "counter_mode": False,
            "anti_replay": False,
            "multicast": [],
            "endpoints": {host: ADDRESS[host] for host in pair},
            "abandoned": record.abandoned,
            "before": {},
        }
        for pair, name in pairs_of(hosts).items()
    ]
    return {
        "changed": record != moment.record,
        "connections": rows,
        "hosts": {
            host: {
                "connections": [name for pair, name in pairs_of(hosts).items() if host in pair],
                "left_behind": [],
                "addresses": [ADDRESS[host]],
                "associations": [],
            }
            for host in hosts
        },
        "pending": record.next is not None,
        "digest": wanted,
        "held": {f"{pair}#0,,0": digest for pair, digest in wanted.items()},
        "stored": wanted,
        "before": {f"{pair}#0,,0": digest for pair, digest in current.items()} if record.abandoned else {},
        "keyed": [*pairs_of(hosts).values()] if record.current is not None else [],
        "outdated": {},
        "unnamed": [],
        "departed": [],
    }


def carry_out(moment: Moment, name: str, question: Question, arrived: set[tuple[str, Sa]]) -> tuple[Moment, Result]:
    """What a host does, and its answer. ``arrived`` are the SAs through which each host got test packets."""
    host = moment.host(name)
    after, answer = _DOES[question.module](host, name, question.options, moment, arrived)
    if question.check:
        return moment, answer
    return moment.with_host(name, after), answer


def _preflight(host: Host, name: str, options: Result, moment: Moment, arrived: t.Any) -> tuple[Host, Result]:
    return host, {
        "changed": False,
        "epoch": 0.0,
        "held": {f"{pair}#0,,0": digest for pair, digest in digests(host.kernel).items()},
        "file": {"path": FILE, "sas": len(host.boot), "digest": digests(host.boot)},
        "leftovers": [FILE + suffix for suffix, dummy in host.files],
        "spis": [],
        "backend": "xfrm",
    }


def _chosen(name: str, options: Result) -> t.Callable[[Sa], bool]:
    leave, whole = options.get("leave", ()), options.get("both_directions", ())
    end = {"inbound": 2, "outbound": 1}.get(options.get("direction", "both"))
    return lambda sa: pair_of(sa) not in leave and (end is None or sa[end] == name or pair_of(sa) in whole)


def _file(host: Host, name: str, options: Result, moment: Moment, arrived: t.Any) -> tuple[Host, Result]:
    files = dict(host.files)
    suffix = options["path"][len(FILE) :]
    if options.get("state") == "absent":
        gone = [files.pop(path[len(FILE) :], None) for path in (options["path"], *options.get("others", ()))]
        return _filed(host, files), {"changed": any(sas is not None for sas in gone), "digest": {}}
    text = _sas(options["content"]) if "content" in options else files[options["src"][len(FILE) :]]
    if suffix:
        files[suffix] = text
        return _filed(host, files), {"changed": True, "digest": digests(text)}
    removed = files[options["remove_src"][len(FILE) :]] if "remove_src" in options else NOTHING
    chosen = _chosen(name, options)
    pairs = set(map(pair_of, text))
    kept = {
        sa
        for sa in host.boot
        if not chosen(sa) or (sa not in removed and (options.get("keep") or pair_of(sa) not in pairs))
    }
    boot = frozenset(kept) | frozenset(filter(chosen, text))
    return host._replace(boot=boot), {"changed": boot != host.boot, "path": FILE, "digest": digests(boot)}


def _filed(host: Host, files: t.Mapping[str, Sas]) -> Host:
    return host._replace(files=tuple(sorted(files.items())))


def _sadb(host: Host, name: str, options: Result, moment: Moment, arrived: t.Any) -> tuple[Host, Result]:
    files = dict(host.files)
    source = options.get("src", "")[len(FILE) :]
    if options.get("ignore_missing") and source not in files:
        return host, {"changed": False, "missing": True, "counts": {"unchanged": 0}, "digest": {}}
    if "src_label" in options and options["src_label"] != host.label:
        return host, {"failed": True, "changed": False, "msg": "the file is a backup from another change"}
    text = _sas(options["content"]) if "content" in options else files[source]
    chosen = _chosen(name, options)
    scope = set(map(pair_of, text | (files[options["scope_src"][len(FILE) :]] if "scope_src" in options else NOTHING)))
    wanted = frozenset(filter(chosen, text))
    if options["state"] == "absent":
        kernel = host.kernel - wanted
    else:
        gone = {
            sa for sa in host.kernel if options["state"] == "exact" and chosen(sa) and pair_of(sa) in scope
        } - wanted
        kernel = (host.kernel - gone) | wanted
    answer = {
        "changed": kernel != host.kernel,
        "missing": False,
        "counts": {"unchanged": len(wanted & host.kernel)},
        "digest": digests(text & kernel),
    }
    if "backup" in options and answer["changed"]:
        files[options["backup"][len(FILE) :]] = frozenset(sa for sa in host.kernel if pair_of(sa) in scope)
        host = host._replace(label=options["backup_label"])
    return _filed(host, files)._replace(kernel=kernel), answer


def lost_in_clear(moment: Moment, keyed: bool, sender: str, receiver: str) -> str:
    """Why a packet from one host to another would be lost for want of a policy or because of one, if
    not because of its SA. ``keyed`` says whether the record has a current generation.
    """
    there = moment.host(sender)
    if ("out", receiver) not in there.policies:
        refused = ("in", sender) in moment.host(receiver).policies and not there.unserved
        return "it is sent in the clear" if refused else ""
    # Policies that an interrupted first run left stay when a later one goes back.
    stopped = keyed and not used(moment, sender, receiver)
    return "no SA is there for it" if stopped else ""


def used(moment: Moment, sender: str, receiver: str) -> Sas:
    """The SAs through which a host may send to another: the kernel chooses one of them."""
    return frozenset(sa for sa in moment.host(sender).kernel if sa[1:] == (sender, receiver))


def _probe(host: Host, name: str, options: Result, moment: Moment, arrived: set[tuple[str, Sa]]) -> tuple[Host, Result]:
    text = dict(host.files)[options["src"][len(FILE) :]]
    sent = []
    for sa in sorted(sa for sa in text if sa[1] == name):
        leaves = options["count"] and sa in host.kernel
        if leaves and sa in moment.host(sa[2]).kernel:
            arrived.add((sa[2], sa))
        sent.append({"key": _key(sa), "before": 0, "after": 3 if leaves else 0})
    received = [
        {"key": _key(sa), "before": 0, "after": 3 if (name, sa) in arrived else 0}
        for sa in sorted(text)
        if sa[2] == name
    ]
    return host, {"changed": False, "sent": sent, "received": received, "failures": []}


def _key(sa: Sa) -> str:
    return f"esp|{ADDRESS[sa[2]]}|0x{sa[0] * 16 + ord(sa[1]):08x}"


def _policies(host: Host, name: str, options: Result, moment: Moment, arrived: t.Any) -> tuple[Host, Result]:
    wanted = _read_policies(name, options["policies"])
    added = sorted(f"{way} {_selector(name, way, peer)}" for way, peer in wanted - host.policies)
    after = host.policies - wanted if options.get("state") == "absent" else host.policies | wanted
    return host._replace(policies=after, unserved=False), {
        "changed": after != host.policies,
        "operations": [],
        "added": added,
    }


def _read_policies(name: str, given: t.Sequence[Result]) -> Policies:
    peers = {f"{address}/32": host for host, address in ADDRESS.items()}
    ends = {"out": "destination", "in": "source"}
    return frozenset((row["direction"], peers[row["selector"][ends[row["direction"]]]]) for row in given)


def _selector(name: str, way: str, peer: str) -> str:
    source, destination = (name, peer) if way == "out" else (peer, name)
    return f"{ADDRESS[source]}/32 > {ADDRESS[destination]}/32"


def _service(host: Host, name: str, options: Result, moment: Moment, arrived: t.Any) -> tuple[Host, Result]:
    answer = {"changed": False, "service_manager": "systemd", "installed": True, "file": FILE, "policies": []}
    if options["state"] == "query":
        return host, answer
    wanted = _read_policies(name, options["policies"])
    return host._replace(boot_policies=wanted), {**answer, "changed": wanted != host.boot_policies}


_DOES: t.Mapping[str, t.Callable[..., tuple[Host, Result]]] = {
    "ipsec_preflight": _preflight,
    "ipseckeys_file": _file,
    "ipsec_sadb": _sadb,
    "ipsec_probe": _probe,
    "ipsec_policy": _policies,
    "ipsec_boot": _service,
}
