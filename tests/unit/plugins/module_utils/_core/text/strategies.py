# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hypothesis strategies for what the language can express: SAs for Linux or Solaris, and the steps of all commands."""

from __future__ import annotations

from hypothesis import assume
from hypothesis import strategies as st

from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import algorithms, conflicts, keys, model
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import (
    Encapsulation,
    Lifetimes,
    Mark,
    Selector,
    build,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.text import grammar, solaris
from ansible_collections.ipsec.manual.plugins.module_utils._core.text.sa import limit_problems
from ansible_collections.ipsec.manual.plugins.module_utils._core.text.script import Step, Subject

KEYED_ENCRYPTION = [row for row in algorithms.ALGORITHMS if row.kind == algorithms.ENCRYPTION and row.key_bits]
AUTHENTICATIONS = [row for row in algorithms.ALGORITHMS if row.kind == algorithms.AUTHENTICATION]
PORTS = st.integers(0, 65535)
UINT32 = st.integers(0, 2**32 - 1)


def addresses(width):
    return st.binary(min_size=width, max_size=width).filter(
        lambda address: any(address) and not model.is_multicast(address) and address[:12] != bytes(10) + b"\xff\xff"
    )


def good_keys(row):
    some = st.sampled_from(row.material_bits).flatmap(lambda bits: st.binary(min_size=bits // 8, max_size=bits // 8))
    return some.filter(lambda key: not keys.problem(row, key))


@st.composite
def networks(draw, width):
    prefix = draw(st.integers(0, width * 8))
    number = draw(st.integers(0, 2 ** (width * 8) - 1)) >> (width * 8 - prefix) << (width * 8 - prefix)
    address = number.to_bytes(width, "big")
    return (b"", 0) if address[:12] == bytes(10) + b"\xff\xff" else (address, prefix)


@st.composite
def limits(draw):
    pairs = [sorted(draw(st.tuples(*[st.integers(0, 2**64 - 1)] * 2))) for dummy in range(4)]
    return Lifetimes(*(limit for soft, hard in pairs for limit in (soft if draw(st.booleans()) else 0, hard)))


PRINTABLE = st.characters(min_codepoint=0x20, max_codepoint=0x7E, blacklist_characters='"')
WORDS = st.text(PRINTABLE, min_size=1, max_size=30).filter(lambda text: text.strip() == text)
EXTRAS = st.fixed_dictionaries(
    {},
    optional={
        "pair-spi": st.integers(256, 2**32 - 1).map("0x{:08x}".format),
        "replay_value": UINT32.map(str),
        "idle_addtime": UINT32.map(str),
        "label": WORDS,
        "srcidtype": st.tuples(st.sampled_from(["fqdn", "der_dn", "7"]), WORDS).map(" ".join),
    },
)


def possible(extra, lifetimes):
    """Whether no idle limit is above the others."""
    given = {field: limit for field, limit in lifetimes._asdict().items() if limit}
    return {field: text for field, text in extra.items() if not list(limit_problems({**given, field: text}, ()))}


@st.composite
def algorithms(draw, protocol, linux):
    """A cipher and an integrity algorithm of an SA, None for none."""
    ciphers = [row for row in KEYED_ENCRYPTION if linux or row.number is not None]
    hashes = [row for row in AUTHENTICATIONS if linux or row.number is not None]
    cipher = draw(st.sampled_from([None, *ciphers])) if protocol == "esp" else None
    wants_hash = cipher is None or (not cipher.combined and draw(st.booleans()))
    return cipher, draw(st.sampled_from(hashes)) if wants_hash else None


@st.composite
def associations(draw, target="linux"):
    """Any valid SA that can be written for the target."""
    linux = target == "linux"
    protocol = draw(st.sampled_from(["esp", "ah"]))
    cipher, integrity = draw(algorithms(protocol, linux))
    protecting = integrity or (cipher if cipher is not None and cipher.combined else None)
    width = draw(st.sampled_from([4, 16]))
    tunnel = draw(st.booleans())
    inner = draw(st.sampled_from([4, 16])) if tunnel else width
    esn = linux and draw(st.booleans())
    both_networks = (
        (*draw(networks(inner)), *draw(networks(inner)))
        if tunnel or (linux and draw(st.booleans()))
        else (b"", 0, b"", 0)
    )
    direction = draw(st.sampled_from(["", "inbound", "outbound"]))
    mask = draw(UINT32)
    destination = draw(addresses(width))
    nat_addresses = st.just(b"") if width == 16 and not linux else st.one_of(st.just(b""), addresses(width))
    nat_ports = st.one_of(st.just(4500), st.integers(1, 65535))
    fields = {
        "source": draw(st.one_of(st.just(b""), addresses(width))),
        "mode": "tunnel" if tunnel else "transport",
        "icv_bits": (
            draw(st.sampled_from(protecting.icv_bits if linux else protecting.icv_bits[:1]))
            if protecting is not None
            else 0
        ),
        "replay_window": draw(st.integers(1 if esn and direction != "outbound" else 0, 4096 if linux else 255)),
        "esn": esn,
        "lifetimes": draw(limits()),
        "selector": Selector(*both_networks, draw(st.integers(0, 255)), draw(PORTS), draw(PORTS)),
        "direction": direction,
    }
    fields["extra"] = tuple(sorted(possible(draw(EXTRAS), fields["lifetimes"]).items()))
    if linux:
        fields.update(
            reqid=draw(UINT32),
            if_id=draw(UINT32),
            mark=draw(st.one_of(st.none(), st.just(Mark(draw(UINT32) & mask, mask)))),
        )
    else:
        fields["lifetimes"] = fields["lifetimes"]._replace(soft_packets=0, hard_packets=0)
    if protocol == "esp" and draw(st.booleans()):
        fields["encapsulation"] = Encapsulation(
            draw(nat_ports),
            draw(nat_ports),
            draw(nat_addresses),
            draw(nat_addresses),
        )
    if cipher is not None:
        fields.update(encryption=cipher.name, encryption_key=draw(good_keys(cipher)))
    if integrity is not None:
        fields.update(
            authentication=integrity.name,
            authentication_key=draw(good_keys(integrity).filter(lambda key: key != fields.get("encryption_key"))),
        )
    sa = build(protocol, draw(st.integers(256, 2**32 - 1)), destination, **fields)
    assume(not solaris.refusals(sa, target))
    return sa


def together(sas):
    return not conflicts.set_problems(sas)


@st.composite
def steps(draw):
    """Any step except quit, which must be the last one. A soft limit is below its hard one, 0 for none."""
    row = draw(st.sampled_from([row for row in grammar.COMMANDS if row.name != "quit"]))
    if row.name == "add":
        return Step("add", 0, draw(associations()))
    if row.name in grammar.FIELDS_OF_COMMAND:
        return draw(steps_about_one(row))
    types = {grammar.NO_TYPE: [""], grammar.ANY_TYPE: ["", "esp", "ah"], grammar.ANY_TYPE_OR_NONE: ["", "esp", "ah"]}
    words = {
        grammar.FILE_NAME: st.one_of(st.just(""), WORDS),
        grammar.TOPIC: st.sampled_from(["", "attr", *grammar.COMMAND_BY_WORD]),
    }
    return Step(
        row.name, 0, protocol=draw(st.sampled_from(types[row.type])), word=draw(words.get(row.takes, st.just("")))
    )


@st.composite
def steps_about_one(draw, row):
    """update, delete, get and their pairs."""
    width = draw(st.sampled_from([4, 16]))
    mask = draw(UINT32)
    subject = Subject(
        draw(st.sampled_from(["esp", "ah"])),
        draw(st.integers(1, 2**32 - 1)),
        draw(addresses(width)),
        draw(st.sampled_from([None, Mark(draw(UINT32) & mask, mask)])) if mask else None,
        draw(st.one_of(st.just(b""), addresses(width))),
        draw(st.tuples(st.integers(0, 255), PORTS, PORTS)),
        draw(st.sampled_from(["", "inbound", "outbound"])),
    )
    fields = grammar.FIELDS_OF_COMMAND[row.name]
    lifetimes = draw(limits()) if "hard_bytes" in fields else model.NO_LIFETIMES
    extra = {field: text for field, text in possible(draw(EXTRAS), lifetimes).items() if field in fields}
    return Step(row.name, 0, None, subject, lifetimes, tuple(sorted(extra.items())))
