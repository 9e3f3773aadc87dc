"""Cuts a data set into training, validation and test images.

Reads the files that `fetch` verified, verifies them once more, and writes two files: X.safetensors
with the images as they are stored (pixel = stored / divisor) and the labels, and X.json with what
is in it.

  python -m replicate fetch --dataset digits --out digits.sources.json
  python -m replicate prepare --dataset digits --manifest digits.sources.json \\
      --out digits.safetensors

The options of the data set come from `datasets.NAME` of the parameters; without --params they are
the defaults:

  python -m replicate prepare --params '{"datasets": {"digits": {"split_seed": 1}}}' \\
      --dataset digits --manifest digits.sources.json --out digits.safetensors
"""

import argparse
import math
from pathlib import Path

import numpy as np

from replicate.datasets import load_dataset
from replicate.datasets.base import SPLITS, Dataset, PinnedDataset, Splits, UserDataset
from replicate.datasets.sources.raw_files import (
    add_data_arguments,
    input_digests,
    options_of,
    pinned_entries,
    user_files,
)
from replicate.datasets.sources.verify import verified_files
from replicate.errors import ReplicateError
from replicate.jobs.subject import Subject
from replicate.params import Section
from replicate.records.frame import read_result
from replicate.records.schema import (
    DataDescription,
    FoldCounts,
    FoldsNote,
    Manifest,
    PrepareParameters,
    SourceFile,
)
from replicate.stages.job import StageJob
from replicate.storage.files import atomic_write, canonical_json, sha256_file

#: Pixels that are checked at a time.
PIXELS = 1 << 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of the stage."""
    add_data_arguments(parser)
    parser.add_argument(
        "--manifest", type=Path, required=True, help="the manifest that `fetch` wrote"
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="X.safetensors",
        help="tensors to write; X.json goes beside them",
    )


def _verified(
    dataset: Dataset, manifest: Path, folder: Path, options: Section
) -> tuple[dict[str, Path], list[SourceFile]]:
    """The raw files, name -> path, and their entries in the manifest, which they agree with."""
    content = read_result(manifest, Manifest)
    again = f"run `python -m replicate fetch --dataset {dataset.name} --out {manifest}` again"
    is_of_dataset = content["dataset"] == dataset.name
    if isinstance(dataset, UserDataset) and is_of_dataset:
        files, sources = user_files(dataset, folder, options)
        if content["sources"] != sources:
            # Users bring one file or folder.
            (path,) = files.values()
            raise ReplicateError(
                f"{path} is not what {manifest} lists: it changed since `fetch`; {again}."
            )
        return files, sources
    if isinstance(dataset, PinnedDataset) and is_of_dataset:
        sources = pinned_entries(dataset)
        if content["sources"] == sources:
            # Once more: what `fetch` verified may have been changed since.
            return verified_files(dataset, folder), sources
    raise ReplicateError(
        f"{manifest} does not list the files of {dataset.name!r} that this version works with; "
        f"{again}."
    )


def _check_images(splits: Splits, name: str) -> None:
    """Refuses images that are misshaped, not finite, or outside the data set's value range."""
    low, high = splits.value_range
    for split, images in splits.images.items():
        where = f"data set {name!r}, {split}"
        is_pixel_type = images.dtype in (np.uint8, np.float32)
        if not is_pixel_type or images.ndim != 4:
            raise ReplicateError(
                f"{where}: {images.dtype} {images.shape} instead of uint8 or float32, (n, c, h, w)."
            )
        shape = images.shape[1:]
        if shape != splits.shape:
            raise ReplicateError(
                f"{where}: images of {shape} beside training images of {splits.shape}."
            )
        count = len(images)
        # Splits without labels are no fault: not every data set has them.
        label_count = len(splits.labels.get(split, images))
        if count == 0 or label_count != count:
            raise ReplicateError(
                f"{where}: {count} images; there must be some, and as many as labels."
            )
        least, most = _extremes(images, splits.divisor)
        if not (math.isfinite(least) and math.isfinite(most)):
            raise ReplicateError(f"{where}: some pixels are not finite.")
        if least < low or most > high:
            raise ReplicateError(
                f"{where}: pixels from {least} to {most}, "
                f"outside the data set's range of {low} to {high}."
            )


def _extremes(images: np.ndarray, divisor: float) -> tuple[np.float32, np.float32]:
    """The smallest and the largest pixel of stored images; NaN where one is not a number.

    A few images at a time, since their pixels take four times the memory of bytes.
    """
    rows = max(1, PIXELS // images[0].size)
    least = []
    most = []
    for start in range(0, len(images), rows):
        stored = images[start : start + rows]
        pixels = np.divide(stored, np.float32(divisor), dtype=np.float32)
        least.append(pixels.min())
        most.append(pixels.max())
    return np.min(least), np.max(most)


def _fold_counts(splits: Splits) -> FoldsNote:
    """Labelled images of each split of each fold, where there are folds. Else nothing."""
    if not splits.folds:
        return {}
    folds: list[FoldCounts] = []
    for fold in splits.folds:
        train, valid, test = (len(fold[split]) for split in SPLITS)
        folds.append({"train": train, "valid": valid, "test": test})
    return {"folds": folds}


def run(args: argparse.Namespace) -> None:
    """Verifies, cuts, checks and writes the data set; all of its files appear, or none."""
    job = StageJob("prepare")
    dataset = load_dataset(args.dataset)
    if args.out.suffix != ".safetensors":
        raise ReplicateError(
            f"--out {args.out}: the name must end in .safetensors; "
            "the JSON file takes the same stem."
        )
    options = options_of(dataset, args.params)
    folder = args.data_dir / dataset.name
    files, sources = _verified(dataset, args.manifest, folder, options)
    splits = dataset.prepare(files, options)
    _check_images(splits, dataset.name)
    # Where a user's data lie on this machine is no part of the result; `sources` says what they are
    location = set(dataset.location) if isinstance(dataset, UserDataset) else set()
    settings = options.model_dump(mode="json", exclude=location)
    parameters: PrepareParameters = {"datasets": {dataset.name: settings}}
    subject = Subject(dataset=dataset.name)
    frame = job.frame(parameters, {"manifest": args.manifest}, subject)
    description = args.out.with_suffix(".json")
    with atomic_write(args.out, description) as (tensors, text):
        splits.write(tensors)
        content: DataDescription = {
            **frame,
            "stage": "prepare",
            "parameters": parameters,
            "inputs": frame["inputs"] | input_digests(sources),
            "dataset": dataset.name,
            "title": dataset.title,
            "counts": {split: len(images) for split, images in splits.images.items()},
            "shape": list(splits.shape),
            "value_range": list(splits.value_range),
            "sources": sources,
            "sha256": sha256_file(tensors),
            **_fold_counts(splits),
        }
        text.write_text(canonical_json(content), encoding="utf-8")
        job.close(description)
    counts = ", ".join(f"{splits.count(split)} {split}" for split in SPLITS)
    if splits.folds:
        counts += f" (fold 0 of {splits.fold_count})"
    shape = "x".join(map(str, splits.shape))
    print(f"prepare {dataset.name}: {counts} images of {shape} -> {args.out}")
