# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options into the core's values: one reader for everything that comes as a mapping. It collects every
problem instead of stopping at the first.
"""

from __future__ import annotations

import contextlib
import typing as t

from ..errors import InputError, IpsecError, Problems, nearest, raise_all, shown, type_name
from ..sa import checks, model
from ..sa.algorithms import AUTHENTICATION, ENCRYPTION, find
from ..sa.model import Encapsulation, Lifetimes, SecurityAssociation, Selector, pack_address
from ..specs import IPSEC_SA, SELECTOR
from .values import parse_installed_spi, parse_key, parse_mark, parse_network, parse_number, parse_spi

T = t.TypeVar("T")
V = t.TypeVar("V")

Options = t.Mapping[str, t.Any]

# Python's type of each type in an argument spec, and its name in messages.
_TYPES: dict[str, tuple[type, str]] = {
    "bool": (bool, "true or false"),
    "dict": (dict, "a mapping"),
    "int": (int, "a whole number"),
    "list": (list, "a list"),
    "str": (str, "a word"),
}
# Stands in for an address that could not be read, while the other options are checked.
_SOME_ADDRESS = bytes([192, 0, 2, 1])
# The core names a field by its own name; the option that the user has to change may be inside another.
_OPTION_OF_FIELD = {
    **{name: f"lifetimes.{name}" for name in Lifetimes._fields},
    **{f"selector {side}": f"selector.{side}" for side in Selector._fields},
    **{name: f"encapsulation.{name}" for name in ("nat_local", "nat_remote")},
}
# Options that cannot be judged while another option could not be read.
_DEPENDENT = {
    "encapsulation": ("nat_keepalive",),
    "destination": ("source", "selector", "encapsulation.nat_local", "encapsulation.nat_remote"),
    "encryption_algorithm": ("encryption_key", "icv_bits", "authentication_algorithm"),
    "authentication_algorithm": ("authentication_key", "icv_bits", "encryption_algorithm"),
}


class OptionReader:
    """Reads options and notes what is wrong with them. A place is the path of an option; empty for all options."""

    def __init__(self) -> None:
        self.problems: list[IpsecError] = []

    def note(self, message: str, place: str, hint: str = "") -> None:
        self.problems.append(InputError(message, place, hint))

    @contextlib.contextmanager
    def noting(self) -> t.Iterator[None]:
        """Note the errors of the block, and go on after it."""
        try:
            yield
        except Problems as exc:
            self.problems.extend(exc.problems)
        except IpsecError as exc:
            self.problems.append(exc)

    def read(self, parse: t.Callable[[V, str], T], value: V | None, place: str, otherwise: T) -> T:
        """``parse(value, place)``, or ``otherwise`` if the value is missing or wrong."""
        if value is not None and value != "":
            with self.noting():
                return parse(value, place)
        return otherwise

    def require(self, parse: t.Callable[[V, str], T], value: V | None, place: str, otherwise: T) -> T:
        """As `read`, but a missing value is a problem too. Ansible lets a required option be empty or null."""
        if value is None or value == "":
            self.note("nothing is given", place, "Give it; a variable that it comes from may be empty.")
        return self.read(parse, value, place, otherwise)

    def options(self, given: t.Any, spec: Options, place: str) -> dict[str, t.Any]:
        """Read every option of an argument spec; one that is missing or wrong gets its default. A row of
        the spec may have a function ``parse`` in place of a type.

        As in Ansible, null counts as missing, digits may stand for a number, and a number for digits.
        Aliases are unknown names here, and suboptions stay unread."""
        values = {name: row.get("default") for name, row in spec.items()}
        if not isinstance(given, dict):
            self.note(f"this is {type_name(given)}, not a mapping", place, f"Known names are: {', '.join(spec)}.")
            return values
        for name, value in given.items():
            if name not in spec:
                self.note(f"unknown name {shown(str(name))}", place, self.known(str(name), spec))
            elif value is not None:
                with self.noting():
                    values[name] = _convert(value, spec[name], within(place, name))
        for name, row in spec.items():
            if row.get("required") and given.get(name) is None:
                hint = f"Choose one of: {', '.join(row['choices'])}." if "choices" in row else "Give it."
                self.note("this is missing", within(place, name), hint)
        return values

    def known(self, word: str, spec: Options) -> str:
        """The hint for an unknown name."""
        return nearest(word, tuple(spec), f"Choose from: {', '.join(spec)}.")

    def unread(self) -> set[str]:
        """The places of all problems."""
        return {problem.place for problem in self.problems}

    def finish(self) -> None:
        """Raise all problems together."""
        raise_all(self.problems)


def within(place: str, name: str) -> str:
    """The place of an option inside another."""
    return f"{place}.{name}" if place else name


def _convert(value: t.Any, row: Options, place: str) -> t.Any:
    if "parse" in row:
        return row["parse"](value, place)
    if row["type"] == "int" and isinstance(value, str):
        return parse_number(value, 64, place)
    if row["type"] == "str" and isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    kind, name = _TYPES[row["type"]]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise InputError(f"this is {type_name(value)}, not {name}", place)
    choices = row.get("choices", (value,))
    if value not in choices:
        raise InputError(
            f"unknown {place.rpartition('.')[2]} {shown(str(value))}", place, f"Choose one of: {', '.join(choices)}."
        )
    return value


def at_option(problem: InputError, place: str = "") -> InputError:
    """A problem of an SA at the option of ipsec_sa that it is about; ``place`` is that of the mapping."""
    return problem.at(within(place, _OPTION_OF_FIELD.get(problem.place, problem.place)))


def read_identity(
    reader: OptionReader, options: Options, place: str = "", any_spi: bool = False
) -> tuple[SecurityAssociation, str]:
    """An SA that has only the identity that the options of ipsec_sa name, and a warning about its
    SPI, which may be empty. With ``any_spi``, as for an installed SA, it may be a reserved one.
    """
    parse = parse_installed_spi if any_spi else parse_spi
    spi, doubt = reader.require(parse, options["spi"], within(place, "spi"), (model.SPI_MIN, ""))
    destination = reader.require(read_address, options["destination"], within(place, "destination"), _SOME_ADDRESS)
    mark = reader.read(parse_mark, options["mark"], within(place, "mark"), None)
    return model.build(options["protocol"] or "", spi, destination, mark=mark), doubt


def read_sa(
    reader: OptionReader,
    options: Options,
    place: str = "",
    allow_static_counter_mode: bool = False,
    allow_reserved_spi: bool = False,
) -> tuple[SecurityAssociation, str]:
    """The SA of the options of ipsec_sa, checked, and a warning about its SPI, which may be empty."""
    identified, doubt = read_identity(reader, options, place, allow_reserved_spi)

    def read(parse: t.Callable[[V, str], T], name: str, otherwise: T) -> T:
        return reader.read(parse, options.get(name), within(place, name), otherwise)

    sa = model.build(
        identified.protocol,
        identified.spi,
        identified.destination,
        read(read_address, "source", b""),
        read(_names_of(ENCRYPTION), "encryption_algorithm", ""),
        read(_names_of(AUTHENTICATION), "authentication_algorithm", ""),
        options["icv_bits"] or 0,
        mode=options["mode"],
        encryption_key=read(parse_key, "encryption_key", b""),
        authentication_key=read(parse_key, "authentication_key", b""),
        replay_window=options["replay_window"],
        esn=options["esn"],
        reqid=options["reqid"],
        mark=identified.mark,
        if_id=options["if_id"],
        selector=(selector := read(read_selector, "selector", Selector())),
        encapsulation=read(_read_encapsulation, "encapsulation", None),
        lifetimes=read(read_lifetimes, "lifetimes", model.NO_LIFETIMES),
        direction=options["direction"] or "",
        output_mark=read(parse_mark, "output_mark", None),
        tfc_padding=options.get("tfc_padding", 0),
        nat_keepalive=options.get("nat_keepalive", 0),
    )
    unread = reader.unread()
    for noted in tuple(unread):
        option = noted[len(within(place, "")) :].partition(".")[0]
        unread.update(within(place, name) for name in _DEPENDENT.get(option, ()))
    found = checks.problems(sa, allow_static_counter_mode, allow_reserved_spi)
    source, destination = (selector.source, selector.source_prefix), (selector.destination, selector.destination_prefix)
    traffic = selector.protocol or selector.source_port or selector.destination_port
    if traffic and model.loses_family([network for network in (source, destination) if network[0]], sa.destination):
        message = "a network of every address must be of the address family of the destination"
        found.append(InputError(message, "selector", "Name the networks inside."))
    located = (at_option(problem, place) for problem in found)
    reader.problems += [problem for problem in located if problem.place not in unread]
    return sa, doubt


def _names_of(kind: str) -> t.Callable[[str, str], str]:
    """A parser of the names of algorithms."""
    return lambda word, place: find(kind, word, place).name


def read_lifetimes(given: t.Any, place: str) -> Lifetimes:
    """Limits as `ipsec_sa` takes them."""
    reader = OptionReader()
    values = reader.options(given, IPSEC_SA["lifetimes"]["options"], place)
    reader.finish()
    return Lifetimes(**values)


def _read_encapsulation(given: t.Any, place: str) -> Encapsulation:
    reader = OptionReader()
    values = reader.options(given, IPSEC_SA["encapsulation"]["options"], place)

    def port(name: str) -> int:
        return reader.read(read_udp_port, values[name], f"{place}.{name}", 0)

    ports = port("source_port"), port("destination_port")
    nat = [reader.read(read_address, values[name], f"{place}.{name}", b"") for name in ("nat_local", "nat_remote")]
    reader.finish()
    return Encapsulation(*ports, *nat)


def read_udp_port(port: int, place: str) -> int:
    """The port of an encapsulation in UDP."""
    if not 1 <= port <= 65535:
        raise InputError(f"{port} is not a UDP port", place, "Choose 1 to 65535; 4500 is usual.")
    return port


def read_address(text: str, place: str) -> bytes:
    """A literal address, packed."""
    try:
        return pack_address(text, place)
    except InputError as exc:
        raise InputError(
            exc.message, place, "Write the address itself; a name would let the naming service choose the peer."
        ) from None


def read_selector(given: t.Any, place: str) -> Selector:
    """A selector: networks in CIDR notation or addresses, a protocol by number or name, ports."""
    reader = OptionReader()
    values = reader.options(given, SELECTOR, place)
    source = reader.read(parse_network, values["source"], f"{place}.source", (b"", 0))
    destination = reader.read(parse_network, values["destination"], f"{place}.destination", (b"", 0))
    protocol = reader.read(read_protocol, values["protocol"], f"{place}.protocol", 0)
    reader.finish()
    return Selector(*source, *destination, protocol, values["source_port"], values["destination_port"])


def read_protocol(text: str, place: str) -> int:
    """An upper-layer protocol as its IANA number, from digits or a name; 0 is any."""
    import socket

    if text == "any":
        return 0
    if text.isascii() and text.isdigit() and int(text) <= 255:
        return int(text)
    # The system's own table (/etc/protocols) may be missing, the common names are not.
    number: int | None = getattr(socket, f"IPPROTO_{text.upper().replace('-', '')}", None)
    if number is not None and 0 < number < 255:
        return number
    try:
        return socket.getprotobyname(text)
    except (OSError, ValueError):
        raise InputError(
            f"{shown(text)} is not an IP protocol that this system knows", place, "Write its number, 0 to 255."
        ) from None
