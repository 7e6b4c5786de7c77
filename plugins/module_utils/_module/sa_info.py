# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The work of ipsec_sa_info: show the SAs of the SADB."""

from __future__ import annotations

import time

from .._core.errors import InputError
from .._core.sa.digest import digest
from .._core.sa.model import identity
from .._core.sa.observed import observed
from .._core.sadb import open_sadb
from .._core.text.mapping import OptionReader, read_address
from .._core.text.values import parse_installed_spi
from .base import KEYS_HIDDEN, Module, Result, warn
from .secrets import take_digest_key
from .text import read_file


def sa_info(module: Module) -> Result:
    """The SAs that match the options, without keys."""
    params = module.params
    if params["src"] and not params["src"].startswith("/"):
        raise InputError(
            "src must be the absolute path of a protected file", "src", "For the address of the sender, use source."
        )
    reader = OptionReader()
    source = reader.read(read_address, params["source"], "source", b"")
    destination = reader.read(read_address, params["destination"], "destination", b"")
    spi, doubt = reader.read(parse_installed_spi, params["spi"], "spi", (0, ""))
    with reader.noting():
        digest_key = take_digest_key(module)
    reader.finish()
    warn(module, [(doubt, "spi")] if doubt else [])
    named = {identity(sa) for sa in read_file(module, params["src"]).sas} if params["src"] else None

    sadb = open_sadb(params["backend"])
    entries = [
        entry
        for entry in sadb.dump(protocol=params["protocol"] or "", source=source, destination=destination)
        if spi in (0, entry.sa.spi) and (named is None or identity(entry.sa) in named)
    ]
    keys_hidden = bool(entries) and sadb.keys_hidden()
    if keys_hidden:
        module.warn(KEYS_HIDDEN)
    now = time.time()
    return {
        "changed": False,
        "sas": [observed(entry, now) for entry in entries],
        "digest": {} if keys_hidden else digest([entry.sa for entry in entries if not entry.larval], digest_key),
        "keys_hidden": keys_hidden,
        "backend": sadb.name,
    }
