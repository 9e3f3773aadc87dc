"""Draws from one set of weights by several samplers of Markov chains, and measures what each says.

Where the samplers disagree, the estimate is theirs and not the model's. Nothing is trained. Beside
them stands the value of images whose pixels are drawn independently from those of the training
images: no model at all.

  python -m replicate samplers --params params.yaml --weights weights.safetensors \\
      --data mnist.safetensors --names published,mixed,longer --draws 8 --out samplers.json
"""

import argparse
from pathlib import Path

import torch

from replicate.datasets.base import Splits
from replicate.diagnostics.sampler_draws import (
    Images,
    independent_pixels,
    log_likelihood,
    measured_draw,
)
from replicate.diagnostics.samples import held_out_images
from replicate.errors import ReplicateError
from replicate.jobs.subject import Subject
from replicate.models.parts.chains import ChainModel
from replicate.models.parts.samplers import SAMPLERS, Compared, Sampler
from replicate.models.parts.weights_file import read_model, sampling
from replicate.params import Likelihood, Params, checked, load_params
from replicate.progress.loops import each
from replicate.progress.reporting import add_state_argument, reporting
from replicate.records.parameters import compute_parameters
from replicate.records.schema import (
    SamplerComparison,
    SamplerDraw,
    SamplerRuns,
    SamplerSettings,
    SamplersParameters,
)
from replicate.stages.device_job import DeviceJob


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the stage's arguments."""
    parser.add_argument(
        "--params",
        default="{}",
        help="parameter file, or inline JSON (default: the paper's protocol)",
    )
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="prepared data set (safetensors)")
    parser.add_argument("--names", help=f"samplers, joined by commas, of {', '.join(SAMPLERS)}")
    parser.add_argument(
        "--draws", type=int, help="independent sets of samples by each sampler, of each seed"
    )
    parser.add_argument("--out", type=Path, required=True, help="result (JSON)")
    add_state_argument(parser)


def compared_samplers(
    arguments: argparse.Namespace, params: Params, model: str, dataset: str
) -> Compared:
    """Which samplers, from the arguments, else from the parameters, else the defaults."""
    from_parameters = params.samplers.get(model, {}).get(dataset, {})
    settings: dict[str, object] = dict(from_parameters)
    if arguments.names is not None:
        settings["names"] = arguments.names.split(",")
    if arguments.draws is not None:
        settings["draws"] = arguments.draws
    prefix = f"samplers.{model}.{dataset}"
    return checked(Compared, settings, params.where, prefix)


def _images(splits: Splits, limit: int, device: torch.device) -> Images:
    train = torch.from_numpy(splits.flat("train"))
    valid = []
    test = []
    for fold in range(splits.fold_count):
        valid_images = torch.from_numpy(splits.validation(limit, fold))
        test_images = torch.from_numpy(splits.flat("test", fold))
        valid.append(valid_images.to(device))
        test.append(test_images.to(device))
    # What a copy of training images is measured against: images that the model never saw.
    held_out = held_out_images(splits).to(device)
    return Images(train=train.to(device), held_out=held_out, valid=valid, test=test)


def _settings(sampler: Sampler) -> SamplerSettings:
    return {
        "chains": sampler.chains,
        "burn_in": sampler.burn_in,
        "thinning": sampler.thinning,
        "start": sampler.start,
        "pixels": sampler.pixels,
    }


def _runs_by_sampler(
    model: ChainModel, compared: Compared, likelihood: Likelihood, images: Images
) -> dict[str, SamplerRuns]:
    """Sampler -> its settings, and what each draw of each seed measured, [seed][draw]."""
    runs: dict[str, SamplerRuns] = {}
    for name in each(list(compared.names), "sampler {}"):
        # The weights stay: only how chains run on them differs between samplers.
        model.sampler = model.sampler_named(name, model.config)
        by_draw: list[list[SamplerDraw]] = []
        count = likelihood.samples
        sigmas = likelihood.sigmas
        for draw in each(range(compared.draws), "draw {}"):
            measured = measured_draw(model, count, draw, images, sigmas)
            by_draw.append(list(measured))
        by_seed = zip(*by_draw, strict=True)
        per_seed: list[list[SamplerDraw] | None] = [list(of_seed) for of_seed in by_seed]
        runs[name] = {"settings": _settings(model.sampler), "per_seed": per_seed}
    return runs


def run(arguments: argparse.Namespace) -> None:
    """Writes what every sampler measured of every seed, and the run record."""
    params = load_params(arguments.params)
    job = DeviceJob("samplers", params.compute)
    splits = Splits.read(arguments.data)
    model, about = read_model(arguments.weights, job.backend.device, splits)
    if not isinstance(model, ChainModel):
        raise ReplicateError(
            f"{about['model']} draws its images independently; only Markov chains are compared."
        )
    compared = compared_samplers(arguments, params, about["model"], about["dataset"])
    likelihood = params.likelihood
    images = _images(splits, likelihood.validation_limit, job.backend.device)
    model.train = images.train
    subject = f"samplers {about['dataset']} {about['model']}"
    with (
        reporting(arguments.state, f"{subject} {about['block']}"),
        sampling(model, arguments.weights),
    ):
        runs = _runs_by_sampler(model, compared, likelihood, images)
    pixels = independent_pixels(images.train, likelihood.samples)
    floor = log_likelihood(pixels, images, likelihood.sigmas)
    for seed_index, seed in enumerate(about["seeds"]):
        if str(seed) in about["failed"]:
            for runs_of_sampler in runs.values():
                # Its weights are those of an epoch before it failed: no trained model.
                runs_of_sampler["per_seed"][seed_index] = None
    parameters: SamplersParameters = {
        "compared": compared.model_dump(mode="json"),
        "compute": compute_parameters(params.compute),
        # Without `draws`: how many there are is a setting of the comparison.
        "likelihood": likelihood.model_dump(mode="json", exclude={"draws"}),
    }
    inputs = {"weights": arguments.weights, "data": arguments.data}
    content: SamplerComparison = {
        **job.frame(parameters, inputs, Subject(model=about["model"])),
        "stage": "samplers",
        "parameters": parameters,
        "dataset": about["dataset"],
        "model": about["model"],
        "block": about["block"],
        "seeds": about["seeds"],
        "failed": about["failed"],
        "samplers": runs,
        "independent_pixels": floor,
    }
    job.write(arguments.out, content)
    for name, runs_of_sampler in runs.items():
        print(f"{subject} seeds {about['block']}: {name} {_mean_in_words(runs_of_sampler)}")


def _mean_in_words(runs: SamplerRuns) -> str:
    """The mean log-likelihood over seeds and draws of one sampler."""
    values = []
    for draws in runs["per_seed"]:
        values += [draw["log_likelihood"] for draw in draws or []]
    if not values:
        return "every seed failed"
    mean = sum(values) / len(values)
    return f"{mean:.1f} nats"
