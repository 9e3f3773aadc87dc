"""Draws from one set of weights by several samplers of Markov chains, and measures what each says.

Where the samplers disagree, the estimate is theirs and not the model's. Nothing is trained. Beside them stands the
value of images whose pixels are drawn independently from those of the training images: no model at all.

  python -m replicate samplers --params params.yaml --weights weights.safetensors --data mnist.safetensors \\
      --names published,mixed,longer --draws 8 --out samplers.json
"""

import argparse
from pathlib import Path
from typing import Any

import torch

from replicate.codedigest import code_digest
from replicate.datasets.base import Splits
from replicate.errors import ReplicateError
from replicate.files import write_json
from replicate.loops import each
from replicate.models import REGISTRY
from replicate.models.chains import ChainModel
from replicate.models.weights import read_model, sampling
from replicate.params import Params, checked, load_params
from replicate.result import result
from replicate.runrecord import RunRecord
from replicate.samples import held_out_images
from replicate.sampling.measures import Images, independent_pixels, log_likelihood, measured_draw
from replicate.sampling.settings import SAMPLERS, Compared
from replicate.training.backend import configure
from replicate.training.progress import add_state_argument, reporting


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the stage's arguments."""
    parser.add_argument("--params", default="{}", help="parameter file, or inline JSON (default: the paper's protocol)")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="prepared data set (safetensors)")
    parser.add_argument("--names", help=f"samplers, joined by commas, of {', '.join(SAMPLERS)}")
    parser.add_argument("--draws", type=int, help="independent sets of samples by each sampler, of each seed")
    parser.add_argument("--out", type=Path, required=True, help="result (JSON)")
    add_state_argument(parser)


def compared_samplers(arguments: argparse.Namespace, params: Params, model: str, dataset: str) -> Compared:
    """Which samplers, from the arguments, else from the parameters, else the defaults."""
    given: dict[str, Any] = dict(params.samplers.get(model, {}).get(dataset, {}))
    if arguments.names is not None:
        given["names"] = arguments.names.split(",")
    if arguments.draws is not None:
        given["draws"] = arguments.draws
    return checked(Compared, given, params.where, f"samplers.{model}.{dataset}")


def _images(splits: Splits, limit: int, device: torch.device) -> Images:
    folds = range(splits.fold_count)
    return Images(
        train=torch.from_numpy(splits.flat("train")).to(device),
        held_out=held_out_images(splits).to(device),
        valid=[torch.from_numpy(splits.validation(limit, fold)).to(device) for fold in folds],
        test=[torch.from_numpy(splits.flat("test", fold)).to(device) for fold in folds],
    )


def _by_sampler(model: ChainModel, wanted: Compared, params: Params, images: Images) -> dict[str, Any]:
    """Sampler -> its settings, and for every seed what each of its draws measured."""
    likelihood = params.likelihood
    found: dict[str, Any] = {}
    for name in each(list(wanted.names), "sampler {}"):
        model.sampler = model.sampler_named(name, model.config)
        draws = [
            list(measured_draw(model, likelihood.samples, draw, images, likelihood.sigmas))
            for draw in each(range(wanted.draws), "draw {}")
        ]
        per_seed = [list(of_seed) for of_seed in zip(*draws, strict=True)]
        found[name] = {"settings": model.sampler.model_dump(), "per_seed": per_seed}
    return found


def run(arguments: argparse.Namespace) -> None:
    """Writes what every sampler measured of every seed, and the run record."""
    record = RunRecord("samplers")
    params = load_params(arguments.params)
    backend = configure(params.compute)
    splits = Splits.read(arguments.data)
    model, about = read_model(arguments.weights, backend.device, splits)
    if not isinstance(model, ChainModel):
        raise ReplicateError(f"{about['model']} draws its images independently; only Markov chains are compared.")
    wanted = compared_samplers(arguments, params, about["model"], about["dataset"])
    likelihood = params.likelihood
    images = _images(splits, likelihood.validation_limit, backend.device)
    model.train = images.train
    label = f"samplers {about['dataset']} {about['model']} {about['block']}"
    with reporting(arguments.state, label), sampling(model, arguments.weights):
        found = _by_sampler(model, wanted, params, images)
    floor = log_likelihood(independent_pixels(images.train, likelihood.samples), images, likelihood.sigmas)
    for place, seed in enumerate(about["seeds"]):
        if str(seed) in about["failed"]:
            for of_sampler in found.values():
                of_sampler["per_seed"][place] = None
    given = {
        "compared": wanted.model_dump(mode="json"), "compute": params.compute.model_dump(mode="json"),
        "likelihood": likelihood.model_dump(mode="json", exclude={"draws"}),
    }  # fmt: skip
    content = result(
        "samplers", code_digest(["replicate.stages.samplers", REGISTRY[about["model"]][1]]), given,
        {"weights": arguments.weights, "data": arguments.data},
        dataset=about["dataset"], model=about["model"], block=about["block"], seeds=about["seeds"],
        failed=about["failed"], samplers=found, independent_pixels=floor,
    )  # fmt: skip
    write_json(arguments.out, content)
    record.write(arguments.out, **backend.facts)
    for name, of_sampler in found.items():
        values = [draw["log_likelihood"] for draws in of_sampler["per_seed"] if draws for draw in draws]
        shown = f"{sum(values) / len(values):.1f} nats" if values else "every seed failed"
        print(f"samplers {about['dataset']} {about['model']} seeds {about['block']}: {name} {shown}")
