# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Attributes of SAs that kernels after 6.1 added, set by another program: compared if the kernel
keeps them, and never lost. The tests ask each kernel what it keeps.
"""

from __future__ import annotations

import socket
import struct
import time
import typing as t

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import InputError, SadbError
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import model
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import (
    Encapsulation,
    Lifetimes,
    Mark,
    SecurityAssociation,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.plan import Operation, differences, plan
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm.backend import XfrmSadb
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm.lifetimes import update
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm.messages import new_sa
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm.netlink import (
    HEADER_SIZE,
    NETLINK_XFRM,
    Netlink,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.text import language
from ansible_collections.ipsec.manual.tests.kernel import witness
from ansible_collections.ipsec.manual.tests.kernel.witness import sa_of, u32

_UDP = Encapsulation(4500, 4500)
_MODE_AT = 214  # in struct xfrm_usersa_info
_IPTFS = 5


@pytest.mark.parametrize(
    ("fields", "given", "words"),
    [
        ({"encapsulation": _UDP}, u32(32, 7), "mapping-threshold=7"),
        ({"direction": "outbound"}, u32(35, 0), "pcpu=0"),
        ({}, u32(24, 1 << 7), "extra-flag-7"),
    ],
)
def test_it_is_a_difference_and_restored(sadb: XfrmSadb, fields: dict[str, t.Any], given: bytes, words: str) -> None:
    sa = sa_of(0x1000, **fields)
    assert witness.add_with(sa, given) == ""
    before = witness.attributes()
    (entry,) = sadb.dump()
    if struct.unpack_from("=HH", given)[1] not in before[0x1000]:
        assert model.flags(entry.sa) == "" and not plan([sa], [entry], "present").operations
        return
    assert model.flags(entry.sa) == words
    (operation,) = plan([sa], [entry], "present", tells_directions=sadb.tells_directions()).operations
    assert (operation.kind, operation.fields) == ("replace", ("flags",))
    expect_undone(sadb, operation, before)
    update([(entry, Lifetimes(hard_bytes=10**9))])
    assert {**witness.attributes()[0x1000], 0: b""} == {**before[0x1000], 0: b""}
    with pytest.raises(InputError, match=f"no word for: {words}"):
        language.render([entry.sa])
    sadb.apply(plan([sa], sadb.dump(), "present").operations)
    assert [model.flags(entry.sa) for entry in sadb.dump()] == [""]


def expect_undone(sadb: XfrmSadb, operation: Operation, before: dict[int, dict[int, bytes]]) -> None:
    """After a change that fails when the SA was already replaced, every attribute is restored byte by byte."""
    with pytest.raises(SadbError, match="The SADB is as it was before"):
        sadb.apply([operation, *witness.add(*[sa_of(0x2000)] * 2)])
    assert witness.attributes() == before


def test_a_value_that_another_program_changed_meanwhile_is_noticed(sadb: XfrmSadb) -> None:
    sa = sa_of(0x1000, encapsulation=_UDP)
    witness.add_with(sa, u32(32, 7))
    (entry,) = sadb.dump()
    sadb.flush()
    witness.add_with(sa, u32(32, 8))
    with pytest.raises(SadbError, match="the SA is not the one that was read"):
        sadb.apply([Operation("replace", sa, entry)])
    assert [model.flags(entry.sa) for entry in sadb.dump()] == ["mapping-threshold=8"]


OPTIONS: list[dict[str, t.Any]] = [
    {"output_mark": Mark(5, 0xFF)},
    {"output_mark": Mark(0, 1)},
    {"mode": "tunnel", "tfc_padding": 1400},
    {"nat_keepalive": 20},
]


@pytest.mark.parametrize("fields", OPTIONS)
def test_option_values_are_a_difference_and_restored(sadb: XfrmSadb, fields: dict[str, t.Any]) -> None:
    """Each attribute against an SA with all others, in both directions."""
    sa = sa_of(0x1000, direction="outbound", encapsulation=_UDP, **fields)
    (name,) = set(fields) - {"mode"}
    plain = sa._replace(**{name: SecurityAssociation._field_defaults[name]})
    problems = sadb.refusals(sa)
    if name == "nat_keepalive" and not witness.knows_nat_keepalive():
        assert [(problem.place, "Linux 6.11" in problem.hint) for problem in problems] == [(name, True)]
        return
    assert problems == []
    for there, wanted in ((sa, plain), (plain, sa)):
        sadb.flush()
        sadb.apply(witness.add(there))
        before, (entry,), tells = witness.attributes(), sadb.dump(), sadb.tells_directions()
        assert plan([there], [entry], "present", tells_directions=tells).operations == ()
        (operation,) = plan([wanted], [entry], "present", tells_directions=tells).operations
        assert (operation.kind, operation.fields) == ("replace", (name,))
        expect_undone(sadb, operation, before)
        update([(entry, Lifetimes(hard_bytes=10**9))])
        assert {**witness.attributes()[0x1000], 0: b""} == {**before[0x1000], 0: b""}
        sadb.apply(plan([wanted], sadb.dump(), "present", tells_directions=tells).operations)
        assert differences(wanted, sadb.dump()[0].sa, tells_directions=tells) == ()


def test_another_mode_is_a_difference_and_restored(sadb: XfrmSadb) -> None:
    sa = sa_of(0x1000, direction="outbound")
    request, mode_at = new_sa(sa), HEADER_SIZE + _MODE_AT
    with Netlink(NETLINK_XFRM) as link:
        refusals = link.send([request[:mode_at] + bytes((_IPTFS,)) + request[mode_at + 1 :]])[0]
    if refusals:
        assert "mode" in refusals[0].text  # Unsupported mode
        pytest.skip("this kernel lacks IP-TFS")
    before = witness.attributes()
    (entry,) = sadb.dump()
    assert before[0x1000][0][_MODE_AT - 32] == _IPTFS and entry.sa.mode == "iptfs"
    (operation,) = plan([sa], [entry], "present").operations
    assert "mode" in operation.fields
    expect_undone(sadb, operation, before)
    with pytest.raises(InputError, match="no word for: mode=iptfs"):
        language.render([entry.sa])
    assert "mode=iptfs" in language.render([entry.sa], hide_keys=True)


@pytest.fixture(name="wire")
def make_wire() -> t.Iterator[t.Callable[[t.Callable[[bytes], bool]], bytes]]:
    """Two links of 192.0.2.1 whose other ends take everything, the first with the route; waits for
    an IP packet on the second that fits.
    """
    for name, other in (("near", "far"), ("second", "far2")):
        witness.run("ip", "link", "add", name, "type", "veth", "peer", "name", other)
        witness.run("ip", "link", "set", name, "up")
        witness.run("ip", "link", "set", other, "up")
        witness.run("ip", "neigh", "add", "192.0.2.2", "lladdr", "02:00:00:00:00:01", "dev", name)
    witness.run("ip", "addr", "add", "192.0.2.1/24", "dev", "near")
    witness.run("ip", "route", "add", "192.0.2.2", "dev", "second", "src", "192.0.2.1", "table", "100")
    witness.run("ip", "rule", "add", "fwmark", "0x5/0xff", "lookup", "100")
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800)) as listener:

        def wait(fits: t.Callable[[bytes], bool], end: str = "far") -> bytes:
            deadline = time.monotonic() + 20
            listener.settimeout(20)
            while time.monotonic() < deadline:
                packet, (interface, *dummy) = listener.recvfrom(1 << 16)
                if interface == end and fits(packet):
                    return packet
            raise AssertionError("no such packet")

        yield wait


def send() -> None:
    """A packet that goes through the SA."""
    ends = ("src", "192.0.2.1", "dst", "192.0.2.2")
    witness.run("ip", "xfrm", "policy", "update", *ends, "dir", "out", "tmpl", *ends, "proto", "esp", "mode", "tunnel")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"short", ("192.0.2.2", 9))


def is_esp(packet: bytes) -> bool:
    return packet[9] == socket.IPPROTO_ESP


def test_padding_hides_sizes(sadb: XfrmSadb, wire: t.Callable[..., bytes]) -> None:
    sa = sa_of(0x1000, mode="tunnel")
    sizes = []
    for padding in (0, 1000):
        sadb.flush()
        sadb.apply(witness.add(sa._replace(tfc_padding=padding)))
        send()
        sizes.append(len(wire(is_esp)))
    assert sizes[0] < 150 and 1000 <= sizes[1] < 1150


def test_a_mark_of_the_sa_chooses_the_route(sadb: XfrmSadb, wire: t.Callable[..., bytes]) -> None:
    sadb.apply(witness.add(sa_of(0x1000, mode="tunnel", output_mark=Mark(5, 0xFF))))
    send()
    wire(is_esp, end="far2")


def test_nat_keepalives_are_sent(sadb: XfrmSadb, wire: t.Callable[..., bytes]) -> None:
    if not witness.knows_nat_keepalive():
        pytest.skip("this kernel sends no NAT keepalives")
    sadb.apply(
        witness.add(
            sa_of(0x1000, mode="tunnel", direction="outbound", encapsulation=Encapsulation(4500, 4501), nat_keepalive=1)
        )
    )
    # UDP from port to port, one octet of ones (RFC 3948 section 2.3).
    wire(
        lambda packet: packet[9] == socket.IPPROTO_UDP
        and packet[20:24] == struct.pack("!HH", 4500, 4501)
        and packet[28:] == b"\xff"
    )
