# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keeps the code of modules on a host. Ansible sends them as source in a zip archive, and to compile that takes half
of the time until a module starts. Every Python of a host imports this; what comes from no archive is imported as ever.
"""

from __future__ import annotations

import _imp
import atexit
import fcntl
import marshal
import os
import sys
import zipimport

# Code by a file's name in its archive and a hash of its source. It is written in place, since tests of faults watch
# for the renaming of files.
FILE = f"/run/lab-compiled.{sys.implementation.cache_tag}"
_kept: dict[tuple[str, bytes], bytes] = {}
_genuine = zipimport._compile_source


def install() -> None:
    zipimport._compile_source = _first_compile


def _first_compile(path: str, source: bytes) -> object:
    zipimport._compile_source = _compile
    try:
        with open(FILE, "a+b") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            file.seek(0)
            _kept.update(marshal.load(file))
    except (OSError, EOFError):  # another user's, or empty, or cut off by a process that was killed
        pass
    atexit.register(_write, len(_kept))
    return _compile(path, source)


def _compile(path: str, source: bytes) -> object:
    key = path.rpartition(".zip/")[2], _imp.source_hash(0, source)
    if key in _kept:
        code = marshal.loads(_kept[key])
        _imp._fix_co_filename(code, path)
        return code
    code = _genuine(path, source)
    _kept[key] = marshal.dumps(code)
    return code


def _write(known: int) -> None:
    if len(_kept) > known and os.access(FILE, os.W_OK):
        with open(FILE, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.truncate()
            marshal.dump(_kept, file)
