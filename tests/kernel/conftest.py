# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every test here has its own network namespace, with an empty SADB and SPD, on a kernel with ESP and AH."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import time
import typing as t

import pytest
from hypothesis import HealthCheck, settings

from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm.backend import XfrmSadb
from ansible_collections.ipsec.manual.plugins.module_utils._core.spd.kernel import Spd
from ansible_collections.ipsec.manual.tests.kernel import witness

CLONE_NEWNET = 0x40000000

# One kernel for all examples of a test; it may be an emulated one.
SLOW = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
settings.register_profile("kernel", deadline=None, max_examples=15, database=None, suppress_health_check=SLOW)
settings.load_profile("kernel")


def new_network_namespace() -> None:
    """Move this process into an empty network namespace; the one before ends with its last process."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWNET)")


@pytest.fixture(scope="session", autouse=True)
def kernel() -> None:
    """Fail unless the kernel supports ESP and AH for both families, tested with ip(8)."""
    if os.geteuid() != 0:
        pytest.fail("these tests want root: tests/lab/lab exec -- python -m pytest tests/kernel")
    new_network_namespace()
    key = "0x" + "0123456789abcdef" * 2
    auth = ("auth-trunc", "hmac(sha256)", key + key[2:], "128")
    for source, destination in (("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")):
        ends = ("src", source, "dst", destination, "spi", "0x1000", "proto")
        witness.run("ip", "xfrm", "state", "add", *ends, "esp", "enc", "cbc(aes)", key, *auth)
        witness.run("ip", "xfrm", "state", "add", *ends, "ah", *auth)
    if witness.state_text().count(" mode transport") != 4:
        pytest.fail("this kernel does not keep ESP and AH SAs: tests/lab/lab exec -- python -m pytest tests/kernel")


@pytest.fixture(autouse=True)
def namespace(kernel: None) -> None:
    new_network_namespace()


@pytest.fixture(name="sadb")
def make_sadb() -> XfrmSadb:
    return XfrmSadb()


@pytest.fixture(name="spd")
def make_spd() -> Spd:
    return Spd()


@pytest.fixture(name="peer")
def make_peer() -> t.Iterator[t.Callable[..., str]]:
    """A second network namespace, 192.0.2.2; returns its SA after packets through ours from
    192.0.2.1. The first call creates the SA.
    """
    with subprocess.Popen(["unshare", "--net", "sleep", "infinity"]) as process:
        inside = ("nsenter", f"--target={process.pid}", "--net")

        sent = 0

        def connect(state: str) -> None:
            # The child has its own network namespace once it has become sleep(1).
            while witness.read(f"/proc/{process.pid}/comm") != "sleep":
                time.sleep(0.01)
            witness.run("ip", "link", "add", "here", "type", "veth", "peer", "name", "there", "netns", str(process.pid))
            witness.run(
                *inside, "ip", "-batch", "-", stdin=f"addr add 192.0.2.2/24 dev there\nlink set there up\n{state}"
            )
            policy = "xfrm policy add src 192.0.2.1 dst 192.0.2.2 dir out tmpl proto esp mode transport\n"
            witness.run("ip", "-batch", "-", stdin=f"addr add 192.0.2.1/24 dev here\nlink set here up\n{policy}")

        def send(state: str, packets: int) -> str:
            nonlocal sent
            if not sent:
                connect(state)
            sent += packets
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                for number in range(packets):
                    sender.sendto(f"{number}".encode(), ("192.0.2.2", 9))
            deadline = time.monotonic() + 5
            while True:
                text = " ".join(witness.run(*inside, "ip", "-s", "xfrm", "state").split())
                arrived = witness.counters(text)[1] + int(text.partition(" failed ")[2].split()[0])
                if arrived >= sent or time.monotonic() > deadline:
                    return text
                time.sleep(0.05)

        yield send
        process.kill()


@pytest.fixture(name="without")
def lose_modules() -> t.Iterator[t.Callable[..., None]]:
    """Remove modules from the running kernel, which loads none until the test ends."""
    program = witness.read("/proc/sys/kernel/modprobe")

    def lose(*modules: str) -> None:
        if "User Mode Linux" not in witness.read("/proc/cpuinfo"):
            pytest.skip("modules are taken out of User-Mode Linux only, not of this machine's kernel")
        witness.write("/proc/sys/kernel/modprobe", "/bin/false")
        for module in modules:
            witness.remove_module(module)

    yield lose
    witness.write("/proc/sys/kernel/modprobe", program)
