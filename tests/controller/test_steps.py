# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The keystore's steps, including those that are interrupted between any two system calls."""

from __future__ import annotations

import copy
import itertools
import json
import multiprocessing
import os
import pathlib
import shutil
import tempfile
import typing as t

import hypothesis
import pytest
from hypothesis import strategies as st

import ansible.parsing.vault
from ansible.parsing.vault import VaultSecret

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import IpsecError
from ansible_collections.ipsec.manual.plugins.module_utils._core.files import atomic
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import model
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.algorithms import BY_NAME
from ansible_collections.ipsec.manual.plugins.module_utils._core.text import language
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.model import Connection
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.reader import read_connections
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore import (
    directory as directories,
)
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore import (
    generations,
    identity,
    single_keys,
)
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore import (
    lease as leases,
)
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore import (
    records as _records,
)
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore import (
    steps as _steps,
)
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.directory import Keystore
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.lease import Runner
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.records import ConnectionRecord, KeyRecord
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.steps import Order
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.vault import Vault
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.run import choose
from ansible_collections.ipsec.manual.tests.unit.plugins.generations import limited

CONNECTIONS = read_connections(
    [
        {"name": "pair", "endpoints": {"a": "192.0.2.1", "b": "192.0.2.2"}},
        {
            "name": "link",
            "endpoints": {"a": "2001:db8::1", "b": "2001:db8::2"},
            "multicast": ["ff02::5"],
            "associations": [{"protocol": "ah"}],
        },
        {"name": "mesh", "endpoints": {"a": "198.51.100.1", "b": "198.51.100.2", "c": "198.51.100.3"}},
    ]
)
SECRET = [("default", VaultSecret(b"correct horse"))]
ME = Runner.of(os.getpid())
NUMBERS = itertools.count(1)

# A unit.
PAIR = ("pair", ("a", "b"))
# What a run can work on: everything, a pair, or what a host shares with others.
CHOICES = ((), (), (), ("mesh/a,b",), ("c",), ("pair", "mesh/c"))

# What a run can request, in the order of a rotation and in any other.
PREPARE = Order("prepared", "me@here", new_keys=True)
ORDERS = [
    PREPARE,
    PREPARE._replace(new_keys=False),
    PREPARE._replace(new_keys=False, renew=frozenset(["link"])),
    PREPARE._replace(store="derived"),
    PREPARE._replace(store="derived", new_root=True),
    PREPARE._replace(store="random"),
    Order("switching", "me@here"),
    Order("promoted", "me@here"),
    Order("discarded", "me@here", force=True),
    Order("retired", "me@here"),
    Order("retiring", "me@here"),
]


class Crash(BaseException):
    """The power has failed."""


class Machine:
    """The module ``os`` until the power fails: before call number ``crash_at`` of those
    that change something, or after the first half of a write.
    """

    CHANGES = frozenset(
        {
            "open",
            "write",
            "fsync",
            "close",
            "replace",
            "rename",
            "mkdir",
            "makedirs",
            "unlink",
            "rmdir",
            "ftruncate",
            "pwrite",
        }
    )

    def __init__(self, crash_at: int = 0) -> None:
        self.crash_at = crash_at
        self.count = 0
        self.off = False

    def __getattr__(self, name: str) -> t.Any:
        genuine = getattr(os, name)
        return self._switched(name, genuine) if name in self.CHANGES else genuine

    def _switched(self, name: str, genuine: t.Callable[..., t.Any]) -> t.Callable[..., t.Any]:
        def call(*arguments: t.Any, **options: t.Any) -> t.Any:
            self.count += 1
            if not self.off and self.count == self.crash_at:
                self.off = True
                if name == "write":
                    genuine(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
            if self.off:
                if name == "close":  # the kernel closes the files of a process and releases its locks
                    genuine(*arguments)
                raise Crash
            return genuine(*arguments, **options)

        return call


@pytest.fixture(autouse=True)
def quick_vault(monkeypatch: pytest.MonkeyPatch) -> None:
    """One round of PBKDF2 instead of 10,000. The rest of Ansible Vault is real."""
    genuine = ansible.parsing.vault.PBKDF2HMAC
    monkeypatch.setattr(ansible.parsing.vault, "PBKDF2HMAC", lambda **options: genuine(**{**options, "iterations": 1}))


def run(
    directory: str,
    order: Order,
    machine: Machine | None = None,
    runner: Runner | None = None,
    only: t.Sequence[str] = (),
    connections: t.Sequence[Connection] = CONNECTIONS,
) -> _steps.Transition:
    """Do what the action does, as a separate process from the lock's point of view."""
    chosen, order = choose(connections, {"a"}, only), order._replace(known=tuple(connections))
    store = Keystore(directory, Vault(SECRET))
    runner = runner or ME._replace(started=str(next(NUMBERS)))
    with pytest.MonkeyPatch.context() as patch:
        for module in (atomic, directories, leases):
            patch.setattr(module, "os", machine or os)
        store.make_directory()
        with store.lock(runner) as lease:
            assert lease is not None
            step = _steps.carry_out(store, chosen, order)
            if order.state in ("prepared", "switching", "retiring"):
                lease.take(runner)
            else:
                lease.release()
    return step


# The name of a connection, and the hosts.
Unit = t.Tuple[str, t.Tuple[str, ...]]


def record_of(store: Keystore, name: str) -> KeyRecord:
    """The record of a connection that has one unit."""
    whole = store.read(name)
    assert whole is not None
    (record,) = whole.records
    return record


class Ledger:
    """Everything that was ever seen in a keystore, and the invariants, unit by unit."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.keys: dict[tuple[Unit, int], frozenset[bytes]] = {}
        self.spis: dict[tuple[Unit, int], frozenset[tuple[bytes, int]]] = {}
        self.records: dict[Unit, KeyRecord] = {}
        self.retired: dict[str, set[int]] = {}

    def copy(self, directory: pathlib.Path) -> Ledger:
        """The same for a copy of the keystore."""
        shutil.copytree(pathlib.Path(self.directory).parent, directory)
        other = copy.deepcopy(self)
        other.directory = str(directory / pathlib.Path(self.directory).name)
        return other

    def audit(self, order: Order | None = None) -> None:
        store = Keystore(self.directory, Vault(SECRET))
        roots = store.read_roots()
        connections = store.read_all()
        generations.verify(connections, store.path, roots.secrets())
        units = self.units(connections.values())
        for unit in {*units, *self.records}:
            whole = connections[unit[0]]
            # A unit whose only generation was discarded has no record; others may hold what it retired.
            record = units.get(unit) or KeyRecord(unit[0], last=whole.last, retired=whole.retired)
            for generation in record.generations():
                self._note(unit, generation, roots.secrets())
            self._succeed(self.records.get(unit, KeyRecord(unit[0])), record, order)
            units[unit] = units.get(unit) or KeyRecord(unit[0], last=whole.last)
        self.records = units
        retired = {name: {row.generation for row in whole.retired} for name, whole in connections.items()}
        assert all(retired[name] >= gone for name, gone in self.retired.items())
        self.retired = retired
        assert len(self._all(self.keys)) == sum(map(len, self.keys.values()))
        assert len(self._all(self.spis)) == sum(map(len, self.spis.values()))
        self._look_for_plaintext(roots.secrets().values())
        texts = [store.read_text(path.stem) or "" for path in pathlib.Path(self.directory).glob("*.yml")]
        assert len(set(map(identity.found_in, texts))) <= 1

    @staticmethod
    def units(connections: t.Iterable[ConnectionRecord]) -> dict[Unit, KeyRecord]:
        found = {
            (whole.connection, unit): limited(record, {unit})
            for whole in connections
            for record in whole.records
            for unit in record.units()
        }
        assert len(found) == sum(len(record.units()) for whole in connections for record in whole.records)
        return found

    @staticmethod
    def _all(found: t.Mapping[t.Any, frozenset[t.Any]]) -> set[t.Any]:
        return set().union(*found.values())

    def _note(self, unit: Unit, generation: _records.Generation, roots: generations.Roots) -> None:
        """A number never names two generations, and splitting and joining records changes no key or SPI."""
        sas = generations.sas_of(generation, unit[0], roots)
        keys = frozenset(key for sa in sas for key in (sa.encryption_key, sa.authentication_key) if key)
        spis = frozenset((sa.destination, sa.spi) for sa in sas)
        assert self.keys.setdefault((unit, generation.generation), keys) == keys
        assert self.spis.setdefault((unit, generation.generation), spis) == spis

    @staticmethod
    def _succeed(before: KeyRecord, after: KeyRecord, order: Order | None) -> None:
        """How a step may change a record, whether it was interrupted or not."""
        number = {
            which: generation.generation if generation else 0
            for which in ("current", "next")
            for generation in [before.pick(which)]
        }
        current = after.current.generation if after.current else 0
        following = after.next.generation if after.next else 0
        gone = {row.generation for row in after.retired}
        assert gone >= {row.generation for row in before.retired} and after.last >= before.last
        assert after.retired_fingerprints() >= before.retired_fingerprints()
        if current != number["current"]:
            assert order is not None and order.state == "promoted" and current == number["next"] and not following
            assert after.previous is not None or before.current is None
        elif following != number["next"] and number["next"]:
            assert (
                number["next"] in {row.generation for row in after.retired}
                and order is not None
                and order.state in ("discarded", "prepared")
            )
        assert not gone & {current, following} - {0}

    def _look_for_plaintext(self, roots: t.Iterable[bytes]) -> None:
        secrets = [*self._all(self.keys), *roots]
        for path in pathlib.Path(self.directory).parent.rglob("*"):
            if path.is_dir():
                continue
            data = path.read_bytes()
            assert not any(secret in data or secret.hex().encode() in data for secret in secrets)
            if path.name not in (".lock", ".gitignore"):
                header = b"$ANSIBLE_VAULT;1.1;AES256\n"
                assert data[: len(header)] == header[: len(data)] and not set(data[len(header) :]) - set(
                    b"0123456789abcdef\n"
                )
                assert path.stat().st_mode & 0o777 == 0o600


@pytest.fixture
def ledger(tmp_path: pathlib.Path) -> Ledger:
    return Ledger(str(tmp_path / "store" / "keystore"))


ROTATION = ("switching", "retiring", "promoted")


@pytest.mark.parametrize("crashed", range(11))
def test_every_step_survives_a_crash_between_any_two_calls(tmp_path: pathlib.Path, crashed: int) -> None:
    """One step of a long history is interrupted before each of its calls in turn. The next run
    completes it, and the history continues.
    """
    history = [ORDERS[index] for index in (0, 5, 9, 6, 3, 5, 9, 6, 8, 0, 7)]
    before = Ledger(str(tmp_path / "before" / "keystore"))
    (tmp_path / "before").mkdir()
    for order in history[:crashed]:
        run(before.directory, order)
        before.audit(order)
    for crash_at in itertools.count(1):
        ledger = before.copy(tmp_path / f"{crash_at}")
        machine = Machine(crash_at)
        try:
            run(ledger.directory, history[crashed], machine)
        except Crash:
            ledger.audit(history[crashed])
        for order in history[crashed:]:
            run(ledger.directory, order)
            ledger.audit(order)
        assert not list(pathlib.Path(ledger.directory).glob(".*.new"))
        if not machine.off:
            # It ended before the power failed: every call has been tried.
            assert crash_at > 4
            break


@hypothesis.settings(
    max_examples=60, deadline=None, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
@hypothesis.given(
    st.lists(st.tuples(st.sampled_from(ORDERS), st.sampled_from(CHOICES), st.integers(0, 24)), min_size=1, max_size=12)
)
def test_any_sequence_of_steps_and_crashes_preserves_the_invariants(
    steps: list[tuple[Order, tuple[str, ...], int]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(os.path.join(folder, "keystore"))
        for order, only, crash_at in steps:
            try:
                run(ledger.directory, order, Machine(crash_at), only=only)
            except Crash:
                pass
            except IpsecError as exc:
                assert "has no keystore file" in str(exc) or "none of the connections derives" in str(exc)
            ledger.audit(order)
        for state in ("prepared", *ROTATION):
            run(ledger.directory, Order(state, "me@here"))
            ledger.audit(Order(state, "me@here"))
        assert len(ledger.records) == 5
        for record in ledger.records.values():
            assert record.phase == "steady" and record.current is not None and record.next is None


def test_a_file_is_synced_before_it_is_renamed_and_its_directory_after(tmp_path: pathlib.Path) -> None:
    """Only synced data survives a power failure, so the order of the calls matters."""
    calls: list[tuple[str, str]] = []

    class Recorder(Machine):
        def _switched(self, name: str, genuine: t.Callable[..., t.Any]) -> t.Callable[..., t.Any]:
            def call(*arguments: t.Any, **options: t.Any) -> t.Any:
                about = (
                    os.readlink(f"/proc/self/fd/{arguments[0]}") if isinstance(arguments[0], int) else str(arguments[0])
                )
                calls.append((name, os.path.basename(about)))
                return genuine(*arguments, **options)

            return call

    run(str(tmp_path / "keystore"), PREPARE._replace(store="derived"), Recorder())
    renames = [(index, name) for index, (call, name) in enumerate(calls) if call == "replace"]
    assert [name.split(".")[1] for dummy, name in renames] == ["_keystore", "_root", "pair", "link", "mesh"]
    for index, name in renames:
        before = [call for call, about in calls[:index] if about == name]
        assert before[-2:] == ["fsync", "close"] and before[-3] == "write"
        assert ("fsync", "keystore") in calls[index + 1 :]


def attempt(directory: str, rounds: int, start: t.Any, results: t.Any) -> None:
    """Another controller process: rotate as often as the lease allows."""
    done, refused = 0, 0
    start.wait()
    runner = Runner.of(os.getpid())
    for dummy in range(rounds):
        try:
            for order in (PREPARE, Order("switching", "me@here"), Order("promoted", "me@here")):
                run(directory, order, runner=runner)
            done += 1
        except IpsecError as exc:
            refused += "another run (process" in str(exc)
    results.put((done, refused))


def test_two_controllers_at_once_take_turns_or_are_refused(ledger: Ledger) -> None:
    context = multiprocessing.get_context("fork")
    start, results = context.Barrier(3), context.Queue()
    processes = [context.Process(target=attempt, args=(ledger.directory, 8, start, results)) for dummy in range(3)]
    for process in processes:
        process.start()
    outcomes = [results.get(timeout=120) for dummy in processes]
    for process in processes:
        process.join()
    assert sum(done + refused for done, refused in outcomes) == 24
    ledger.records = ledger.units(Keystore(ledger.directory, Vault(SECRET)).read_all().values())
    ledger.audit()
    record = ledger.records[PAIR]
    assert (
        record.current is not None
        and record.last == record.current.generation == sum(done for done, dummy in outcomes) > 0
    )


def test_an_unreadable_file_stops_every_step_and_is_kept(ledger: Ledger) -> None:
    run(ledger.directory, PREPARE)
    folder = pathlib.Path(ledger.directory)
    whole = {path: path.read_bytes() for path in folder.glob("*.yml")}
    path = folder / "link.yml"
    for damage in (
        b"",
        b"x",
        whole[path][:200],
        whole[path][:-2],
        whole[path].replace(b"AES256", b"AES512", 1),
        b"format: 1\n",
    ):
        path.write_bytes(damage)
        for order in (
            PREPARE,
            Order("switching", "me@here"),
            Order("promoted", "me@here"),
            Order("discarded", "me@here"),
        ):
            with pytest.raises(IpsecError, match=r"link\.yml"):
                run(ledger.directory, order)
            assert path.read_bytes() == damage and (folder / "pair.yml").read_bytes() == whole[folder / "pair.yml"]


def test_a_key_that_was_retired_in_one_connection_is_refused_in_another(ledger: Ledger) -> None:
    for order in (PREPARE, Order("promoted", "me@here"), PREPARE, Order("promoted", "me@here")):
        run(ledger.directory, order)
    store = Keystore(ledger.directory, Vault(SECRET))
    pair = record_of(store, "pair")
    assert pair.current is not None and pair.previous is not None
    stolen = KeyRecord("other", last=1, current=pair.previous._replace(generation=1))
    store.write(ConnectionRecord.of(stolen))
    with pytest.raises(
        IpsecError,
        match=r"other\.yml: generation 1 of connection other holds a key that was retired in connection pair",
    ):
        run(ledger.directory, PREPARE)
    store.write(ConnectionRecord.of(stolen._replace(current=pair.current._replace(generation=1))))
    with pytest.raises(IpsecError, match="holds a key that connection (pair|other) has too"):
        run(ledger.directory, PREPARE)


def text_of(fields: t.Mapping[str, t.Any]) -> str:
    return "".join(f"{name}: {json.dumps(value)}\n" for name, value in fields.items())


def test_a_retired_key_of_a_connection_is_refused_as_a_single_key(ledger: Ledger) -> None:
    for order in (PREPARE, Order("promoted", "me@here"), PREPARE, Order("promoted", "me@here")):
        run(ledger.directory, order)
    store = Keystore(ledger.directory, Vault(SECRET))
    record = record_of(store, "pair")
    assert record.current is not None and record.previous is not None
    key = single_keys.remembered(store, "own", BY_NAME["aes-cbc"], 256)
    run(ledger.directory, PREPARE)
    path = pathlib.Path(store.path("_key.own"))
    for text, message in (
        (record.previous.sas, r"_key\.own\.yml: the key own was retired in connection pair"),
        (record.current.sas, r"pair\.yml: generation 2 of connection pair holds the key that is remembered as own"),
        (
            f"add esp spi 0x1000 dst 192.0.2.1 encr_alg aes-cbc encrkey {key.hex()}",
            r"_key\.own\.yml: the key own is also remembered as copy",
        ),
    ):
        again, *dummy = language.parse(text).sas
        fields = {
            "format": 1,
            "name": "own",
            "algorithm": "aes-cbc",
            "created": "",
            "created_by": "",
            "key": again.encryption_key.hex(),
        }
        store.write_texts({"_key.own": text_of(fields)})
        if "copy" in message:
            store.write_texts({"_key.copy": text_of({**fields, "name": "copy"})})
        before = path.read_bytes()
        with pytest.raises(IpsecError, match=message) as caught:
            run(ledger.directory, PREPARE)
        assert again.encryption_key.hex() not in str(caught.value) and path.read_bytes() == before


def test_a_removed_connection_loses_its_keys_but_not_their_fingerprints(ledger: Ledger) -> None:
    for order in (PREPARE, Order("promoted", "me@here"), PREPARE, Order("switching", "me@here")):
        run(ledger.directory, order)
    store = Keystore(ledger.directory, Vault(SECRET))
    ended = Order("retired", "me@here", ended=("pair",))
    with pytest.raises(IpsecError, match="hosts may already use generation 2 of connection pair"):
        _steps.carry_out(store, [], ended)
    _steps.carry_out(store, [], ended._replace(force=True))
    whole = store.read("pair")
    assert whole is not None and not whole.records
    assert [(row.generation, row.reason) for row in whole.retired] == [(1, "retired"), (2, "retired")]
    assert whole.last == 2
    run(ledger.directory, PREPARE)
    again = record_of(store, "pair")
    assert again.next is not None and again.next.generation == 3


def outcomes(step: _steps.Transition) -> dict[str, str]:
    """What was done for each connection, all of whose units fared alike."""
    found = {}
    for name, outcome in step.outcomes.items():
        ((found[name]),) = {part.outcome for part in outcome.parts}
    return found


def test_new_keys_for_named_connections_leave_the_others_alone(ledger: Ledger) -> None:
    for order in (PREPARE, Order("promoted", "me@here")):
        run(ledger.directory, order)
    renewing = Order("prepared", "me@here", renew=frozenset(["link", "nobody"]))
    step = run(ledger.directory, renewing)
    assert outcomes(step) == {"pair": "kept", "link": "made", "mesh": "kept"}
    again = run(ledger.directory, renewing)
    assert outcomes(again) == {"pair": "kept", "link": "resumed", "mesh": "kept"}


def test_an_undo_makes_new_keys_and_is_remembered(tmp_path: pathlib.Path) -> None:
    store = Keystore(str(tmp_path), Vault(SECRET))
    store.make_directory()
    (old,) = read_connections([{"name": "pair", "endpoints": {"a": "192.0.2.1", "b": "192.0.2.2"}}])
    new = old._replace(reqid=7)

    def rotate(connection: t.Any, **order: t.Any) -> str:
        step = _steps.carry_out(store, [connection], Order("prepared", "me@here", **order))
        for state in ("switching", "retiring", "promoted"):
            _steps.carry_out(store, [connection], Order(state, "me@here"))
        return outcomes(step)["pair"]

    assert [rotate(old), rotate(new), rotate(old, undo=True), rotate(old, undo=True)] == [
        "made",
        "made",
        "made",
        "kept",
    ]
    record = record_of(store, "pair")
    assert record.current is not None and record.current.generation == 3
    assert record.current.settings == old.settings() and record.current.undone == new.settings()
    assert record.retired_fingerprints().isdisjoint(generations.fingerprints_of(record.current, "pair", {}))
    for order in ({}, {"renew": frozenset(["pair"])}):
        with pytest.raises(IpsecError, match="still has the settings that rotate_undo took back"):
            rotate(new, **order)
    assert rotate(old) == "kept" and rotate(new, new_keys=True) == "made"
    assert rotate(new) == "kept"


def test_retiring_erases_the_previous_keys_alone(ledger: Ledger) -> None:
    for order in (PREPARE, Order("promoted", "me@here"), PREPARE, Order("promoted", "me@here")):
        run(ledger.directory, order)
    before = record_of(Keystore(ledger.directory, Vault(SECRET)), "pair")
    assert before.previous is not None
    assert (
        run(ledger.directory, Order("retired", "me@here")).changed
        and not run(ledger.directory, Order("retired", "me@here")).changed
    )
    assert record_of(Keystore(ledger.directory, Vault(SECRET)), "pair") == before._replace(previous=None)


def test_generations_continue_from_random_to_derived_keys_and_back(ledger: Ledger) -> None:
    kinds = []
    for store in ("random", "derived", "", "random", ""):
        for order in (
            Order("prepared", "me@here", store=store),
            Order("switching", "me@here"),
            Order("promoted", "me@here"),
        ):
            run(ledger.directory, order)
            ledger.audit(order)
        current = ledger.records[PAIR].current
        assert current is not None
        kinds.append((current.generation, current.store, bool(current.root), bool(current.sas)))
    assert kinds == [
        (1, "random", False, True),
        (2, "derived", True, False),
        (2, "derived", True, False),
        (3, "random", False, True),
        (3, "random", False, True),
    ]


def test_a_new_root_secret_comes_with_a_rotation_and_the_old_one_is_erased_when_unused(ledger: Ledger) -> None:
    derived = Order("prepared", "me@here", store="derived")
    store = Keystore(ledger.directory, Vault(SECRET))
    seen = []
    for prepare in (derived, derived._replace(new_root=True), derived._replace(new_keys=True)):
        for order in (prepare, prepare, Order("switching", "me@here"), Order("promoted", "me@here")):
            run(ledger.directory, order)
            ledger.audit(order)
        store = Keystore(ledger.directory, Vault(SECRET))
        roots = store.read_roots()
        current = ledger.records[PAIR].current
        assert current is not None and roots.newest is not None and current.root == roots.newest.fingerprint
        seen.append((current.generation, len(roots.roots), len(roots.retired)))
    # The previous generation needs the old one until it is replaced.
    assert seen == [(1, 1, 0), (2, 2, 0), (3, 1, 1)]
    with pytest.raises(IpsecError, match="none of the connections derives its keys"):
        run(ledger.directory, Order("prepared", "me@here", store="random", new_root=True))


def test_a_root_secret_that_is_missing_or_damaged_is_named(ledger: Ledger) -> None:
    run(ledger.directory, Order("prepared", "me@here", store="derived"))
    path = pathlib.Path(ledger.directory, "_root.yml")
    store = Keystore(ledger.directory, Vault(SECRET))
    roots = store.read_roots()
    (root,) = roots.roots
    store.write(roots=roots._replace(roots=(root._replace(secret=bytes(32)),)))
    with pytest.raises(
        IpsecError, match=rf"_root\.yml: the root secret {root.fingerprint} is damaged, or was retired"
    ) as caught:
        run(ledger.directory, PREPARE)
    assert root.secret.hex() not in str(caught.value)
    store.write_texts({"_root": "format: 1\n"})
    with pytest.raises(IpsecError, match="holds no root secrets of this collection"):
        run(ledger.directory, PREPARE)
    path.unlink()
    with pytest.raises(
        IpsecError, match=f"comes from the root secret {root.fingerprint}, which the keystore does not have"
    ):
        run(ledger.directory, PREPARE)


def test_the_restored_copy_of_a_derived_connection_does_not_bring_its_keys_back(ledger: Ledger) -> None:
    """Generation 1 exists twice with the same root secret, but with another salt and other keys."""
    run(ledger.directory, Order("prepared", "me@here", store="derived"))
    store = Keystore(ledger.directory, Vault(SECRET))
    roots = store.read_roots().secrets()

    def keys() -> set[bytes]:
        record = record_of(store, "pair")
        assert record.next is not None and record.next.generation == 1
        return {sa.encryption_key for sa in generations.sas_of(record.next, "pair", roots)}

    first = keys()
    pathlib.Path(store.path("pair")).unlink()
    run(ledger.directory, Order("prepared", "me@here", store="derived"))
    assert not first & keys()


def test_a_group_shares_one_sa_towards_every_address(ledger: Ledger) -> None:
    """RFC 4552 section 7: all systems on a link have the same SPI and key, for sending and receiving."""
    for store in ("random", "derived"):
        run(ledger.directory, Order("prepared", "me@here", store=store))
        record = record_of(Keystore(ledger.directory, Vault(SECRET)), "link")
        roots = Keystore(ledger.directory, Vault(SECRET)).read_roots().secrets()
        assert record.next is not None and record.next.store == store
        per_host = [generations.sas_of(record.next, "link", roots, host) for host in ("", "a", "b")]
        assert per_host[0] == per_host[1] == per_host[2] and len(per_host[0]) == 1
        assert (
            model.is_unspecified(per_host[0][0].source)
            and model.format_address(per_host[0][0].destination) == "ff02::5"
        )
