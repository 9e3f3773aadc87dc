"""What the two stages that touch raw files share."""

import argparse
from pathlib import Path
from typing import Any

from replicate.codedigest import code_digest
from replicate.datasets import REGISTRY, data_folder
from replicate.datasets.base import Dataset, PinnedDataset, UserDataset
from replicate.errors import ReplicateError
from replicate.params import Params, Section, checked, read_document
from replicate.paths import home_path

#: Names of inputs beside the raw data.
OTHER_INPUTS = frozenset({"manifest"})


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """`--dataset`, `--data-dir` and `--params`."""
    parser.add_argument("--dataset", required=True, metavar="NAME", help=f"one of: {', '.join(REGISTRY)}")
    parser.add_argument(
        "--data-dir",
        type=home_path,
        default=data_folder(),
        metavar="FOLDER",
        help="folder of raw files, one folder per data set below it (default: $REPLICATE_DATA, else data)",
    )
    parser.add_argument("--params", metavar="PARAMS", help="a parameter file (YAML), or the parameters as inline JSON")


def options_of(dataset: Dataset, params: str | None) -> Section:
    """The options of a data set: those in the parameters `params`, else the defaults."""
    if params is None:
        return dataset.Config()
    raw, where = read_document(params)
    given = Params.parse(raw, where).datasets.get(dataset.name, {})
    return checked(dataset.Config, given, where, prefix=f"datasets.{dataset.name}")


def dataset_code(stage: str, dataset: Dataset) -> str:
    """The digest of the code of a stage with its data set, the same that the plan gives for the job."""
    return code_digest([f"replicate.stages.{stage}", REGISTRY[dataset.name][1]])


def listed(dataset: PinnedDataset) -> list[dict[str, Any]]:
    """The sources of a data set as a result file lists them: name, size and SHA-256, and no path."""
    return [{"name": source.name, "size": source.size, "sha256": source.sha256} for source in dataset.sources]


def brought(dataset: UserDataset, folder: Path, options: Section) -> tuple[dict[str, Path], list[dict[str, Any]]]:
    """The user's own data as they lie there: name -> path, and what a result file lists of them.

    Raises:
        ReplicateError: they are not there; says where they should be and how to get them.
    """
    path = dataset.place(folder, options)
    sentence = dataset.missing(path)
    if sentence is not None:
        raise ReplicateError(sentence)
    entry = dataset.inventory(path)
    return {entry["name"]: path}, [entry]


def digests(sources: list[dict[str, Any]]) -> dict[str, str]:
    """The `inputs` of a result file: name -> SHA-256, as verified; a folder may be called as another input is."""
    return {
        f"data/{source['name']}" if source["name"] in OTHER_INPUTS else source["name"]: source["sha256"]
        for source in sources
    }
