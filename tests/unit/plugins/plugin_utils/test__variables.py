# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import InputError
from ansible_collections.ipsec.manual.plugins.plugin_utils._variables import check

WORDS = {"type": "list", "elements": "str", "choices": ["look", "load"]}


@pytest.mark.parametrize(
    ("spec", "given", "converted"),
    [
        ({"type": "bool"}, "false", False),
        ({"type": "bool"}, "yes", True),
        ({"type": "bool"}, 0, False),
        ({"type": "int"}, "60", 60),
        ({"type": "float"}, "2.5", 2.5),
        ({"type": "str"}, 7, "7"),
        ({"type": "dict"}, '{"age": "5d"}', {"age": "5d"}),
        (WORDS, "look,load", ["look", "load"]),
        (WORDS, [], []),
    ],
)
def test_values_are_converted_as_ansible_does(spec: dict[str, t.Any], given: t.Any, converted: t.Any) -> None:
    found = check(given, spec, "x")
    assert (type(found), found) == (type(converted), converted)


@pytest.mark.parametrize(
    ("spec", "given", "problem"),
    [
        ({"type": "bool"}, "maybe", "x: expected true or false, but found 'maybe'"),
        ({"type": "bool"}, [True], "x: expected true or false, but found a list"),
        ({"type": "int"}, float("inf"), "x: expected a whole number, but found 'inf'"),
        ({"type": "int"}, True, "x: expected a whole number, but found true"),
        ({"type": "float"}, "nan", "x: expected a number, but found 'nan'"),
        ({"type": "int", "range": (1, 9)}, 10, "x: expected a whole number from 1 to 9, but found '10'"),
        ({"type": "float", "range": (0, float("inf"))}, -0.1, "x: expected a number of 0 or more, but found '-0.1'"),
        ({"type": "str"}, {"a": "00" * 16}, "x: expected text, but found a mapping"),
        ({"type": "str"}, None, "x: expected text, but found nothing. Write a value, or remove the line."),
        ({"type": "str", "choices": ["", "a"]}, "b", "x: expected one of an empty text, a, but found 'b'"),
        (WORDS, ["look", "laod"], "x[1]: expected one of look, load, but found 'laod'. The nearest value is load."),
        (
            WORDS,
            "ab" * 16,
            "x[0]: expected one of look, load, but found (a word of 32 characters, hidden since it may be a key)",
        ),
        (WORDS, "look-" * 50, "but found 'look-look-look-look-look-look-look-lo..."),
    ],
)
def test_a_wrong_value_is_named_with_its_place(spec: dict[str, t.Any], given: t.Any, problem: str) -> None:
    with pytest.raises(InputError) as caught:
        check(given, spec, "x")
    assert problem in str(caught.value) and "00" * 16 not in str(caught.value)
