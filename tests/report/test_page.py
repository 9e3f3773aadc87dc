"""The page: every number has a source and equals it, nothing hostile passes, the same results give
the same bytes.
"""

import argparse
import base64
import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from markupsafe import Markup

from replicate.__main__ import main
from replicate.errors import ReplicateError
from replicate.params import Params
from replicate.report.page import ComparedSamplers, _without_smaller_plots, page
from replicate.stages import draw
from replicate.storage.files import canonical_json, read_json, sha256_file, write_json
from replicate.storage.paths import package_root
from tests.report.conftest import Page
from tests.report.fabricated import jobs_of, samplers_of
from tests.report.page_helpers import gathered, parsed, resolve, source, without, words

MODEL = "adversarial_nets"
#: Numbers that may stand outside a result file: of the table and figures, years, the level of an
#: interval, SHA-256.
OUTSIDE = {"1", "2", "3", "2014", "2016", "90", "95", "256"}


#: What a browser runs: the other script elements are data.
SCRIPTS = "//script[not(@type='application/json')]"


def edit(path: Path, change: Any) -> None:
    content = read_json(path)
    change(content)
    write_json(path, content)


@pytest.fixture(
    params=[pytest.param("alone", marks=pytest.mark.slow), "beside another run"],
)
def walked(request: pytest.FixtureRequest, html: str, results: Path, compared: Page) -> Page:
    """A page whose every word is looked at, and its results."""
    return (html, results) if request.param == "alone" else compared


def test_every_number_resolves_to_the_value_shown(walked: Page) -> None:
    html, results = walked
    document = parsed(html)
    found = document.xpath("//data")
    assert len(found) > 100
    for element in found:
        told = source(element)
        value = gathered(results, told, document) if " of " in told else resolve(results, told)
        assert element.get("value") == repr(value)
        shown = element.text.replace("\N{NARROW NO-BREAK SPACE}", "").replace("\N{MINUS SIGN}", "-")
        decimals = len(shown.partition(".")[2])
        assert float(shown) == pytest.approx(value, abs=0.5000001 * 10**-decimals)


def test_words_and_quotes_of_result_files_resolve_too(walked: Page) -> None:
    html, results = walked
    page = parsed(html)
    texts, quotes = page.xpath("//bdi[@class='text']"), page.xpath("//code[@class='json']")
    assert texts
    assert quotes
    for element in texts:
        assert element.text == resolve(results, source(element))
    for element in quotes:
        assert element.text == canonical_json(resolve(results, source(element))).strip()


def test_no_other_number_stands_on_the_page(walked: Page) -> None:
    rest = without(
        parsed(walked[0]), "//data", "//bdi", "//*[local-name()='svg']", "//code", "//script", "//style",
        "//cite[@class='place']",
        "//section[@id='differences']", "//section[@id='costs']",
    )  # fmt: skip
    text = re.sub(r"\bL2\b", "", words(rest))
    assert set(re.findall(r"\d[\d.,]*\d|\d", text)) <= OUTSIDE


def test_table_1_shows_the_paper_beside_ours(html: str, results: Path) -> None:
    rows = parsed(html).xpath("//table[@class='paper']/tbody/tr")
    assert [words(row.find("th")) for row in rows] == [
        "DBN",
        "Stacked CAE",
        "Deep GSN",
        "Adversarial nets",
    ]
    gan = [words(cell) for cell in rows[3].findall("td")]
    assert gan[0] == "225 ± 2"
    cell = next(row for row in read_json(results / "table1.json")["rows"] if row["model"] == MODEL)[
        "cells"
    ]["mnist"]
    assert gan[1].startswith(f"{cell['measured']['mean']:.1f} SD")
    assert "over seeds" in gan[1]
    assert "over test images" in gan[1]
    assert gan[2].startswith(cell["verdict"]["state"])
    assert cell["verdict"]["reason"] in gan[2]
    assert "SE 26.2 over folds" in gan[4]  # 26.25, rounded to even
    dbn = [words(cell) for cell in rows[0].findall("td")]
    assert dbn[5].startswith("not attempted")


def test_an_error_over_the_test_images_of_one_fold_is_called_so(html: str) -> None:
    """Of five folds it is no error of the mean over folds, which is smaller."""
    over = {}
    for title in ("MNIST", "Toronto Face Database"):
        (table,) = parsed(html).xpath(
            f"//div[@aria-label='Intervals and variances on {title}']/table"
        )
        headings = [words(heading) for heading in table.xpath("./thead/tr/th")]
        (over[title],) = [text for text in headings if "over test images" in text]
    assert over["MNIST"] == "SE over test images"
    assert over["Toronto Face Database"] == "SE over test images of a fold"


def test_numbers_of_digits_stand_apart(html: str) -> None:
    paper = words(parsed(html).xpath("//table[@class='paper']")[0])
    assert "Digits" not in paper
    assert parsed(html).xpath("//h3[@id='set-digits']")


def test_a_failed_seed_is_shown_with_epoch_and_reason(html: str) -> None:
    section = parsed(html).get_element_by_id(f"run-mnist-{MODEL}-0-2")
    row = section.xpath(".//tr[@class='failed']")[0]
    assert [words(cell) for cell in row] == [
        "2",
        "\N{EN DASH}",
        "failed at epoch 200: the loss is not a number",
    ]


def test_a_sigma_at_the_edge_of_the_grid_is_warned_of(html: str) -> None:
    section = parsed(html).get_element_by_id(f"run-digits-{MODEL}-0-2")
    assert words(section).count(" is at the edge of the grid") == 1


def test_a_block_of_failed_seeds_has_no_pictures(params: Params, results: Path) -> None:
    folder = results / f"panels/mnist/{MODEL}/0-2"
    edit(
        folder / "panels.json",
        lambda c: c.update(seed=None, nearest=None, distance=None, interpolation=None),
    )
    (folder / "interpolation.png").unlink()
    section = parsed(page(jobs_of(params), results / "table1.json", results)).get_element_by_id(
        f"run-mnist-{MODEL}-0-2"
    )
    assert "Every seed of this run failed" in words(section)
    assert not section.xpath(".//img")


def test_a_model_whose_seeds_all_failed_has_no_mean(params: Params, results: Path) -> None:
    def change(content: Any) -> None:
        content["rows"][-1]["cells"].clear()  # the reference row
        for name in ("digits", "mnist", "tfd"):
            found = content["rows"][3]["cells"][name]["measured"]
            found |= {
                "failed": [{"seed": seed, "epoch": 3, "reason": "x"} for seed in found["seeds"]],
                "per_seed": [],
            }
            names = (
                "mean",
                "sd_over_seeds",
                "standard_error_test",
                "fine_mean",
                "interval",
                "interquartile_mean",
            )
            found |= dict.fromkeys(
                (*names, "interval_simultaneous", "interquartile_interval", "effective_samples")
            )
            found["variances"] = {key: {"variance": None, "sd": None} for key in found["variances"]}

    edit(results / "table1.json", change)
    document = parsed(page(jobs_of(params), results / "table1.json", results))
    assert (
        words(document.xpath("//table[@class='paper']/tbody/tr[4]/td[2]//span[@class='ours']")[0])
        == "\N{EN DASH}"
    )
    assert not document.xpath("//section[@id='table1']//figure")


def _table(document: Any, caption: str) -> list[list[str]]:
    """The words of every cell of the one table whose caption begins so."""
    found = [t for t in document.xpath("//table") if words(t.find("caption")).startswith(caption)]
    assert len(found) == 1, caption
    return [[words(cell) for cell in row] for row in found[0].xpath(".//tbody/tr")]


def _table_count(document: Any, caption: str) -> int:
    return sum(
        words(table.find("caption")).startswith(caption) for table in document.xpath("//table")
    )


def test_intervals_variances_and_effective_samples_of_every_row(html: str, results: Path) -> None:
    document = parsed(html)
    row = _table(document, "Log-likelihood on Toronto Face Database, in nats per image: 95 %")[0]
    cell = read_json(results / "table1.json")["rows"][3]["cells"]["tfd"]
    measured = cell["measured"]

    def shown(value: float, decimals: int) -> str:
        return f"{value:,.{decimals}f}".replace(",", " ").replace("-", "\N{MINUS SIGN}")

    assert row[2] == " to ".join(shown(bound, 1) for bound in measured["interval"])
    assert row[4].endswith(
        " to ".join(shown(bound, 1) for bound in measured["interquartile_interval"])
    )
    assert row[5] == shown(measured["variances"]["seed"]["sd"], 2)
    assert row[6] == shown(measured["variances"]["draw"]["sd"], 2)
    assert row[8] == "26.2"
    assert row[9] == "812 of 10 000"
    verdict = _table(document, "Ours minus the published value on Toronto Face Database")[0]
    assert shown(cell["verdict"]["naive_z"], 1) in verdict
    assert ("not in it" in verdict[-1]) == (not cell["verdict"]["compatible"])


def test_the_order_of_the_rows_is_told_with_its_verdict(html: str) -> None:
    document = parsed(html)
    order = words(document.get_element_by_id("order-mnist"))
    assert order.startswith(
        "The order of the rows on MNIST: not attempted not measured on this data set: DBN, "
        "Stacked CAE, Deep GSN"
    )
    assert _table_count(document, "Adversarial nets against the other rows of Table 1") == 2
    marks = [words(li) for li in document.xpath("//ul[@class='claims']/li")]
    assert [mark for mark in marks if "Order of the rows" in mark] == [
        "not attempted Order of the rows"
    ] * 2


def test_reference_rows_stand_apart_with_what_they_mean(html: str) -> None:
    document = parsed(html)
    section = words(document.get_element_by_id("table1"))
    assert "Reference rows have no model." in section
    assert "a row above the true distribution is not thereby the better model" in section
    rows = document.xpath("//tbody[@class='reference']/tr/th")
    assert [words(row) for row in rows] == ["True distribution"]


def test_the_context_marks_what_was_not_checked(html: str, results: Path) -> None:
    document = parsed(html)
    rows = _table(document, "Other published Parzen estimates")
    table = read_json(results / "table1.json")["context"]
    assert [row[0] for row in rows] == [entry["model"] for entry in table]
    assert [row[5] for row in rows] == [entry["status"] for entry in table]
    assert document.get_element_by_id("context").tag == "details"


def test_every_fold_has_its_line(html: str) -> None:
    section = parsed(html).get_element_by_id(f"run-tfd-{MODEL}-0-2")
    [table] = [
        t
        for t in section.xpath(".//table")
        if words(t.find("caption")).startswith("Every seed and every draw")
    ]
    rows = table.xpath("./tbody/tr")
    assert len(rows) == 3 * 2 * 5
    first = [words(cell) for cell in rows[0]]
    assert first[3:5] == ["812", "26.25"]
    assert "100 Markov chains side by side" in words(section)
    assert "Markov chains side by side" not in words(
        parsed(html).get_element_by_id(f"run-mnist-{MODEL}-0-2")
    )


def test_trials_of_the_tuning(html: str, params: Params, results: Path) -> None:
    document = parsed(html)
    best = _table(document, "Best and median validation log-likelihood")
    assert best == [["Adversarial nets", "14.0", "13.0", '{ "learning_rate": 0.2 }']]
    trials = _table(document, "Trials of Adversarial nets")
    assert len(trials) == 4
    assert trials[3][3] == "a seed failed"
    shutil.rmtree(results / "tuning")
    without_trials = page(jobs_of(params), results / "table1.json", results)
    assert "tuning" not in words(parsed(without_trials).xpath("//nav")[0]).lower()


def test_costs_of_every_row(html: str, results: Path) -> None:
    document = parsed(html)
    rows = _table(document, "What each row cost")
    assert rows[0][:4] == ["Adversarial nets", "MNIST", "0, 1, 2", "2"]
    record = read_json(results / f"train/mnist/{MODEL}/0-2.run.json")
    assert rows[0][4] == f"{record['wall_seconds']:.1f}"
    assert "generator57" in rows[0][7].replace(" ", "")
    assert rows[0][8] == "1.25"
    assert rows[2][9] == "812"
    assert "1.25" not in words(document.get_element_by_id("table1"))


def test_the_cost_of_the_whole_run_is_told(html: str, results: Path) -> None:
    rows = _table(parsed(html), "What the whole run cost")
    records = [read_json(file) for file in results.rglob("*.run.json")]
    seconds = [record["wall_seconds"] for record in records]
    assert rows[-1][:2] == ["All", str(len(records))]
    # Two sums of the same numbers in another order may be rounded to either side.
    assert float(rows[-1][2].replace(" ", "")) == pytest.approx(sum(seconds), abs=0.051)
    assert dict(row[:2] for row in rows[:-1]) == dict.fromkeys(
        ("train", "sample", "bandwidth", "evaluate", "recognise"), "3"
    ) | {"experiment": "1", "ranks": "1"}  # fmt: skip


def test_a_page_of_another_sum_is_found_out(html: str, results: Path) -> None:
    document = parsed(html)
    record = results / f"train/mnist/{MODEL}/0-2.run.json"
    told = "sum of results/*.run.json with the stage train#/wall_seconds"
    before = gathered(results, told, document)
    edit(record, lambda c: c.update(wall_seconds=c["wall_seconds"] + 1))
    assert gathered(results, told, document) == pytest.approx(before + 1)
    assert f'value={before!r} title="{told}"' in html


def test_runs_are_folded(html: str) -> None:
    folds = parsed(html).xpath("//section[@id='runs']//section/details")
    assert [fold.get("open") is not None for fold in folds] == [False, False, False]


def test_the_page_of_the_demo_will_be_small(html: str) -> None:
    """Fourteen rows on digits and what surrounds them: at most 3 MB. Here are three runs on the
    same page.
    """
    runs = sum(len(part) for part in re.findall(r'<section id="run-.*?</section>', html, re.DOTALL))
    rest = len(html) - runs
    assert rest + 14 * runs / 3 < 3e6


def test_a_trial_says_so(params: Params, results: Path) -> None:
    edit(results / "table1.json", lambda c: c.update(preset="demo"))
    summary = words(
        parsed(page(jobs_of(params), results / "table1.json", results)).get_element_by_id("summary")
    )
    assert "This is a demo run." in summary
    assert "say nothing about" in summary


def test_reference_runs_are_labelled(params: Params, results: Path) -> None:
    (results / "reference/h100").mkdir(parents=True)
    shutil.copy(results / "table1.json", results / "reference/h100/table1.json")
    edit(results / "reference/h100/table1.json", lambda c: c.update(preset="paper"))
    captions = [
        words(c)
        for c in parsed(page(jobs_of(params), results / "table1.json", results)).xpath(
            "//table[@class='paper']/caption"
        )
    ]
    assert captions[1].startswith("Reference run, preset paper")


@pytest.mark.usefixtures("made_anew")
def test_the_same_results_give_the_same_bytes_outside_costs(
    html: str, params: Params, results: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "another" / "place"
    shutil.copytree(results, elsewhere)
    for record in elsewhere.rglob("*.run.json"):
        edit(record, lambda c: c.update(wall_seconds=c["wall_seconds"] + 1))
    again = page(jobs_of(params), elsewhere / "table1.json", elsewhere)
    assert again != html
    cut = re.compile(r'<section id="costs".*?</section>', re.DOTALL)
    assert cut.sub("", again) == cut.sub("", html)


def test_results_without_records_of_costs(params: Params, results: Path) -> None:
    for record in results.rglob("*.run.json"):
        record.unlink()
    costs = words(
        parsed(page(jobs_of(params), results / "table1.json", results)).get_element_by_id("costs")
    )
    assert "No record of costs" in costs


def test_no_inline_styles_unique_ids_one_style_one_script(walked: Page) -> None:
    html, _ = walked
    document = parsed(html)
    assert not document.xpath("//@style")
    ids = document.xpath("//@id")
    assert len(ids) == len(set(ids))
    assert len(document.xpath("//style")) == len(document.xpath(SCRIPTS)) == 1
    policy = document.xpath("//meta[@http-equiv]/@content")[0]
    for element in (*document.xpath("//style"), *document.xpath(SCRIPTS)):
        digest = base64.b64encode(hashlib.sha256(element.text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    for reference in document.xpath("//@aria-labelledby"):
        assert set(reference.split()) <= set(ids)
    for target in document.xpath("//a/@href"):
        assert target.removeprefix("#") in ids
    assert not [
        a
        for a in (*document.xpath("//@src"), *document.xpath("//link/@href"))
        if not a.startswith("data:")
    ]
    assert "http://" not in html.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in html


def test_tables_have_scopes_and_captions(walked: Page) -> None:
    document = parsed(walked[0])
    assert all(head.get("scope") for head in document.xpath("//th"))
    assert all(table.find("caption") is not None for table in document.xpath("//table"))


def test_no_path_of_this_machine(walked: Page, tmp_path: Path) -> None:
    html, results = walked
    assert str(tmp_path) not in html
    assert str(results.parent) not in html
    assert str(Path.home()) not in html
    assert str(package_root()) not in html


HOSTILE = [
    "</script><script>alert(1)</script>",
    "\"' onload=alert(1) x='",
    "\u202eevil\u202c",
    "{{ 7*7 }}",
    "<svg onload=alert(1)>",
]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in HOSTILE[1:] else [])
        for name in HOSTILE
    ],
)
def test_hostile_names_are_harmless(name: str, html: str, params: Params, results: Path) -> None:
    def change(content: Any) -> None:
        content["preset"] = name
        for row in content["rows"]:
            row["title"] = name
            for cell in row["cells"].values():
                cell["verdict"]["reason"] = name
        for dataset in content["datasets"]:
            dataset["title"] = name

    edit(results / "table1.json", change)
    for dataset in ("digits", "mnist"):
        edit(results / f"data/{dataset}.json", lambda c: c.update(title=name))
    document = parsed(page(jobs_of(params), results / "table1.json", results))
    before = parsed(html)
    assert len(document.xpath(SCRIPTS)) == 1
    assert not document.xpath("//@*[starts-with(name(), 'on')]")
    assert {element.tag for element in document.iter()} == {
        element.tag for element in before.iter()
    }
    assert name in words(document.get_element_by_id("table1")) or "'" in name


def test_nan_is_refused(params: Params, results: Path) -> None:
    file = results / f"evaluation/digits/{MODEL}/0-2.json"
    file.write_text(file.read_text().replace('"standard_error": 2.0137', '"standard_error": NaN'))
    with pytest.raises(ReplicateError, match="not finite"):
        page(jobs_of(params), results / "table1.json", results)


def test_a_missing_value_is_named(params: Params, results: Path) -> None:
    edit(
        results / "table1.json", lambda c: c["rows"][3]["cells"]["digits"]["measured"].pop("n_test")
    )
    with pytest.raises(
        ReplicateError, match=r"results/table1\.json#/rows/3/cells/digits/measured has no 'n_test'"
    ):
        page(jobs_of(params), results / "table1.json", results)


@pytest.mark.parametrize(
    "name",
    ["table1.json", f"train/digits/{MODEL}/0-2.json", f"panels/mnist/{MODEL}/0-2/learning.svg"],
)
def test_a_missing_file_is_named(name: str, params: Params, results: Path) -> None:
    (results / name).unlink()
    with pytest.raises(ReplicateError, match=name.rsplit("/", 1)[-1]):
        page(jobs_of(params), results / "table1.json", results)


@pytest.mark.parametrize(
    "change",
    [
        "<script>alert(1)</script></svg>",
        '<image href="http://x/y.png"/></svg>',
        '<g onload="x()"/></svg>',
        "",
        '<g ONLOAD="x()"/></svg>',
        '<use HREF="javascript:x()"/></svg>',
        '<use href="javascript:x()"/></svg>',
        '<g fill="URL(http://x/y)"/></svg>',
        '<g fill="u\\72l(http://x/y)"/></svg>',
        '<g fill="url( http://x/y)"/></svg>',
        '<g fill="url(#a) url(http://x/y)"/></svg>',
        '<g unknown="1"/></svg>',
    ],
)
def test_a_hostile_or_broken_plot_is_refused(change: str, params: Params, results: Path) -> None:
    plot = results / f"panels/digits/{MODEL}/0-2/learning.svg"
    plot.write_text(plot.read_text().replace("</svg>", change))
    with pytest.raises(ReplicateError, match=r"learning\.svg"):
        page(jobs_of(params), results / "table1.json", results)


def test_a_broken_picture_is_refused(params: Params, results: Path) -> None:
    (results / f"panels/digits/{MODEL}/0-2/samples.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(ReplicateError, match=r"samples\.png"):
        page(jobs_of(params), results / "table1.json", results)


def test_the_stage_writes_the_page(
    html: str, params: Params, results: Path, tmp_path: Path, capsys: Any
) -> None:
    out = tmp_path / "report" / "index.html"
    given = [
        "--params",
        params.model_dump_json(),
        "--table",
        str(results / "table1.json"),
        "--results",
        str(results),
    ]
    assert main(["report", *given, "--out", str(out)]) == 0
    assert out.read_text(encoding="utf-8") == html
    assert "index.html" in capsys.readouterr().out
    (results / "table1.json").unlink()
    assert main(["report", *given, "--out", str(out)]) == 2
    assert out.read_text(encoding="utf-8") == html


def test_the_stage_loads_no_torch(params: Params, kept_results: Path, tmp_path: Path) -> None:
    given = ["--params", params.model_dump_json(), "--table", str(kept_results / "table1.json")]
    given += ["--results", str(kept_results), "--out", str(tmp_path / "index.html")]
    code = "import sys; from replicate.__main__ import main; sys.exit(main(sys.argv[1:]) or 'torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code, "report", *given], check=True, cwd=package_root())


def test_what_the_samples_show_is_the_range_over_seeds(html: str) -> None:
    rows = {
        row.xpath("string(td[1])"): row
        for row in parsed(html).xpath("//section[@id='recognition']//tbody/tr")
    }
    assert [data.get("value") for data in rows["Digits"].xpath("td[3]//data")] == ["0.75", "0.875"]
    assert [data.get("value") for data in rows["Digits"].xpath("td[4]//data")] == [
        "0.0125",
        "0.0145",
    ]
    assert [data.get("value") for data in rows["MNIST"].xpath("td[3]//data")] == [
        "0.75",
        "0.8125",
    ]  # seed 2 failed
    assert "the data set has no labels" in words(rows["Toronto Face Database"])
    assert [data.get("value") for data in rows["MNIST"].xpath("td[6]//data")] == ["0.0", "0.03125"]
    assert [data.get("value") for data in rows["Toronto Face Database"].xpath("td[5]//data")] == [
        "-0.03125",
        "0.0",
    ]


def test_statements_show_their_checks_and_those_without_an_experiment_stand_apart(
    html: str,
) -> None:
    document = parsed(html)
    first = document.get_element_by_id("statement-P1")
    assert words(first).startswith(
        "P1 · paper, section 4.1, proposition 1 · on Digits · every claim For a fixed G"
    )
    assert [data.get("value") for data in first.xpath(".//tbody/tr[1]//data")] == ["1e-09", "1e-16"]
    assert "replicated" in words(first)
    assert "Not the full form of the experiment; other settings: updates" in words(first)
    second = words(document.get_element_by_id("statement-P2"))
    assert "not replicated The descent that the proof describes did not reach" in second
    assert "This run: not replicated not so: largest JSD at the end" in second
    assert document.get_element_by_id("statement-X1").tag == "li"
    assert "the preset does not run its experiment" in words(
        document.get_element_by_id("statement-X1")
    )


def test_a_statement_tells_its_data_how_it_was_made_and_what_reference_runs_found(
    params: Params, results: Path
) -> None:
    kept = results / "reference/statements/ten-seeds/statements.json"
    kept.parent.mkdir(parents=True)
    shutil.copy(results / "statements.json", kept)

    def other(content: dict[str, Any]) -> None:
        content["statements"][0] |= {
            "state": "inconclusive",
            "reason": "undecided by 7 seeds",
            "changed": None,
        }

    edit(kept, other)
    card = parsed(page(jobs_of(params), results / "table1.json", results)).get_element_by_id(
        "statement-P1"
    )
    assert "on Digits" in words(card.xpath(".//p[@class='kicker']")[0])
    [entry] = card.xpath(".//details[@class='kept']//li")
    assert words(entry) == "ten-seeds, on Digits: inconclusive undecided by 7 seeds"
    edit(kept, lambda content: content["statements"][0].update(protocol_sha256="a" * 64))
    [entry] = (
        parsed(page(jobs_of(params), results / "table1.json", results))
        .get_element_by_id("statement-P1")
        .xpath(".//details[@class='kept']//li")
    )
    assert words(entry).endswith("by an earlier rule: undecided by 7 seeds")
    how = words(card.xpath(".//details[@class='how']")[0])
    assert "--name theory --out results/experiments/theory.json" in how
    assert sha256_file(results / "experiments/theory.json") in how
    assert "seeds" in how


def test_the_figure_of_the_full_form_takes_the_place_of_this_runs_own(
    params: Params, results: Path
) -> None:
    """The reference run's picture is in sight; this run's first one and the place of all lie in its
    fold.
    """
    kept = results / "reference/statements/ten-seeds"
    shutil.copytree(results / "figures/theory", kept / "figures/theory")
    shutil.copy(results / "experiments/theory.json", kept / "theory.json")
    shutil.copy(results / "statements.json", kept / "statements.json")
    edit(kept / "statements.json", lambda content: content["statements"][0].update(changed=None))
    edit(
        kept / "figures/theory/figures.json",
        lambda content: content["figures"][0].update(caption="Ten seeds."),
    )
    whole = parsed(page(jobs_of(params), results / "table1.json", results))
    card = whole.get_element_by_id("statement-P1")
    [in_sight] = card.xpath(".//figure[not(ancestor::details)]")
    assert words(in_sight.xpath("./figcaption")[0]) == (
        "Reference run: Ten seeds. Data: results/reference/statements/ten-seeds/theory.json"
    )
    [own] = card.xpath(".//details[@class='own-run reduced']")
    assert "Its own figures: results/figures/theory/" in words(own)
    [folded] = card.xpath(".//figure[ancestor::details]")
    assert folded in own.iter()
    caption = read_json(results / "figures/theory/figures.json")["figures"][0]["caption"]
    assert words(folded.xpath("./figcaption")[0]) == (
        f"This run: {caption} Data: results/experiments/theory.json"
    )
    ids = whole.xpath("//@id")
    assert len(ids) == len(set(ids))
    svg = in_sight.xpath("./*[local-name()='svg']")[0]
    inner = set(svg.xpath(".//@id"))
    assert all(name.startswith("kept-") for name in inner)
    named = {reference.strip("url(#)") for reference in svg.xpath(".//@href | .//@clip-path")}
    assert named <= inner, "a reference leads into the figure that it stands in"
    assert set(svg.get("aria-labelledby").split()) <= inner


def shapes_of(path: Path) -> tuple[list[str], list[float]]:
    """An SVG's text between its numbers of two decimals, and these numbers."""
    words_and_numbers = re.split(r"(-?\d+\.\d\d)", path.read_text(encoding="utf-8"))
    return words_and_numbers[::2], [float(number) for number in words_and_numbers[1::2]]


@pytest.mark.slow
def test_every_full_form_with_a_kept_result_has_its_figures(tmp_path: Path) -> None:
    """What `draw` makes of the kept result today; coordinates may round otherwise elsewhere."""
    folders = sorted((package_root() / "results/reference/statements").glob("*/figures/*"))
    assert folders
    for folder in folders:
        experiment = folder.parents[1] / f"{folder.name}.json"
        again = tmp_path / folder.parents[1].name / folder.name
        draw.run(argparse.Namespace(result=experiment, out=again))
        names = {path.name for path in folder.iterdir()}
        assert names == {path.name for path in again.iterdir()}
        for name in sorted(names - {"figures.run.json", "figures.json"}):
            shapes, coordinates = shapes_of(folder / name)
            shapes_again, coordinates_again = shapes_of(again / name)
            assert shapes_again == shapes, folder / name
            assert coordinates_again == pytest.approx(coordinates, abs=0.0101), folder / name
        captions = read_json(again / "figures.json")["figures"]
        assert read_json(folder / "figures.json")["figures"] == captions


@pytest.mark.parametrize(
    ("experiment", "settings", "shown"),
    [
        (
            "conditional",
            "datasets: {mnist: {}}\nexperiments: {conditional: {dataset: mnist}}",
            "MNIST",
        ),
        ("conditional", "experiments: {}", "not recorded"),
        pytest.param(
            "conditional", "experiments: {conditional: {}}", "Digits", marks=pytest.mark.slow
        ),
        pytest.param("conditional", None, "not recorded", marks=pytest.mark.slow),
        ("theory", None, "synthetic data"),
    ],
)
def test_a_run_kept_before_statements_named_their_data_tells_it_by_its_settings(
    params: Params, results: Path, experiment: str, settings: str | None, shown: str
) -> None:
    kept = results / "reference/statements/older/statements.json"
    kept.parent.mkdir(parents=True)
    shutil.copy(results / "statements.json", kept)

    def older(content: dict[str, Any]) -> None:
        content["statements"][0]["experiment"] = experiment
        for entry in content["statements"]:
            del entry["dataset"]

    edit(kept, older)
    if settings is not None:
        kept.with_name("params.yaml").write_text(settings)
    card = parsed(page(jobs_of(params), results / "table1.json", results)).get_element_by_id(
        "statement-P1"
    )
    [entry] = card.xpath(".//details[@class='kept']//li")
    assert words(entry).startswith(f"older, on {shown}: ")


def test_the_summary_counts_the_statements(html: str, results: Path) -> None:
    (own,) = parsed(html).xpath("//p[@class='own']")
    shown = {data.get("title"): int(data.get("value")) for data in own.xpath("./data")}
    counts = read_json(results / "statements.json")["counts"]
    assert shown == {
        f"results/statements.json#/counts/{state}": count for state, count in counts.items()
    }
    assert sum(counts.values()) == len(read_json(results / "statements.json")["statements"])


def test_the_samplers_are_shown_with_what_their_headings_say(html: str) -> None:
    """Every cell from the raw draws, by the heading of its column."""
    raw = samplers_of((0, 1, 2))["samplers"]
    (table,) = parsed(html).xpath("//section[@id='samplers']//table")
    columns = [
        heading.xpath("string(text())").strip() for heading in table.xpath(".//th[@scope='col']")
    ]
    rows = {row.xpath("string(td[1])"): row for row in table.xpath("./tbody/tr")}
    measures = {
        "Log-likelihood": "log_likelihood", "Resembles its start": "remembered_start",
        "Effective samples": "effective_samples", "Memory": "memorisation",
    }  # fmt: skip
    for name, title in (
        ("published", "one chain, every state"),
        ("mixed", "many chains, burnt in"),
    ):
        draws = [draw for seed in raw[name]["per_seed"] for draw in seed]
        for heading, measure in measures.items():
            cell = rows[title].xpath(f"*[{columns.index(heading) + 1}]/data[1]")[0]
            assert float(cell.get("value")) == pytest.approx(
                np.mean([draw[measure] for draw in draws])
            )
        chains = rows[title].xpath(f"*[{columns.index('Chains') + 1}]/data[1]")[0]
        assert float(chains.get("value")) == raw[name]["settings"]["chains"]
        assert (
            float(rows[title].xpath(f"*[{columns.index('Draws') + 1}]/data")[0].get("value"))
            == len(draws)
            == 6
        )
    assert "-12.5" in [data.get("value") for data in table.xpath(".//data")]


def test_of_kept_runs_with_the_same_rows_the_largest_has_a_plot() -> None:
    def compared(run: str, title: str = "MNIST", **seeds: int) -> ComparedSamplers:
        rows: Any = [
            (row, {"measured": {"seeds": list(range(count))}}) for row, count in seeds.items()
        ]
        return ComparedSamplers(run, title, rows, Markup("plot"))

    comparisons = [
        compared("half", DBN=6),
        compared("other data", "Digits", DBN=3),
        compared("whole", DBN=10, CAE=7),
        compared("as many", DBN=10),
        compared("one more row", DBN=6, RBM=1),
    ]
    shown = {each.run: each.plot is not None for each in _without_smaller_plots(comparisons)}
    assert shown == {
        "other data": True,
        "whole": True,
        "as many": True,
        "one more row": True,
        "half": False,
    }
    assert list(shown)[-1] == "half", "sets of numbers alone stand below all plots"


def test_measures_of_kept_runs_stand_beside_those_of_this_run(
    params: Params, results: Path
) -> None:
    """Each value of the kept run, from its own file; without one there is no such fold."""
    ranks = read_json(results / "ranks.json")
    number = next(
        place for place, column in enumerate(ranks["datasets"][0]["columns"])
        if column["measure"] == "parzen"
    )  # fmt: skip
    ranks["datasets"][0]["rows"][0]["values"][number]["value"] = 123.25
    write_json(results / "reference/some-run/ranks.json", ranks)
    document = parsed(page(jobs_of(params), results / "table1.json", results))
    (fold,) = document.xpath("//section[@id='measures']/details[@class='kept']")
    assert words(fold.find("summary")) == "Reference run some-run"
    assert [data.get("value") for data in fold.xpath(".//data")].count("123.25") == 1
    own = document.xpath("//section[@id='measures']/details[not(@class)]//data")
    assert "123.25" not in [data.get("value") for data in own]
    (results / "reference/some-run/ranks.json").unlink()
    without_it = parsed(page(jobs_of(params), results / "table1.json", results))
    assert not without_it.xpath("//section[@id='measures']/details[@class='kept']")
