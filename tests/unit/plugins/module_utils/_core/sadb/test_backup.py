# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Saving SAs as text; tests/unit/plugins/modules/test_ipsec_sadb.py tests backups."""

from __future__ import annotations

from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import Counters, Encapsulation, Entry, build
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb import backup
from ansible_collections.ipsec.manual.plugins.module_utils._core.text import language

HERE, THERE = bytes((192, 0, 2, 1)), bytes((192, 0, 2, 2))


def sa(spi, key=b"\1"):
    return build("ah", spi, THERE, HERE, "", "hmac-sha1", authentication_key=key * 19 + b"x")


def test_saved_sas_continue_at_their_sequence_numbers():
    larval = Entry(sa(0x1003), Counters(), larval=True)
    entries = [Entry(sa(0x1001), Counters(sequence_out=7)), Entry(sa(0x1002, b"\2"), Counters()), larval]
    text, problems = backup.save(entries, "Saved.")
    assert text.startswith("# Saved.\n") and not problems
    first, second = language.parse(text).sas
    assert first == sa(0x1001)._replace(extra=(("replay_value", "7"),)) and second == sa(0x1002, b"\2")


def test_sas_that_text_cannot_restore_are_left_out_and_named():
    odd = [sa(0x1001)._replace(tfc_padding=9), sa(0x1003, b"\3")._replace(protocol="comp")]
    odd.append(sa(0x1005, b"\5")._replace(encapsulation=Encapsulation(0, 0)))
    text, problems = backup.save([Entry(one, Counters()) for one in (*odd, sa(0x1004, b"\4"))], "")
    assert [one.spi for one in language.parse(text).sas] == [0x1004]
    assert [problem.message.partition(":")[0] for problem in problems] == ["left out"] * 3
    assert "no word for: tfc_padding=9" in problems[0].message and "0x00001001" in problems[0].place


def test_sas_that_cannot_be_loaded_together_are_named():
    text, problems = backup.save([Entry(sa(spi), Counters()) for spi in (0x1001, 0x1002)], "")
    assert text.count("add ah") == 2
    assert [problem.message.partition(":")[0] for problem in problems] == [
        "saved, but the file cannot be loaded with it"
    ]


def test_reserved_spis_and_shared_keys_are_saved_with_the_option_that_loads_them():
    entries = [Entry(sa(spi, key), Counters()) for spi, key in ((0x64, b"\2"), (0x1001, b"\1"), (0x1002, b"\1"))]
    text, problems = backup.save(entries, "")
    assert [str(problem).partition(": ")[2] for problem in problems] == [
        "saved, but the file cannot be loaded with it: the authentication key is also used by ah spi 0x00001001"
        " 192.0.2.1 > 192.0.2.2 transport hmac-sha1. Load it with allow_shared_key.",
        "saved, but the file cannot be loaded with it: SPI 100 is reserved (1 to 255). Load it with"
        " allow_reserved_spi.",
    ]
    allowed = {"allow_reserved_spi": True, "allow_shared_key": True}
    assert backup.save(entries, "", **allowed) == (text, [])
    assert language.parse(text, **allowed).sas == tuple(entry.sa for entry in entries)
