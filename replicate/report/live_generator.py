"""The trained generator that the page itself computes with, for sliders of z: live, not a result.

No number of it is shown as one: its weights are rounded to float16, half the bytes, and only
`report/assets/play/generator.js` reads them.
"""

import base64
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from replicate.jobs.job_list import PLAYED
from replicate.records.schema import WeightsAbout
from replicate.records.sourced import ResultFolder, Traced, value_of
from replicate.records.tensor_about import weights_about
from replicate.report.generator_layers import generator_layers, widths_of
from replicate.report.training_jobs import TrainingJob
from replicate.storage.files import read_tensors

#: Numbers that a generator in the page may have: in base64 they take 0.5 MB.
MOST_NUMBERS = 200_000
#: Id of the element that holds the weights; `generator_panel.js` looks for it.
ELEMENT = "generator-weights"


@dataclass(frozen=True)
class LiveGenerator:
    """A generator in the page.

    Attributes:
        job: the training job that it comes from.
        seed: of the weights, that of the job's pictures.
        element: the data element with the weights.
    """

    job: TrainingJob
    seed: Traced
    element: Markup


def _is_small(job: TrainingJob) -> bool:
    """Whether a job's generator fits into the page, and makes grey images."""
    count = value_of(job.training["parameter_count"]["generator"])
    channels, _, _ = value_of(job.training["shape"])
    return bool(count <= MOST_NUMBERS and channels == 1)


def weights_element(
    tensors: Mapping[str, NDArray[np.floating]], about: WeightsAbout, seed: int
) -> Markup | None:
    """The data element of one seed's G; None where the page could not show its images.

    It holds JSON: `shape`, `noise`, the `widths` from z up, the `units` of each layer, and
    `weights`: base64 of what zlib makes of each layer's weights, input by input, and its biases.

    Args:
        tensors: of the weights file.
        about: of the same.
        seed: one of its seeds.
    """
    config = about["parameters"]["config"]
    assert isinstance(config, dict)  # checked by the stage that trained it
    layers = generator_layers(tensors, about, seed)
    parts: list[NDArray[np.floating]] = []
    for layer in layers:
        parts += [layer.weight.reshape(-1), layer.bias]
    numbers = np.concatenate(parts)
    is_representable = np.abs(numbers).max() <= np.finfo(np.float16).max
    # Pixels without bounds have no grey.
    if config["output"] != "sigmoid" or not is_representable:
        return None
    halves = numbers.astype("<f2")
    compressed = zlib.compress(halves.tobytes(), 9)
    content = {
        "shape": about["shape"],
        "noise": config["noise"],
        "widths": widths_of(layers),
        "units": [layer.unit for layer in layers],
        "weights": base64.b64encode(compressed).decode(),
    }
    # None of these words and numbers has a character that HTML would read as markup.
    text = Markup(json.dumps(content, sort_keys=True, separators=(",", ":")))
    return Markup('<script type="application/json" id="{}">{}</script>').format(ELEMENT, text)


def live_generator(jobs: Iterable[TrainingJob], results: ResultFolder) -> LiveGenerator | None:
    """The generator of the first training job that fits into the page and whose weights are there.

    A copied or kept folder of results may lack the weights, which are large.

    Args:
        jobs: all of the run.
        results: the folder of its results.

    Raises:
        ReplicateError: a weights file is damaged.
    """
    for job in jobs:
        seed = job.panels["seed"]
        if job.model != PLAYED or seed is None or not _is_small(job):
            continue
        path = results.folder / f"train/{job.dataset}/{job.model}/{job.block}.safetensors"
        if not path.exists():
            continue
        tensors, metadata = read_tensors(path, "train")
        about = weights_about(path, metadata)
        element = weights_element(tensors, about, value_of(seed))
        if element is not None:
            return LiveGenerator(job, seed, element)
    return None
