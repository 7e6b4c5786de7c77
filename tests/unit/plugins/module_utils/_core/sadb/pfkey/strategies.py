# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hypothesis strategies for SAs that PF_KEY expresses in one dialect, for tests with and without a
kernel.
"""

from __future__ import annotations

from hypothesis import assume
from hypothesis import strategies as st

from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.algorithms import BY_NAME
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import (
    NO_LIFETIMES,
    SPI_MAX,
    SPI_MIN,
    Encapsulation,
    Lifetimes,
    SecurityAssociation,
    Selector,
    build,
    identity,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.pfkey.dialects import Dialect
from ansible_collections.ipsec.manual.tests.unit.plugins.module_utils._core.sadb.strategies import (
    addresses,
    key_for,
    networks,
    u16,
)


@st.composite
def _lifetimes(draw: st.DrawFn, dialect: Dialect) -> Lifetimes:
    """Soft limits are below hard ones. Times are long, so nothing expires during a test."""
    if draw(st.booleans()):
        return NO_LIFETIMES
    values = {}
    for kind, least, most in (
        ("bytes", 10**9, (1 << 64) - 2),
        ("packets", 10**6, (1 << 32) - 1),
        ("addtime", 10**6, 10**9),
        ("usetime", 10**6, 10**9),
    ):
        soft, hard = sorted(draw(st.tuples(st.integers(least, most), st.integers(least, most))))
        values.update({f"soft_{kind}": soft, f"hard_{kind}": hard})
    return Lifetimes(
        **{limit: value for limit, value in values.items() if limit in dialect.limits and draw(st.booleans())}
    )


@st.composite
def _selectors(draw: st.DrawFn, dialect: Dialect, tunnel: bool, size: int, source: bytes) -> Selector | None:
    if dialect.selector.destination and tunnel:
        inner = draw(st.sampled_from((4, 16)))
        nets = draw(networks(inner)), draw(networks(inner))
        assume(all(prefix for dummy, prefix in nets))
        return Selector(*nets[0], *nets[1], draw(st.integers(0, 254)), draw(u16), draw(u16))
    if dialect.selector.traffic:
        return Selector(protocol=draw(st.integers(0, 254)), source_port=draw(u16), destination_port=draw(u16))
    if not dialect.selector.source or draw(st.booleans()):
        return None
    network, prefix = draw(networks(size))
    assume(prefix and network != source)
    return Selector(network, prefix)


@st.composite
def associations(draw: st.DrawFn, dialect: Dialect) -> SecurityAssociation:
    """Any valid SA that the dialect does not refuse."""
    size = draw(st.sampled_from((4, 16)))
    cipher = draw(st.sampled_from((None, *map(BY_NAME.__getitem__, dialect.encryption))))
    integrity = draw(st.sampled_from((None, *map(BY_NAME.__getitem__, dialect.authentication))))
    if cipher is not None and cipher.combined:
        integrity = None
    elif integrity is None and (cipher is None or cipher.name == "null"):
        integrity = BY_NAME["hmac-sha1"]
    encryption_key, authentication_key = key_for(draw, cipher), key_for(draw, integrity)
    assume(not encryption_key or encryption_key != authentication_key)
    mode = draw(st.sampled_from(("transport", "tunnel")))
    source = draw(addresses(size))
    window = draw(st.integers(0, dialect.replay_most // dialect.replay_unit)) * dialect.replay_unit
    ports = st.builds(Encapsulation, u16, u16, st.just(b""), st.just(b""))
    return build(
        "esp" if cipher is not None else "ah",
        draw(st.integers(SPI_MIN, SPI_MAX)),
        draw(addresses(size)),
        source,
        cipher.name if cipher is not None else "",
        integrity.name if integrity is not None else "",
        dialect.authentication[integrity.name].icv_bits if integrity is not None else 0,
        mode=mode,
        encryption_key=encryption_key,
        authentication_key=authentication_key,
        replay_window=window,
        esn=bool(dialect.flags.esn and window) and draw(st.booleans()),
        reqid=draw(st.integers(0, (1 << dialect.reqid_bits) - 1)),
        selector=draw(_selectors(dialect, mode == "tunnel", size, source)),
        encapsulation=(
            draw(st.one_of(st.none(), ports)) if cipher is not None and dialect.encapsulation is not None else None
        ),
        lifetimes=draw(_lifetimes(dialect)),
        direction=draw(st.sampled_from(("", "inbound", "outbound"))) if dialect.flags.inbound else "",
        extra=draw(st.sampled_from(((), (("pair-spi", "0x00001234"),)))) if dialect.pair else (),
    )


def association_sets(dialect: Dialect) -> st.SearchStrategy[list[SecurityAssociation]]:
    """SAs that can be in one SADB."""
    return st.lists(associations(dialect), max_size=20, unique_by=identity)
