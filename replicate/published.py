"""The published numbers kept in `results/published/`: those of Table 1, and others for context."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from replicate.errors import ReplicateError

PublishedRows = dict[tuple[str, str], dict[str, Any]]
Row = TypeVar("Row")
STATUSES = ("verified", "unverified")


def read_published(path: Path) -> PublishedRows:
    """The rows of Table 1, (model, data set) -> row, in the paper's order."""

    def converted(row: dict[str, str]) -> tuple[tuple[str, str], dict[str, Any]]:
        return (row["model"], row["dataset"]), {
            "claim": row["claim"], "title": row["title"],
            "log_likelihood": float(row["log_likelihood"]), "standard_error": float(row["standard_error"]),
            "uncertainty_over": row["uncertainty_over"], "samples": int(row["samples"]), "source": row["source"],
        }  # fmt: skip

    return dict(_rows(path, converted))


def read_context(path: Path) -> list[dict[str, Any]]:
    """Other published Parzen estimates, each with its source, whether it was read there, and how it was measured.

    `status` is "verified" where the number was read in the source, "unverified" where it is quoted from memory.
    """
    words = ("model", "dataset", "samples", "source", "year", "status", "differences")

    def converted(row: dict[str, str]) -> dict[str, Any]:
        if row["status"] not in STATUSES:
            raise ValueError(f"the status is {' or '.join(STATUSES)}, not {row['status']!r}")
        error = float(row["standard_error"]) if row["standard_error"] else None
        values = {"log_likelihood": float(row["log_likelihood"]), "standard_error": error}
        return {name: row[name] for name in words} | values

    return _rows(path, converted)


def _rows(path: Path, converted: Callable[[dict[str, str]], Row]) -> list[Row]:
    """The rows of a comma-separated file; a file without them, or a value that cannot be read, is named."""
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = [converted(row) for row in csv.DictReader(stream)]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ReplicateError(f"{path} is not a readable table of published values ({error}).") from None
    if not rows:
        raise ReplicateError(f"{path} holds no published values; restore it from the repository.")
    return rows
