# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Downloads the User-Mode Linux of another suite of this machine's distribution: verified by apt as
usual, unpacked, never installed. Servers and trusted keys come from this machine's own sources,
with the suite replaced.
"""

from __future__ import annotations

import fcntl
import pathlib
import re
import shutil
import subprocess
import tempfile
import typing as t

from . import images
from .errors import LabError

PACKAGES = ("user-mode-linux", "libc6")
SUITE = re.compile(r"[a-z][a-z0-9-]*")
ALIASES = frozenset({"oldoldstable", "oldstable", "stable", "testing", "unstable", "sid"})
SECONDS = 600
ONE_LINE = re.compile(r"\s*deb\s+(?P<options>\[[^]]*\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<components>.*)")
SETTINGS = {
    "Acquire::Languages": "none",
    "Acquire::Retries": "1",
    "Acquire::http::Timeout": "20",
    "Acquire::https::Timeout": "20",
    "APT::Update::Error-Mode": "any",
}


def one_line_style(text: str, own: t.Collection[str], suite: str) -> str:
    """A sources.list(5) of `suite`, from the lines for binaries of the component main of our `own` suites."""
    lines = []
    for line in text.splitlines():
        match = ONE_LINE.fullmatch(line.partition("#")[0])
        if match and match["suite"] in own and "main" in match["components"].split():
            lines.append(f"deb {match['options'] or ''}{match['uri']} {suite} main\n")
    return "".join(dict.fromkeys(lines))


def deb822_style(text: str, own: t.Collection[str], suite: str) -> str:
    """The same for a file of stanzas; other fields stay unchanged, including multi-line keys."""
    plain = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))
    stanzas = []
    for stanza in re.split(r"\n\s*\n", plain):
        pairs = re.findall(r"^([^\s:]+):[ \t]*(.*(?:\n[ \t]+.*)*)", stanza, re.MULTILINE)
        fields = {name.lower(): value for name, value in pairs}
        words = {name: fields.get(name, "").split() for name in ("types", "suites", "components", "enabled")}
        if (
            "deb" in words["types"]
            and "main" in words["components"]
            and words["enabled"] != ["no"]
            and not set(own).isdisjoint(words["suites"])
        ):
            fields |= {"types": "deb", "suites": suite, "components": "main"}
            stanzas.append("".join(f"{name}: {value}\n" for name, value in fields.items()))
    return "\n".join(dict.fromkeys(stanzas))


def own_suites() -> frozenset[str]:
    """Names in this machine's sources for the suite that it runs, or for an equally complete one."""
    release = pathlib.Path("/etc/os-release").read_text(encoding="utf-8")
    return ALIASES | set(re.findall(r"^VERSION_CODENAME=(\w+)", release, re.MULTILINE))


def write_sources(suite: str, folder: pathlib.Path) -> bool:
    """Write the private sources into the folder; return whether there are any."""
    own = own_suites()
    files = run("apt-config", "shell", "LIST", "Dir::Etc::sourcelist/f", "PARTS", "Dir::Etc::sourceparts/d")
    places = [pathlib.Path(place) for place in re.findall(r"='(.*)'", files)]
    sources = [
        file for place in places for file in (sorted(place.iterdir()) if place.is_dir() else [place]) if file.is_file()
    ]
    written = 0
    for file in sources:
        style = {".list": one_line_style, ".sources": deb822_style}.get(file.suffix)
        text = style(file.read_text(encoding="utf-8", errors="replace"), own, suite) if style else ""
        written += (folder / file.name).write_text(text, encoding="utf-8") if text else 0
    return written > 0


def run(*command: str, cwd: pathlib.Path | None = None) -> str:
    """Run a command that must succeed; its output."""
    try:
        result = subprocess.run(
            command, cwd=cwd, stdin=subprocess.DEVNULL, check=False, capture_output=True, text=True, timeout=SECONDS
        )
    except FileNotFoundError as exc:
        raise LabError(f"{command[0]} is not here.") from exc
    except subprocess.TimeoutExpired as exc:
        raise LabError(f"{command[0]} did not end within {SECONDS} s.") from exc
    if result.returncode:
        lines = result.stderr.strip().splitlines() or [f"exit status {result.returncode}"]
        raise LabError(f"{command[0]}: {next((line for line in lines if line.startswith('E:')), lines[0])}")
    return result.stdout


def updated(suite: str, folder: pathlib.Path, **settings: str) -> tuple[list[str], str]:
    """apt-get for the packages of that suite, with verified signatures, and its warnings about the
    lists. Its lists and cache are in the folder: those of the machine are neither changed nor
    waited for. ``settings`` are more of apt.conf(5), with `_` for `::`.
    """
    for name in ("sources", "lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    if not write_sources(suite, folder / "sources"):
        raise LabError("apt has no source of this distribution's packages here.")
    known = {
        **SETTINGS,
        "Dir::State::lists": str(folder / "lists"),
        "Dir::Cache": str(folder / "cache"),
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": str(folder / "sources"),
        **{name.replace("_", "::"): value for name, value in settings.items()},
    }
    apt = ["apt-get", "-q", *(f"-o{name}={value}" for name, value in known.items())]
    try:
        run(*apt, "update")
    except LabError as exc:  # perhaps only one of several sources failed: the next step shows whether it matters
        return apt, str(exc)
    return apt, ""


def download(suite: str, folder: pathlib.Path) -> list[pathlib.Path]:
    """The packages of the kernel of that suite."""
    (folder / "packages").mkdir()
    apt, trouble = updated(suite, folder)
    try:
        run(*apt, "download", *(f"{name}:amd64/{suite}" for name in PACKAGES), cwd=folder / "packages")
    except LabError as exc:
        raise LabError(trouble or str(exc)) from exc
    return sorted((folder / "packages").glob("*.deb"))


def fetch(suite: str) -> None:
    """Download the kernel of a suite, unless it is here."""
    if not SUITE.fullmatch(suite):
        raise LabError(f"{suite!r} is not the name of a suite.")
    target = images.UNPACKED / suite
    images.UNPACKED.mkdir(parents=True, exist_ok=True)
    with (images.UNPACKED / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not images.found(target, suite):
            print(f"fetching the User-Mode Linux of {suite} into {target}", flush=True)
            try:
                bring(suite, target)
            except LabError as exc:
                raise LabError(f"the User-Mode Linux of {suite} is not available. {exc}") from exc


def bring(suite: str, target: pathlib.Path) -> None:
    """Download and unpack; target is created completely or not at all."""
    shutil.rmtree(target, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=images.UNPACKED) as name:
        new = pathlib.Path(name, "root")
        for package in download(suite, pathlib.Path(name)):
            run("dpkg-deb", "-x", str(package), str(new))
        if not images.found(new, suite):
            raise LabError("Its package holds no kernel where one is looked for.")
        new.rename(target)
