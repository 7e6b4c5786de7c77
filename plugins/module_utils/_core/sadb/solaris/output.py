# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The output of ipseckey: the SAs of ``save`` and ``dump``, and complaints without the keys that it
echoes. Pure.

``save`` prints the language itself, so SAs are read from there. ``dump`` is text for people; it
supplies only what ``save`` omits: the state, the direction, prefix lengths of 0, the counters, and
whether a key management daemon made the SA. Source of the forms:
usr/src/lib/libipsecutil/common/ipsec_util.c of illumos.
"""

from __future__ import annotations

import re
import typing as t

from ...errors import InputError, SadbError
from ...sa import model
from ...sa.model import REPLAY_VALUE, Counters, Entry, SecurityAssociation
from ...text.attributes import AttributeReader
from ...text.grammar import LINUX
from ...text.lexer import Report, Word
from ...text.render import quoted
from ...text.sa import build
from ...text.values import is_unspecified_text
from ..pfkey.dialects import ILLUMOS_DIAGNOSTICS

PROMPT = "ipseckey> "
DEAD = "DEAD"
LARVAL = "LARVAL"

Key = t.Tuple[str, bytes, int]


class InstalledSa(t.NamedTuple):
    """One SA that the utility shows: our entry, its state (``MATURE`` and so on), the commands that
    add it again, keys and sequence number included, and the SPI of its pair.

    The commands are empty if no command would add it, as for a reservation or an identity that the
    utility does not print."""

    entry: Entry
    state: str
    commands: tuple[str, ...] = ()
    pair: str = ""


class DumpedSa(t.NamedTuple):
    """What a dump shows of one SA beyond its save form; ``manager`` is the number of its key
    management protocol, 0 for none, and ``pair`` the SPI of its pair. ``prefixes`` are the prefix
    lengths of its inner networks, by keyword.
    """

    protocol: str
    spi: int
    source: bytes
    destination: bytes
    state: str
    direction: str
    manager: int
    counters: Counters
    prefixes: dict[str, str]
    pair: str = ""


def read(output: str) -> list[InstalledSa]:
    """The SAs that one session saved and dumped. Raises SadbError if the two forms contradict each
    other, or are cut off.
    """
    saved_lines, dumped_lines = _split(output)
    by_key: dict[Key, list[DumpedSa]] = {}
    larval = []
    for dump in dumped(dumped_lines):
        if dump.state == LARVAL:
            larval.append(dump)
        else:
            by_key.setdefault((dump.protocol, dump.destination, dump.spi), []).append(dump)
    reserved = {(dump.protocol, dump.destination, dump.spi) for dump in larval}
    hint = "Run it again; SAs may have changed meanwhile."
    found: list[InstalledSa] = []
    for words in saved(saved_lines):
        key = _key(words)
        if by_key.get(key):
            found.append(_installed(words, by_key[key].pop(0)))
        elif key not in reserved:
            raise SadbError("ipseckey saves an SA that it does not dump", _place(key), hint)
    for key, dumps in by_key.items():
        if dumps:
            raise SadbError("ipseckey dumps an SA that it does not save", _place(key), hint)
    return found + [_reservation(dump) for dump in larval]


def _place(key: Key) -> str:
    protocol, destination, spi = key
    return f"{protocol} spi 0x{spi:08x} dst {model.format_address(destination)}"


def _installed(saved_words: t.Sequence[str], dump: DumpedSa) -> InstalledSa:
    """If a daemon made the SA, its protocol's number stands as reqid: the only sign of an owner here."""
    words = _completed(saved_words, dump)
    sa = _association(words)
    sequence = int(dict(sa.extra).get(REPLAY_VALUE, "0"), 0)
    counter = "sequence_in" if dump.direction == model.INBOUND else "sequence_out"
    lost = unprinted(sa)
    extra = {keyword: text for keyword, text in sa.extra if keyword not in (REPLAY_VALUE, *lost)}
    if lost:
        extra[model.FLAGS] = " ".join(f"{keyword}={kind}" for keyword, kind in lost.items())
    sa = sa._replace(reqid=sa.reqid or dump.manager, extra=tuple(sorted(extra.items())))
    entry = Entry(sa, dump.counters._replace(**{counter: sequence}))
    return InstalledSa(entry, dump.state, () if lost else _commands(words, sa, dump.pair), dump.pair)


def _commands(words: t.Sequence[str], sa: SecurityAssociation, pair: str) -> tuple[str, ...]:
    """The commands that add the SA; none if the language cannot quote one of the words.

    An SA is paired by an update: an add that names a missing pair leaves a dead SA. Of two SAs
    that are added again, the second is paired with the first."""
    try:
        add = " ".join(quoted(word, "save") for word in words)
    except InputError:
        return ()
    source, destination = model.format_address(sa.source), model.format_address(sa.destination)
    update = f"update {sa.protocol} spi 0x{sa.spi:x} src {source} dst {destination} pair-spi {pair}"
    return (add, update) if pair else (add,)


def _completed(words: t.Sequence[str], dump: DumpedSa) -> list[str]:
    """A saved command with what save omits, so that it adds the same SA.

    Without their prefix lengths of 0, networks would be read as one address. An unspecified NAT
    address is left out beside its port, since in an IPv6 SA the kernel rejects it."""
    found = list(words)
    for keyword, prefix in dump.prefixes.items():
        at = words.index(keyword) + 1 if keyword in words else 0
        if at and is_unspecified_text(words[at]):
            found[at] += f"/{prefix or 0}"
    for keyword, port in (("nat_loc", "nat_lport"), ("nat_rem", "nat_rport")):
        at = found.index(port) - 2 if port in found else 0
        if found[at] == keyword and is_unspecified_text(found[at + 1]):
            del found[at : at + 2]
    return [*found, dump.direction] if dump.direction else found


def _reservation(dump: DumpedSa) -> InstalledSa:
    sa = model.build(dump.protocol, dump.spi, dump.destination, dump.source, reqid=dump.manager)
    return InstalledSa(Entry(sa, dump.counters, larval=True), dump.state)


# The beginnings of lines of a dump. No line of a save form has them: its commands begin with add and continue indented.
_DUMP_LINE = re.compile(r"(Base message |Message length |Timestamp: | ?[A-Z]{2,3}: |Dump succeeded )")
_DONE = re.compile(r"Dump succeeded for SA type \d+\.")


def _split(output: str) -> tuple[list[str], list[str]]:
    """The lines of the save form and those of the dump."""
    saved_lines: list[str] = []
    dumped_lines: list[str] = []
    for line in output.split("\n"):
        while line.startswith(PROMPT):
            line = line[len(PROMPT) :]
        (dumped_lines if _DUMP_LINE.match(line) else saved_lines).append(line)
    return saved_lines, dumped_lines


# The save form

_IDENTITIES = ("srcidtype", "dstidtype")
# An identity stands alone on its line, without quotes; a placeholder stands for one of these types.
_IDENTITY_LINE = re.compile(rf"\t({'|'.join(_IDENTITIES)}) (\S+) (.*) $")
_UNPRINTED_TYPES = ("der_dn", "der_gn")


def unprinted(sa: SecurityAssociation) -> dict[str, str]:
    """The types of the SA's identities that a save form lacks, by keyword."""
    kinds = {keyword: text.partition(" ")[0] for keyword, text in sa.extra if keyword in _IDENTITIES}
    return {keyword: kind for keyword, kind in kinds.items() if kind in _UNPRINTED_TYPES}


def saved(lines: t.Iterable[str]) -> t.Iterator[list[str]]:
    """The words of each command of a save form.

    A command begins with add and ends with the first line that is not continued; comments inside it
    (the warning about an SA that is not mature) are skipped."""
    words: list[str] = []
    for line in lines:
        if line.startswith("#") or not (words or line.startswith("add ")):
            continue
        goes_on = line.endswith("\\")
        content = line[:-1] if goes_on else line
        identity = _IDENTITY_LINE.match(content)
        words += identity.groups() if identity is not None else content.split()
        if not goes_on:
            yield words
            words = []


def _key(words: t.Sequence[str]) -> Key:
    try:
        spi, destination = (words[words.index(keyword) + 1] for keyword in ("spi", "dst"))
    except (ValueError, IndexError):
        raise SadbError(
            "ipseckey prints an SA without an SPI or a destination",
            "save",
            "This form of output is unknown; please report it.",
        ) from None
    return words[1], model.pack_address(destination), int(spi, 0)


def _association(words: t.Sequence[str]) -> SecurityAssociation:
    """The SA that one command adds. Nothing is checked: the SADB may hold what our own text may not."""
    reader = AttributeReader(LINUX, False, Report("ipseckey save"))
    attributes = reader.read([Word(word, 1, column) for column, word in enumerate(words[2:], 3)], lowest_spi=1)
    values = attributes.values
    for field in ("encryption", "authentication"):
        # A number that only this host's ipsecalgs names.
        if field in attributes.refused:
            values[field] = attributes.words[field].text
    values["spi"] = int(attributes.words["spi"].text, 0)
    return build(words[1], attributes)


# The dump

_ADDRESS = r"AF_INET6?: port \d+, ([0-9A-Fa-f:.]*[0-9A-Fa-f:])"
# By field, the line of a block that has it; the last group is the value. Releases differ in the words around it.
_FACTS: dict[str, re.Pattern[str]] = {
    "protocol": re.compile(r"Base message .*, SA type (\w+)"),
    "spi": re.compile(r"SA: SADB_ASSOC spi=0x([0-9a-f]+), replay"),
    "state": re.compile(r"SA: SADB_ASSOC .*, state=(\S+)"),
    "flags": re.compile(r"SA: flags.*<(.*)>"),
    "source": re.compile("SRC: " + _ADDRESS),
    "destination": re.compile("DST: " + _ADDRESS),
    "isrc": re.compile("INS: " + _ADDRESS + r"(?:/(\d+))?"),
    "idst": re.compile("IND: " + _ADDRESS + r"(?:/(\d+))?"),
    "manager": re.compile(r"KMC: Protocol (\d+),"),
    "pair": re.compile(r"OTH: Paired with spi=(0x[0-9a-f]+)"),
    "bytes": re.compile(r"CLT: (\d+) bytes .*protected"),
    "packets": re.compile(r"CLT: .* (\d+) (?:packets|allocations)"),
    "add_time": re.compile(r"CLT: SA added at time:? (\d+)$"),
    "use_time": re.compile(r"CLT: SA first used at time:? (\d+)$"),
}
_FACTS_OF_LINE: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
for _field, _pattern in _FACTS.items():
    _FACTS_OF_LINE.setdefault(_pattern.pattern[:4], []).append((_field, _pattern))
# The line after these has the time as a number.
_MOMENTS = {"SA added at": "add_time", "SA first us": "use_time"}
_RAW_TIME = re.compile(r"CLT:\s+\(raw time value (\d+)\)")


def dumped(lines: t.Iterable[str]) -> t.Iterator[DumpedSa]:
    """Each SA of a dump. Raises SadbError if its end is missing."""
    facts: dict[str, str] = {}
    moment = ""
    done = False
    for line in lines:
        if line.startswith(("Base message ", "Dump succeeded ")):
            if "spi" in facts:
                yield _dumped_sa(facts)
            facts = {}
            done = done or bool(_DONE.match(line))
        for field, pattern in _FACTS_OF_LINE.get(line[:4], ()):
            value = pattern.match(line)
            if value is not None:
                facts[field] = value[value.re.groups] or ""
        raw = _RAW_TIME.match(line)
        if raw is not None and moment:
            facts[moment] = raw[1]
        moment = _MOMENTS.get(line[5:16], "")
    if not done:
        raise SadbError(
            "the dump of ipseckey is incomplete", "dump", "Run it again; another process may have changed SAs."
        )


def _dumped_sa(facts: t.Mapping[str, str]) -> DumpedSa:
    protocol = facts.get("protocol", "").lower()
    if protocol not in model.PROTOCOLS or not facts.keys() >= {"state", "destination"}:
        raise SadbError("ipseckey dumps an SA in an unknown form", f"spi 0x{facts['spi']}", "Please report it.")
    destination = model.pack_address(facts["destination"])
    flags = {flag[2:] if flag.startswith("X_") else flag for flag in facts.get("flags", "").split()}
    directions = [name for name in (model.INBOUND, model.OUTBOUND) if name.upper() in flags]
    return DumpedSa(
        protocol,
        int(facts["spi"], 16),
        model.pack_address(facts["source"]) if "source" in facts else bytes(len(destination)),
        destination,
        facts["state"],
        # The kernel sets both flags if either end may be this host's.
        directions[0] if len(directions) == 1 else "",
        int(facts.get("manager", 0)),
        Counters(**{field: int(facts.get(field, 0)) for field in ("bytes", "packets", "add_time", "use_time")}),
        {keyword: facts[keyword] for keyword in ("isrc", "idst") if keyword in facts},
        facts.get("pair", ""),
    )


# Complaints

# The utility's complaints, and our words for them. It echoes words of the command, keys too, so none
# of its own words are repeated but an error of the system.
_COMPLAINTS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"Insufficient privileges"), "it needs root and the privilege sys_ip_config"),
    (re.compile(r"PF_KEY timed out"), "the kernel did not answer within 10 seconds"),
    (re.compile(r"already exists"), "such an SA already exists"),
    (re.compile(r"does not exist"), "such an SA does not exist"),
    (re.compile(r"Line too long"), "it skipped a line that was too long"),
    (re.compile(r"Unknown (?:encryption|authentication) algorithm"), "its ipsecalgs table lacks the algorithm"),
    (re.compile(r"Unknown (?:(?:source|destination) )?address"), "it does not take an address"),
    (re.compile(r"No match for (?:IPV6 )?destination"), "the source is not of the scope or family of the destination"),
    (re.compile(r"is vague, not using"), "a name has several addresses, so it was left out"),
    (re.compile(r"Cannot specify encryption"), "AH cannot encrypt"),
    (re.compile(r"Must specify 'encap udp'"), "a NAT address or port needs encap udp"),
    (re.compile(r"Must specify NAT-T"), "encap udp needs a NAT address or port"),
    (re.compile(r"Expecting a number|Unexpected end of command"), "it does not take a number"),
    (re.compile(r"not a hex value|bit length \d+ is too big|not a bit specifier"), "it does not take a key"),
    (
        re.compile(r"Unknown extension field|Don't use extension|Unknown command|Unknown SA type"),
        "it does not know a word",
    ),
    (re.compile(r"^Usage:"), "it does not know an option"),
)
_DIAGNOSTIC = re.compile(r"[Dd]iagnostic code (\d+):")
_SYSTEM_ERROR = re.compile(r"\(in do\w+\): ([A-Za-z][A-Za-z' ,/-]{2,60})$")
_LONG_HEX = re.compile(r"[0-9A-Fa-f]{16}")


def complaints(output: str, errors: str) -> list[str]:
    """The utility's complaints, each kind once, without any key.

    Of standard output, which has dumps and echoes, only known forms are reported. A line of standard
    error is reported as it is unless a word of it may be a key."""
    found: dict[str, None] = {}
    unknown = hidden = 0
    for text, is_error in ((output, False), (errors, True)):
        for line in filter(None, map(str.strip, text.replace(PROMPT, "").split("\n"))):
            words = _in_our_words(line)
            if words:
                found[words] = None
            elif is_error and _LONG_HEX.search(line):
                hidden += 1
            elif is_error and unknown < 3:
                unknown += 1
                found[line[:200]] = None
    if hidden:
        found[f"{hidden} lines are not shown, since they may contain keys"] = None
    return list(found)


def _in_our_words(line: str) -> str:
    number = _DIAGNOSTIC.search(line)
    if number is not None:
        return ILLUMOS_DIAGNOSTICS.get(int(number[1]), f"the kernel's diagnostic {number[1]}")
    system = _SYSTEM_ERROR.search(line)
    if system is not None:
        return system[1]
    return next((words for pattern, words in _COMPLAINTS if pattern.search(line)), "")
