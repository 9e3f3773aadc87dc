"""A small results folder, made through the project's own writers: one job that went well, one with a failed seed."""

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from replicate.figures import curves
from replicate.figures.grids import grid, png
from replicate.files import write_json
from replicate.params import Params
from replicate.report import page
from replicate.result import result
from replicate.runrecord import RunRecord

SIGMAS = [round(10 ** (-1 + k / 9), 12) for k in range(10)]
MODEL = "adversarial_nets"
PAPER = {
    "mnist": {"dbn": (138, 2), "stacked_cae": (121, 1.6), "deep_gsn": (214, 1.1), MODEL: (225, 2)},
    "tfd": {"dbn": (1909, 66), "stacked_cae": (2110, 50), "deep_gsn": (1890, 29), MODEL: (2057, 26)},
}
TITLES = {"dbn": "DBN", "stacked_cae": "Stacked CAE", "deep_gsn": "Deep GSN", MODEL: "Adversarial nets"}
DATASETS = {"mnist": ("MNIST", True), "tfd": ("TFD", True), "digits": ("Digits", False)}
CODE = "0123456789abcdef"


def _training(dataset: str, seeds: list[int], failed: dict[str, Any], level: float) -> dict[str, Any]:
    epochs = list(range(20, 401, 20))
    wave = [[level - 900 / epoch + 3 * math.sin(epoch / 40 + seed) for seed in seeds] for epoch in epochs]
    alive = [[None if str(s) in failed and e >= failed[str(s)]["epoch"] else v for s, v in zip(seeds, row, strict=True)]
             for e, row in zip(epochs, wave, strict=True)]
    best = [max((row[k], e) for e, row in zip(epochs, alive, strict=True) if row[k] is not None) for k in range(len(seeds))]
    losses = {name: [[start + 0.1 * math.cos(e / 50 + s) for s in seeds] for e in epochs]
              for name, start in (("discriminator", 1.2), ("generator", 0.9))}
    return result(
        "train", CODE, {"dataset": dataset, "model": MODEL, "config": {"learning_rate": 0.1, "epochs": 400}}, {},
        dataset=dataset, model=MODEL, block="0-2", seeds=seeds, shape=[1, 8, 8], epochs=400, latent=True,
        parameter_count={"generator": 57264, "discriminator": 58481}, failed=failed,
        curve={"epoch": epochs, "log_likelihood": alive, "sigma": [[0.2] * len(seeds) for _ in epochs], "losses": losses},
        chosen_epoch=[e for _, e in best], chosen_log_likelihood=[v for v, _ in best],
    )


def _bandwidth(dataset: str, seeds: list[int], failed: dict[str, Any], level: float) -> dict[str, Any]:
    def curve(seed: int) -> list[list[float]]:
        return [[level - 90 * math.log(s / 0.17) ** 2 + seed + draw / 10 for s in SIGMAS] for draw in range(2)]

    sound = [str(seed) not in failed for seed in seeds]
    return result(
        "bandwidth", CODE, {"sigmas": SIGMAS}, {}, dataset=dataset, model=MODEL, block="0-2", seeds=seeds, sigmas=SIGMAS,
        n_validation=1000, curve=[curve(s) if ok else None for s, ok in zip(seeds, sound, strict=True)],
        chosen=[[SIGMAS[2]] * 2 if ok else None for ok in sound], at_edge=[[False] * 2 if ok else None for ok in sound],
        fine=[[0.1712] * 2 if ok else None for ok in sound], fine_log_likelihood=[[level] * 2 if ok else None for ok in sound],
    )


def _evaluation(dataset: str, seeds: list[int], failed: dict[str, Any], level: float) -> dict[str, Any]:
    def entry(seed: int) -> dict[str, Any]:
        if str(seed) in failed:
            return {"seed": seed, "failed": failed[str(seed)], "log_likelihood": None, "draws": []}
        draws = [{"log_likelihood": level + 3 * seed + draw / 7, "standard_error": 2.0137, "sigma": SIGMAS[2],
                  "at_edge": seed == 0 and draw == 0, "fine_sigma": 0.1712, "fine_log_likelihood": level + 3 * seed + 0.5}
                 for draw in range(2)]
        return {"seed": seed, "failed": None, "draws": draws, "log_likelihood": float(np.mean([d["log_likelihood"] for d in draws]))}

    return result(
        "evaluate", CODE, {"compute": {"device": "cpu", "threads": 1}}, {}, dataset=dataset, model=MODEL, block="0-2", seeds=seeds,
        per_seed=[entry(seed) for seed in seeds], n_test=10000, n_samples=10000, n_validation=1000, dimension=784,
    )


def _panels(dataset: str, folder: Path, training: dict[str, Any], bandwidth: dict[str, Any]) -> None:
    folder.mkdir(parents=True)
    noise = np.random.default_rng(0)
    (folder / "samples.png").write_bytes(png(grid(noise.random((4, 6, 1, 8, 8)), marked=[5])))
    (folder / "interpolation.png").write_bytes(png(grid(noise.random((4, 9, 1, 8, 8)))))
    title = f"Adversarial nets on {DATASETS[dataset][0]}"
    (folder / "learning.svg").write_bytes(curves.learning(training, title, f"{dataset}/learning"))
    (folder / "bandwidth.svg").write_bytes(curves.bandwidth(bandwidth, title, f"{dataset}/bandwidth"))
    content = result("panels", CODE, {}, {}, dataset=dataset, model=MODEL, block="0-2", seed=0, rows=4, columns=5,
                     nearest=[3, 1, 4, 1], distance=[2.5, 2.25, 3.125, 1.75], interpolation={"rows": 4, "steps": 9})
    write_json(folder / "panels.json", content)


def measured(evaluation: dict[str, Any]) -> dict[str, Any]:
    """A cell's measured part, as the stage `table` computes it."""
    sound = [entry for entry in evaluation["per_seed"] if entry["failed"] is None]
    values = [entry["log_likelihood"] for entry in sound]
    return {
        "mean": float(np.mean(values)), "sd_over_seeds": float(np.std(values, ddof=1)), "standard_error_test": 2.0137,
        "sd_over_draws": 0.101, "seeds": evaluation["seeds"],
        "failed": [{"seed": e["seed"], **e["failed"]} for e in evaluation["per_seed"] if e["failed"]],
        "per_seed": [{"seed": e["seed"], "log_likelihood": e["log_likelihood"], "standard_error": 2.0137} for e in sound],
        "n_test": 10000, "n_samples": 10000, "dimension": 784, "interquartile_mean": float(np.median(values)), "interval": None,
        "files": [f"results/evaluation/{evaluation['dataset']}/{MODEL}/0-2.json"],
    }


def verdict(state: str, reason: str, **values: Any) -> dict[str, Any]:
    """A cell's verdict."""
    empty = dict.fromkeys(("seeds_needed", "difference", "ci90", "ci95", "number_margin", "claim_margin", "number_state",
                           "claim_state", "protocol_sha256"))
    return {**empty, "state": state, "reason": reason, **values}


def build_table(evaluations: dict[str, dict[str, Any]], preset: str = "mnist") -> dict[str, Any]:
    """A `table1.json`, in the format of replicate/table.py."""
    rows = []
    for model, title in TITLES.items():
        cells = {}
        for dataset in DATASETS:
            printed = PAPER.get(dataset, {}).get(model)
            found = evaluations.get(dataset) if model == MODEL else None
            state = ("no published value", "The paper has no number here.") if printed is None else (
                ("withheld", "fewer seeds than the protocol asks for") if found else ("not attempted", "not part of this run"))
            cells[dataset] = {
                "claim": f"T1/{dataset}/{model}" if printed else None,
                "published": printed and {"log_likelihood": printed[0], "standard_error": printed[1], "source": "Table 1",
                                          "uncertainty_over": "test images" if dataset == "mnist" else "folds"},
                "measured": measured(found) if found else None,
                "verdict": verdict(*state, seeds_needed=6 if state[0] == "withheld" else None),
            }
        rows.append({"model": model, "title": title, "cells": cells})
    sets = [{"name": name, "title": title, "published": published} for name, (title, published) in DATASETS.items()]
    return result("table", CODE, {}, {}, preset=preset, rows=rows, datasets=sets)


@pytest.fixture
def params() -> Params:
    return Params.parse({"preset": "mnist", "datasets": {"digits": {}, "mnist": {}},
                         "models": {MODEL: {"digits": {}, "mnist": {}}}}, "test")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """The folder `results` of a run: digits went well, one seed failed on MNIST."""
    folder, evaluations = tmp_path / "results", {}
    for dataset, level, failed in (("digits", 48.0, {}), ("mnist", 221.0, {"2": {"epoch": 200, "reason": "the loss is not a number"}})):
        seeds, stem = [0, 1, 2], f"{dataset}/{MODEL}/0-2.json"
        training, width = _training(dataset, seeds, failed, level), _bandwidth(dataset, seeds, failed, level)
        evaluations[dataset] = _evaluation(dataset, seeds, failed, level)
        side = 8 if dataset == "digits" else 28
        data = result("prepare", CODE, {}, {}, dataset=dataset, title=DATASETS[dataset][0], shape=[1, side, side],
                      counts={"train": 1283, "valid": 257, "test": 257}, value_range=[0.0, 1.0], sources=[],
                      sha256=hashlib.sha256(dataset.encode()).hexdigest())
        write_json(folder / f"data/{dataset}.json", data)
        for kind, content in (("train", training), ("bandwidth", width), ("evaluation", evaluations[dataset])):
            write_json(folder / kind / stem, content)
            RunRecord(content["stage"]).write(folder / kind / stem, device="cpu", threads=1)
        _panels(dataset, folder / f"panels/{dataset}/{MODEL}/0-2", training, width)
    write_json(folder / "table1.json", build_table(evaluations))
    return folder


@pytest.fixture
def html(params: Params, results: Path) -> str:
    """The whole page."""
    return page(params, results / "table1.json", results)
