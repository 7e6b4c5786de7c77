# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The SAs that a policy makes packets use: predictions match the kernel's behaviour."""

from __future__ import annotations

import contextlib
import socket

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import SecurityAssociation, format_address
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.plan import plan
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm.backend import XfrmSadb
from ansible_collections.ipsec.manual.plugins.module_utils._core.spd import policy as spd_policy
from ansible_collections.ipsec.manual.plugins.module_utils._core.spd.kernel import Spd
from ansible_collections.ipsec.manual.plugins.module_utils._core.spd.policy import Policy
from ansible_collections.ipsec.manual.tests.kernel import witness
from ansible_collections.ipsec.manual.tests.unit.plugins.module_utils._core.spd.test_guarding import (
    HERE,
    HERE_6,
    OTHER,
    USES,
)

ADDRESSES = (
    "addr add 192.0.2.1/24 dev here\naddr add 10.1.0.1/16 dev here\naddr add 2001:db8::1/64 dev here nodad\nlink set"
    " here up\nlink set there up\n"
)
UDP = 17


def sendable(sa: SecurityAssociation, policy: Policy) -> bool:
    """Whether this test can send packets that both are for: UDP between its networks, not through an XFRM interface."""
    traffic = [policy.selector, *([sa.selector] if sa.selector is not None else [])]
    return (
        all(selector.protocol in (0, UDP) for selector in traffic)
        and not policy.if_id
        and not (tunnelled(policy) and len(policy.selector.source) == 16)
    )


def tunnelled(policy: Policy) -> bool:
    return any(template.mode == "tunnel" for template in policy.templates)


def send(sa: SecurityAssociation, policy: Policy) -> None:
    """A packet that the policy is for; towards the SA's destination where both allow it."""
    source, destination = (
        (bytes((10, 1, 0, 1)), bytes((10, 2, 0, 1)))
        if tunnelled(policy)
        else (HERE if len(sa.destination) == 4 else HERE_6, sa.destination)
    )
    with socket.socket(socket.AF_INET if len(source) == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as sender:
        sender.bind((format_address(source), 0))
        if policy.mark is not None:
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, policy.mark.value)
        scope = (0, socket.if_nametoindex("here")) if len(source) == 16 else ()
        # If a template finds no SA, the packet is dropped, and the system call may fail.
        with contextlib.suppress(OSError):
            sender.sendto(b"packet", (format_address(destination), 443, *scope))


def is_told_by_chance(policy: Policy) -> bool:
    """Where no SA has the source that a tunnel's template names, the kernel takes one of any
    source, if its hash is that of no source.
    """
    return any(template.mode == "tunnel" and template.source == OTHER for template in policy.templates)


@pytest.mark.parametrize(
    "sa, policy, used", [row for row in USES if sendable(*row[:2]) and not is_told_by_chance(row[1])]
)
def test_packets_use_what_is_predicted(
    spd: Spd, sadb: XfrmSadb, sa: SecurityAssociation, policy: Policy, used: bool
) -> None:
    witness.run("ip", "link", "add", "here", "type", "veth", "peer", "name", "there")
    witness.run(
        "ip", "-batch", "-", stdin=ADDRESSES + "route add 10.2.0.0/16 dev here\nroute add 224.0.0.0/4 dev here\n"
    )
    sa = sa._replace(
        authentication="hmac-sha256",
        authentication_key=bytes(range(32)),
        icv_bits=128,
        encryption="null" if sa.protocol == "esp" else "",
    )
    # All that the other templates of a bundle ask for is there.
    others = [
        sa._replace(
            protocol=template.protocol,
            mode=template.mode,
            spi=0x9000 + number,
            encryption="null" if template.protocol == "esp" else "",
        )
        for number, template in enumerate(policy.templates)
        if template.protocol != sa.protocol and len(policy.templates) > 1
    ]
    sadb.apply(plan([sa, *others], sadb.dump(), "present").operations)
    spd.apply(spd_policy.plan([policy], spd.dump()))
    send(sa, policy)
    (entry,) = (entry for entry in sadb.dump() if entry.sa.spi == sa.spi)
    assert (entry.counters.packets > 0) == used
