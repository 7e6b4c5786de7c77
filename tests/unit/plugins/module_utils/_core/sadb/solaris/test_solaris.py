# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The backend solaris against a model of the utility's prompt: its output is read correctly, and
every failure with status 0 is detected.
"""

from __future__ import annotations

import importlib.util
import json
import marshal
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import InputError, SadbError
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import model
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import (
    Lifetimes,
    Selector,
    identity,
    pack_address,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.plan import ALL, EXACT, PRESENT, plan
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb import open_sadb
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.solaris import (
    backend,
    output,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.text import language

MODEL = Path(__file__).with_name("modelled_ipseckey.py")
KEY = "5ec4e701" * 8
KEYS = [f"5ec4e7{number:02x}" * 8 for number in range(1, 16)]
MORE_KEYS = [f"5ec4e7{number:02x}" * 8 for number in range(17, 32)]


def sas_of(text, **options):
    return language.parse(text, **options).sas


def line(number, destination="192.0.2.2", source="192.0.2.1", rest=""):
    keys = f"encr_alg aes encrkey {KEYS[number]} auth_alg sha256 authkey {MORE_KEYS[number]}"
    return f"add esp spi 0x100{number:x} src {source} dst {destination} {keys} {rest}\n"


class Utility:
    """The model as an executable, and its SAs."""

    def __init__(self, folder):
        self.store = folder / "store"
        self.path = folder / "ipseckey"
        self.store.write_bytes(marshal.dumps({"sas": [], "local": [], "faults": {}, "runs": []}))
        # Imported, and so compiled once: a test starts it a dozen times.
        start = f"import sys; sys.path.insert(0, '{MODEL.parent}'); import {MODEL.stem}; {MODEL.stem}.main()"
        self.path.write_text(f'#!/bin/sh\nexec {sys.executable} -IS -c "{start}" {self.store} "$@"\n', encoding="ascii")
        self.path.chmod(0o700)

    def read(self):
        return marshal.loads(self.store.read_bytes())

    def write(self, **changes):
        self.store.write_bytes(marshal.dumps({**self.read(), **changes}))

    def commands(self):
        return [words[-1].split()[0] for words in self.read()["runs"] if words[-1].split()[0] not in ("save", "dump")]


@pytest.fixture(name="utility")
def make_utility(tmp_path):
    return Utility(tmp_path)


@pytest.fixture(name="sadb")
def make_sadb(utility, tmp_path, monkeypatch):
    monkeypatch.setattr(backend, "ADDRESSES", (("/bin/echo", "inet 127.0.0.1"),))
    return backend.SolarisSadb(str(utility.path), str(tmp_path / "ipsecalgs"))


def bring(sadb, sas, state=EXACT, scope=ALL):
    steps = plan(sas, sadb.dump(), state, scope)
    sadb.apply(steps.operations)
    return steps


def installed(sadb):
    return {identity(entry.sa): entry.sa for entry in sadb.dump()}


def everything(utility):
    """What the modelled kernel holds, whatever the utility shows of it."""
    return sorted(sorted(sa.items()) for sa in utility.read()["sas"])


GOOD = [
    line(1),
    line(2, "2001:db8::2", "2001:db8::1"),
    f"add ah spi 0x1003 dst 192.0.2.2 auth_alg md5 authkey {KEYS[1][:32]}\n",
    (
        "add esp spi 0x1004 src 192.0.2.1 dst 192.0.2.2 encr_alg 3des encrkey"
        f" {'0123456789abcdef' '1133557799bbddff' '2244668800aaccee'}\n"
    ),
    line(5, rest="proto 6 sport 1024 dport 80 replay 32 hard_bytes 1000 hard_addtime 60 inbound"),
    line(6, rest="proto 4 isrc 10.0.0.0/8 idst 10.1.0.0/16 iproto 17"),
    line(6, rest="proto 4 isrc 0.0.0.0/0 idst 0.0.0.0/0"),
    line(7, rest="encap udp nat_lport 4501"),
    line(7, rest="encap udp nat_lport 4501 inbound"),
    line(7, rest="encap udp nat_rem 10.1.1.1"),
    line(7, rest="encap udp nat_lport 4500 nat_rport 4501 nat_rem 10.1.1.1"),
    line(7, rest="encap udp nat_lport 4500 nat_rport 4501 nat_rem 10.1.1.1 outbound"),
    line(7, rest="encap udp nat_lport 4500 nat_rport 4501 nat_rem 10.1.1.1 inbound"),
    line(7, rest="encap udp nat_lport 4501 nat_rport 4502 isrc 0.0.0.0/32 idst 10.1.0.0/16 isport 7"),
    line(1, "2001:db8::2", "2001:db8::1", "encap udp nat_lport 4501 isrc ::/0 idst ::/0"),
    line(1, rest="srcidtype fqdn enigma.example dstidtype user_fqdn joe@example"),
    line(1, rest='dstidtype 7 "two  words, of spi isrc and inbound" srcidtype prefix "10.0.0.0 /8"'),
    f"add esp spi 0x1001 src 192.0.2.1 dst 192.0.2.2 encr_alg aes-gcm encrkey {KEYS[1]}01020304\n",
    f"add esp spi 0x1001 src 192.0.2.1 dst 192.0.2.2 encr_alg null auth_alg hmac-sha512 authkey {KEYS[1]}{KEYS[2]}\n",
]


@pytest.mark.parametrize("text", GOOD)
def test_an_added_sa_reads_back_equal(sadb, text):
    sas = sas_of(text, target=language.SOLARIS, allow_static_counter_mode=True)
    assert not [problem for sa in sas for problem in sadb.refusals(sa)]
    assert len(bring(sadb, sas).operations) == 1
    assert not bring(sadb, sas).operations
    assert [sa.extra for sa in installed(sadb).values()] == [sa.extra for sa in sas]
    assert bring(sadb, [], EXACT).count("delete") == 1 and not sadb.dump()


def test_keys_go_through_standard_input_only(sadb, utility):
    bring(sadb, sas_of(line(1)))
    for words in utility.read()["runs"]:
        assert words[:-1] in (["-n"], ["-nv"])
    assert KEYS[1] in str(utility.read()["runs"])


def test_differences_are_applied_and_nothing_is_flushed(sadb, utility):
    old = sas_of(line(1) + line(2) + line(3))
    bring(sadb, old)
    utility.write(runs=[])
    changed = sas_of(line(1) + line(2, rest="hard_bytes 5") + line(4))
    steps = bring(sadb, changed)
    assert [operation.kind for operation in steps.operations] == ["replace", "add", "delete"]
    assert utility.commands() == ["delete", "add", "add", "delete"]
    assert set(installed(sadb).values()) == set(changed)


def test_a_dump_shows_counters_state_and_direction(sadb, utility):
    bring(sadb, sas_of(line(1) + line(2, rest="inbound") + line(3)))
    sas = utility.read()["sas"]
    sas[1]["replay_value"] = "17"
    sas[2].update(state="LARVAL")
    utility.write(sas=sas)
    one, two, three = sorted(sadb.dump(), key=lambda entry: entry.sa.spi)
    assert one.counters == model.Counters(bytes=2048, add_time=1795305600, use_time=1795305607)
    assert (two.sa.direction, two.counters.sequence_in, two.sa.extra) == ("inbound", 17, ())
    assert three.larval and not three.sa.encryption_key
    assert [entry.sa.spi for entry in sadb.dump(protocol="esp", destination=pack_address("192.0.2.2"))] == [
        0x1001,
        0x1002,
        0x1003,
    ]
    assert not sadb.dump(protocol="ah") and not sadb.dump(source=pack_address("192.0.2.9"))


def test_sas_of_a_key_management_daemon_stay(sadb, utility):
    bring(sadb, sas_of(line(1) + line(2)))
    sas = utility.read()["sas"]
    sas[0]["manager"] = 1
    utility.write(sas=sas)
    steps = bring(sadb, sas_of(line(3)), scope="peers")
    assert (steps.foreign, steps.count("delete"), {sa.spi for sa in installed(sadb).values()}) == (
        1,
        1,
        {0x1001, 0x1003},
    )


def test_an_sa_that_our_own_text_could_not_have_is_read_anyway(sadb, utility):
    bring(sadb, sas_of(line(1)))
    (sa,) = utility.read()["sas"]
    strange = {**sa, "spi": "0x7", "encr_alg": "22", "encrkey": "00" * 32}
    utility.write(sas=[sa, strange])
    found = {entry.sa.spi: entry.sa for entry in sadb.dump()}
    assert found[7].encryption == "22" and found[7].encryption_key == bytes(32)
    bring(sadb, [], EXACT)
    assert not sadb.dump()


FAULTS = [
    ("refused", "did not add it (the encryption key has the wrong length)"),
    ("errno", "did not add it (Operation not supported)"),
    ("exists", "did not add it (such an SA already exists)"),
    ("echo", "(it does not take a key; ipseckey: something else; 1 lines are not shown, since they may contain keys)"),
    ("too long", "did not add it (it skipped a line that was too long)"),
    ("silent", "did not add it, and gave no reason (exit status 0)"),
    ("stray memory", "added it with another encryption_key"),
    ("cut", "did not add it"),
    ("dead", "accepted it but declared it dead"),
    ("quits", "did not add it, and gave no reason (exit status 0); 1 more SAs were refused"),
    ("dies", "(the kernel did not answer within 10 seconds)"),
]


@pytest.mark.parametrize(("fault", "words"), FAULTS)
def test_every_failure_with_status_0_is_detected_and_undone(sadb, utility, fault, words):
    old = sas_of(line(1) + line(2) + line(3))
    bring(sadb, old)
    sas = utility.read()["sas"]
    sas[0]["replay_value"] = "42"
    utility.write(sas=sas, faults={"add 0x1005": fault})
    before = everything(utility)
    wanted = sas_of(line(1, rest="hard_bytes 7") + line(4) + line(5) + line(6))
    with pytest.raises(SadbError) as caught:
        bring(sadb, wanted)
    assert words in str(caught.value) and "spi 0x00001005" in str(caught.value)
    assert "5ec4e7" not in str(caught.value) and "5ec4e7" not in repr(caught.value.args)
    assert "The SADB is as it was before" in str(caught.value)
    assert everything(utility) == before


def entered(utility, text):
    """Commands that somebody enters at the prompt."""
    subprocess.run((utility.path, "-n"), input=text, check=True, stdout=subprocess.DEVNULL, text=True)


UNLIKE_THEIR_SAVED_FORM = [
    "isrc 0.0.0.0/0 idst 0.0.0.0/0",
    "isrc 0.0.0.0/0 idst 10.1.0.0/16 iproto 6 idport 80",
    "isrc 10.1.0.0/16 idst 0.0.0.0/32",
    "isrc ::/0 idst 2001:db8:1::/48",
    "isrc ::/128 idst ::/0",
    "encap udp nat_lport 4501",
    "encap udp nat_lport 4501 nat_rport 4502 nat_rem 10.1.1.1",
    "encap udp nat_rport 4502 isrc 10.1.0.0/16 idst 0.0.0.0/0",
    'srcidtype fqdn "an identity with dst" dstidtype 7 inbound',
    "replay_value 4711",
]


@pytest.mark.parametrize("ends", [("192.0.2.2", "192.0.2.1"), ("2001:db8::2", "2001:db8::1")])
@pytest.mark.parametrize("local", [0, 1, None])
def test_an_undo_restores_what_save_omits(sadb, utility, ends, local):
    """The saved form lacks some prefix lengths, NAT addresses and directions."""
    utility.write(local=[] if local is None else [ends[local]])
    # The kernel accepts NAT addresses of IPv4 only.
    rests = [rest for rest in UNLIKE_THEIR_SAVED_FORM if "nat_rem" not in rest or ":" not in ends[0]]
    entered(utility, "".join(line(number, *ends, rest) for number, rest in enumerate(rests, 1)))
    utility.write(faults={"add 0x1000": "silent"})
    before = everything(utility)
    assert len(before) == len(rests)
    with pytest.raises(SadbError, match="The SADB is as it was before"):
        bring(sadb, sas_of("".join(line(number, *ends, "hard_bytes 7") for number in range(len(rests) + 1))))
    assert everything(utility) == before


def pair_of_lines(replaced=(), pair=""):
    """An outbound SA, and an inbound one between the same addresses."""
    ends = {1: ("192.0.2.2", "192.0.2.1", "outbound"), 2: ("192.0.2.1", "192.0.2.2", f"inbound {pair}")}
    return "".join(
        line(number, *addresses, rest + " hard_bytes 7" * (number in replaced))
        for number, (*addresses, rest) in ends.items()
    )


@pytest.mark.parametrize("replaced", [(1,), (2,), (1, 2)])
def test_an_undo_pairs_sas_again(sadb, utility, replaced):
    """Whether one SA of the pair was replaced or both; a pair that stays broken is named."""
    entered(utility, pair_of_lines(pair="pair-spi 0x1001"))
    before = everything(utility)
    assert str(before).count("'pair'") == 2
    wanted = sas_of(pair_of_lines(replaced) + line(5))
    utility.write(faults={"add 0x1005": "silent"})
    with pytest.raises(SadbError, match="The SADB is as it was before"):
        bring(sadb, wanted)
    assert everything(utility) == before
    utility.write(faults={"add 0x1005": "silent", "update 0x1001": "silent", "update 0x1002": "silent"})
    with pytest.raises(SadbError, match="Undoing the rest failed for: esp spi 0x0000100"):
        bring(sadb, wanted)


def test_an_identity_that_save_does_not_print_is_not_lost(sadb, utility):
    """Refused by name; an SA that has one is deleted, but neither replaced nor read as one without."""
    (wanted,) = sas_of(line(2, rest="srcidtype der_dn CN=enigma"))
    assert [(problem.place, "der_dn" in problem.message) for problem in sadb.refusals(wanted)] == [("srcidtype", True)]
    entered(utility, line(1, rest="srcidtype der_dn CN=enigma dstidtype der_gn x") + line(2))
    before = everything(utility)
    one = installed(sadb)[identity(sas_of(line(1))[0])]
    assert model.unsayable(one) == "dstidtype=der_gn srcidtype=der_dn"
    with pytest.raises(SadbError, match=r"does not print all of this SA.*Nothing was changed\."):
        bring(sadb, sas_of(line(1) + line(2, rest="hard_bytes 7")))
    assert everything(utility) == before
    bring(sadb, sas_of(line(2)))
    assert list(installed(sadb).values()) == list(sas_of(line(2)))


@pytest.mark.parametrize(
    ("printed", "words"),
    [
        ("No match for destination IP address.", "the source is not of the scope or family of the destination"),
        ("No match for IPV6 destination address.", "the source is not of the scope or family of the destination"),
        ("NAT-T local address enigma is vague, not using.", "a name has several addresses, so it was left out"),
        ("Cannot specify encryption with SA type ah.", "AH cannot encrypt"),
        ("Must specify 'encap udp' with any NAT-T port.", "a NAT address or port needs encap udp"),
        (
            "Must specify NAT-T remote or local address for UDP encapsulation.",
            "encap udp needs a NAT address or port",
        ),
        (
            "PF_KEY Diagnostic code 56: Malformed NAT-T remote address.",
            "the remote address before translation is not valid",
        ),
    ],
)
def test_complaints_are_in_our_words(printed, words):
    assert output.complaints(f"ipseckey> {printed}\nencrkey {KEY}\n", "") == [words]


def test_old_sas_stay_until_all_new_ones_are_added(sadb, utility):
    bring(sadb, sas_of(line(1) + line(2)))
    utility.write(faults={"add 0x1003": "silent"}, runs=[])
    with pytest.raises(SadbError):
        bring(sadb, sas_of(line(3)))
    assert utility.commands() == ["add"]


@pytest.mark.parametrize("late", [False, True])
def test_deletions_wait_and_additions_are_undone_if_it_is_late(sadb, late):
    old, new = sas_of(line(1) + line(2))
    bring(sadb, [old])
    shown = []

    def settle():
        shown.append({entry.sa for entry in sadb.dump()})
        if late:
            raise InputError("it is late", "deadline")

    steps = plan([new], sadb.dump(), EXACT, ALL).operations
    if late:
        with pytest.raises(SadbError, match="it is late. The SADB is as it was before."):
            sadb.apply(steps, settle)
    else:
        sadb.apply(steps, settle)
    assert shown == [{old, new}]
    assert list(installed(sadb).values()) == [old if late else new]


def test_it_is_said_that_it_is_late_even_if_the_sadb_cannot_be_read_any_more(sadb, monkeypatch):
    old, new = sas_of(line(1) + line(2))
    bring(sadb, [old])
    steps = plan([new], sadb.dump(), EXACT, ALL).operations

    def settle():
        monkeypatch.setattr(sadb, "_executable", "/nonexistent")
        raise InputError("it is late", "deadline")

    with pytest.raises(SadbError) as caught:
        sadb.apply(steps, settle)
    assert "it is late. Undoing the rest failed for: esp spi 0x00001002" in str(caught.value)


def test_additions_are_undone_if_the_utility_cannot_be_run_for_the_deletions(sadb, monkeypatch):
    old, new = sas_of(line(1) + line(2))
    bring(sadb, [old])
    steps = plan([new], sadb.dump(), EXACT, ALL).operations
    run = sadb._session

    def fails_once(commands, options="-n"):
        if commands[0].startswith("delete"):
            monkeypatch.undo()
            raise SadbError("it cannot be run (Resource temporarily unavailable)", "ipseckey")
        return run(commands, options)

    monkeypatch.setattr(sadb, "_session", fails_once)
    with pytest.raises(SadbError, match="temporarily unavailable.*The SADB is as it was before"):
        sadb.apply(steps)
    assert list(installed(sadb).values()) == [old]


def test_a_delete_without_effect_is_detected(sadb, utility):
    bring(sadb, sas_of(line(1) + line(2)))
    utility.write(faults={"delete 0x1001": "silent"})
    with pytest.raises(SadbError, match="did not delete it"):
        bring(sadb, sas_of(line(3)))
    assert {sa.spi for sa in installed(sadb).values()} == {0x1001, 0x1002}


def test_sas_that_could_not_be_restored_are_named(sadb, utility):
    bring(sadb, sas_of(line(1)))
    utility.write(faults={"add 0x1001": "silent"})
    with pytest.raises(SadbError) as caught:
        bring(sadb, sas_of(line(1, rest="hard_bytes 7")))
    assert "Undoing the rest failed for: esp spi 0x00001001" in str(caught.value)


def test_the_refusal_is_reported_even_if_the_sadb_cannot_be_read_any_more(sadb, utility, monkeypatch):
    bring(sadb, sas_of(line(1)))
    utility.write(faults={"add 0x1005": "silent"})
    read = sadb._read
    reads = []

    def fails_when_undoing():
        reads.append(1)
        if len(reads) == 4:  # the plan's, two around the change, and this
            raise SadbError("gone", "SADB")
        return read()

    monkeypatch.setattr(sadb, "_read", fails_when_undoing)
    with pytest.raises(SadbError) as caught:
        bring(sadb, sas_of(line(1) + line(5)))
    assert "did not add it" in str(caught.value)
    assert "Undoing the rest failed for: esp spi 0x00001005" in str(caught.value)


def test_an_outdated_plan_changes_nothing(sadb, utility):
    old, new = sas_of(line(1)), sas_of(line(1, rest="hard_bytes 7"))
    bring(sadb, old)
    steps = plan(new, sadb.dump(), PRESENT)
    adds = plan(sas_of(line(2)), sadb.dump(), PRESENT)
    bring(sadb, sas_of(line(1, rest="hard_bytes 8") + line(2)))
    utility.write(runs=[])
    for late, errno_name in ((steps, "ESTALE"), (adds, "EEXIST")):
        with pytest.raises(SadbError) as caught:
            sadb.apply(late.operations)
        assert caught.value.errno_name == errno_name
    bring(sadb, [])
    with pytest.raises(SadbError, match="no longer there"):
        sadb.apply(steps.operations)
    assert utility.commands() == ["delete", "delete"]


def test_des_parity_is_ignored(sadb):
    sas = sas_of(GOOD[3])
    bring(sadb, sas)
    assert next(iter(installed(sadb).values())).encryption_key != sas[0].encryption_key
    assert not bring(sadb, sas).operations


def test_flush(sadb, utility):
    bring(sadb, sas_of(line(1) + GOOD[2]))
    sadb.flush("ah")
    assert {sa.protocol for sa in installed(sadb).values()} == {"esp"}
    utility.write(faults={"": "no flush"})
    with pytest.raises(SadbError, match="still has 1 SA after a flush"):
        sadb.flush()
    utility.write(faults={})
    sadb.flush()
    assert not sadb.dump()


def test_a_truncated_dump_is_rejected(sadb, utility):
    bring(sadb, sas_of(line(1)))
    utility.write(faults={"": "no end"})
    with pytest.raises(SadbError, match="is incomplete"):
        sadb.dump()


def test_a_hanging_utility_is_killed(sadb, utility, monkeypatch):
    monkeypatch.setattr(backend, "_TIMEOUT", 1.0)
    utility.write(faults={"add 0x1002": "hangs"})
    with pytest.raises(SadbError, match="did not end within"):
        bring(sadb, sas_of(line(1) + line(2)))
    assert not sadb.dump()


def test_possible_changes_are_undone_if_the_sadb_cannot_be_read(sadb, monkeypatch):
    bring(sadb, sas_of(line(1) + line(2)))
    before = installed(sadb)

    def blind(session):
        raise SadbError("ipseckey cannot read the SADB", "SADB")

    wanted = sas_of(line(3) + line(4).replace("0x1004", "0x1002"))
    with monkeypatch.context() as patch:
        patch.setattr(sadb, "_after", blind)
        with pytest.raises(
            SadbError,
            match=r"Everything was undone as far as possible; the result is unknown for 3 SAs\.",
        ):
            bring(sadb, wanted, EXACT)
    assert installed(sadb) == before


def test_save_and_dump_must_agree(sadb):
    text = (
        "# begin assoc\nadd esp  \\\n    spi 0x1001 encr_alg aes-cbc replay 0  \\\n    src 192.0.2.1 \\\n    dst"
        " 192.0.2.2 \\\n\n# end assoc\n\n"
    )
    block = (
        "Base message (version 2) type DUMP, SA type ESP.\nSA: SADB_ASSOC spi=0x1001, replay window size=0,"
        " state=MATURE\nDST: AF_INET: port 0, 192.0.2.2.\n"
    )
    end = "Dump succeeded for SA type 0.\n"
    assert len(output.read(text + "ipseckey> " + block + end)) == 1
    with pytest.raises(SadbError, match="does not dump"):
        output.read(text + end)
    with pytest.raises(SadbError, match="does not save"):
        output.read(block + end)
    with pytest.raises(SadbError, match="unknown form"):
        output.read(text + block.replace("ESP", "RSVP") + end)


def test_the_dump_of_older_releases_is_read_too():
    block = (
        "Base message (version 2) type DUMP, SA type AH.\nMessage length 200 bytes, seq=1, pid=2.\nSA: SADB_ASSOC"
        " spi=0x8bcd1407, replay=8, state=MATURE\nSA: Authentication algorithm = hmac-md5\nSA: flags=0x80000000 <"
        " X_USED >\nSRC: Source address (proto=0/<unspecified>)\nSRC: AF_INET: port 0, 192.168.116.16 (enigma).\nDST:"
        " Destination address (proto=0/<unspecified>)\nDST: AF_INET: port 0, 192.168.13.213 (partym).\n LT: Lifetime"
        " information\nCLT: 984 bytes protected, 0 allocations used.\nCLT: SA added at time Sun Nov 22 00:00:00"
        " 2026\nCLT: \t(raw time value 7)\n\nDump succeeded for SA type 2.\n"
    )
    (dump,) = output.dumped(block.split("\n"))
    assert (dump.protocol, dump.spi, dump.source, dump.destination) == (
        "ah",
        0x8BCD1407,
        bytes([192, 168, 116, 16]),
        bytes([192, 168, 13, 213]),
    )
    assert (dump.counters.bytes, dump.counters.add_time, dump.state, dump.direction) == (984, 7, "MATURE", "")


def test_an_inbound_sa_has_the_local_port_of_its_destination(sadb, utility, tmp_path, monkeypatch):
    (sa,) = sas_of(line(1))
    wanted = sa._replace(direction="inbound", encapsulation=model.Encapsulation(4501, 4500, nat_remote=b"\n\1\1\1"))
    bring(sadb, [wanted])
    (stored,) = utility.read()["sas"]
    assert (stored["nat_lport"], stored["nat_rport"]) == ("4500", "4501")
    assert list(installed(sadb).values()) == [wanted]
    (tmp_path / "printed").write_text("\tinet 192.0.2.2 netmask ffffff00\n", encoding="ascii")
    monkeypatch.setattr(backend, "ADDRESSES", (("/bin/cat", str(tmp_path / "printed")),))
    assert [problem.place for problem in sadb.refusals(wanted._replace(direction=""))] == ["direction"]
    monkeypatch.setattr(backend, "ADDRESSES", (("/bin/echo", "inet 192.0.2.1"),))
    assert not sadb.refusals(wanted._replace(direction=""))


REFUSED = [
    ({"reqid": 1}, "reqid"),
    ({"mark": model.Mark(1)}, "mark"),
    ({"if_id": 1}, "if_id"),
    ({"output_mark": model.Mark(1)}, "output_mark"),
    ({"tfc_padding": 100}, "tfc_padding"),
    ({"nat_keepalive": 20}, "nat_keepalive"),
    ({"esn": True, "replay_window": 32}, "esn"),
    ({"icv_bits": 96}, "icv_bits"),
    ({"replay_window": 256}, "replay_window"),
    ({"replay_window": 32, "source": bytes(4)}, "replay_window"),
    ({"lifetimes": Lifetimes(hard_packets=1)}, "hard_packets"),
    ({"lifetimes": Lifetimes(soft_addtime=1)}, "soft_addtime"),
    ({"encryption": "aes-ctr"}, "encryption_algorithm"),
    ({"extra": (("pair-spi", "0x00001002"),)}, "pair-spi"),
    ({"extra": (("replay_value", str(1 << 32)),)}, "replay_value"),
    ({"selector": Selector(bytes([10, 0, 0, 0]), 8)}, "selector"),
]


@pytest.mark.parametrize(("fields", "place"), REFUSED)
def test_what_solaris_cannot_express_is_refused_by_name(sadb, fields, place):
    (sa,) = sas_of(line(1))
    assert place in [problem.place for problem in sadb.refusals(sa._replace(**fields))]
    assert not sadb.refusals(sa)


def test_preflight_asks_ipsecalgs(sadb, tmp_path):
    (sa,) = sas_of(line(1))
    assert not sadb.preflight([sa])
    table = tmp_path / "ipsecalgs"
    table.write_text(
        "#!/bin/sh\necho 'Protocol 2 (PROTO_IPSEC_AH):'; echo '  5 hmac-sha256,sha256 CKM_X 256/256-256'; echo '  7"
        " aes-cbc-old'\n",
        encoding="ascii",
    )
    table.chmod(0o700)
    (problem,) = sadb.preflight([sa])
    assert (problem.place, problem.errno_name) == ("aes-cbc", "EPROTONOSUPPORT")


@pytest.mark.parametrize(
    "printed",
    [
        (
            "lo0: flags=2001000849<UP> mtu 8232 index 1\n\tinet 127.0.0.1 netmask ff000000\nnet0: x\n\tinet 192.0.2.1"
            " netmask ffffff00 broadcast 192.0.2.255\nnet0: flags\n\tinet6 fe80::8:20ff:fe67:5e32/10\n"
        ),
        (
            "2: eth0\n    inet 127.0.0.1/8 scope host\n    inet 192.0.2.1/24 brd 192.0.2.255\n    inet6"
            " fe80::8:20ff:fe67:5e32/64 scope link\n"
        ),
    ],
)
def test_local_addresses(sadb, tmp_path, monkeypatch, printed):
    (tmp_path / "printed").write_text(printed, encoding="ascii")
    monkeypatch.setattr(backend, "ADDRESSES", (("/nowhere/ip",), ("/bin/cat", str(tmp_path / "printed"))))
    assert sadb.local_addresses() == {
        pack_address(text) for text in ("127.0.0.1", "192.0.2.1", "fe80::8:20ff:fe67:5e32")
    }
    monkeypatch.setattr(backend, "ADDRESSES", (("/bin/true",), ("/bin/echo", "lo0: flags")))
    assert sadb.local_addresses() == frozenset()
    monkeypatch.setattr(backend, "ADDRESSES", (("/bin/true",), ("/bin/false",)))
    with pytest.raises(SadbError, match="cannot be read"):
        sadb.local_addresses()


def test_a_host_without_ipseckey_is_reported():
    with pytest.raises(InputError, match="/nowhere/ipseckey"):
        backend.SolarisSadb("/nowhere/ipseckey")


# Remove what Python has on Linux only, then really run the modules, over the model.
ELSEWHERE = """
import importlib, json, os, socket, sys
from ansible.module_utils.testing import patch_module_args
for name in [name for name in dir(socket) if "NETLINK" in name]:
    delattr(socket, name)
del os.O_DIRECTORY
sys.platform = "sunos5"
utility, prefix, module, arguments = sys.argv[1:]
core = importlib.import_module(prefix + "module_utils._core.sadb.solaris.backend")
core.SolarisSadb.__init__.__defaults__ = (utility, "/nowhere/ipsecalgs")
for name in "ipsec_sa ipsec_sadb ipsec_sa_info ipsec_preflight ipsec_probe ipseckeys_file ipsec_boot".split():
    importlib.import_module(prefix + "modules." + name)
with patch_module_args(json.loads(arguments)):
    try:
        importlib.import_module(prefix + "modules." + module).main()
    finally:
        print([name for name in sys.modules if name.endswith((".netlink", ".xfrm", ".messages"))], file=sys.stderr)
"""


@pytest.mark.skipif(
    sys.version_info < (3, 9) or not importlib.util.find_spec("ansible"),
    reason="needs ansible-core, which this Python lacks",
)
def test_the_modules_run_without_any_linux_interface(utility):
    prefix = "ansible_collections.ipsec.manual.plugins."

    def run(module, **arguments):
        command = (sys.executable, "-c", ELSEWHERE, str(utility.path), prefix, module, json.dumps(arguments))
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.stderr == "[]\n", done.stderr + done.stdout
        return json.loads(done.stdout)

    for changed in (True, False):
        result = run("ipsec_sadb", content=line(1) + line(2), state="exact")
        assert (result["changed"], result["backend"]) == (changed, "solaris")
    sa, *dummy = run("ipsec_sa_info")["sas"]
    assert (sa["spi"], sa["counters"]["bytes"]) == ("0x00001001", 2048)
    assert run("ipsec_sa", protocol="esp", spi="0x1001", destination="192.0.2.2", state="absent")["changed"]
    assert [words[-1] for words in utility.read()["runs"] if words[-1].startswith("delete")] == [
        "delete esp spi 0x1001 dst 192.0.2.2\n"
    ]


def test_auto_on_solaris(monkeypatch, utility):
    monkeypatch.setattr(sys, "platform", "sunos5")
    monkeypatch.setattr(backend.SolarisSadb.__init__, "__defaults__", (str(utility.path), "/nowhere"))
    assert open_sadb().name == "solaris" and open_sadb("solaris").name == "solaris"
