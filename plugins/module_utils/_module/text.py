# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sets of SAs as ipseckeys text: in an option, or in a protected file of the host."""

from __future__ import annotations

import types
import typing as t

from .._core.errors import InputError
from .._core.files import protected
from .._core.sa import checks
from .._core.sa.model import Pair, pack_address
from .._core.text import language
from .._core.text.language import Document
from .base import Module, warn
from .secrets import hide_keys, take_secret

Allowed = t.Mapping[str, bool]
_NOTHING: Allowed = types.MappingProxyType({})


def read_text(module: Module, allowed: Allowed = _NOTHING) -> Document:
    """The SAs of ``content`` or of the protected file ``src``, checked; none where neither is given.

    ``allowed`` are options of `checks.ANYTHING` that apply even if the task does not set them, for
    callers that use no key of the text.
    """
    if module.params["src"]:
        return read_file(module, module.params["src"], allowed)
    return _parse(module, take_secret(module, "content") or "", "content", allowed)


def read_file(module: Module, path: str, allowed: Allowed = _NOTHING) -> Document:
    """The SAs of a protected file, checked."""
    return parse(module, protected.read(path), path, allowed)


def parse(module: Module, data: bytes, path: str, allowed: Allowed = _NOTHING) -> Document:
    """The SAs of a protected file's content, checked."""
    try:
        return _parse(module, data.decode("utf-8"), path, allowed)
    except UnicodeDecodeError:
        raise InputError("the file is not UTF-8 text", path, "Rewrite it with ipsec.manual.ipseckeys_file.") from None


def warn_of(module: Module, text: Document) -> None:
    """Warn of what is allowed but unwise, once for each kind."""
    warn(module, text.warnings)
    warn(module, ((note, place) for sa, place in text.placed() for note in checks.warnings(sa)))


def read_pairs(params: t.Mapping[str, t.Any], option: str) -> set[Pair]:
    """The pairs of addresses in a list of ``ADDRESS|ADDRESS``. Raises InputError for anything else."""
    found = set()
    for index, text in enumerate(params[option]):
        place = f"{option}[{index}]"
        one, separator, other = text.partition("|")
        if not separator:
            raise InputError(
                "this is not a pair of addresses", place, "Write two with a bar between them: 192.0.2.1|192.0.2.2."
            )
        first, second = sorted((pack_address(one, place), pack_address(other, place)))
        found.add((first, second))
    return found


def _parse(module: Module, text: str, name: str, allowed: Allowed) -> Document:
    params = module.params
    # A module without an option only reads, so it accepts every SA that exists.
    accepted: dict[str, t.Any] = {
        option: allowed.get(option, False) or params.get(option, True) for option in checks.ANYTHING
    }
    document = language.parse(text, name=name, resolve_names=params["resolve_names"], **accepted)
    hide_keys(module, document.sas)
    return document
