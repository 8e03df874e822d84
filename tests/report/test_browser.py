"""The report's page in a browser: accessibility by axe-core, overflow, reading, sorting and opening."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed; pip install -e '.[dev]'")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium; apt-get install chromium"),
]

# The style sheet depends on the width or the colour scheme, never on both.
VIEWS = ((320, "light"), (400, "light"), (1200, "light"), (320, "dark"))
# The tables of figures 9 and 10 have the form of figure 11's.
OPEN_ALL = """document.querySelectorAll('details').forEach(each => {
    each.open = !each.closest('#figure09, #figure10'); })"""
# Each text with its drawn size, since a drawing scales its texts.
SIZES = """[...document.querySelectorAll('body *')].filter(each => [...each.childNodes].some(
    node => node.nodeType === 3 && node.data.trim()) && each.getClientRects().length).map(each => [
    parseFloat(getComputedStyle(each).fontSize) * (each.ownerSVGElement ? each.getScreenCTM().a : 1),
    each.textContent.slice(0, 40)])"""
# Contrast of the texts in drawings, whose background axe cannot see.
COLOURS = """[...new Set([...document.querySelectorAll('svg text')].map(each => getComputedStyle(each).fill))]"""


@pytest.fixture(scope="module")
def address(written: Path) -> str:
    return (written / "index.html").as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        # Chromium cannot start its sandbox in a container.
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def problems() -> list[str]:
    return []


@pytest.fixture
def opened(browser: Any, address: str, problems: list[str], request: pytest.FixtureRequest) -> Iterator[Any]:
    width, scheme = getattr(request, "param", (1200, "light"))
    tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    tab.on("console", lambda message: problems.append(f"{message.type}: {message.text}"))
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.on("requestfailed", lambda failed: problems.append(failed.url))
    tab.goto(address)
    yield tab
    tab.close()


def luminance(colour: str) -> float:
    """Return the relative luminance of an sRGB colour, by WCAG 2.2."""
    shares = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("opened", VIEWS, indirect=True, ids=lambda each: str(each))
def test_no_checker_finds_anything_nothing_overflows_and_every_text_can_be_read(
    opened: Any, problems: list[str]
) -> None:
    opened.evaluate(OPEN_ALL)
    violations = axe.Axe().run(opened, options={"resultTypes": ["violations"]}).response["violations"]
    assert [(each["id"], each["nodes"][0]["html"]) for each in violations] == []
    assert opened.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert [(size, text) for size, text in opened.evaluate(SIZES) if size < 11] == []
    paper = opened.evaluate("getComputedStyle(document.body).backgroundColor")
    assert [fill for fill in opened.evaluate(COLOURS) if contrast(fill, paper) < 4.5] == []
    assert problems == []


def test_contrast_is_that_of_black_on_white_and_of_a_known_grey() -> None:
    assert contrast("rgb(0, 0, 0)", "rgb(255, 255, 255)") == pytest.approx(21)
    assert contrast("rgb(118, 118, 118)", "rgb(255, 255, 255)") == pytest.approx(4.54, abs=0.005)


def test_a_heading_sorts_its_table_up_and_down_and_says_so(opened: Any) -> None:
    opened.evaluate(OPEN_ALL)
    table = opened.locator("#figure04 table.sortable")
    button = table.get_by_role("button", name="AP, ours", exact=True)
    values = "rows => rows.map(row => parseFloat(row.cells[4].textContent))"
    for order in ("ascending", "descending"):
        button.click()
        assert table.locator(f"th[aria-sort={order}]").inner_text().startswith("AP, ours")
        column = table.locator("tbody tr").evaluate_all(values)
        assert column == sorted(column, reverse=order == "descending")
    assert table.locator("tfoot th").all_inner_texts() == ["mean", "overall"]


def test_a_number_of_the_matrix_opens_the_list_of_its_images(opened: Any, problems: list[str]) -> None:
    number = opened.locator("table.matrix td a").first
    target, count = number.get_attribute("href"), int(number.inner_text())
    images = opened.locator(f"{target} + ul > li")
    assert not images.first.is_visible()
    number.click()
    images.first.wait_for(state="visible", timeout=5000)
    assert images.count() == count
    assert problems == []


@pytest.mark.parametrize("opened", [(1200, "dark")], indirect=True)
def test_print_is_dark_on_light_also_where_the_screen_is_not(opened: Any) -> None:
    ink = "getComputedStyle(document.body).color"
    assert luminance(opened.evaluate(ink)) > 0.7
    opened.emulate_media(media="print", color_scheme="dark")
    assert luminance(opened.evaluate(ink)) < 0.05
    assert opened.pdf()[:4] == b"%PDF"


@pytest.fixture
def without_scripts(browser: Any, address: str) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1200, "height": 900}, java_script_enabled=False)
    tab = context.new_page()
    tab.goto(address)
    yield tab
    context.close()


def test_a_number_leads_to_its_full_value_on_the_page_without_scripts(without_scripts: Any) -> None:
    number = without_scripts.locator("dl.tiles a.n").first
    row = without_scripts.locator(f"tr[id='{(number.get_attribute('href') or '').removeprefix('#')}']")
    assert not row.is_visible()
    number.click()
    row.wait_for(state="visible", timeout=5000)
    assert row.locator("th").inner_text() == "/ours/mean_class_accuracy"
    assert f"{float(row.locator('td').first.inner_text()):.4f}" == number.inner_text()
    assert row.bounding_box()["y"] < 900


def test_print_opens_every_table_without_scripts(without_scripts: Any) -> None:
    tables = without_scripts.locator("details table")
    assert tables.count() > 25
    assert not any(table.is_visible() for table in tables.all())
    without_scripts.emulate_media(media="print")
    assert all(table.is_visible() for table in tables.all())


@pytest.mark.parametrize("opened", [(320, "light"), (400, "light"), (768, "light")], indirect=True, ids=str)
def test_no_number_and_no_option_is_broken_between_lines(opened: Any) -> None:
    opened.evaluate(OPEN_ALL)
    broken = """[...document.querySelectorAll('.n, .w')].filter(each => each.getClientRects().length > 1)
        .map(each => each.textContent)"""
    assert opened.evaluate("document.querySelectorAll('.w').length") > 5
    assert opened.evaluate(broken) == []
