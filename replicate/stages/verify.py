"""Compares a run with reference runs: does it say the same?

For every model on every data set, and every statement, that both runs have, one line:

  same bits             every measured number is the same
  no difference found   bits cannot be asked for (the line says why: versions, instruction sets,
                        device, threads, seeds or code differ, or are not known); the interval of
                        the difference of means has 0 in it
  inconclusive          as before, but fewer than two seeds on a side, or a seed failed: only the
      difference is told
  different runs        parameters or data differ (they are named), so nothing is compared
  failed                all that decides bits is the same and a number is not; or the means differ
                        by more than chance; or the verdicts on a statement are opposite

  python -m replicate verify                                     # results/ with every reference run
  python -m replicate verify --reference results/reference/mnist-1-seed
  python -m replicate verify --run results/reference/statements/seeds-10-19 \\
      --reference results/reference/statements/seeds-0-9

Exit status: 0 if nothing failed, 1 if something did, 2 if a file cannot be read. Nothing is
written.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from replicate.comparison.verify import Comparison, Outcome, Pair, compare_models, decide
from replicate.comparison.verify_statements import compare_statements
from replicate.errors import Disagreement, ReplicateError, understanding
from replicate.jobs.seal import check_sealed
from replicate.records.run_folder import kept_runs, read_run

REFERENCE_RUNS = Path("results/reference")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the tool's arguments."""
    parser.add_argument(
        "--run", type=Path, default=Path("results"), help="results of the run (default: results)"
    )
    parser.add_argument(
        "--reference",
        type=Path,
        nargs="+",
        metavar="FOLDER",
        help=f"reference runs (default: all below {REFERENCE_RUNS} that have something in common "
        "with the run)",
    )


def _pairs(folder: Path, references: Sequence[Path] | None) -> list[Pair]:
    """All that a run has in common with the reference runs, by default with all of them.

    Raises:
        ReplicateError: the run has nothing in common with a reference that was given, or with any.
    """
    run = read_run(folder)
    # Before any comparison: a file that was changed since its job agrees or differs for no good
    # reason.
    for path in run.paths:
        check_sealed(path)
    pairs = []
    for reference_folder in references or kept_runs(REFERENCE_RUNS):
        reference = read_run(reference_folder)
        with understanding(f"a result below {folder} or {reference_folder}"):
            common = compare_models(run, reference) + compare_statements(run, reference)
        # By default most kept runs share nothing with a run, which is no fault; one that was named
        # should.
        if references and not common:
            raise ReplicateError(
                f"{folder} and {reference_folder} have no model on a data set "
                "and no statement in common."
            )
        pairs += common
    if not pairs:
        raise ReplicateError(
            f"no reference run below {REFERENCE_RUNS} has a model on a data set or a statement "
            f"in common with {folder}."
        )
    return pairs


def _summary(comparisons: Sequence[Comparison]) -> str:
    """How many comparisons have which outcome."""
    total = len(comparisons)
    runs = {comparison.reference for comparison in comparisons}
    counts = Counter(comparison.outcome for comparison in comparisons)
    clauses = []
    for outcome in get_args(Outcome):
        count = counts[outcome]
        if count:
            clauses.append(f"{count} {outcome}")
    numbers = ", ".join(clauses)
    return f"verify: {total} compared with {len(runs)} reference run(s): {numbers}"


def run(arguments: argparse.Namespace) -> None:
    """Prints one line per comparison and a count; an error where one failed."""
    pairs = _pairs(arguments.run, arguments.reference)
    with understanding(f"a result below {arguments.run}"):
        # All at once: the level of an interval hangs on how many there are.
        comparisons, intervals, level = decide(pairs)
    failed = []
    for comparison in comparisons:
        name = f"{comparison.subject} [{comparison.reference}]"
        print(f"{name}: {comparison.outcome}: {comparison.text}")
        if comparison.outcome == "failed":
            failed.append(name)
    if intervals:
        print(
            f"statistics: {intervals} interval(s) of a difference (here less there); "
            f"one fails only if it leaves out 0 at the level {100 * level:.4g} %, "
            "at which all together hold with 95 % (Bonferroni)"
        )
    print(_summary(comparisons))
    if failed:
        raise Disagreement(
            f"{len(failed)} of {len(comparisons)} comparisons failed, first {failed[0]}; "
            "its line says what differs. If it was meant to, make that reference run again; "
            "else do not trust this run before you know why."
        )
