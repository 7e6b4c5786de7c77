# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What dump, get and --json show of an SA with every field set, and of one with the fewest."""

from __future__ import annotations

import json
import re

from ansible_collections.ipsec.manual.plugins.module_utils._core.program import display
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

HERE, THERE, INNER = bytes((192, 0, 2, 1)), bytes((192, 0, 2, 2)), bytes((10, 0, 0, 0))
KEY, SALT = bytes(range(32)), b"\xaa\xbb\xcc\xdd"
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
    lifetimes=Lifetimes(soft_bytes=1000, hard_bytes=2000, hard_addtime=60),
    direction="inbound",
    extra=((FLAGS, "noecn"),),
    output_mark=Mark(0, 0xF),
    tfc_padding=1400,
    nat_keepalive=20,
)
COUNTERS = Counters(bytes=5, packets=1, add_time=1000, use_time=1001, sequence_in=6)
BARE = SecurityAssociation(
    "ah", 0x1002, bytes(16), bytes(15) + b"\1", authentication="x-of-this-kernel", authentication_key=KEY
)

BLOCK = """\
Base message (version 2) type GET, SA type ESP.
SA: SADB_ASSOC spi=0x1001, replay window size=64, state=MATURE
SA: Encryption algorithm = aes-gcm
SA: flags = < ESN TUNNEL NATT INBOUND >
LT: Lifetime information
CLT: 5 bytes protected, 1 packets.
CLT: SA added at time: 1000
CLT: SA first used at time 1001
CLT: Time now is 1100
SLT: Soft lifetime information:
SLT: 1000 bytes of lifetime, 0 packets.
SLT: 0 seconds of post-add lifetime.
SLT: 0 seconds of post-use lifetime.
HLT: Hard lifetime information:
HLT: 2000 bytes of lifetime, 0 packets.
HLT: 60 seconds of post-add lifetime.
HLT: 0 seconds of post-use lifetime.
SRC: Source address (proto=0)
SRC: AF_INET: port 0, 192.0.2.1.
DST: Destination address (proto=0)
DST: AF_INET: port 0, 192.0.2.2.
INS: Inner source address (proto=17/8)
INS: AF_INET: port 500, 10.0.0.0.
IND: Inner destination address (proto=17/0)
IND: AF_INET: port 0, 0.0.0.0.
NLC: NAT-Traversal local address
NLC: AF_INET: port 4500, 0.0.0.0.
NRM: NAT-Traversal remote address
NRM: AF_INET: port 4501, 10.0.0.0.
EKY: Encryption key.
EKY: {key}
RPL: Replay Value 6
OTH: reqid 7
OTH: if_id 9
OTH: mark 0x1/0xff
OTH: output_mark 0x0/0xf
OTH: tfc_padding 1400
OTH: nat_keepalive 20
OTH: flags noecn
"""


def test_an_sa_with_every_field():
    entry = Entry(FULL, COUNTERS)
    shown = f"{KEY.hex()}[{SALT.hex()}]/256+32"
    assert display.block(entry, display.SHOWN, raw_times=True, now=1100, message="GET") == BLOCK.format(key=shown)
    crossed = f"{'XX' * 32}[{'XX' * 4}]/256+32"
    assert display.block(entry, display.CROSSED, raw_times=True, now=1100, message="GET") == BLOCK.format(key=crossed)
    assert KEY.hex()[:8] not in display.block(entry) and SALT.hex() not in display.block(entry)
    assert re.search(r"added at time: \d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}\n", display.block(entry))


def test_an_sa_with_every_field_as_json():
    found = display.record(Entry(FULL, COUNTERS))
    assert KEY.hex()[:8] not in json.dumps(found)
    assert found["encryption_key_bits"] == 288
    assert (found["mark"], found["if_id"], found["reqid"], found["esn"]) == ({"value": 1, "mask": 255}, 9, 7, True)
    assert found["selector"] == {"source": "10.0.0.0", "source_prefix": 8, "protocol": 17, "source_port": 500}
    assert found["encapsulation"] == {"source_port": 4500, "destination_port": 4501, "nat_remote": "10.0.0.0"}
    assert found["lifetimes"] == {"soft_bytes": 1000, "hard_bytes": 2000, "hard_addtime": 60}
    assert (found["output_mark"], found["tfc_padding"], found["nat_keepalive"]) == ({"value": 0, "mask": 15}, 1400, 20)
    assert (found["flags"], found["counters"]["sequence_in"]) == (["noecn"], 6)
    assert display.record(Entry(FULL, COUNTERS), display.SHOWN)["encryption_key"] == (KEY + SALT).hex()


def test_an_sa_with_an_unknown_algorithm():
    text = display.block(Entry(BARE, Counters(), True), display.SHOWN, raw_times=True, now=1)
    assert f"AKY: {KEY.hex()}/256" in text and "state=LARVAL" in text
    assert "SA: flags = <  >" in text and "first used" not in text and "RPL" not in text and "OTH" not in text
    assert "DST: AF_INET6: port 0, ::1." in text
    found = display.record(Entry(BARE, Counters(), True))
    assert found["larval"] is True and not {
        "encryption_algorithm",
        "reqid",
        "mark",
        "selector",
        "lifetimes",
        "flags",
    } & set(found)
