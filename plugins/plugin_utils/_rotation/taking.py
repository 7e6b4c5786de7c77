# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Taking over SAs that somebody else made between the addresses of a connection, and that its field
``replaces_reqid`` names. Pure but for keys that nobody uses.

Nothing is known of these SAs but their reqid, so they are neither in a file nor restored; they stay in
the kernel, beside the new ones, until every host sends through those.
"""

from __future__ import annotations

import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import keys
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import (
    SPI_MIN,
    SecurityAssociation,
    format_address,
    lies_in,
    mark_text,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.spd.policy import OUT
from ansible_collections.ipsec.manual.plugins.module_utils._core.text import language

from .._connections.flows import draw_keys, make_sa
from .._connections.model import Connection, Endpoint, as_replaced
from . import decisions, policies, probes
from .rotation import PREFLIGHT, SEND, Question, Questions, Rotation

TAKEN = "taken"


def out_of_place(run: Rotation) -> list[tuple[str, str, str]]:
    """The hosts that hold such SAs, the unit, and what they hold."""
    return [
        (host, name, f"SAs with reqid {earlier.reqid}")
        for host in run.hosts
        for name, earlier in run.taken(host).items()
    ]


def problems(run: Rotation) -> list[str]:
    """Why SAs cannot be taken over."""
    return [
        f"{host}: connection {name} replaces SAs with reqid {earlier.reqid}, but without rotate_policies this host"
        " goes on sending through them: run with rotate_policies: true, or without replaces_reqid"
        for host in run.hosts
        for name, earlier in run.taken(host).items()
        if not run.own(host)["policies"]
    ] + [
        f"{host}: it sends through SAs with reqid {reqid} between the hosts of connection {name}, which has another one"
        f" and would lose packets when it replaces their policies: add replaces_reqid: {reqid} to the connection"
        for host in run.hosts
        for name, reqid in _unnamed(run, host)
    ]


def _unnamed(run: Rotation, host: str) -> t.Iterator[tuple[str, int]]:
    """The units without keys where a host sends through SAs that are not to be taken over, and their reqids. Its peers
    would drop what it sends through the new ones, and the way back would not restore its policies.
    """
    answers = run.answers(PREFLIGHT, host)
    reqids = {row["policy"]: row["reqids"] for row in answers.get(policies.POLICIES).get("replaced", ())}
    rows = run.expected["connections"] if reqids else ()
    names = {row["name"] for row in rows if not (row["current"] or row.get("multicast"))} - run.taking
    for name, now, dummy in run.units(host, names) if names else ():
        addresses = frozenset(format_address(endpoint.address) for endpoint in now.endpoints)
        outbound = [policy for policy in policies.of_unit(run, now, host) if policy["direction"] == OUT]
        for reqid in sorted({reqid for policy in outbound for reqid in reqids.get(policies.labelled(policy), ())}):
            owner = f"{reqid},{mark_text(now.mark)},{now.if_id}"
            held = answers.get(PREFLIGHT).get("held", ())
            if reqid != now.reqid and any(decisions.is_between(key, addresses, owner) for key in held):
                yield name, reqid


def unused(run: Rotation) -> list[str]:
    """Hosts that do not send through the new SAs, so that the SAs to replace must stay."""
    names = run.taking
    found = []
    for host in run.hosts if names else ():
        peers = {
            format_address(peer.address)
            for dummy, connection, dummy2 in run.units(host, names)
            for peer in connection.peers(host)
            if _is_tested(connection, host, peer)
        }
        for destination, words in probes.unsent(run.results(SEND, SEND).get(host, {})):
            if destination in peers:
                found.append(
                    f"{host}: no packet leaves through the new SA {words}: another policy comes first, one for more"
                    " addresses or of a smaller priority. Remove it, and run again"
                )
    return found


def _is_tested(connection: Connection, host: str, peer: Endpoint) -> bool:
    """Whether the policies of the connection apply to test packets: UDP, between the addresses of the SAs."""
    mine = next(endpoint for endpoint in connection.endpoints if endpoint.host == host)
    return connection.upper_protocol in ("", "udp", "17") and all(
        not end.networks or any(lies_in(end.address, *network) for network in end.networks) for end in (mine, peer)
    )


def removal(run: Rotation, host: str) -> Questions:
    """To remove all SAs of that reqid between the addresses; those of other owners stay."""
    names = run.taking
    earlier = [as_replaced(connection) for dummy, connection, dummy2 in (run.units(host, names) if names else ())]
    if earlier:
        text = language.render([sa for connection in earlier for sa in _shapes(connection, host)])
        options = {"content": text, "state": "flushed", "scope": "peers", "backend": run.own(host)["backend"]}
        yield Question(TAKEN, "ipsec_sadb", {**options, **run.deadline(host)})


def _shapes(connection: Connection, host: str) -> t.Iterator[SecurityAssociation]:
    """SAs between the addresses, with keys that no host has: they only tell what is in scope."""
    row = connection.associations[0]
    for source, destinations in connection.flows(host):
        for destination in destinations:
            yield make_sa(connection, row, source, destination, SPI_MIN, *draw_keys(row, keys.generate))
