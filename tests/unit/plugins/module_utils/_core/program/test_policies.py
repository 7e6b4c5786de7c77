# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How loading a file of policies changes an SPD: which policies the file owns, and which stay."""

from __future__ import annotations

import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import IpsecError
from ansible_collections.ipsec.manual.plugins.module_utils._core.program import apply, loading, spd
from ansible_collections.ipsec.manual.plugins.module_utils._core.program import policies as change
from ansible_collections.ipsec.manual.plugins.module_utils._core.program.options import Options
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import model
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import Selector, pack_address
from ansible_collections.ipsec.manual.plugins.module_utils._core.spd import kernel
from ansible_collections.ipsec.manual.plugins.module_utils._core.spd.policy import (
    PolicyEntry,
    Template,
    build,
    identity,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.spd.text import render
from ansible_collections.ipsec.manual.tests.unit.plugins.memory import MemorySadb
from ansible_collections.ipsec.manual.tests.unit.plugins.module_utils._core.sadb.strategies import policy_sets

ONE, TWO, THREE = (
    build("out", Selector(pack_address("192.0.2.1"), 32, pack_address(f"192.0.2.{end}"), 32), [Template("esp")])
    for end in (2, 3, 4)
)


def held(*policies, complete=True):
    return [PolicyEntry(policy, number, 0, 0, complete) for number, policy in enumerate(policies)]


def kinds(steps):
    return {(step.kind, step.new or step.old) for step in steps}


def load(wanted, loaded, *there, complete=True):
    return change.change("/one", wanted, loaded, held(*there, complete=complete))


def sa(policy, **fields):
    """An SA that the policy guards."""
    return model.build("esp", 0x1001, policy.selector.destination, policy.selector.source, **fields)


def test_only_the_difference_is_loaded():
    changed = TWO._replace(priority=9)
    found = load([ONE, changed], [TWO, THREE], TWO, THREE)
    assert (kinds(found.closing), kinds(found.changing), kinds(found.leaving)) == (
        {("add", ONE)},
        {("replace", changed)},
        {("delete", THREE)},
    )
    assert set(found.outcome()) == {ONE, changed} and found.unchanged == 0
    settled = load([ONE, changed], [ONE, changed], ONE, changed)
    assert settled.operations == () and settled.unchanged == 2


def test_policies_never_loaded_from_the_file_stay():
    assert load([ONE], [], ONE, TWO).operations == ()
    assert load([], [TWO], TWO, complete=False).operations == ()
    assert kinds(change.change("/one", [ONE], [], held(ONE, TWO), True).operations) == {("delete", ONE)}


def test_a_removed_policy_is_deleted_once_even_if_it_was_changed():
    found = change.change("/one", [ONE, TWO], [ONE, THREE], held(ONE._replace(priority=3), THREE), True)
    assert (
        kinds(found.operations) == {("delete", ONE._replace(priority=3)), ("delete", THREE)} and found.outcome() == []
    )
    assert len(change.change("/one", [ONE], [ONE], held(ONE), True).operations) == 1


@pytest.mark.parametrize(
    "opened", [ONE._replace(templates=()), ONE._replace(templates=(ONE.templates[0]._replace(level="use"),))]
)
def test_policies_that_let_traffic_pass_are_closed_first(opened):
    assert kinds(load([ONE], [], opened).closing) == {("replace", ONE)}
    assert kinds(load([ONE], [], ONE._replace(action="block", templates=())).changing) == {("replace", ONE)}


def test_policies_that_guard_remaining_sas_are_kept():
    found = load([ONE], [ONE, TWO, THREE], ONE, TWO, THREE).keep_guards_of([sa(ONE), sa(TWO), sa(THREE, reqid=7)])
    assert found.kept == (TWO,) and kinds(found.leaving) == {("delete", THREE)} and set(found.outcome()) == {ONE, TWO}


@pytest.fixture(name="files")
def record_in_memory(monkeypatch):
    """Keep records in memory instead of root's files, which test_protected.py tests."""
    contents = {}
    monkeypatch.setattr(
        loading.protected, "status", lambda path: loading.protected.FileStatus(path, exists=path in contents)
    )
    monkeypatch.setattr(loading.protected, "read", contents.__getitem__)
    monkeypatch.setattr(
        loading.protected, "update", lambda path, made: contents.update({path: made(contents.get(path))})
    )
    return contents


def noted(path, policies):
    change.change(path, policies, [], []).note()


@given(policies=policy_sets(), others=st.booleans())
def test_the_record_keeps_files_apart(policies, others):
    with pytest.MonkeyPatch.context() as patch:
        record_in_memory.__wrapped__(patch)
        noted("/other", [ONE] if others else [])
        noted("/one", policies)
        assert [identity(found) for found in change.read_record("/one")] == [identity(policy) for policy in policies]
        noted("/one", [])
        assert (change.read_record("/one"), len(change.read_record("/other"))) == ([], int(others))


def test_the_record_holds_identities_only(files):
    noted("/one", [ONE])
    assert "template" not in files[change.RECORD.path].decode() and "esp" not in files[change.RECORD.path].decode()


class InterruptedSpd:
    """An SPD that takes every policy, while somebody interrupts."""

    def apply(self, dummy):
        signal.raise_signal(signal.SIGINT)  # to this thread, as to a process that has no other

    def dump(self):
        return []


def test_what_is_added_first_is_recorded_even_if_interrupted(files, monkeypatch):
    monkeypatch.setattr(change, "Spd", InterruptedSpd)
    with pytest.raises(KeyboardInterrupt):
        load([ONE], []).close()
    assert list(map(identity, change.read_record("/one"))) == [identity(ONE)]


def test_policies_loaded_alone_are_recorded_even_if_interrupted(files, monkeypatch):
    monkeypatch.setattr(kernel, "Spd", InterruptedSpd)
    monkeypatch.setattr(spd, "read_file", lambda *dummy: render([ONE]).encode())
    with pytest.raises(KeyboardInterrupt):
        spd._load("/one", Options(policies="/one"), MemorySadb())
    assert list(map(identity, change.read_record("/one"))) == [identity(ONE)]


def test_policies_are_removed_without_a_file_of_sas_that_was_never_loaded(files, monkeypatch, tmp_path, capsys):
    """They were loaded, and wait for SAs. Those that guard SAs of somebody else stay."""
    sadb, removed = MemorySadb(), []

    class There:
        def dump(self):
            return held(ONE, TWO)

    monkeypatch.setattr(apply, "open_sadb", lambda: sadb)
    monkeypatch.setattr(spd, "require_policies", lambda found: found)
    monkeypatch.setattr(kernel, "Spd", There)
    monkeypatch.setattr(change.PolicyChange, "carry_out", lambda found, *dummy: removed.extend(found.leaving))
    missing, gone = str(tmp_path / "keys"), str(tmp_path / "policies")
    options = Options(remove=missing, policies=gone)
    monkeypatch.setattr(apply, "read_file", lambda path, *dummy: files[path])
    with pytest.raises(KeyError):
        apply.apply(missing, options)
    noted(gone, [ONE, TWO])
    sadb.put(sa(TWO))
    assert apply.apply(missing, options) == 0
    assert kinds(removed) == {("delete", ONE)} and len(change.read_record(gone)) == 1
    told = capsys.readouterr().err
    assert f"{missing} does not exist" in told and "policy out 192.0.2.1/32 > 192.0.2.3/32 stays" in told


def test_only_what_a_file_can_express_is_saved(monkeypatch, capsys):
    """The others, of which one would keep the whole file from being loaded, are named."""
    tunnel = Template("esp", "tunnel", bytes(4), bytes(4), 0, 1)
    strange = [
        ONE._replace(extra=("icmp",)),
        TWO._replace(templates=(ONE.templates[0]._replace(protocol="comp"),)),
        TWO._replace(templates=(ONE.templates[0]._replace(mode="4"),)),
        TWO._replace(templates=(ONE.templates[0]._replace(spi=5),)),
        TWO._replace(direction="in", templates=(tunnel,)),
        TWO._replace(action="block"),
        TWO._replace(selector=TWO.selector._replace(destination_prefix=24)),
        TWO._replace(mark=model.Mark(0x101, 0xFF)),
    ]
    saved = {}

    class There:
        def dump(self):
            return [*held(ONE, *strange), *held(THREE, complete=False)]

    monkeypatch.setattr(kernel, "Spd", There)
    monkeypatch.setattr(spd.protected, "create", lambda path, data: saved.setdefault(path, data) is data)
    assert spd._save("/nowhere/saved") == 1
    assert saved == {"/nowhere/saved": render([ONE]).encode()}
    assert capsys.readouterr().err.count("so it was not saved") == 9


def test_policies_are_not_saved_over_a_file_that_came_meanwhile(monkeypatch):
    monkeypatch.setattr(kernel, "Spd", InterruptedSpd)
    monkeypatch.setattr(spd.protected, "create", lambda *dummy: False)
    with pytest.raises(IpsecError, match="the file exists"):
        spd._save("/nowhere/saved")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"/one": 7}', b'{"/one": [[1]]}', b'{"/one": [{"direction": "out"}]}']
)
def test_a_damaged_record_is_reported(files, content):
    files[change.RECORD.path] = content
    with pytest.raises(IpsecError, match="not a record of loaded policies"):
        change.read_record("/one")
