"""Rounds the generator of one trained seed to 8 bits a weight, for a page that a browser computes
with (the tool `play`).

Only adversarial nets by the released MNIST recipe, or one of its kind: grey sigmoid pixels, uniform
z. Every weight becomes a whole number from -127 to 127 times a scale of its unit; biases keep 32
bits. The generator of MNIST takes 2.5 MB. Two files are written: --out, which says where the
weights come from and how far the images are from the exact ones over 1,000 z, and beside it the
weights. A generator whose pixels move by more than 0.02 (root of the mean square; 1 is from black
to white) is refused. No estimate reads either file.

  python -m replicate round --weights results/train/mnist/adversarial_nets/0-9.safetensors \\
      --seed 0 --out rounded.json

For the play page, keep it in the folder of the block that it comes from, under the name
rounded.json, and write the list of that run's files anew:

  python -m replicate round --weights .replicate/reference/weights/SHA256.safetensors \\
      --training results/reference/RUN/adversarial_nets/0/train.json --seed 0 \\
      --out results/reference/RUN/adversarial_nets/0/rounded.json
  python -m replicate reference --sums

weights.json of that folder names the SHA-256.
"""

import argparse
import json
import shlex
from pathlib import Path

from replicate.errors import ReplicateError
from replicate.records.frame import read_result
from replicate.records.run_record import record_path
from replicate.records.schema import RoundedGenerator, RoundingDistance, Training, WeightsAbout
from replicate.report.rounded_generator import (
    distance,
    exact_layers,
    rounded_layer,
    tensors_of,
)
from replicate.stages.job import StageJob
from replicate.storage.files import read_json, sha256_file, write_tensors
from replicate.storage.paths import home_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the tool's arguments."""
    parser.add_argument(
        "--weights",
        type=home_path,
        required=True,
        metavar="FILE",
        help="written by `train`, or by `export`",
    )
    parser.add_argument(
        "--training",
        type=home_path,
        metavar="FILE",
        help="the result of that training, with its run record beside it, which names the commit "
        "(default: the file beside the weights)",
    )
    parser.add_argument(
        "--seed", type=int, required=True, metavar="N", help="one of the seeds of the weights"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="where it comes from (JSON)"
    )


def _read_training(path: Path, about: WeightsAbout, weights: Path) -> Training:
    """The result of the training that made the weights.

    Raises:
        ReplicateError: it is that of another training.
    """
    training = read_result(path, Training)
    (seed,) = about["seeds"]
    # Exported weights keep the parameters of their training, and no name of its result.
    is_same = training["parameters"] == about["parameters"] and seed in training["seeds"]
    if not is_same:
        raise ReplicateError(
            f"{path} is not of the training that made {weights}; name its result by --training."
        )
    return training


def _commit_of(training: Path) -> str | None:
    """The commit that a training ran from; None where no record names one."""
    record = record_path(training)
    if not record.is_file():
        return None
    commit = read_json(record)["source"]["commit"]
    return None if commit is None else str(commit)


def _command(arguments: argparse.Namespace) -> str:
    """The command as it was given."""
    words = ["python", "-m", "replicate", "round", "--weights", str(arguments.weights)]
    if arguments.training is not None:
        words += ["--training", str(arguments.training)]
    words += ["--seed", str(arguments.seed), "--out", str(arguments.out)]
    return shlex.join(words)


def _moved(distance_of_pixels: RoundingDistance) -> str:
    """How far the images are, in words."""
    mean = distance_of_pixels["mean_difference"]
    root_mean_square = distance_of_pixels["root_mean_square"]
    largest = distance_of_pixels["largest_difference"]
    return (
        f"a pixel moves by {mean:.2g} on average, by {root_mean_square:.2g} as root of the mean "
        f"square, {largest:.2g} at most ({distance_of_pixels['images']} images)"
    )


def run(arguments: argparse.Namespace) -> None:
    """Writes both files, and says how large they are and how far the images."""
    job = StageJob("round")
    out, seed = arguments.out, arguments.seed
    training_path = arguments.training or arguments.weights.with_suffix(".json")
    exact, about = exact_layers(arguments.weights, seed)
    training = _read_training(training_path, about, arguments.weights)
    rounded = [rounded_layer(layer) for layer in exact]
    moved = distance(exact, rounded)
    weights = out.with_suffix(".safetensors")
    metadata = {
        "about": json.dumps(about | {"rounded": moved}, sort_keys=True),
        "units": json.dumps([layer.unit for layer in rounded]),
    }
    write_tensors(weights, tensors_of(rounded), metadata)
    size = weights.stat().st_size
    inputs = {"weights": arguments.weights, "training": training_path}
    row = training["seeds"].index(seed)
    chosen_epoch = training["chosen_epoch"][row]
    assert chosen_epoch is not None  # of a seed that did not fail
    content: RoundedGenerator = {
        **job.frame({"seed": seed}, inputs),
        "stage": "round",
        "parameters": {"seed": seed},
        "dataset": about["dataset"],
        "model": about["model"],
        "seed": seed,
        "shape": about["shape"],
        "epochs": training["epochs"],
        "chosen_epoch": chosen_epoch,
        "commit": _commit_of(training_path),
        "command": _command(arguments),
        "rounded": moved,
        "file": {"name": weights.name, "size": size, "sha256": sha256_file(weights)},
    }
    subject = f"round {about['dataset']} {about['model']} seed {seed}"
    job.write(out, content, f"{subject}: {size / 1e6:.2f} MB; {_moved(moved)} -> {out}")
