# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Texts that are not in the language of ipseckey at all: files of other programs, by lines that only they have."""

from __future__ import annotations

import re
import typing as t

from ..errors import TextError
from .grammar import BLANKS

# A line that only a text of ipseckey has.
_OURS = re.compile(r"(?:add|update|update-pair|delete|delete-pair|get|dump|save)\s+(?:esp|ah|all|(?:0x)?[0-3])(?:\s|$)")
_SAVE = "save the loaded SAs in this language, without policies: ipseckey -s FILE"
_KINDS: tuple[tuple[str, str, str], ...] = (
    (
        r"\$ANSIBLE_VAULT;",
        "this file is encrypted with ansible-vault",
        "Decrypt it: ansible-vault view FILE",
    ),
    (
        r"#!\s*/\S*setkey\b|(?:spd(?:add|update|delete|flush|dump)|deleteall)\b|(?:flush|dump)\s*(?:esp|ah|ipcomp)?\s*;"
        r"|(?:add|delete|get)\s+(?:-\w+\s+)?\S+\s+\S+\s+(?:esp|esp-old|esp-udp|ah|ah-old|ipcomp|tcp)\s+(?:0x|[0-9])",
        "this is a file of setkey, not a text of ipseckey",
        f"Load it with setkey -f FILE, then {_SAVE}",
    ),
    (
        r"(?:\S*sudo\s+)?(?:\S*/)?ip\s+(?:\S+\s+){0,6}x(?:f|fr|frm)?\s+(?:s|state|p|policy)\s+[\w\\]"
        r"|xfrm\s+(?:state|policy)\s+\w",
        "these are commands of ip xfrm, not a text of ipseckey",
        f"Run them, then {_SAVE}",
    ),
    (
        r"proto\s+(?:esp|ah|comp)\s+spi\s+0x[0-9a-f]+(?:\([0-9]+\))?\s+reqid\s",
        "this is output of ip xfrm state, not a text of ipseckey",
        "Run this on the host that printed it: ipseckey -s FILE",
    ),
    (
        r"(?:flow|esp|ah|ipcomp|ipip|tcpmd5|ike)\s+(?:\S+\s+){0,6}from\s+\S",
        "this is an ipsec.conf of OpenBSD, not a text of ipseckey",
        "Write an add command for each SA; the page Compatibility of the documentation shows an example.",
    ),
    (
        r"(?:config\s+setup|(?:conn|ca)\s+\S+)\s*(?:#|$)|(?:connections|secrets|pools|authorities)\s*\{"
        r"|(?:remote|sainfo)\s.*\{|[^#\"]*:\s*(?:PSK|RSA|ECDSA|EAP|XAUTH)\s+\S",
        "this is a file of an IKE daemon (strongSwan, Libreswan, racoon), not a text of ipseckey",
        "The daemon negotiates keys, so its file has no SAs; if both ends can run such a daemon, prefer that.",
    ),
    (
        r"\{.*\b(?:[lrsd]addr|[lrsd]port|ulp|tunnel|dir)\b.*\}",
        "these are policies of Solaris, for ipsecconf, not a text of ipseckey",
        "A text of SAs has add commands.",
    ),
)
# Characters of a line that are looked at.
_JUDGED = 400
_COMPILED = tuple((re.compile(form), message, hint) for form, message, hint in _KINDS)


def instead(problems: t.Sequence[TextError], name: str, text: str) -> t.Sequence[TextError]:
    """The problems of a text; if it is a file of another program, a single one that says so."""
    lines = text.split("\n") if problems else []
    if any(_OURS.match(line.lstrip(BLANKS)) for line in lines):
        return problems
    for number, line in enumerate(lines, 1):
        stripped = line.lstrip(BLANKS)[:_JUDGED]
        if stripped.startswith("#") and number > 1:
            continue
        for form, message, hint in _COMPILED:
            if form.match(stripped):
                return [TextError(message, name, number, 1, hint)]
    return problems
