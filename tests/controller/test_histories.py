# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Any history of a mesh whose hosts, addresses, hubs, groups and settings change between runs that end anywhere."""

from __future__ import annotations

import typing as t

import hypothesis
from hypothesis import strategies as st

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import IpsecError
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.model import Connection
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.model import Unit as Hosts
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.reader import read_connections
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore import (
    generations,
    result,
    roots,
    steps,
    undo,
)
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.records import (
    IN_USE,
    ConnectionRecord,
    KeyRecord,
)
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.steps import Order
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.text import dump, load
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.run import choose
from ansible_collections.ipsec.manual.tests.unit.plugins.generations import limited

HOSTS = "abcd"
ROTATION = ("prepared", "switching", "retiring", "promoted")
# A connection, and a unit of it.
Unit = t.Tuple[str, Hosts]


class Crash(BaseException):
    """The controller has lost power."""


class Store:
    """A keystore in memory. ``left`` are the writes before the power fails, a negative number for ever."""

    directory = "keystore"

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.roots = roots.RootFile()
        self.left = -1

    def path(self, name: str) -> str:
        return f"keystore/{name}.yml"

    def read(self, name: str) -> ConnectionRecord | None:
        return load(self.texts[name], name, self.path(name)) if name in self.texts else None

    def read_all(self) -> dict[str, ConnectionRecord]:
        return {name: load(text, name, self.path(name)) for name, text in self.texts.items()}

    def read_roots(self) -> roots.RootFile:
        return self.roots

    def key_names(self) -> list[str]:
        return []

    def check(self, name: str) -> None:
        """Every file can be encrypted."""

    def write(self, *wholes: ConnectionRecord, roots: roots.RootFile | None = None) -> None:
        for change in ([roots] if roots is not None else []) + [*wholes]:
            if not self.left:
                raise Crash
            self.left -= 1
            if isinstance(change, ConnectionRecord):
                self.texts[change.connection] = dump(change)
                assert load(dump(change), change.connection, "") == change
            else:
                self.roots = change


@st.composite
def inventories(draw: st.DrawFn) -> list[Connection]:
    hosts = draw(st.sampled_from(["ab", "abc", "abcd", "acd", "bcd", "cd"]))
    addresses = draw(
        st.sampled_from([{}, {"c": "192.0.2.99"}, {"c": "192.0.2.4", "d": "192.0.2.3"}, {"a": "192.0.2.99"}])
    )
    ends = {host: f"192.0.2.{number}" for number, host in enumerate(HOSTS, 1)}
    shape: dict[str, t.Any] = draw(
        st.sampled_from([{}, {}, {}, {"hub": [hosts[0]]}, {"hub": [hosts[-1]]}, {"multicast": ["224.0.0.5"]}])
    )
    if len(hosts) == 2 and "hub" in shape:
        shape = {}
    name = draw(st.sampled_from(["mesh", "mesh", "mesh", "net"]))
    settings = draw(st.sampled_from([{}, {}, {"reqid": 7}, {"associations": [{"protocol": "ah"}]}]))
    endpoints = {host: {**ends, **addresses}[host] for host in hosts}
    raw = [{"name": name, "endpoints": endpoints, **shape, **settings}]
    more = [{"name": "link", "endpoints": {"a": "198.51.100.1", "b": "198.51.100.2"}}]
    return read_connections(raw + (more if draw(st.booleans()) else []))


WORDS = ("mesh", "net", "link", "a", "a,b", "mesh/c", "mesh/c,d", "b,c")
ORDERS = st.builds(
    Order,
    state=st.sampled_from(["prepared", "prepared", "prepared", *ROTATION, "discarded", "retired"]),
    by=st.just("me@here"),
    store=st.sampled_from(["", "", "random", "derived"]),
    new_keys=st.booleans(),
    renew=st.frozensets(st.sampled_from(["mesh", "mesh/a,b", "mesh/c,d", "net"]), max_size=2),
    undo=st.sampled_from([False, False, True]),
    new_root=st.sampled_from([False, False, True]),
    force=st.booleans(),
    ended=st.sampled_from([(), (), (), ("mesh",), ("net",), ("mesh/d",), ("mesh/a,c",)]),
)
STEPS = st.tuples(
    st.one_of(st.none(), inventories()),
    ORDERS,
    st.lists(st.sampled_from(WORDS), max_size=2),
    st.sampled_from([-1, -1, -1, 0, 1, 2]),
)
REFUSALS = (
    "hosts may already use generation",
    "has no keystore file",
    "none of the connections derives",
    "left the connection",
    "knows no earlier settings",
    "had different settings before",
    "still has the settings that rotate_undo took back",
    "there is no connection, host or pair",
    "no connection has an endpoint",
)


def carry_out(store: Store, inventory: list[Connection], order: Order, only: t.Sequence[str] = ()) -> None:
    """What the actions do."""
    ended = order.ended if order.state == "retired" else ()
    chosen = choose(inventory, set(HOSTS), only) if only or not ended else []
    if order.undo:
        whole = [connection for connection in chosen if connection in inventory]
        restored = {
            connection.name: undo.restored(
                connection, undo.settings_before(connection, (store.read(connection.name) or _none()).present(), "")
            )
            for connection in whole
        }
        inventory = [restored.get(connection.name, connection) for connection in inventory]
        chosen = choose(inventory, set(HOSTS), only)
    order = order._replace(ended=ended, known=tuple(inventory))
    step = steps.carry_out(t.cast(t.Any, store), chosen, order)
    found = result.of(step, inventory, bytes(32))
    names = [row["name"] for row in found["connections"]]
    assert len(names) == len(set(names)) or order.state == "retired"
    if order.state == "prepared":
        result.others(step, inventory)


def _none() -> ConnectionRecord:
    return ConnectionRecord("")


class Ledger:
    """Every key and SPI that was ever in the keystore, by unit and generation."""

    def __init__(self) -> None:
        self.keys: dict[tuple[Unit, int], frozenset[bytes]] = {}
        self.spis: dict[tuple[Unit, int], frozenset[tuple[bytes, int]]] = {}
        self.gone: dict[str, set[str]] = {}
        self.last: dict[str, int] = {}
        self.held: dict[Unit, set[int]] = {}

    def audit(self, store: Store, order: Order) -> None:
        known = store.read_all()
        secrets = store.read_roots().secrets()
        generations.verify(known, store.path, secrets)
        held: dict[Unit, set[int]] = {}
        for name, whole in known.items():
            assert whole.last >= self.last.get(name, 0)
            self.last[name] = whole.last
            assert whole.retired_fingerprints() >= self.gone.get(name, set())
            self.gone[name] = whole.retired_fingerprints()
            for record in whole.records:
                for hosts in record.units():
                    unit = (name, hosts)
                    assert unit not in held, "a unit has two records"
                    held[unit] = set(_on_hosts(record))
                    self._note(unit, limited(record, {hosts}), secrets)
        for seen in (self.keys, self.spis):
            every: list[t.Any] = [thing for found in seen.values() for thing in found]
            assert len(every) == len(set(every))
        retired = {name: {row.generation for row in whole.retired} for name, whole in known.items()}
        for unit, numbers in self.held.items():
            lost = numbers - held.get(unit, set())
            assert not lost - retired[unit[0]], "what hosts may hold is not known any more"
            assert not lost or order.state in ("promoted", "discarded", "retired", "prepared")
        self.held = held

    def _note(self, unit: Unit, record: KeyRecord, secrets: generations.Roots) -> None:
        for generation in record.generations():
            sas = generations.sas_of(generation, unit[0], secrets)
            flows = 1 if not unit[1] else 2
            assert len(sas) == flows * len(generation.settings["associations"])
            keys = frozenset(key for sa in sas for key in (sa.encryption_key, sa.authentication_key) if key)
            spis = frozenset((sa.destination, sa.spi) for sa in sas)
            place = (unit, generation.generation)
            assert self.keys.setdefault(place, keys) == keys and self.spis.setdefault(place, spis) == spis


def _on_hosts(record: KeyRecord) -> t.Iterator[int]:
    """The generations that hosts may hold."""
    if record.current is not None:
        yield record.current.generation
    if record.next is not None and record.phase in IN_USE:
        yield record.next.generation


@hypothesis.settings(max_examples=100, deadline=None)
@hypothesis.given(inventories(), st.lists(STEPS, min_size=1, max_size=12))
def test_no_history_brings_keys_back_or_loses_any(
    inventory: list[Connection], history: list[tuple[list[Connection] | None, Order, list[str], int]]
) -> None:
    store, ledger = Store(), Ledger()
    for change, order, only, store.left in history:
        inventory = change or inventory
        try:
            carry_out(store, inventory, order, only)
        except Crash:
            pass
        except IpsecError as exc:
            assert any(refusal in str(exc) for refusal in REFUSALS), exc
        store.left = -1
        ledger.audit(store, order)
    finish(store, ledger, inventory)


def finish(store: Store, ledger: Ledger, inventory: list[Connection]) -> None:
    """Plain runs end with keys of the present settings for every unit."""
    try:
        carry_out(store, inventory, Order("prepared", "me@here"))
    except IpsecError as exc:
        if "that rotate_undo took back" not in str(exc):
            assert "hosts may already use generation" in str(exc)
            order = Order("discarded", "me@here", force=True)
            known = [connection for connection in inventory if store.read(connection.name) is not None]
            carry_out(store, known, order)
            ledger.audit(store, order)
        carry_out(store, inventory, Order("prepared", "me@here", new_keys=True))
    for state in ROTATION:
        carry_out(store, inventory, Order(state, "me@here"))
        ledger.audit(store, Order(state, "me@here"))
    for connection in inventory:
        whole = store.read(connection.name)
        assert whole is not None
        present = whole.present()
        assert frozenset().union(*(record.units() for record in present)) == connection.units()
        for record in present:
            assert record.phase == "steady" and record.current is not None
            assert record.current.settings == connection.only(record.units()).settings()
