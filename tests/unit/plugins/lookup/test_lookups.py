# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import importlib
import multiprocessing
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
from ansible.parsing.vault import VaultLib, VaultSecret

from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import keys
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.algorithms import ALGORITHMS, BY_NAME
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import format_address
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.reader import read_connections
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore import steps
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.directory import Keystore
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.generations import sas_of
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.vault import Vault

COLLECTIONS = pathlib.Path(keys.__file__).parents[7]


def look_up(plugin_name: str, /, *terms: t.Any, **options: t.Any) -> list[str]:
    """Run a lookup as the plugin loader does, without its way of importing: options from their
    documentation, then the plugin.
    """
    module = importlib.import_module(f"ansible_collections.ipsec.manual.plugins.lookup.{plugin_name}")
    plugin = module.LookupModule()
    plugin._load_name = f"ipsec.manual.{plugin_name}"
    config.initialize_plugin_configuration_definitions(
        "lookup", plugin._load_name, yaml.safe_load(module.DOCUMENTATION)["options"]
    )
    found: list[str] = plugin.run(list(terms), variables={}, **options)
    return found


def test_playbooks_find_them() -> None:
    template = (
        "{{ query('ipsec.manual.ipsec_key', 'aes', 'md5') + query('ipsec.manual.ipsec_spi', exclude=['0x1000'],"
        " count=3) }}"
    )
    command = [
        sys.executable,
        "-m",
        "ansible",
        "adhoc",
        "localhost",
        "-c",
        "local",
        "-i",
        "localhost,",
        "-m",
        "ansible.builtin.debug",
        "-a",
        f"msg={template}",
    ]
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
    ("term", "options", "message"),
    [
        ("aes-cbd", {}, "unknown encryption algorithm 'aes-cbd'. Nearest names: aes-cbc"),
        ("hmac-sha255", {}, "unknown authentication algorithm 'hmac-sha255'. Nearest names: "),
        ("sha255", {}, "unknown authentication algorithm 'sha255'. Nearest names: hmac-sha"),
        ("sha2-256", {}, "unknown authentication algorithm 'sha2-256'. Write hmac-sha256."),
        ("aes-cmac-96", {}, "unknown authentication algorithm 'aes-cmac-96'. Write aes-cmac."),
        ("aes256", {}, "unknown encryption algorithm 'aes256'. Write aes-cbc, with a key of 256 bits"),
        ("aes", {"bits": 100}, "aes-cbc has no key size of 100 bits. Choose one of: 256, 192, 128."),
        ("null", {}, "null takes no key"),
        ("12", {}, "not the name of an algorithm"),
        (12, {}, "not the name of an algorithm"),
        ("5" * 32, {}, "(a word of 32 characters, hidden since it may be a key) is not the name of an algorithm"),
        ("aes", {"bit": 128}, "there is no option 'bit'. Known are: bits, keystore, name, vault_id."),
    ],
)
def test_bad_terms_are_named(term: t.Any, options: dict[str, t.Any], message: str) -> None:
    with pytest.raises(AnsibleError, match="ipsec.manual.ipsec_key: ") as caught:
        look_up("ipsec_key", term, **options)
    assert message in str(caught.value)


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


def test_an_ambiguous_spi_causes_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("ansible_collections.ipsec.manual.plugins.lookup.ipsec_spi")
    warnings: list[str] = []
    monkeypatch.setattr(module.display, "warning", warnings.append)
    look_up("ipsec_spi", "1000", exclude=["1000", "0x1000"])
    (warning,) = warnings
    assert warning.startswith(
        "ipsec.manual.ipsec_spi: exclude: SPI 1000 is read as decimal, 0x000003e8, not as 0x00001000"
    )


def test_a_key_for_no_algorithm_is_refused() -> None:
    with pytest.raises(AnsibleError, match="no algorithm is named"):
        look_up("ipsec_key")


def test_many_spis_differ() -> None:
    assert len(set(look_up("ipsec_spi", count=1000))) == 1000


@pytest.mark.parametrize(
    ("terms", "options", "message"),
    [
        (("enigma",), {}, "exclude: "),
        (("010",), {}, "exclude: "),
        ((), {"exclude": ["0x1ffffffff"]}, "exclude: "),
        ((), {"count": -1}, "count: -1 SPIs cannot be drawn"),
        (
            (),
            {"excluded": ["0x1001"]},
            "there is no option 'excluded'. Known are: count, destination, exclude, keystore.",
        ),
        ((), {"destination": "192.0.2.1"}, "destination: a destination is given, but no keystore"),
        ((), {"count": 1 << 32}, "cannot be drawn"),
    ],
)
def test_bad_spi_options_are_named(terms: tuple[str, ...], options: dict[str, t.Any], message: str) -> None:
    with pytest.raises(AnsibleError, match="ipsec.manual.ipsec_spi: ") as caught:
        look_up("ipsec_spi", *terms, **options)
    assert message in str(caught.value)


def test_the_table_has_a_default_size_for_each_name() -> None:
    assert look_up("ipsec_key", *(name for name, row in BY_NAME.items() if row.key_bits))


class Loader:
    """What a lookup asks of Ansible's loader: paths and the vault secrets."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self._vault = VaultLib([("default", VaultSecret(b"correct horse"))])

    def path_dwim(self, path: str) -> str:
        return str(self.folder / path)


def kept(folder: pathlib.Path, plugin_name: str, /, *terms: t.Any, check: bool = False, **options: t.Any) -> list[str]:
    """`look_up` with a loader whose vault has a secret."""
    module = importlib.import_module(f"ansible_collections.ipsec.manual.plugins.lookup.{plugin_name}")
    plugin = module.LookupModule(loader=Loader(folder))
    plugin._load_name = f"ipsec.manual.{plugin_name}"
    config.initialize_plugin_configuration_definitions(
        "lookup", plugin._load_name, yaml.safe_load(module.DOCUMENTATION)["options"]
    )
    found: list[str] = plugin.run(list(terms), variables={"ansible_check_mode": check}, keystore="keystore", **options)
    return found


def test_a_kept_key_stays_the_same_and_is_stored_encrypted(tmp_path: pathlib.Path) -> None:
    (key,) = kept(tmp_path, "ipsec_key", "aes", name="one", bits=192)
    assert len(key) == 48 and kept(tmp_path, "ipsec_key", "cbc(aes)", name="one") == [key] == kept(
        tmp_path, "ipsec_key", "aes", name="one", bits=192
    )
    assert kept(tmp_path, "ipsec_key", "aes", name="two", bits=192) != [key]
    (path,) = (tmp_path / "keystore").glob("_key.one.yml")
    data = path.read_bytes()
    assert (
        data.startswith(b"$ANSIBLE_VAULT;1.1;AES256\n")
        and key.encode() not in data
        and path.stat().st_mode & 0o777 == 0o600
    )
    # It is not a connection.
    assert Keystore(str(tmp_path / "keystore"), Vault(None)).names() == []


@pytest.mark.parametrize(
    ("term", "options", "message"),
    [
        (
            "aes",
            {"name": "one", "bits": 256},
            "the key one is one of 192 bits for aes-cbc, not one for aes-cbc of 256 bits",
        ),
        ("3des", {"name": "one"}, "the key one is one of 192 bits for aes-cbc, not one for 3des-cbc"),
        ("aes", {"name": "../one"}, "name: '../one' is not a valid name for a key"),
        ("aes", {}, "name: a keystore keeps one key under one name"),
    ],
)
def test_a_kept_key_that_does_not_fit_is_refused(
    tmp_path: pathlib.Path, term: str, options: dict[str, t.Any], message: str
) -> None:
    kept(tmp_path, "ipsec_key", "aes", name="one", bits=192)
    before = {path.name: path.read_bytes() for path in (tmp_path / "keystore").iterdir()}
    with pytest.raises(AnsibleError) as caught:
        kept(tmp_path, "ipsec_key", term, **options)
    assert message in str(caught.value)
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "keystore").iterdir()}


def test_a_name_needs_a_keystore_and_a_keystore_one_term(tmp_path: pathlib.Path) -> None:
    with pytest.raises(AnsibleError, match="no keystore to keep the key in"):
        look_up("ipsec_key", "aes", name="one")
    with pytest.raises(AnsibleError, match="one key under one name"):
        kept(tmp_path, "ipsec_key", "aes", "md5", name="one")


def test_check_mode_keeps_nothing(tmp_path: pathlib.Path) -> None:
    first, second = (kept(tmp_path, "ipsec_key", "aes", name="one", check=True) for dummy in range(2))
    assert first != second and not list(tmp_path.iterdir())
    assert kept(tmp_path, "ipsec_key", "aes", name="one") == kept(tmp_path, "ipsec_key", "aes", name="one", check=True)


def ask(folder: pathlib.Path, start: t.Any, results: t.Any) -> None:
    start.wait()
    results.put([kept(folder, "ipsec_key", "aes", name=f"key{number}")[0] for number in range(5)])


def test_processes_that_ask_at_once_get_the_same_key(tmp_path: pathlib.Path) -> None:
    context = multiprocessing.get_context("fork")
    start, results = context.Barrier(4), context.Queue()
    processes = [context.Process(target=ask, args=(tmp_path, start, results)) for dummy in range(4)]
    for process in processes:
        process.start()
    found = [results.get(timeout=120) for dummy in processes]
    for process in processes:
        process.join()
    assert found[0] == found[1] == found[2] == found[3] and len(set(found[0])) == 5


@pytest.mark.parametrize("kind", ["random", "derived"])
def test_an_spi_of_the_keystore_is_not_drawn(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    store = Keystore(str(tmp_path / "keystore"), Vault([("default", VaultSecret(b"correct horse"))]))
    store.make_directory()
    connections = read_connections([{"name": "pair", "endpoints": {"a": "192.0.2.1", "b": "192.0.2.2"}}])
    step = steps.carry_out(store, connections, steps.Order("prepared", "me@here", store=kind))
    generation = step.outcomes["pair"].after.records[0].next
    assert generation is not None
    spis = {format_address(sa.destination): sa.spi for sa in sas_of(generation, "pair", step.roots.secrets())}

    def draw(*numbers: int, **options: t.Any) -> list[str]:
        drawn = iter(numbers)
        monkeypatch.setattr(os, "urandom", lambda count: next(drawn).to_bytes(4, "big"))
        return kept(tmp_path, "ipsec_spi", **options)

    assert draw(*spis.values(), 0x2000, 0x3000, exclude=[{"spi": "0x00002000", "protocol": "esp"}]) == ["0x00003000"]
    assert draw(spis["192.0.2.2"], spis["192.0.2.1"], destination="192.0.2.2") == [f"0x{spis['192.0.2.1']:08x}"]
    with pytest.raises(AnsibleError, match="destination: "):
        draw(0x2000, destination="enigma")
