"""What the two stages that touch raw files share: their options, and lists of the files."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from replicate.datasets import REGISTRY, data_folder
from replicate.datasets.base import Dataset, PinnedDataset, UserDataset
from replicate.errors import ReplicateError
from replicate.params import Params, Section, checked, read_document
from replicate.records.schema import SourceFile
from replicate.storage.paths import home_path

#: Names of inputs beside the raw data.
OTHER_INPUTS = frozenset({"manifest"})


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares `--dataset`, `--data-dir` and `--params`."""
    parser.add_argument(
        "--dataset", required=True, metavar="NAME", help=f"one of: {', '.join(REGISTRY)}"
    )
    parser.add_argument(
        "--data-dir",
        type=home_path,
        default=data_folder(),
        metavar="FOLDER",
        help="folder of raw files, one folder per data set below it "
        "(default: $REPLICATE_DATA, else data)",
    )
    parser.add_argument(
        "--params",
        metavar="PARAMS",
        help="a parameter file (YAML), or the parameters as inline JSON",
    )


def options_of(dataset: Dataset, params: str | None) -> Section:
    """The options of a data set: those in the parameters `params`, else the defaults."""
    if params is None:
        return dataset.Config()
    raw, where = read_document(params)
    # All sections are checked, so that a fault anywhere in the file is told by every stage alike.
    sections = Params.parse(raw, where)
    options = sections.datasets.get(dataset.name, {})
    return checked(dataset.Config, options, where, prefix=f"datasets.{dataset.name}")


def pinned_entries(dataset: PinnedDataset) -> list[SourceFile]:
    """The sources of a data set as a result file lists them."""
    return [
        {"name": source.name, "size": source.size, "sha256": source.sha256}
        for source in dataset.sources
    ]


def user_files(
    dataset: UserDataset, folder: Path, options: Section
) -> tuple[dict[str, Path], list[SourceFile]]:
    """The user's own data as they lie there: name -> path, and what a result file lists of them.

    Raises:
        ReplicateError: they are not there; says where they should be and how to get them.
    """
    path = dataset.data_path(folder, options)
    sentence = dataset.missing(path)
    if sentence is not None:
        raise ReplicateError(sentence)
    entry = dataset.inventory(path)
    return {entry["name"]: path}, [entry]


def input_digests(entries: Sequence[SourceFile]) -> dict[str, str]:
    """The `inputs` of a result file: name -> SHA-256, as verified.

    A folder may be called as another input is; then it stands under `data/`.
    """
    digests = {}
    for entry in entries:
        name = entry["name"]
        key = f"data/{name}" if name in OTHER_INPUTS else name
        digests[key] = entry["sha256"]
    return digests
