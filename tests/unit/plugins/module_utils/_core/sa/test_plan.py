# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The planner compared with a model: a SADB is a dictionary, and applying a plan must give the dictionary
that the state describes.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import IpsecError
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import plan as planner
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.digest import digest
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import (
    INBOUND,
    OUTBOUND,
    Counters,
    Entry,
    Mark,
    build,
    identity,
    label,
    pack_address,
)

HOSTS = [
    pack_address(text) for text in ("192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1", "2001:db8::2", "224.0.0.5")
]
MINE = HOSTS[0]
PEER = HOSTS[1]
OTHER = HOSTS[2]


def key_of(number, size=32):
    return bytes([number, 255 - number]) * (size // 2)


def sa_of(spi, source=MINE, destination=PEER, key=1, protocol="esp", **fields):
    if protocol == "ah":
        return build(
            "ah", spi, destination, source, authentication="hmac-sha256", authentication_key=key_of(key), **fields
        )
    return build(
        "esp",
        spi,
        destination,
        source,
        "aes-cbc",
        "hmac-sha256",
        encryption_key=key_of(key),
        authentication_key=key_of(key + 100),
        **fields,
    )


def held(*sas, larval=False):
    return [Entry(sa, Counters(), larval) for sa in sas]


def hides(there, new):
    """Whether Linux treats a new SA as the existing one: same protocol, destination and SPI,
    and its mark matches under the other's mask.
    """
    mark, new_mark = there.mark or Mark(0, 0), new.mark or Mark(0, 0)
    return identity(there)[:3] == identity(new)[:3] and new_mark.value & new_mark.mask & mark.mask == mark.value


def entries_after(entries, operations):
    """The entries of a kernel after the operations. Refuses what a kernel would refuse, and that it
    deletes another SA: it looks at the newest first.
    """
    rows = {identity(entry.sa): entry.sa for entry in entries}
    for operation in operations:
        if operation.old is not None:
            deleted = next(sa for sa in reversed(list(rows.values())) if hides(sa, operation.old.sa))
            assert deleted == operation.old.sa
            del rows[identity(deleted)]
        if operation.new is not None:
            assert not [sa for sa in rows.values() if hides(sa, operation.new)], "EEXIST"
            rows[identity(operation.new)] = operation.new
    return rows


def in_use(desired, existing):
    return {identity(sa)[:3] for sa in desired} & {identity(sa)[:3] for sa in existing}


sas = st.builds(
    sa_of,
    st.integers(256, 260),
    st.sampled_from(HOSTS[:2]),
    st.sampled_from(HOSTS[:3]),
    st.integers(1, 3),
    st.sampled_from(["esp", "ah"]),
    reqid=st.sampled_from([0, 0, 0, 7]),
    mark=st.sampled_from([None, None, Mark(1)]),
    replay_window=st.sampled_from([0, 32]),
)
sets = st.lists(sas, max_size=12, unique_by=lambda sa: identity(sa)[:3])


@given(
    sets,
    sets,
    st.sampled_from([planner.PRESENT, planner.EXACT, planner.ABSENT, planner.FLUSHED]),
    st.sampled_from([planner.PEERS, planner.PROTOCOL, planner.ALL]),
    st.sampled_from([frozenset(), frozenset([MINE])]),
)
def test_a_plan_leads_to_the_described_state(desired, existing, state, scope, local):
    entries = held(*existing)
    try:
        made = planner.plan(desired, entries, state, scope, local=local)
    except IpsecError:
        assert in_use(desired, existing) and scope != planner.ALL
        return
    after = entries_after(entries, made.operations)
    wanted = {identity(sa): sa for sa in desired}
    if state in (planner.PRESENT, planner.EXACT):
        assert all(after.get(key) == sa for key, sa in wanted.items())
    if state == planner.PRESENT:
        assert not made.count(planner.DELETE)
    reach = [sa for sa in existing if sa in planner.in_scope(existing, desired, scope)]
    if state == planner.EXACT:
        assert not [sa for sa in reach if identity(sa) in after and identity(sa) not in wanted]
    if state == planner.FLUSHED:
        assert not [sa for sa in reach if identity(sa) in after]
    if state == planner.ABSENT:
        owners = {(sa.reqid, sa.mark, sa.if_id) for sa in desired}
        left = [sa for sa in existing if identity(sa) in wanted and identity(sa) in after]
        assert not [sa for sa in left if (sa.reqid, sa.mark, sa.if_id) in owners and scope != planner.ALL]
    untouched = [sa for sa in existing if sa not in reach and identity(sa) not in wanted and scope != planner.ALL]
    assert all(after.get(identity(sa)) == sa for sa in untouched)
    again = planner.plan(desired, held(*after.values()), state, scope, local=local)
    assert again.operations == ()


@given(sets, sets)
def test_plans_for_both_directions_add_up(desired, existing):
    local = frozenset([MINE])
    desired = [sa for sa in desired if planner.direction_of(sa, local)]
    entries = held(*existing)
    try:
        for direction in (INBOUND, OUTBOUND):
            made = planner.plan(desired, entries, planner.PRESENT, direction=direction, local=local)
            assert all(planner.direction_of(step.new, local) == direction for step in made.operations)
            entries = held(*entries_after(entries, made.operations).values())
        assert planner.plan(desired, entries, planner.PRESENT).operations == ()
    except IpsecError:
        assert in_use(desired, existing)


def test_the_order_is_inbound_outbound_then_old_outbound_old_inbound():
    new = [sa_of(300, key=5), sa_of(301, PEER, MINE, 6)]
    old = held(sa_of(400, PEER, MINE, 7), sa_of(401, key=8))
    steps = planner.plan(new, old, planner.EXACT, local=frozenset([MINE])).operations
    assert [(step.kind, (step.new or step.old.sa).spi) for step in steps] == [
        ("add", 301),
        ("add", 300),
        ("delete", 401),
        ("delete", 400),
    ]


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({"key": 9}, ("encryption_key", "authentication_key")),
        ({"source": OTHER}, ("source",)),
        ({"mode": "tunnel"}, ("mode",)),
        ({"replay_window": 32}, ("replay_window",)),
    ],
)
def test_a_different_sa_is_replaced_and_its_fields_are_named_without_values(change, fields):
    (step,) = planner.plan([sa_of(300, **change)], held(sa_of(300)), planner.PRESENT).operations
    assert (step.kind, step.fields) == (planner.REPLACE, fields)
    assert key_of(9).hex() not in str(step) and ", ".join(fields) in str(step)


def test_hidden_keys_are_not_compared():
    blank = sa_of(300)._replace(encryption_key=bytes(32), authentication_key=bytes(32))
    assert planner.plan([sa_of(300)], held(blank), planner.EXACT, keys_hidden=True).unchanged == 1


def test_des_parity_is_ignored():
    printed = bytes.fromhex("d41fb74470271826a8e7a80d343cc5aae9e2a7f05f13730d")
    stored = bytes.fromhex("d51fb64570261926a8e6a80d343dc4abe9e3a7f15e13730d")
    wanted = build("esp", 0x8BCD1407, PEER, MINE, "3des-cbc", encryption_key=printed)
    assert planner.differences(wanted, wanted._replace(encryption_key=stored)) == ()
    assert planner.differences(wanted, wanted._replace(encryption_key=b"\x10" + stored[1:])) == ("encryption_key",)


def test_a_direction_that_the_kernel_does_not_report_is_not_a_difference():
    assert planner.differences(sa_of(300, direction="inbound"), sa_of(300)) == ()
    assert planner.differences(sa_of(300, direction="inbound"), sa_of(300, direction="outbound")) == ("direction",)


@pytest.mark.parametrize("wanted", ["", "inbound", "outbound"])
@pytest.mark.parametrize("shown", ["", "inbound", "outbound"])
@pytest.mark.parametrize("window", [0, 32])
def test_a_direction_that_the_kernel_reports_is_a_difference(wanted, shown, window):
    desired, actual = sa_of(300, direction=wanted, replay_window=window), sa_of(
        300, direction=shown, replay_window=window
    )
    # Linux binds no outbound SA that has a window.
    bound = "" if wanted == "outbound" and window and shown != wanted else wanted
    differs = ("direction",) if bound != shown else ()
    assert planner.differences(desired, actual, tells_directions=True) == differs
    made = planner.plan([desired], held(actual), planner.PRESENT, tells_directions=True)
    assert [step.fields for step in made.operations] == ([differs] if differs else [])


@pytest.mark.parametrize("fields", [{"reqid": 7}, {"mark": Mark(5)}, {"if_id": 3}])
def test_an_exact_set_keeps_and_counts_foreign_sas(fields):
    foreign = sa_of(500, **fields)
    made = planner.plan([sa_of(300)], held(foreign), planner.EXACT)
    assert (made.foreign, made.count(planner.DELETE)) == (1, 0)
    assert planner.plan([sa_of(300)], held(foreign), planner.EXACT, scope=planner.ALL).count(planner.DELETE) == 1


def test_an_unwanted_sa_with_our_reqid_is_removed():
    made = planner.plan([sa_of(300, reqid=7)], held(sa_of(500, reqid=7, key=4)), planner.EXACT)
    assert made.count(planner.DELETE) == 1


def test_an_identity_in_use_by_another_owner_is_refused():
    foreign = sa_of(300, reqid=7, key=4)
    with pytest.raises(IpsecError) as caught:
        planner.plan([sa_of(300)], held(foreign), planner.EXACT)
    assert "reqid 7" in str(caught.value) and label(foreign) in str(caught.value)
    assert planner.plan([sa_of(300)], held(foreign), planner.PRESENT, take_over=True).count(planner.REPLACE) == 1


def test_a_reservation_without_an_spi_is_left_to_expire():
    larval = build("esp", 0, PEER, MINE)
    made = planner.plan([], held(larval, larval=True), planner.FLUSHED, scope=planner.ALL)
    assert made == planner.Plan((), 0, 1)


def test_a_set_for_one_direction_refuses_an_sa_that_goes_neither_way():
    astray = sa_of(300, HOSTS[3], HOSTS[4])
    with pytest.raises(IpsecError, match="neither inbound nor outbound"):
        planner.plan([astray], [], planner.PRESENT, direction=OUTBOUND, local=frozenset([MINE]))


def test_the_pairs_of_another_set_belong_to_the_scope():
    new = held(sa_of(300), sa_of(301, PEER, MINE, 6))
    made = planner.plan([], new, planner.EXACT, scope_sas=[entry.sa for entry in new])
    assert made.count(planner.DELETE) == 2


def test_peers_have_equal_digests_only_if_their_sas_are_equal():
    mine = [sa_of(300), sa_of(301, PEER, MINE, 6)]
    same = [sa._replace(replay_window=32, reqid=9) for sa in reversed(mine)]
    assert digest(mine) == digest(same)
    assert list(digest(mine)) == ["192.0.2.1|192.0.2.2"]
    assert digest(mine) != digest([mine[0], sa_of(301, PEER, MINE, 7)])
    assert digest(mine) != digest(mine[:1])


def test_a_digest_without_a_secret_omits_short_keys():
    one, other = (sa_of(300)._replace(encryption="des-cbc", encryption_key=key_of(number, 8)) for number in (3, 7))
    assert digest([one]) == digest([other])
    secret = bytes(range(32))
    assert digest([one], secret) != digest([other], secret)


def test_a_digest_depends_on_its_secret():
    mine = [sa_of(300), sa_of(301, PEER, MINE, 6)]
    found = digest(mine, bytes(range(32)))["192.0.2.1|192.0.2.2"]
    assert len(found) == 32 and int(found, 16) >= 0
    assert digest(list(reversed(mine)), bytes(range(32))) == {"192.0.2.1|192.0.2.2": found}
    assert digest(mine, bytes(range(1, 33)))["192.0.2.1|192.0.2.2"] != found
    assert digest([mine[0], sa_of(301, PEER, MINE, 7)], bytes(range(32)))["192.0.2.1|192.0.2.2"] != found


@given(st.binary(min_size=8, max_size=8))
def test_parity_does_not_change_a_digest(key):
    one = sa_of(300)._replace(encryption="des-cbc", encryption_key=key)
    other = one._replace(encryption_key=bytes(byte ^ 1 for byte in key))
    assert digest([one], bytes(32)) == digest([other], bytes(32))


ANY = bytes(4)


def guide(*destinations, key=20):
    """SAs in the form of the Solaris guides' file, without a source."""
    return [sa_of(600 + index, ANY, destination, key + index) for index, destination in enumerate(destinations)]


def test_old_sas_without_a_source_are_replaced_by_those_of_their_pair():
    made = planner.plan(
        [sa_of(300), sa_of(301, PEER, MINE, 6)], held(*guide(MINE, PEER)), planner.EXACT, local=frozenset([MINE])
    )
    assert (made.count(planner.ADD), made.count(planner.DELETE)) == (2, 2)


def test_sas_without_a_source_stay_while_they_may_belong_to_another_peer():
    made = planner.plan(
        [sa_of(300), sa_of(301, PEER, MINE, 6)], held(*guide(MINE, PEER, OTHER)), planner.EXACT, local=frozenset([MINE])
    )
    assert made.count(planner.DELETE) == 0


def test_a_text_without_sources_covers_this_host_and_its_destinations():
    stale, others = [sa_of(300), sa_of(301, PEER, MINE, 6)], [sa_of(302, MINE, OTHER, 7), sa_of(303, OTHER, MINE, 8)]
    made = planner.plan(guide(MINE, PEER), held(*stale, *others), planner.EXACT, local=frozenset([MINE]))
    assert {step.old.sa for step in made.operations if step.kind == planner.DELETE} == set(stale)


def test_protocols_narrow_what_a_flush_of_peers_removes():
    text = [sa_of(300), sa_of(301, protocol="ah", key=9)]
    made = planner.plan(text, held(*text), planner.FLUSHED, protocols=["ah"])
    assert [step.old.sa.protocol for step in made.operations] == ["ah"]


def test_one_direction_is_exact_even_if_the_text_has_no_sa_of_it():
    made = planner.plan(
        [sa_of(301, PEER, MINE, 6)],
        held(sa_of(400, key=8)),
        planner.EXACT,
        direction=OUTBOUND,
        local=frozenset([MINE]),
    )
    assert [(step.kind, step.old.sa.spi) for step in made.operations] == [("delete", 400)]


def test_a_mark_is_added_to_a_named_sa_but_not_in_a_set():
    marked = sa_of(300, mark=Mark(5))
    (step,) = planner.plan([marked], held(sa_of(300)), planner.PRESENT, take_over=True).operations
    assert (step.kind, step.fields) == (planner.REPLACE, ("mark",))
    with pytest.raises(IpsecError, match="this SPI is in use"):
        planner.plan([marked], held(sa_of(300)), planner.PRESENT)
    assert planner.plan([marked], held(sa_of(300, mark=Mark(6))), planner.PRESENT).count(planner.ADD) == 1


@pytest.mark.parametrize(
    ("there", "mark"), [(Mark(5), None), (Mark(0x11, 0xFF), Mark(0x1, 0xF)), (Mark(0, 0xFF), None)]
)
def test_an_sa_that_would_hide_one_with_a_narrower_mark_replaces_it(there, mark):
    """Otherwise the kernel would find the new one where it is asked to delete the old one."""
    old, new = sa_of(300, mark=there), sa_of(300, mark=mark)
    for options in ({"scope_sas": [old]}, {"scope": planner.ALL}):
        (step,) = planner.plan([new], held(old), planner.EXACT, **options).operations
        assert (step.kind, step.fields) == (planner.REPLACE, ("mark",))
    with pytest.raises(IpsecError, match="this SPI is in use"):
        planner.plan([new], held(old), planner.PRESENT)
    assert planner.plan([new, old], held(old), planner.PRESENT).count(planner.ADD) == 1


def test_an_sa_replaces_both_entries_whose_marks_cover_its_own():
    low, high, new = (
        sa_of(300, mark=Mark(0x1, 0xF)),
        sa_of(300, mark=Mark(0x10, 0xF0), key=5),
        sa_of(300, mark=Mark(0x11, 0xFF), key=9),
    )
    steps = planner.plan([new], held(low, high), planner.PRESENT, take_over=True).operations
    assert entries_after(held(low, high), steps) == {identity(new): new}
    assert sorted(step.kind for step in steps) == [planner.DELETE, planner.REPLACE]


@pytest.mark.parametrize(
    ("fields", "direction"),
    [({}, "outbound"), ({"source": ANY}, "inbound"), ({"source": ANY, "direction": "outbound"}, "outbound")],
)
def test_an_sa_towards_a_group_is_outbound_if_its_source_is_local_or_it_says_so(fields, direction):
    assert planner.direction_of(sa_of(300, destination=HOSTS[5], **fields), frozenset([MINE])) == direction
