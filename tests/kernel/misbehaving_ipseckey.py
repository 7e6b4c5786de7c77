# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Our ipseckey with the faults of the Solaris utility: ``misbehaving_ipseckey.py FAULT SPI OPTION...``.

Standard input goes to our own command, except for the commands about SPI, to which FAULT applies.
The exit status is always 0."""

from __future__ import annotations

import re
import subprocess
import sys


def spoiled(fault: str, line: str) -> str:
    """Transform one line."""
    key = re.search(r"encrkey (\w+)", line)
    if fault == "echoes" and key:
        print(f"string '{key[1]}' not a hex value.")
        print(f"ipseckey: {key[1]}", file=sys.stderr)
    if fault == "stray memory" and key:
        return line.replace(key[1], key[1][:-8] + "00c0ffee")
    if fault == "cuts" and key:
        return re.sub(r"spi 0x[0-9a-f]+", "spi 0x7777", line)
    return ""


def main() -> None:
    fault, spi, *options = sys.argv[1:]
    lines = []
    for line in sys.stdin:
        concerned = f"spi 0x{int(spi, 0):08x} " in line
        if concerned and fault == "quits":
            break
        lines.append(spoiled(fault, line) if concerned else line)
    done = subprocess.run(
        [sys.executable, "-m", "ipseckey.program.command", "--show-keys", *options],
        input="".join(lines),
        capture_output=True,
        text=True,
        check=False,
    )
    for line in done.stdout.splitlines(keepends=True):
        sys.stdout.write(line if line[:1].isspace() else f"ipseckey> {line}")
    sys.stderr.write(done.stderr)


if __name__ == "__main__":
    main()
