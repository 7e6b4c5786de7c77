# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the modules that run on hosts may answer, field by field; `_gate` rejects everything else.

The RETURN block of each module says what its fields mean. A test compares the two.
"""

from __future__ import annotations

import typing as t

ADDRESS = r"[0-9a-f:.]{2,45}"
NETWORK = rf"(?:{ADDRESS}/[0-9]{{1,3}})?"
SPI = r"0x[0-9a-f]{8}"
MARK = r"(?:0x[0-9a-f]{1,8}/0x[0-9a-f]{1,8})?"
WORD = r"[a-z0-9_-]{1,20}"
# A fingerprint, or a word that replaces it.
DIGEST = r"[0-9a-f]{16,64}|[a-z-]{1,20}"
PAIR = rf"{ADDRESS}\|{ADDRESS}"
OWNER = rf"[0-9]{{1,10}},{MARK},[0-9]{{1,10}}"
PAIR_AND_OWNER = rf"{PAIR}#{OWNER}"
LIMIT = r"(?:soft|hard)_(?:bytes|packets|addtime|usetime)"

PATH = 4096  # characters
# More SAs than a rotation can use; a SADB of this size takes seconds to read.
MANY = 100_000
FEW = 100


class Field(t.NamedTuple):
    """What one field of an answer may hold.

    ``type`` is that of the RETURN block. Strings match ``pattern`` and have at most ``longest``
    characters, numbers lie in ``range``, lists and dictionaries hold at most ``most`` items. A
    dictionary has either the keys of ``contains``, or any that match ``keys``, with values that are
    ``elements``. An ``optional`` field may be missing.
    """

    type: str
    pattern: str = ""
    longest: int = 256
    range: tuple[int, int] = (0, (1 << 64) - 1)
    nullable: bool = False
    optional: bool = False
    most: int = MANY
    keys: str = ""
    contains: t.Mapping[str, Field] = {}
    elements: Field | None = None


Fields = t.Mapping[str, Field]

_FLAG = Field("bool")
_U16 = Field("int", range=(0, (1 << 16) - 1))
_U32 = Field("int", range=(0, (1 << 32) - 1))
_U64 = Field("int")
_PERCENT = Field("int", range=(0, 100))
_INSTANT = Field("float", range=(0, 253402300799))
_TEXT = Field("str")
_WORD = Field("str", WORD)
_WORD_OR_NONE = Field("str", f"(?:{WORD})?")
_ADDRESS = Field("str", ADDRESS)
_ADDRESS_OR_NONE = Field("str", f"(?:{ADDRESS})?")
_MARK = Field("str", MARK)
_PATH = Field("str", longest=PATH)
_FINGERPRINT = Field("str", f"(?:{DIGEST})?")
_MANAGER = Field("str", "(?:openrc|smf|systemd|sysvinit)?")
_FEW_TEXTS = Field("list", most=FEW, elements=_TEXT)
_FEW_PATHS = Field("list", most=FEW, elements=_PATH)
_SENTENCES = Field("list", most=FEW, elements=Field("str", longest=1000))
_LABELS = Field("list", elements=_TEXT)
_OPERATIONS = Field("list", most=4 * MANY, elements=Field("str", longest=1000))
_DIGESTS = Field("dict", keys=PAIR, elements=Field("str", DIGEST))
_HELD = Field("dict", keys=PAIR_AND_OWNER, elements=Field("str", DIGEST))
_PAIRS_AND_OWNERS = Field("list", elements=Field("str", PAIR_AND_OWNER))

_USAGE = Field(
    "dict",
    keys=PAIR_AND_OWNER,
    elements=Field(
        "dict",
        contains={
            **dict.fromkeys(("age", "packets", "bytes", "blocks64"), _U64._replace(optional=True)),
            **dict.fromkeys(("packets_percent", "bytes_percent", "seconds_percent"), _PERCENT._replace(optional=True)),
        },
    ),
)

_SELECTOR: Fields = {
    **dict.fromkeys(("source", "destination"), Field("str", NETWORK)),
    **dict.fromkeys(("protocol", "source_port", "destination_port"), _U16),
}

_ENCAPSULATION: Fields = {
    "type": _WORD,
    **dict.fromkeys(("source_port", "destination_port"), _U16),
    **dict.fromkeys(("nat_local", "nat_remote"), _ADDRESS_OR_NONE),
}

# An SA without its counters.
_SA: Fields = {
    "protocol": _WORD,
    "spi": Field("str", SPI),
    **dict.fromkeys(("source", "destination"), _ADDRESS),
    "mode": _WORD,
    "encryption_algorithm": _TEXT,
    "encryption_bits": _U32,
    "authentication_algorithm": _TEXT,
    "icv_bits": _U32,
    "fingerprints": Field("dict", contains={"encryption": _FINGERPRINT, "authentication": _FINGERPRINT}),
    "replay_window": _U32,
    "esn": _FLAG,
    "reqid": _U32,
    "mark": _MARK,
    "if_id": _U32,
    "direction": Field("str", "(?:inbound|outbound)?"),
    "output_mark": _MARK,
    "tfc_padding": _U32,
    "nat_keepalive": _U32,
    "lifetimes": Field("dict", most=FEW, keys=LIMIT, elements=_U64),
    "selector": Field("dict", optional=True, contains=_SELECTOR),
    "encapsulation": Field("dict", optional=True, contains=_ENCAPSULATION),
}

_COUNTERS: Fields = dict.fromkeys(
    (
        *("bytes", "packets", "add_time", "use_time", "sequence_out", "sequence_in"),
        *("late", "replayed", "integrity_failures"),
    ),
    _U64,
)

# An SA as the SADB holds it.
_ENTRY: Fields = {
    **_SA,
    "larval": _FLAG,
    "flags": _FEW_TEXTS,
    "age": _U64,
    "counters": Field("dict", contains=_COUNTERS),
    "budget": Field("dict", contains={"packets": _U64, "bytes": _U64._replace(nullable=True)}),
}

_TEMPLATE: Fields = {
    "protocol": _WORD,
    "mode": _WORD,
    **dict.fromkeys(("source", "destination"), _ADDRESS_OR_NONE),
    "reqid": _U32,
    "spi": Field("str", f"(?:{SPI})?"),
    "level": _WORD,
}

_POLICY: Fields = {
    "direction": _WORD,
    "selector": Field("dict", contains=_SELECTOR),
    "action": _WORD,
    "priority": _U32,
    "mark": _MARK,
    "if_id": _U32,
    "templates": Field("list", most=FEW, elements=Field("dict", contains=_TEMPLATE)),
    "index": _U32,
    "add_time": _U64,
    "use_time": _U64,
    "complete": _FLAG,
    "flags": _FEW_TEXTS,
}

# A policy that another one with the same identity replaces.
_REPLACED: Fields = {"policy": _TEXT, "reqids": Field("list", most=FEW, elements=_U32)}

# A policy that another one comes before from then on.
_OVERTAKEN: Fields = {
    **dict.fromkeys(("policy", "other"), _TEXT),
    **dict.fromkeys(("priority", "other_priority"), _U32),
}

_CARRIED: Fields = {
    "key": Field("str", rf"{WORD}\|{ADDRESS}\|{SPI}"),
    **dict.fromkeys(("before", "after"), _U64._replace(nullable=True)),
}

# No more blocks of 64 bits can be counted than 2^61, of which 2^20 are advised.
_BUDGET: Fields = {"what": Field("str", "packets|bytes|blocks"), "used": Field("float", range=(0, 1 << 41))}

# The SAs of one owner between two addresses, as an audit sees them.
_AUDITED: Fields = {
    "name": Field("str", PAIR_AND_OWNER),
    **dict.fromkeys(("sas", "inbound", "outbound"), _U32),
    **dict.fromkeys(("oldest", "youngest"), _U64),
    "budgets": Field("list", most=3, elements=Field("dict", contains=_BUDGET)),
    **dict.fromkeys(("digest", "storable_digest", "file_digest"), Field("str", "(?:[0-9a-f]{16,64})?")),
    **dict.fromkeys(("outline", "storable_outline", "file_outline"), Field("str", "(?:[0-9a-f]{16,64})?")),
    "fingerprints": Field("list", elements=Field("str", "[0-9a-f]{16}")),
    "algorithms": _FEW_TEXTS,
    "integrity": Field("str", "own|ah|none"),
    **dict.fromkeys(("integrity_failures", "replayed"), _U64),
    **dict.fromkeys(("leaking", "open", "reloaded", "shared_keys", "shared_spis"), _U32),
}

_REMARK: Fields = {"what": Field("str", "[a-z-]{1,30}"), "place": _PATH, "detail": _TEXT}

ANSWERS: t.Mapping[str, Fields] = {
    "ipsec_audit": {
        "epoch": _INSTANT,
        "kernel": _TEXT,
        "uptime": _U64,
        "backend": _WORD_OR_NONE,
        "keys_hidden": _FLAG,
        "file": Field(
            "dict",
            contains={
                "path": _PATH,
                "exists": _FLAG,
                "mode": Field("str", "(?:[0-7]{4,5})?"),
                "modified": _INSTANT,
                "sas": _U32,
            },
        ),
        "service": Field(
            "dict",
            contains={
                "manager": _WORD_OR_NONE,
                "installed": _FLAG,
                "enabled": _FLAG,
                "state": _WORD,
                "file": _PATH,
            },
        ),
        "counters": Field("dict", most=FEW, keys="Xfrm[A-Za-z0-9]{1,60}", elements=_U64),
        "policies": Field("dict", keys=OWNER, elements=_U32),
        "pairs": Field("list", elements=Field("dict", contains=_AUDITED)),
        "remarks": Field("list", most=20 * FEW, elements=Field("dict", contains=_REMARK)),
        "unread": _SENTENCES,
    },
    "ipsec_sa": {
        "operations": _OPERATIONS,
        "differences": _FEW_TEXTS,
        "sa": Field("dict", optional=True, contains=_SA),
        "backend": _WORD,
    },
    "ipsec_sadb": {
        "operations": _OPERATIONS,
        "counts": Field("dict", contains=dict.fromkeys(("added", "replaced", "deleted", "unchanged", "foreign"), _U32)),
        "digest": _DIGESTS._replace(optional=True),
        "missing": _FLAG._replace(optional=True),
        "applied": Field("dict", optional=True, contains=dict.fromkeys(("began", "ended"), _INSTANT)),
        "backend": _WORD,
    },
    "ipsec_sa_info": {
        "sas": Field("list", elements=Field("dict", contains=_ENTRY)),
        "digest": _DIGESTS,
        "keys_hidden": _FLAG,
        "backend": _WORD,
    },
    "ipseckeys_file": {
        "path": _PATH,
        "mode": Field("str", "[0-7]{3,5}", optional=True),
        "owner": _TEXT._replace(optional=True),
        "sas": _U32,
        "digest": _DIGESTS,
    },
    "ipsec_policy": {
        "operations": _OPERATIONS,
        "added": _LABELS,
        "replaced": Field("list", elements=Field("dict", contains=_REPLACED)),
        "overtaken": Field("list", elements=Field("dict", contains=_OVERTAKEN)),
    },
    "ipsec_policy_info": {
        "policies": Field("list", elements=Field("dict", contains=_POLICY)),
    },
    "ipsec_preflight": {
        "epoch": _INSTANT,
        "file": Field("dict", contains={"path": _PATH, "sas": _U32, "digest": _DIGESTS}),
        "held": _HELD,
        "asked": _PAIRS_AND_OWNERS,
        "usage": _USAGE._replace(optional=True),
        "leftovers": _FEW_PATHS,
        "keys_hidden": _FLAG,
        "spis": Field("list", elements=Field("str", SPI)),
        "backend": _WORD,
    },
    "ipsec_probe": {
        **dict.fromkeys(("sent", "received"), Field("list", elements=Field("dict", contains=_CARRIED))),
        "failures": Field("list", elements=Field("str", longest=1000)),
        "backend": _WORD,
    },
    "ipsec_boot": {
        "service_manager": _MANAGER,
        "running": _FLAG,
        "installed": _FLAG,
        "enabled": _FLAG,
        "file": _PATH,
        "policies_file": _PATH,
        "policies": _LABELS,
        "kept": _LABELS,
        "files": _FEW_PATHS,
    },
    "ipsec_status": {
        "epoch": _INSTANT,
        "service": Field(
            "dict",
            contains={
                "manager": _MANAGER,
                "installed": _FLAG,
                "enabled": _FLAG,
                "state": _WORD,
                "file": _PATH,
                "policies_file": _PATH,
            },
        ),
        "file": Field(
            "dict",
            contains={
                "path": _PATH,
                "exists": _FLAG,
                **dict.fromkeys(("sas", "pending"), _U32._replace(nullable=True)),
            },
        ),
        "backend": _WORD_OR_NONE,
        "keys_hidden": _FLAG,
        "held": _HELD,
        "pairs": Field(
            "dict",
            keys=PAIR_AND_OWNER,
            elements=Field("dict", contains={"sas": _U32, "age": _U64, "limit": _TEXT, "left": _PERCENT}),
        ),
        "usage": _USAGE,
        "asked": _PAIRS_AND_OWNERS,
        "policies": Field(
            "dict",
            nullable=True,
            contains={
                "total": _U32,
                **dict.fromkeys(("leaking", "open"), _PAIRS_AND_OWNERS),
                **dict.fromkeys(("waiting", "optional"), _U32),
            },
        ),
        **dict.fromkeys(("wrong", "due", "unseen"), _SENTENCES),
    },
    "ipseckey_command": {
        "path": _PATH,
        "files": _FEW_PATHS,
    },
}
