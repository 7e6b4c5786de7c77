# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The work of ipsec_preflight: whether a host is fit for its part in a rotation. Changes nothing."""

from __future__ import annotations

import contextlib
import time
import typing as t

from .._core.errors import InputError, IpsecError, SadbError, raise_all
from .._core.files import protected
from .._core.sa import checks, keys, model
from .._core.sa.algorithms import AUTHENTICATION, ENCRYPTION, Algorithm, find
from .._core.sa.digest import digest, digest_by_owner
from .._core.sa.merge import with_keys_of
from .._core.sa.model import SecurityAssociation, format_address
from .._core.sadb import open_sadb
from .._core.sadb.base import Sadb
from .._core.text.mapping import OptionReader, at_option, read_address, read_udp_port
from .base import KEYS_HIDDEN, Module, Result
from .secrets import take_digest_key
from .text import read_file
from .usage import asked, usage

# RFC 5737 and RFC 3849: addresses of no host, for SAs that are checked and never added.
_SAMPLES = {
    4: (bytes([192, 0, 2, 1]), bytes([192, 0, 2, 2])),
    16: (bytes.fromhex("20010db8" + "00" * 11 + "01"), bytes.fromhex("20010db8" + "00" * 11 + "02")),
}

# The kernel's tables of UDP sockets, of the network namespace that the module runs in.
_UDP_TABLES = ("/proc/net/udp", "/proc/net/udp6")

# Suffixes of the files that a rotation keeps beside the protected file while it runs.
LEFTOVERS = (".next", ".previous", ".replaced")


def preflight(module: Module) -> Result:
    """What the controller needs to know of this host. Raises everything that would stop a rotation here."""
    params = module.params
    reader = OptionReader()
    result: Result = {"changed": False}
    digest_key = b""
    with reader.noting():
        digest_key = take_digest_key(module)

    places = {f"addresses[{index}]": text for index, text in enumerate(params["addresses"])}
    endpoints = {place: reader.read(read_address, text, place, b"") for place, text in places.items()}
    families = sorted({len(address) for address in endpoints.values() if address} or {4})
    samples: list[SecurityAssociation] = []
    for index, given in enumerate(params["associations"]):
        with reader.noting():
            samples += _samples(given, families, f"associations[{index}]", params["allow_static_counter_mode"])
    stored: tuple[SecurityAssociation, ...] = ()
    with reader.noting():
        stored = _stored(module, params["path"])
        result["leftovers"] = [
            path for path in (params["path"] + suffix for suffix in LEFTOVERS) if protected.status(path).exists
        ]
    result["file"] = {"path": params["path"], "sas": len(stored), "digest": digest(stored, digest_key)}
    with reader.noting():
        sadb = open_sadb(params["backend"])
        with reader.noting():
            raise_all([*(problem for sa in samples for problem in sadb.refusals(sa)), *sadb.preflight(samples)])
        with reader.noting():
            _check_addresses(sadb, endpoints)
        result.update(_observed(module, sadb, stored, digest_key))
        if result["keys_hidden"]:
            _check_undo(result["held"], params["expected"], endpoints.values())
    reader.finish()
    _warn_of_ports(module, (sa.encapsulation.destination_port for sa in samples if sa.encapsulation is not None))
    # Read last, so that it is fresh when the controller gets it.
    return {**result, "epoch": time.time()}


def _stored(module: Module, path: str) -> tuple[SecurityAssociation, ...]:
    """The SAs of the protected file; none if it does not exist yet."""
    there = protected.status(path)
    raise_all(there.problems)
    return read_file(module, path).sas if there.exists else ()


def _samples(
    given: t.Mapping[str, t.Any], families: t.Iterable[int], place: str, allow_static_counter_mode: bool
) -> list[SecurityAssociation]:
    """An SA with random keys for each address family, checked."""
    cipher, integrity = (_algorithm(kind, given, place) for kind in (ENCRYPTION, AUTHENTICATION))
    port = given["udp_port"] and read_udp_port(given["udp_port"], f"{place}.udp_port")
    found = []
    for family in sorted(families):
        source, destination = _SAMPLES[family]
        sa = model.build(
            given["protocol"],
            model.SPI_MIN,
            destination,
            source,
            cipher.name if cipher is not None else "",
            integrity.name if integrity is not None else "",
            given["icv_bits"] or 0,
            mode=given["mode"],
            encryption_key=_key(cipher, given["encryption_bits"], f"{place}.encryption_bits"),
            authentication_key=_key(integrity, None, place),
            replay_window=given["replay_window"],
            esn=given["esn"],
            encapsulation=model.Encapsulation(port, port) if port else None,
        )
        raise_all([at_option(problem, place) for problem in checks.problems(sa, allow_static_counter_mode)])
        found.append(sa)
    return found


def _algorithm(kind: str, given: t.Mapping[str, t.Any], place: str) -> Algorithm | None:
    option = f"{kind}_algorithm"
    return find(kind, given[option], f"{place}.{option}") if given[option] else None


def _key(algorithm: Algorithm | None, bits: int | None, place: str) -> bytes:
    if algorithm is None or not algorithm.key_bits:
        return b""
    try:
        return keys.generate(algorithm, bits)
    except InputError as exc:
        raise exc.at(place) from None


def _observed(module: Module, sadb: Sadb, stored: t.Sequence[SecurityAssociation], digest_key: bytes) -> Result:
    entries = sadb.dump()
    keys_hidden = sadb.keys_hidden()
    if keys_hidden:
        module.warn(KEYS_HIDDEN)
    installed = [entry.sa for entry in entries if not entry.larval]
    # Smaller SPIs are never drawn: 0 stands for a reservation without one, and 1 to 255 are reserved.
    spis = {sa.spi for sa in (*(entry.sa for entry in entries), *stored) if sa.spi >= model.SPI_MIN}
    return {
        "backend": sadb.name,
        "keys_hidden": keys_hidden,
        "held": digest_by_owner(
            with_keys_of((*stored, *_staged(module)), installed) if keys_hidden else installed, digest_key
        ),
        "spis": [f"0x{spi:08x}" for spi in sorted(spis)],
        "asked": asked(module, entries),
        **({"usage": usage(entries, module.params["expected"], time.time())} if module.params["usage"] else {}),
    }


def _staged(module: Module) -> tuple[SecurityAssociation, ...]:
    """The SAs that a broken rotation left staged, and may have installed; none if they cannot be
    read, since the next rotation replaces that file.
    """
    with contextlib.suppress(IpsecError):
        return read_file(module, module.params["path"] + LEFTOVERS[0], checks.ANYTHING).sas
    return ()


def _check_undo(present: t.Mapping[str, str], expected: t.Mapping[str, str], endpoints: t.Iterable[bytes]) -> None:
    """Raise SadbError if the host would have to change SAs whose keys the kernel hides. ``present``
    and ``expected`` are results of `digest_by_owner`.
    """
    mine = {format_address(address) for address in endpoints if address}
    wanted = {name: value for name, value in expected.items() if mine.intersection(name.partition("#")[0].split("|"))}
    if all(present.get(name) == value for name, value in wanted.items()):
        return
    pairs = sorted({" and ".join(name.partition("#")[0].split("|")) for name in wanted if name in present})
    if pairs:
        raise SadbError(
            f"this kernel hides the keys of SAs (lockdown), so those between {', and between '.join(pairs)} could not"
            " be restored if the change failed",
            "SADB",
            "Remove them first, on all their hosts, with ipsec.manual.ipsec_sadb and state: flushed, while no traffic"
            " needs them.",
        )


def _warn_of_ports(module: Module, ports: t.Iterable[int]) -> None:
    """Warn of UDP ports that no socket has, since Linux drops ESP in UDP that arrives there."""
    wanted = sorted(set(ports))
    tables = [table for table in map(_lines, _UDP_TABLES if wanted else ()) if table]
    bound = {int(line.split()[1].rpartition(":")[2], 16) for table in tables for line in table[1:]}
    for port in wanted if tables else ():
        if port not in bound:
            module.warn(
                f"No program has UDP port {port} open, so the kernel drops ESP in UDP that arrives there. Start one"
                " that receives it; the page 'Connections and keys', 'ESP in UDP', has an example."
            )


def _lines(path: str) -> list[str]:
    """The lines of a file of the kernel; none if there is no such file."""
    with contextlib.suppress(OSError), open(path, encoding="ascii") as file:
        return file.readlines()
    return []


def _check_addresses(sadb: Sadb, endpoints: t.Mapping[str, bytes]) -> None:
    local = sadb.local_addresses()
    fix = f"Configure it, or correct the connection. This host has {', '.join(sorted(map(format_address, local)))}."
    raise_all(
        [
            InputError(f"{format_address(address)} is not an address of this host", place, fix)
            for place, address in endpoints.items()
            if address and address not in local
        ]
    )
