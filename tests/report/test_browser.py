"""The page in a browser, offline: no request, no error, readable without JavaScript, narrow, light
and dark.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def test_the_tables_numbers_equal_the_jsons(opened: Callable[..., Any], results: Path) -> None:
    page = opened()
    shown = page.eval_on_selector_all(
        "#table1 data", "all => all.map(e => [e.title, e.value, e.textContent])"
    )
    table = json.loads((results / "table1.json").read_text())
    assert len(shown) > 20
    for source, value, _ in shown:
        place: Any = table
        for step in source.split("#/")[1].split("/"):
            place = place[int(step)] if isinstance(place, list) else place[step]
        assert source.startswith("results/table1.json")
        assert float(value) == place
    row = page.locator("table.paper tbody tr").nth(3)
    cell = table["rows"][3]["cells"]["mnist"]
    assert row.locator("th").inner_text() == "Adversarial nets"
    assert (
        row.locator("td").nth(1).locator(".ours").inner_text() == f"{cell['measured']['mean']:.1f}"
    )
    assert row.locator("td").nth(2).locator(".verdict").inner_text() == cell["verdict"]["state"]


def test_readable_without_javascript(opened: Callable[..., Any]) -> None:
    page = opened(java_script_enabled=False)
    assert page.get_by_role("heading", level=2).count() >= 6
    assert page.locator("table.paper").is_visible()
    # A fold opens without JavaScript.
    page.locator("#runs summary").first.click()
    assert page.locator("img.pixels").first.is_visible()
    assert not page.locator("#theme").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_narrow_pages_scroll_only_inside_tables(opened: Callable[..., Any], scheme: str) -> None:
    page = opened(viewport={"width": 320, "height": 800}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == 320


def test_light_dark_and_the_switch(opened: Callable[..., Any]) -> None:
    def brightness(page: Any, selector: str, name: str) -> float:
        read = "([s, n]) => getComputedStyle(document.querySelector(s))[n].match(/\\d+/g).slice(0, 3).map(Number)"
        return float(sum(page.evaluate(read, [selector, name])))

    for scheme, dark in (("light", False), ("dark", True)):
        page = opened(color_scheme=scheme)
        for _ in range(2):
            paper, ink = (
                brightness(page, "body", "backgroundColor"),
                brightness(page, "body", "color"),
            )
            axes = brightness(page, "svg.plot text", "fill")
            assert (
                (paper < 120 and ink > 600 and axes > 600)
                if dark
                else (paper > 700 and ink < 120 and axes < 120)
            )
            page.locator("#theme").click()
            dark = not dark


def test_keyboard_reaches_the_skip_link_first(opened: Callable[..., Any]) -> None:
    page = opened()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to Table 1"


def test_printing_opens_every_fold(opened: Callable[..., Any]) -> None:
    page = opened()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details:not([open])").count() > 0
    assert len(page.pdf(format="A4")) > 10_000


def test_a_press_on_a_number_shows_its_source(opened: Callable[..., Any]) -> None:
    """Also in a long table, whose file is named once; a press elsewhere takes it away."""
    page = opened()
    page.locator("#runs summary").first.click()
    number = page.locator("#runs [data-source] data:visible").first
    value, source = number.get_attribute("value"), number.get_attribute("title")
    assert source.startswith("results/")
    number.click()
    assert page.locator("output.origin").inner_text() == f"{value} from {source}"
    page.locator("h1").click()
    assert not page.locator("output.origin").is_visible()


def test_narrow_tables_show_more_than_names_and_whole_captions(opened: Callable[..., Any]) -> None:
    page = opened(viewport={"width": 320, "height": 800})
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    tables = "[...document.querySelectorAll('.scroll > table')]"
    # Most tables have a card for each row, whose name stands above it.
    wide = "t => !t.matches('.standing, .as-cards') && t.querySelector('tbody th[scope=row]')?.offsetWidth > 0.6 * t.parentElement.clientWidth"
    assert page.evaluate(f"{tables}.filter({wide}).map(t => t.parentElement.ariaLabel)") == []
    cut = "t => t.caption.getBoundingClientRect().right > innerWidth"
    assert page.evaluate(f"{tables}.filter({cut}).map(t => t.parentElement.ariaLabel)") == []


def test_a_run_leads_to_its_commands(opened: Callable[..., Any]) -> None:
    page = opened()
    page.locator("#runs summary").first.click()
    page.locator("#runs .commands a", has_text="train").first.click()
    target = page.evaluate("location.hash.slice(1)")
    assert target.startswith("made-train-")
    assert page.locator(f"[id='{target}'] details[open]").is_visible()


def test_narrow_windows_have_cards_instead_of_tables_that_scroll(
    opened: Callable[..., Any],
) -> None:
    """But for the seeds of a run and the numbers behind a plot; each cell carries its heading."""
    page = opened(viewport={"width": 360, "height": 800})
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    scrolls = "e => e.scrollWidth > e.clientWidth + 1"
    names = page.evaluate(
        f"[...document.querySelectorAll('.scroll')].filter({scrolls}).map(e => e.ariaLabel)"
    )
    kinds = ("Seeds of ", "Learning of ", "Bandwidth of ", "Every seed on ")
    assert [name for name in names if not name.startswith(kinds)] == []
    cell = page.locator("[aria-label='Measured on Digits'] tbody tr").first.locator("td").first
    assert cell.get_attribute("data-label") == "Ours mean over seeds"
    label = "e => getComputedStyle(e, '::before').content"
    assert cell.evaluate(label) == '"Ours mean over seeds: "'
    group = page.locator("table.paper tbody tr").first.locator("td").nth(3)
    assert group.get_attribute("data-label").startswith("Toronto Face Database, Published")
    page.set_viewport_size({"width": 1280, "height": 800})
    assert cell.evaluate(label) == "none"
