# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ipsec.manual.plugins.module_utils._core import errors
from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import (
    InputError,
    IpsecError,
    Problems,
    TextError,
)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (IpsecError("it broke"), "it broke"),
        (InputError("it broke", "sas[2].spi"), "sas[2].spi: it broke"),
        (InputError("it broke.", "spi", "Fix it."), "spi: it broke. Fix it."),
        (TextError("it broke", "keys", 3, 14, "Fix it."), "keys, line 3, column 14: it broke. Fix it."),
    ],
)
def test_an_error_says_place_then_message_then_fix(error, text):
    assert str(error) == text


def test_a_text_error_keeps_its_place_as_numbers():
    error = TextError("it broke", "keys", 3, 14)
    assert (error.name, error.line, error.column) == ("keys", 3, 14)


def test_no_problem_raises_nothing():
    errors.raise_all([])


def test_one_problem_is_raised_as_itself():
    problem = InputError("one")
    with pytest.raises(InputError) as caught:
        errors.raise_all([problem])
    assert caught.value is problem


def test_several_problems_are_raised_together_each_on_its_line():
    with pytest.raises(Problems) as caught:
        errors.raise_all([InputError("one", "a"), InputError("two", "b")])
    assert str(caught.value).splitlines() == ["a: one", "b: two"]
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize(
    "word",
    [
        "10.0.0.256",
        "0x8bcd14",
        "2001:db8:8bcd:1407::zz",
        "no-such-host.invalid",
        "hmac-sha256",
        "123456789012345",
        "",
        "x" * 40,
    ],
)
def test_a_word_that_cannot_be_a_key_is_shown(word):
    assert errors.shown(word) == repr(word)


@pytest.mark.parametrize("word", ["8bcd1407", "0x8bcd1407", "key=8BCD1407f", "8bcd140;18907dae;122", "(8bcd14071/"])
def test_a_group_of_a_key_is_hidden(word):
    assert "8bcd" not in errors.shown(word).lower() and f"a word of {len(word)} characters" in errors.shown(word)


def test_a_long_word_is_cut():
    assert errors.shown("x" * 41) == repr("x" * 37 + "...")


@pytest.mark.parametrize("separator", ["", ":", "-", ".", "_"])
@given(
    key=st.binary(min_size=8, max_size=40),
    around=st.sampled_from([("", ""), ("0x", ""), ("", "/128"), ("encrkey=", "")]),
)
def test_whatever_may_be_a_key_is_hidden(separator, key, around):
    text = around[0] + separator.join(f"{byte:02x}" for byte in key) + around[1]
    shown = errors.shown(text)
    assert "hidden" in shown
    assert text not in shown
    assert not any(pair in shown for pair in [key.hex(), key.hex()[:8], key.hex()[-8:]])


def test_each_front_end_spells_the_option_of_a_hint():
    error = IpsecError("it is refused", "place", "Accept it {resolve_names}.")
    assert str(error) == "place: it is refused. Accept it with resolve_names."
    assert error.spelled({"resolve_names": "without -n"}).endswith("Accept it without -n.")
    assert Problems([error, error]).spelled({"resolve_names": "without -n"}).count("without -n") == 2


def test_words_of_a_hint_take_values():
    hint = IpsecError("it is weak", "key", "{new_key:aes-cbc:32}")
    assert str(hint).endswith("with the lookup ipsec.manual.ipsec_key, algorithm aes-cbc.")
    assert hint.spelled({"new_key": "Draw {1} bytes."}).endswith("Draw 32 bytes.")


def test_braces_of_a_path_in_a_hint_stay():
    assert str(IpsecError("the file has mode 0644", "/etc/{keys}", "chmod 600 /etc/{keys}")).endswith("600 /etc/{keys}")
