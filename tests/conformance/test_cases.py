# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""This collection accepts what ipseckey and its kernel accept, with the same meaning.
docs/docsite/rst/deviations.rst names every exception, and no other case.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import tempfile
import typing as t
from pathlib import Path

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import IpsecError, Problems, TextError
from ansible_collections.ipsec.manual.plugins.module_utils._core.files import protected
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import algorithms
from ansible_collections.ipsec.manual.plugins.module_utils._core.text import script
from ansible_collections.ipsec.manual.plugins.module_utils._core.text.grammar import FILE, PROMPT, SOLARIS
from ansible_collections.ipsec.manual.tests.conformance.writing import text_of

HERE = Path(__file__).parent
CASES = {case["id"]: case for case in json.loads((HERE / "ipseckey-cases.json").read_text(encoding="utf-8"))["cases"]}
# Ours: ``ipseckey`` is what the utility and its kernel do, ``here`` what we do where that differs,
# and ``row`` the row of the document that says why; ``means`` is the text of what is accepted,
# ``at`` are line and column of every problem.
MORE = json.loads((HERE / "more-cases.json").read_text(encoding="utf-8"))
KEY = "308c9d5d11316f73900c811691eaa6fb9561c2ee"
GOOD = f"add esp spi 0x1001 src 192.0.2.1 dst 192.0.2.2 auth_alg sha1 authkey {KEY}"


def tables() -> tuple[dict[str, tuple[str, str]], dict[str, tuple[str, str]]]:
    """The first two tables of the document: ipseckey's verdict and ours, by case and by input."""
    found: list[dict[str, tuple[str, str]]] = []
    page = (HERE.parents[1] / "docs/docsite/rst/deviations.rst").read_text(encoding="utf-8")
    for table in page.split(".. list-table::\n")[1:]:
        found.append({})
        for row in table.split("\n   * - ")[2:]:  # the options and the head come before the first row
            cells = [
                re.sub(r"\n +", " ", cell).replace("``", "`")
                for cell in re.match(r".*(\n     (- |  ).*)*", row)[0].split("\n     - ")  # type: ignore[index]
            ]
            assert len(cells) == 4 and cells[3].endswith("."), row
            assert cells[0] not in found[-1], row
            found[-1][cells[0]] = (cells[1], cells[2])
    first, second, dummy = found
    return first, second


DEVIATIONS, BEYOND = tables()


def reference(case: dict[str, t.Any]) -> str:
    """The verdict of utility and kernel together. An update is not rejected because the SADB is empty."""
    verdict: str = case["utility"]["verdict"]
    kernel = case.get("kernel_model")
    if verdict != "accept" or kernel is None or "the model starts with" in kernel.get("reason", ""):
        return verdict
    return str(kernel["verdict"])


@pytest.fixture(name="hosts")
def only_known_hosts(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """The only names that can be resolved. No network is used."""
    known = {"localhost": ["127.0.0.1", "::1"]}

    def getaddrinfo(host: str, *dummy: t.Any, **dummies: t.Any) -> list[tuple[t.Any, ...]]:
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [
            (socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM, 17, "", (address, 0))
            for address in known[host]
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return known


def content(case: dict[str, t.Any]) -> bytes:
    """The input of the case, read from a file with its mode if this user can own a protected file."""
    data: bytes = case["input"].encode()
    if os.geteuid() != 0:
        if "file_mode" in case["invocation"]:
            pytest.skip("only root can create files of root")
        return data
    folder = tempfile.mkdtemp(prefix="ipsec-manual-test-", dir="/root")
    try:
        path = os.path.join(folder, "ipseckeys")
        with open(path, "wb") as file:
            file.write(data)
        os.chmod(path, int(case["invocation"].get("file_mode", "0600"), 8))
        return protected.read(path)
    finally:
        shutil.rmtree(folder)


def read(case: dict[str, t.Any], hosts: dict[str, list[str]]) -> script.Script:
    hosts.update({name: [address] for name, address in case["invocation"].get("hosts", {}).items()})
    place = PROMPT if case["invocation"]["form"] == "prompt" else FILE
    return script.parse(content(case), "keys", place, resolve_names=True)


def verdict_of(call: t.Callable[[], object]) -> str:
    try:
        call()
    except IpsecError as error:
        problems = error.problems if isinstance(error, Problems) else (error,)
        assert all(problem.place and problem.message for problem in problems)
        assert not re.search(r"[0-9a-f]{16}", str(error)), "a key is in the message"
        return "reject"
    return "accept"


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_verdict_is_that_of_ipseckey_unless_the_document_says_why_not(
    case: dict[str, t.Any], hosts: dict[str, list[str]]
) -> None:
    verdict = verdict_of(lambda: read(case, hosts))
    expected = reference(case)
    assert (expected, verdict) == DEVIATIONS.get(case["id"], (expected, expected))
    assert (case["id"] in DEVIATIONS) == (verdict != expected)


def test_the_document_names_known_cases_only() -> None:
    assert set(DEVIATIONS) <= set(CASES)
    assert len(CASES) == 97


def words_of(line: str) -> dict[str, str]:
    """Values by keyword, and the SA type. This suffices for the cases that are accepted."""
    words = [word.strip('"') for word in line.split()]
    flags = {"inbound", "outbound"}
    found, position = {"type": words[1]}, 2
    while position < len(words):
        width = 1 if words[position] in flags else 2
        found[words[position]] = words[position + width - 1]
        position += width
    return found


@pytest.mark.parametrize(
    "case",
    [case for case in CASES.values() if reference(case) == "accept" and case["id"] not in DEVIATIONS],
    ids=lambda case: case["id"],
)
def test_what_is_accepted_means_the_same(case: dict[str, t.Any], hosts: dict[str, list[str]]) -> None:
    steps = read(case, hosts).steps
    lines = [
        line
        for line in case["input"].replace("\\\n", " ").split("\n")
        if line.split() and not line.lstrip().startswith("#")
    ]
    assert len(steps) == len(lines) == case["utility"]["commands_ok"]
    for step, line in zip(steps, lines):
        assert step.command == line.split()[0].strip('"')
        if step.command == "flush":
            assert step.protocol == "esp"
            continue
        given = words_of(line)
        subject = step.sa or step.subject
        assert subject is not None
        destination = hosts.get(given["dst"], [given["dst"]])[0]
        family = socket.AF_INET6 if ":" in destination else socket.AF_INET
        assert (subject.protocol, subject.spi, subject.destination) == (
            given["type"],
            int(given["spi"], 0),
            socket.inet_pton(family, destination),
        )
        for name, limit in step.lifetimes._asdict().items() if step.sa is None else step.sa.lifetimes._asdict().items():
            assert limit == int(given.get(name, "0"))
        if step.sa is None:
            continue
        assert step.sa.source == (
            socket.inet_pton(family, given["src"]) if "src" in given else bytes(len(step.sa.destination))
        )
        for keyword, kind, algorithm, key in (
            ("encr", algorithms.ENCRYPTION, step.sa.encryption, step.sa.encryption_key),
            ("auth", algorithms.AUTHENTICATION, step.sa.authentication, step.sa.authentication_key),
        ):
            name = given.get(keyword + "_alg")
            assert algorithm == (
                algorithms.find(kind, name).name
                if name
                else "null" if keyword == "encr" and given["type"] == "esp" else ""
            )
            assert key == bytes.fromhex(given.get(keyword + "key", "").replace("0x", "").partition("/")[0])
        assert step.sa.replay_window == int(given.get("replay", "0"))
        assert (
            dict(step.sa.extra).get("pair-spi", "0x0")
            == f"0x{int(given.get('pair-spi', '0'), 0):0{8 if 'pair-spi' in given else 1}x}"
        )
        assert (step.sa.mode == "tunnel") == ("isrc" in given)


def with_keys(text: str) -> str:
    """The text of one of `MORE`, with its keys inserted."""
    return re.sub(r"\{(K[0-9]+)\}", lambda found: str(MORE["keys"][found[1]]), text)


@pytest.mark.parametrize("case", MORE["cases"], ids=lambda case: case["id"])
def test_more_cases_have_the_verdict_meaning_and_place_that_they_should(
    case: dict[str, t.Any], hosts: dict[str, list[str]]
) -> None:
    hosts.update(case.get("hosts", {}))
    text = with_keys(case["input"])
    verdict = verdict_of(lambda: script.parse(text, "keys", resolve_names=True))
    assert verdict == case.get("here", case["ipseckey"])
    assert "row" not in case or {**DEVIATIONS, **BEYOND}[case["row"]] == (case["ipseckey"], verdict)
    assert ("row" in case) == (verdict != case["ipseckey"])
    if verdict == "accept":
        written = text_of(script.parse(text, "keys", resolve_names=True).steps)
        assert written.splitlines() == [with_keys(line) for line in case["means"]]
        assert text_of(script.parse(written, "keys").steps) == written
    else:
        with pytest.raises(IpsecError) as caught:
            script.parse(text.encode(), "keys", resolve_names=True)
        problems = caught.value.problems if isinstance(caught.value, Problems) else (caught.value,)
        assert [[problem.line, problem.column] for problem in problems if isinstance(problem, TextError)] == case["at"]


def test_there_are_more_than_500_further_cases() -> None:
    assert len({case["id"] for case in MORE["cases"]}) == len(MORE["cases"]) > 500


REFUSED_THERE = {
    **{
        name: case["input"]
        for name, case in CASES.items()
        if reference(case) != "accept" and "file_mode" not in case["invocation"]
    },
    **{case["id"]: with_keys(case["input"]) for case in MORE["cases"] if case["ipseckey"] != "accept"},
}


@pytest.mark.parametrize("text", REFUSED_THERE.values(), ids=REFUSED_THERE.keys())
def test_what_solaris_refuses_is_refused_for_solaris(text: str, hosts: dict[str, list[str]]) -> None:
    hosts.update(gw=["192.0.2.2"], partym=["192.168.13.213"], enigma=["192.168.116.16"])
    assert verdict_of(lambda: script.parse(text, "keys", target=SOLARIS, resolve_names=True)) == "reject"


@pytest.mark.parametrize("text", BEYOND)
def test_what_the_document_says_beyond_the_cases(text: str) -> None:
    lines = text.strip("`").replace("GOOD", GOOD).replace("KEY", KEY).split("; ")
    assert verdict_of(lambda: script.parse("".join(f"{line}\n" for line in lines), "keys")) == BEYOND[text][1]
