# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_utils is private to the collection and may change at any time.

"""The work of ipsec_sa: one SA against the SADB."""

from __future__ import annotations

import typing as t

from ._core import association, keys
from ._core.algorithms import AUTHENTICATION, ENCRYPTION, find
from ._core.association import Encapsulation, Lifetimes, Mark, SecurityAssociation, Selector, label, pack_address
from ._core.errors import InputError, IpsecError, Problems, raise_all, shown
from ._core.plan import ABSENT, Operation, Plan, plan
from ._core.sadb import open_sadb
from ._glue import KEYS_HIDDEN, Result, diff, warn
from ._glue_secrets import hide_keys, take_secret
from ._glue_view import described, public

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

# Stands in for an address that could not be read, while the other options are checked.
_SOME_ADDRESS = bytes([192, 0, 2, 1])
# The core names a field by its own name; the option that the user has to change is sometimes inside another.
_OPTION_PATHS = {
    **{name: f"lifetimes.{name}" for name in Lifetimes._fields},
    **{f"selector {side}": f"selector.{side}" for side in Selector._fields},
}

T = t.TypeVar("T")


def apply_sa(module: AnsibleModule) -> Result:
    """Bring one SA into the SADB, or out of it."""
    reader = _Reader(module)
    absent = module.params["state"] == ABSENT
    wanted = reader.identity() if absent else reader.association()
    hide_keys(module, [wanted])
    reader.finish()

    sadb = open_sadb(module.params["backend"])
    if not absent:
        raise_all([_at_option(problem) for problem in sadb.refusals(wanted)])
        warn(module, ((text, label(wanted)) for text in association.warnings(wanted)))
    warn(module, ((text, "spi") for text in reader.warnings))
    actual = sadb.dump(protocol=wanted.protocol, destination=wanted.destination)
    keys_hidden = bool(actual) and not absent and sadb.keys_hidden()
    steps = plan([wanted], actual, module.params["state"], keys_hidden=keys_hidden, take_over=True)
    if keys_hidden:
        module.warn(KEYS_HIDDEN)
    if steps.operations and not module.check_mode:
        sadb.apply(steps.operations)
    return _result(module, sadb.name, wanted, steps)


def _result(module: AnsibleModule, backend: str, wanted: SecurityAssociation, steps: Plan) -> Result:
    operations: t.Sequence[Operation] = steps.operations
    result: Result = {
        "changed": bool(operations),
        "operations": [str(operation) for operation in operations],
        "differences": sorted({name for operation in operations for name in operation.fields}),
        "backend": backend,
    }
    if module.params["state"] != ABSENT:
        result["sa"] = public(wanted)
    if module._diff:
        before = [fact for operation in operations if operation.old is not None for fact in described(operation.old.sa)]
        after = [fact for operation in operations if operation.new is not None for fact in described(operation.new)]
        result["diff"] = diff("SADB", before, after)
    return result


class _Reader:
    """Options into an SA. Collects every problem instead of stopping at the first; `finish` raises them."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.problems: list[IpsecError] = []
        self.warnings: list[str] = []

    def finish(self) -> None:
        raise_all(self.problems)

    def identity(self) -> SecurityAssociation:
        """Only what identifies the SA, for its removal."""
        destination = self._address("destination")
        return association.build(self.module.params["protocol"], self._spi(), destination, mark=self._mark())

    def association(self) -> SecurityAssociation:
        params = self.module.params
        destination = self._address("destination")
        sa = association.build(
            params["protocol"],
            self._spi(),
            destination,
            self._address("source") or bytes(len(destination)),
            self._algorithm(ENCRYPTION),
            self._algorithm(AUTHENTICATION),
            params["icv_bits"] or 0,
            mode=params["mode"],
            encryption_key=self._key("encryption_key"),
            authentication_key=self._key("authentication_key"),
            replay_window=params["replay_window"],
            esn=params["esn"],
            reqid=params["reqid"],
            mark=self._mark(),
            if_id=params["if_id"],
            selector=self._selector(),
            encapsulation=self._encapsulation(),
            lifetimes=Lifetimes(**{name: value or 0 for name, value in (params["lifetimes"] or {}).items()}),
            direction=params["direction"] or "",
        )
        # What could not be read was replaced by something harmless; complaints about that would mislead.
        unread = {problem.place for problem in self.problems}
        found = association.problems(sa, params["allow_static_counter_mode"])
        if "encryption_algorithm" in unread:
            unread.update(("encryption_key", "icv_bits"))
        if "authentication_algorithm" in unread:
            unread.update(("authentication_key", "icv_bits"))
        if "destination" in unread:
            unread.add("source")
        self.problems += [_at_option(problem) for problem in found if problem.place not in unread]
        return sa

    def _try(self, read: t.Callable[[], T], otherwise: T) -> T:
        try:
            return read()
        except Problems as exc:
            self.problems += exc.problems
        except InputError as exc:
            self.problems.append(exc)
        return otherwise

    def _spi(self) -> int:
        from ._core.language import parse_spi

        spi, warning = self._try(lambda: parse_spi(self.module.params["spi"], "spi"), (association.SPI_MIN, ""))
        if warning:
            self.warnings.append(warning)
        return spi

    def _address(self, option: str) -> bytes:
        return self._packed(self.module.params[option], option)

    def _packed(self, text: str | None, place: str) -> bytes:
        return self._try(lambda: pack_address(text, place), _SOME_ADDRESS) if text else b""

    def _algorithm(self, kind: str) -> str:
        option = f"{kind}_algorithm"
        word = self.module.params[option]
        return self._try(lambda: find(kind, word, option).name, "") if word else ""

    def _key(self, option: str) -> bytes:
        text = take_secret(self.module, option)
        return self._try(lambda: keys.from_hex(text, option), b"") if text else b""

    def _mark(self) -> Mark | None:
        text = self.module.params["mark"]
        return self._try(lambda: parse_mark(text, "mark"), None) if text else None

    def _encapsulation(self) -> Encapsulation | None:
        given = self.module.params["encapsulation"]
        if not given:
            return None
        for name in ("source_port", "destination_port"):
            if not 1 <= given[name] <= 65535:
                self.problems.append(InputError(f"{given[name]} is no UDP port", f"encapsulation.{name}", "Choose 1 to 65535; 4500 is usual."))
        return Encapsulation(
            given["source_port"],
            given["destination_port"],
            self._packed(given["nat_local"], "encapsulation.nat_local"),
            self._packed(given["nat_remote"], "encapsulation.nat_remote"),
        )

    def _selector(self) -> Selector | None:
        given = self.module.params["selector"]
        if not given:
            return None
        return self._try(lambda: read_selector(given, "selector"), None)


def read_selector(given: t.Mapping[str, t.Any], place: str) -> Selector:
    """A selector from its suboptions: networks in CIDR notation or addresses, a protocol by number or name, ports."""
    problems: list[IpsecError] = []
    networks: dict[str, tuple[bytes, int]] = {}
    for side in ("source", "destination"):
        try:
            networks[side] = parse_network(given[side] or "", f"{place}.{side}")
        except InputError as exc:
            problems.append(exc)
    try:
        protocol = parse_protocol(given["protocol"] or "0", f"{place}.protocol")
    except InputError as exc:
        problems.append(exc)
    raise_all(problems)
    return Selector(*networks["source"], *networks["destination"], protocol, given["source_port"], given["destination_port"])


def parse_network(text: str, place: str) -> tuple[bytes, int]:
    """``ADDRESS[/PREFIX]`` as packed address and prefix length; empty text is any."""
    if not text:
        return b"", 0
    address, slash, prefix = text.partition("/")
    packed = pack_address(address, place)
    if not slash:
        return packed, len(packed) * 8
    if not (prefix.isascii() and prefix.isdigit()):
        raise InputError(f"{shown(text)} has no prefix length after the slash", place, "Write ADDRESS/LENGTH, as in 192.0.2.0/24.")
    return packed, int(prefix)


def parse_protocol(text: str, place: str) -> int:
    """An upper-layer protocol as its IANA number, from digits or from a name that this system knows; 0 is any."""
    import socket

    if text.isascii() and text.isdigit() and int(text) <= 255:
        return int(text)
    if text == "any":
        return 0
    try:
        return socket.getprotobyname(text)
    except OSError:
        raise InputError(f"{shown(text)} is no IP protocol that this system knows", place, "Write its number, 0 to 255.") from None


def parse_mark(text: str, place: str) -> Mark:
    """``VALUE[/MASK]``, each decimal or with ``0x``; no mask is all ones."""
    value, slash, mask = text.partition("/")
    try:
        return Mark(int(value, 0), int(mask, 0) if slash else 0xFFFFFFFF)
    except ValueError:
        raise InputError(f"{shown(text)} is no mark", place, "Write VALUE or VALUE/MASK, as in 0x10/0xff.") from None


def _at_option(problem: InputError) -> InputError:
    return InputError(problem.message, _OPTION_PATHS.get(problem.place, problem.place), problem.hint)
