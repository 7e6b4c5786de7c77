# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The work of ipsec_probe: send packets through SAs and read the SAs' counters."""

from __future__ import annotations

import errno
import socket
import time
import typing as t

from .._core.errors import InputError
from .._core.sa.model import OUTBOUND, SecurityAssociation, Selector, format_address, identity, is_unspecified, lies_in
from .._core.sa.plan import direction_of
from .._core.sadb import open_sadb
from .._core.sadb.base import Sadb
from .base import Module, Result
from .text import read_file

DISCARD_PORT = 9  # RFC 863: a listener discards all data
_MOST = 1000
_PAYLOAD = b"ipsec.manual probe"
_SO_MARK = 36  # include/uapi/asm-generic/socket.h; Python's socket module lacks it
_PATIENCE = 1.0
_PAUSE = 0.05


class Flow(t.NamedTuple):
    """Datagrams that a policy sends through an SA; if the source is empty, the kernel chooses it."""

    source: bytes
    destination: bytes
    source_port: int
    destination_port: int
    mark: int

    def __str__(self) -> str:
        return f"{format_address(self.source) if self.source else 'any'} > {format_address(self.destination)}"


def probe(module: Module) -> Result:
    """Send datagrams, and read the counters before and after."""
    count: int = module.params["count"]
    if not 0 <= count <= _MOST:
        raise InputError(f"{count} datagrams are out of range", "count", f"Choose 0 to {_MOST}.")
    sas = read_file(module, module.params["src"]).sas
    sadb = open_sadb(module.params["backend"])
    local = sadb.local_addresses()
    outbound = [sa for sa in sas if direction_of(sa, local) == OUTBOUND]
    inbound = [sa for sa in sas if direction_of(sa, local) != OUTBOUND]

    before = after = _packets(sadb, sas)
    failures: list[str] = []
    if count and not module.check_mode:
        flows = {flow_of(sa, local): None for sa in outbound}
        failures = [f"{flow}: {problem}" for flow in flows for problem in [_send(flow, count)] if problem]
        after = _packets_when_sent(sadb, sas, outbound, before)
    return {
        "changed": False,
        "sent": _compared(outbound, before, after),
        "received": _compared(inbound, before, after),
        "failures": failures,
        "backend": sadb.name,
    }


def flow_of(sa: SecurityAssociation, local: t.AbstractSet[bytes]) -> Flow:
    """A flow that the SA carries: between its own addresses, or some that its selector selects."""
    selector = sa.selector or Selector()
    destination = (
        _some_host(selector.destination, selector.destination_prefix) if selector.destination else sa.destination
    )
    source = sa.source
    if selector.source:
        source = next(
            (address for address in sorted(local) if lies_in(address, selector.source, selector.source_prefix)), b""
        )
    if is_unspecified(source) or len(source) != len(destination):
        source = b""
    mark = sa.mark.value if sa.mark is not None else 0
    return Flow(source, destination, selector.source_port, selector.destination_port or DISCARD_PORT, mark)


def _some_host(network: bytes, prefix: int) -> bytes:
    """The first host of a network: its own address if it has only one or two, else the next."""
    if len(network) * 8 - prefix < 2:
        return network
    return (int.from_bytes(network, "big") + 1).to_bytes(len(network), "big")


def _send(flow: Flow, count: int) -> str:
    """Send UDP datagrams that nobody answers; returns the error, empty for none."""
    family = socket.AF_INET if len(flow.destination) == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sender:
            if flow.mark:
                sender.setsockopt(socket.SOL_SOCKET, _SO_MARK, flow.mark)
            sender.setblocking(False)
            if flow.source or flow.source_port:
                sender.bind((format_address(flow.source or bytes(len(flow.destination))), flow.source_port))
            for datagram in [_PAYLOAD] * count:
                sender.sendto(datagram, (format_address(flow.destination), flow.destination_port))
    except OSError as exc:
        return f"{errno.errorcode.get(exc.errno or 0, str(exc.errno))}, {exc.strerror}"
    return ""


def _packets(sadb: Sadb, sas: t.Iterable[SecurityAssociation]) -> dict[t.Any, int]:
    """The packets that each SA has carried, or the octets if the system counts no packets, by
    identity. SAs that the SADB lacks are missing.
    """
    wanted = set(map(identity, sas))
    return {
        identity(entry.sa): entry.counters.packets or entry.counters.bytes
        for entry in sadb.dump()
        if not entry.larval and identity(entry.sa) in wanted
    }


def _packets_when_sent(
    sadb: Sadb,
    sas: t.Sequence[SecurityAssociation],
    outbound: t.Iterable[SecurityAssociation],
    before: dict[t.Any, int],
) -> dict[t.Any, int]:
    """The counters as soon as those of the outbound SAs have risen, since hardware may take a moment to encrypt."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        after = _packets(sadb, sas)
        if (
            all(after.get(identity(sa), 0) > before.get(identity(sa), 0) for sa in outbound)
            or time.monotonic() > deadline
        ):
            return after
        time.sleep(_PAUSE)


def _compared(
    sas: t.Iterable[SecurityAssociation], before: t.Mapping[t.Any, int], after: t.Mapping[t.Any, int]
) -> list[Result]:
    return [
        {
            "key": f"{sa.protocol}|{format_address(sa.destination)}|0x{sa.spi:08x}",
            "before": before.get(identity(sa)),
            "after": after.get(identity(sa)),
        }
        for sa in sas
    ]
