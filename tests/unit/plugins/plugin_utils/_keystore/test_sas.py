# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib
import typing as t

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import InputError
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.directory import Keystore
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.sas import named
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.vault import Vault


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ({"name": "pair", "endpoints": {"a": "192.0.2.1"}}, "a mapping"),
        (["pair"], "a list"),
        (True, "true or false"),
        (None, "nothing"),
        ("", "''"),
        ("../pair", "'../pair'"),
        ("pair mesh", "'pair mesh'"),
        ("308c9d5d11316f73 0c811691eaa6fb9561c2ee", "(a word of 39 characters, hidden since it may be a key)"),
    ],
)
def test_anything_but_a_name_is_refused_before_any_file_is_read(
    tmp_path: pathlib.Path, name: t.Any, found: str
) -> None:
    store = Keystore(str(tmp_path), Vault(None))
    (tmp_path.parent / "pair.yml").write_text("outside", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        named(store, ["other", name], "current")
    assert str(caught.value).startswith(f"expected the name of a connection, found {found}.")
    assert "map(attribute='name')" in caught.value.hint


def test_a_name_may_be_digits(tmp_path: pathlib.Path) -> None:
    with pytest.raises(InputError, match="17.yml: there is no keystore file"):
        named(Keystore(str(tmp_path), Vault(None)), [17], "current")
