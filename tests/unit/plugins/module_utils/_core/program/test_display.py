# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What dump, get, monitor and --json print: the lines of the Solaris utility, for each kind of SA."""

from __future__ import annotations

import json
import socket
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ipsec.manual.plugins.module_utils._core.program import display
from ansible_collections.ipsec.manual.plugins.module_utils._core.program.display import Origin, Style, block
from ansible_collections.ipsec.manual.plugins.module_utils._core.program.names import Names
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import (
    FLAGS,
    Counters,
    Encapsulation,
    Entry,
    Lifetimes,
    Mark,
    SecurityAssociation,
    Selector,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.solaris import output
from ansible_collections.ipsec.manual.tests.unit.plugins.module_utils._core.text.strategies import associations

HERE, THERE, INNER = bytes((192, 0, 2, 1)), bytes((192, 0, 2, 2)), bytes((10, 0, 0, 0))
KEY, SALT = bytes(range(32)), b"\xaa\xbb\xcc\xdd"
NOW = 1795305660
FULL = SecurityAssociation(
    "esp",
    0x1001,
    HERE,
    THERE,
    "tunnel",
    "aes-gcm",
    KEY + SALT,
    icv_bits=128,
    replay_window=64,
    esn=True,
    reqid=7,
    mark=Mark(1, 0xFF),
    if_id=9,
    selector=Selector(INNER, 8, protocol=17, source_port=500),
    encapsulation=Encapsulation(4500, 4501, nat_remote=INNER),
    lifetimes=Lifetimes(soft_bytes=1000, hard_bytes=3000000, hard_addtime=600),
    direction="inbound",
    extra=((FLAGS, "noecn"),),
    output_mark=Mark(0, 0xF),
    tfc_padding=1400,
    nat_keepalive=20,
)
COUNTERS = Counters(bytes=2048, packets=7, add_time=NOW - 60, use_time=NOW - 53, sequence_in=6)
PLAIN = SecurityAssociation(
    "esp",
    0x1003,
    HERE,
    THERE,
    "transport",
    "aes-cbc",
    KEY[:16],
    "hmac-sha256",
    KEY,
    128,
    selector=Selector(protocol=6, destination_port=443),
    lifetimes=Lifetimes(soft_addtime=150, hard_addtime=7200, soft_usetime=61, hard_usetime=100000, hard_packets=9),
)
BARE = SecurityAssociation(
    "ah", 0x1002, bytes(16), bytes(15) + b"\1", authentication="x-of-this-kernel", authentication_key=KEY
)
WIDE = FULL._replace(
    encapsulation=None, direction="outbound", selector=Selector(bytes((32, 1)) + bytes(14), 16), lifetimes=Lifetimes()
)

FULL_LINES = """\
Base message (version 2) type GET, SA type ESP.
SA: SADB_ASSOC spi=0x1001, replay window size=64, state=MATURE
SA: Encryption algorithm = aes-gcm
SA: flags=0x801a4000 < X_USED X_INBOUND X_NATT_LOC X_NATT_REM X_TUNNEL >
SRC: Source address (proto=4)
SRC: AF_INET: port 0, 192.0.2.1.
DST: Destination address (proto=4)
DST: AF_INET: port 0, 192.0.2.2.
NLC: NAT-T local address (proto=17)
NLC: AF_INET: port 4501, 0.0.0.0.
NRM: NAT-T remote address (proto=17)
NRM: AF_INET: port 4500, 10.0.0.0.
INS: Inner source address (proto=17)
INS: AF_INET: port 500, 10.0.0.0/8.
IND: Inner destination address (proto=17)
IND: AF_INET: port 0, 0.0.0.0.
EKY: Encryption key.
EKY: {key}
OTH: esn
OTH: reqid 7
OTH: if_id 9
OTH: mark 0x1/0xff
OTH: output_mark 0x0/0xf
OTH: tfc_padding 1400
OTH: nat_keepalive 20
OTH: flags noecn
RPL: Replay Value 6
 LT: Lifetime information
CLT: Current lifetime information:
CLT: 2048 bytes (2.00 KB) protected, 7 allocations used.
CLT: SA added at time: Sun Nov 22 00:00:00 UTC 2026
CLT: \t(raw time value 1795305600)
CLT: SA first used at time Sun Nov 22 00:00:07 UTC 2026
CLT: \t(raw time value 1795305607)
CLT: Time now is Sun Nov 22 00:01:00 UTC 2026
CLT: \t(raw time value 1795305660)
SLT: Soft lifetime information:
SLT: 1000 bytes of lifetime, 0 allocations.
SLT: 0 seconds of post-add lifetime.
SLT: 0 seconds of post-use lifetime.
SLT: 0 bytes more can be protected.
HLT: Hard lifetime information:
HLT: 3000000 bytes (2.86 MB) of lifetime, 0 allocations.
HLT: 600 seconds (10.00 minutes) of post-add lifetime.
HLT: 0 seconds of post-use lifetime.
HLT: 2997952 bytes (2.86 MB) more can be protected.
HLT: Hard expiration occurs in 540 seconds (9.00 minutes)
HLT: Time of expiration: Sun Nov 22 00:10:00 UTC 2026.
HLT: \t(raw time value 1795306200)
"""
# Of an SA of transport mode, with names, at a later time.
PLAIN_LINES = """\
Base message (version 2) type DUMP, SA type ESP.
SA: SADB_ASSOC spi=0x1003, replay window size=0, state=MATURE
SA: Authentication algorithm = hmac-sha256
SA: Encryption algorithm = aes-cbc
SA: flags=0x80008000 < X_USED X_OUTBOUND >
SRC: Source address (proto=6/tcp)
SRC: AF_INET: port 0, 192.0.2.1 (here.example).
DST: Destination address (proto=6/tcp)
DST: AF_INET: port 443, 192.0.2.2 <unknown>.
AKY: Authentication key.
AKY: {authkey}/256
EKY: Encryption key.
EKY: {encrkey}/128
 LT: Lifetime information
CLT: Current lifetime information:
CLT: 2048 bytes (2.00 KB) protected, 7 allocations used.
CLT: SA added at time: Sun Nov 22 00:00:00 UTC 2026
CLT: SA first used at time Sun Nov 22 00:00:07 UTC 2026
CLT: Time now is Sun Nov 22 00:01:40 UTC 2026
SLT: Soft lifetime information:
SLT: 0 bytes of lifetime, 0 allocations.
SLT: 150 seconds (2.50 minutes) of post-add lifetime.
SLT: 61 seconds (1.02 minute) of post-use lifetime.
SLT: Soft expiration occurred
SLT: Time of expiration: Sun Nov 22 00:01:08 UTC 2026.
HLT: Hard lifetime information:
HLT: 0 bytes of lifetime, 9 allocations.
HLT: 7200 seconds (2.00 hours) of post-add lifetime.
HLT: 100000 seconds (1.16 day) of post-use lifetime.
HLT: Hard expiration occurs in 7100 seconds (1.97 hour)
HLT: Time of expiration: Sun Nov 22 02:00:00 UTC 2026.
"""
BARE_LINES = """\
Base message (version 2) type DUMP, SA type AH.
SA: SADB_ASSOC spi=0x1002, replay window size=0, state=LARVAL
SA: Authentication algorithm = x-of-this-kernel
SA: flags=0x0 < >
SRC: Source address (proto=0/<unspecified>)
SRC: AF_INET6: port 0, :: <unspecified>.
DST: Destination address (proto=0/<unspecified>)
DST: AF_INET6: port 0, ::1 <unknown>.
AKY: Authentication key.
AKY: {key}/256
 LT: Lifetime information
CLT: Current lifetime information:
CLT: 0 bytes protected, 0 allocations used.
CLT: SA added at time: Thu Jan  1 00:00:00 UTC 1970
CLT: Time now is Thu Jan  1 00:00:01 UTC 1970
"""
ORIGIN = Origin(304, 5, 4711)
HEARD = """\
Read 304 bytes.
Timestamp: Sun Nov 22 00:01:00 UTC 2026
Base message (version 2) type {}.
Message length 304 bytes, seq=5, pid=4711.
"""


class Known:
    """Names that a test gives; no protocol but TCP has one."""

    def __init__(self, **hosts):
        self.hosts = {socket.inet_aton(address.replace("_", ".")): name for address, name in hosts.items()}

    def host(self, address):
        return self.hosts.get(address, "")

    def protocol(self, number):
        return "tcp" if number == 6 else ""


NAMES = Known(**{"192_0_2_1": "here.example"})


@pytest.fixture(autouse=True)
def utc(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def lines(found, label):
    return [line for line in found.splitlines() if line.startswith(label)]


def test_a_tunnel_with_every_field():
    entry = Entry(FULL, COUNTERS)
    crossed = f"{'XX' * 32}[{'XX' * 4}]/256+32"
    for keys, key in ((display.SHOWN, f"{KEY.hex()}[{SALT.hex()}]/256+32"), (display.CROSSED, crossed)):
        assert block(entry, Style(keys, raw_times=True), "GET", now=NOW) == FULL_LINES.format(key=key)
    assert KEY.hex()[:8] not in block(entry) and SALT.hex() not in block(entry)


def test_a_transport_sa_with_names():
    style = Style(display.SHOWN, names=NAMES, local=frozenset([HERE]))
    wanted = PLAIN_LINES.format(authkey=KEY.hex(), encrkey=KEY[:16].hex())
    assert block(Entry(PLAIN, COUNTERS._replace(sequence_in=0)), style, now=NOW + 40) == wanted


def test_a_larval_sa_with_an_unknown_algorithm():
    style = Style(display.SHOWN, names=NAMES)
    assert block(Entry(BARE, Counters(), True), style, now=1) == BARE_LINES.format(key=KEY.hex())


def test_an_inner_ipv6_network_is_carried_in_protocol_41():
    found = block(Entry(WIDE, Counters()), now=NOW)
    assert "flags=0x28000 < X_OUTBOUND X_TUNNEL >" in found
    assert lines(found, "SRC")[0] == "SRC: Source address (proto=41)"
    assert lines(found, "IN") == [
        "INS: Inner source address (proto=0)",
        "INS: AF_INET6: port 0, 2001::/16.",
        "IND: Inner destination address (proto=0)",
        "IND: AF_INET6: port 0, ::.",
    ]


def test_a_tunnel_for_any_traffic_has_inner_addresses():
    assert lines(block(Entry(WIDE._replace(selector=None), Counters())), "IN") == [
        "INS: Inner source address (proto=0)",
        "INS: AF_INET: port 0, 0.0.0.0.",
        "IND: Inner destination address (proto=0)",
        "IND: AF_INET: port 0, 0.0.0.0.",
    ]


def test_a_network_in_transport_mode_is_shown():
    found = block(Entry(PLAIN._replace(selector=Selector(INNER, 8, protocol=6, source_port=5)), Counters()))
    assert lines(found, "SRC")[0] == "SRC: Source address (proto=0)"
    assert lines(found, "INS") == ["INS: Inner source address (proto=6)", "INS: AF_INET: port 5, 10.0.0.0/8."]


@pytest.mark.parametrize(
    ("direction", "local", "flag", "ports"),
    [
        ("inbound", HERE, "X_INBOUND", (4501, 4500)),
        ("outbound", THERE, "X_OUTBOUND", (4500, 4501)),
        ("", THERE, "X_INBOUND", (4501, 4500)),
        ("", HERE, "X_OUTBOUND", (4500, 4501)),
        ("", b"", "", (4500, 4501)),
    ],
)
def test_the_local_nat_port_is_that_of_the_destination_if_packets_arrive(direction, local, flag, ports):
    sa = FULL._replace(direction=direction)
    found = block(Entry(sa, Counters()), Style(local=frozenset(filter(None, [local]))))
    assert [line.split(" ")[3] for line in (lines(found, "NLC")[1], lines(found, "NRM")[1])] == [
        f"{port}," for port in ports
    ]
    assert [word for word in found.split() if word.endswith("BOUND")] == [flag] * bool(flag)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 bytes"),
        (1024, "1024 bytes"),
        (1025, "1025 bytes (1.00 KB)"),
        (1 << 20, "1048576 bytes (1.00 MB)"),
        ((1 << 20) - 1, "1048575 bytes (1024.00 KB)"),
        ((1 << 64) - 1, f"{(1 << 64) - 1} bytes (16.00 EB)"),
    ],
)
def test_units_of_bytes(number, text):
    entry = Entry(BARE._replace(lifetimes=Lifetimes(hard_bytes=1)), Counters(bytes=number))
    assert f"CLT: {text} protected, 0 allocations used." in block(entry)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (60, "60 seconds"),
        (119, "119 seconds (1.98 minute)"),
        (120, "120 seconds (2.00 minutes)"),
        (3599, "3599 seconds (59.98 minutes)"),
        (3600, "3600 seconds (1.00 hour)"),
        (86400, "86400 seconds (1.00 day)"),
        (172800, "172800 seconds (2.00 days)"),
    ],
)
def test_units_of_seconds(number, text):
    entry = Entry(BARE._replace(lifetimes=Lifetimes(soft_addtime=number)), Counters(add_time=NOW))
    found = block(entry, now=NOW)
    assert f"SLT: {text} of post-add lifetime." in found and f"SLT: Soft expiration occurs in {text}\n" in found


def test_a_time_that_cannot_be_converted():
    entry = Entry(BARE._replace(lifetimes=Lifetimes(hard_addtime=(1 << 64) - 1)), Counters(add_time=NOW))
    assert "HLT: Time of expiration: <time conversion failed>.\n" in block(entry, now=NOW)


def test_a_lifetime_of_use_begins_with_the_first_use():
    sa = BARE._replace(lifetimes=Lifetimes(hard_usetime=60))
    assert "expiration" not in block(Entry(sa, Counters(add_time=NOW)), now=NOW)
    assert "HLT: Hard expiration occurs in 60 seconds\n" in block(
        Entry(sa, Counters(add_time=1, use_time=NOW)), now=NOW
    )


@pytest.mark.parametrize(
    ("kind", "message", "state", "limits"),
    [
        ("ADD", "ADD, SA type ESP", "MATURE", ["SLT", "HLT"]),
        ("SOFT EXPIRE", "EXPIRE, SA type ESP", "DYING", ["SLT"]),
        ("HARD EXPIRE", "EXPIRE, SA type ESP", "DEAD", ["HLT"]),
    ],
)
def test_an_event_of_an_sa(kind, message, state, limits):
    found = block(Entry(FULL, COUNTERS), kind=kind, origin=ORIGIN, now=NOW)
    assert found.startswith(HEARD.format(message) + "SA: SADB_ASSOC spi=0x1001, replay window size=64, ")
    assert f", state={state}\n" in found
    assert [label for label in ("SLT", "HLT") if lines(found, label)] == limits


def test_a_request_for_an_sa_has_addresses_only():
    found = block(Entry(SecurityAssociation("esp", 0, HERE, THERE), Counters(), True), Style(), "ACQUIRE", ORIGIN, NOW)
    assert found == HEARD.format("ACQUIRE, SA type ESP") + (
        "SRC: Source address (proto=0)\nSRC: AF_INET: port 0, 192.0.2.1.\n"
        "DST: Destination address (proto=0)\nDST: AF_INET: port 0, 192.0.2.2.\n"
    )


@pytest.mark.parametrize(
    ("protocol", "text"), [("", "<unspecified/all>"), ("ah", "AH"), ("comp", "COMP"), ("77", "<unknown 77>")]
)
def test_an_event_without_an_sa(protocol, text):
    wanted = HEARD.format(f"FLUSH, SA type {text}").splitlines()
    assert display.head("FLUSH", protocol, ORIGIN, NOW) == wanted


IDENTITIES = (
    ("dstidtype", "7 two words"),
    ("label", "secret"),
    ("pair-spi", "0x00001002"),
    ("replay_value", "5"),
    ("srcidtype", "user_fqdn root@example.com"),
)


def test_what_only_other_systems_keep_is_shown():
    found = block(Entry(PLAIN._replace(extra=IDENTITIES), Counters()))
    assert "flags=0x10000 < X_PAIRED >" in found
    assert lines(found, "SID") + lines(found, "DID") + lines(found, "OTH") + lines(found, "RPL") == [
        "SID: Source identity, uid=0, type user-FQDN (mbox)",
        "SID: root@example.com",
        "DID: Destination identity, uid=0, type <unknown 7>",
        "DID: two words",
        "OTH: Paired with spi=0x1002",
        "OTH: label secret",
    ]


def test_control_characters_are_escaped():
    hostile = "x\x1b[2J\r\nSA: SADB_ASSOC spi=0x1\t\u202e\udc80"
    visible = r"x\x1b[2J\r\nSA: SADB_ASSOC spi=0x1\t\u202e\udc80"
    sa = PLAIN._replace(extra=(("srcidtype", f"fqdn {hostile}"), (FLAGS, hostile)), authentication="x\x1b[2J\r")
    names = Known(**{"192_0_2_1": hostile})
    found = block(Entry(sa, Counters()), Style(names=names))
    assert f"SID: {visible}\n" in found and f"OTH: flags {visible}\n" in found and f" ({visible}).\n" in found
    assert "SA: Authentication algorithm = x\\x1b[2J\\r\n" in found
    assert len(lines(found, "SA: SADB_ASSOC")) == 1
    assert set(found) <= {"\n", *map(chr, range(0x20, 0x7F))}


TIMES = st.integers(0, 1 << 34)
COUNTED = st.builds(
    Counters, bytes=st.integers(0, 2**64 - 1), packets=st.integers(0, 2**64 - 1), add_time=TIMES, use_time=TIMES
)


@given(
    st.lists(
        st.tuples(st.sampled_from([FULL, PLAIN, BARE]) | associations(), COUNTED, st.booleans()).map(
            lambda row: Entry(*row)
        ),
        max_size=3,
    ),
    st.text(),
    st.integers(1, 1 << 40),
)
def test_a_dump_reads_back(entries, name, now):
    """By our own reader of what the Solaris utility prints."""
    names = Known(**{"192_0_2_1": name, "192_0_2_2": f"\n{name}"})
    text = "".join(block(entry, Style(raw_times=True, names=names), now=now) + "\n" for entry in entries)
    found = list(output.dumped([*text.split("\n"), "Dump succeeded for SA type 0."]))
    for entry, dump in zip(entries, found):
        sa = entry.sa
        assert (dump.protocol, dump.spi, dump.source, dump.destination) == (
            sa.protocol,
            sa.spi,
            sa.source,
            sa.destination,
        )
        assert (dump.state, dump.direction) == ("LARVAL" if entry.larval else "MATURE", sa.direction)
        assert (dump.manager, dump.counters[:4]) == (0, entry.counters[:4])
        inner = sa.selector or Selector()
        if sa.mode == "tunnel" or inner.source or inner.destination:
            prefixes = {keyword: int(prefix or 0) for keyword, prefix in dump.prefixes.items()}
            assert prefixes == {"isrc": inner.source_prefix, "idst": inner.destination_prefix}
        else:
            assert not dump.prefixes
    assert len(found) == len(entries)


def test_an_sa_with_every_field_as_json():
    found = display.record(Entry(FULL, COUNTERS))
    assert KEY.hex()[:8] not in json.dumps(found)
    assert found["encryption_key_bits"] == 288
    assert (found["mark"], found["if_id"], found["reqid"], found["esn"]) == ({"value": 1, "mask": 255}, 9, 7, True)
    assert found["selector"] == {"source": "10.0.0.0", "source_prefix": 8, "protocol": 17, "source_port": 500}
    assert found["encapsulation"] == {"source_port": 4500, "destination_port": 4501, "nat_remote": "10.0.0.0"}
    assert found["lifetimes"] == {"soft_bytes": 1000, "hard_bytes": 3000000, "hard_addtime": 600}
    assert (found["output_mark"], found["tfc_padding"], found["nat_keepalive"]) == ({"value": 0, "mask": 15}, 1400, 20)
    assert (found["flags"], found["counters"]["sequence_in"]) == (["noecn"], 6)
    assert display.record(Entry(FULL, COUNTERS), display.SHOWN)["encryption_key"] == (KEY + SALT).hex()


def test_a_larval_sa_as_json():
    found = display.record(Entry(BARE, Counters(), True))
    assert found["larval"] is True and not {
        "encryption_algorithm",
        "reqid",
        "mark",
        "selector",
        "lifetimes",
        "flags",
    } & set(found)


def test_names_come_from_the_naming_services(tmp_path):
    file = tmp_path / "protocols"
    file.write_text("# a comment\nip\t0\tIP\ntcp 6 TCP # another\nother 6\nbroken\nworse x\n")
    names = Names(pytest.fail, str(file))
    assert [names.protocol(number) for number in (6, 17, 0)] == ["tcp", "", "ip"]
    assert names.host(socket.inet_aton("127.0.0.1")) == socket.gethostbyaddr("127.0.0.1")[0]
    assert Names(pytest.fail, str(tmp_path / "missing")).protocol(6) == ""


def test_a_naming_service_that_does_not_answer_is_asked_once(monkeypatch):
    asked, complaints = [], []

    def silent(address, dummy):
        asked.append(address[0])
        if address[0] == "192.0.2.1":
            raise socket.gaierror(socket.EAI_NONAME, "not known")
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    monkeypatch.setattr(socket, "getnameinfo", silent)
    names = Names(lambda: complaints.append("silent"))
    assert [names.host(address) for address in (HERE, HERE, THERE, THERE, INNER)] == [""] * 5
    assert (asked, complaints) == (["192.0.2.1", "192.0.2.2"], ["silent"])
