# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The words of the language of ipseckey and their meanings: one table for reader, writer, help and
documentation.
"""

from __future__ import annotations

import typing as t

from ..sa import algorithms, model

LINUX = "linux"
SOLARIS = "solaris"
TARGETS = (LINUX, SOLARIS)

# Kinds of value.
SPI = "spi"
ADDRESS = "address"
ADDRESS6 = "IPv6 address"
NETWORK = "network"
NETWORK6 = "IPv6 network"
NUMBER = "number"
KEY = "key"
ENCRYPTION = algorithms.ENCRYPTION
AUTHENTICATION = algorithms.AUTHENTICATION
CHOICE = "choice"
MARK = "mark"
IDENTITY = "identity"
TEXT = "text"
FLAG = "flag"

# Which systems know a keyword.
ALL = "all"
OURS = "ours"
"""A keyword of this collection: text meant for Solaris refuses it."""
EXTRA = "extra"
"""A keyword whose value `SecurityAssociation.extra` keeps; replay_value aside, only Solaris uses it."""


class Keyword(t.NamedTuple):
    """One attribute of an SA.

    ``field`` is the field that it fills; attributes of the same field exclude each other. ``bits``
    is the width of a number. ``values`` is the number of words that follow."""

    name: str
    synonyms: tuple[str, ...]
    kind: str
    field: str
    help: str
    bits: int = 0
    choices: tuple[str, ...] = ()
    known: str = ALL

    @property
    def values(self) -> int:
        return {FLAG: 0, IDENTITY: 2}.get(self.kind, 1)


def _lifetimes() -> t.Iterator[Keyword]:
    for kind, what in (
        ("bytes", "bytes"),
        ("packets", "packets"),
        ("addtime", "seconds since it was added"),
        ("usetime", "seconds since its first use"),
    ):
        for end, effect in (("soft", "at which a warning is due"), ("hard", "at which the SA ends")):
            yield Keyword(
                f"{end}_{kind}",
                (),
                NUMBER,
                f"{end}_{kind}",
                f"{what} {effect}",
                64,
                known=OURS if kind == "packets" else ALL,
            )


KEYWORDS: tuple[Keyword, ...] = (
    Keyword("spi", (), SPI, "spi", "security parameters index, 0x100 to 0xffffffff"),
    Keyword("src", ("srcaddr", "saddr"), ADDRESS, "source", "source address; any if omitted"),
    Keyword("src6", ("srcaddr6", "saddr6"), ADDRESS6, "source", "source address, IPv6 only"),
    Keyword("dst", ("dstaddr", "daddr"), ADDRESS, "destination", "destination address"),
    Keyword("dst6", ("dstaddr6", "daddr6"), ADDRESS6, "destination", "destination address, IPv6 only"),
    Keyword("encr_alg", ("encralg",), ENCRYPTION, "encryption", "encryption algorithm, by name or number"),
    Keyword(
        "encrkey", (), KEY, "encryption_key", "encryption key (and salt), hexadecimal, optionally followed by /bits"
    ),
    Keyword("auth_alg", ("authalg",), AUTHENTICATION, "authentication", "authentication algorithm, by name or number"),
    Keyword("authkey", (), KEY, "authentication_key", "authentication key, hexadecimal, optionally followed by /bits"),
    Keyword(
        "icv_bits",
        (),
        NUMBER,
        "icv_bits",
        "bits of the integrity check value, if not the algorithm's default",
        16,
        known=OURS,
    ),
    Keyword(
        "mode",
        (),
        CHOICE,
        "mode",
        "transport or tunnel; inner addresses mean tunnel",
        choices=(model.TRANSPORT, model.TUNNEL),
        known=OURS,
    ),
    Keyword(
        "replay",
        (),
        NUMBER,
        "replay_window",
        "anti-replay window in packets: 0 to 255 on Solaris, to 4096 on Linux",
        32,
    ),
    Keyword("esn", (), FLAG, "esn", "extended (64-bit) sequence numbers", known=OURS),
    Keyword("reqid", (), NUMBER, "reqid", "number that ties the SA to policies", 32, known=OURS),
    Keyword("mark", (), MARK, "mark", "packet mark, VALUE or VALUE/MASK", known=OURS),
    Keyword("if_id", (), NUMBER, "if_id", "number of the XFRM interface", 32, known=OURS),
    *_lifetimes(),
    Keyword(
        "proto",
        ("ulp",),
        NUMBER,
        "protocol",
        "IP protocol number of the traffic; in tunnel mode that of the tunnel, 4 or 41",
        8,
    ),
    Keyword("sport", (), NUMBER, "source_port", "source port of the traffic", 16),
    Keyword("dport", (), NUMBER, "destination_port", "destination port of the traffic", 16),
    Keyword(
        "isrc",
        ("innersrc", "proxy", "proxyaddr"),
        NETWORK,
        "inner_source",
        "source ADDRESS/PREFIX of the traffic in a tunnel",
    ),
    Keyword(
        "isrc6",
        ("innersrc6", "proxy6", "proxyaddr6"),
        NETWORK6,
        "inner_source",
        "source ADDRESS/PREFIX of the traffic in a tunnel, IPv6 only",
    ),
    Keyword(
        "idst", ("innerdst",), NETWORK, "inner_destination", "destination ADDRESS/PREFIX of the traffic in a tunnel"
    ),
    Keyword(
        "idst6",
        ("innerdst6",),
        NETWORK6,
        "inner_destination",
        "destination ADDRESS/PREFIX of the traffic in a tunnel, IPv6 only",
    ),
    Keyword("iproto", ("iulp",), NUMBER, "inner_protocol", "IP protocol number of the traffic in a tunnel", 8),
    Keyword("isport", ("innersport",), NUMBER, "inner_source_port", "source port of the traffic in a tunnel", 16),
    Keyword(
        "idport", ("innerdport",), NUMBER, "inner_destination_port", "destination port of the traffic in a tunnel", 16
    ),
    Keyword(
        "encap",
        (),
        CHOICE,
        "encapsulation",
        "udp: packets are carried in UDP (RFC 3948); needs at least one nat_ keyword",
        choices=("udp",),
    ),
    Keyword("nat_loc", (), ADDRESS, "nat_local", "local address behind a NAT"),
    Keyword("nat_rem", (), ADDRESS, "nat_remote", "remote address behind a NAT"),
    Keyword(
        "nat_lport",
        (),
        NUMBER,
        "nat_local_port",
        "local UDP port, 4500 if omitted; that of the source unless the SA is inbound",
        16,
    ),
    Keyword(
        "nat_rport",
        (),
        NUMBER,
        "nat_remote_port",
        "remote UDP port, 4500 if omitted; that of the destination unless the SA is inbound",
        16,
    ),
    Keyword("state", (), CHOICE, "state", "mature, the only state an SA can be added in", choices=("mature",)),
    Keyword("inbound", (), FLAG, "direction", "the SA is for packets that arrive"),
    Keyword("outbound", (), FLAG, "direction", "the SA is for packets that leave"),
    Keyword("pair-spi", (), SPI, "pair-spi", "SPI of the SA of the other direction", known=EXTRA),
    Keyword(
        "replay_value",
        (),
        NUMBER,
        "replay_value",
        "sequence number to start from, 32 bits wide unless the SA has esn",
        64,
        known=EXTRA,
    ),
    Keyword("hard_alloc", (), NUMBER, "hard_alloc", "flows at which the SA ends", 32, known=EXTRA),
    Keyword("soft_alloc", (), NUMBER, "soft_alloc", "flows at which a warning is due", 32, known=EXTRA),
    Keyword("idle_addtime", (), NUMBER, "idle_addtime", "idle seconds since it was added", 32, known=EXTRA),
    Keyword("idle_usetime", (), NUMBER, "idle_usetime", "idle seconds since its first use", 32, known=EXTRA),
    Keyword(
        "reserved_bits",
        (),
        NUMBER,
        "reserved_bits",
        "bits of the initial value at the end of encrkey: 0, all else is for test vectors",
        8,
        known=EXTRA,
    ),
    Keyword("srcidtype", (), IDENTITY, "srcidtype", "type and text of the source's identity", known=EXTRA),
    Keyword("dstidtype", (), IDENTITY, "dstidtype", "type and text of the destination's identity", known=EXTRA),
    Keyword("label", (), TEXT, "label", "sensitivity label", known=EXTRA),
    Keyword("outer-label", (), TEXT, "outer-label", "sensitivity label of the outer header", known=EXTRA),
    Keyword("implicit-label", (), TEXT, "implicit-label", "sensitivity label that no packet carries", known=EXTRA),
)
BY_WORD: dict[str, Keyword] = {word: row for row in KEYWORDS for word in (row.name, *row.synonyms)}

_READ_ONLY = (
    "flags dpd sens_level sens_map integ_level integ_map current_alloc current_bytes current_addtime current_usetime"
)
READ_ONLY_KEYWORDS = frozenset(_READ_ONLY.split())


# Where a command may stand.
FILE = "file"
PROMPT = "prompt"
LINE = "command line"
PLACES = (FILE, PROMPT, LINE)
SAS = "text of SAs"
"""A text of add commands, as options of modules, the controller's files and --apply hold it. A flush
before the first is ignored with a warning, since files for Solaris begin so; quit may end it.
"""

# How a command names the SA type.
NO_TYPE = ""
ONE_TYPE = "esp|ah"
ANY_TYPE = "esp|ah|all"
ANY_TYPE_OR_NONE = "[esp|ah|all]"

# What may follow the type.
NOTHING = ""
SA = "ATTRIBUTE..."
CHANGE = "spi SPI dst ADDRESS LIMIT..."
IDENTITY_OF_SA = "spi SPI dst ADDRESS"
FILE_NAME = "[FILE]"
TOPIC = "[COMMAND | attr]"


class Command(t.NamedTuple):
    """One command of ipseckey: which SA types it names, what follows them, and where it may stand."""

    name: str
    synonyms: tuple[str, ...]
    help: str
    type: str = NO_TYPE
    takes: str = NOTHING
    places: tuple[str, ...] = PLACES

    def allowed_in(self, place: str) -> bool:
        return self.name in ("add", "quit") if place == SAS else place in self.places

    def usage(self) -> str:
        return " ".join(filter(None, (self.name, self.type, self.takes)))


COMMANDS: tuple[Command, ...] = (
    Command("add", (), "add one SA", ONE_TYPE, SA, (FILE, PROMPT)),
    Command(
        "update",
        (),
        "change the lifetimes of one SA; its keys and algorithms never change",
        ONE_TYPE,
        CHANGE,
        (FILE, PROMPT),
    ),
    Command("update-pair", (), "change the lifetimes of one SA and of its pair", ONE_TYPE, CHANGE, (FILE, PROMPT)),
    Command("delete", (), "delete one SA", ONE_TYPE, IDENTITY_OF_SA),
    Command("delete-pair", (), "delete one SA and its pair", ONE_TYPE, IDENTITY_OF_SA),
    Command("get", (), "show one SA", ONE_TYPE, IDENTITY_OF_SA),
    Command("flush", (), "delete all SAs, whoever added them, or those of one type", ANY_TYPE_OR_NONE),
    Command("dump", (), "show all SAs, or those of one type", ANY_TYPE_OR_NONE, places=(PROMPT, LINE)),
    Command(
        "save",
        (),
        "write all SAs, keys included, to a file of mode 0600, or to standard output",
        ANY_TYPE,
        FILE_NAME,
        (PROMPT, LINE),
    ),
    Command(
        "status",
        (),
        "show the service at boot, the protected file, the SAs by peer, policies, and what is wrong or due",
        takes=FILE_NAME,
        places=(PROMPT, LINE),
    ),
    Command("monitor", (), "show what happens to SAs until interrupted", places=(PROMPT, LINE)),
    Command(
        "pmonitor",
        ("passive_monitor",),
        "show what happens to SAs, asking the kernel for nothing",
        places=(PROMPT, LINE),
    ),
    Command("help", ("?",), "explain the commands, one command, or the attributes", takes=TOPIC, places=(PROMPT, LINE)),
    Command("quit", ("exit",), "end"),
)
COMMAND_BY_WORD: dict[str, Command] = {word: row for row in COMMANDS for word in (row.name, *row.synonyms)}

_REMOVED = "Remove it: {exact} removes the SAs that the text does not name."
_ADDED = "Write its limits into the add command of the SA."
INSTEAD = {"flush": _REMOVED, "delete": _REMOVED, "delete-pair": _REMOVED, "update": _ADDED, "update-pair": _ADDED}
"""What a text of SAs has instead of these commands."""

BLANKS = " \t\r\f\v"
"""The characters between words, besides the end of a line."""
LINE_MAX = {LINUX: 65535, SOLARIS: 4093}
"""Characters of one line without its newline."""
COMMAND_MAX = {LINUX: 65536, SOLARIS: 4095}
"""Characters of one command over all its lines, newlines counted."""
RENDERED_LINE_MAX = 1999
PROBLEMS_MAX = 1000
"""The reader stops after this many problems."""
NAT_PORT = 4500

NAT_KEYWORDS = {row.field: row for row in KEYWORDS if row.field.startswith("nat_")}
EXTRA_KEYWORDS = {row.field: row for row in KEYWORDS if row.known == EXTRA}
FLAG_WORDS = frozenset(row.name for row in KEYWORDS if row.kind == FLAG)
IDENTIFYING_FIELDS = (
    "spi",
    "source",
    "destination",
    "mark",
    "protocol",
    "source_port",
    "destination_port",
    "direction",
)
"""The fields of delete and get: the identity of the SA, and what must also match if it is given."""
_PAIR_FIELD = "pair-spi"
_LIMITS = tuple(row.field for row in KEYWORDS if row.field.startswith(("soft_", "hard_", "idle_")))
FIELDS_OF_COMMAND: dict[str, tuple[str, ...]] = {
    "update": (*IDENTIFYING_FIELDS, *_LIMITS, _PAIR_FIELD, "state"),
    "update-pair": (*IDENTIFYING_FIELDS, *_LIMITS, "state"),
    "delete": IDENTIFYING_FIELDS,
    "delete-pair": IDENTIFYING_FIELDS,
    "get": IDENTIFYING_FIELDS,
}
INNER_FIELDS = ("inner_source", "inner_destination", "inner_protocol", "inner_source_port", "inner_destination_port")
