"""A trained generator rounded to 8 bits a weight, small enough for a page of its own.

Every weight becomes a whole number from -127 to 127 times the scale of the unit that it leads to;
biases stay in float32. The file `rounded.safetensors` holds the numbers, `rounded.json` beside it
where they come from and how far the images are from those of the weights as trained. No estimate of
the project reads either.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from replicate.errors import ReplicateError
from replicate.jobs.job_list import PLAYED
from replicate.records.frame import checked_result
from replicate.records.schema import RoundedGenerator, RoundingDistance, WeightsAbout
from replicate.records.sourced import Traced, traced, value_of
from replicate.records.tensor_about import about_one_seed, weights_about
from replicate.report.generator_layers import Layer, generator_layers, images_of
from replicate.report.seeded_codes import codes_of_seed
from replicate.storage.files import read_tensors, sha256_file

#: What the file with the provenance is called, wherever it is kept.
NAME = "rounded.json"
#: The largest whole number that stands for a weight; int8 has one more below zero.
STEPS = 127
#: z that measure what rounding does: how many, and of which seed.
COMPARED = 1000
COMPARED_SEED = 0
#: How far a pixel of the rounded generator may lie from the exact one, from 0 (black) to 1, as the
#: root of the mean square. A generator beyond it is not kept.
LIMIT = 0.02


@dataclass(frozen=True)
class RoundedLayer:
    """A layer of G in 8 bits a weight.

    Attributes:
        steps: (inputs, outputs) int8, weights in units of `scale`.
        scale: (outputs,) float32.
        bias: (outputs,) float32.
        unit: as of `Layer`.
    """

    steps: NDArray[np.int8]
    scale: NDArray[np.float32]
    bias: NDArray[np.float32]
    unit: str

    def layer(self) -> Layer:
        """The layer that it stands for."""
        weight = self.steps.astype(np.float64) * self.scale
        return Layer(weight, self.bias, self.unit)


def rounded_layer(layer: Layer) -> RoundedLayer:
    """Rounds a layer: the largest weight of every unit becomes `STEPS` or its negative."""
    weight = layer.weight.astype(np.float64)
    largest = np.abs(weight).max(axis=0)
    scale = (largest / STEPS).astype(np.float32)
    # A unit without weights keeps the scale 0, by which nothing can be divided.
    divisor = np.where(scale > 0, scale, 1)
    # Scales near float32's smallest numbers are rounded coarsely, and would lead beyond 127.
    steps = np.rint(weight / divisor).clip(-STEPS, STEPS)
    return RoundedLayer(steps.astype(np.int8), scale, layer.bias.astype(np.float32), layer.unit)


def exact_layers(path: Path, seed: int) -> tuple[list[Layer], WeightsAbout]:
    """The generator of one seed of a weights file, and the file's description for this seed alone.

    Args:
        path: written by `train` or `export`.
        seed: one of its seeds.

    Raises:
        ReplicateError: the file holds no such seed, or a generator that the page cannot show.
    """
    tensors, metadata = read_tensors(path, "train")
    about_block = weights_about(path, metadata)
    about = about_one_seed(path, about_block, seed)
    _check_shown(path, about)
    return generator_layers(tensors, about_block, seed), about


def _check_shown(path: Path, about: WeightsAbout) -> None:
    """Refuses a generator that the page cannot show."""
    config = about["parameters"].get("config")
    faults = []
    if about["model"] != PLAYED:
        faults.append(f"is of {about['model']}, not of {PLAYED}")
    elif not isinstance(config, dict):
        faults.append("does not hold its model's config")
    # The page's script draws z by `seeded_codes` and shows grey pixels in [0, 1], nothing else.
    elif (config["noise"], config["output"]) != ("uniform", "sigmoid"):
        faults.append("draws no uniform z, or ends in no sigmoid pixels")
    if about["shape"][0] != 1:
        faults.append("makes no grey images")
    if faults:
        raise ReplicateError(
            f"{path} {faults[0]}; the page shows adversarial nets by the released MNIST recipe."
        )


def distance(exact: Sequence[Layer], rounded: Sequence[RoundedLayer]) -> RoundingDistance:
    """How far the images of a rounded generator are from the exact ones.

    Both are computed in float64, for the first `COMPARED` z of the seed `COMPARED_SEED`.

    Raises:
        ReplicateError: too far for the page.
    """
    codes = codes_of_seed(COMPARED_SEED, COMPARED, exact[0].weight.shape[0])
    images_of_exact = images_of(exact, codes)
    # By the very numbers that the file holds, not by the rounding before it.
    images_of_rounded = images_of([one.layer() for one in rounded], codes)
    differences = np.abs(images_of_rounded - images_of_exact)
    root_mean_square = float(np.sqrt(np.square(differences).mean()))
    # The comparison is false of a generator that is not finite, too.
    if not root_mean_square <= LIMIT:
        raise ReplicateError(
            f"8 bits a weight move the pixels of this generator by {root_mean_square:.2g} (root of "
            f"the mean square), and the page promises {LIMIT} at most; round another seed."
        )
    return {
        "to": "int8",
        "images": COMPARED,
        "mean_difference": float(differences.mean()),
        "root_mean_square": root_mean_square,
        "largest_difference": float(differences.max()),
    }


def tensors_of(layers: Sequence[RoundedLayer]) -> dict[str, NDArray[np.generic]]:
    """What `rounded.safetensors` holds. Its names are those of no model, which would take the
    whole numbers for weights.
    """
    tensors: dict[str, NDArray[np.generic]] = {}
    for number, layer in enumerate(layers):
        tensors[f"rounded.{number}.steps"] = layer.steps
        tensors[f"rounded.{number}.scale"] = layer.scale
        tensors[f"rounded.{number}.bias"] = layer.bias
    return tensors


@dataclass(frozen=True)
class KeptGenerator:
    """A rounded generator with its provenance.

    Attributes:
        name: of its `rounded.json`, as the page shows it.
        result: the content of that file.
        layers: from z up.
    """

    name: str
    result: Traced
    layers: list[RoundedLayer]

    @property
    def seed(self) -> int:
        """The seed of the training."""
        return int(value_of(self.result["seed"]))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        channels, height, width = value_of(self.result["shape"])
        return channels, height, width


def read_kept_generator(path: Path, name: str) -> KeptGenerator:
    """Reads a rounded generator.

    Args:
        path: of its `rounded.json`.
        name: the same as the page shows it.

    Raises:
        ReplicateError: a file is missing or damaged, or they are not of one another.
    """
    result = traced(name, path)
    content = checked_result(value_of(result), RoundedGenerator, path)
    weights = path.with_name(content["file"]["name"])
    tensors, metadata = read_tensors(weights, "round")
    if sha256_file(weights) != content["file"]["sha256"]:
        raise ReplicateError(
            f"{weights} is not the file that {path} tells of; bring both back from git, or run "
            "`python -m replicate round` again."
        )
    # Units are words, which no tensor can hold; the header of the file carries them.
    units = json.loads(metadata["units"])
    layers = []
    for number, unit in enumerate(units):
        name_of_layer = f"rounded.{number}"
        steps = tensors[f"{name_of_layer}.steps"]
        scale = tensors[f"{name_of_layer}.scale"]
        bias = tensors[f"{name_of_layer}.bias"]
        layers.append(RoundedLayer(steps, scale, bias, unit))
    return KeptGenerator(name, result, layers)


def find_kept_generator(results: Path) -> Path | None:
    """The `rounded.json` of the kept runs below a folder of results; None where there is none.

    Of several the first one by name.
    """
    found = sorted((results / "reference").rglob(NAME))
    return found[0] if found else None
