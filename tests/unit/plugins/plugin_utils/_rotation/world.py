# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An abstract world for the exploration of rotations: hosts that hold generations in place of keys,
and a keystore whose records change by the functions of `changes`.

Each two hosts have a record of their own. An SA is (generation, sender, receiver), and has the reqid and
the mode of its generation. A policy is (direction, peer, templates): as in Linux, an outbound one selects SAs
for each of its templates, and an inbound template with reqid 0 accepts those of any. What hosts are asked is
executed as the modules document it.
"""

from __future__ import annotations

import functools
import itertools
import json
import typing as t

from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.reader import read_connections
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.units import names_of
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore import changes, records, result
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.rotation import Question

Result = t.Dict[str, t.Any]
Sa = t.Tuple[int, str, str]
Sas = t.FrozenSet[Sa]
Templates = t.Tuple[t.Tuple[str, int, bool], ...]  # of a policy: mode, reqid, and whether it is optional
Policies = t.FrozenSet[t.Tuple[str, str, Templates]]
Unit = t.Tuple[str, ...]

ADDRESS = {"a": "192.0.2.1", "b": "192.0.2.2", "c": "192.0.2.3"}
NAME = "mesh"
FILE = "/f"
NOTHING: Sas = frozenset()
SCRIPTED, SCRIPT_REQID = 0, 77  # the generation of SAs that a script made, and their reqid
TRANSPORT, TUNNEL = "transport", "tunnel"


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
    records: tuple[tuple[Unit, records.KeyRecord], ...]
    # The reqid of the connection in the inventory, and the generations that have another than 0.
    reqid: int = 0
    reqids: tuple[tuple[int, int], ...] = ()
    # The same of modes; the others are in transport mode.
    mode: str = TRANSPORT
    modes: tuple[tuple[int, str], ...] = ()
    # Whether the hosts had SAs in their files before the keystore had any.
    filed: bool = False

    @property
    def is_scripted(self) -> bool:
        """Whether a script made SAs, which no host loads at boot."""
        return SCRIPTED in dict(self.reqids)

    def owner(self, sa: Sa) -> int:
        """The reqid of an SA."""
        return dict(self.reqids).get(sa[0], 0)

    def serves(self, template: tuple[str, int, bool], sa: Sa) -> bool:
        """Whether an SA has the mode and the reqid of a template."""
        return template[:2] == (dict(self.modes).get(sa[0], TRANSPORT), self.owner(sa))

    def host(self, name: str) -> Host:
        (found,) = [host for key, host in self.hosts if key == name]
        return found

    def with_host(self, name: str, host: Host) -> Moment:
        return self._replace(hosts=tuple((key, host if key == name else old) for key, old in self.hosts))

    def record(self, unit: t.Iterable[str]) -> records.KeyRecord:
        """The record of two hosts."""
        return dict(self.records)[tuple(sorted(unit))]

    def canonical(self) -> t.Any:
        """The same for worlds that differ only in the numbers of their generations, and in times."""
        hosts = [host for dummy, host in self.hosts]
        held = {sa for host in hosts for sas in (host.kernel, host.boot, *dict(host.files).values()) for sa in sas}
        known = {sa[0] for sa in held}.union(*map(_numbers, hosts))
        known.update(found.generation for dummy, record in self.records for found in record.generations())
        ranks = {number: rank for rank, number in enumerate(sorted(known))}
        gone = {(row.generation, *unit) for unit, record in self.records for row in record.retired}
        named = {sa: (ranks[sa[0]], *sa[1:], (sa[0], *sorted(sa[1:])) in gone) for sa in held}

        def less(sas: Sas) -> frozenset[t.Any]:
            return frozenset(named[sa] for sa in sas)

        return (
            (self.reqid, self.mode),
            frozenset((ranks[number], mode) for number, mode in self.modes if number in ranks),
            frozenset((ranks[number], reqid) for number, reqid in self.reqids if number in ranks),
            tuple(
                (
                    name,
                    less(host.kernel),
                    less(host.boot),
                    tuple((suffix, less(sas)) for suffix, sas in host.files),
                    tuple(ranks[number] for number in _numbers(host)),
                    host.policies,
                    host.boot_policies,
                )
                for name, host in self.hosts
            ),
            tuple(
                (
                    record.phase,
                    record.abandoned,
                    *(ranks[found.generation] if found else None for found in (record.current, record.next)),
                )
                for dummy, record in self.records
            ),
        )


def _numbers(host: Host) -> list[int]:
    """The generations that the label of a backup names."""
    return [int(word.rpartition(":")[2]) for word in host.label.split()]


def beginning(hosts: str, scripted: bool = False, filed: bool = False) -> Moment:
    """A world without keys; one where a script has made SAs and policies; or one where these are in files
    that hosts load at boot.
    """
    record = records.KeyRecord(NAME)
    units = pairs_of(hosts)
    made = _union(sas_of(SCRIPTED, unit) for unit in units) if scripted or filed else NOTHING

    def host(name: str) -> Host:
        sas = frozenset(sa for sa in made if name in sa)
        kept = policies_of(name, hosts, SCRIPT_REQID if scripted else 0) if made else frozenset()
        if filed:
            return Host(sas, sas, policies=kept, boot_policies=kept)
        return Host(sas, policies=kept, unserved=scripted)

    return Moment(
        tuple((name, host(name)) for name in hosts),
        tuple((unit, record) for unit in units),
        reqids=((SCRIPTED, SCRIPT_REQID),) if scripted else (),
        filed=filed,
    )


def scripted_again(moment: Moment) -> Moment:
    """The world after a script has made its SAs and policies beside what hosts have."""
    for name, made in beginning("".join(names(moment)), scripted=True).hosts:
        host = moment.host(name)
        moment = moment.with_host(name, host._replace(kernel=host.kernel | made.kernel, policies=made.policies))
    return moment


def names(moment: Moment) -> list[str]:
    return [name for name, dummy in moment.hosts]


def pairs_of(hosts: t.Sequence[str]) -> dict[tuple[str, ...], str]:
    """The pairs of the hosts, with their names."""
    return names_of(NAME, frozenset(itertools.combinations(sorted(hosts), 2)))


def valid(moment: Moment, host: str) -> Sas:
    """The SAs of a host in the generations of the keystore that it may use."""
    return _union(
        sas_of(generation.generation, unit)
        for unit, record in moment.records
        for generation in (record.current, record.next if record.phase in records.IN_USE else None)
        if generation is not None and host in unit
    )


def sas_of(generation: int, unit: t.Sequence[str]) -> Sas:
    """The SAs of a generation of two hosts."""
    return frozenset((generation, *ends) for ends in itertools.permutations(unit))


def policies_of(name: str, hosts: t.Sequence[str], reqid: int, mode: str = TRANSPORT) -> Policies:
    """The policies of a host towards all others."""
    templates = ((mode, reqid, False),)
    return frozenset((way, peer, templates) for way in ("out", "in") for peer in hosts if peer != name)


def pair_of(sa: Sa) -> str:
    return "|".join(sorted((ADDRESS[sa[1]], ADDRESS[sa[2]])))


def digests_by_owner(moment: Moment, sas: Sas) -> dict[str, str]:
    """A digest for each pair and reqid."""
    owners = {moment.owner(sa) for sa in sas}
    return {
        f"{pair}#{owner},,0": found
        for owner in owners
        for pair, found in digests(frozenset(sa for sa in sas if moment.owner(sa) == owner)).items()
    }


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
def connections(hosts: str, reqid: int = 0, scripted: bool = False, mode: str = TRANSPORT) -> t.Any:
    ends = {host: ADDRESS[host] for host in hosts}
    more = {"replaces_reqid": SCRIPT_REQID} if scripted else {}
    return read_connections([{"name": NAME, "endpoints": ends, "reqid": reqid, "mode": mode, **more}])


def prepared(moment: Moment, units: t.Collection[Unit], new_keys: bool) -> tuple[Moment, dict[Unit, str]]:
    """The world with the generations that hosts should use, and the outcome for each of these units, as
    `_keystore.steps` does it.
    """
    (connection,) = connections("".join(names(moment)), moment.reqid, moment.is_scripted, moment.mode)
    number = 1 + max(record.last for dummy, record in moment.records)
    found, outcomes = dict(moment.records), {}
    for unit in units:
        record, part = found[unit], connection.only({unit})
        outcomes[unit] = changes.decide(record, part, new_keys)
        if outcomes[unit] == changes.MADE:
            made = records.Generation(number, "", "", part.settings())
            found[unit] = changes.give(changes.discard(record, {}), made)
            moment = moment._replace(
                reqids=tuple({**dict(moment.reqids), number: moment.reqid}.items()),
                modes=tuple({**dict(moment.modes), number: moment.mode}.items()),
            )
    return moment._replace(records=tuple(found.items())), outcomes


def expected(before: Moment, moment: Moment, outcomes: t.Mapping[Unit, str]) -> Result:
    """What `ipsec_keystore` returns about the records of some units."""
    every = pairs_of(names(moment))
    newest = {unit: moment.record(unit).pick(records.NEWEST) for unit in outcomes}
    sas = _union(sas_of(_number(found), unit) for unit, found in newest.items())
    wanted = digests(sas)
    settings = {unit: _settings(moment.record(unit)) for unit in outcomes}
    rows = [
        {
            "name": every[unit],
            "generation": _number(newest[unit]),
            "current": _number(moment.record(unit).current),
            "outcome": outcome,
            "phase": moment.record(unit).phase,
            "counter_mode": False,
            "anti_replay": False,
            "multicast": [],
            "endpoints": {host: ADDRESS[host] for host in unit},
            "abandoned": moment.record(unit).abandoned,
            "before": settings[unit],
            "changing": changed(moment.record(unit)) if settings[unit] else [],
        }
        for unit, outcome in outcomes.items()
    ]
    earlier = digests_by_owner(
        moment,
        _union(
            sas_of(_number(moment.record(unit).current), unit)
            for unit in outcomes
            if (moment.record(unit).abandoned or moment.record(unit).phase in records.IN_USE)
            and moment.record(unit).current is not None
        ),
    )
    return {
        "changed": moment.records != before.records,
        "connections": rows,
        "hosts": {
            host: {
                "connections": [every[unit] for unit in outcomes if host in unit],
                "left_behind": [every[unit] for unit in outcomes if host in unit and left_behind(moment.record(unit))],
                "addresses": [ADDRESS[host]],
                "associations": [],
            }
            for host in names(moment)
            if any(host in unit for unit in outcomes)
        },
        "pending": any(moment.record(unit).next is not None for unit in outcomes),
        "digest": wanted,
        "held": digests_by_owner(moment, sas),
        "stored": wanted,
        "before": earlier,
        "keyed": [every[unit] for unit, record in moment.records if record.current is not None],
        "outdated": _outdated(moment, outcomes),
        "midway": [every[unit] for unit, record in moment.records if unit not in outcomes and result.is_midway(record)],
        "unnamed": [],
        "departed": [],
        "leaving": [],
    }


def _outdated(moment: Moment, outcomes: t.Container[Unit]) -> dict[str, t.Any]:
    """The settings of the units that a run leaves out, where they have changed since."""
    (now,) = connections("".join(names(moment)), moment.reqid, moment.is_scripted, moment.mode)
    every = pairs_of(names(moment))
    return {
        every[unit]: record.current.settings
        for unit, record in moment.records
        if unit not in outcomes and record.current and record.current.settings != now.only({unit}).settings()
    }


def changed(record: records.KeyRecord) -> list[str]:
    assert record.current and record.next
    return changes.changed(record.current.settings, record.next.settings)


def left_behind(record: records.KeyRecord) -> bool:
    """Whether SAs are not replaced by those of the next generation."""
    return bool(record.next and changes.left_behind(record))


def _settings(record: records.KeyRecord) -> t.Mapping[str, t.Any]:
    """Those of the current generation, if those of the next one differ."""
    current, following = record.current, record.next
    return current.settings if current and following and current.settings != following.settings else {}


def _number(generation: records.Generation | None) -> int:
    return generation.generation if generation is not None else 0


def _union(found: t.Iterable[Sas]) -> Sas:
    return NOTHING.union(*found)


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
        "held": digests_by_owner(moment, host.kernel),
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
        gone = files[options["remove_src"][len(FILE) :]] if "remove_src" in options else NOTHING
        files[suffix] = files[suffix] - gone if options.get("scope") == "peers" else text
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
    if options["state"] == "flushed":
        # Only SAs to be taken over are removed so; the text is a real one.
        kernel = frozenset(sa for sa in host.kernel if moment.owner(sa) != SCRIPT_REQID)
        return host._replace(kernel=kernel), {"changed": kernel != host.kernel}
    text = _sas(options["content"]) if "content" in options else files[source]
    chosen = _chosen(name, options)
    ours = text | (files[options["scope_src"][len(FILE) :]] if "scope_src" in options else NOTHING)
    pairs, owners = set(map(pair_of, ours)), set(map(moment.owner, ours)) or {0}
    in_scope = frozenset(sa for sa in host.kernel if pair_of(sa) in pairs and moment.owner(sa) in owners)
    wanted = frozenset(filter(chosen, text))
    if options["state"] == "absent":
        kernel = host.kernel - wanted
    else:
        exact, beside = options["state"] == "exact", options.get("beside", ())
        gone = {sa for sa in in_scope if exact and chosen(sa) and pair_of(sa) not in beside} - wanted
        kernel = (host.kernel - gone) | wanted
    answer = {
        "changed": kernel != host.kernel,
        "missing": False,
        "counts": {"unchanged": len(wanted & host.kernel)},
        "digest": digests(text & kernel),
    }
    if "backup" in options and answer["changed"]:
        files[options["backup"][len(FILE) :]] = in_scope
        host = host._replace(label=options["backup_label"])
    return _filed(host, files)._replace(kernel=kernel), answer


def lost_in_clear(moment: Moment, keyed: t.Container[Unit], sender: str, receiver: str) -> str:
    """Why a packet from one host to another would be lost for want of a policy or because of one, if
    not because of its SA. ``keyed`` are the pairs that have a current generation.
    """
    there, inbound = moment.host(sender), policy_for(moment.host(receiver), "in", sender)
    if policy_for(there, "out", receiver) is None:
        return "it is sent in the clear" if inbound is not None and not there.unserved else ""
    sent = policy_for(there, "out", receiver) or ()
    if inbound is not None and accepts(inbound, ()):
        return "its inbound policy accepts clear text"
    if used(moment, sender, receiver) and (accepts(inbound, sent) if inbound is not None else _has_tunnel(sent)) == (
        inbound is None
    ):
        return "its inbound policy names other SAs"
    # Policies that an interrupted first run left stay when a later one goes back.
    stopped = tuple(sorted((sender, receiver))) in keyed and not used(moment, sender, receiver)
    return "no SA is there for it" if stopped else ""


def policy_for(host: Host, way: str, peer: str) -> Templates | None:
    """The templates of the host's policy for a direction and peer, None without one."""
    return next((rows for direction, other, rows in host.policies if (direction, other) == (way, peer)), None)


def _has_tunnel(templates: Templates) -> bool:
    return any(mode == TUNNEL for mode, dummy, optional in templates)


@functools.lru_cache(maxsize=None)
def accepts(inbound: Templates, sent: Templates) -> bool:
    """Whether an inbound policy accepts a packet that went through SAs of these outbound templates, the innermost
    first: xfrm_policy_ok and secpath_has_nontransport of net/xfrm/xfrm_policy.c.
    """
    passed, place = sent[::-1], 0
    for mode, reqid, is_optional in inbound[::-1]:
        if is_optional and mode == TRANSPORT:
            continue
        for index in range(place, len(passed)):
            if passed[index][0] == mode and reqid in (0, passed[index][1]):
                place = index + 1
                break
            if passed[index][0] != TRANSPORT:
                return False
        else:
            if not is_optional:
                return False
    return not _has_tunnel(passed[place:])


def used(moment: Moment, sender: str, receiver: str) -> Sas:
    """The SAs through which a host may send to another: the kernel chooses one of them."""
    templates = policy_for(moment.host(sender), "out", receiver)
    there = frozenset(sa for sa in moment.host(sender).kernel if sa[1:] == (sender, receiver))
    if templates is None:
        return there
    found = [frozenset(sa for sa in there if moment.serves(template, sa)) for template in templates]
    return _union(found) if all(found) else NOTHING  # without one of them, nothing is sent


def _probe(host: Host, name: str, options: Result, moment: Moment, arrived: set[tuple[str, Sa]]) -> tuple[Host, Result]:
    text = dict(host.files)[options["src"][len(FILE) :]]
    sent = []
    for sa in sorted(sa for sa in text if sa[1] == name):
        leaves = options["count"] and sa in used(moment, *sa[1:])
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
    named, there = ({policy[:2] for policy in found} for found in (wanted, host.policies))
    added = sorted(f"{way} {_selector(name, way, peer)}" for way, peer in named - there)
    others = frozenset(policy for policy in host.policies if policy[:2] not in named)
    after = others if options.get("state") == "absent" else others | wanted
    return host._replace(policies=after, unserved=False), {
        "changed": after != host.policies,
        "operations": [],
        "added": added,
        "replaced": [
            {"policy": f"{way} {_selector(name, way, peer)}", "reqids": [reqid for dummy, reqid, optional in templates]}
            for way, peer, templates in sorted(host.policies - wanted)
            if (way, peer) in named
        ],
        "overtaken": [],
    }


def _read_policies(name: str, given: t.Sequence[Result]) -> Policies:
    peers = {f"{address}/32": host for host, address in ADDRESS.items()}
    ends = {"out": "destination", "in": "source"}
    return frozenset(
        (row["direction"], peers[row["selector"][ends[row["direction"]]]], tuple(map(_template, row["templates"])))
        for row in given
    )


def _template(row: Result) -> tuple[str, int, bool]:
    return row["mode"], row["reqid"], row.get("level") == "use"


def _selector(name: str, way: str, peer: str) -> str:
    source, destination = (name, peer) if way == "out" else (peer, name)
    return f"{ADDRESS[source]}/32 > {ADDRESS[destination]}/32"


def _service(host: Host, name: str, options: Result, moment: Moment, arrived: t.Any) -> tuple[Host, Result]:
    answer = {"changed": False, "service_manager": "systemd", "installed": True, "file": FILE, "policies": []}
    if options["state"] == "query":
        return host, answer
    wanted, gone = (_read_policies(name, options.get(key, ())) for key in ("policies", "removed"))
    named = {policy[:2] for policy in (*wanted, *gone)}
    # Without purge, those that are not named stay.
    after = wanted | {policy for policy in host.boot_policies if policy[:2] not in named}
    kernel = host.policies
    if options.get("load", True):
        kernel = frozenset(policy for policy in kernel if policy[:2] not in {policy[:2] for policy in after}) | after
    return host._replace(policies=kernel, boot_policies=after), {**answer, "changed": after != host.boot_policies}


_DOES: t.Mapping[str, t.Callable[..., tuple[Host, Result]]] = {
    "ipsec_preflight": _preflight,
    "ipseckeys_file": _file,
    "ipsec_sadb": _sadb,
    "ipsec_probe": _probe,
    "ipsec_policy": _policies,
    "ipsec_boot": _service,
}
