# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import Problems, TextError
from ansible_collections.ipsec.manual.plugins.module_utils._core.text import language, script
from ansible_collections.ipsec.manual.plugins.module_utils._core.text.grammar import FILE, PROMPT

KEY = "308c9d5d11316f73900c811691eaa6fb9561c2ee"
AES = "6e22b60f98ebd0b73324a4107b80cc9d"
SAVE = "save the loaded SAs in this language, without policies: ipseckey -s FILE"
TEXTS = [
    (
        f"""#!/usr/sbin/setkey -f
flush;
spdflush;
# outbound
add 192.0.2.1 192.0.2.2 esp 0x201 -m tunnel -E aes-cbc 0x{AES}
    -A hmac-sha1 0x{KEY};
spdadd 172.16.1.0/24 172.16.2.0/24 any -P out ipsec esp/tunnel/192.0.2.1-192.0.2.2/require;
""",
        1,
        "setkey",
        f"Load it with setkey -f FILE, then {SAVE}",
    ),
    (
        f"\n# keys\nadd gw.example host.example ah 24500 -A hmac-md5 0x{AES};\n",
        3,
        "setkey",
        f"Load it with setkey -f FILE, then {SAVE}",
    ),
    ("flush ;\n", 1, "setkey", f"Load it with setkey -f FILE, then {SAVE}"),
    (
        f"""#!/bin/sh
set -e
ip xfrm state flush
ip -4 xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1001 mode transport \\
    auth "hmac(sha1)" 0x{KEY} enc "cbc(aes)" 0x{AES}
""",
        3,
        "commands of ip xfrm",
        f"Run them, then {SAVE}",
    ),
    (
        f"xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1001 auth sha1 0x{KEY}\n",
        1,
        "commands of ip xfrm",
        f"Run them, then {SAVE}",
    ),
    (
        "ip xfrm state \\\n  add src 192.0.2.1 dst 192.0.2.2 proto esp spi 7\n",
        1,
        "commands of ip xfrm",
        f"Run them, then {SAVE}",
    ),
    (
        "sudo ip netns exec red ip x s a src 192.0.2.1 dst 192.0.2.2 proto esp spi 7\n",
        1,
        "commands of ip xfrm",
        f"Run them, then {SAVE}",
    ),
    (
        "src 192.0.2.1 dst 192.0.2.2\n\tproto esp spi 0x00001001(4097) reqid 0(0x00000000) mode transport\n"
        f"\treplay-window 0\n\tauth-trunc hmac(sha1) 0x{KEY} 96\n",
        2,
        "output of ip xfrm state",
        "Run this on the host that printed it: ipseckey -s FILE",
    ),
    (
        f"""# OpenBSD
flow esp from 10.1.0.0/16 to 10.2.0.0/16 peer 192.0.2.2
esp tunnel from 192.0.2.1 to 192.0.2.2 spi 0x1001:0x1002 auth hmac-sha1 enc aes authkey 0x{KEY}
""",
        2,
        "ipsec.conf of OpenBSD",
        "Write an add command for each SA; the page Compatibility of the documentation shows an example.",
    ),
    ("config setup\n\nconn net-net\n  left=192.0.2.1\n", 1, "IKE daemon", ""),
    ("connections {\n  gw-gw {\n    remote_addrs = 192.0.2.2\n", 1, "IKE daemon", ""),
    ('192.0.2.1 192.0.2.2 : PSK "a secret that nobody must see"\n', 1, "IKE daemon", ""),
    ("remote 192.0.2.2 {\n  exchange_mode main;\n}\n", 1, "IKE daemon", ""),
    ("{laddr 192.0.2.1 raddr 192.0.2.2} ipsec {encr_algs aes encr_auth_algs sha256 sa shared}\n", 1, "ipsecconf", ""),
    ("$ANSIBLE_VAULT;1.1;AES256\n3439\n", 1, "encrypted with ansible-vault", "Decrypt it: ansible-vault view FILE"),
]


@pytest.mark.parametrize(("text", "line", "kind", "hint"), TEXTS)
@pytest.mark.parametrize("read", [language.parse, script.parse])
def test_a_file_of_another_program_causes_one_error_that_names_it_and_the_remedy(read, text, line, kind, hint):
    with pytest.raises(TextError) as caught:
        read(text)
    assert (caught.value.line, caught.value.column) == (line, 1)
    assert kind in caught.value.message
    assert hint in ("", caught.value.hint)
    assert not any(secret in str(caught.value) for secret in (KEY[:8], AES[:8], "nobody"))


@pytest.mark.parametrize(
    "text",
    [
        f"add esp spi 0x1001 dst 192.0.2.2 auth_alg sha1 authkey {KEY}\nflush;\nspdflush\n",
        "delete esp dst 192.0.2.2\nconn gw\n",
        "sned esp spi 0x1001\nspi 0x1001\n",
        "# setkey -f\nfulsh\nquti\n",
    ],
)
def test_an_error_in_an_ipseckey_text_is_reported_as_such(text):
    with pytest.raises((TextError, Problems)) as caught:
        script.parse(text, place=FILE)
    assert "not a text of ipseckey" not in str(caught.value)


def test_a_line_at_the_prompt_is_not_taken_for_a_file():
    with pytest.raises(TextError, match="unknown command 'spdflush;'"):
        script.parse("spdflush;", place=PROMPT)


@pytest.mark.parametrize("line", ["ip " + "x " * 30000, ": " * 30000, "remote " * 9000, "add " + "1 " * 30000])
def test_long_lines_are_recognised_quickly(line):
    with pytest.raises((TextError, Problems)):
        script.parse(line, place=FILE)
