"""Cuts a data set into training, validation and test images.

Reads the files that `fetch` verified, verifies them once more, and writes two files: X.safetensors with the
images as they are stored (pixel = stored / divisor) and the labels, and X.json with what is in it.

  python -m replicate fetch --dataset digits --out digits.sources.json
  python -m replicate prepare --dataset digits --manifest digits.sources.json --out digits.safetensors

The options of the data set come from `datasets.NAME` of the parameters; without --params they are the defaults:

  python -m replicate prepare --params '{"datasets": {"digits": {"split_seed": 1}}}' --dataset digits \\
      --manifest digits.sources.json --out digits.safetensors
"""

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np

from replicate.datasets import load_dataset
from replicate.datasets.base import SPLITS, Dataset, PinnedDataset, Splits, UserDataset
from replicate.datasets.verify import verified_files
from replicate.errors import ReplicateError
from replicate.files import canonical_json, replacing, sha256_file
from replicate.params import Section
from replicate.result import read_result, result
from replicate.runrecord import RunRecord
from replicate.stages.rawdata import add_data_arguments, brought, dataset_code, digests, listed, options_of

#: Pixels that are looked at at a time.
PIXELS = 1 << 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of the stage."""
    add_data_arguments(parser)
    parser.add_argument("--manifest", type=Path, required=True, help="the manifest that `fetch` wrote")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="X.safetensors", help="tensors to write; X.json goes beside them"
    )


def _verified(
    dataset: Dataset, manifest: Path, folder: Path, options: Section
) -> tuple[dict[str, Path], list[dict[str, Any]]]:
    """The raw files, name -> path, and their entries in the manifest, which they agree with."""
    content = read_result(manifest, "fetch")
    again = f"run `python -m replicate fetch --dataset {dataset.name} --out {manifest}` again"
    if isinstance(dataset, UserDataset) and content.get("dataset") == dataset.name:
        files, sources = brought(dataset, folder, options)
        if content.get("sources") != sources:
            (path,) = files.values()
            raise ReplicateError(f"{path} is not what {manifest} lists: it changed since `fetch`; {again}.")
        return files, sources
    if (
        not isinstance(dataset, PinnedDataset)
        or content.get("dataset") != dataset.name
        or content.get("sources") != listed(dataset)
    ):
        raise ReplicateError(
            f"{manifest} does not list the files of {dataset.name!r} that this version works with; {again}."
        )
    return verified_files(dataset, folder), listed(dataset)


def _check_images(splits: Splits, name: str) -> None:
    """Refuses what a data set must never hand on: misshaped, not finite, or outside its own value range."""
    low, high = splits.value_range
    for split, images in splits.images.items():
        where = f"data set {name!r}, {split}"
        if images.dtype not in (np.uint8, np.float32) or images.ndim != 4:
            raise ReplicateError(f"{where}: {images.dtype} {images.shape} instead of uint8 or float32, (n, c, h, w).")
        if images.shape[1:] != splits.shape:
            raise ReplicateError(f"{where}: images of {images.shape[1:]} beside training images of {splits.shape}.")
        if len(images) == 0 or len(splits.labels.get(split, images)) != len(images):
            raise ReplicateError(f"{where}: {len(images)} images; there must be some, and as many as labels.")
        least, most = _reach(images, splits.divisor)
        if not (math.isfinite(least) and math.isfinite(most)):
            raise ReplicateError(f"{where}: some pixels are not finite.")
        if least < low or most > high:
            raise ReplicateError(
                f"{where}: pixels from {least} to {most}, outside the data set's range of {low} to {high}."
            )


def _reach(images: np.ndarray, divisor: float) -> tuple[np.float32, np.float32]:
    """The smallest and the largest pixel of stored images, a few images at a time; NaN where one is not a number."""
    rows = max(1, PIXELS // images[0].size)
    parts = (images[start : start + rows] for start in range(0, len(images), rows))
    pixels = (np.divide(part, np.float32(divisor), dtype=np.float32) for part in parts)
    ends = [(part.min(), part.max()) for part in pixels]
    return np.min([least for least, _ in ends]), np.max([most for _, most in ends])


def _counts(splits: Splits) -> dict[str, Any]:
    """Images of each split; where there are folds, of each pool, and of each split of each fold."""
    counts = {"counts": {split: len(images) for split, images in splits.images.items()}}
    folds = [{split: len(rows) for split, rows in fold.items()} for fold in splits.folds]
    return {**counts, "folds": folds} if folds else counts


def run(args: argparse.Namespace) -> None:
    """Verifies, cuts, checks and writes the data set; all of its files appear, or none."""
    record = RunRecord("prepare")
    dataset = load_dataset(args.dataset)
    if args.out.suffix != ".safetensors":
        raise ReplicateError(f"--out {args.out}: the name must end in .safetensors; the JSON file takes the same stem.")
    options = options_of(dataset, args.params)
    files, sources = _verified(dataset, args.manifest, args.data_dir / dataset.name, options)
    splits = dataset.prepare(files, options)
    _check_images(splits, dataset.name)
    # Where the user's data lie on this machine is no part of the result; what they are is in `sources`.
    elsewhere = set(dataset.location) if isinstance(dataset, UserDataset) else set()
    described = result(
        "prepare",
        dataset_code("prepare", dataset),
        {"datasets": {dataset.name: options.model_dump(mode="json", exclude=elsewhere)}},
        {"manifest": args.manifest},
        dataset=dataset.name,
        title=dataset.title,
        **_counts(splits),
        shape=list(splits.shape),
        value_range=list(splits.value_range),
        sources=sources,
    )
    described["inputs"] |= digests(sources)
    description = args.out.with_suffix(".json")
    with replacing(args.out, description) as (tensors, text):
        splits.write(tensors)
        text.write_text(canonical_json(described | {"sha256": sha256_file(tensors)}), encoding="utf-8")
        record.write(description)
    counts = ", ".join(f"{splits.count(split)} {split}" for split in SPLITS)
    counts += f" (fold 0 of {splits.fold_count})" if splits.folds else ""
    print(f"prepare {dataset.name}: {counts} images of {'x'.join(map(str, splits.shape))} -> {args.out}")
