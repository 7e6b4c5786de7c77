# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the lab needs and creates, as tables."""

from __future__ import annotations

import typing as t

# Debian packages that only User-Mode Linux needs: a host kernel with ESP and AH does without.
UML_PACKAGES = frozenset({"gcc", "libc6-dev", "patchelf", "user-mode-linux"})

NEWEST = "sid"  # the suite with the newest User-Mode Linux
SECCOMP_SINCE = (
    6,
    16,
)  # the release of User-Mode Linux from which it can do without ptrace(2), and starts programs several times faster

# Kernel modules that the lab itself needs.
LAB_MODULES = ("ipv6", "veth", "bridge", "overlay")

# Kernel modules to load: those, and IPsec. A kernel may lack some; `lab status` lists them.
# Algorithms, whose modules have other names in every other kernel, it loads by itself.
MODULES: tuple[str, ...] = (
    *LAB_MODULES,
    *("tun", "dummy", "af_packet_diag"),
    *(
        "xfrm_user",
        "xfrm_algo",
        "esp4",
        "esp6",
        "ah4",
        "ah6",
        "af_key",
        "ipcomp",
        "ipcomp6",
        "xfrm4_tunnel",
        "xfrm6_tunnel",
    ),
)


class Network(t.NamedTuple):
    """A host's place on the data network, where IPsec is spoken."""

    ipv4: str
    gateway4: str
    ipv6: str
    gateway6: str


# The guide's two hosts, each in its own subnet, joined by the router `wire`.
KNOWN_HOSTS: dict[str, Network] = {
    "enigma": Network("192.168.116.16", "192.168.116.1", "fd00:192:168:116::16", "fd00:192:168:116::1"),
    "partym": Network("192.168.13.213", "192.168.13.1", "fd00:192:168:13::213", "fd00:192:168:13::1"),
}
DEFAULT_HOSTS = tuple(KNOWN_HOSTS)
PREFIX4, PREFIX6 = 24, 64

# Management network: inside the lab's own network namespace only, apart from the data network (RFC 2544's range).
MANAGEMENT = "198.18.0.0/16"
CONTROLLER_ADDRESS = "198.18.0.1"
MACHINE_ADDRESS = "198.18.0.2"

# Reserved names in a lab.
WIRE = "wire"  # the router between the hosts: a place to watch the wire from outside
CELL = "cell"  # the only host of `lab exec`
EXEC = "exec-"  # start of the names of its labs, which live as long as one command
RESERVED_NAMES = frozenset({WIRE, CELL, "localhost", "all", "ungrouped"})
