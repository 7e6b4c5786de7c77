# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ipsec_audit over a kernel: what it says of SAs, policies and counters, and that it changes nothing."""

from __future__ import annotations

import codecs
import typing as t

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.text.language import render
from ansible_collections.ipsec.manual.tests.kernel import test_modules as modules
from ansible_collections.ipsec.manual.tests.kernel import witness

KEYS = str(modules.DIRECTORY / "secret" / "ipseckeys")
NAME = "192.0.2.1|192.0.2.2#0,,0"
DIGEST_KEY = "a1" * 32
# Otherwise imported on demand, when a child that is not root may be unable to read it.
codecs.lookup("ascii")
clean_directory, directory = modules.clean_directory, modules.directory


@pytest.fixture(name="keyed", autouse=True)
def make_keyed() -> None:
    """A host with the address 192.0.2.1, and with four SAs in the file and in the kernel."""
    witness.run("ip", "link", "set", "lo", "up")
    witness.run("ip", "addr", "add", "192.0.2.1/32", "dev", "lo")
    modules.run("ipseckeys_file", path=KEYS, content=render(modules.pair_of_sas(0x1000)))
    assert not modules.run("ipsec_sadb", src=KEYS).get("failed")


def audit(**options: t.Any) -> dict[str, t.Any]:
    """The evidence; nothing changes."""
    before = (witness.state_text(), witness.policies(), (modules.DIRECTORY / "secret" / "ipseckeys").read_bytes())
    result: dict[str, t.Any] = modules.run("ipsec_audit", path=KEYS, digest_key=DIGEST_KEY, **options)
    assert not result.get("failed") and not result["changed"], result
    assert before == (
        witness.state_text(),
        witness.policies(),
        (modules.DIRECTORY / "secret" / "ipseckeys").read_bytes(),
    )
    return result


def row(result: dict[str, t.Any]) -> dict[str, t.Any]:
    (found,) = (found for found in result["pairs"] if found["name"] == NAME)
    return t.cast("dict[str, t.Any]", found)


def test_a_host_whose_kernel_holds_what_its_file_says() -> None:
    result = audit()
    found = row(result)
    assert (result["backend"], result["keys_hidden"], result["unread"]) == ("xfrm", False, [])
    assert result["file"]["sas"] == 4 and result["file"]["mode"] == "0600"
    assert (found["sas"], found["inbound"], found["outbound"]) == (4, 2, 2)
    assert found["digest"] == found["file_digest"] and len(found["digest"]) == 32
    assert (found["shared_keys"], found["shared_spis"], found["integrity"]) == (0, 0, "own")
    assert found["budgets"] == [{"what": "packets", "used": 0.0}]
    assert found["youngest"] <= found["oldest"] < 600
    assert "XfrmInNoStates" in result["counters"]


def test_two_audits_agree_and_other_keys_do_not() -> None:
    first = row(audit())["digest"]
    assert row(audit())["digest"] == first
    modules.run("ipsec_sadb", state="exact", content=render(modules.pair_of_sas(0x2000)))
    found = row(audit())
    assert found["digest"] not in (first, found["file_digest"]) and found["file_digest"] == first


def test_sas_without_policies_leak_and_with_them_do_not() -> None:
    found = row(audit())
    assert (found["leaking"], found["open"]) == (2, 2)
    for direction, ends in (("out", ("192.0.2.1", "192.0.2.2")), ("in", ("192.0.2.2", "192.0.2.1"))):
        modules.run(
            "ipsec_policy",
            direction=direction,
            selector={"source": f"{ends[0]}/32", "destination": f"{ends[1]}/32"},
            templates=[{"protocol": "esp"}, {"protocol": "ah"}],
        )
    result = audit()
    assert (row(result)["leaking"], row(result)["open"]) == (0, 0)
    assert result["policies"] == {"0,,0": 2}


def test_policies_that_drop_or_leak_are_remarked() -> None:
    selector = {"destination": "192.0.2.9/32"}
    for level, kind in (("required", "policy-without-sa"), ("use", "level-use")):
        modules.run("ipsec_policy", direction="out", selector=selector, templates=[{"protocol": "esp", "level": level}])
        places = [found["place"] for found in audit()["remarks"] if found["what"] == kind]
        assert places == ["out 0.0.0.0/0 > 192.0.2.9/32"]


def test_sas_of_others_have_rows_of_their_own() -> None:
    witness.add_sas_of_others(modules.OTHER_KEY)
    result = audit()
    assert len(result["pairs"]) > 1 and row(result)["digest"] == row(result)["file_digest"]


def test_copies_and_wide_modes_are_remarked() -> None:
    path = modules.DIRECTORY / "secret" / "ipseckeys"
    path.with_name("ipseckeys.bak").write_bytes(b"")
    path.chmod(0o644)
    found = {(remark["what"], remark["place"]) for remark in audit()["remarks"]}
    assert found >= {("copy", f"{KEYS}.bak"), ("world-readable", KEYS)}
    path.with_name("ipseckeys.bak").unlink()
    path.chmod(0o600)


def test_users_other_than_root_say_what_they_could_not_read() -> None:
    result = modules.run("ipsec_audit", path=KEYS, user=modules.NOBODY)
    assert not result.get("failed")
    assert result["backend"] == "" and result["unread"]
    assert any("CAP_NET_ADMIN" in text or "root" in text for text in result["unread"])
