# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The backend solaris with our own ipseckey as /usr/sbin/ipseckey: the modules work, and faults of
that command are detected. ip(8) checks the results.
"""

from __future__ import annotations

import shutil
import typing as t
from pathlib import Path

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils import _core
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.solaris.backend import EXECUTABLE, SolarisSadb
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm.backend import XfrmSadb
from ansible_collections.ipsec.manual.plugins.module_utils._core.text.language import SOLARIS, parse, render
from ansible_collections.ipsec.manual.tests.kernel import witness
from ansible_collections.ipsec.manual.tests.kernel.test_modules import (
    AH,
    DIRECTORY,
    ESP,
    OTHER_KEY,
    Arguments,
    expect_once,
    held,
    pair_of_sas,
    run,
)

MISBEHAVING = Path(__file__).with_name("misbehaving_ipseckey.py")
LIBRARY = Path("/run/ipseckey-library")

Spoil = t.Callable[[str, int], None]


@pytest.fixture(name="library", scope="module")
def copy() -> t.Iterator[None]:
    """The core alone, as the command; copied once, so that it is compiled once."""
    shutil.copytree(list(_core.__path__)[0], LIBRARY / "ipseckey", ignore=shutil.ignore_patterns("__pycache__"))
    yield
    shutil.rmtree(LIBRARY)


@pytest.fixture(name="spoil", autouse=True)
def install(library: None) -> t.Iterator[Spoil]:
    """Our command in place of the utility, with faults for one SPI."""
    path = Path(EXECUTABLE)

    def write(command: str) -> None:
        path.write_text(f'#!/bin/sh\nPYTHONPATH={LIBRARY} exec /usr/bin/python3 {command} "$@"\n', encoding="ascii")
        path.chmod(0o755)

    write("-m ipseckey.program.command --show-keys --allow-static-counter-mode")
    yield lambda fault, spi: write(f"{MISBEHAVING} '{fault}' 0x{spi:08x}")
    path.unlink()
    DIRECTORY.mkdir(exist_ok=True)


def over_solaris(**arguments: t.Any) -> Arguments:
    return {"backend": "solaris", **arguments}


TEXT = r"""
add esp spi 0x1001 src 192.0.2.1 dst 192.0.2.2 \
    encr_alg aes encrkey 6e22b60f98ebd0b73324a4107b80cc9d auth_alg sha1 authkey 308c9d5d11316f73900c811691eaa6fb9561c2ee
add esp spi 0x1002 src 2001:db8::1 dst 2001:db8::2 \
    encr_alg 3des encrkey 0123456789abcdef1133557799bbddff2244668800aaccee \
    auth_alg md5 authkey 7e22b60f98ebd0b73324a4107b80cc9d
add ah spi 0x1003 dst 192.0.2.2 auth_alg sha256 authkey 8e22b60f98ebd0b73324a4107b80cc9d8e22b60f98ebd0b73324a4107b80cc9e
add esp spi 0x1004 src 192.0.2.1 dst 192.0.2.2 \
    auth_alg sha1 authkey 408c9d5d11316f73900c811691eaa6fb9561c2ee replay 32 hard_bytes 100000 hard_addtime 600
add esp spi 0x1005 src 192.0.2.1 dst 192.0.2.2 proto 4 isrc 10.0.0.0/8 idst 10.1.0.0/16 iproto 17 \
    encr_alg aes encrkey 9e22b60f98ebd0b73324a4107b80cc9d auth_alg sha1 authkey 508c9d5d11316f73900c811691eaa6fb9561c2ee
add esp spi 0x1006 src 192.0.2.1 dst 192.0.2.2 isrc 0.0.0.0/0 idst 0.0.0.0/0 \
    encr_alg aes encrkey ae22b60f98ebd0b73324a4107b80cc9d auth_alg sha1 authkey 608c9d5d11316f73900c811691eaa6fb9561c2ee
add esp spi 0x1007 src 192.0.2.1 dst 192.0.2.2 encap udp nat_rem 192.0.2.9 nat_lport 4500 nat_rport 4501 \
    encr_alg aes encrkey be22b60f98ebd0b73324a4107b80cc9d auth_alg sha1 authkey 708c9d5d11316f73900c811691eaa6fb9561c2ee
add esp spi 0x1008 src 192.0.2.1 dst 192.0.2.2 \
    encr_alg aes-gcm encrkey ce22b60f98ebd0b73324a4107b80cc9d01020304
"""


def test_both_backends_read_the_same(spoil: Spoil) -> None:
    """SAs added through one backend are read by the other, and shown by ip(8)."""
    sas = parse(TEXT, target=SOLARIS, allow_static_counter_mode=True).sas
    done = expect_once(
        "ipsec_sadb",
        content=render(sas, target=SOLARIS),
        state="exact",
        allow_static_counter_mode=True,
        **over_solaris(),
    )
    assert (done["counts"]["added"], done["backend"]) == (8, "solaris")
    there, here = ({entry.sa: entry.counters for entry in sadb.dump()} for sadb in (SolarisSadb(), XfrmSadb()))
    assert set(there) == set(here) and set(here) == {sa for sa in here if not sa.extra}
    assert (
        {counters.add_time for counters in there.values()} == {counters.add_time for counters in here.values()} != {0}
    )
    for sa in sas:
        assert all(
            key.hex() in witness.states()[sa.protocol, sa.spi]
            for key in (sa.authentication_key, sa.encryption_key[:16])
        )
    assert not run("ipsec_sadb", content=TEXT, state="exact", allow_static_counter_mode=True)["changed"]
    assert SolarisSadb().local_addresses() == XfrmSadb().local_addresses()


@pytest.mark.parametrize("sa", [ESP, AH, {**ESP, "mode": "tunnel", "replay_window": 32}])
def test_ipsec_sa(sa: Arguments) -> None:
    expect_once("ipsec_sa", **sa, **over_solaris())
    assert sa["authentication_key"] in str(witness.states())
    done = expect_once("ipsec_sa", **{**sa, "authentication_key": OTHER_KEY}, **over_solaris())
    assert done["differences"] == ["authentication_key"] and OTHER_KEY in str(witness.states())
    expect_once(
        "ipsec_sa", state="absent", **{name: sa[name] for name in ("protocol", "spi", "destination")}, **over_solaris()
    )
    assert held() == set()


def test_ipsec_sadb_in_all_states() -> None:
    witness.add_sas_of_others(OTHER_KEY)
    old, new = pair_of_sas(0x1000), pair_of_sas(0x2000)
    backup = str(DIRECTORY / "previous")
    expect_once("ipsec_sadb", content=render(old), **over_solaris())
    done = expect_once("ipsec_sadb", content=render(new), state="exact", backup=backup, **over_solaris())
    assert done["counts"] == {"added": 4, "replaced": 0, "deleted": 4, "unchanged": 0, "foreign": 2}
    assert held() == {0x2000, 0x2001, 0x2002, 0x2003, 0xF001, 0xF002}
    info = run("ipsec_sa_info", destination="192.0.2.2", **over_solaris())
    assert (info["backend"], len(info["sas"])) == ("solaris", 4) and info["digest"] == run(
        "ipsec_sa_info", destination="192.0.2.2"
    )["digest"]
    shown, wanted = (
        sorted((sa["protocol"], sa["spi"], "" if sa["larval"] else str({**sa, "age": 0})) for sa in sas)
        for sas in (info["sas"], run("ipsec_sa_info", destination="192.0.2.2")["sas"])
    )
    assert shown == wanted
    expect_once("ipsec_sadb", src=backup, state="exact", **over_solaris())
    assert held() == {0x1000, 0x1001, 0x1002, 0x1003, 0xF001, 0xF002}
    expect_once("ipsec_sadb", content=render(old), state="flushed", **over_solaris())
    assert held() == {0xF001, 0xF002}
    suite = {"protocol": "esp", "encryption_algorithm": "aes-cbc", "authentication_algorithm": "hmac-sha256"}
    ready = run("ipsec_preflight", path=str(DIRECTORY / "keys"), associations=[suite], **over_solaris())
    assert not ready.get("failed") and ready["backend"] == "solaris" and ready["spis"] == ["0x0000f001", "0x0000f002"]


@pytest.mark.parametrize("fault", ["echoes", "stray memory", "cuts", "quits"])
def test_faults_of_the_utility_are_detected_and_undone(spoil: Spoil, fault: str) -> None:
    old = pair_of_sas(0x1000)
    new = [old[0]._replace(replay_window=32), *pair_of_sas(0x2000)]
    run("ipsec_sadb", content=render(old), **over_solaris())
    before = {entry.sa for entry in XfrmSadb().dump()}
    spoil(fault, new[2].spi)
    result = run("ipsec_sadb", content=render(new), state="exact", **over_solaris())
    assert result["failed"] and f"spi 0x{new[2].spi:08x}" in result["msg"] or fault == "quits"
    assert "The SADB is as it was before" in result["msg"]
    assert not any(key.hex() in str(result) for sa in new for key in (sa.encryption_key, sa.authentication_key) if key)
    assert {entry.sa for entry in XfrmSadb().dump()} == before


def test_sequence_numbers_are_restored(spoil: Spoil) -> None:
    sa, *dummy = pair_of_sas(0x1000)
    run("ipsec_sadb", content=render([sa._replace(extra=(("replay_value", "4711"),))]), **over_solaris())
    spoil("drops", 0x2000)
    assert run("ipsec_sadb", content=render([sa._replace(replay_window=32), *pair_of_sas(0x2000)]), **over_solaris())[
        "failed"
    ]
    (entry,) = XfrmSadb().dump()
    assert entry.sa == sa and entry.counters.sequence_out == 4711


def test_what_solaris_cannot_do_is_refused_before_anything_changes() -> None:
    result = run("ipsec_sa", **ESP, **over_solaris(), reqid=7, esn=True, replay_window=32)
    assert result["failed"] and "Solaris has no reqid" in result["msg"] and "Solaris has no esn" in result["msg"]
    assert held() == set()


def test_without_the_utility_the_error_says_so() -> None:
    Path(EXECUTABLE).rename(EXECUTABLE + ".away")
    try:
        for module in ("ipsec_sa_info", "ipsec_preflight"):
            result = run(module, **over_solaris())
            assert result["failed"] and EXECUTABLE in result["msg"] and "leave backend to auto" in result["msg"]
    finally:
        Path(EXECUTABLE + ".away").rename(EXECUTABLE)
