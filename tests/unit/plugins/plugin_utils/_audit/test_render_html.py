# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page shows every value as text, allows nothing from elsewhere, and can be read by everybody.
tests/browser opens it.
"""

from __future__ import annotations

import base64
import collections
import hashlib
import html.parser
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.ipsec.manual.plugins.plugin_utils._audit import render_html
from ansible_collections.ipsec.manual.plugins.plugin_utils._audit.render_html import render
from ansible_collections.ipsec.manual.plugins.plugin_utils._audit.words import plain
from ansible_collections.ipsec.manual.tests.unit.plugins.plugin_utils._audit import reports

# Attributes whose values are text of the report, or depend on its length.
FREE = {"id", "href", "aria-label", "datetime", "data-to", "width", "viewbox", "d", "x"}
VOID = {"meta", "input", "br"}
CSS = (render_html._FILES / "page.css").read_text(encoding="utf-8")


class Parsed(html.parser.HTMLParser):
    """The elements of a page, its text, and the content of its style sheets and scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.raw: dict[str, list[str]] = collections.defaultdict(list)
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert not self._open, "an element is not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs)
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert tag == self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in ("style", "script"):
            self.raw[self._open[-1]].append(data)
        else:
            self.texts.append(data)

    def skeleton(self) -> list[tuple[str, tuple[tuple[str, str | None], ...]]]:
        """The elements in order, with all attributes, but without the text of the report."""
        return [
            (tag, tuple((name, None if name in FREE else value) for name, value in attributes.items()))
            for tag, attributes in self.elements
        ]

    def values(self, name: str) -> list[str]:
        return [str(attributes[name]) for dummy, attributes in self.elements if name in attributes]


def of_one(text: str) -> str:
    """The page of one host, one pair and one finding that have this text wherever one can stand."""
    file = {"path": text, "mode": text, "modified": ""}
    hosts = [reports.host(text, kernel=text, backend=text, service=text, file=file, counters={text: 1})]
    pairs = [reports.pair(text, text, text, addresses=[text], due=[text]) | {"name": text}]
    commands = [{"host": text, "command": text}]
    row = reports.finding(text, "high", text, host=text, pair=text, why=text, fix=text, commands=commands)
    return render(reports.report(hosts, pairs, [row], [row]))


PAGES = ("ordinary", "empty", "hostile")


@pytest.fixture(name="parsed", scope="module", params=PAGES)
def fixture_parsed(request: pytest.FixtureRequest) -> Parsed:
    return Parsed(render(getattr(reports, request.param)()))


@settings(deadline=None, max_examples=60)
@given(st.text(min_size=1, max_size=40) | st.text("<>&\"'/=!-;{}%# \n", min_size=1, max_size=40))
def test_no_text_changes_the_page(text: str) -> None:
    parsed = Parsed(of_one(text))
    assert parsed.skeleton() == Parsed(of_one("plain")).skeleton()
    assert plain(text) in parsed.texts


@pytest.mark.parametrize("text", reports.HOSTILE, ids=lambda text: text.encode("ascii", "replace").decode()[:20])
def test_a_hostile_text_is_shown_as_text(text: str) -> None:
    parsed = Parsed(of_one(text))
    assert parsed.skeleton() == Parsed(of_one("plain")).skeleton()
    assert parsed.texts.count(plain(text)) >= 8


def test_the_page_needs_nothing_from_elsewhere(parsed: Parsed) -> None:
    for name in ("href", "src", "action", "srcset", "data"):
        assert all(value.startswith("#") for value in parsed.values(name))
    assert not {tag for tag, dummy in parsed.elements} & {"link", "img", "iframe", "object", "embed", "base"}
    for text in (*parsed.raw["style"], *parsed.raw["script"]):
        assert not re.search(r"url\(|@import|import\(|fetch|XMLHttpRequest|innerHTML|eval", text)


def test_the_policy_allows_the_style_sheet_and_the_script_of_the_page_only(parsed: Parsed) -> None:
    (policy,) = [str(given["content"]) for dummy, given in parsed.elements if given.get("http-equiv")]
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives["default-src"] == directives["base-uri"] == directives["form-action"] == "'none'"
    for name in ("style", "script"):
        (text,) = parsed.raw[name]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert directives[f"{name}-src"] == f"'sha256-{digest}'"
    names = {name for dummy, attributes in parsed.elements for name in attributes}
    assert "style" not in names and not [name for name in names if name.startswith("on")]


def test_every_link_has_a_target_and_every_anchor_is_unique(parsed: Parsed) -> None:
    anchors = parsed.values("id")
    assert len(set(anchors)) == len(anchors)
    assert {link[1:] for link in parsed.values("href")} | set(parsed.values("data-to")) <= set(anchors)
    for name in ("aria-labelledby", "aria-describedby"):
        assert set(parsed.values(name)) <= set(anchors)


def test_every_host_pair_and_finding_has_its_section() -> None:
    report = reports.ordinary()
    anchors = Parsed(render(report)).values("id")
    for kind, rows in (("host", report["hosts"]), ("pair", report["pairs"])):
        assert {render_html.anchor(kind, row["name"]) for row in rows} <= set(anchors)
    assert len([anchor for anchor in anchors if anchor.startswith("finding-")]) == len(report["findings"])


def test_what_is_new_and_what_is_gone_is_marked() -> None:
    page = render(reports.ordinary())
    assert page.count(" data-new>") == 2
    gone = page.partition('<section id="gone"')[2].partition("</section>")[0]
    assert "mode 0644" in gone and "92 days old" in gone and "chmod" not in gone


def test_what_was_not_checked_is_shown() -> None:
    report = {**reports.ordinary(), "unchecked": [reports.finding("file-copy", "high", "a copy", host="a")]}
    page = render(report)
    assert "a copy" in page.partition('<section id="unchecked"')[2].partition("</section>")[0]
    assert "gone, 1 not checked." in page and 'id="unchecked"' not in render(reports.ordinary())


def test_kinds_of_findings_are_counted_with_the_worst_first() -> None:
    table = render(reports.ordinary()).partition("By kind of finding")[2].partition("</table>")[0]
    rows = re.findall(r'<th scope="row">(.*?)</th><td><span class="mark (\w+)">\w+</span></td><td>(\d+)</td>', table)
    assert rows == [
        ("drift", "high", "1"),
        ("keys_age", "high", "1"),
        ("service_failed", "medium", "1"),
        ("unreachable", "medium", "1"),
        ("budget", "low", "1"),
        ("foreign_sas", "info", "3"),
    ]


def test_many_kinds_of_findings_are_cut() -> None:
    rows = [reports.finding(f"kind-{number:02}", "low", "what", host="a") for number in range(14)]
    page = render(reports.report([reports.host("a", "low")], [], rows))
    table = page.partition("By kind of finding")[2].partition("</div>")[0]
    assert "kind-11" in table and "kind-12" not in table and "and 2 other kinds" in table


def test_without_findings_the_page_says_so() -> None:
    page = render(reports.empty())
    assert "No finding above info on 0 hosts." in page and "There are none." in page
    assert "<table role" not in page and 'id="gone"' not in page


def test_a_bar_is_never_longer_than_its_frame() -> None:
    report = reports.ordinary()
    widths = re.findall(r'<rect width="([\d.]+)%"', render(report))
    assert widths and all(0 <= float(width) <= 100 for width in widths)
    assert 'class="over"' in render(report)


def test_each_budget_has_a_bar() -> None:
    section = render(reports.ordinary()).partition("branches: enigma - branch-09</h4>")[2].partition("</section>")[0]
    assert re.findall(r'<p class="bar used">used <b>(.*?)</b>', section) == ["86 % of packets", "30 % of bytes"]


def palettes() -> dict[str, dict[str, str]]:
    """The colours of each kind of display."""
    blocks = re.findall(r":root \{(.*?)\}", CSS, re.S)
    assert len(blocks) == 3
    return {
        name: dict(re.findall(r"--(\w+): (#[0-9a-f]{3,6});", block))
        for name, block in zip(("light", "dark", "print"), blocks)
    }


def luminance(colour: str) -> float:
    """https://www.w3.org/TR/WCAG22/#dfn-relative-luminance"""
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("display", ["light", "dark", "print"])
@pytest.mark.parametrize("name", ["ink", "quiet", "link", "bar", "high", "medium", "low", "info", "none"])
def test_every_colour_of_a_text_has_the_contrast_of_wcag(display: str, name: str) -> None:
    colours = palettes()[display]
    dark, light = sorted((luminance(colours[name]), luminance(colours["paper"])))
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_the_page_of_a_large_fleet_has_few_elements() -> None:
    """1,000 hosts, 5,000 pairs and 300 findings; a browser shows so many elements in a second."""
    assert len(re.findall(r"<\w", render(reports.large()))) < 120_000
