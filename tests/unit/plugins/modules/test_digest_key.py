# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the modules report about their SAs with a secret of the run."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.digest import digest, digest_by_owner
from ansible_collections.ipsec.manual.plugins.module_utils._core.text.language import render
from ansible_collections.ipsec.manual.tests.unit.plugins.modules.harness import World, sa

PATH = "/etc/inet/secret/ipseckeys"
DES = sa(0x1001, encryption="des-cbc", encryption_key=bytes.fromhex("5ec4e7015ec4e702"))
OTHER_DES = DES._replace(encryption_key=bytes.fromhex("5ec4e7045ec4e707"))
SECRET = "5ec4e7d0" * 8
KEY = bytes.fromhex(SECRET)
MODULES: dict[str, dict[str, t.Any]] = {
    "ipsec_preflight": {},
    "ipsec_sa_info": {},
    "ipsec_sadb": {"src": PATH},
    "ipseckeys_file": {"src": PATH},
}


def digest_of(module: str, *sas: t.Any, **options: t.Any) -> dict[str, t.Any]:
    world = World()
    world.sadb.put(*sas)
    world.files.contents[PATH] = render(sas).encode()
    result = world.run(module, **MODULES[module], **options)
    assert not result.get("failed"), result
    return (
        {"held": result["held"], "digest": result["file"]["digest"]}
        if module == "ipsec_preflight"
        else {"digest": result["digest"]}
    )


@pytest.mark.parametrize("module", MODULES)
def test_a_digest_key_makes_short_keys_count(module: str) -> None:
    assert digest_of(module, DES) == digest_of(module, OTHER_DES)
    found = digest_of(module, DES, digest_key=SECRET)
    assert found == {name: {"held": digest_by_owner, "digest": digest}[name]([DES], KEY) for name in found}
    assert all(value != digest_of(module, OTHER_DES, digest_key=SECRET)[name] for name, value in found.items())


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            SECRET[:-2],
            (
                "digest_key: 64 hex digits are needed, found 62. Make one with the lookup ipsec.manual.ipsec_key,"
                " algorithm hmac-sha256. All hosts of a run need the same one."
            ),
        ),
        (
            SECRET[:-1],
            (
                "digest_key: the key has 63 hex digits, an odd number. There is one digit too few or too many; give"
                " whole bytes."
            ),
        ),
        (
            SECRET[:-1] + "g",
            (
                "digest_key: the key has a character that is not a hex digit, at position 64. Keys are written with 0-9"
                " and a-f."
            ),
        ),
    ],
)
def test_a_wrong_digest_key_is_refused_and_changes_nothing(module: str, text: str, problem: str) -> None:
    world = World()
    world.files.contents[PATH] = (render([DES]) + "# by hand\n").encode()
    before = dict(world.files.contents)
    assert world.run(module, **MODULES[module], digest_key=text)["msg"] == problem
    assert world.files.contents == before and not world.sadb.applied
