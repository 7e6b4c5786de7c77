# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Secrets that Ansible must mask in all output. Results hold no key anyway."""

from __future__ import annotations

import binascii
import typing as t

from .._core.sa.algorithms import Algorithm
from .._core.sa.keys import set_parity
from .._core.sa.model import SecurityAssociation, algorithm_of
from .._core.text.values import parse_digest_key

if t.TYPE_CHECKING:
    from .base import Module

HIDDEN = "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"
# Hex digits of the shortest key, which has 64 bits. A shorter value is a mistake, and masking it
# would only garble the error.
SHORTEST_SECRET = 16
# Ansible searches all output for each secret, which would take seconds for the keys of a fleet.
MOST_SECRETS = 256


def take_secret(module: Module, option: str) -> str | None:
    """Remove the value of a secret option from the parameters and return it, so that no copy of them can show it."""
    value: str | None = module.params[option]
    if not value:
        return value
    for name in (option, *module.argument_spec[option].get("aliases", ())):
        if name in module.params:
            module.params[name] = HIDDEN
    if len(value) < SHORTEST_SECRET:
        module.no_log_values.discard(value)
    return value


def take_digest_key(module: Module) -> bytes:
    """The option ``digest_key`` as bytes, empty if it is not given."""
    text = take_secret(module, "digest_key")
    return parse_digest_key(text, "digest_key") if text else b""


def hide_keys(module: Module, sas: t.Sequence[SecurityAssociation]) -> None:
    """Have Ansible mask the keys of the SAs in all output, in every written form; but not those of
    more than `MOST_SECRETS` SAs.
    """
    if len(sas) > MOST_SECRETS:
        return
    forms: set[str] = set()
    for sa in sas:
        for name, key in ((sa.encryption, sa.encryption_key), (sa.authentication, sa.authentication_key)):
            row = algorithm_of(name)
            if row is not None and len(key) * 2 >= SHORTEST_SECRET:
                forms.update(key_forms(row, key))
    module.no_log_values.update(forms)
    register(forms)


def key_forms(algorithm: Algorithm, key: bytes) -> set[str]:
    """The texts that a key could appear as: hex in both cases (perhaps after ``0x``) and base64; as
    given, without its salt, and with DES parity set."""
    forms: set[str] = set()
    for form in (key, key[: len(key) - algorithm.salt_bits // 8], set_parity(algorithm, key)):
        forms.update((form.hex(), form.hex().upper(), binascii.b2a_base64(form, newline=False).decode("ascii")))
    return forms


def register(secrets: t.Iterable[str]) -> None:
    """Register strings for masking in ansible-core 2.22 and later. Earlier versions have `no_log_values` only."""
    try:
        from ansible.module_utils.secrets import register_secret
    except ImportError:
        return
    for secret in secrets:
        register_secret(secret)
