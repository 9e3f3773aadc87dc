"""The published numbers of `results/published/`: those of Table 1, and others for context."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from replicate.errors import ReplicateError
from replicate.records.schema import ContextValue, PublishedValue


class PublishedRow(PublishedValue):
    """A row of Table 1 on one data set, with its claim in the protocol and the model's title."""

    claim: str
    title: str


#: (model, data set) -> the row of Table 1.
PublishedRows = dict[tuple[str, str], PublishedRow]
Row = TypeVar("Row")
STATUSES = ("verified", "unverified")


def read_published(path: Path) -> PublishedRows:
    """The rows of Table 1, in the paper's order.

    Raises:
        ReplicateError: the file is not such a table.
    """
    return dict(_rows(path, _published_row))


def _published_row(row: dict[str, str]) -> tuple[tuple[str, str], PublishedRow]:
    published: PublishedRow = {
        "claim": row["claim"],
        "title": row["title"],
        "log_likelihood": float(row["log_likelihood"]),
        "standard_error": float(row["standard_error"]),
        "uncertainty_over": row["uncertainty_over"],
        "samples": int(row["samples"]),
        "source": row["source"],
    }
    return (row["model"], row["dataset"]), published


def read_context(path: Path) -> list[ContextValue]:
    """Other published Parzen estimates, each with its source and how it was measured.

    `status` is "verified" where the number was read in the source, and "unverified" where it is
    quoted from memory.

    Raises:
        ReplicateError: the file is not such a table.
    """
    return _rows(path, _context_value)


def _context_value(row: dict[str, str]) -> ContextValue:
    # A number quoted from memory must not pass for one that was read in its source.
    if row["status"] not in STATUSES:
        raise ValueError(f"the status is {' or '.join(STATUSES)}, not {row['status']!r}")
    error = row["standard_error"]
    return {
        "model": row["model"],
        "dataset": row["dataset"],
        "samples": row["samples"],
        "source": row["source"],
        "year": row["year"],
        "status": row["status"],
        "differences": row["differences"],
        "log_likelihood": float(row["log_likelihood"]),
        # Some sources print none.
        "standard_error": float(error) if error else None,
    }


def _rows(path: Path, converted: Callable[[dict[str, str]], Row]) -> list[Row]:
    """The rows of a comma-separated file, each converted.

    Raises:
        ReplicateError: the file cannot be read, a value in it is wrong, or it has no rows.
    """
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            rows = [converted(row) for row in reader]
    # `DictReader` fills a short line with None, which `float` refuses by TypeError.
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ReplicateError(
            f"{path} is not a readable table of published values ({error})."
        ) from None
    if not rows:
        raise ReplicateError(f"{path} holds no published values; restore it from the repository.")
    return rows
