# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The text of a connection's file. Pure.

The file is YAML, vault-encrypted as a whole::

    format: 2
    connection: NAME
    last: 7                          # the highest generation number ever given
    departed: {}                     # hosts (and addresses) that left while the file had format 1
    records:                         # one for all units that have the same history
    - phase: steady | prepared | switching | retiring
      since: "2026-11-21T21:00:00Z"  # when the phase began
      by: USER@CONTROLLER            # who began it
      left: ""                       # when the units left the connection
      cleaned: [HOST, ...]           # only if their removal has begun: the hosts that did it
      plays: {PLAY: CONNECTION}      # only if the role rotate was used: the plays that have them (`owners`)
      retired: [0]                   # which of the retired generations below were theirs
      current:
        generation: 7
        created: "2026-11-21T21:00:00Z"
        created_by: USER@CONTROLLER
        promoted: "2026-11-21T21:04:00Z"
        promoted_by: USER@CONTROLLER
        store: random | derived
        settings: {...}              # `Connection.settings` of these units; if they are neither a full
                                     # mesh nor hubs with spokes, pairs: {HOST: [HOST, ...], ...}
        root: ""                     # if derived: the fingerprint of its root secret,
        salt: ""                     # the salt in hex,
        moved: {}                    # and the attempts that gave its SPIs
        undone: {}                   # if it was made to undo a change: the settings that it took back
        selectors: {...}             # `Connection.selectors`, if it has any
        sas: |                       # if random: ipseckeys text
          add esp spi ...
      next: null                     # the same shape
      previous: null                 # the same shape
    retired:                         # every generation that is no longer current or next
    - {generation: 6, created: ..., created_by: ..., retired: ..., retired_by: ...,
       reason: replaced | discarded | unused | retired,
       fingerprints: "16 hex digits, one for each key, or one for all of a derived generation",
       spis: "8 hex digits, one for each"}

A file of format 1 is one record, whose fields are those of the file; ``retired`` holds the generations
themselves, and the units of its generations may differ. `load` reads it and splits it accordingly."""

from __future__ import annotations

import functools
import json
import textwrap
import typing as t

import yaml

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import IpsecError

from .._connections.model import Unit, connection_of
from .parts import assembled, part_of, sas_between
from .records import (
    CURRENT,
    DERIVED,
    NEWEST,
    NEXT,
    PHASES,
    PREVIOUS,
    STEADY,
    STORES,
    ConnectionRecord,
    Generation,
    KeyRecord,
    KeystoreError,
    Retired,
    now,
    yaml_lines,
)

FORMAT = 2
# Another format that is read.
FIRST_FORMAT = 1

_Loader: t.Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_GENERATIONS = (CURRENT, NEXT, PREVIOUS)


def dump(whole: ConnectionRecord) -> str:
    """The file's text, before encryption."""
    retired = whole.retired
    places = {id(row): place for place, row in enumerate(retired)}
    return "".join(
        (
            yaml_lines({"format": FORMAT, "connection": whole.connection, "last": whole.last}),
            yaml_lines({"departed": dict(whole.departed)}),
            "records:\n" if whole.records else "records: []\n",
            *(_item(_dumped_record(record, places)) for record in whole.records),
            "retired:\n" if retired else "retired: []\n",
            *(f"- {json.dumps(_dumped_retired(row))}\n" for row in retired),
        )
    )


def _item(text: str) -> str:
    return "- " + textwrap.indent(text, "  ")[2:]


def _dumped_record(record: KeyRecord, places: t.Mapping[int, int]) -> str:
    fields = {name: getattr(record, name) for name in ("phase", "since", "by", "left")}
    own = {"retired": [places[id(row)] for row in record.retired]}
    cleaned = {} if record.cleaned is None else {"cleaned": list(record.cleaned)}
    plays = {"plays": dict(record.plays)} if record.plays else {}
    return yaml_lines({**fields, **cleaned, **plays, **own}) + "".join(
        _dumped(name, record.pick(name)) for name in _GENERATIONS
    )


def _dumped_retired(row: Retired) -> dict[str, t.Any]:
    spis = " ".join(f"{spi:08x}" for spi in row.spis)
    return {**row._asdict(), "fingerprints": " ".join(row.fingerprints), "spis": spis}


def _dumped(name: str, generation: Generation | None) -> str:
    if generation is None:
        return f"{name}: null\n"
    fields = {
        key: value for key, value in generation._asdict().items() if key != "sas" and (value or key != "selectors")
    }
    # A block keeps the SAs readable in the decrypted file.
    sas = "  sas: |\n" + textwrap.indent(generation.sas, "    ") if generation.sas else '  sas: ""\n'
    return f"{name}:\n{textwrap.indent(yaml_lines(fields), '  ')}{sas}"


def load(text: str, name: str, place: str) -> ConnectionRecord:
    """The records of connection ``name`` from a file's decrypted text. Raises KeystoreError, without
    the content, for anything else.
    """
    try:
        data = yaml.load(text, Loader=_Loader)
        if data["format"] not in (FORMAT, FIRST_FORMAT):
            raise KeystoreError(
                f"the keystore has format {data['format']}; this release knows formats {FIRST_FORMAT} and {FORMAT}",
                place,
                "Use the release of the collection that wrote it, or a later one.",
            )
        whole = (_second if data["format"] == FORMAT else _first)(data)
        consistent = _is_consistent(whole)
    except KeystoreError:
        raise
    except (IpsecError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError, IndexError):
        # The YAML library's message would quote the text.
        raise KeystoreError(
            "the file decrypts, but is not a keystore of this collection", place, "Restore it from version control."
        ) from None
    if whole.connection != name:
        raise KeystoreError(
            f"the file holds the keys of connection {whole.connection}, not of {name}",
            place,
            "A keystore file is named after its connection; rename it back.",
        )
    if not consistent:
        raise KeystoreError(
            "the file contradicts itself: somebody edited it", place, "Restore it from version control."
        )
    return whole


def _is_consistent(whole: ConnectionRecord) -> bool:
    numbers = [
        *(found.generation for record in whole.records for found in record.generations()),
        *(row.generation for row in whole.retired),
    ]
    return (
        whole.last >= max([0, *numbers])
        and all((record.next is None) == (record.phase == STEADY) for record in whole.records)
        and _share_no_unit(whole.records)
        and all(_has_units(found, record) for record in whole.records for found in record.generations())
    )


def _share_no_unit(records: tuple[KeyRecord, ...]) -> bool:
    if len(records) < 2:
        return True
    units = [record.units() for record in records]
    return len(frozenset[Unit]().union(*units)) == sum(map(len, units))


def _has_units(generation: Generation, record: KeyRecord) -> bool:
    """Whether a generation has the units of its record, and if they are pairs, all SAs of these and no others, so
    that it can be split.
    """
    shape = connection_of(record.connection, generation.settings)
    first = record.shape()
    if first is None or not shape.has_units_of(first):
        return False
    if generation.store == DERIVED or shape.multicast:
        return True
    wanted = 2 * shape.size() * len(shape.associations)
    return len(sas_between(generation)) == wanted == generation.sas.count("\nadd ") + generation.sas.startswith("add ")


def _second(data: t.Any) -> ConnectionRecord:
    retired = tuple(map(_retired, data["retired"]))
    last = int(data["last"])
    records = tuple(
        _record(str(data["connection"]), row, last)._replace(
            left=str(row["left"]),
            cleaned=tuple(map(str, row["cleaned"])) if "cleaned" in row else None,
            plays=tuple(sorted((str(play), str(family)) for play, family in row.get("plays", {}).items())),
            retired=tuple(retired[index] for index in row["retired"]),
        )
        for row in data["records"]
    )
    owned = {index for row in data["records"] for index in row["retired"]}
    return ConnectionRecord(
        str(data["connection"]),
        last,
        records,
        tuple(row for index, row in enumerate(retired) if index not in owned),
        _departed(data),
    )


def _first(data: t.Any) -> ConnectionRecord:
    last = int(data["last"])
    retired = tuple(map(_retired, data["retired"]))
    record = _record(str(data["connection"]), data, last)._replace(retired=retired)
    whole = ConnectionRecord(record.connection, last, departed=_departed(data))
    if not any(record.generations()):
        return whole._replace(forgotten=retired)
    return assembled(whole, _by_unit(record))


def _by_unit(record: KeyRecord) -> t.Iterator[KeyRecord]:
    """The record of a connection, split by which generations its units have. Units without a newest
    generation have left.
    """
    if len({_shape(generation) for generation in record.generations()}) == 1:
        yield record
        return
    # Generation numbers, by unit.
    numbers: dict[Unit, tuple[int, ...]] = {}
    for generation in record.generations():
        for unit in connection_of(record.connection, generation.settings).units():
            numbers[unit] = (*numbers.get(unit, ()), generation.generation)
    kinds: dict[tuple[int, ...], set[Unit]] = {}
    for unit, own in numbers.items():
        kinds.setdefault(own, set()).add(unit)
    newest = record.pick(NEWEST)
    for own, units in sorted(kinds.items()):
        part = record.mapped(functools.partial(_part, connection=record.connection, numbers=own, units=units))
        belongs = newest is not None and newest.generation in own
        yield part if belongs else part._replace(phase=STEADY, left=record.since or now())


def _part(
    generation: Generation, connection: str, numbers: t.Collection[int], units: t.AbstractSet[Unit]
) -> Generation | None:
    return part_of(generation, connection, units) if generation.generation in numbers else None


def _shape(generation: Generation) -> t.Hashable:
    settings = generation.settings
    return frozenset(settings["endpoints"]), frozenset(settings.get("hubs", ())), "multicast" in settings


def _departed(data: t.Any) -> dict[str, str]:
    return {str(host): str(address) for host, address in data.get("departed", {}).items()}


def _record(connection: str, data: t.Any, last: int) -> KeyRecord:
    return KeyRecord(
        connection=connection,
        phase=PHASES[PHASES.index(data["phase"])],
        since=str(data["since"]),
        by=str(data["by"]),
        last=last,
        current=_generation(data[CURRENT]),
        next=_generation(data[NEXT]),
        previous=_generation(data[PREVIOUS]),
    )


def _retired(row: t.Any) -> Retired:
    return Retired(
        **{
            **row,
            "fingerprints": tuple(row["fingerprints"].split()),
            "spis": tuple(int(spi, 16) for spi in row["spis"].split()),
        }
    )


def _generation(data: t.Any) -> Generation | None:
    if data is None:
        return None
    found = Generation(**data)
    # A derived generation has the parameters of its derivation, a random one has SAs.
    complete = (found.root and found.salt) if found.store == DERIVED else found.sas
    if (
        not found.endpoints
        or found.store not in STORES
        or not complete
        or not isinstance(found.generation, int)
        or not isinstance(found.moved, dict)
    ):
        raise ValueError
    bytes.fromhex(found.salt)
    return found
