# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The answers of the modules that run on hosts: one table for their RETURN blocks and for the gate.

`make docs-returns` writes the blocks from it; `_gate` rejects everything else.
"""

from __future__ import annotations

import typing as t

U16 = (0, (1 << 16) - 1)
U32 = (0, (1 << 32) - 1)
U64 = (0, (1 << 64) - 1)

ADDRESS = r"[0-9a-f:.]{2,45}"
NETWORK = rf"(?:{ADDRESS}/[0-9]{{1,3}})?"
SPI = r"0x[0-9a-f]{8}"
MARK = r"(?:0x[0-9a-f]{1,8}/0x[0-9a-f]{1,8})?"
WORD = r"[a-z0-9_-]{1,20}"
# A fingerprint, or a word that replaces it.
DIGEST = r"[0-9a-f]{16,64}|[a-z-]{1,20}"
PAIR = rf"{ADDRESS}\|{ADDRESS}"
OWNER = rf"{PAIR}#[0-9]{{1,10}},{MARK},[0-9]{{1,10}}"
LIMIT = r"(?:soft|hard)_(?:bytes|packets|addtime|usetime)"

PATH = 4096  # characters
# More SAs than a rotation can use; a SADB of this size takes seconds to read.
MANY = 100_000
FEW = 100


class Field(t.NamedTuple):
    """One field of an answer.

    ``type``, ``description``, ``returned``, ``sample``, ``contains`` and the type of ``elements``
    are those of a RETURN block. The rest are limits: strings match ``pattern`` and have at most
    ``longest`` characters, numbers lie in ``range``, lists and dictionaries hold at most ``most``
    items. A dictionary has either the keys of ``contains``, or any that match ``keys``, with values
    that are ``elements``.
    """

    type: str
    description: str | tuple[str, ...] = ""
    sample: t.Any = None
    returned: str = "always"
    pattern: str = ""
    longest: int = 256
    range: tuple[int, int] = U64
    nullable: bool = False
    most: int = MANY
    keys: str = ""
    contains: t.Mapping[str, Field] = {}
    elements: Field | None = None

    @property
    def required(self) -> bool:
        return self.returned in ("always", "success")


Fields = t.Mapping[str, Field]

_USAGE: Fields = {
    **{name: Field("int", returned="sometimes") for name in ("age", "packets", "bytes", "blocks64")},
    **{
        f"{name}_percent": Field("int", returned="sometimes", range=(0, 100))
        for name in ("packets", "bytes", "seconds")
    },
}
_BACKEND: Fields = {"backend": Field("str", "How the kernel was reached.", "xfrm", "success", WORD)}

_KEYS_HIDDEN = Field(
    "bool", "Whether the kernel hides keys (lockdown), which makes fingerprints meaningless.", False, "success"
)

_OPERATIONS = Field(
    "list",
    "Operations that were carried out, in order. In check mode, those that would be.",
    ["add esp spi 0x8bcd1407 192.168.116.16 > 192.168.13.213 transport aes-cbc+hmac-sha256"],
    "success",
    most=4 * MANY,
    elements=Field("str", longest=1000),
)

_DIGEST = Field(
    "dict",
    (),
    {"192.168.116.16|192.168.13.213": "5f0c1d6c7e2b9a40"},
    "success",
    keys=PAIR,
    elements=Field("str", pattern=DIGEST),
)

_LABELS = Field("list", (), ["out 192.168.116.16/32 > 192.168.13.213/32"], "success", elements=Field("str"))

_SELECTOR: Fields = {
    "source": Field("str", "Network of the senders in CIDR notation, empty for any.", "10.1.0.0/16", pattern=NETWORK),
    "destination": Field(
        "str", "Network of the receivers in CIDR notation, empty for any.", "10.2.0.0/16", pattern=NETWORK
    ),
    "protocol": Field("int", "Number of the upper protocol, V(0) for any.", 0, range=U16),
    "source_port": Field("int", "Port of the senders, V(0) for any.", 0, range=U16),
    "destination_port": Field("int", "Port of the receivers, V(0) for any.", 0, range=U16),
}

_ENCAPSULATION: Fields = {
    "type": Field("str", "Always V(udp).", "udp", pattern=WORD),
    "source_port": Field("int", "UDP port of the sender.", 4500, range=U16),
    "destination_port": Field("int", "UDP port of the receiver.", 4500, range=U16),
    "nat_local": Field(
        "str", "Address of this end behind its NAT device, empty for none.", "", pattern=f"(?:{ADDRESS})?"
    ),
    "nat_remote": Field(
        "str", "Address of the other end behind its NAT device, empty for none.", "", pattern=f"(?:{ADDRESS})?"
    ),
}

_FINGERPRINT = f"(?:{DIGEST})?"

# An SA without its counters.
_SA: Fields = {
    "protocol": Field("str", "Protocol.", "esp", pattern=WORD),
    "spi": Field("str", "SPI in hexadecimal.", "0x8bcd1407", pattern=SPI),
    "source": Field("str", "Address of the sender.", "192.168.116.16", pattern=ADDRESS),
    "destination": Field("str", "Address of the receiver.", "192.168.13.213", pattern=ADDRESS),
    "mode": Field("str", "Mode.", "transport", pattern=WORD),
    "encryption_algorithm": Field("str", "Cipher, empty for AH.", "aes-cbc"),
    "encryption_bits": Field("int", "Size of the encryption key, its salt not counted.", 256, range=U32),
    "authentication_algorithm": Field("str", "Authentication algorithm, empty for none.", "hmac-sha256"),
    "icv_bits": Field("int", "Length of the ICV.", 128, range=U32),
    "fingerprints": Field(
        "dict",
        "Fingerprints of the keys.",
        contains={
            "encryption": Field(
                "str",
                (
                    "Fingerprint of the encryption key, empty if there is none, V(short-key) if it has "
                    "fewer than 112 bits."
                ),
                "4a1bd3cc8a6e0f32",
                pattern=_FINGERPRINT,
            ),
            "authentication": Field(
                "str",
                "Fingerprint of the authentication key, empty if there is none.",
                "09d5b1e27c66a8f1",
                pattern=_FINGERPRINT,
            ),
        },
    ),
    "replay_window": Field("int", "Anti-replay window in packets.", 0, range=U32),
    "esn": Field("bool", "Whether sequence numbers are extended to 64 bits.", False),
    "reqid": Field("int", "Number that ties the SA to policies.", 0, range=U32),
    "mark": Field("str", "Mark and mask, empty for none.", "", pattern=MARK),
    "if_id": Field("int", "Identifier of the XFRM interface.", 0, range=U32),
    "direction": Field(
        "str", "Direction that the SA is bound to, empty for none.", "", pattern="(?:inbound|outbound)?"
    ),
    "output_mark": Field("str", "Mark and mask that the SA sets on its packets, empty for none.", "", pattern=MARK),
    "tfc_padding": Field("int", "Length in octets that packets are padded to, V(0) for no padding.", 0, range=U32),
    "nat_keepalive": Field("int", "Seconds between NAT keepalive packets, V(0) for none.", 0, range=U32),
    "lifetimes": Field(
        "dict", "Limits that are set.", {"hard_packets": 1000000000000}, most=FEW, keys=LIMIT, elements=Field("int")
    ),
    "selector": Field("dict", "Traffic that the SA may carry.", None, "if the SA has a selector", contains=_SELECTOR),
    "encapsulation": Field("dict", "Encapsulation in UDP.", None, "if the SA is encapsulated", contains=_ENCAPSULATION),
}

_BUDGET: Fields = {
    "packets": Field(
        "int",
        "Packets until the sequence numbers (2^32, or 2^64 with ESN) or the hard limit of packets run out.",
        4294967285,
        nullable=True,
    ),
    "bytes": Field(
        "int",
        "Bytes until the hard limit of bytes, or 2^32 blocks of a cipher with 64-bit blocks. V(null) if there is no "
        "such limit.",
        None,
        nullable=True,
    ),
}

_COUNTERS: Fields = {
    "bytes": Field("int", "Octets that the SA has carried.", 840),
    "packets": Field("int", "Packets that the SA has carried.", 10),
    "add_time": Field("int", "Time when it was added, in seconds since the epoch.", 1795000000),
    "use_time": Field("int", "Time when it was first used, V(0) for never.", 1795000060),
    "sequence_out": Field("int", "Sequence number of the last packet sent.", 10),
    "sequence_in": Field("int", "Sequence number of the last packet received.", 0),
    "late": Field("int", "Packets dropped because they arrived after the window had passed them.", 0),
    "replayed": Field("int", "Packets dropped because they had been received before.", 0),
    "integrity_failures": Field("int", "Packets dropped because their ICV was wrong.", 0),
}

# An SA as the SADB holds it.
_ENTRY: Fields = {
    **_SA,
    "larval": Field(
        "bool", ("Whether the SA is only a reservation of an SPI, without keys. See RFC 2367, section 3.3."), False
    ),
    "flags": Field(
        "list",
        (
            (
                "Properties that another program gave the SA and that this collection neither sets nor keeps, such as"
                " C(noecn) or C(pcpu=3)."
            ),
            "An SA with such properties differs from every SA of a text, and cannot be backed up.",
        ),
        [],
        most=FEW,
        elements=Field("str"),
    ),
    "age": Field("int", "Seconds since the SA was added.", 86400),
    "counters": Field(
        "dict",
        (
            "Counters of the SA.",
            (
                "With O(backend=solaris), only C(bytes), the times, and the sequence number of an SA "
                "that keeps one, are known."
            ),
        ),
        contains=_COUNTERS,
    ),
    "budget": Field("dict", "What the SA may still carry until it ends or should be replaced.", contains=_BUDGET),
}

_TEMPLATE: Fields = {
    "protocol": Field("str", "Protocol.", "esp", pattern=WORD),
    "mode": Field("str", "Mode.", "transport", pattern=WORD),
    "source": Field("str", "Address of the sender, empty for that of the packet.", "", pattern=f"(?:{ADDRESS})?"),
    "destination": Field(
        "str", "Address of the receiver, empty for that of the packet.", "", pattern=f"(?:{ADDRESS})?"
    ),
    "reqid": Field("int", "Reqid of the SAs that the template asks for, V(0) for any.", 0, range=U32),
    "spi": Field("str", "SPI in hexadecimal, empty for any.", "", pattern=f"(?:{SPI})?"),
    "level": Field(
        "str",
        "V(required) if traffic must use such an SA, V(use) if it may also pass without one.",
        "required",
        pattern=WORD,
    ),
}

_POLICY: Fields = {
    "direction": Field("str", "Direction.", "out", pattern=WORD),
    "selector": Field("dict", "Traffic that the policy applies to.", contains=_SELECTOR),
    "action": Field("str", "What happens to the traffic, V(allow) or V(block).", "allow", pattern=WORD),
    "priority": Field(
        "int",
        ("Priority. Of the policies that match a packet, the one with the lowest number applies."),
        0,
        range=U32,
    ),
    "mark": Field("str", "Mark and mask, empty for none.", "", pattern=MARK),
    "if_id": Field("int", "Identifier of the XFRM interface.", 0, range=U32),
    "templates": Field(
        "list",
        "SAs that the traffic must go through, the innermost first.",
        most=FEW,
        elements=Field("dict", contains=_TEMPLATE),
    ),
    "index": Field("int", "Number that the kernel gave the policy.", 17, range=U32),
    "add_time": Field("int", "Time when it was added, in seconds since the epoch.", 1795000000),
    "use_time": Field("int", "Time when it was last used, V(0) for never.", 0),
    "complete": Field(
        "bool",
        (
            "Whether this describes the whole policy. V(false) if it also has properties that "
            "M(ipsec.manual.ipsec_policy) cannot express, such as a port range."
        ),
        True,
    ),
    "flags": Field(
        "list",
        (
            "Properties that another program gave the policy and that "
            "M(ipsec.manual.ipsec_policy) cannot set, named as C(ip xfrm) names them, if it does. "
            "Limits are followed by their value in seconds, bytes, or packets."
        ),
        ["localok", "hard_addtime 3600", "templates[0] encryption-algorithms"],
        most=FEW,
        elements=Field("str"),
    ),
}


def _carried(sample: int, when: str) -> Field:
    text = f"Packets it had carried {when}, or octets with O(backend=solaris). V(null) if it was not in the SADB."
    return Field("int", text, sample, nullable=True)


_CARRIED: Fields = {
    "key": Field(
        "str",
        "Protocol, destination, and SPI of the SA.",
        "esp|192.168.13.213|0x8bcd1407",
        pattern=rf"{WORD}\|{ADDRESS}\|{SPI}",
    ),
    "before": _carried(0, "before"),
    "after": _carried(3, "afterwards"),
}

_USAGE_OF_PAIRS = Field(
    "dict",
    (
        "For each pair of addresses and owner, as in RV(held), the most that one of its SAs has used.",
        (
            "C(packets) are packets, or sequence numbers if more of those are used. C(blocks64) are blocks of "
            "64 bits, for ciphers that have them. C(age) is the age of the youngest SA in seconds."
        ),
        (
            "Names that end in C(percent) are shares of the sequence numbers and of the SA's own limits, "
            "rounded up, and V(100) if a soft limit was reached."
        ),
        "A number that is zero or unknown is left out.",
    ),
    {"192.168.116.16|192.168.13.213#0,,0": {"age": 86400, "packets": 120000}},
    "if O(usage)",
    keys=OWNER,
    elements=Field("dict", contains=_USAGE),
)

_STATUS_OF_PAIR: Fields = {
    "sas": Field("int", range=U32),
    "age": Field("int"),
    "limit": Field("str"),
    "left": Field("int", range=(0, 100)),
}

# The SAs of one owner between two addresses, as an audit sees them.
_AUDITED: Fields = {
    "name": Field(
        "str",
        "Pair of addresses and owner (reqid, mark, if_id).",
        "192.168.116.16|192.168.13.213#0,,0",
        pattern=OWNER,
    ),
    "sas": Field("int", "SAs in the kernel.", 4, range=U32),
    "inbound": Field("int", "Those of them that are inbound.", 2, range=U32),
    "outbound": Field("int", "Those of them that are outbound.", 2, range=U32),
    "oldest": Field("int", "Seconds since the first of them was added.", 86400),
    "youngest": Field("int", "Seconds since the last of them was added.", 86400),
    "budget": Field(
        "dict",
        "The limit of which the largest share is used. V(null) if there is none.",
        nullable=True,
        contains={
            "what": Field("str", "V(packets), V(bytes) or V(blocks).", "packets", pattern="packets|bytes|blocks"),
            "used": Field("float", "Used share of it.", 0.12, range=(0, 1)),
        },
    ),
    "digest": Field(
        "str",
        "Fingerprint of the SAs, as M(ipsec.manual.ipsec_sadb) shows it. Empty without any, and if keys are hidden.",
        "5f0c1d6c7e2b9a40",
        pattern="(?:[0-9a-f]{16,64})?",
    ),
    "file_digest": Field(
        "str", "The same for the SAs of the file.", "5f0c1d6c7e2b9a40", pattern="(?:[0-9a-f]{16,64})?"
    ),
    "fingerprints": Field(
        "list",
        "Fingerprints of the keys of the SAs, except short keys.",
        ["4a1bd3cc8a6e0f32"],
        elements=Field("str", pattern="[0-9a-f]{16}"),
    ),
    "algorithms": Field(
        "list", "Names of their algorithms.", ["aes-cbc", "hmac-sha256"], most=FEW, elements=Field("str")
    ),
    "integrity": Field(
        "str",
        "V(own) if every ESP SA has integrity, V(ah) if some have it from AH only, V(none) if some have none.",
        "own",
        pattern="own|ah|none",
    ),
    "integrity_failures": Field("int", "Packets dropped because their ICV was wrong.", 0),
    "replayed": Field("int", "Packets dropped because they came twice or too late.", 0),
    "leaking": Field("int", "Outbound SAs that no policy uses.", 0, range=U32),
    "open": Field("int", "Inbound SAs that no policy asks for.", 0, range=U32),
    "reloaded": Field("int", "SAs that the boot service noted as loaded again.", 0, range=U32),
    "shared_keys": Field("int", "SAs that share a key with another SA of the host.", 0, range=U32),
    "shared_spis": Field("int", "SAs that share an SPI with another SA of the host.", 0, range=U32),
}

ANSWERS: t.Mapping[str, Fields] = {
    "ipsec_audit": {
        "epoch": Field(
            "float",
            "The target's clock, in seconds since the epoch.",
            1795000000.25,
            "success",
            range=(0, 253402300799),
        ),
        "kernel": Field("str", "Name and release of the kernel.", "Linux 6.12.48", "success"),
        "uptime": Field("int", "Seconds since the boot, V(0) if the system does not say.", 86400, "success"),
        "backend": Field(
            "str",
            "How the kernel was reached, empty if it could not be read.",
            "xfrm",
            "success",
            f"(?:{WORD})?",
        ),
        "keys_hidden": _KEYS_HIDDEN._replace(
            description="Whether the kernel hides keys (lockdown), so that nothing is known about them."
        ),
        "file": Field(
            "dict",
            "The protected file.",
            returned="success",
            contains={
                "path": Field("str", "Path of the file.", "/etc/inet/secret/ipseckeys", longest=PATH),
                "exists": Field("bool", "Whether it exists.", True),
                "mode": Field("str", "Its mode, empty if it does not exist.", "0600", pattern="(?:[0-7]{4,5})?"),
                "modified": Field(
                    "float",
                    "When it was last written, in seconds since the epoch, V(0) if it does not exist.",
                    1795000000.0,
                    range=(0, 253402300799),
                ),
                "sas": Field("int", "Number of SAs in the file.", 2, range=U32),
            },
        ),
        "service": Field(
            "dict",
            "The service that loads SAs at boot.",
            returned="success",
            contains={
                "manager": Field("str", "Service manager, empty if it is unknown.", "systemd", pattern=f"(?:{WORD})?"),
                "installed": Field("bool", "Whether the service is installed.", True),
                "enabled": Field("bool", "Whether it starts at boot.", True),
                "state": Field("str", "V(active), V(inactive), V(failed) or V(unknown).", "active", pattern=WORD),
                "file": Field("str", "File that it loads, empty for none.", "/etc/inet/secret/ipseckeys", longest=PATH),
            },
        ),
        "counters": Field(
            "dict",
            "Packets that the kernel discarded since the boot, by reason, as in C(/proc/net/xfrm_stat).",
            {"XfrmInNoStates": 0},
            "success",
            most=FEW,
            keys="Xfrm[A-Za-z0-9]{1,60}",
            elements=Field("int"),
        ),
        "policies": Field(
            "dict",
            "Number of policies of each owner (reqid, mark, if_id).",
            {"0,,0": 4},
            "success",
            keys=rf"[0-9]{{1,10}},{MARK},[0-9]{{1,10}}",
            elements=Field("int", range=U32),
        ),
        "pairs": Field(
            "list",
            "The SAs in the kernel or in the file, one row for each pair of addresses and owner.",
            returned="success",
            elements=Field("dict", contains=_AUDITED),
        ),
        "remarks": Field(
            "list",
            "Observations. None of them contains a key.",
            returned="success",
            most=20 * FEW,
            elements=Field(
                "dict",
                contains={
                    "what": Field("str", "What was observed, a fixed word.", "copy", pattern=r"[a-z-]{1,30}"),
                    "place": Field(
                        "str", "Path or name that it is about.", "/etc/inet/secret/ipseckeys.bak", longest=PATH
                    ),
                    "detail": Field("str", "A few words on it.", "mode 0644"),
                },
            ),
        ),
        "unread": Field(
            "list",
            "Parts that could not be read, each with the reason.",
            [],
            "success",
            most=FEW,
            elements=Field("str", longest=1000),
        ),
    },
    "ipsec_sa": {
        "operations": _OPERATIONS,
        "differences": Field(
            "list",
            "Names of the fields that differed in the SA that was replaced.",
            ["encryption_key"],
            "success",
            most=FEW,
            elements=Field("str"),
        ),
        "sa": Field(
            "dict", "The SA as it should be, without keys.", None, "success and O(state=present)", contains=_SA
        ),
        **_BACKEND,
    },
    "ipsec_sadb": {
        "operations": _OPERATIONS,
        "counts": Field(
            "dict",
            "Number of SAs of each kind.",
            returned="success",
            contains={
                "added": Field("int", "SAs that were added.", 4, range=U32),
                "replaced": Field("int", "SAs that replaced others.", 0, range=U32),
                "deleted": Field("int", "SAs that were deleted.", 4, range=U32),
                "unchanged": Field("int", "SAs that existed already.", 0, range=U32),
                "foreign": Field("int", "SAs of other programs in scope, which stayed.", 1, range=U32),
            },
        ),
        "digest": _DIGEST._replace(
            description=(
                (
                    "For each pair of addresses, a fingerprint of the SAs of the text that the kernel now "
                    "holds between them."
                ),
                "Two hosts with the same fingerprint have the same SAs with the same keys.",
                "In check mode, and if the kernel hides keys, it is the fingerprint of the text.",
            ),
            returned="success and O(state) is V(present) or V(exact)",
        ),
        "missing": Field(
            "bool",
            "Whether the file O(src) did not exist, so nothing was compared.",
            False,
            "with O(ignore_missing)",
        ),
        "applied": Field(
            "dict",
            "When the SADB was changed, on the target's clock, in seconds since the epoch.",
            returned="when the SADB was changed",
            contains={
                "began": Field("float", "Right before the change.", 1795000000.25, range=(0, 253402300799)),
                "ended": Field("float", "Right after it.", 1795000000.26, range=(0, 253402300799)),
            },
        ),
        **_BACKEND,
    },
    "ipsec_sa_info": {
        "sas": Field("list", "The SAs.", None, "success", elements=Field("dict", contains=_ENTRY)),
        "digest": _DIGEST._replace(
            description=(
                "For each pair of addresses, a fingerprint of all SAs between them.",
                "Two hosts with the same fingerprint have the same SAs with the same keys.",
                "Empty if the kernel hides keys.",
            )
        ),
        "keys_hidden": _KEYS_HIDDEN,
        **_BACKEND,
    },
    "ipseckeys_file": {
        "path": Field("str", "Path of the file.", "/etc/inet/secret/ipseckeys", "success", longest=PATH),
        "mode": Field("str", "Mode of the file.", "0600", "success and O(state=present)", "[0-7]{3,5}"),
        "owner": Field("str", "Owner of the file.", "root", "success and O(state=present)"),
        "sas": Field("int", "Number of SAs in the file.", 4, "success", range=U32),
        "digest": _DIGEST._replace(
            description=(
                "For each pair of addresses, a fingerprint of all SAs of the file between them, as "
                "M(ipsec.manual.ipsec_sadb) shows it."
            )
        ),
    },
    "ipsec_policy": {
        "operations": _OPERATIONS._replace(sample=["add policy out 192.168.116.16/32 > 192.168.13.213/32"]),
        "added": _LABELS._replace(
            description="The policies that were missing, each as direction, source, and destination."
        ),
    },
    "ipsec_policy_info": {
        "policies": Field(
            "list", "The policies, in the kernel's order.", None, "success", elements=Field("dict", contains=_POLICY)
        ),
    },
    "ipsec_preflight": {
        "epoch": Field(
            "float",
            "The target's clock, in seconds since the epoch.",
            1795000000.25,
            "success",
            range=(0, 253402300799),
        ),
        "file": Field(
            "dict",
            "The protected file.",
            returned="success",
            contains={
                "path": Field("str", "Path of the file.", "/etc/inet/secret/ipseckeys", longest=PATH),
                "sas": Field("int", "Number of SAs in the file.", 2, range=U32),
                "digest": _DIGEST._replace(
                    description="Digest of its SAs, as M(ipsec.manual.ipsec_sadb) shows it.", returned="always"
                ),
            },
        ),
        "held": Field(
            "dict",
            (
                "For each pair of addresses and each owner (reqid, mark, if_id), a fingerprint of all "
                "its SAs in the SADB."
            ),
            {"192.168.116.16|192.168.13.213#0,,0": "5f0c1d6c7e2b9a40"},
            "success",
            keys=OWNER,
            elements=Field("str", pattern=DIGEST),
        ),
        "asked": Field(
            "list",
            (
                "The pairs of addresses and owners, as in RV(held), of SAs that the service of "
                "M(ipsec.manual.ipsec_boot) loaded and noted in C(/var/lib/ipseckey/rotation-due), since "
                "their keys may have been in use before. Only SAs that the SADB still holds."
            ),
            [],
            "success",
            elements=Field("str", pattern=OWNER),
        ),
        "usage": _USAGE_OF_PAIRS._replace(returned="if O(usage)"),
        "leftovers": Field(
            "list",
            (
                "Files that a broken rotation left beside O(path), named like it with C(.next), "
                "C(.previous), or C(.replaced) added."
            ),
            ["/etc/inet/secret/ipseckeys.next"],
            "success",
            most=FEW,
            elements=Field("str", longest=PATH),
        ),
        "keys_hidden": _KEYS_HIDDEN._replace(
            description=(
                "Whether the kernel hides keys (lockdown), so that nobody can tell whether the right "
                "ones are installed."
            )
        ),
        "spis": Field(
            "list",
            ("SPIs in use in the SADB or in the file, except 0 to 255, which a rotation never assigns."),
            ["0x122a43e4", "0x8bcd1407"],
            "success",
            elements=Field("str", pattern=SPI),
        ),
        **_BACKEND,
    },
    "ipsec_probe": {
        "sent": Field(
            "list", "The outbound SAs of the file.", None, "success", elements=Field("dict", contains=_CARRIED)
        ),
        "received": Field(
            "list",
            (
                "The inbound SAs of the file, in the same form. Packets from peers may have arrived "
                "in the meantime, or may still arrive."
            ),
            None,
            "success",
            elements=Field("dict", contains=_CARRIED),
        ),
        "failures": Field(
            "list",
            "Datagrams that could not be sent, and why.",
            ["192.168.116.16 > 192.168.13.213: ENETUNREACH, Network is unreachable"],
            "success",
            elements=Field("str", longest=1000),
        ),
        **_BACKEND,
    },
    "ipsec_boot": {
        "service_manager": Field(
            "str",
            ("Service manager of the host. Empty if no known one was found, which only O(state=query) accepts."),
            "systemd",
            "success",
            "(?:openrc|smf|systemd|sysvinit)?",
        ),
        "installed": Field(
            "bool", "Whether the service is installed. On Solaris and illumos, it always is.", True, "success"
        ),
        "enabled": Field("bool", "Whether the service starts at boot.", True, "success"),
        "file": Field(
            "str",
            "Protected file that the service loads, empty if it loads none.",
            "/etc/inet/secret/ipseckeys",
            "success",
            longest=PATH,
        ),
        "policies_file": Field(
            "str",
            "File of policies that the service loads, empty if it loads none.",
            "/etc/ipsecpolicies.json",
            "success",
            longest=PATH,
        ),
        "policies": _LABELS._replace(
            description="The policies in that file, each as direction, source, and destination."
        ),
        "kept": _LABELS._replace(
            description="Policies in RV(policies) that O(policies) does not name.",
            sample=[],
        ),
        "files": Field(
            "list",
            "Files that were written or removed, or would be in check mode.",
            ["/etc/ipsecpolicies.json", "/etc/systemd/system/ipseckeys.service"],
            "success",
            most=FEW,
            elements=Field("str", longest=PATH),
        ),
    },
    "ipsec_status": {
        "epoch": Field(
            "float",
            "The target's clock, in seconds since the epoch.",
            1795000000.25,
            "success",
            range=(0, 253402300799),
        ),
        "service": Field(
            "dict",
            "What loads SAs at boot.",
            returned="success",
            contains={
                "manager": Field(
                    "str",
                    "Service manager of the host, empty if no known one was found.",
                    "systemd",
                    pattern="(?:openrc|smf|systemd|sysvinit)?",
                ),
                "installed": Field("bool", "Whether the service is installed.", True),
                "enabled": Field("bool", "Whether it starts at boot.", True),
                "state": Field(
                    "str",
                    "V(active), V(inactive), V(failed), or V(unknown), as with C(sysvinit), which cannot tell.",
                    "active",
                    pattern=WORD,
                ),
                "file": Field(
                    "str",
                    "Protected file that it loads, empty for none.",
                    "/etc/inet/secret/ipseckeys",
                    longest=PATH,
                ),
                "policies_file": Field(
                    "str", "File of policies that it loads, empty for none.", "/etc/ipsecpolicies.json", longest=PATH
                ),
            },
        ),
        "file": Field(
            "dict",
            "The protected file.",
            returned="success",
            contains={
                "path": Field("str", "Path of the file.", "/etc/inet/secret/ipseckeys", longest=PATH),
                "exists": Field("bool", "Whether it exists, as far as can be seen.", True),
                "sas": Field(
                    "int", "Number of SAs in the file, V(null) if it cannot be read.", 2, range=U32, nullable=True
                ),
                "pending": Field(
                    "int",
                    "Number of SAs in which the kernel differs from the file, V(null) if that cannot be seen.",
                    0,
                    range=U32,
                    nullable=True,
                ),
            },
        ),
        "backend": Field(
            "str", "How the kernel was reached, empty if it cannot be seen.", "xfrm", "success", f"(?:{WORD})?"
        ),
        "keys_hidden": _KEYS_HIDDEN,
        "held": Field(
            "dict",
            (
                "For each pair of addresses and each owner (reqid, mark, if_id), a fingerprint of all its SAs in the"
                " SADB. Two hosts with the same fingerprint have the same SAs with the same keys.",
                "Empty if the kernel hides keys.",
            ),
            {"192.168.116.16|192.168.13.213#0,,0": "5f0c1d6c7e2b9a40"},
            "success",
            keys=OWNER,
            elements=Field("str", pattern=DIGEST),
        ),
        "pairs": Field(
            "dict",
            (
                "For each pair of addresses and owner, as in RV(held), the number of its SAs (C(sas)), the C(age) of"
                " the oldest in seconds, the C(limit) of which the smallest share is left, and that share"
                " in percent (C(left))."
            ),
            {
                "10.0.0.1|10.0.0.2#0,,0": {
                    "sas": 2,
                    "age": 86400,
                    "limit": "bytes",
                    "left": 99,
                }
            },
            "success",
            keys=OWNER,
            elements=Field("dict", contains=_STATUS_OF_PAIR),
        ),
        "usage": _USAGE_OF_PAIRS._replace(returned="success"),
        "asked": Field(
            "list",
            "The pairs of addresses and owners of SAs that the service loaded again at boot, so that they need new"
            " keys.",
            [],
            "success",
            elements=Field("str", pattern=OWNER),
        ),
        "policies": Field(
            "dict",
            "The policies of the kernel, V(null) if they cannot be seen, and on other systems than Linux.",
            returned="success",
            nullable=True,
            contains={
                "total": Field("int", "Number of policies.", 2, range=U32),
                "leaking": Field(
                    "list",
                    "Pairs of addresses and owners of outbound SAs that no policy uses, so that their traffic leaves"
                    " unprotected.",
                    [],
                    elements=Field("str", pattern=OWNER),
                ),
                "open": Field(
                    "list",
                    "Pairs of addresses and owners of inbound SAs that no policy asks for, so that unprotected packets"
                    " are accepted, too.",
                    [],
                    elements=Field("str", pattern=OWNER),
                ),
                "waiting": Field(
                    "int", "Number of policies whose traffic does not pass for lack of an SA.", 0, range=U32
                ),
                "optional": Field("int", "Number of policies that let traffic pass without an SA.", 0, range=U32),
            },
        ),
        **{
            name: Field("list", text, sample, "success", most=FEW, elements=Field("str", longest=1000))
            for name, text, sample in (
                (
                    "wrong",
                    "What is wrong, a sentence each.",
                    ["the service is not enabled, so nothing is loaded at boot"],
                ),
                ("due", "Why SAs should get new keys soon, a sentence each.", []),
                ("unseen", "What could not be seen, and why.", []),
            )
        },
    },
    "ipseckey_command": {
        "path": Field("str", "Path of the command.", "/usr/local/sbin/ipseckey", "success", longest=PATH),
        "files": Field(
            "list",
            "Files that were written or removed, or would be in check mode.",
            ["/usr/local/sbin/ipseckey", "/usr/local/share/man/man8/ipseckey.8"],
            "success",
            most=FEW,
            elements=Field("str", longest=PATH),
        ),
    },
}
