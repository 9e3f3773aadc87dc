"""Values of plots on hover and by arrow keys, held to the result files that the plots show."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from replicate.figures import curves, theme
from replicate.figures.reading import readings
from replicate.report.svg_slim import slim
from replicate.storage.files import read_json
from replicate.storage.paths import package_root

MODEL = "adversarial_nets"
LEARNING = f"#run-digits-{MODEL}-0-2-learning svg"
OPEN = "document.querySelectorAll('details').forEach(one => { one.open = true; })"
#: Middle of the n-th part of a plot's class in the window.
CLIP = (
    "e => { const box = e.getBoundingClientRect(); return [box.x, box.y, box.width, box.height]; }"
)


def numbers_in(hint: str) -> list[float]:
    """The numbers at the ends of the parts of a hint, "seed 0: epoch 60, log-likelihood 12.3"."""
    plain = hint.replace("\N{MINUS SIGN}", "-").replace("\N{NARROW NO-BREAK SPACE}", "")
    return [float(part) for part in re.findall(r" (-?\d[\d.]*)(?=,|$)", plain)]


@pytest.fixture
def plot(opened: Callable[..., Any]) -> Any:
    """The learning curves of a run on the open page."""
    page = opened(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    page.evaluate(OPEN)
    return page.locator(LEARNING)


def test_arrow_keys_tell_every_point_of_a_learning_curve(plot: Any, results: Path) -> None:
    training = read_json(results / f"train/digits/{MODEL}/0-2.json")
    curve = training["curve"]
    hint = plot.page.locator("output.hint")
    plot.focus()
    plot.page.keyboard.press("ArrowRight")
    plot.page.keyboard.press("ArrowLeft")
    spread = max(map(max, curve["log_likelihood"])) - min(map(min, curve["log_likelihood"]))
    for epoch, values in zip(curve["epoch"], curve["log_likelihood"], strict=True):
        told = hint.inner_text()
        assert told.startswith("seed 0: epoch ")
        assert "validation log-likelihood (nats per image) " in told
        shown_epoch, shown_value = numbers_in(told)
        assert shown_epoch == pytest.approx(epoch, abs=0.01 * curve["epoch"][-1])
        assert shown_value == pytest.approx(values[0], abs=0.001 * spread)
        plot.page.keyboard.press("ArrowRight")
    plot.page.keyboard.press("Escape")
    assert not hint.is_visible()


def test_down_leads_to_the_next_line(plot: Any) -> None:
    plot.focus()
    hint = plot.page.locator("output.hint")
    first = hint.inner_text() or (plot.page.keyboard.press("ArrowLeft"), hint.inner_text())[1]
    plot.page.keyboard.press("ArrowDown")
    assert hint.is_visible()
    assert hint.inner_text() != first


def test_the_pointer_reads_the_nearest_point(plot: Any, results: Path) -> None:
    """Swept over the whole plot, it reads nothing that the result does not hold."""
    training = read_json(results / f"train/digits/{MODEL}/0-2.json")
    curve = training["curve"]
    held = [value for row in curve["log_likelihood"] for value in row]
    spread = max(held) - min(held)
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    hint = plot.page.locator("output.hint")
    read = 0
    for across in range(1, 12):
        for down in range(1, 8):
            plot.page.mouse.move(
                box["x"] + box["width"] * across / 12, box["y"] + box["height"] * down / 12
            )
            if not hint.is_visible():
                continue
            told = hint.inner_text()
            if "validation" not in told:
                continue
            value = numbers_in(told)[-1]
            assert min(abs(value - one) for one in held) < 0.001 * spread
            read += 1
    assert read > 5
    plot.page.mouse.move(1, 1)
    assert not hint.is_visible()


def test_rows_and_marks_of_the_dot_plot_are_named(
    opened: Callable[..., Any], results: Path
) -> None:
    page = opened(reduced_motion="reduce")
    page.evaluate(OPEN)
    plot = page.locator("figure.wide svg.plot[data-axes]").first
    table = read_json(results / "table1.json")
    held = set()
    for row in table["rows"]:
        for cell in row["cells"].values():
            if cell["measured"] is not None:
                held.update(round(one["log_likelihood"]) for one in cell["measured"]["per_seed"])
                held.add(round(cell["measured"]["mean"]))
            if cell["published"] is not None:
                value, error = (
                    cell["published"][key] for key in ("log_likelihood", "standard_error")
                )
                held.update((round(value - error), round(value), round(value + error)))
    titles = {row["title"] for row in table["rows"]}
    plot.focus()
    names = set()
    for _ in range(40):
        page.keyboard.press("ArrowRight")
        told = page.locator("output.hint").inner_text()
        name, _, rest = told.partition(": test log-likelihood (nats per image) ")
        value, _, title = rest.partition(", ")
        names.add(name)
        assert title in titles
        assert any(abs(numbers_in(f" {value}")[0] - one) <= 1 for one in held)
    assert {"one seed", "mean of seeds", "published ± SE"} <= names


def test_what_rounds_to_zero_has_no_sign(browser: Any) -> None:
    """A point a hair below zero on a linear axis, in a plot of one line."""
    with theme.canvas() as (figure, [axes]):
        axes.plot([0, 1, 2], [-1, -1e-9, 1])
        axes.set_xlabel("x")
        axes.set_ylabel("y")
        drawn = slim(theme.checked_svg(theme.svg(figure, "zero", "A line", "Through zero.")))
    assets = package_root() / "report/assets"
    page = browser.new_page()
    page.set_content(drawn[drawn.index("<svg") :])
    page.locator("svg").evaluate("svg => svg.classList.add('plot')")
    for name in ("hint.js", "values.js"):
        page.add_script_tag(content=(assets / name).read_text(encoding="utf-8"))
    page.keyboard.press("Tab")
    told = []
    for _ in range(3):
        told.append(page.locator("output.hint").inner_text())
        page.keyboard.press("ArrowRight")
    page.close()
    assert "x 1, y 0" in told
    assert not any(re.search("\N{MINUS SIGN}0(?![.\\d])", one) for one in told)


def test_a_plot_is_whole_without_javascript(opened: Callable[..., Any]) -> None:
    page = opened(java_script_enabled=False)
    assert page.locator("svg.plot[tabindex]").count() == 0
    assert page.locator("output.hint").count() == 0


def test_ticks_that_name_other_values_than_their_own_have_no_reading() -> None:
    """Panels side by side on one pair of axes: their x is no x of the data."""
    with theme.canvas() as (figure, [axes]):
        axes.plot([0, 1, 2], [1, 2, 3])
        axes.set_xticks([0, 1, 2], ["0", "0", "0"])
        theme.svg(figure, "x", "Panels", "Three panels.")
        assert readings(figure, {}, theme.INK) is None


def test_a_scale_without_numbers_names_its_things() -> None:
    rows: list[curves.DotRow] = [
        {"title": 'It\'s "G"', "published": None, "failed": 0, "seeds": [(0, 1.0), (1, 2.0)]}
    ]
    content = curves.dots(rows, "Dots", "x").decode()
    assert "data-axes" in content
    assert "It\"s \\'G\\'" in content.replace("&quot;", '"')
