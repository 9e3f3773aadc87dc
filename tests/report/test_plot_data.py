"""What stands behind the plots: tables below the small ones, downloads of the others, and the same
picture, smaller.
"""

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lxml import etree
from PIL import Image

from replicate.errors import ReplicateError
from replicate.figures import curves
from replicate.figures.theme import checked_svg
from replicate.params import Params
from replicate.records.sourced import Traced, value_of
from replicate.report.page import TABLE_NUMBERS, page
from replicate.report.statement_cards import deciding_check
from replicate.report.svg_paths import shorter_path
from replicate.report.svg_slim import slim
from replicate.storage.files import read_json, write_json
from replicate.storage.paths import package_root
from replicate.verdicts.published import read_published
from tests.report.fabricated import jobs_of
from tests.report.page_helpers import parsed, unpacked, words

MODEL = "adversarial_nets"
SVG = "{http://www.w3.org/2000/svg}"
STATEMENTS = package_root() / "results/reference/statements"
#: Every letter of a plot with the left, the top and the width of its box in the window.
LETTERS = """() => {
  const letters = [];
  for (const text of document.querySelectorAll("svg text")) {
    const walk = document.createTreeWalker(text, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
      [...walk.currentNode.data].forEach((letter, k) => {
        if (!letter.trim()) return;
        const range = document.createRange();
        range.setStart(walk.currentNode, k);
        range.setEnd(walk.currentNode, k + 1);
        const box = range.getBoundingClientRect();
        letters.push([letter, box.x, box.y, box.width]);
      });
    }
  }
  return letters;
}"""
STYLE = package_root() / "report/assets/style.css"


def table(document: Any, region: str) -> list[list[str]]:
    [found] = document.xpath(f"//div[@aria-label='{region}']/table")
    return [[words(cell) for cell in row] for row in found.xpath("./tbody/tr")]


def shown(value: float, decimals: int) -> str:
    return f"{value:,.{decimals}f}".replace("-", "\N{MINUS SIGN}").replace(",", " ")


def test_every_plot_has_a_title_and_a_description_of_its_own(full_html: str) -> None:
    plots = parsed(full_html).xpath("//*[local-name()='svg'][@class='plot']")
    assert len(plots) > 8
    told = []
    for plot in plots:
        names = plot.get("aria-labelledby").split()
        parts = [plot.xpath(f"./*[@id='{name}']")[0] for name in names]
        assert [part.tag.rpartition("}")[2] for part in parts] == ["title", "desc"]
        assert all(words(part) for part in parts)
        told.append(words(parts[0]))
    assert len(told) == len(set(told))


def test_the_numbers_of_the_learning_curves(html: str, results: Path) -> None:
    training = read_json(results / f"train/mnist/{MODEL}/0-2.json")
    curve = training["curve"]
    rows = table(parsed(html), "Learning of Adversarial nets on MNIST, block 0-2")
    looks, failed = len(curve["epoch"]), "\N{EN DASH}"
    assert [row[0] for row in rows[1 : looks + 1]] == [str(epoch) for epoch in curve["epoch"]]
    for row, values in zip(rows[1 : looks + 1], curve["log_likelihood"], strict=True):
        assert row[1:] == [failed if value is None else shown(value, 2) for value in values]
    assert [row[0] for row in rows if len(row) == 1] == [
        "Validation log-likelihood", "Loss: discriminator", "Loss: generator"
    ]  # fmt: skip
    assert rows[-1][1:] == [shown(value, 3) for value in curve["losses"]["generator"][-1]]
    assert len(rows) == 3 * (looks + 1)


def test_the_numbers_of_the_bandwidth_curves(html: str, results: Path) -> None:
    """Every draw and fold has its line, a failed seed says so."""
    curve = read_json(results / f"bandwidth/tfd/{MODEL}/0-2.json")["curve"]
    rows = table(parsed(html), "Bandwidth of Adversarial nets on Toronto Face Database, block 0-2")
    assert rows[13] == ["1", "first", "fourth", *(shown(value, 1) for value in curve[1][0][3])]
    assert len(rows) == 3 * 2 * 5
    assert table(parsed(html), "Bandwidth of Adversarial nets on MNIST, block 0-2")[-1] == [
        "2",
        "failed",
    ]


def test_the_numbers_of_the_dot_plot(html: str, results: Path) -> None:
    measured = read_json(results / "table1.json")["rows"][3]["cells"]["mnist"]["measured"]
    rows = table(parsed(html), "Every seed on MNIST, results/table1.json")
    assert rows[3] == [
        "Adversarial nets", "225 ± 2", shown(measured["mean"], 2),
        " ".join(f"seed {one['seed']} {shown(one['log_likelihood'], 2)}" for one in measured["per_seed"]),
    ]  # fmt: skip


def test_a_plot_of_many_numbers_has_a_download_instead(params: Params, results: Path) -> None:
    file = results / f"bandwidth/tfd/{MODEL}/0-2.json"
    content = read_json(file)
    content["curve"] = [[draw * 3 for draw in seed] for seed in content["curve"]]
    assert 3 * 2 * 15 * len(content["sigmas"]) > TABLE_NUMBERS
    write_json(file, content)
    document = parsed(page(jobs_of(params), results / "table1.json", results))
    assert not document.xpath(
        "//div[contains(@aria-label, 'Bandwidth of Adversarial nets on Toronto')]"
    )
    assert unpacked(document.get_element_by_id(f"data-bandwidth-tfd-{MODEL}-0-2")) == content


@pytest.mark.slow
@pytest.mark.parametrize(
    "hostile", ["</script><script>alert(1)</script>", "<!--<script>", "]]>", "\u2028"]
)
def test_data_in_the_page_cannot_leave_its_element(
    params: Params, results: Path, hostile: str
) -> None:
    file = results / "experiments/theory.json"
    content = read_json(file) | {"series": {hostile: [1e-300, -0.1, hostile]}}
    write_json(file, content)
    text = page(jobs_of(params), results / "table1.json", results)
    element = parsed(text).get_element_by_id("data-experiments-theory")
    assert unpacked(element) == content
    assert "<" not in element.text


def test_data_that_is_not_finite_is_refused(params: Params, results: Path) -> None:
    file = results / "experiments/theory.json"
    file.write_text(file.read_text().replace('"series": {}', '"series": {"x": NaN}'))
    with pytest.raises(ReplicateError, match="not finite"):
        page(jobs_of(params), results / "table1.json", results)


def test_a_download_is_the_result_file(
    opened: Callable[..., Any], results: Path, tmp_path: Path
) -> None:
    opened_page = opened(accept_downloads=True)
    button = opened_page.get_by_role("button", name="Download the data").first
    button.focus()
    with opened_page.expect_download() as started:
        opened_page.keyboard.press("Enter")
    assert started.value.suggested_filename == "theory.json"
    started.value.save_as(tmp_path / "theory.json")
    assert json.loads((tmp_path / "theory.json").read_bytes()) == read_json(
        results / "experiments/theory.json"
    )


def test_without_javascript_the_path_stands_there_and_no_button(opened: Callable[..., Any]) -> None:
    still = opened(java_script_enabled=False)
    source = still.locator("#statement-P1 .source")
    assert source.is_visible()
    assert source.inner_text() == "Data: results/experiments/theory.json"
    assert still.locator("button:visible").count() == 0


def spans(svg: str, css: str) -> list[tuple[float, float]]:
    """Left and right end, on the scale of the axis, of every filled shape of a class, from a file
    of `theme.svg`.
    """
    root = etree.fromstring(svg)
    labels = [
        e
        for e in root.iter(f"{SVG}text")
        if e.get("text-anchor") == "middle" and re.fullmatch(r"[\d.,]+", e.text)
    ]
    marks = [(float(e.get("x")), float(e.text.replace(",", ""))) for e in labels]
    (x0, v0), (x1, v1) = marks[0], marks[-1]
    found = []
    for path in root.iter(f"{SVG}path"):
        if path.get("class") == css and path.get("clip-path"):
            at = [float(x) for x in re.findall(r"[ML] (-?[\d.]+)", path.get("d"))]
            found.append(tuple(v0 + (x - x0) * (v1 - v0) / (x1 - x0) for x in (min(at), max(at))))
    return found


@pytest.mark.parametrize("dataset", ["mnist", "tfd"])
def test_bands_of_the_dot_plot_reach_as_far_as_the_published_file_says(dataset: str) -> None:
    published = read_published(package_root() / "results/published/table1.csv")
    rows = [
        {
            "title": row["title"],
            "published": row,
            "failed": 0,
            "seeds": [(0, row["log_likelihood"] + 5)],
        }
        for (_, name), row in published.items()
        if name == dataset
    ]
    drawn = spans(checked_svg(curves.dots(rows, "x", "x")), "fill-published")
    limits = [
        (r["log_likelihood"] - r["standard_error"], r["log_likelihood"] + r["standard_error"])
        for r in published.values()
        if r in [row["published"] for row in rows]
    ]
    assert len(drawn) == len(limits) == 4
    tolerance = (
        0.1 if dataset == "mnist" else 1.0
    )  # a hundredth of a point, and the place of a label
    for band, limit in zip(drawn, limits, strict=True):
        assert band == pytest.approx(limit, abs=tolerance)


@pytest.mark.parametrize(
    ("long", "short"),
    [
        ("M 0 1 L 2 3 L 4 5.5 z", "m0 1 2 2 2 2.5z"),
        ("M 0 0 C 1 1 2 2 3 3 C 4 4 5 5 6 6 L 7 7 L 8 8", "m0 0c1 1 2 2 3 3 1 1 2 2 3 3l1 1 1 1"),
        ("M 0 0 L 1 1 M 2 2 L 3 3", "m0 0 1 1m1 1 1 1"),
        ("M 0 0 Q 1 1 2 2 Q 3 3 4 4", "m0 0q1 1 2 2 1 1 2 2"),
        ("M 107 196.5 L 108 196.5 M 112 196.5 L 113 196.5", "m107 196.5h1m4 0h1"),
        ("M 2 2 L 2 5 L 3 4.25 z M 0.1 0.2 L 0 0", "m2 2v3l1-.75zm-1.9-1.8-.1-.2"),
        ("M 0.3 -0.1 L 0.3 -0.1", "m.3-.1h0"),
    ],
)
def test_paths_tell_each_point_from_the_last(long: str, short: str) -> None:
    assert shorter_path(long) == short


def pictures_of(browser: Any, whole: str) -> list[Any]:
    """A plot and its smaller form as Chromium shows them in light colours, (2, 700, 700, 3)."""
    opened = browser.new_page(viewport={"width": 700, "height": 700}, color_scheme="light")
    pictures = []
    for svg in (whole, slim(whole)):
        opened.set_content(f"<style>{STYLE.read_text()}</style>{svg}")
        picture = Image.open(io.BytesIO(opened.screenshot())).convert("RGB")
        pictures.append(np.asarray(picture, dtype=int))
    opened.close()
    return pictures


def soft(picture: Any) -> Any:
    """The mean of each pixel and its neighbours, which is where a line lies and how dark it is."""
    rows = picture[:-2] + picture[1:-1] + picture[2:]
    return (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) / 9


def test_the_smaller_plot_looks_the_same(browser: Any, kept_results: Path) -> None:
    """For each kind of plot: four pixels in ten thousand may differ visibly, where a line lies by
    less than half a pixel beside its place; a line that is missing would be 76 apart.
    """
    files = [
        kept_results / f"panels/mnist/{MODEL}/0-2/{name}.svg" for name in ("learning", "bandwidth")
    ]
    files.append(kept_results / "figures/theory/curve.svg")
    # Numbers with powers, and short ticks between the long ones.
    files.append(STATEMENTS / "version-4-seeds-0-9/figures/estimator/bias.svg")
    for file in files:
        whole = checked_svg(file.read_bytes())
        assert len(slim(whole)) < 0.45 * len(whole)
        one, other = pictures_of(browser, whole)
        apart = np.abs(one - other).max(axis=2)
        assert np.count_nonzero(apart > 8) < 4 * apart.size / 10_000, file.name
        assert np.abs(soft(one) - soft(other)).max() <= 38, file.name


def test_words_of_the_smaller_plot_stand_where_they_stood(browser: Any) -> None:
    """Each letter of every number and name, in a plot with powers of ten."""
    whole = checked_svg(
        (STATEMENTS / "version-4-seeds-0-9/figures/estimator/bias.svg").read_bytes()
    )
    opened = browser.new_page(viewport={"width": 700, "height": 700})
    places = []
    for svg in (whole, slim(whole)):
        opened.set_content(f"<style>{STYLE.read_text()}</style>{svg}")
        # Sorted by places of whole pixels: the axes may be told in another order.
        letters = opened.evaluate(LETTERS)
        places.append(sorted(letters, key=lambda one: (one[0], round(one[1]), round(one[2]))))
    opened.close()
    assert len(places[0]) > 130
    for one, other in zip(*places, strict=True):
        assert one[0] == other[0]
        assert one[1:] == pytest.approx(other[1:], abs=0.02)


@pytest.mark.parametrize(
    "name",
    ["seeds-0-9/figures/degenerate/distances", "synchrony-seeds-0-15/figures/synchrony/steps"],
)
def test_marks_in_one_path_lie_where_they_lay(browser: Any, name: str) -> None:
    """Dots, squares, triangles and diamonds: ink is where ink was, and nowhere else."""
    file = package_root() / f"results/reference/statements/{name}.svg"
    whole = checked_svg(file.read_bytes())
    smaller = slim(whole)
    assert whole.count("<use") > 200
    assert smaller.count("<use") < 0.2 * whole.count("<use")
    opened = browser.new_page(viewport={"width": 700, "height": 700}, color_scheme="light")
    pictures = []
    for svg in (whole, smaller):
        opened.set_content(f"<style>{STYLE.read_text()}</style>{svg}")
        picture = Image.open(io.BytesIO(opened.screenshot())).convert("L")
        pictures.append(np.asarray(picture, dtype=int))
    opened.close()
    for one, other in (pictures, pictures[::-1]):
        paper = one.max()
        assert not np.any((one == paper) & (other < paper - 40)), "clear ink on blank paper"


def check_of(
    state: str, side: str, threshold: float, interval: list[float] | None
) -> dict[str, Any]:
    return {"state": state, "side": side, "threshold": threshold, "ci90": interval}


@pytest.mark.parametrize(
    ("checks", "position"),
    [
        ([], None),
        # What does not hold decides, however far the others are.
        ([check_of("replicated", "above", 0, [1, 2]), check_of("inconclusive", "above", 0, [-1, 9])], 1),
        # One on the other side denies the statement, and not the undecided one before it.
        (
            [
                check_of("replicated", "above", 0, [1, 2]),
                check_of("inconclusive", "above", 0, [-1, 9]),
                check_of("not replicated", "above", 0, [-9, -8]),
            ],
            2,
        ),
        # Widths from the threshold to the near end: 1 / 1, 3 / 6, and 2 / 1 on the other side.
        (
            [
                check_of("replicated", "above", 0, [1, 2]),
                check_of("replicated", "above", 0, [3, 9]),
                check_of("replicated", "below", 5, [2, 3]),
            ],
            1,
        ),
        # Exact numbers come after those that chance is in; of exact ones alone, the first.
        ([check_of("replicated", "below", 1, None), check_of("replicated", "below", 9, [0, 1])], 1),
        ([check_of("replicated", "below", 1, None), check_of("replicated", "below", 9, None)], 0),
    ],
)  # fmt: skip
def test_the_check_that_a_verdict_hangs_on(
    checks: list[dict[str, Any]], position: int | None
) -> None:
    sourced = Traced("results/statements.json", "", {"checks": checks})
    decided = deciding_check(sourced["checks"])
    if position is None:
        assert decided is None
    else:
        assert value_of(decided) == checks[position]


@pytest.mark.parametrize(
    ("states", "position"),
    [
        (["not replicated", "inconclusive", "replicated"], 2),
        (["not replicated", "inconclusive", "not replicated"], 1),
        (["not replicated", "not replicated"], 0),
        ([None, "not replicated"], 0),
    ],
)
def test_where_one_check_is_enough_the_one_that_holds_is_named(
    states: list[str | None], position: int
) -> None:
    checks = [{"state": state, "number": number} for number, state in enumerate(states)]
    sourced = Traced("results/statements.json", "", {"checks": checks})
    decided = deciding_check(sourced["checks"], one_is_enough=True)
    assert decided is not None
    assert value_of(decided["number"]) == position
