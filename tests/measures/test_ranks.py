"""Ranks, their agreement, and the study of it, against scipy and orders known beforehand."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from replicate.errors import ReplicateError
from replicate.experiments.agreement import EXPERIMENT, ROWS
from replicate.experiments.base import MeasureConfig, ModelMeasures, NotApplicable
from replicate.figures.experiments.agreement import draw
from replicate.figures.ranks import ranks as ranks_figure
from replicate.measures import REGISTRY
from replicate.measures.ranking import kendall_tau, kendall_w, ranks, resampled_means
from replicate.records.frame import read_result
from replicate.records.schema import Measured, Ranks
from replicate.stages import ranks as stage
from replicate.stages.experiment import read_measures
from replicate.storage.files import read_json, write_json
from tests.framed import result

small = st.integers(0, 4).map(float)


@given(st.lists(small, min_size=2, max_size=8))
def test_ranks_are_those_of_scipy_with_the_best_first(goods: list[float]) -> None:
    expected = stats.rankdata([-value for value in goods])
    np.testing.assert_allclose(ranks(np.array(goods)), expected)


@given(st.lists(st.lists(small, min_size=5, max_size=5), min_size=3, max_size=6))
def test_concordance_is_that_of_friedmans_test(rows: list[list[float]]) -> None:
    """chi^2 = m (n - 1) W, ties included."""
    measures = np.array(rows)
    concordance = float(kendall_w(ranks(measures)))
    if all(len(set(row)) == 1 for row in rows):
        assert np.isnan(concordance)
        return
    friedman = stats.friedmanchisquare(*measures.T).statistic
    assert concordance == pytest.approx(friedman / (len(rows) * 4), abs=1e-12)


@given(st.lists(st.tuples(small, small), min_size=2, max_size=8))
def test_tau_is_that_of_scipy(pairs: list[tuple[float, float]]) -> None:
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    tau = kendall_tau(first, second)
    if len(set(first)) == 1 or len(set(second)) == 1:
        assert tau is None
    else:
        assert tau == pytest.approx(stats.kendalltau(first, second).statistic, abs=1e-12)


def entry(measure: str, value: float | None, half: float = 0.0) -> Measured:
    space = "pixels" if REGISTRY[measure].needs == "comparison" else None
    return {
        "measure": measure,
        "space": space,  # type: ignore[typeddict-item]
        "value": value,
        "interval": None if value is None else [value - half, value + half],
        "images": 10,
        "details": {},
        "reason": "says nothing" if value is None else None,
    }


def test_resampled_means_have_the_spread_of_seeds_and_of_images() -> None:
    """Of three seeds: sd / sqrt(3) with divisor 3, and an image error of one third of the sum."""
    seeds = [entry("parzen", value) for value in (1.0, 2.0, 6.0)]
    resampled = resampled_means(seeds, (0,))
    assert resampled.mean() == pytest.approx(3, abs=0.1)
    assert resampled.std() == pytest.approx(np.std([1, 2, 6]) / np.sqrt(3), rel=0.05)
    noisy = resampled_means([entry("parzen", 1.0, half=1.959964 * 0.5)], (0,))
    assert noisy.std() == pytest.approx(0.5, rel=0.05)


def block(folder: Path, model: str, values: dict[str, list[float | None]], **about: Any) -> Path:
    """A result of the stage `measures`: measure -> value of every seed; all null: a failed seed."""
    per_seed = []
    for seed in range(len(next(iter(values.values())))):
        numbers = {name: of_seeds[seed] for name, of_seeds in values.items()}
        failed = None
        entries = [entry(name, number, half=0.01) for name, number in numbers.items()]
        if all(number is None for number in numbers.values()):
            failed = {"epoch": 3, "reason": "the loss is not finite"}
            entries = []
        per_seed.append({"seed": seed, "failed": failed, "measures": entries})
    content = result(
        "measures",
        "0123456789abcdef",
        {"compute": {"device": "cpu", "threads": 1}, "likelihood": {}, "measures": {}},
        {},
        **{
            "dataset": "digits",
            "model": model,
            "block": f"0-{len(per_seed) - 1}",
            "seeds": [row["seed"] for row in per_seed],
            "n_samples": 100,
            "sampler_name": None,
            "per_seed": per_seed,
            **about,
        },
    )
    path = folder / f"{model}-{content['block']}.json"
    write_json(path, content)
    return path


def ranked(folder: Path, *files: Path) -> Any:
    out = folder / "ranks.json"
    stage.run(argparse.Namespace(out=out, results=list(files)))
    return read_result(out, Ranks)["datasets"][0]


def test_models_are_ranked_by_every_measure_with_its_better_side(tmp_path: Path) -> None:
    """Three models, clearly apart: the order of each measure, one reversed, one around one half."""
    orders = {
        "vae": {"parzen": 30.0, "frechet_distance": 1.0, "classifier_test": 0.45, "recall": 0.2},
        "rbm": {"parzen": 20.0, "frechet_distance": 2.0, "classifier_test": 0.60, "recall": 0.5},
        "dbn": {"parzen": 10.0, "frechet_distance": 3.0, "classifier_test": 0.90, "recall": 0.8},
    }
    files = []
    for model, values in orders.items():
        of_seeds: dict[str, list[float | None]] = {name: [v, v] for name, v in values.items()}
        files.append(block(tmp_path, model, of_seeds))
    files.append(block(tmp_path, "k_means", {"parzen": [50.0], "frechet_distance": [0.5]}))
    content = ranked(tmp_path, *files)
    columns = [column["measure"] for column in content["columns"]]
    assert columns == sorted(columns, key=list(REGISTRY).index)
    table = {row["name"]: dict(zip(columns, row["values"], strict=True)) for row in content["rows"]}
    for name, expected in {
        "parzen": ["vae", "rbm", "dbn"],
        "frechet_distance": ["vae", "rbm", "dbn"],
        "classifier_test": ["vae", "rbm", "dbn"],
        "recall": ["dbn", "rbm", "vae"],
    }.items():
        assert [table[model][name]["rank"] for model in expected] == [1, 2, 3]
        assert table["vae"][name]["value"] == orders["vae"][name]
    kinds = {row["name"]: row["kind"] for row in content["rows"]}
    assert kinds == {"vae": "model", "rbm": "model", "dbn": "model", "k_means": "reference"}
    assert table["k_means"]["parzen"]["rank"] is None
    agreement = content["agreement"]
    taus = dict(zip(columns, agreement["tau_with_parzen"], strict=True))
    assert taus == {"parzen": 1, "frechet_distance": 1, "classifier_test": 1, "recall": -1}
    # Ranks add up to (6, 8, 10): 12 * 8 / (4^2 * 24).
    assert agreement["kendall_w"] == pytest.approx(0.25)
    assert agreement["interval"] == pytest.approx([0.25, 0.25])


def test_a_measure_without_a_value_of_a_model_ranks_none(tmp_path: Path) -> None:
    content = ranked(
        tmp_path,
        block(tmp_path, "vae", {"parzen": [1.0], "recall": [None], "annealed_likelihood": [5.0]}),
        block(tmp_path, "rbm", {"parzen": [2.0], "recall": [0.5], "annealed_likelihood": [None]}),
    )
    shown = {column["measure"]: column["ranked"] for column in content["columns"]}
    assert shown == {"parzen": True, "annealed_likelihood": False, "recall": False}
    assert content["agreement"]["kendall_w"] is None


def test_a_failed_seed_is_left_out_and_a_failed_model_has_no_row(tmp_path: Path) -> None:
    content = ranked(
        tmp_path,
        block(tmp_path, "vae", {"parzen": [1.0, None]}),
        block(tmp_path, "rbm", {"parzen": [3.0, 5.0]}),
        block(tmp_path, "dbn", {"parzen": [None, None]}),
    )
    assert [(row["name"], row["values"][0]["seeds"]) for row in content["rows"]] == [
        ("vae", 1),
        ("rbm", 2),
    ]
    assert content["rows"][1]["values"][0]["value"] == 4


def test_the_gap_of_two_bounds_is_told_beside_the_value(tmp_path: Path) -> None:
    path = block(tmp_path, "vae", {"annealed_likelihood": [5.0, 7.0], "parzen": [1.0, 1.0]})
    content = read_json(path)
    for seed, gap in zip(content["per_seed"], (1.0, 4.0), strict=True):
        seed["measures"][0]["details"] = {"gap": gap}
    write_json(path, content)
    ranked_rows = ranked(tmp_path, path)
    by_measure = zip(ranked_rows["columns"], ranked_rows["rows"][0]["values"], strict=True)
    gaps = {column["measure"]: value["gap"] for column, value in by_measure}
    assert gaps == {"annealed_likelihood": 2.5, "parzen": None}


def test_other_results_are_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"stage": "train", "schema": 1})
    with pytest.raises(ReplicateError, match="measures, controls"):
        ranked(tmp_path, tmp_path / "x.json")
    assert not (tmp_path / "ranks.json").exists()


def test_the_plot_of_ranks_names_models_and_measures(tmp_path: Path) -> None:
    values: dict[str, list[float | None]] = {"parzen": [1.0, 2.0], "recall": [0.1, 0.2]}
    other: dict[str, list[float | None]] = {"parzen": [3.0, 2.5], "recall": [0.5, 0.7]}
    content = ranked(tmp_path, block(tmp_path, "vae", values), block(tmp_path, "rbm", other))
    drawn = ranks_figure(content, {"vae": "The VAE"}, "Ranks", "ranks/x").decode()
    for words in ("The VAE", "rbm", "Parzen estimate", "Recall, pixels", "95 % interval"):
        assert words in drawn


def measures_of(orders: dict[str, list[float]], sampler: str | None = None) -> dict[str, Any]:
    """The rows of Table 1 by measure -> value of each row, the same for six seeds."""
    models = {}
    for position, name in enumerate(ROWS):
        values = {measure: of_rows[position] for measure, of_rows in orders.items()}
        models[name] = ModelMeasures(dict.fromkeys(range(6), values), sampler)
    return models


MNIST = MeasureConfig(dataset="mnist")


def test_agreement_is_the_mean_tau_of_measures_that_rank_all_rows() -> None:
    models = measures_of(
        {
            "parzen": [1, 2, 3, 4],
            "precision/pixels": [0.1, 0.2, 0.3, 0.4],
            "frechet_distance/pixels": [1, 2, 3, 4],
            # No measure of how near samples are: left out.
            "memorisation": [4, 3, 2, 1],
        },
        sampler="published",
    )
    measured = EXPERIMENT.measure(MNIST, models, range(6))
    assert measured.checks["L5"]["rank_agreement_with_other_measures"] == [0.0] * 6
    assert measured.series["measures"] == {
        "precision/pixels": [1.0] * 6,
        "frechet_distance/pixels": [-1.0] * 6,
    }
    drawn = draw({"series": measured.series, "seeds": list(range(6))})
    assert b"Precision, pixels" in drawn["taus"].svg


def test_a_failed_seed_of_one_row_is_a_failed_seed_of_the_study() -> None:
    models = measures_of({"parzen": [1, 2, 3, 4], "precision/pixels": [1, 2, 3, 4]})
    values = dict(models["dbn"].values) | {2: None}
    models["dbn"] = ModelMeasures(values, None)
    measured = EXPERIMENT.measure(MNIST, models, range(6))
    assert measured.checks["L5"]["rank_agreement_with_other_measures"] == [1, 1, None, 1, 1, 1]


def test_what_the_rule_is_not_about_is_not_applicable() -> None:
    models = measures_of({"parzen": [1, 2, 3, 4], "precision/pixels": [1, 2, 3, 4]})
    with pytest.raises(NotApplicable, match="MNIST"):
        EXPERIMENT.measure(MeasureConfig(dataset="digits"), models, range(6))
    with pytest.raises(NotApplicable, match="no measures of dbn"):
        EXPERIMENT.measure(MNIST, {k: v for k, v in models.items() if k != "dbn"}, range(6))
    mixed = measures_of({"parzen": [1, 2, 3, 4], "precision/pixels": [1, 2, 3, 4]}, "mixed")
    with pytest.raises(NotApplicable, match="published"):
        EXPERIMENT.measure(MNIST, mixed, range(6))
    with pytest.raises(NotApplicable, match="no measure but"):
        EXPERIMENT.measure(MNIST, measures_of({"parzen": [1, 2, 3, 4]}), range(6))


def test_measures_are_read_by_model_and_seed(tmp_path: Path) -> None:
    first = block(tmp_path, "vae", {"parzen": [1.0, None], "recall": [0.5, None]})
    models = read_measures([first], "digits")
    assert models["vae"].values == {0: {"parzen": 1.0, "recall/pixels": 0.5}, 1: None}
    with pytest.raises(ReplicateError, match="another file has"):
        read_measures([first, first], "digits")
    with pytest.raises(ReplicateError, match="not of mnist"):
        read_measures([first], "mnist")
