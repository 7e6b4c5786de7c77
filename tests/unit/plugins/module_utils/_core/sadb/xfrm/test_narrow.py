# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A 32-bit Python on this machine's 64-bit kernel, in a separate network namespace: the
part core-i386 runs it.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.maxsize >= 1 << 32, reason="this Python has 64 bits")

# The error of each access to the kernel, empty if it succeeded.
PROGRAM = """
import ctypes, sys
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
if ctypes.CDLL(None).unshare(CLONE_NEWUSER | CLONE_NEWNET):
    sys.exit("no network namespace")
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import Counters, Entry, NO_LIFETIMES, build
from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import SadbError
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.plan import (Operation)
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm import backend, events, lifetimes
from ansible_collections.ipsec.manual.plugins.module_utils._core.spd.kernel import Spd
keys = {"encryption_key": bytes(range(32)), "authentication_key": bytes(range(32))}
sa = build("esp", 0x1000, bytes((192, 0, 2, 2)), bytes((192, 0, 2, 1)), "aes-cbc", "hmac-sha256", **keys)
entry = Entry(sa, Counters(), False)
sadb = backend.XfrmSadb()
for way in (
    sadb.dump,
    lambda: sadb.apply([Operation("add", sa, None)]),
    lambda: sadb.apply([Operation("replace", sa, entry)]),
    lambda: sadb.preflight([sa]),
    sadb.flush,
    lambda: lifetimes.update([(entry, NO_LIFETIMES)]),
    Spd().dump,
    events.listen,
):
    try:
        way()
    except SadbError as exc:
        print(exc)
    else:
        print()
"""


def test_a_kernel_that_takes_no_requests_of_32_bits_is_named_and_no_sa() -> None:
    done = subprocess.run([sys.executable, "-B", "-c", PROGRAM], capture_output=True, check=False, encoding="utf-8")
    if "no network namespace" in done.stderr:
        pytest.skip("this machine does not allow network namespaces")
    answers = done.stdout.splitlines()
    if answers and not answers[0]:
        pytest.skip("this kernel accepts requests of a 32-bit Python")
    assert len(answers) == 8, done.stderr
    for answer in answers:
        assert "the kernel accepts no requests from a 32-bit Python (" in answer
        assert "ansible_python_interpreter" in answer
        assert "0x00001000" not in answer
