"""A file of samples, scored: read, fixed where asked, looked at, and measured."""

import argparse
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from replicate.datasets.base import Splits
from replicate.errors import ReplicateError
from replicate.measures import REGISTRY
from replicate.measures.run_measures import measure_samples
from replicate.params import Likelihood
from replicate.progress.loops import task
from replicate.records.schema import Measured, ScoredSamples, ScoreNeighbour, ScoreTrap
from replicate.scoring.context import neighbours, standing
from replicate.scoring.data import Data, read_data
from replicate.scoring.estimate import Estimate, estimate
from replicate.scoring.files import ForeignArray, read_array
from replicate.scoring.rows import FIXES, Rows, as_pixels, fits, in_rows, turned
from replicate.scoring.traps import Trap, inverted, other_range, traps

#: About the shares of the work that the measures are where they are asked for, and of the rest
#: looking for traps.
MEASURES_SHARE, TRAPS_SHARE = 0.7, 0.4


@dataclass(frozen=True)
class Score:
    """All that is said of a file of samples.

    Attributes:
        data: what it was compared with.
        array: the file.
        rows: its images as they were scored.
        estimate: the Parzen estimate.
        traps: reasons to distrust it.
        neighbours: values of others that may stand beside it.
        measures: other measures of the same samples that have a value, where they were asked for.
        unmeasured: why the others of them have none, in sentences.
        fixes: those that were asked for, in the order in which they were made.
    """

    data: Data
    array: ForeignArray
    rows: Rows
    estimate: Estimate
    traps: list[Trap]
    neighbours: list[ScoreNeighbour]
    measures: list[Measured]
    unmeasured: list[str]
    fixes: list[str]

    @property
    def notes(self) -> list[str]:
        """What was done to files, and what was asked for and could not be, in sentences."""
        return [*self.data.notes, *self.array.notes, *self.rows.notes, *self.unmeasured]

    @property
    def standing(self) -> str | None:
        """Where the estimate lies among the others, in words."""
        return standing(self.estimate.log_likelihood, self.neighbours)

    @property
    def samples(self) -> ScoredSamples:
        """The file as the result describes it."""
        return {
            "name": self.array.path.absolute().name,
            "kind": self.array.kind,
            "stored_shape": list(self.array.values.shape),
            "stored_type": str(self.array.values.dtype),
            "shape": list(self.rows.shape),
            "count": len(self.rows.pixels),
            "lowest": float(self.rows.pixels.min()),
            "highest": float(self.rows.pixels.max()),
        }

    @property
    def plain_traps(self) -> list[ScoreTrap]:
        """The traps as the result holds them."""
        return [
            {"name": trap.name, "sentence": trap.sentence, "fix": list(trap.fix)}
            for trap in self.traps
        ]


def fixed_rows(array: ForeignArray, data: Data, fixes: Collection[str]) -> Rows:
    """The samples as rows of pixels, with the fixes that were asked for.

    Raises:
        ReplicateError: the file does not fit the data, or a fix has nothing to do.
    """
    splits = data.splits
    images = in_rows(array, splits.shape, fixes)
    pixels, notes = as_pixels(images, splits.divisor, array)
    rows = turned(Rows(pixels, splits.shape, tuple(notes)), fixes)
    if "range" in fixes:
        # The same search as the trap's, so that a fix does exactly what the trap proposed.
        interval = other_range(rows, splits)
        if interval is None or not math.isfinite(interval.scale):
            low, high = splits.value_range
            raise ReplicateError(
                f"--fix range: the pixels lie from {float(pixels.min()):g} to "
                f"{float(pixels.max()):g} and the data from {low:g} to {high:g}, and no usual "
                "range explains that; leave it out, or bring the samples there yourself."
            )
        rows = replace(rows, pixels=interval.undone(rows.pixels))
    # After the range: light and dark are swapped about the middle of the data set's own range.
    if "invert" in fixes:
        rows = replace(rows, pixels=inverted(rows.pixels, splits))
    return rows


def other_measures(
    rows: Rows, splits: Splits, likelihood: Likelihood, device: torch.device
) -> list[Measured]:
    """Every measure beside the Parzen estimate that samples alone have, in pixels, also those that
    have no value.

    Features would need a classifier of the data set, which the pipeline trains and this does not.
    """
    samples = torch.from_numpy(rows.pixels.astype(np.float32)).to(device)
    entries = measure_samples(samples, splits, None, likelihood=likelihood)
    # The estimate itself stands above them; what needs a classifier is not asked for here.
    asked = [entry for entry in entries if entry["measure"] != "parzen"]
    return [entry for entry in asked if _needs_no_classifier(entry)]


def _needs_no_classifier(entry: Measured) -> bool:
    if entry["space"] == "features":
        return False
    measure = REGISTRY[entry["measure"]]
    return measure.needs != "classifier"


def reasons_without_value(entries: Sequence[Measured]) -> list[str]:
    """A sentence for each reason for which measures have no value."""
    titles: dict[str, list[str]] = {}
    for entry in entries:
        reason = entry["reason"]
        if reason is None:
            continue
        measure = REGISTRY[entry["measure"]]
        of_reason = titles.setdefault(reason, [])
        of_reason.append(measure.title)
    sentences = []
    for reason, of_reason in titles.items():
        listed = ", ".join(of_reason)
        sentences.append(f"not measured ({reason}): {listed}")
    return sentences


def score(arguments: argparse.Namespace, likelihood: Likelihood, device: torch.device) -> Score:
    """Reads and scores what the command line names.

    Args:
        arguments: of the command `score`.
        likelihood: the protocol: bandwidths, and validation images that choose.
        device: where the estimate is computed.

    Raises:
        ReplicateError: a file cannot be used, or a log-likelihood is not finite.
    """
    data = read_data(arguments)
    shape = data.splits.shape
    array = read_array(arguments.file, arguments.name, lambda stored: fits(stored, shape))
    # In the list's order, whatever the command line's: `crop` takes what `grey` has made.
    fixes = [name for name in FIXES if name in arguments.fix]
    rows = fixed_rows(array, data, fixes)
    sigmas, limit = likelihood.sigmas, likelihood.validation_limit
    estimate_share = 1 - MEASURES_SHARE if arguments.measures else 1.0
    with task("the estimate", estimate_share * (1 - TRAPS_SHARE)):
        measured = estimate(rows.pixels, data.splits, sigmas, limit, device)
    with task("looking at the samples", estimate_share * TRAPS_SHARE):
        # After the estimate: that it chose an edge of the grid is one of the reasons.
        reasons = traps(rows, data.splits, measured.at_edge)
    others: list[Measured] = []
    if arguments.measures:
        with task("other measures", MEASURES_SHARE):
            others = other_measures(rows, data.splits, likelihood, device)
    return Score(
        data=data,
        array=array,
        rows=rows,
        estimate=measured,
        traps=reasons,
        neighbours=neighbours(data.name, rows.pixels.shape[1]),
        measures=[entry for entry in others if entry["value"] is not None],
        unmeasured=reasons_without_value(others),
        fixes=fixes,
    )
