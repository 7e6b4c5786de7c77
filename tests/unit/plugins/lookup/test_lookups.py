# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import importlib
import os
import pathlib
import re
import subprocess
import sys
import typing as t

import pytest
import yaml

from ansible.constants import config
from ansible.errors import AnsibleError

from ansible_collections.ipsec.manual.plugins.module_utils._core import keys
from ansible_collections.ipsec.manual.plugins.module_utils._core.algorithms import ALGORITHMS, BY_NAME

COLLECTIONS = pathlib.Path(keys.__file__).parents[6]


def look_up(name: str, *terms: t.Any, **options: t.Any) -> list[str]:
    """What the plugin loader does, without its own way of importing: options by their documentation, then the plugin."""
    module = importlib.import_module(f"ansible_collections.ipsec.manual.plugins.lookup.{name}")
    plugin = module.LookupModule()
    plugin._load_name = f"ipsec.manual.{name}"
    config.initialize_plugin_configuration_definitions("lookup", plugin._load_name, yaml.safe_load(module.DOCUMENTATION)["options"])
    found: list[str] = plugin.run(list(terms), variables={}, **options)
    return found


def test_playbooks_find_them() -> None:
    template = "{{ query('ipsec.manual.ipsec_key', 'aes', 'md5') + query('ipsec.manual.ipsec_spi', exclude=['0x1000'], count=3) }}"
    command = [sys.executable, "-m", "ansible", "adhoc", "localhost", "-c", "local", "-i", "localhost,", "-m", "ansible.builtin.debug", "-a", f"msg={template}"]
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    words = re.findall(r'"([0-9a-fx]+)"', done.stdout)
    assert [len(word) for word in words] == [64, 32, 10, 10, 10]


@pytest.mark.parametrize("row", [row for row in ALGORITHMS if row.key_bits], ids=lambda row: row.name)
def test_a_key_fits_its_algorithm(row: t.Any) -> None:
    for bits in (None, *row.key_bits):
        (key,) = look_up("ipsec_key", row.name, **({} if bits is None else {"bits": bits}))
        assert len(key) * 4 == (bits or row.key_bits[0]) + row.salt_bits
        assert keys.problem(row, bytes.fromhex(key)) == ""
        assert keys.set_parity(row, bytes.fromhex(key)).hex() == key


def test_every_term_gets_a_key_and_every_key_is_new() -> None:
    first = look_up("ipsec_key", "aes", "SHA256", "cbc(aes)")
    assert [len(key) for key in first] == [64, 64, 64]
    assert len({*first, *look_up("ipsec_key", "aes", "SHA256", "cbc(aes)")}) == 6


def test_keys_come_from_the_operating_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "urandom", lambda count: bytes(range(count)))
    assert look_up("ipsec_key", "aes-cbc") == [bytes(range(32)).hex()]
    monkeypatch.setattr(os, "urandom", lambda count: (0x12345678).to_bytes(4, "big"))
    assert look_up("ipsec_spi") == ["0x12345678"]


@pytest.mark.parametrize(
    ("term", "options", "told"),
    [
        ("aes-cbd", {}, "unknown encryption algorithm 'aes-cbd'. Nearest names: aes-cbc"),
        ("hmac-sha255", {}, "unknown authentication algorithm 'hmac-sha255'. Nearest names: "),
        ("aes", {"bits": 100}, "aes-cbc has no key size of 100 bits. Choose one of: 256, 192, 128."),
        ("null", {}, "null takes no key"),
        ("12", {}, "no name of an algorithm"),
        (12, {}, "no name of an algorithm"),
    ],
)
def test_bad_terms_are_named(term: t.Any, options: dict[str, t.Any], told: str) -> None:
    with pytest.raises(AnsibleError, match="ipsec.manual.ipsec_key: ") as caught:
        look_up("ipsec_key", term, **options)
    assert told in str(caught.value)


def test_a_wrong_option_type_is_refused() -> None:
    with pytest.raises(AnsibleError):
        look_up("ipsec_key", "aes", bits="many")


def test_an_spi_is_never_reserved(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter([0, 1, 255, 256, 0xFFFFFFFF])
    monkeypatch.setattr(os, "urandom", lambda count: next(drawn).to_bytes(4, "big"))
    assert look_up("ipsec_spi", count=2) == ["0x00000100", "0xffffffff"]


def test_an_spi_is_unique(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter([0x1000, 0x2000, 0x3000, 0x3000, 0x4000])
    monkeypatch.setattr(os, "urandom", lambda count: next(drawn).to_bytes(4, "big"))
    assert look_up("ipsec_spi", "4096", exclude=["0x2000"], count=2) == ["0x00003000", "0x00004000"]


def test_whatever_a_sadb_shows_can_be_excluded() -> None:
    assert look_up("ipsec_spi", "0", "0x00000064", exclude=["0x00000000", "255", "0x8bcd1407"])


def test_an_spi_of_two_readings_is_warned_about(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("ansible_collections.ipsec.manual.plugins.lookup.ipsec_spi")
    warnings: list[str] = []
    monkeypatch.setattr(module.display, "warning", warnings.append)
    look_up("ipsec_spi", "1000", exclude=["1000", "0x1000"])
    (warning,) = warnings
    assert warning.startswith("ipsec.manual.ipsec_spi: exclude: SPI 1000 is read as decimal, 0x000003e8, not as 0x00001000")


def test_a_key_for_no_algorithm_is_refused() -> None:
    with pytest.raises(AnsibleError, match="no algorithm is named"):
        look_up("ipsec_key")


def test_many_spis_differ() -> None:
    assert len(set(look_up("ipsec_spi", count=1000))) == 1000


@pytest.mark.parametrize(
    ("terms", "options", "told"),
    [
        (("enigma",), {}, "exclude: "),
        (("010",), {}, "exclude: "),
        ((), {"exclude": ["0x1ffffffff"]}, "exclude: "),
        ((), {"count": -1}, "count: -1 SPIs cannot be drawn"),
        ((), {"count": 1 << 32}, "cannot be drawn"),
    ],
)
def test_bad_spi_options_are_named(terms: tuple[str, ...], options: dict[str, t.Any], told: str) -> None:
    with pytest.raises(AnsibleError, match="ipsec.manual.ipsec_spi: ") as caught:
        look_up("ipsec_spi", *terms, **options)
    assert told in str(caught.value)


def test_the_table_has_a_default_size_for_each_name() -> None:
    assert look_up("ipsec_key", *(name for name, row in BY_NAME.items() if row.key_bits))
