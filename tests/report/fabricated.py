"""Fabricates a results folder through the project's own writers, for tests of the page that train
nothing.
"""

import argparse
import hashlib
import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from replicate.figures import curves
from replicate.figures.grids import grid, png
from replicate.jobs.job_list import JobList
from replicate.jobs.plan import Plan
from replicate.measures import REGISTRY as MEASURES
from replicate.measures.controls_list import CONTROLS
from replicate.models import REGISTRY as MODELS
from replicate.params import Params
from replicate.records.run_record import StageMeter
from replicate.stages import ranks
from replicate.storage.files import write_json, write_tensors
from replicate.storage.paths import package_root
from replicate.verdicts.protocol import read_protocol
from replicate.verdicts.published import read_context, read_published
from replicate.verdicts.statements import counts, statement_verdicts
from replicate.verdicts.table1 import build_table
from tests.framed import result

SIGMAS = [round(10 ** (-1 + k / 9), 12) for k in range(10)]
MODEL = "adversarial_nets"
DATASETS = {
    "mnist": "MNIST",
    "digits": "Digits",
    "tfd": "Toronto Face Database",
    "cifar10": "CIFAR-10",
}
FOLDS = {"mnist": 1, "digits": 1, "tfd": 5, "cifar10": 1}
SHAPES = {"mnist": (1, 28, 28), "digits": (1, 8, 8), "tfd": (1, 48, 48), "cifar10": (3, 32, 32)}
CODE = "0123456789abcdef"


def jobs_of(params: Params) -> JobList:
    """The jobs of a run with these parameters."""
    return JobList(Plan(params.model_dump(mode="json"), params.where), package_root())


@dataclass(frozen=True)
class Job:
    """A training job that never ran.

    Attributes:
        level: about which its log-likelihoods lie.
        failed: seed -> epoch and reason.
        epochs: at which it was looked at.
        shape: of an image of its grids, which are noise.
        latent: whether there is a walk between two codes.
        rough: spread of what is added to its curves; a smooth line takes fewer points in a plot
            than a measured one.
    """

    dataset: str
    level: float
    failed: Mapping[str, Any] = field(default_factory=dict)
    model: str = MODEL
    seeds: Sequence[int] = (0, 1, 2)
    epochs: Sequence[int] = range(20, 401, 20)
    shape: tuple[int, int, int] = (1, 8, 8)
    rough: float = 0.0
    latent: bool = True

    @property
    def block(self) -> str:
        """Its seeds, as a run names them."""
        return f"{self.seeds[0]}-{self.seeds[-1]}"

    @property
    def stem(self) -> str:
        """Where its results lie below the folder of their kind."""
        return f"{self.dataset}/{self.model}/{self.block}"

    @property
    def about(self) -> dict[str, Any]:
        """What each of its results says of it."""
        return {
            "dataset": self.dataset,
            "model": self.model,
            "block": self.block,
            "seeds": list(self.seeds),
        }

    def noise(self, looks: int) -> list[list[float]]:
        """Of every look and seed, the same at every call."""
        drawn: list[list[float]] = (
            self.rough * np.random.default_rng(0).random((looks, len(self.seeds)))
        ).tolist()
        return drawn


def _training(job: Job, rate: float) -> dict[str, Any]:
    seeds, failed, level, epochs = job.seeds, job.failed, job.level, list(job.epochs)
    wave = [
        [
            level - 900 / epoch + 3 * math.sin(epoch / 40 + seed) + noise
            for seed, noise in zip(seeds, noises, strict=True)
        ]
        for epoch, noises in zip(epochs, job.noise(len(epochs)), strict=True)
    ]
    alive = [
        [
            None if str(s) in failed and e >= failed[str(s)]["epoch"] else v
            for s, v in zip(seeds, row, strict=True)
        ]
        for e, row in zip(epochs, wave, strict=True)
    ]
    best = [
        max((row[k], e) for e, row in zip(epochs, alive, strict=True) if row[k] is not None)
        for k in range(len(seeds))
    ]
    losses = {
        name: [
            [
                start + 0.1 * math.cos(e / 50 + s) + noise
                for s, noise in zip(seeds, noises, strict=True)
            ]
            for e, noises in zip(epochs, job.noise(len(epochs)), strict=True)
        ]
        for name, start in (("discriminator", 1.2), ("generator", 0.9))
    }
    return result(
        "train",
        CODE,
        {
            "dataset": job.dataset,
            "model": job.model,
            "config": {"learning_rate": rate, "epochs": epochs[-1]},
        },
        {},
        **job.about,
        shape=list(job.shape),
        epochs=epochs[-1],
        latent=job.latent,
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


def _bandwidth(job: Job) -> dict[str, Any]:
    folds, seeds, failed, level = FOLDS[job.dataset], job.seeds, job.failed, job.level

    def curve(seed: int) -> list[list[list[float]]]:
        return [
            [
                [level - 90 * math.log(s / 0.17) ** 2 + seed + draw / 10 + fold for s in SIGMAS]
                for fold in range(folds)
            ]
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
        **job.about,
        sigmas=SIGMAS,
        n_validation=[1000] * folds,
        validation_available=[1000] * folds,
        curve=[curve(s) if ok else None for s, ok in zip(seeds, sound, strict=True)],
        chosen=[each(SIGMAS[2]) if ok else None for ok in sound],
        at_edge=[each(False) if ok else None for ok in sound],
        fine=[each(0.1712) if ok else None for ok in sound],
        fine_log_likelihood=[each(level) if ok else None for ok in sound],
    )


def _evaluation(job: Job) -> dict[str, Any]:
    folds, seeds, failed, level = FOLDS[job.dataset], job.seeds, job.failed, job.level

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
        **job.about,
        per_seed=[entry(seed) for seed in seeds],
        n_test=[10000] * folds,
        n_samples=10000,
        chains=None if folds == 1 else 100,
        sigmas=SIGMAS,
        n_validation=[1000] * folds,
        validation_available=[1000] * folds,
        dimension=784,
    )


def _recognition(job: Job) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a classifier is worth and what it saw; on faces there was none."""
    seeds, failed = job.seeds, job.failed
    reason = "the data set has no labels" if job.dataset == "tfd" else None
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
    seen = result(
        "recognise",
        CODE,
        {},
        {},
        **job.about,
        compared=1000,
        sure_from=0.9,
        reason=reason,
        accuracy=accuracy,
        per_seed=per_seed,
    )
    judge = {"reason": reason, "classes": 10, "accuracy": accuracy, "n_test": 10000, "sure": 0.96}
    return result("classifier", CODE, {}, {}, shape=[1, 28, 28], **judge), seen


def _panels(job: Job, folder: Path, training: dict[str, Any], bandwidth: dict[str, Any]) -> None:
    folder.mkdir(parents=True)
    noise = np.random.default_rng(0)
    (folder / "samples.png").write_bytes(png(grid(noise.random((4, 6, *job.shape)), marked=[5])))
    if job.latent:
        (folder / "interpolation.png").write_bytes(png(grid(noise.random((4, 9, *job.shape)))))
    title = f"{MODELS[job.model][0]} on {DATASETS[job.dataset]}"
    (folder / "learning.svg").write_bytes(curves.learning(training, title, f"{job.stem}/learning"))
    (folder / "bandwidth.svg").write_bytes(
        curves.bandwidth(bandwidth, title, f"{job.stem}/bandwidth")
    )
    content = result(
        "panels",
        CODE,
        {},
        {},
        dataset=job.dataset,
        model=job.model,
        block=job.block,
        seed=job.seeds[0],
        rows=4,
        columns=5,
        nearest=[3, 1, 4, 1],
        distance=[2.5, 2.25, 3.125, 1.75],
        interpolation={"rows": 4, "steps": 9} if job.latent else None,
    )
    write_json(folder / "panels.json", content)


def _statements(folder: Path, scale: float) -> None:
    """An experiment that decides three statements, and what the verdicts make of it; its errors grow
    with `scale`.
    """
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
    config = {
        "config": {"seeds": "0-5", "dataset": "digits"},
        "compute": {"device": "cpu", "threads": 1},
    }
    content = result("experiment", CODE, config, {}, experiment="theory", seeds=list(range(6)),
                     checks=checks, changed=["updates"], series={}, not_applicable=None)  # fmt: skip
    write_json(folder / "experiments/theory.json", content)
    StageMeter("experiment").write(folder / "experiments/theory.json", device="cpu", threads=1)
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
    write_json(
        drawn.parent / "figures.json",
        result("draw", CODE, {}, {}, experiment="theory", figures=figures),
    )
    protocol = read_protocol(package_root() / "protocol.yaml")
    found = statement_verdicts(
        protocol, dict.fromkeys(checks, ("results/experiments/theory.json", content))
    )
    measured = {"preset": "mnist", "statements": found, "counts": counts(found)}
    write_json(
        folder / "statements.json", result("statements", CODE, {"preset": "mnist"}, {}, **measured)
    )


def samplers_of(seeds: Sequence[int], level: float = 40.0) -> dict[str, Any]:
    """A result of the stage `samplers`: two samplers, two draws of each seed."""
    noise = np.random.default_rng(5)

    def draw(at: float) -> dict[str, float]:
        return {
            "log_likelihood": at + float(noise.normal()), "effective_samples": 90.0 + float(noise.random()),
            "remembered_start": float(noise.random()), "memorisation": float(noise.random()),
        }  # fmt: skip

    chains = {"published": 1, "mixed": 1000}
    samplers = {
        name: {
            "settings": {
                "chains": count,
                "burn_in": 5 * count,
                "thinning": 2,
                "start": "own",
                "pixels": "means",
            },
            "per_seed": [[draw(level + count / 100) for _ in range(2)] for _ in seeds],
        }
        for name, count in chains.items()
    }
    return {"seeds": list(seeds), "samplers": samplers, "independent_pixels": -12.5}


def write_table(folder: Path, trained: Iterable[Job], preset: str) -> None:
    """`table1.json`, as the stage `table` makes it."""
    root = package_root()
    found: dict[tuple[str, str], list[tuple[str, dict[str, Any]]]] = {
        (job.model, job.dataset): [(f"results/evaluation/{job.stem}.json", _evaluation(job))]
        for job in trained
    }
    published, protocol = (
        read_published(root / "results/published/table1.csv"),
        read_protocol(root / "protocol.yaml"),
    )
    context = read_context(root / "results/published/context.csv")
    reference = Job("digits", 60.0, seeds=(0, 1))
    found.setdefault(("true_distribution", "digits"), [("results/x.json", _evaluation(reference))])
    training = {
        (job.model, job.dataset): [(f"results/train/{job.stem}.json", _training(job, 0.1))]
        for job in trained
    }
    samplers = {(MODEL, "digits"): [("results/samplers/digits/x.json", samplers_of((0, 1, 2)))]}
    table = build_table(
        preset,
        list(found),
        found,
        published,
        context,
        protocol,
        training=training,
        samplers=samplers,
    )
    write_json(folder / "table1.json", result("table", CODE, {"preset": preset}, {}, **table))


def write_data(folder: Path, dataset: str) -> None:
    """What the stages `prepare` and `classifier` tell of a data set."""
    data = result(
        "prepare",
        CODE,
        {},
        {},
        dataset=dataset,
        title=DATASETS[dataset],
        shape=list(SHAPES[dataset]),
        counts={"train": 1283, "valid": 257, "test": 257},
        value_range=[0.0, 1.0],
        sources=[],
        sha256=hashlib.sha256(dataset.encode()).hexdigest(),
    )
    write_json(folder / f"data/{dataset}.json", data)
    write_json(folder / f"classifier/{dataset}.json", _recognition(Job(dataset, 0.0))[0])


def write_generator(path: Path, job: Job, **config: Any) -> None:
    """Weights of a generator of the demo's kind that was never trained, for every seed; settings of
    `config` replace its own.
    """
    widths = (20, 48, 32, math.prod(job.shape))
    drawn = np.random.default_rng(0)
    tensors = {}
    for layer, (rows, columns) in enumerate(itertools.pairwise(widths)):
        weights = drawn.normal(0, rows**-0.5, (len(job.seeds), rows, columns))
        tensors[f"generator.{layer}.weight"] = weights.astype(np.float32)
        biases = drawn.normal(0, 0.3, (len(job.seeds), 1, columns))
        tensors[f"generator.{layer}.bias"] = biases.astype(np.float32)
    settings = {
        "noise": "uniform",
        "noise_dimension": widths[0],
        "generator_hidden": list(widths[1:-1]),
        "generator_sigmoid": [],
        "output": "sigmoid",
    }
    parameters = {"config": settings | config}
    about = {**job.about, "shape": list(job.shape), "failed": {}, "parameters": parameters}
    write_tensors(path, tensors, {"about": json.dumps(about, sort_keys=True)})


def write_job(folder: Path, job: Job, rate: float = 0.1) -> None:
    """All results, pictures and records of one training job."""
    training, width = _training(job, rate), _bandwidth(job)
    for kind, content in (
        ("train", training),
        ("bandwidth", width),
        ("evaluation", _evaluation(job)),
        ("recognition", _recognition(job)[1]),
    ):
        write_json(folder / kind / f"{job.stem}.json", content)
        StageMeter(content["stage"]).write(
            folder / kind / f"{job.stem}.json", device="cpu", threads=1
        )
    _panels(job, folder / f"panels/{job.stem}", training, width)
    if (job.dataset, job.model) == ("digits", MODEL):
        write_generator(folder / f"train/{job.stem}.safetensors", job)
    sampled = folder / f"samples/{job.stem}.safetensors"
    StageMeter("sample").write(sampled, device="cpu", threads=1, seconds_per_10000=1.25)


def _measured(seed: int, shift: float, has_latent: bool) -> list[dict[str, Any]]:
    """An entry of every measure, in both spaces where it has any."""
    entries = []
    for number, (name, measure) in enumerate(MEASURES.items()):
        spaces = ("pixels", "features") if measure.needs == "comparison" else (None,)
        for space in spaces:
            silent = measure.needs == "boltzmann" or (not has_latent and not measure.ranked)
            value = None if silent else 0.25 + (seed + 3 * shift + number) / 64
            entry = {
                "measure": name,
                "space": space,
                "value": value,
                "interval": None if value is None else [value - 0.125, value + 0.0625],
                "images": 0 if value is None else 257,
                "details": {},
                "reason": "says nothing" if value is None else None,
            }
            entries.append(entry)
    return entries


def write_ranks(folder: Path, trained: Iterable[Job]) -> None:
    """`measures` of every job and `controls` of every data set, and `ranks.json` as its stage makes
    it.
    """
    files = []
    datasets = []
    for job in trained:
        per_seed: list[dict[str, Any]] = []
        for seed in job.seeds:
            failure = job.failed.get(str(seed))
            entries = [] if failure else _measured(seed, job.level / 100, job.latent)
            per_seed.append({"seed": seed, "failed": failure, "measures": entries})
        content = result(
            "measures",
            CODE,
            {"compute": {"device": "cpu", "threads": 1}, "likelihood": {}, "measures": {}},
            {},
            **job.about,
            n_samples=10000,
            sampler_name=None,
            per_seed=per_seed,
        )
        files.append(folder / f"measures/{job.stem}.json")
        write_json(files[-1], content)
        datasets.append(job.dataset)
    for dataset in dict.fromkeys(datasets):
        controls = []
        for number, (name, control) in enumerate(CONTROLS.items()):
            entry = {
                "control": name,
                "title": control.title,
                "flaw": control.flaw,
                "n_samples": 257,
                "measures": _measured(0, number, False),
                "above_truth": ["parzen"] if name == "k_means" else [],
            }
            controls.append(entry)
        parameters = {"compute": {"device": "cpu", "threads": 1}, "likelihood": {}, "measures": {}}
        files.append(folder / f"controls/{dataset}.json")
        write_json(
            files[-1],
            result("controls", CODE, parameters, {}, dataset=dataset, controls=controls),
        )
    ranks.run(argparse.Namespace(out=folder / "ranks.json", results=files))


def write_tuning(folder: Path) -> None:
    """Four trials of one model, one of them failed."""
    trials = [
        {"trial": k, "changes": {"learning_rate": 0.1 * k}, "seeds": "100-101", "epochs": 40, "seconds": 12.5,
         "log_likelihood": None if k == 3 else 12.0 + k}
        for k in range(4)
    ]  # fmt: skip
    tuning = result("tune", CODE, {}, {}, dataset="digits", budget=4, models={MODEL: trials})
    write_json(folder / "tuning/digits.json", tuning)


def write_run(
    folder: Path,
    trained: Iterable[Job],
    preset: str = "mnist",
    rate: float = 0.1,
    scale: float = 1.0,
) -> None:
    """All results of a small run."""
    for job in trained:
        write_data(folder, job.dataset)
        write_job(folder, job, rate)
    write_table(folder, trained, preset)
    write_ranks(folder, trained)
    _statements(folder, scale)
    write_tuning(folder)
