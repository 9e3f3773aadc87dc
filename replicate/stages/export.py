"""Writes what sampling needs of one trained seed into a small file that others can sample and
evaluate again.

Only the tensors that sampling reads are kept (of adversarial nets the generator), rounded to
float16: half the bytes. The stages read the file as any weights file and compute with it in
float32. Its images, and so its log-likelihood, differ a little from those of the weights as
trained; by how much is measured here, kept in the file, and said by `sample`.

  python -m replicate export --weights results/train/mnist/adversarial_nets/0-9.safetensors \\
      --seed 0 --out generator.safetensors
  python -m replicate sample --weights generator.safetensors --out samples.safetensors
"""

import argparse
import json
from pathlib import Path

from replicate.models.parts.export import exported
from replicate.storage.files import write_tensors


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the tool's arguments."""
    parser.add_argument("--weights", type=Path, required=True, help="written by the stage `train`")
    parser.add_argument(
        "--seed", type=int, required=True, help="one of the seeds in the weights file"
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="the small weights file (safetensors)"
    )


def run(arguments: argparse.Namespace) -> None:
    """Writes the file, and says what is in it."""
    tensors, about = exported(arguments.weights, arguments.seed)
    write_tensors(arguments.out, tensors, {"about": json.dumps(about, sort_keys=True)})
    count = sum(value.size for value in tensors.values())
    megabytes = arguments.out.stat().st_size / 1e6
    rounding = about["rounded"]
    difference = rounding["largest_difference"]
    subject = f"export {about['dataset']} {about['model']} seed {arguments.seed}"
    print(
        f"{subject}: {count} numbers in float16, {megabytes:.1f} MB; "
        f"rounding moves a pixel by {difference:.2g} at most "
        f"({rounding['images']} images) -> {arguments.out}"
    )
