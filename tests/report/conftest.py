"""A small results folder, made through the project's own writers: one job that went well, one with a failed seed."""

import hashlib
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from replicate.claims import build_claims, counts
from replicate.codedigest import package_root
from replicate.comparison.beside import read_beside
from replicate.figures import curves, theme
from replicate.figures.grids import grid, png
from replicate.files import read_json, write_json
from replicate.params import Params
from replicate.protocol import read_protocol
from replicate.published import read_context, read_published
from replicate.report import page
from replicate.result import result
from replicate.runrecord import RunRecord
from replicate.table import build_table

SIGMAS = [round(10 ** (-1 + k / 9), 12) for k in range(10)]
MODEL = "adversarial_nets"
DATASETS = {"mnist": "MNIST", "digits": "Digits", "tfd": "Toronto Face Database"}
FOLDS = {"mnist": 1, "digits": 1, "tfd": 5}
CODE = "0123456789abcdef"
#: (data set, level of the log-likelihoods, failed seeds) of each training job.
Trained = list[tuple[str, float, dict[str, Any]]]
#: A page, and the folder `results` that it was made from.
Page = tuple[str, Path]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


def _training(dataset: str, seeds: list[int], failed: dict[str, Any], level: float, rate: float) -> dict[str, Any]:
    epochs = list(range(20, 401, 20))
    wave = [[level - 900 / epoch + 3 * math.sin(epoch / 40 + seed) for seed in seeds] for epoch in epochs]
    alive = [
        [None if str(s) in failed and e >= failed[str(s)]["epoch"] else v for s, v in zip(seeds, row, strict=True)]
        for e, row in zip(epochs, wave, strict=True)
    ]
    best = [
        max((row[k], e) for e, row in zip(epochs, alive, strict=True) if row[k] is not None) for k in range(len(seeds))
    ]
    losses = {
        name: [[start + 0.1 * math.cos(e / 50 + s) for s in seeds] for e in epochs]
        for name, start in (("discriminator", 1.2), ("generator", 0.9))
    }
    return result(
        "train",
        CODE,
        {"dataset": dataset, "model": MODEL, "config": {"learning_rate": rate, "epochs": 400}},
        {},
        dataset=dataset,
        model=MODEL,
        block="0-2",
        seeds=seeds,
        shape=[1, 8, 8],
        epochs=400,
        latent=True,
        parameter_count={"generator": 57264, "discriminator": 58481},
        failed=failed,
        curve={
            "epoch": epochs,
            "log_likelihood": alive,
            "sigma": [[0.2] * len(seeds) for _ in epochs],
            "losses": losses,
        },
        chosen_epoch=[e for _, e in best],
        chosen_log_likelihood=[v for v, _ in best],
    )


def _bandwidth(dataset: str, seeds: list[int], failed: dict[str, Any], level: float) -> dict[str, Any]:
    folds = FOLDS[dataset]

    def curve(seed: int) -> list[list[list[float]]]:
        return [
            [[level - 90 * math.log(s / 0.17) ** 2 + seed + draw / 10 + fold for s in SIGMAS] for fold in range(folds)]
            for draw in range(2)
        ]

    def each(value: object) -> list[list[object]]:
        return [[value] * folds] * 2

    sound = [str(seed) not in failed for seed in seeds]
    return result(
        "bandwidth",
        CODE,
        {"sigmas": SIGMAS},
        {},
        dataset=dataset,
        model=MODEL,
        block="0-2",
        seeds=seeds,
        sigmas=SIGMAS,
        n_validation=[1000] * folds,
        validation_available=[1000] * folds,
        curve=[curve(s) if ok else None for s, ok in zip(seeds, sound, strict=True)],
        chosen=[each(SIGMAS[2]) if ok else None for ok in sound],
        at_edge=[each(False) if ok else None for ok in sound],
        fine=[each(0.1712) if ok else None for ok in sound],
        fine_log_likelihood=[each(level) if ok else None for ok in sound],
    )


def _evaluation(dataset: str, seeds: list[int], failed: dict[str, Any], level: float) -> dict[str, Any]:
    folds = FOLDS[dataset]

    def entry(seed: int) -> dict[str, Any]:
        if str(seed) in failed:
            return {"seed": seed, "failed": failed[str(seed)], "log_likelihood": None, "draws": []}
        draws = [
            {
                "log_likelihood": level + 3 * seed + draw / 7,
                "standard_error": 2.0137,
                "standard_error_folds": 26.25 if folds > 1 else None,
                "effective_samples": 10000.0 if folds == 1 else 812.5 + seed,
                "autocorrelation": None if folds == 1 else [0.5, 0.25],
                "folds": [
                    {
                        "log_likelihood": level + 3 * seed + draw / 7 + fold - folds // 2,
                        "standard_error": 2.0137,
                        "sigma": SIGMAS[2],
                        "at_edge": seed == 0 and draw == 0 and fold == 0,
                        "fine_sigma": 0.1712,
                        "fine_log_likelihood": level + 3 * seed + 0.5,
                        "n_test": 10000,
                    }
                    for fold in range(folds)
                ],
            }
            for draw in range(2)
        ]
        return {
            "seed": seed,
            "failed": None,
            "draws": draws,
            "log_likelihood": float(np.mean([d["log_likelihood"] for d in draws])),
        }

    return result(
        "evaluate",
        CODE,
        {"compute": {"device": "cpu", "threads": 1}},
        {},
        dataset=dataset,
        model=MODEL,
        block="0-2",
        seeds=seeds,
        per_seed=[entry(seed) for seed in seeds],
        n_test=[10000] * folds,
        n_samples=10000,
        chains=None if folds == 1 else 100,
        sigmas=SIGMAS,
        n_validation=[1000] * folds,
        validation_available=[1000] * folds,
        dimension=784,
    )


def _recognition(dataset: str, seeds: list[int], failed: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a classifier is worth and what it saw; on faces there was none."""
    reason = "the data set has no labels" if dataset == "tfd" else None
    accuracy = None if reason else 0.985
    per_seed: list[dict[str, Any]] = []
    for seed in seeds:
        known = reason is None and str(seed) not in failed
        shares = [0.0125 + seed / 1000, *[(1 - 0.0125 - seed / 1000) / 9] * 9]
        found = {"sure": 0.75 + seed / 16, "rarest": min(shares), "classes": shares}
        drawn = {"memorisation": seed / 32, "correlation": -seed / 64} if str(seed) not in failed else dict.fromkeys(
            ("memorisation", "correlation")
        )  # fmt: skip
        shown = found if known else dict.fromkeys(found)
        per_seed.append({"seed": seed, "failed": failed.get(str(seed)), **shown, **drawn})
    about = {"dataset": dataset, "model": MODEL, "block": "0-2", "seeds": seeds}
    seen = result(
        "recognise",
        CODE,
        {},
        {},
        **about,
        compared=1000,
        sure_from=0.9,
        reason=reason,
        accuracy=accuracy,
        per_seed=per_seed,
    )
    judge = {"reason": reason, "classes": 10, "accuracy": accuracy, "n_test": 10000, "sure": 0.96}
    return result("classifier", CODE, {}, {}, shape=[1, 28, 28], **judge), seen


def _panels(dataset: str, folder: Path, training: dict[str, Any], bandwidth: dict[str, Any]) -> None:
    folder.mkdir(parents=True)
    noise = np.random.default_rng(0)
    (folder / "samples.png").write_bytes(png(grid(noise.random((4, 6, 1, 8, 8)), marked=[5])))
    (folder / "interpolation.png").write_bytes(png(grid(noise.random((4, 9, 1, 8, 8)))))
    title = f"Adversarial nets on {DATASETS[dataset]}"
    (folder / "learning.svg").write_bytes(curves.learning(training, title, f"{dataset}/learning"))
    (folder / "bandwidth.svg").write_bytes(curves.bandwidth(bandwidth, title, f"{dataset}/bandwidth"))
    content = result(
        "panels",
        CODE,
        {},
        {},
        dataset=dataset,
        model=MODEL,
        block="0-2",
        seed=0,
        rows=4,
        columns=5,
        nearest=[3, 1, 4, 1],
        distance=[2.5, 2.25, 3.125, 1.75],
        interpolation={"rows": 4, "steps": 9},
    )
    write_json(folder / "panels.json", content)


def _claims(folder: Path, scale: float) -> None:
    """An experiment that decides three statements, and what the claims make of it; its errors grow with `scale`."""
    values = [scale * value for value in (0.5, 0.75, 0.625, 0.5, 0.75, 0.625)]
    checks = {
        "P1": {"error_on_the_grid": 1e-16, "error_of_a_trained_discriminator": [v / 100 for v in values]},
        "TH1": {
            "gap_between_value_and_criterion": 1e-13, "distance_of_the_minimum_from_minus_log_4": 0.0,
            "smallest_excess_elsewhere": 0.0625, "trained_discriminator_above_the_criterion": -1e-5,
            "shortfall_of_a_trained_discriminator": [v / 50 for v in values],
        },
        "P2": {"divergence_at_the_end": 1.0, "largest_rise_of_a_step": 0.0, "largest_excess_over_a_chord": -0.5},
    }  # fmt: skip
    config = {"config": {"seeds": "0-5", "dataset": "digits"}, "compute": {"device": "cpu", "threads": 1}}
    content = result("experiment", CODE, config, {}, experiment="theory", seeds=list(range(6)),
                     checks=checks, changed=["updates"], series={}, not_applicable=None)  # fmt: skip
    write_json(folder / "experiments/theory.json", content)
    RunRecord("experiment").write(folder / "experiments/theory.json", device="cpu", threads=1)
    drawn = folder / "figures/theory/curve.svg"
    drawn.parent.mkdir(parents=True)
    drawn.write_bytes(
        curves.dots(
            [{"title": "x", "published": None, "failed": 0, "seeds": [(0, 1.0), (1, 2.0)]}],
            "A figure of an experiment",
            "theory/curve",
        )
    )
    figures = [{"name": "curve", "caption": "Nothing, of 6 seeds (nats)."}]
    write_json(drawn.parent / "figures.json", result("draw", CODE, {}, {}, experiment="theory", figures=figures))
    protocol = read_protocol(package_root() / "protocol.yaml")
    found = build_claims(protocol, dict.fromkeys(checks, ("results/experiments/theory.json", content)))
    measured = {"preset": "mnist", "claims": found, "counts": counts(found)}
    write_json(folder / "claims.json", result("claims", CODE, {"preset": "mnist"}, {}, **measured))


def write_table(folder: Path, evaluations: dict[str, dict[str, Any]], preset: str) -> None:
    """`table1.json`, as the stage `table` makes it."""
    root = package_root()
    found = {
        (MODEL, name): [(f"results/evaluation/{name}/{MODEL}/0-2.json", content)]
        for name, content in evaluations.items()
    }
    published, protocol = read_published(root / "results/published/table1.csv"), read_protocol(root / "protocol.yaml")
    context = read_context(root / "results/published/context.csv")
    found["true_distribution", "digits"] = [("results/x.json", _evaluation("digits", [0, 1], {}, 60.0))]
    table = build_table(preset, list(found), found, published, context, protocol)
    write_json(folder / "table1.json", result("table", CODE, {"preset": preset}, {}, **table))


@pytest.fixture(scope="session")
def params() -> Params:
    return Params.parse(
        {
            "preset": "mnist",
            "datasets": dict.fromkeys(FOLDS),
            "models": {MODEL: dict.fromkeys(FOLDS)},
            "experiments": {"theory": {"seeds": "0-5"}},
        },
        "test",
    )


def write_run(folder: Path, trained: Trained, preset: str = "mnist", rate: float = 0.1, scale: float = 1.0) -> None:
    """All results of a run: (data set, level of its log-likelihoods, failed seeds) of each job."""
    evaluations = {}
    for dataset, level, failed in trained:
        seeds, stem = [0, 1, 2], f"{dataset}/{MODEL}/0-2.json"
        training, width = _training(dataset, seeds, failed, level, rate), _bandwidth(dataset, seeds, failed, level)
        evaluations[dataset] = _evaluation(dataset, seeds, failed, level)
        side = 8 if dataset == "digits" else 28
        data = result(
            "prepare",
            CODE,
            {},
            {},
            dataset=dataset,
            title=DATASETS[dataset],
            shape=[1, side, side],
            counts={"train": 1283, "valid": 257, "test": 257},
            value_range=[0.0, 1.0],
            sources=[],
            sha256=hashlib.sha256(dataset.encode()).hexdigest(),
        )
        write_json(folder / f"data/{dataset}.json", data)
        classifier, seen = _recognition(dataset, seeds, failed)
        write_json(folder / f"classifier/{dataset}.json", classifier)
        for kind, content in (
            ("train", training),
            ("bandwidth", width),
            ("evaluation", evaluations[dataset]),
            ("recognition", seen),
        ):
            write_json(folder / kind / stem, content)
            RunRecord(content["stage"]).write(folder / kind / stem, device="cpu", threads=1)
        _panels(dataset, folder / f"panels/{dataset}/{MODEL}/0-2", training, width)
        sampled = folder / f"samples/{dataset}/{MODEL}/0-2.safetensors"
        RunRecord("sample").write(sampled, device="cpu", threads=1, seconds_per_10000=1.25)
    write_table(folder, evaluations, preset)
    _claims(folder, scale)
    trials = [
        {"trial": k, "changes": {"learning_rate": 0.1 * k}, "seeds": "100-101", "epochs": 40, "seconds": 12.5,
         "log_likelihood": None if k == 3 else 12.0 + k}
        for k in range(4)
    ]  # fmt: skip
    tuning = result("tune", CODE, {}, {}, dataset="digits", budget=4, models={MODEL: trials})
    write_json(folder / "tuning/digits.json", tuning)


@pytest.fixture(scope="session")
def kept_results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder `results` of a run, not to be changed: digits and five folds went well, one seed failed on MNIST."""
    folder = tmp_path_factory.mktemp("run") / "results"
    failed = {"2": {"epoch": 200, "reason": "the loss is not a number"}}
    write_run(folder, [("digits", 48.0, {}), ("mnist", 221.0, failed), ("tfd", 2050.0, {})])
    return folder


@pytest.fixture(scope="session")
def second_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project folder of another run, not to be changed: twice the learning rate, no faces, a claim that fails."""
    folder = tmp_path_factory.mktemp("other") / "second-run"
    write_run(folder / "results", [("digits", 45.0, {}), ("mnist", 221.0, {})], "smoke", rate=0.2, scale=10.0)
    return folder


@pytest.fixture
def results(kept_results: Path, tmp_path: Path) -> Path:
    """A copy of the results that a test may change."""
    return Path(shutil.copytree(kept_results, tmp_path / "results"))


@pytest.fixture(scope="session")
def html(params: Params, kept_results: Path) -> str:
    """The whole page."""
    return page(params, kept_results / "table1.json", kept_results)


@pytest.fixture(scope="session")
def compared(params: Params, kept_results: Path, second_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The page with another run beside this one; the files of both and of the comparison lie as the page names them."""
    root = tmp_path_factory.mktemp("compared")
    results = Path(shutil.copytree(kept_results, root / "results"))
    shutil.copytree(second_run, root / second_run.name)
    beside = read_beside(results / "table1.json", results, root / second_run.name, "index.comparison.json")
    write_json(root / beside.file, beside.content)
    return page(params, results / "table1.json", results, beside=beside), results


@pytest.fixture(scope="session")
def full_html(params: Params, kept_results: Path, second_run: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page with everything it can hold: also a trial's notice, reference runs, frames and another run beside it."""
    results = Path(shutil.copytree(kept_results, tmp_path_factory.mktemp("full") / "results"))
    for name, kept in (("table1.json", "one-seed"), ("claims.json", "statements/ten-seeds")):
        (results / "reference" / kept).mkdir(parents=True)
        shutil.copy(results / name, results / "reference" / kept / name)
    write_json(results / "table1.json", read_json(results / "table1.json") | {"preset": "demo"})
    with theme.canvas() as (figure, [axes]):
        for frame in range(3):
            axes.plot([0, 1], [frame, 1], gid=f"{theme.FRAME}{frame}-line", color=theme.SERIES[frame])
        (results / "figures/theory/curve.svg").write_bytes(theme.svg(figure, "theory/curve", "Frames", "Three lines."))
    beside = read_beside(results / "table1.json", results, second_run, "full.comparison.json")
    return page(params, results / "table1.json", results, beside=beside)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium; tests that want it skip where playwright or Chromium is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is missing: `pip install playwright`")
    if CHROMIUM is None:
        pytest.skip("no Chromium on PATH")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def shown(html: str) -> str:
    """The page that `opened` opens; a module may show another."""
    return html


@pytest.fixture
def opened(browser: Any, shown: str, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Opens the page offline with the context's options; at the end nothing may have been asked for or gone wrong."""
    file, wrong, contexts = tmp_path / "index.html", [], []
    file.write_text(shown, encoding="utf-8")

    def open_page(**options: Any) -> Any:
        context = browser.new_context(offline=True, **options)
        contexts.append(context)
        page = context.new_page()
        allowed = (file.resolve().as_uri(), "data:")
        page.on("request", lambda r: None if r.url.startswith(allowed) else wrong.append(f"request {r.url}"))
        page.on("requestfailed", lambda r: wrong.append(f"failed {r.url[:80]}"))
        page.on("console", lambda m: wrong.append(f"console {m.text}"))
        page.on("pageerror", lambda e: wrong.append(f"error {e}"))
        page.goto(file.resolve().as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []
