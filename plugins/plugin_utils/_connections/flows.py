# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The SAs that connections need: made from an association, and address pairs that two connections share. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.algorithms import BY_NAME, Algorithm
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import (
    ESP,
    Encapsulation,
    SecurityAssociation,
    build,
)

from .model import Association, Connection


def make_sa(
    connection: Connection,
    row: Association,
    source: bytes,
    destination: bytes,
    spi: int,
    encryption_key: bytes,
    authentication_key: bytes,
) -> SecurityAssociation:
    """The SA of one association from ``source`` to ``destination``."""
    port = udp_port(connection, row)
    return build(
        row.protocol,
        spi,
        destination,
        source,
        row.encryption,
        row.authentication,
        row.icv_bits,
        mode=row.mode,
        encryption_key=encryption_key,
        authentication_key=authentication_key,
        replay_window=row.replay_window,
        esn=row.esn,
        reqid=connection.reqid,
        mark=connection.mark,
        if_id=connection.if_id,
        lifetimes=row.lifetimes,
        encapsulation=Encapsulation(port, port) if port else None,
    )


def udp_port(connection: Connection, row: Association) -> int:
    """The UDP port of both ends of an association; 0 if it is not carried in UDP."""
    return connection.udp_port if row.protocol == ESP else 0


def draw_keys(row: Association, draw: t.Callable[[Algorithm, int], bytes]) -> tuple[bytes, bytes]:
    """The encryption key and the authentication key of one SA; empty if the association has none."""
    encryption_key = draw(BY_NAME[row.encryption], row.encryption_bits) if row.encryption_bits else b""
    authentication_key = (
        draw(BY_NAME[row.authentication], BY_NAME[row.authentication].key_bits[0]) if row.authentication else b""
    )
    return encryption_key, authentication_key


def shared_pairs(connections: t.Sequence[Connection]) -> t.Iterator[tuple[str, str, bytes, bytes]]:
    """Names of two connections, and two addresses that both join.

    The pairs of a mesh are not listed, because their number is quadratic in its hosts. A mesh shares a
    pair with any connection that has two of its addresses."""
    meshes: list[tuple[str, set[bytes]]] = []
    owners: dict[frozenset[bytes], str] = {}
    for connection in connections:
        if _is_mesh(connection):
            members = {endpoint.address for endpoint in connection.endpoints}
            for name, others in meshes:
                shared = sorted(members & others)[:2]
                if len(shared) == 2:
                    yield name, connection.name, shared[0], shared[1]
            meshes.append((connection.name, members))
            continue
        for source, destinations in connection.flows():
            for destination in destinations:
                yield (
                    owners.setdefault(frozenset((source, destination)), connection.name),
                    connection.name,
                    source,
                    destination,
                )
    for pair, owner in owners.items():
        for name, members in meshes:
            if pair <= members:
                one, other = sorted(pair)
                yield owner, name, one, other


def _is_mesh(connection: Connection) -> bool:
    return len(connection.endpoints) > 2 and not connection.hubs and not connection.multicast
