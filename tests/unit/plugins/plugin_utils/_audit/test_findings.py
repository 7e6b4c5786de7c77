# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every finding from the evidence for it, and none from a clean fleet."""

from __future__ import annotations

import copy
import re
import string
import typing as t

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.audit import evidence
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.limits import limits
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import (
    Counters,
    Entry,
    Lifetimes,
    SecurityAssociation,
)
from ansible_collections.ipsec.manual.plugins.plugin_utils._audit import report
from ansible_collections.ipsec.manual.plugins.plugin_utils._audit.counters import CAUSES, NO_STATES, Cause
from ansible_collections.ipsec.manual.plugins.plugin_utils._audit.findings import MOST_OF_A_KIND, finding
from ansible_collections.ipsec.manual.plugins.plugin_utils._audit.fleet import DAY, Fleet, Host, pairs_of
from ansible_collections.ipsec.manual.plugins.plugin_utils._audit.key_findings import DUE
from ansible_collections.ipsec.manual.plugins.plugin_utils._audit.kinds import KINDS, SEVERITIES
from ansible_collections.ipsec.manual.plugins.plugin_utils._audit.remedies import OF_OTHERS, OURS, REMEDIES
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.reader import read_connections
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation import due
from ansible_collections.ipsec.manual.tests.unit.plugins.plugin_utils._audit.fleets import (
    DIGEST,
    FILE,
    NAME,
    NOW,
    OTHER,
    OUTLINE,
    PAIR,
    changed,
    clean,
    fields,
    known,
    pairs,
    part,
    remark,
    row,
    way,
)

BOTH = ("enigma", "partym")
# A reason begins with the section of an RFC, or with the part of the guide, that it is from.
PARAGRAPH = re.compile(
    r"RFC \d+ sections? \d[\d.]*[ :]|Solaris guide, (?:security considerations|creating SAs|replacing SAs): "
)


def ids(fleet: Fleet) -> set[str]:
    return {found.id for found in report.findings_of(fleet)}


def without_keystore() -> Fleet:
    return clean()._replace(known={}, unread="no vault secret is loaded")


def absent() -> Fleet:
    fleet = clean()
    return fleet._replace(hosts={**fleet.hosts, "partym": Host("partym", FILE, reason="unreachable")})


def offset() -> Fleet:
    fleet = clean()
    return fleet._replace(hosts={**fleet.hosts, "enigma": fleet.hosts["enigma"]._replace(offset=-7.3)})


def behind() -> Fleet:
    return with_two_generations(changed(pairs(digest=OTHER, file_digest=OTHER)))


def with_two_generations(fleet: Fleet) -> Fleet:
    """The keystore still has the generation before the current one."""
    numbers = {OTHER: 6, DIGEST: 7}
    two = known(digests={NAME: numbers}, files={NAME: {6: OTHER, 7: DIGEST}}, outlines={NAME: {OTHER: 6, OUTLINE: 7}})
    return fleet._replace(known={"pair": two})


def hidden(**more: t.Any) -> Fleet:
    """A host that hides keys."""
    outlines = dict.fromkeys(("outline", "storable_outline", "file_outline"), OUTLINE)
    given = {"digest": "", "fingerprints": [], **outlines, **more}
    return changed(lambda answer: (fields(keys_hidden=True)(answer), pairs(**given)(answer)))


def counter_mode(**more: t.Any) -> Fleet:
    """A pair of which files hold what has no counter mode, which is nothing unless ``more`` says so."""
    storable = OTHER if more else ""
    given = {"storable_digest": storable, "file_digest": "", **more}
    fleet = changed(pairs(algorithms=["aes-gcm", "hmac-sha256"], **given), *BOTH)
    return fleet._replace(known={"pair": known(files={NAME: {7: storable}})})


EMPTY = {"sas": 0, "digest": "", "fingerprints": [], "budgets": [], "algorithms": [], "oldest": 0, "youngest": 0}


def both_hidden(**more: t.Any) -> Fleet:
    """Two hosts that hide keys, without a keystore. ``more`` is what enigma has."""
    outlines = dict.fromkeys(("outline", "storable_outline", "file_outline"), OUTLINE)

    def hide(answer: dict[str, t.Any]) -> None:
        fields(keys_hidden=True)(answer)
        pairs(digest="", fingerprints=[], **outlines)(answer)

    fleet = changed(hide, *BOTH)._replace(known={})
    fleet.hosts["enigma"].rows[NAME].update(more)
    return fleet


def foreign_in_file(
    change: t.Callable[[dict[str, t.Any]], object] = lambda answer: None, keystore: bool = True, **more: t.Any
) -> Fleet:
    """A host whose file has SAs that are in no connection. The kernel has none of them, unless ``more`` says so."""
    empty = {**EMPTY, "storable_digest": "", "name": "192.0.2.1|192.0.2.9#7,,0"}
    fleet = changed(lambda answer: (answer["pairs"].append(row(**{**empty, **more})), change(answer)))
    return fleet if keystore else fleet._replace(known={})


def with_counter(name: str) -> Fleet:
    """A counter of a host rose since the previous audit, which knew it."""
    fleet = changed(part("counters", **{name: 5}))
    return fleet._replace(counters={**fleet.counters, "enigma": {**fleet.counters["enigma"], name: 3}})


def foreign() -> Fleet:
    return changed(lambda answer: answer["pairs"].append(row(name="192.0.2.1|192.0.2.9#7,,0", fingerprints=[])))


def in_no_file(change: t.Callable[[dict[str, t.Any]], object]) -> Fleet:
    """A host whose file, after the change, has no SAs of the pair, or could not be read."""
    return changed(lambda answer: (pairs(file_digest="")(answer), change(answer)))


def foreign_and_older_than_the_file() -> Fleet:
    name = "192.0.2.1|192.0.2.9#7,,0"
    return changed(
        lambda answer: (
            answer["pairs"].append(row(name=name, fingerprints=[], file_digest="")),
            part("file", modified=NOW - DAY)(answer),
        )
    )


def shared_with_another_pair() -> Fleet:
    return changed(lambda answer: answer["pairs"].append(row(name="192.0.2.1|192.0.2.9#7,,0")))


# What is found in a fleet that differs from a clean one in one respect: everything, and nothing else.
CASES: list[tuple[Fleet, set[str]]] = [
    (clean(), set()),
    (clean()._replace(known={"pair": known(created={7: 91 * DAY})}), {"key-age"}),
    (changed(pairs(oldest=91 * DAY, youngest=91 * DAY)), {"key-age"}),
    (clean()._replace(known={"pair": known(created={7: 91 * DAY})}, age_limit=0), set()),
    (changed(pairs(budgets=[{"what": "packets", "used": 0.4999}])), set()),
    (changed(pairs(budgets=[{"what": "packets", "used": 0.5}])), {"due-packets"}),
    (changed(pairs(budgets=[{"what": "bytes", "used": 0.8}])), {"due-bytes"}),
    (changed(pairs(budgets=[{"what": "blocks", "used": 1.0}])), {"due-blocks"}),
    (changed(pairs(budgets=[{"what": "packets", "used": 0.95}])), {"due-now"}),
    (changed(pairs(budgets=[])), set()),
    (clean()._replace(known={"pair": known(promoted={7: 6 * DAY})}), {"key-reloaded"}),
    (changed(fields(uptime=4 * DAY)), {"key-reloaded"}),
    (changed(pairs(reloaded=1)), {"key-reloaded"}),
    (behind(), {"generation-behind", "drift-file-keystore"}),
    (behind()._replace(known={}), {"peers-differ"}),
    (changed(pairs(digest=OTHER, file_digest=OTHER)), {"peers-differ", "drift-keystore", "drift-file-keystore"}),
    (changed(pairs(digest=OTHER, file_digest=OTHER), *BOTH), {"drift-keystore", "drift-file-keystore"}),
    (changed(pairs(digest=OTHER), *BOTH), {"drift-keystore", "drift-file"}),
    (changed(pairs(digest=OTHER, file_digest=OTHER), *BOTH)._replace(known={}), set()),
    (changed(pairs(**EMPTY, file_digest=OTHER)), {"no-sas", "drift-file-keystore"}),
    (with_two_generations(changed(pairs(**EMPTY, file_digest=OTHER))), {"no-sas", "drift-file-keystore"}),
    (changed(lambda answer: (pairs(**EMPTY, file_digest="")(answer), remark("mode")(answer))), {"no-sas", "file-mode"}),
    (
        changed(lambda answer: (pairs(**EMPTY, file_digest=OTHER)(answer), fields(unread=["SADB: no"])(answer))),
        {"no-sas", "drift-file-keystore", "unread"},
    ),
    (hidden(file_digest=OTHER), {"keys-hidden", "agreement-unknown", "drift-file-keystore"}),
    (hidden(file_digest="", file_outline=""), {"keys-hidden", "agreement-unknown", "drift-file"}),
    (hidden(file_digest=OTHER, file_outline=OTHER), {"keys-hidden", "agreement-unknown", "drift-file"}),
    (
        hidden(outline=OTHER, storable_outline=OTHER)._replace(known={}),
        {"keys-hidden", "agreement-unknown", "drift-file"},
    ),
    (
        hidden(outline=OTHER, storable_outline=OTHER),
        {"keys-hidden", "agreement-unknown", "drift-keystore", "drift-file"},
    ),
    (
        with_two_generations(hidden(outline=OTHER, storable_outline=OTHER, file_outline=OTHER, file_digest=OTHER)),
        {"keys-hidden", "agreement-unknown", "generation-behind", "drift-file-keystore"},
    ),
    (
        changed(pairs(**EMPTY, file_digest=OTHER))._replace(known={"pair": known(phase="switching")}),
        {"no-sas", "rotation-unfinished"},
    ),
    (counter_mode(), {"counter-mode"}),
    (counter_mode(file_digest=OTHER), {"counter-mode"}),
    (counter_mode(file_digest=DIGEST), {"counter-mode", "drift-file"}),
    (counter_mode(file_digest=DIGEST)._replace(known={}), {"counter-mode", "drift-file"}),
    (counter_mode(file_digest="")._replace(known={}), {"counter-mode", "drift-file"}),
    (counter_mode()._replace(known={}), {"counter-mode"}),
    (clean()._replace(known={"pair": known(phase="switching")}), {"rotation-unfinished"}),
    (changed(pairs(file_digest=OTHER)), {"drift-file"}),
    (changed(pairs(file_digest="")), {"drift-file"}),
    (in_no_file(part("file", modified=NOW - DAY)), {"drift-file-keystore"}),
    (in_no_file(part("file", modified=NOW - DAY))._replace(known={}), {"file-newer"}),
    (
        changed(lambda answer: (pairs(digest=OTHER)(answer), part("file", modified=NOW - DAY)(answer)), *BOTH),
        {"drift-keystore", "file-newer"},
    ),
    (changed(lambda answer: (pairs(**EMPTY)(answer), part("file", exists=False)(answer))), {"no-sas", "file-missing"}),
    (in_no_file(part("file", exists=False, mode="", modified=0.0)), {"file-missing"}),
    (in_no_file(remark("mode")), {"file-mode"}),
    (in_no_file(remark("names", FILE, "partym")), {"file-names"}),
    (in_no_file(fields(unread=["protected file: permission denied"])), {"unread"}),
    (
        changed(lambda answer: (pairs(file_digest=OTHER)(answer), part("file", modified=NOW - DAY)(answer))),
        {"drift-file-keystore"},
    ),
    (changed(pairs(**EMPTY)), {"no-sas"}),
    (changed(pairs(**EMPTY), *BOTH), {"no-sas"}),
    (changed(pairs(**EMPTY), *BOTH)._replace(known={}, unread="x"), {"no-sas", "keystore-unread"}),
    (changed(fields(pairs=[])), {"no-sas", "drift-file-keystore"}),
    (changed(pairs(shared_keys=2)), {"key-shared"}),
    (shared_with_another_pair(), {"key-shared", "others-sas"}),
    (changed(pairs(fingerprints=["ffffffffffffffff"])), {"key-retired"}),
    (changed(pairs(shared_spis=2)), {"spi-shared"}),
    (changed(pairs(algorithms=["aes-cbc", "hmac-md5"])), {"algorithm-must-not"}),
    (changed(pairs(algorithms=["3des-cbc", "hmac-sha256"])), {"algorithm-should-not"}),
    (changed(pairs(algorithms=["aes-gcm"])), {"counter-mode"}),
    (changed(pairs(algorithms=["rot13"])), set()),
    (changed(pairs(integrity="none")), {"no-integrity"}),
    (changed(pairs(integrity="ah")), {"integrity-by-ah"}),
    (
        hidden(),
        {"keys-hidden", "agreement-unknown"},
    ),
    (both_hidden(), {"keys-hidden", "agreement-unknown"}),
    (
        both_hidden(outline=OTHER, storable_outline=OTHER, file_outline=OTHER),
        {"keys-hidden", "peers-differ"},
    ),
    (both_hidden(**EMPTY, outline="", storable_outline=""), {"keys-hidden", "no-sas"}),
    (without_keystore(), {"keystore-unread"}),
    (
        changed(pairs(oldest=0, youngest=0), *BOTH)._replace(known={}, unread="x"),
        {"keystore-unread", "key-age-unknown"},
    ),
    (changed(pairs(leaking=1)), {"no-policy"}),
    (changed(pairs(open=1)), {"no-inbound-policy"}),
    (changed(remark("policy-without-sa", "out 192.0.2.1/32 > 192.0.2.2/32", "0,,0")), {"policy-without-sa"}),
    (changed(remark("level-use", "out 192.0.2.1/32 > 192.0.2.2/32", "0,,0")), {"level-use"}),
    (changed(remark("level-use", "out 192.0.2.1/32 > 192.0.2.2/32", "7,,0")), set()),
    (changed(pairs(integrity_failures=3)), {"integrity-failures"}),
    (changed(pairs(replayed=3)), {"replayed"}),
    (changed(part("counters", XfrmInNoStates=5)), {"no-state-packets"}),
    (changed(part("counters", XfrmInError=2)), {"counter-rose"}),
    (with_counter("XfrmInPolBlock"), {"counter-expected"}),
    (with_counter("XfrmInStateProtoError"), {"counter-rose"}),
    (with_counter("XfrmOfTomorrow"), {"counter-rose"}),
    (changed(part("counters", XfrmInError=0)), set()),
    (changed(part("counters", XfrmInError=9))._replace(counters={}), set()),
    (changed(remark("world-readable")), {"file-world-readable"}),
    (changed(remark("mode")), {"file-mode"}),
    (changed(remark("owner")), {"file-owner"}),
    (changed(remark("path")), {"file-path"}),
    (
        changed(lambda answer: (remark("path", "/etc/inet")(answer), part("file", exists=False)(answer))),
        {"file-path"},
    ),
    (in_no_file(remark("links")), {"file-links"}),
    (changed(remark("acl")), {"file-acl"}),
    (changed(remark("links")), {"file-links"}),
    (changed(remark("file-system")), {"file-network"}),
    (changed(remark("unknown-file-system")), {"file-system-unknown"}),
    (changed(remark("copy", FILE + "~")), {"file-copy"}),
    (changed(remark("leftover", FILE + ".next")), {"file-leftover"}),
    (changed(remark("names", FILE, "partym")), {"file-names"}),
    (changed(remark("invalid", FILE, "line 3: 40 digits")), {"file-invalid"}),
    (changed(remark("history", "/export/eve/.bash_history")), {"key-in-history"}),
    (changed(remark("script", "/etc/rc.local")), {"key-in-script"}),
    (changed(remark("lockdown", "/sys/kernel/security/lockdown", "integrity")), set()),
    (changed(remark("something-new")), set()),
    (changed(part("file", exists=False, mode="", modified=0.0)), {"file-missing"}),
    (way(transport="community.general.telnet", clear=True), {"transport-clear"}),
    (way(unchecked=True), {"host-key-unchecked"}),
    (way(resolved=True), {"name-resolved"}),
    (way(shadowed=("audit_file",)), {"facts-change-inputs"}),
    (changed(remark("login", "me", "in.telnetd, from 192.0.2.9")), {"login-clear"}),
    (changed(remark("listens", "telnet", "port 23")), {"server-clear"}),
    (changed(part("service", installed=False)), {"service-absent"}),
    (changed(part("service", enabled=False)), {"service-disabled"}),
    (changed(part("service", state="failed")), {"service-failed"}),
    (
        changed(lambda answer: (part("service", state="failed")(answer), fields(pairs=[])(answer))),
        {"service-failed", "no-sas", "drift-file-keystore"},
    ),
    (changed(part("service", file="/etc/other")), {"service-other-file"}),
    (changed(remark("boots-without-policies", FILE, "2")), {"service-without-policies"}),
    (changed(remark("drop-in", "/etc/systemd/system/ipseckeys.service.d/a.conf")), {"service-overridden"}),
    (offset(), {"clock-offset"}),
    (changed(remark("swap", "/dev/sda2")), {"swap"}),
    (changed(remark("core", "kernel.core_pattern")), {"core-dumps"}),
    (foreign(), {"others-sas"}),
    (foreign_and_older_than_the_file(), {"others-sas"}),
    (foreign_in_file(), {"others-file"}),
    (foreign_in_file(fields(unread=["SADB: no"], backend="")), {"unread", "agreement-unknown"}),
    (foreign_in_file(remark("mode")), {"others-file", "file-mode"}),
    (foreign_in_file(sas=2, digest=DIGEST, storable_digest=DIGEST, youngest=5 * DAY), {"others-sas"}),
    (foreign_in_file(sas=2, digest=OTHER, storable_digest=OTHER, youngest=5 * DAY), {"others-sas", "others-file"}),
    (
        foreign_in_file(part("file", modified=NOW - DAY), sas=2, digest=OTHER, storable_digest=OTHER, youngest=5 * DAY),
        {"others-sas", "file-newer"},
    ),
    (changed(part("policies", **{"7,,0": 2})), {"others-policies"}),
    (absent(), {"absent", "agreement-unknown"}),
    (changed(fields(unread=["SADB: the process lacks CAP_NET_ADMIN"])), {"unread"}),
    (
        changed(
            lambda answer: (fields(unread=["service at boot: no"])(answer), part("service", installed=False)(answer))
        ),
        {"unread"},
    ),
]


@pytest.mark.parametrize(("fleet", "expected"), CASES)
def test_evidence_gives_these_findings_and_no_other(fleet: Fleet, expected: set[str]) -> None:
    assert ids(fleet) == expected


def test_what_is_due_is_due_in_a_rotation_too() -> None:
    assert f"{DUE['packets']:.0%}" == due.DEFAULTS["packets"] and f"{DUE['bytes']:.0%}" == due.DEFAULTS["bytes"]


@pytest.mark.parametrize(("more", "kinds"), [(-1, set()), (0, {"due-blocks"}), (1 << 32, {"due-blocks"})])
def test_blocks_are_due_where_a_rotation_says_so(more: int, kinds: set[str]) -> None:
    blocks = int(due.DEFAULTS["blocks64"])
    assert f"2^{blocks.bit_length() - 1} " in KINDS["due-blocks"].what and blocks == 1 << (blocks.bit_length() - 1)
    sa = SecurityAssociation("esp", 256, bytes(4), bytes(4), encryption="3des-cbc")
    counters = Counters(bytes=(blocks + more) * 8, packets=1000, add_time=int(NOW))
    assert ids(changed(pairs(budgets=evidence.budgets(limits(Entry(sa, counters), NOW))))) == kinds


def test_each_budget_that_is_due_is_found_with_its_figure() -> None:
    """On each host, and of several SAs the one that used most of it; the one that ends first is shown first."""
    sa = SecurityAssociation("esp", 256, bytes(4), bytes(4), encryption="3des-cbc")
    sa = sa._replace(lifetimes=Lifetimes(hard_bytes=1 << 41, hard_packets=1 << 32))
    counters = Counters(bytes=1 << 40, packets=int(0.965 * (1 << 32)), add_time=int(NOW))
    budgets = evidence.budgets(limits(Entry(sa, counters), NOW))
    fleet = changed(lambda answer: answer["pairs"][0].update(budgets=budgets), *BOTH)
    found = [row for row in report.findings_of(fleet) if row.id.startswith("due-")]
    assert {(row.id, row.host, row.place, row.what.partition(" %")[0].rpartition(" ")[2]) for row in found} == {
        (kind, host, what, figure)
        for host in BOTH
        for kind, what, figure in (
            ("due-now", "packets", "96.5"),
            ("due-bytes", "bytes", "50"),
            ("due-blocks", "blocks", "13107200"),
        )
    }
    (pair,) = report.make(fleet, "2026-11-27T22:00:00Z")["pairs"]
    assert [row["what"] for row in pair["budgets"]] == ["packets", "blocks", "bytes"]
    assert pair["due"] == ["blocks", "budget", "bytes"]


def test_two_budgets_that_are_about_to_end_are_two_findings() -> None:
    budgets = [{"what": "packets", "used": 0.99}, {"what": "bytes", "used": 0.96}]
    found = [row for row in report.findings_of(changed(pairs(budgets=budgets))) if row.id == "due-now"]
    assert sorted(row.what.partition(" of an")[0] for row in found) == ["96 % of the bytes", "99 % of the packets"]


def test_what_a_file_holds_instead_is_said() -> None:
    for fleet, text in (
        (with_two_generations(changed(pairs(**EMPTY, file_digest=OTHER))), "the file holds generation 6 of"),
        (changed(pairs(**EMPTY, file_digest=OTHER)), "the file holds SAs that match no generation as a whole of"),
        (changed(pairs(**EMPTY, file_digest="")), "the file holds no SAs of"),
    ):
        (found,) = (row for row in report.findings_of(fleet) if row.id == "drift-file-keystore")
        assert text in found.what and "the keystore has generation 7," in found.what
        assert (found.host, found.pair) == ("enigma", PAIR)


def test_whose_sas_a_newer_file_has_is_said() -> None:
    newer, given = part("file", modified=NOW - DAY), {"sas": 2, "digest": OTHER, "storable_digest": OTHER}
    own = in_no_file(newer)._replace(known={})
    others = foreign_in_file(newer, youngest=5 * DAY, **given)
    both = foreign_in_file(
        lambda answer: (newer(answer), pairs(file_digest="")(answer)), False, youngest=DAY * 5, **given
    )
    for fleet, whose in ((own, OURS), (others, OF_OTHERS), (both, f"{OURS} and {OF_OTHERS}")):
        (found,) = (row for row in report.findings_of(fleet) if row.id == "file-newer")
        assert found.what.endswith(f"has other SAs for {whose}")
        commands = " ".join(row.command for row in found.commands)
        assert ("rotate_only=enigma" in commands, "--apply" in commands) == (OURS in whose, OF_OTHERS in whose)


@pytest.mark.parametrize("cause", CAUSES)
def test_each_counter_says_why_it_rises(cause: Cause) -> None:
    for counter in cause.counters:
        (found,) = report.findings_of(with_counter(counter))
        assert (found.severity == "info") == cause.is_expected and cause.text in found.fix
        assert ("rotate" in found.commands[0].command) == (cause.remedy == "new keys")


def test_packets_that_no_policy_covers_broke_none() -> None:
    fixes = {}
    for counter in ("XfrmInNoPols", "XfrmInTmplMismatch"):
        (found,) = report.findings_of(with_counter(counter))
        fixes[counter] = found.fix
    assert "a policy requires protection" in fixes["XfrmInTmplMismatch"]
    assert "a policy requires protection" not in fixes["XfrmInNoPols"] and "no policy allows" in fixes["XfrmInNoPols"]


def test_counters_are_those_of_the_kernel() -> None:
    counters = [name for cause in CAUSES for name in cause.counters] + [NO_STATES]
    assert len(set(counters)) == len(counters) and all(
        re.fullmatch("Xfrm(In|Out|Fwd|Acquire)[A-Za-z]+", name) for name in counters
    )


def test_every_kind_is_found_in_some_fleet() -> None:
    assert set().union(*(expected for dummy, expected in CASES)) == set(KINDS)


def test_keys_of_hosts_that_do_not_answer_are_as_old_as_the_keystore_says() -> None:
    silent = clean()._replace(hosts={name: Host(name, FILE, reason="unreachable") for name in BOTH})
    assert "key-age-unknown" in ids(silent._replace(known={}))
    old = silent._replace(known={"pair": known(created={7: 91 * DAY})})
    assert ids(silent) == {"absent", "agreement-unknown"} and ids(old) == ids(silent) | {"key-age"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_has_a_reason_and_known_placeholders(kind: str) -> None:
    found = KINDS[kind]
    assert found.severity in SEVERITIES and found.what
    assert PARAGRAPH.match(found.why) and found.why.endswith((".", "?"))
    names = {name for dummy, name, *dummy in string.Formatter().parse(found.what)}
    assert names - {None} <= {"host", "pair", "place", "detail", "age", "limit", "used", "what", "mine", "theirs"}


def test_findings_about_connections_name_the_connection_in_their_remedy() -> None:
    for fleet, dummy in CASES:
        for found in report.findings_of(fleet):
            if found.pair and "{only}" in "".join(REMEDIES[found.id].commands):
                assert "rotate_only=pair" in found.commands[0].command


def test_no_host_fills_the_report() -> None:
    def many(answer: dict[str, t.Any]) -> None:
        rows = [row(name=f"192.0.2.1|198.51.{n // 250}.{n % 250}#7,,0", shared_keys=1) for n in range(1000)]
        answer["pairs"] += rows

    found = [row for row in report.findings_of(changed(many)) if row.id == "key-shared" and not row.pair]
    assert len([row for row in found if row.host]) == len([row for row in found if not row.host]) == MOST_OF_A_KIND


def test_a_finding_names_host_and_pair() -> None:
    (found,) = report.findings_of(changed(pairs(leaking=1)))
    assert (found.host, found.pair) == ("enigma", PAIR)
    assert found.severity == "high"


def test_a_hundred_copies_are_a_hundred_findings_with_places_of_their_own() -> None:
    def copies(answer: dict) -> None:
        for number in range(100):
            remark("copy", f"{FILE}.{number}")(answer)
            remark("copy", f"{FILE}.{number}")(answer)

    assert len({found.key for found in report.findings_of(changed(copies))}) == 100


def test_long_words_of_a_host_are_cut() -> None:
    assert len(finding("file-copy", "h", place="x" * 5000, detail="y" * 5000).what) < 1000


@pytest.mark.parametrize("kind", KINDS)
def test_texts_of_a_host_are_never_templates(kind: str) -> None:
    words = dict.fromkeys(("detail", "age", "limit", "used", "what", "mine", "theirs"), "{place.__class__}")
    found = finding(kind, "h", "p", "{host.__class__}", **words)
    assert "<class" not in found.what + found.fix + str(found.commands)


def test_group_members_share_one_key() -> None:
    connections = read_connections(
        [
            {
                "name": "ospf",
                "endpoints": {"a": "192.0.2.1", "b": "192.0.2.2", "c": "192.0.2.3"},
                "multicast": ["224.0.0.5", "224.0.0.6"],
                "associations": [{"protocol": "ah"}],
            }
        ]
    )
    found = list(pairs_of(connections, {"a", "b", "c"}))
    assert [pair.hosts for pair in found] == [("a", "b"), ("a", "c")]
    assert found[0].keys == ("0.0.0.0|224.0.0.5#0,,0", "0.0.0.0|224.0.0.6#0,,0")
    fleet = clean()
    hosts = {}
    for name in "abc":
        host = copy.deepcopy(fleet.hosts["enigma"])
        rows = {key: row(name=key) for key in found[0].keys}
        hosts[name] = host._replace(name=name, rows=rows)
    fleet = fleet._replace(hosts=hosts, pairs=tuple(found), known={}, counters={})
    assert ids(fleet) == set()


def test_a_key_that_a_group_shares_with_others_is_about_the_group() -> None:
    addresses = {"a": "192.0.2.1", "b": "192.0.2.2"}
    connections = read_connections([{"name": "ospf", "endpoints": addresses, "multicast": ["224.0.0.5", "224.0.0.6"]}])
    (pair,) = pairs_of(connections, addresses)
    fleet = clean()
    rows = {key: row(name=key) for key in (*pair.keys, NAME)}
    hosts = {name: fleet.hosts["enigma"]._replace(name=name, rows=rows) for name in addresses}
    found = report.findings_of(fleet._replace(hosts=hosts, pairs=(pair,), known={}, counters={}))
    shared = {(row.pair, row.what) for row in found if row.id == "key-shared"}
    assert shared == {
        (pair.name, "two SAs have the same key: ospf"),
        ("", "two SAs have the same key: 192.0.2.1 and 192.0.2.2"),
    }


def test_what_a_host_says_of_others_pairs_does_not_count() -> None:
    connections = read_connections(
        [{"name": "pair", "endpoints": {"enigma": "192.0.2.1", "partym": "192.0.2.2", "liar": "192.0.2.3"}}]
    )
    fleet = clean()
    liar = fleet.hosts["enigma"]._replace(
        name="liar", rows={NAME: row(shared_keys=2, fingerprints=["00112233445566aa"])}
    )
    hosts = {**fleet.hosts, "liar": liar}
    fleet = fleet._replace(hosts=hosts, pairs=tuple(pairs_of(connections, hosts)), known={})
    assert not [found for found in report.findings_of(fleet) if found.pair == PAIR]


def test_pairs_of_absent_networks_are_left_out() -> None:
    connections = read_connections([{"name": "pair", "endpoints": {"a": "192.0.2.1", "b": "192.0.2.2"}}])
    assert list(pairs_of(connections, {"c"})) == []
