# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hypothesis strategies for SAs and policies that Linux accepts, for the tests without a kernel and
for those with one.
"""

from __future__ import annotations

import typing as t

from hypothesis import assume
from hypothesis import strategies as st

from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import keys
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.algorithms import (
    ALGORITHMS,
    AUTHENTICATION,
    Algorithm,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import (
    NO_LIFETIMES,
    SPI_MAX,
    SPI_MIN,
    Encapsulation,
    Lifetimes,
    Mark,
    SecurityAssociation,
    Selector,
    build,
    identity,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.spd import policy as spd_policy

CIPHERS = tuple(row for row in ALGORITHMS if row.kind != AUTHENTICATION)
INTEGRITIES = tuple(row for row in ALGORITHMS if row.kind == AUTHENTICATION)

u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFFFFFF)
# Highest number of a limit on bytes and packets: all ones means no limit.
limit = st.integers(0, (1 << 64) - 2)


def addresses(size: int) -> st.SearchStrategy[bytes]:
    """A unicast address of documentation networks (RFC 5737, RFC 3849)."""
    if size == 4:
        return st.binary(min_size=1, max_size=1).map(lambda tail: bytes((192, 0, 2)) + tail)
    return st.binary(min_size=12, max_size=12).map(lambda tail: bytes.fromhex("20010db8") + tail)


def networks(size: int) -> st.SearchStrategy[tuple[bytes, int]]:
    """An address without bits outside of its prefix, and the prefix."""

    def cut(address: bytes, prefix: int) -> tuple[bytes, int]:
        host = size * 8 - prefix
        return (int.from_bytes(address, "big") >> host << host).to_bytes(size, "big"), prefix

    return st.builds(cut, addresses(size), st.integers(0, size * 8))


@st.composite
def selectors(draw: st.DrawFn, sizes: t.Sequence[int], *, whole: bool = False) -> Selector:
    """A selector of one family. If ``whole``, it has both networks, otherwise each may be missing."""
    size = draw(st.sampled_from(sizes))
    maybe = networks(size) if whole else st.one_of(st.just((b"", 0)), networks(size))
    source, destination = draw(maybe), draw(maybe)
    return Selector(*source, *destination, draw(st.integers(0, 255)), draw(u16), draw(u16))


def marks() -> st.SearchStrategy[Mark | None]:
    return st.one_of(st.none(), st.builds(lambda value, mask: Mark(value & mask, mask) if mask else None, u32, u32))


@st.composite
def lifetimes(draw: st.DrawFn) -> Lifetimes:
    """Soft limits are below hard ones. Times are long, so nothing expires during a test."""
    if draw(st.booleans()):
        return NO_LIFETIMES
    counts = [sorted(draw(st.tuples(limit, limit))) for dummy in range(2)]
    times = [sorted(draw(st.tuples(st.integers(10**6, 10**9), st.integers(10**6, 10**9)))) for dummy in range(2)]
    return Lifetimes(*counts[0], *counts[1], *times[0], *times[1])


def key_for(draw: st.DrawFn, row: Algorithm | None) -> bytes:
    """A key that `keys.problem` accepts, of any of the algorithm's sizes."""
    if row is None or not row.key_bits:
        return b""
    size = draw(st.sampled_from(row.material_bits)) // 8
    return draw(st.binary(min_size=size, max_size=size).filter(lambda key: not keys.problem(row, key)))


@st.composite
def associations(draw: st.DrawFn) -> SecurityAssociation:
    """Any SA without `problems` on Linux."""
    size = draw(st.sampled_from((4, 16)))
    cipher, integrity = draw(st.sampled_from((None, *CIPHERS))), draw(st.sampled_from((None, *INTEGRITIES)))
    if cipher is not None and cipher.combined:
        integrity = None
    if integrity is None and (cipher is None or cipher.name == "null"):
        integrity = INTEGRITIES[0]
    protecting = integrity or cipher
    encryption_key, authentication_key = key_for(draw, cipher), key_for(draw, integrity)
    assume(not encryption_key or encryption_key != authentication_key)
    esn = draw(st.booleans())
    mode = draw(st.sampled_from(("transport", "tunnel")))
    traffic = selectors((4, 16) if mode == "tunnel" else (size,))
    encapsulations = st.builds(Encapsulation, u16, u16, st.just(b""), st.one_of(st.just(b""), addresses(size)))
    return build(
        "esp" if cipher is not None else "ah",
        draw(st.integers(SPI_MIN, SPI_MAX)),
        draw(addresses(size)),
        draw(st.one_of(st.just(b""), addresses(size))),
        cipher.name if cipher is not None else "",
        integrity.name if integrity is not None else "",
        draw(st.sampled_from(protecting.icv_bits)) if protecting is not None and protecting.icv_bits else 0,
        mode=mode,
        encryption_key=encryption_key,
        authentication_key=authentication_key,
        replay_window=draw(st.integers(1 if esn else 0, 4096)),
        esn=esn,
        reqid=draw(u32),
        mark=draw(marks()),
        if_id=draw(u32),
        selector=draw(st.one_of(st.none(), traffic)),
        encapsulation=draw(st.one_of(st.none(), encapsulations)) if cipher is not None else None,
        lifetimes=draw(lifetimes()),
        output_mark=draw(marks()),
        tfc_padding=draw(u16) if cipher is not None and mode == "tunnel" else 0,
    )


def association_sets() -> st.SearchStrategy[list[SecurityAssociation]]:
    """SAs that a kernel can hold together: a mark could hide one SA behind another of the same
    protocol, destination and SPI.
    """
    return st.lists(associations(), max_size=20, unique_by=lambda sa: identity(sa)[:3])


@st.composite
def policies(draw: st.DrawFn) -> spd_policy.Policy:
    """Any policy without `spd.problems`."""
    size = draw(st.sampled_from((4, 16)))
    direction = draw(st.sampled_from(spd_policy.DIRECTIONS))
    action = draw(st.sampled_from(spd_policy.ACTIONS))
    templates = []
    if action == spd_policy.ALLOW:
        for protocol in draw(st.lists(st.sampled_from(("esp", "ah")), max_size=3)):
            tunnel = draw(st.booleans()) and not templates
            templates.append(
                spd_policy.Template(
                    protocol,
                    "tunnel" if tunnel else "transport",
                    draw(addresses(size)) if tunnel else bytes(size),
                    draw(addresses(size)) if tunnel else bytes(size),
                    draw(u32),
                    draw(u32),
                    spd_policy.REQUIRED if tunnel else draw(st.sampled_from(spd_policy.LEVELS)),
                )
            )
    return spd_policy.build(
        direction, draw(selectors((size,), whole=True)), templates, action, draw(u32), draw(marks()), draw(u32)
    )


def policy_sets() -> st.SearchStrategy[list[spd_policy.Policy]]:
    """Policies that a kernel can hold together."""
    return st.lists(policies(), max_size=8, unique_by=lambda policy: (policy.direction, policy.selector))
