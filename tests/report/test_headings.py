"""What stands under the headings of the page, computed again from the log-likelihoods of images.

Nothing of `replicate.verdicts` computes the expected values: they are numpy's and scipy's, in
float64. A column that shows another quantity than its heading names is found.
"""

import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from replicate.models import REGISTRY as MODELS
from replicate.params import Params
from replicate.report.check_words import in_words
from replicate.report.page import page
from replicate.storage.files import read_json, write_json
from replicate.storage.paths import package_root
from replicate.verdicts.protocol import read_protocol
from replicate.verdicts.published import read_published
from replicate.verdicts.table1 import build_table
from tests.framed import result
from tests.report.fabricated import MODEL, jobs_of
from tests.report.page_helpers import Element, parsed, words

ROOT = package_root()
#: (data set, model) -> about which the log-likelihoods of its images lie.
LEVELS = {("mnist", MODEL): 221.0, ("mnist", "dbn"): 131.0, ("digits", MODEL): 48.0}
SEEDS, DRAWS, IMAGES = 3, 2, 50
#: Of a bandwidth, as headings write it.
SIGMA = "\N{GREEK SMALL LETTER SIGMA}"
#: Nats that the fine bandwidth adds to every image.
FINE_GAIN = 4.25
Images = NDArray[np.float64]


def images_of(level: float) -> Images:
    """Log-likelihoods of single test images, (seeds, draws, images)."""
    noise = np.random.default_rng(int(level))
    seeds = noise.normal(0, 6, (SEEDS, 1, 1))
    draws = noise.normal(0, 1, (SEEDS, DRAWS, 1))
    return level + seeds + draws + noise.normal(0, 40, (SEEDS, DRAWS, IMAGES))


def evaluation(base: dict[str, Any], images: Images) -> dict[str, Any]:
    """An evaluation of these images, in the form of another one."""
    form = next(seed for seed in base["per_seed"] if not seed["failed"])
    per_seed = []
    for seed, of_seed in enumerate(images):
        draws = []
        for draw_form, values in zip(form["draws"], of_seed, strict=True):
            own = {
                "log_likelihood": float(values.mean()),
                "standard_error": float(values.std() / math.sqrt(IMAGES)),
            }
            fine = {"fine_log_likelihood": float(values.mean() + FINE_GAIN)}
            draws.append({**draw_form, **own, "folds": [{**draw_form["folds"][0], **own, **fine}]})
        mean = float(of_seed.mean())
        per_seed.append({"seed": seed, "failed": None, "log_likelihood": mean, "draws": draws})
    return {**base, "per_seed": per_seed}


@pytest.fixture(scope="module")
def images() -> dict[tuple[str, str], Images]:
    return {cell: images_of(level) for cell, level in LEVELS.items()}


@pytest.fixture(scope="module")
def results(
    kept_results: Path,
    images: Mapping[tuple[str, str], Images],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The results of a run whose evaluations and table are made of these images."""
    folder = Path(shutil.copytree(kept_results, tmp_path_factory.mktemp("headings") / "results"))
    blocks: dict[tuple[str, str], Any] = {}
    for (dataset, model), values in images.items():
        path = folder / f"evaluation/{dataset}/{MODEL}/0-2.json"
        content = evaluation(read_json(path), values)
        blocks[model, dataset] = [(f"results/evaluation/{dataset}/{model}/0-2.json", content)]
        if model == MODEL:
            write_json(path, content)
    protocol = read_protocol(ROOT / "protocol.yaml")
    published = read_published(ROOT / "results/published/table1.csv")
    table = build_table("mnist", list(blocks), blocks, published, [], protocol)
    write_json(folder / "table1.json", result("table", "", {"preset": "mnist"}, {}, **table))
    return folder


@pytest.fixture(scope="module")
def document(params: Params, results: Path) -> Element:
    """The page."""
    return parsed(page(jobs_of(params), results / "table1.json", results))


def headings_of(table: Element) -> list[str]:
    return [words(heading) for heading in table.xpath("./thead/tr/th")]


def cell_under(document: Element, region: str, heading: str, row: str) -> list[float]:
    """The exact numbers in the row that begins with `row`, under a heading of a region's table."""
    (table,) = document.xpath(f"//div[@aria-label={region!r}]/table")
    headings = headings_of(table)
    (cells,) = (
        line.xpath("./*") for line in table.xpath("./tbody/tr") if words(line[0]).startswith(row)
    )
    assert len(cells) == len(headings)
    cell = cells[headings.index(heading)]
    return [float(value) for value in cell.xpath(".//data/@value")]


def seed_means(images: Images) -> NDArray[np.float64]:
    return images.mean(axis=(1, 2))


def student(values: NDArray[np.float64], level: float) -> list[float]:
    """Student's t interval of a mean."""
    interval = stats.ttest_1samp(values, 0).confidence_interval(level)
    return [interval.low, interval.high]


def test_means_spreads_and_errors_stand_under_their_headings(
    document: Element, images: Mapping[tuple[str, str], Images]
) -> None:
    values = images["digits", MODEL]
    title = MODELS[MODEL][0]
    expected = {
        "Ours mean over seeds": seed_means(values).mean(),
        "SD over seeds": stats.tstd(seed_means(values)),
        "SE over test images": (values.std(axis=2) / math.sqrt(IMAGES)).mean(),
        f"Ours at the fine {SIGMA}": values.mean() + FINE_GAIN,
    }
    for heading, value in expected.items():
        shown = cell_under(document, "Measured on Digits", heading, title)
        assert shown == [pytest.approx(value, rel=1e-12)], heading


def test_table_1_says_the_standard_deviation_over_seeds(
    document: Element, images: Mapping[tuple[str, str], Images]
) -> None:
    for model in (MODEL, "dbn"):
        (spread,) = document.xpath(
            "//div[@aria-label='Table 1, published and measured']"
            f"//tr[th='{MODELS[model][0]}']//span[@class='unit']"
            "[starts-with(., 'SD') and contains(., 'over seeds')]/data/@value"
        )
        values = seed_means(images["mnist", model])
        assert float(spread) == pytest.approx(stats.tstd(values), rel=1e-12)


def test_plain_and_simultaneous_intervals_of_the_means(
    document: Element, images: Mapping[tuple[str, str], Images]
) -> None:
    """Two models on MNIST: simultaneous is 95 % for both, by Bonferroni 97.5 % for each."""
    for model in (MODEL, "dbn"):
        values = seed_means(images["mnist", model])
        title = MODELS[model][0]
        for heading, level in (("Interval plain", 0.95), ("Interval simultaneous", 0.975)):
            shown = cell_under(document, "Intervals and variances on MNIST", heading, title)
            assert shown == pytest.approx(student(values, level), rel=1e-9), heading


def published_difference(images: Images, value: float, error: float, level: float) -> list[float]:
    """Welch's interval of the mean less a published value whose error is known."""
    values = seed_means(images)
    squared = stats.sem(values) ** 2
    total = squared + error**2
    degrees = total**2 / (squared**2 / (len(values) - 1))
    frozen = stats.t(degrees, values.mean() - value, math.sqrt(total))
    return [float(bound) for bound in frozen.interval(level)]


def test_plain_and_simultaneous_intervals_of_the_difference(
    document: Element, images: Mapping[tuple[str, str], Images]
) -> None:
    (caption,) = (
        each
        for each in document.xpath("//caption")
        if words(each).startswith("Ours minus the published value on MNIST")
    )
    region = caption.getparent().getparent().get("aria-label")
    for model, published in ((MODEL, (225.0, 2.0)), ("dbn", (138.0, 2.0))):
        for level in (90, 95):
            tail = (1 - level / 100) / 2  # of the two claims
            heading = f"{level} % interval plain, simultaneous"
            shown = cell_under(document, region, heading, MODELS[model][0])
            values = images["mnist", model]
            plain = published_difference(values, *published, level / 100)
            simultaneous = published_difference(values, *published, 1 - tail)
            assert shown == pytest.approx([*plain, *simultaneous], rel=1e-9), heading


def test_the_fine_bandwidth_of_every_draw_stands_under_its_heading(
    document: Element, images: Mapping[tuple[str, str], Images]
) -> None:
    """Of digits, in the table of the job's seeds, whose last columns stand in every line."""
    section = document.get_element_by_id(f"run-digits-{MODEL}-0-2")
    heading = f"Log-likelihood at the fine {SIGMA}"
    (table,) = (each for each in section.xpath(".//table") if heading in headings_of(each))
    from_the_end = len(headings_of(table)) - headings_of(table).index(heading)
    shown = [
        float(line.xpath("./*")[-from_the_end].xpath("./data/@value")[0])
        for line in table.xpath("./tbody/tr")
    ]
    expected = images["digits", MODEL].mean(axis=2) + FINE_GAIN
    assert shown == pytest.approx(expected.ravel().tolist(), rel=1e-12)


def test_a_statements_numbers_stand_under_their_headings(document: Element, results: Path) -> None:
    experiment = read_json(results / "experiments/theory.json")["checks"]["TH1"]
    values = np.array(experiment["shortfall_of_a_trained_discriminator"])
    rule = read_protocol(ROOT / "protocol.yaml").statements["TH1"]
    row = in_words(rule.checks["shortfall_of_a_trained_discriminator"].reads)
    expected = {
        "Mean": [values.mean()],
        "SD": [stats.tstd(values)],
        "90 % interval": student(values, 0.90),
    }
    for heading, numbers in expected.items():
        shown = cell_under(document, "Checks of TH1, this run", heading, row)
        assert shown == pytest.approx(numbers, rel=1e-9), heading


def test_the_table_holds_the_same_quantities(
    results: Path, images: Mapping[tuple[str, str], Images]
) -> None:
    cells = {
        (dataset, row["model"]): row["cells"][dataset]
        for row in read_json(results / "table1.json")["rows"]
        for dataset in ("mnist", "digits")
        if dataset in row["cells"]
    }
    for cell, values in images.items():
        measured = cells[cell]["measured"]
        means = seed_means(values)
        assert measured["mean"] == pytest.approx(means.mean(), rel=1e-12)
        assert measured["sd_over_seeds"] == pytest.approx(stats.tstd(means), rel=1e-12)
        assert measured["fine_mean"] == pytest.approx(values.mean() + FINE_GAIN, rel=1e-12)
        assert measured["interval"] == pytest.approx(student(means, 0.95), rel=1e-9)
    simultaneous = cells["mnist", MODEL]["measured"]["interval_simultaneous"]
    means = seed_means(images["mnist", MODEL])
    assert simultaneous == pytest.approx(student(means, 0.975), rel=1e-9)
