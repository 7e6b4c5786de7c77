# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Records of what was loaded from which file: identities, never keys. They are gone after a reboot,
as what they name is.
"""

from __future__ import annotations

import json
import typing as t

from ..errors import IpsecError, ProtectedFileError
from ..files import protected

T = t.TypeVar("T")


class Record(t.NamedTuple):
    """A file of records: its path, and what it is a record of."""

    path: str
    of: str

    def read(self, file: str, build: t.Callable[[t.Any], T]) -> list[T]:
        """What was loaded from ``file``, each row converted by ``build``. Raises ProtectedFileError
        for a record that is unsafe or damaged.
        """
        if not protected.status(self.path).exists:
            return []
        content = self._content(protected.read(self.path))
        try:
            return [build(row) for row in content.get(file, ())]
        except (TypeError, ValueError, IpsecError):
            raise self._damaged() from None

    def write(self, file: str, rows: t.Iterable[t.Any]) -> None:
        """Record what is now loaded from ``file``; what came from other files stays."""
        kept = list(rows)

        def change(old: bytes | None) -> bytes:
            content = {**(self._content(old) if old else {}), file: kept}
            return json.dumps({name: found for name, found in sorted(content.items()) if found}).encode("ascii")

        protected.update(self.path, change)

    def _content(self, data: bytes) -> dict[str, t.Any]:
        try:
            found = json.loads(data)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise self._damaged()
        return found

    def _damaged(self) -> ProtectedFileError:
        return ProtectedFileError(
            f"this is not a record of loaded {self.of}",
            self.path,
            f"Remove it; {self.of} that the file no longer names then stay until a reboot.",
        )
