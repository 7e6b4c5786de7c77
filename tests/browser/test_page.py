# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page of an audit in a browser: opened, sorted, filtered, in the dark, on a narrow screen, and without
its script.
"""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.ipsec.manual.plugins.plugin_utils._audit import render_html
from ansible_collections.ipsec.manual.plugins.plugin_utils._audit.words import plain
from ansible_collections.ipsec.manual.tests.browser import chromium
from ansible_collections.ipsec.manual.tests.unit.plugins.plugin_utils._audit import reports

PROGRAM = chromium.find()
pytestmark = pytest.mark.skipif(
    PROGRAM is None, reason="there is no Chromium: as root, tests/setup browser installs Debian's"
)

SHOWN = """[...document.querySelectorAll("#findings tbody tr")].filter((row) => !row.hidden)
    .map((row) => [...row.cells].slice(0, 4).map((cell) => cell.textContent.trim()))"""
COUNT = "document.getElementById('count').value"


@pytest.fixture(name="page", scope="module")
def fixture_page(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[chromium.Page]:
    with chromium.started(str(PROGRAM), tmp_path_factory.mktemp("chromium")) as page:
        yield page


@pytest.fixture(name="show")
def fixture_show(page: chromium.Page, tmp_path: Path) -> t.Callable[..., float]:
    """Opens the page of a report, in a window of a size."""

    def show(report: dict[str, t.Any], width: int = 1280, scheme: str = "light", script: bool = True) -> float:
        path = tmp_path / "audit.html"
        path.write_text(render_html.render(report), encoding="utf-8")
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        page.call("Emulation.setDeviceMetricsOverride", **metrics)
        page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        page.call("Emulation.setScriptExecutionDisabled", value=not script)
        return page.open(path)

    return show


@pytest.fixture(name="quiet", autouse=True)
def fixture_quiet(page: chromium.Page) -> t.Iterator[None]:
    """No page writes to the console, not even that its policy was violated, or asks for anything but itself."""
    yield
    assert page.complaints() == []
    assert len(page.requested()) == 1


def click(page: chromium.Page, selector: str) -> None:
    page.value(f"document.querySelector({selector!r}).click()")


def enter(page: chromium.Page, text: str) -> None:
    """Type into the filter."""
    page.value("(() => { const box = document.getElementById('words'); box.value = ''; box.focus(); })()")
    page.call("Input.insertText", text=text)


def test_a_large_fleet_is_shown(
    page: chromium.Page, show: t.Callable[..., float], capsys: pytest.CaptureFixture[str]
) -> None:
    """The time is for people to compare with 2 s; it depends on the machine, so nothing is asserted."""
    report = reports.large()
    page.call("Performance.enable", timeDomain="threadTicks")
    seconds = show(report)
    metrics = {row["name"]: row["value"] for row in page.call("Performance.getMetrics")["metrics"]}
    page.call("Performance.disable")
    with capsys.disabled():
        print(
            f"\nNOTE: a page of {len(report['hosts'])} hosts and {len(report['pairs'])} pairs was shown"
            f" after {seconds:.1f} s, and took {metrics['TaskDuration']:.1f} s of a processor"
        )
    assert page.value("document.querySelectorAll('.host').length") == len(report["hosts"])
    assert page.value("document.querySelectorAll('.pair').length") == len(report["pairs"])
    enter(page, "host-0420")
    assert len(page.value(SHOWN)) == sum("host-0420" in str(row) for row in report["findings"])


def test_findings_are_sorted_by_each_column(page: chromium.Page, show: t.Callable[..., float]) -> None:
    show(reports.ordinary())
    severities = [row[0].split()[0] for row in page.value(SHOWN)]
    assert severities == ["high", "high", "medium", "medium", "low", "info", "info", "info"]
    for column in (1, 2, 3, 4):
        button = f"#findings th:nth-child({column}) button"
        orders = []
        for direction in ("descending", "ascending") if column == 1 else ("ascending", "descending"):
            click(page, button)
            sorts = page.value("[...document.querySelectorAll('#findings th')].map((th) => th.ariaSort)")
            assert sorts == [direction if place == column else None for place in range(1, 6)]
            orders.append([row[column - 1] for row in page.value(SHOWN)])
        if column > 1:
            assert orders == [sorted(orders[0]), sorted(orders[0], reverse=True)]
        else:
            assert [row.split()[0] for row in orders[1]] == severities
            assert [row.split()[0] for row in orders[0]] == severities[::-1]


def test_a_header_is_a_button_for_the_keyboard(page: chromium.Page, show: t.Callable[..., float]) -> None:
    show(reports.ordinary())
    page.value("document.querySelector('#findings th:nth-child(3) button').focus()")
    for kind in ("keyDown", "keyUp"):
        page.call("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", text="\r", windowsVirtualKeyCode=13)
    assert page.value("document.activeElement.parentElement.ariaSort") == "ascending"


def test_findings_are_filtered(page: chromium.Page, show: t.Callable[..., float]) -> None:
    show(reports.ordinary())
    assert page.value(COUNT) == "8 shown"
    enter(page, "Branch-1 RFC")
    assert [row[2] for row in page.value(SHOWN)] == ["branch-11"]
    enter(page, "")
    for level in ("high", "info"):
        click(page, f"#filters input[value={level}]")
    assert {row[0].split()[0] for row in page.value(SHOWN)} == {"medium", "low"}
    click(page, "#only-new")
    assert [row[1] for row in page.value(SHOWN)] == ["service_failed"]
    assert page.value(COUNT) == "1 of 8 shown"
    # The row of a link is shown, whatever the filter says.
    click(page, "#hosts a[href='#finding-2']")
    page.value("new Promise((done) => setTimeout(done))")
    assert page.value("document.getElementById('finding-2').checkVisibility()") and page.value(COUNT) == "8 shown"


def test_a_kind_of_findings_shows_all_of_them(page: chromium.Page, show: t.Callable[..., float]) -> None:
    show(reports.ordinary())
    click(page, "#filters input[value=info]")
    click(page, ".kinds tr:last-child button")
    assert [row[1] for row in page.value(SHOWN)] == ["foreign_sas"] * 3
    assert page.value("location.hash") == "#findings"


def test_a_click_in_the_picture_leads_to_the_section(page: chromium.Page, show: t.Callable[..., float]) -> None:
    show(reports.hostile())
    kinds = set()
    for place in range(page.value("document.querySelectorAll('.picture [data-to]').length")):
        wanted, found = page.value(f"""(() => {{
              const shape = document.querySelectorAll(".picture [data-to]")[{place}];
              shape.dispatchEvent(new MouseEvent("click", {{ bubbles: true }}));
              return [shape.dataset.to, document.querySelector(":target")?.id];
            }})()""")
        assert found == wanted
        kinds.add(wanted.partition("-")[0])
    assert kinds == {"host", "pair"}


def test_hostile_names_are_text(page: chromium.Page, show: t.Callable[..., float]) -> None:
    show(reports.hostile())
    assert page.value("document.title") == "IPsec audit, 2026-11-27 22:00 UTC"
    assert page.value("document.querySelectorAll('img, iframe, h1').length") == 1
    assert page.value("document.scripts.length") == 1
    names = page.value("[...document.querySelectorAll('.host h3')].map((title) => title.textContent)")
    assert set(map(plain, reports.HOSTILE)) <= set(names)
    for link in page.value("[...document.querySelectorAll('a')].map((link) => link.getAttribute('href'))"):
        target = page.value(f"(() => {{ location.hash = {link!r}; return document.querySelector(':target')?.id }})()")
        assert target == link[1:]


def test_the_policy_stops_what_an_escape_would_let_in(page: chromium.Page, show: t.Callable[..., float]) -> None:
    show(reports.ordinary())
    page.value("""(() => {
          document.addEventListener("securitypolicyviolation", (event) => event.preventDefault());
          const script = document.createElement("script");
          script.textContent = "document.title = 'owned'";
          document.body.append(script);
          document.body.setAttribute("style", "color: red");
        })()""")
    assert page.value("document.title") != "owned"
    assert page.value("getComputedStyle(document.body).color") != "rgb(255, 0, 0)"
    assert len(page.complaints()) == 2
    page.forget()


@pytest.mark.parametrize("name", ["ordinary", "hostile", "empty"])
def test_a_narrow_screen_does_not_scroll_sideways(page: chromium.Page, show: t.Callable[..., float], name: str) -> None:
    for width in (400, 1280):
        show(getattr(reports, name)(), width=width)
        assert page.value("document.documentElement.scrollWidth") <= width


def test_the_page_follows_the_colour_scheme(page: chromium.Page, show: t.Callable[..., float]) -> None:
    colours = []
    for scheme in ("light", "dark"):
        show(reports.ordinary(), scheme=scheme)
        colours.append(page.value("getComputedStyle(document.body).backgroundColor"))
    assert colours == ["rgb(253, 253, 251)", "rgb(20, 23, 26)"]


def test_a_printed_page_is_light_and_has_every_finding_without_controls(
    page: chromium.Page, show: t.Callable[..., float]
) -> None:
    report = reports.ordinary()
    show(report, width=720, scheme="dark")  # about as wide as a sheet
    page.call("Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    try:
        style = page.value("[getComputedStyle(document.body)].map((row) => [row.backgroundColor, row.color])[0]")
        assert style == ["rgb(255, 255, 255)", "rgb(0, 0, 0)"]
        assert page.value("[...document.querySelectorAll('form, nav')].filter((row) => row.checkVisibility())") == []
        shown = "[...document.querySelectorAll({!r})].filter((row) => row.checkVisibility()).length"
        assert page.value(shown.format("#findings tbody tr")) == len(report["findings"])
        assert page.value(shown.format(".host")) == len(report["hosts"])
        assert page.value("document.documentElement.scrollWidth") <= 720
    finally:
        page.call("Emulation.setEmulatedMedia", media="")


def test_without_its_script_the_page_has_everything(page: chromium.Page, show: t.Callable[..., float]) -> None:
    show(reports.ordinary(), script=False)
    tree = page.call("Accessibility.getFullAXTree")["nodes"]
    shown = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in tree if not node["ignored"]]
    assert "searchbox" not in {role for role, dummy in shown}
    assert [name for role, name in shown if role == "columnheader"][5:10] == [
        "Severity",
        "Finding",
        "Host",
        "Pair",
        "What is wrong, why it matters, and how to fix it",
    ]
    names = {name for role, name in shown if role == "heading"}
    report = reports.ordinary()
    assert {row["name"] for row in (*report["hosts"], *report["pairs"])} <= names
    assert {row["what"] for row in report["findings"]} <= {name for dummy, name in shown}


def test_every_control_has_a_name(page: chromium.Page, show: t.Callable[..., float]) -> None:
    show(reports.ordinary())
    tree = page.call("Accessibility.getFullAXTree")["nodes"]
    controls = ("searchbox", "checkbox", "button", "link", "image", "table", "region", "navigation", "group")
    named = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in tree
        if not node["ignored"] and node["role"]["value"] in controls
    ]
    assert {role for role, dummy in named} >= {
        "searchbox",
        "checkbox",
        "button",
        "link",
        "image",
        "table",
        "navigation",
    }
    assert [role for role, name in named if not name] == []
