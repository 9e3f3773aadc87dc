"""What the two stages that touch raw files share."""

import argparse
import os
from pathlib import Path
from typing import Any

from replicate.codedigest import code_digest
from replicate.datasets import REGISTRY
from replicate.datasets.base import Dataset


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """`--dataset` and `--data-dir`."""
    parser.add_argument("--dataset", required=True, metavar="NAME", help=f"one of: {', '.join(REGISTRY)}")
    parser.add_argument(
        "--data-dir",
        type=Path,
        default=Path(os.environ.get("REPLICATE_DATA") or "data"),
        metavar="FOLDER",
        help="folder of raw files, one folder per data set below it (default: $REPLICATE_DATA, else data)",
    )


def dataset_code(stage: str, dataset: Dataset) -> str:
    """The digest of the code of a stage with its data set, the same that the plan gives for the job."""
    return code_digest([f"replicate.stages.{stage}", REGISTRY[dataset.name][1]])


def listed(dataset: Dataset) -> list[dict[str, Any]]:
    """The sources of a data set as a result file lists them: name, size and SHA-256, and no path."""
    return [{"name": source.name, "size": source.size, "sha256": source.sha256} for source in dataset.sources]
