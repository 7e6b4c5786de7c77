# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SAs with properties of other programs for which this collection has no field: they are never
treated as plain ones, and never lost silently.
"""

from __future__ import annotations

import struct
import typing as t

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import InputError, SadbError
from ansible_collections.ipsec.manual.plugins.module_utils._core.program.effect import net_changes
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import model
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.plan import Operation, plan
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm.backend import XfrmSadb
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm.lifetimes import update
from ansible_collections.ipsec.manual.plugins.module_utils._core.text import language, script
from ansible_collections.ipsec.manual.tests.kernel import witness
from ansible_collections.ipsec.manual.tests.kernel.witness import sa_of

# Further options of ip(8), our keywords for them, and the output of ip(8).
STRANGE = [
    (["flag", "noecn"], "noecn", "flag noecn"),
    (
        ["flag", "decap-dscp", "wildrecv", "icmp", "align4"],
        "decap-dscp wildrecv icmp align4",
        "flag decap-dscp wildrecv icmp align4",
    ),
    (["flag", "af-unspec"], "af-unspec", "flag af-unspec"),
    (
        ["extra-flag", "dont-encap-dscp", "oseq-may-wrap"],
        "dont-encap-dscp oseq-may-wrap",
        "extra_flag dont-encap-dscp oseq-may-wrap",
    ),
    (["encap", "espinudp-nonike", "4500", "4500", "0.0.0.0"], "encap-1", "encap type espinudp-nonike"),
    (["sel", "dev", "lo"], "selector", "dev lo"),
]
GONE = ("encap-1",)  # from newer kernels


@pytest.fixture(name="sadb")
def empty_sadb() -> t.Iterator[XfrmSadb]:
    database = XfrmSadb()
    database.flush()
    yield database
    database.flush()


def add_with(options: list[str]) -> model.SecurityAssociation:
    """Make ip(8) add an SA that we cannot express; return the plain one with the same keys."""
    sa = sa_of(0x1000)
    witness.run(*f"ip {witness.as_command(sa)}".split(), *options)
    return sa


@pytest.mark.parametrize(
    ("options", "words", "shown"), STRANGE, ids=[" ".join(options[:2]) for options, dummy, dummies in STRANGE]
)
def test_unknown_attributes_are_a_difference_and_survive_an_undo(
    sadb: XfrmSadb, options: list[str], words: str, shown: str
) -> None:
    if words in GONE and not witness.offers("enc", "cbc(aes)", "0x" + "0123456789abcdef" * 2, *options):
        pytest.skip(f"this kernel has no {' '.join(options[:2])} any more")
    sa = add_with(options)
    (entry,) = sadb.dump()
    assert model.flags(entry.sa) == words and shown in witness.states()["esp", 0x1000]
    before = witness.states()
    # No text can express it, and a text that omits it is not the same SA.
    with pytest.raises(InputError, match=f"no word for: {words}"):
        language.render([entry.sa])
    assert f"flags {words}" in language.render([entry.sa], hide_keys=True)
    (operation,) = plan([sa], sadb.dump(), "present").operations
    assert operation.kind == "replace" and "flags" in operation.fields
    # Restored completely, if something else is refused.
    with pytest.raises(SadbError) as caught:
        sadb.apply([operation, Operation("add", sa_of(0x2000), None), Operation("add", sa_of(0x2000), None)])
    assert caught.value.errno_name == "EEXIST" and witness.states() == before
    sadb.apply([operation])
    assert [entry.sa for entry in sadb.dump()] == [sa] and shown not in witness.states()["esp", 0x1000]


@pytest.mark.parametrize(
    "options",
    [*(options for options, dummy, dummies in STRANGE), ["encap", "espintcp", "4500", "4500", "0.0.0.0"]],
    ids=" ".join,
)
def test_new_lifetimes_change_nothing_else(sadb: XfrmSadb, options: list[str]) -> None:
    if not witness.offers("enc", "cbc(aes)", "0x" + "0123456789abcdef" * 2, *options):
        pytest.skip(f"this kernel has no {' '.join(options[:2])}")
    add_with(options)
    before = witness.attributes()[0x1000]
    for limit in (1000000, 2000000):
        steps = script.parse(f"update esp spi 0x1000 dst 192.0.2.2 hard_bytes {limit}\n").steps
        update(net_changes(steps, sadb.dump(), "text").updates)
        after = witness.attributes()[0x1000]
        # struct xfrm_lifetime_cfg in struct xfrm_usersa_info: soft and hard limit of bytes, and six more.
        assert struct.unpack_from("=Q", after[0], 104) == (limit,)
        assert {**after, 0: after[0][:104] + before[0][104:112] + after[0][112:]} == before


def test_new_lifetimes_are_not_given_to_another_sa(sadb: XfrmSadb) -> None:
    sadb.apply(witness.add(sa_of(0x1000)))
    (entry,) = sadb.dump()
    sadb.flush()
    sadb.apply(witness.add(sa_of(0x1000)))
    before = witness.states()
    with pytest.raises(SadbError, match="the SA is not the one that was read"):
        update([(entry, model.Lifetimes(hard_bytes=1))])
    assert witness.states() == before


def test_values_that_the_kernel_sets_are_not_a_difference(sadb: XfrmSadb) -> None:
    sysctl = "/proc/sys/net/ipv4/ip_no_pmtu_disc"
    before = witness.read(sysctl)
    witness.write(sysctl, "1")
    try:
        sa = sa_of(0x1000)
        sadb.apply(witness.add(sa))
        assert "nopmtudisc" in witness.states()["esp", 0x1000]
        assert not plan([sa], sadb.dump(), "exact").operations
    finally:
        witness.write(sysctl, before)


def test_inbound_sas_are_restored_where_path_mtu_discovery_is_off(sadb: XfrmSadb) -> None:
    """Kernels that bind SAs to directions refuse the flag nopmtudisc of inbound ones, and do not set it either."""
    sysctl = "/proc/sys/net/ipv4/ip_no_pmtu_disc"
    before = witness.read(sysctl)
    witness.write(sysctl, "1")
    try:
        sa, other = sa_of(0x1000, direction="inbound"), sa_of(0x1001)
        sadb.apply(witness.add(sa, other))
        held = witness.states()
        assert "nopmtudisc" in held["esp", other.spi]
        entry = next(entry for entry in sadb.dump() if entry.sa.spi == sa.spi)
        with pytest.raises(SadbError, match="EEXIST"):
            sadb.apply([Operation("delete", None, entry), *witness.add(other)])
        assert witness.states() == held
        update([(entry, model.Lifetimes(hard_packets=9))])
        assert "hard 9(packets)" in witness.states()["esp", sa.spi]
    finally:
        witness.write(sysctl, before)


def test_the_tunnel_beside_an_ipcomp_sa_is_no_sa(sadb: XfrmSadb) -> None:
    """The kernel makes a state of protocol 4 itself, and takes it away with the last SA that uses it."""
    ends = ("src", "192.0.2.1", "dst", "192.0.2.2")
    compression = ("proto", "comp", "spi", "0x100", "comp", "deflate", "mode", "tunnel")
    witness.run("ip", "xfrm", "state", "add", *ends, *compression)
    sadb.apply(witness.add(sa_of(0x1000)))
    assert {key[0] for key in witness.states()} == {"comp", "4", "esp"}
    assert {entry.sa.protocol for entry in sadb.dump()} <= {"comp", "esp"}
    sadb.apply(plan([], sadb.dump(), "flushed", scope="all", protocols=["esp"]).operations)
    assert {key[0] for key in witness.states()} == {"comp", "4"}


def test_save_omits_and_reports_it(sadb: XfrmSadb, tmp_path: t.Any, capsys: pytest.CaptureFixture[str]) -> None:
    from ansible_collections.ipsec.manual.plugins.module_utils._core.program import command

    add_with(["flag", "noecn"])
    sadb.apply(witness.add(sa_of(0x2000)))
    assert command.main(["save", "all", "--show-keys"]) == 1
    out, err = capsys.readouterr()
    assert "spi 0x00002000" in out and "spi 0x00001000" not in out
    assert "esp spi 0x00001000" in err and "no word for: noecn" in err
