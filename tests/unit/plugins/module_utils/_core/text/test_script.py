# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import (
    InputError,
    IpsecError,
    Problems,
    TextError,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import INBOUND, Lifetimes, Mark, pack_address
from ansible_collections.ipsec.manual.plugins.module_utils._core.text import language, script
from ansible_collections.ipsec.manual.plugins.module_utils._core.text.grammar import (
    BY_WORD,
    COMMAND_BY_WORD,
    COMMANDS,
    FIELDS_OF_COMMAND,
    FILE,
    KEYWORDS,
    ONE_TYPE,
    PLACES,
    PROMPT,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.text.script import Step, Subject
from ansible_collections.ipsec.manual.tests.conformance.writing import text_of
from ansible_collections.ipsec.manual.tests.unit.plugins.module_utils._core.text import strategies

KEY = "308c9d5d11316f73900c811691eaa6fb9561c2ee"
KEY2 = "ca6eb4b0e134bb5664037d3011ed614d341d3635"
SA = f"spi 0x1001 src 192.0.2.1 dst 192.0.2.2 auth_alg sha1 authkey {KEY}"
ADD = f"add esp {SA}"
ONE = "esp spi 0x1001 dst 192.0.2.2"
SUBJECT = Subject("esp", 0x1001, pack_address("192.0.2.2"))
# One good form of each command.
FORMS = {
    "add": ADD,
    "update": f"update {ONE} hard_bytes 9",
    "update-pair": f"update-pair {ONE}",
    "delete": f"delete {ONE}",
    "delete-pair": f"delete-pair {ONE}",
    "get": f"get {ONE}",
    "flush": "flush",
    "dump": "dump esp",
    "save": "save all /root/keys",
    "status": "status /etc/keys",
    "monitor": "monitor",
    "pmonitor": "pmonitor",
    "help": "help add",
    "quit": "quit",
}


def steps(text, place=PROMPT, **options):
    return list(script.parse(text, "keys", place, **options).steps)


def one(text, place=PROMPT):
    (step,) = steps(text, place)
    return step


def refusals(text, place=PROMPT, **options):
    """All problems, each as (line, column, message with its fix). None shows a key."""
    with pytest.raises(IpsecError) as caught:
        steps(text, place, **options)
    assert KEY[:8] not in str(caught.value) and KEY2[:8] not in str(caught.value)
    found = caught.value.problems if isinstance(caught.value, Problems) else (caught.value,)
    assert all(isinstance(problem, TextError) for problem in found)
    return [(problem.line, problem.column, str(problem).partition(": ")[2]) for problem in found]


def refusal(text, place=PROMPT, **options):
    (found,) = refusals(text, place, **options)
    return found


def test_the_table_has_a_form_for_each_command():
    assert set(FORMS) == {row.name for row in COMMANDS}
    assert set(FIELDS_OF_COMMAND) == {row.name for row in COMMANDS if row.type == ONE_TYPE} - {"add"}
    fields = {row.field for row in KEYWORDS}
    assert all(set(allowed) <= fields for allowed in FIELDS_OF_COMMAND.values())


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("row", COMMANDS, ids=lambda row: row.name)
def test_a_command_is_accepted_where_the_table_says(row, place):
    for word in (row.name, *row.synonyms):
        text = FORMS[row.name].replace(row.name, word, 1)
        if place in row.places:
            assert one(text, place).command == row.name
        else:
            line, column, message = refusal(text, place)
            assert (line, column) == (1, 1) and message.startswith(f"{row.name} is "), message


@pytest.mark.parametrize("row", COMMANDS, ids=lambda row: row.name)
def test_surplus_words_are_refused(row):
    surplus = f"{FORMS[row.name]} {'colour' if row.name in ('add', *FIELDS_OF_COMMAND) else 'one more'}"
    assert refusals(surplus)


@pytest.mark.parametrize("row", [row for row in COMMANDS if row.type], ids=lambda row: row.name)
def test_a_wrong_sa_type_is_refused(row):
    rest = FORMS[row.name].split()[2:]
    assert any(
        "unknown SA type 'everything'" in message
        for dummy, dummy, message in refusals(" ".join((row.name, "everything", *rest)))
    )
    if row.type == ONE_TYPE:
        assert refusals(" ".join((row.name, "all", *rest)))
        assert refusals(row.name)


def test_the_fields_of_each_step():
    assert one(ADD).sa == language.parse(ADD).sas[0]
    assert one(f"update {ONE} hard_bytes 9 soft_addtime 3") == Step(
        "update", 1, None, SUBJECT, Lifetimes(hard_bytes=9, soft_addtime=3)
    )
    assert one("update 3 spi 0x1001 daddr 192.0.2.2 idle_addtime 5 pair-spi 0x1002").extra == (
        ("idle_addtime", "5"),
        ("pair-spi", "0x00001002"),
    )
    assert one(f"get {ONE} mark 1/0xff src 192.0.2.1 proto 6 sport 1 dport 2 inbound").subject == SUBJECT._replace(
        mark=Mark(1, 0xFF), source=pack_address("192.0.2.1"), traffic=(6, 1, 2), direction=INBOUND
    )
    assert one("flush").protocol == one("flush all").protocol == one("FLUSH all".lower()).protocol == ""
    assert one("flush AH").protocol == one("dump 2").protocol == "ah"
    assert one("save esp /root/a").word == "/root/a" and one("save all").word == ""
    assert one("help attr").word == "attr" and one("?").word == ""


def test_the_steps_of_a_file_are_in_its_order():
    text = (
        f"flush esp\n\n{ADD}\n# comment\nadd ah spi 0x1002 dst 192.0.2.2 \\\n auth_alg sha1 authkey {KEY2}\nget"
        f" {ONE}\nquit\n# end\n"
    )
    assert [(step.command, step.line) for step in steps(text, FILE)] == [
        ("flush", 1),
        ("add", 3),
        ("add", 5),
        ("get", 7),
        ("quit", 8),
    ]


def test_sas_are_read_as_a_text_of_sas_reads_them():
    text = "".join(
        f"add esp spi 0x{spi:x} dst 192.0.2.2 auth_alg sha1 authkey {spi:040x}\n" for spi in range(0x1000, 0x1100)
    )
    document = language.parse(text)
    assert [(step.sa, step.line) for step in steps(text, FILE)] == list(zip(document.sas, document.lines))


@pytest.mark.parametrize(
    "text", [f"{ADD}\nquit\n{ADD.replace('0x1001', '0x1002').replace(KEY, KEY2)}\n", "quit\nflush\n"]
)
def test_nothing_may_follow_quit_in_a_file(text):
    assert "after the quit on line" in refusal(text, FILE)[2]


@pytest.mark.parametrize("between", [f"delete {ONE}", "flush", "flush esp"])
def test_deleting_an_sa_makes_its_spi_available_again(between):
    again = ADD.replace(KEY, KEY2)
    assert len(steps(f"{ADD}\n{between}\n{again}\n", FILE)) == 3
    assert refusal(f"{ADD}\n{between}\n{again}\n{again.replace(KEY2, KEY2[::-1])}\n", FILE)[0] == 4


@pytest.mark.parametrize(
    "between", ["delete ah spi 0x1001 dst 192.0.2.2", "delete esp spi 0x1001 dst 192.0.2.3", "flush ah", f"get {ONE}"]
)
def test_other_commands_do_not_make_an_spi_available(between):
    line, dummy, message = refusal(f"{ADD}\n{between}\n{ADD.replace(KEY, KEY2)}\n", FILE)
    assert line == 3 and "used twice" in message


def test_a_key_is_never_used_twice_even_after_a_flush():
    assert "also used" in refusal(f"{ADD}\nflush\n{ADD}\n", FILE)[2]


@pytest.mark.parametrize("command", ["update", "delete", "get"])
@pytest.mark.parametrize(
    "attribute", [f"authkey {KEY}", "encr_alg aes", "reqid 3", "encap udp", "isrc 192.0.2.0/24", "replay 3"]
)
def test_only_what_the_command_can_use_is_accepted(command, attribute):
    line, column, message = refusal(f"{command} {ONE} {attribute}")
    name = attribute.split()[0]
    assert f"{command} takes no {name}" in message and column == len(f"{command} {ONE} {name} ") + 1
    assert ("new SPI" in message) == (name in ("authkey", "encr_alg") and command == "update")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("delete esp dst 192.0.2.2", "names no spi"),
        ("delete esp spi 0x1001", "names no dst"),
        (f"get {ONE} src ::1", "different address families"),
        (f"update {ONE} soft_bytes 9 hard_bytes 8", "soft limit 9 is above the hard limit 8"),
        (f"update {ONE} soft_alloc 9 hard_alloc 8", "soft limit 9 is above"),
        (f"get {ONE} spi 0x1002", "given twice"),
        ("spi 0x1001", "'spi' is not a command"),
        ("delet esp", "Nearest: delete"),
        (KEY, "hidden"),
        (f"flush {KEY}", "hidden"),
        (f"help {KEY}", "hidden"),
        (f"quit {KEY}", "too many words"),
        ("add", "SA type is missing"),
        ("delete spi 0x1001 dst 192.0.2.2", "SA type is missing"),
    ],
)
def test_each_problem_is_named(text, part):
    assert any(part in message for dummy, dummy, message in refusals(text))


def test_a_single_command_is_given_word_by_word():
    assert script.parse_words(["delete", *ONE.split()]).steps == (Step("delete", 1, None, SUBJECT),)
    assert script.parse_words(["save", "all", "/root/my keys"]).steps[0].word == "/root/my keys"
    assert script.parse_words(["save", "all", "/root/keys\\"]).steps[0].word == "/root/keys\\"
    for word in ("", " keys", "a\nflush", 'a"b', "\u00fc"):
        with pytest.raises(TextError):
            script.parse_words(["save", "all", word])
    with pytest.raises(TextError) as caught:
        script.parse_words(ADD.split())
    assert "every user" in str(caught.value) and KEY[:8] not in str(caught.value)


def test_an_unknown_target_is_refused():
    with pytest.raises(InputError, match="unknown target"):
        script.parse("", target="moon")


WORDS = st.one_of(
    st.sampled_from(sorted(COMMAND_BY_WORD)),
    st.sampled_from(sorted(BY_WORD)),
    st.sampled_from(["esp", "ah", "all", "0x1001", "192.0.2.2", "::1", KEY, "9", '"', '"a b"', "\\", "#", "\0"]),
    st.text(max_size=4),
)


@given(st.lists(st.tuples(WORDS, st.sampled_from([" ", "\n", " \\\n"])), max_size=30), st.sampled_from(PLACES))
def test_random_words_raise_only_our_errors(pieces, place):
    try:
        script.parse("".join(word + blank for word, blank in pieces), "heap", place)
    except IpsecError as error:
        assert KEY[:16] not in str(error)


def without_lines(found):
    return [step._replace(line=0) for step in found]


@given(strategies.steps())
def test_every_command_is_written_and_read_back_as_it_was(step):
    text = text_of([step])
    assert without_lines(steps(text, allow_static_counter_mode=True)) == [step]
    assert text.endswith("\n") and not text.endswith("\n\n") and all(len(line) < 2000 for line in text.splitlines())


@settings(max_examples=60)
@given(
    st.lists(strategies.steps(), max_size=6).filter(
        lambda found: strategies.together([step.sa for step in found if step.sa is not None])
    )
)
def test_a_text_of_commands_is_stable(found):
    text = text_of([*found, Step("quit", 0)])
    again = steps(text, allow_static_counter_mode=True)
    assert without_lines(again) == [*found, Step("quit", 0)]
    assert text_of(again) == text


def test_what_no_word_can_hold_is_not_written():
    for word in ('a"b', "a\nb", "\u00fc"):
        with pytest.raises(InputError):
            text_of([Step("save", 0, word=word)])
