"""Compares a run with reference runs: does it say the same?

For every model on every data set, and every claim, that both runs have, one line:

  same bits             every measured number is the same
  no difference found   bits cannot be asked for (the line says why: versions, instruction sets, device, threads,
                        seeds or code differ, or are not known); the interval of the difference of means has 0 in it
  inconclusive          as before, but fewer than two seeds on a side, or a seed failed: only the difference is told
  different runs        parameters or data differ (they are named), so nothing is compared
  failed                all that decides bits is the same and a number is not; or the means differ by more than
                        chance; or the verdicts on a claim are opposite

  python -m replicate verify                                     # results/ with every reference run
  python -m replicate verify --reference results/reference/mnist-1-seed
  python -m replicate verify --run results/reference/statements/seeds-10-19 \\
      --reference results/reference/statements/seeds-0-9

Exit status: 0 if nothing failed, 1 if something did, 2 if a file cannot be read. Nothing is written.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from replicate.errors import Disagreement, ReplicateError, understanding
from replicate.runfolder import kept_runs, read_run
from replicate.verify import Comparison, Outcome, Pair, compare_models, judged
from replicate.verify_claims import compare_claims

#: Where the reference runs lie.
KEPT = Path("results/reference")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the tool's arguments."""
    parser.add_argument("--run", type=Path, default=Path("results"), help="results of the run (default: results)")
    parser.add_argument(
        "--reference",
        type=Path,
        nargs="+",
        metavar="FOLDER",
        help=f"reference runs (default: all below {KEPT} that have something in common with the run)",
    )


def _pairs(run: Path, named: Sequence[Path] | None) -> list[Pair]:
    """All that the run has in common with the reference runs; with one that was named, something is asked for."""
    ours, pairs = read_run(run), []
    for folder in named or kept_runs(KEPT):
        theirs = read_run(folder)
        with understanding(f"a result below {run} or {folder}"):
            found = compare_models(ours, theirs) + compare_claims(ours, theirs)
        if named and not found:
            raise ReplicateError(f"{run} and {folder} have no model on a data set and no claim in common.")
        pairs += found
    if not pairs:
        raise ReplicateError(
            f"no reference run below {KEPT} has a model on a data set or a claim in common with {run}."
        )
    return pairs


def _summary(comparisons: Sequence[Comparison]) -> str:
    counts = Counter(comparison.outcome for comparison in comparisons)
    told = [f"{counts[outcome]} {outcome}" for outcome in get_args(Outcome) if counts[outcome]]
    runs = len({comparison.reference for comparison in comparisons})
    return f"verify: {len(comparisons)} compared with {runs} reference run(s): {', '.join(told)}"


def run(arguments: argparse.Namespace) -> None:
    """Prints one line per comparison and a count; an error where one failed."""
    pairs = _pairs(arguments.run, arguments.reference)
    with understanding(f"a result below {arguments.run}"):
        comparisons, intervals, level = judged(pairs)
    for one in comparisons:
        print(f"{one.subject} [{one.reference}]: {one.outcome}: {one.text}")
    if intervals:
        print(
            f"statistics: {intervals} interval(s) of a difference (here less there); one fails only if it leaves out 0 "
            f"at the level {100 * level:.4g} %, at which all together hold with 95 % (Bonferroni)"
        )
    print(_summary(comparisons))
    if failed := [f"{one.subject} [{one.reference}]" for one in comparisons if one.outcome == "failed"]:
        raise Disagreement(
            f"{len(failed)} of {len(comparisons)} comparisons failed, first {failed[0]}; its line says what differs. "
            "If it was meant to, make that reference run again; else do not trust this run before you know why."
        )
