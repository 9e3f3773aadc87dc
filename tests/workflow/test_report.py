"""`snakemake --report`: the page's figures with categories and labels, and captions that say what
was run.
"""

import html
import json
import re
import shutil
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from PIL import Image

from replicate.figures import curves
from replicate.report.embedded import embedded_png, embedded_svg

RUN = "results/panels/digits/adversarial_nets/0-1"
#: What the paper itself is named by may stand in a caption as fixed words; every other number must
#: be read.
FIXED = ("figure 2", "figure 3", "Table 1", "table1", "2014", "(L2)", "header-rows: 1")


def variable(page: str, name: str) -> Any:
    """The JSON value that a script of the page gives to a variable."""
    found = re.search(rf'var {name} = (?=[{{"]\S)', page)
    assert found is not None
    return json.JSONDecoder().raw_decode(page, found.end())[0]


class Report:
    """A report made in a project."""

    def __init__(self, project) -> None:
        project.good("snakemake", "--report", "report.zip")
        with ZipFile(project / "report.zip") as archive:
            self.files = {
                name.removeprefix("report/"): archive.read(name) for name in archive.namelist()
            }
        page = self.files["report.html"].decode()
        self.page, self.shown, self.categories = (
            page,
            variable(page, "results"),
            variable(page, "categories"),
        )
        self.about = self.words(variable(page, "workflow_desc"))

    @staticmethod
    def words(text: str) -> str:
        return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())

    def caption(self, path: str) -> str:
        return self.words(self.shown[path]["caption"])


def read(project, path: str) -> Any:
    return json.loads((project / path).read_text())


def write(project, path: str, content: Any) -> None:
    (project / path).write_text(json.dumps(content))


def figures(project) -> set[str]:
    """Every figure file of the run."""
    found = [
        *(project / "results/panels").rglob("*.*g"),
        *(project / "results/figures").rglob("*.svg"),
    ]
    return {str(path.relative_to(project.folder)) for path in found}


def expected_captions(project) -> dict[str, list[str]]:
    """File -> what its caption must say, put together here from the result files alone."""
    training = read(project, "results/train/digits/adversarial_nets/0-1.json")
    panels = read(project, f"{RUN}/panels.json")
    chosen = read(project, "results/bandwidth/digits/adversarial_nets/0-1.json")
    theory = read(project, "results/experiments/theory.json")
    statements = read(project, "results/statements.json")
    table = read(project, "results/table1.json")
    seeds = f"2 seeds ({', '.join(map(str, training['seeds']))})"
    seed_index = training["seeds"].index(panels["seed"])
    (row,) = (row for row in table["rows"] if row["model"] == "adversarial_nets")
    cell = row["cells"]["digits"]["measured"]
    published = row["cells"]["mnist"]["published"]["log_likelihood"]
    counts = ", ".join(f"{count} {state}" for state, count in sorted(statements["counts"].items()))
    epochs, sigmas, lines = training["epochs"], chosen["sigmas"], panels["interpolation"]
    captions = {
        f"{RUN}/samples.png": [
            f"{panels['rows'] * panels['columns']} random draws of seed {panels['seed']}",
            seeds,
            f"to epoch {epochs}",
            f"weights of epoch {training['chosen_epoch'][seed_index]}",
            ", ".join(f"{distance:.2f}" for distance in panels["distance"]),
        ],
        f"{RUN}/interpolation.png": [
            f"{lines['rows']} straight lines through the latent space of seed {panels['seed']}",
            f"{lines['steps']} images",
        ],
        f"{RUN}/learning.svg": [
            f"looked at {len(training['curve']['epoch'])} time(s) up to epoch {epochs}",
            seeds,
        ],
        f"{RUN}/bandwidth.svg": [
            f"{chosen['n_validation'][0]} validation images",
            f"{len(sigmas)} bandwidths from {sigmas[0]:.3f} to {sigmas[-1]:.3f}",
            seeds,
        ],
        "results/table1.csv": [
            f"{row['title']} Digits none {cell['mean']:.2f} {cell['standard_error_test']:.2f} "
            f"{cell['sd_over_seeds']:.2f} {seeds} no published value",
            f"{row['title']} MNIST {published:.1f} none none none none not attempted",
        ],
        "report/index.html": [f"preset {table['preset']}", counts],
    }
    best = zip(
        training["seeds"],
        training["chosen_epoch"],
        training["chosen_log_likelihood"],
        strict=True,
    )
    for seed, epoch, nats in best:
        captions[f"{RUN}/learning.svg"].append(f"seed {seed}: epoch {epoch}, {nats:.2f} nats")
    for seed, draws in zip(chosen["seeds"], chosen["chosen"], strict=True):
        captions[f"{RUN}/bandwidth.svg"].append(f"seed {seed}: {draws[0][0]:.4f}")
    config = theory["parameters"]["config"]
    of_theory = [f"Measured with 2 seeds ({', '.join(map(str, theory['seeds']))})"]
    of_theory += [f"{setting} = {config[setting]}" for setting in theory["changed"]]
    for entry in statements["statements"]:
        if entry["experiment"] == "theory":
            of_theory.append(f"{entry['statement']} {entry['state']}")
    for entry in read(project, "results/figures/theory/figures.json")["figures"]:
        file = f"results/figures/theory/{entry['name']}.svg"
        captions[file] = [entry["caption"], *of_theory]
    return captions


@pytest.mark.slow
def test_the_zip_holds_every_figure_with_its_category_labels_and_caption(finished):
    report = Report(finished)
    drawn = figures(finished)
    assert {path.rsplit("/", 1)[-1] for path in drawn if path.startswith(RUN)} == {
        "samples.png",
        "interpolation.png",
        "learning.svg",
        "bandwidth.svg",
    }
    assert set(report.shown) == drawn | {"results/table1.csv", "report/index.html"}
    for path, entry in report.shown.items():
        assert report.files[entry["data_uri"]] == (finished / path).read_bytes()
    assert {
        name: {path for paths in found.values() for path in paths}
        for name, found in report.categories.items()
    } == {
        "Page": {"report/index.html"},
        "Table 1": {"results/table1.csv"},
        "Runs": {path for path in drawn if path.startswith(RUN)},
        "Experiments": {path for path in drawn if path.startswith("results/figures/theory/")},
    }
    assert report.shown[f"{RUN}/learning.svg"]["labels"] == {
        "data set": "Digits",
        "model": "Adversarial nets",
        "seeds": "0-1",
        "figure": "learning",
    }
    assert report.shown["results/figures/theory/descent.svg"]["labels"] == {
        "experiment": "theory",
        "figure": "descent",
    }
    expected = expected_captions(finished)
    assert set(expected) == set(report.shown)
    for path, sentences in expected.items():
        for sentence in sentences:
            assert sentence in report.caption(path), path
        assert "system-message" not in report.shown[path]["caption"], "an error of reStructuredText"
    assert "the preset smoke" in report.about
    assert "Adversarial nets on Digits, 2 seeds (0, 1)" in report.about
    assert not re.search(r'(?:src|href)="https?:', report.page), "it would need the network"


def not_of_the_page(project) -> set[str]:
    """The figures that the page does not show, as they are, in the form that it gives to
    pictures.
    """
    page = (project / "report/index.html").read_text(encoding="utf-8")
    return {
        path
        for path in figures(project)
        if (embedded_png if path.endswith(".png") else embedded_svg)(project / path) not in page
    }


def test_they_are_the_figures_of_the_page(finished):
    assert not_of_the_page(finished) == set()


def test_a_figure_of_another_seed_is_not_that_of_the_page(finished):
    """Drawn anew with what the two seeds measured exchanged, under the same title; and a picture of
    other draws.
    """
    path = f"{RUN}/learning.svg"
    before = (finished / path).read_text()
    training = read(finished, "results/train/digits/adversarial_nets/0-1.json")
    title = "Adversarial nets on Digits"
    assert (
        curves.learning(training, title, "digits/adversarial_nets/0-1/learning").decode() == before
    )
    curve = training["curve"]
    for rows in (curve["log_likelihood"], curve["sigma"], *curve["losses"].values()):
        rows[:] = [row[::-1] for row in rows]
    drawn = curves.learning(training, title, "digits/adversarial_nets/0-1/learning")
    assert drawn.decode().split("</title>")[0] == before.split("</title>")[0]
    (finished / path).write_bytes(drawn)
    assert not_of_the_page(finished) == {path}
    with Image.open(finished / RUN / "samples.png") as image:
        image.transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(finished / RUN / "samples.png")
    assert not_of_the_page(finished) == {path, f"{RUN}/samples.png"}


@pytest.mark.slow
def test_captions_follow_the_result_files(finished):
    """Other values in the files, which nothing draws or judges again: the captions say those."""
    theory = read(finished, "results/experiments/theory.json") | {"seeds": [3, 4, 5], "changed": []}
    write(finished, "results/experiments/theory.json", theory)
    name = "results/train/digits/adversarial_nets/0-1.json"
    training = read(finished, name)
    training |= {
        "seeds": [0, 7],
        "chosen_epoch": [4, None],
        "failed": {"7": {"epoch": 2, "reason": "its loss |*_ is infinite"}},
    }
    write(finished, name, training)
    panels = read(finished, f"{RUN}/panels.json")
    panels["interpolation"]["steps"] = 11
    write(finished, f"{RUN}/panels.json", panels)
    report = Report(finished)
    caption = report.caption("results/figures/theory/trained.svg")
    assert "Measured with 3 seeds (3, 4, 5)" in caption
    assert "not the defaults" not in caption
    caption = report.caption(f"{RUN}/learning.svg")
    assert "2 seeds (0, 7)" in caption
    assert "seed 0: epoch 4, " in caption
    assert "seed 7 failed in epoch 2: its loss |*_ is infinite" in caption
    assert "11 images" in report.caption(f"{RUN}/interpolation.png")
    write(
        finished,
        f"{RUN}/panels.json",
        panels | {"seed": None, "distance": None, "interpolation": None},
    )
    (finished / RUN / "interpolation.png").unlink()  # as where every seed failed
    assert "Nothing to draw: 2 seeds (0, 7) failed" in Report(finished).caption(
        f"{RUN}/samples.png"
    )


@pytest.mark.slow
@pytest.mark.parametrize("key", ["seed", "rows", "distance"])
def test_a_value_that_the_result_file_lacks_is_an_error(finished, key):
    panels = read(finished, f"{RUN}/panels.json")
    del panels[key]
    write(finished, f"{RUN}/panels.json", panels)
    done = finished.run("snakemake", "--report", "report.zip")
    assert done.returncode == 1
    assert f"a caption asks for '{key}', which its result file does not hold" in done.stderr
    assert not (finished / "report.zip").exists()


def test_captions_hold_no_number_of_their_own():
    captions = list((Path(__file__).parents[2] / "workflow/report").glob("*.rst"))
    assert len(captions) == 8
    for path in captions:
        words = re.sub(
            r"\{%.*?%\}|\{\{.*?\}\}", "", path.read_text(encoding="utf-8"), flags=re.DOTALL
        )
        for name in FIXED:
            words = words.replace(name, "")
        assert not re.search(r"\d", words), path


@pytest.mark.slow
def test_a_run_without_interpolation_or_figures_has_a_report_all_the_same(finished):
    (finished / RUN / "interpolation.png").unlink()
    shutil.rmtree(finished / "results/figures/theory")
    (finished / "results/figures/theory").mkdir()
    write(finished, "results/figures/theory/figures.json", {"figures": []})
    assert set(Report(finished).categories) == {"Page", "Table 1", "Runs"}
    assert f"{RUN}/interpolation.png" not in Report(finished).shown


@pytest.mark.slow
def test_another_caption_or_label_runs_nothing(finished):
    for path in sorted((finished / "workflow/report").glob("*.rst")):
        path.write_text("Other words.\n", encoding="utf-8")
    finished.edit("workflow/rules/captions.smk", '"data set": ', '"set": ')
    finished.edit("workflow/rules/report.smk", '"category": "Page"', '"category": "Pages"')
    assert finished.planned() == {}
    report = Report(finished)
    assert report.caption("results/table1.csv") == "Other words."
    assert "set" in report.shown[f"{RUN}/samples.png"]["labels"]
    assert "Pages" in report.categories
