"""Compares a run with a kept one: bits where they must be the same, statistics where they cannot.

Bits depend on versions, instruction sets, device, threads, seeds and code (docs/faq.md). Where all
of these and the parameters and data are the same, every number must be. Where one differs, the
seeds' means are compared by Welch's interval of their difference. Runs with the same seeds share
initial weights and noise, so their means are nearer to each other than independent ones: the
interval is then too wide, never too narrow. Where parameters or data differ, the runs are different
ones, and nothing is compared.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

from replicate.comparison.result_differences import (
    differs,
    environment_differences,
    measured_difference,
    other_settings,
    same_bits,
    shared_stages,
)
from replicate.records.run_folder import Job, Models, ResultFile, RunFolder
from replicate.records.schema import Evaluation, MeasuredCell
from replicate.verdicts.pooled_seeds import pool_seeds
from replicate.verdicts.statistics import difference_of_means, simultaneous

Outcome = Literal["same bits", "no difference found", "inconclusive", "different runs", "failed"]
#: Relative difference of two means that float32 rounding alone can make: no finding, however small
#: the spread.
ROUNDING = 1e-6


@dataclass(frozen=True)
class Numbers:
    """One number of each seed in both runs.

    Attributes:
        label: what was measured, with its unit.
        ours, theirs: [seed]
        context: what else to say beside the difference.
    """

    label: str
    ours: tuple[float, ...]
    theirs: tuple[float, ...]
    context: str = ""

    @property
    def testable(self) -> bool:
        """Whether both runs have the two seeds that an interval takes."""
        fewest = min(len(self.ours), len(self.theirs))
        return fewest > 1


@dataclass(frozen=True)
class Pair:
    """A cell or a statement that both runs measured, before the number of comparisons is known.

    Attributes:
        subject: of the comparison.
        reference: folder of the other run.
        settled: the outcome, where no interval decides it.
        says: what there is to say before the numbers.
        reasons: why bits cannot be asked for, each with both values.
        numbers: what the statistics compare.
    """

    subject: str
    reference: str
    settled: Outcome | None
    says: str = ""
    reasons: tuple[str, ...] = ()
    numbers: tuple[Numbers, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """A pair with its outcome, in one line of words."""

    subject: str
    reference: str
    outcome: Outcome
    text: str


# ------------------------------------------------------------------------------------------- models


class _CheckedJobs(NamedTuple):
    """Two jobs, bit by bit.

    Attributes:
        fault: what must be the same and is not; None where nothing is wrong.
        reasons: why bits cannot be asked for.
    """

    fault: str | None
    reasons: tuple[str, ...]


def _commit_difference(our_file: ResultFile, their_file: ResultFile) -> str:
    """That the commits of two results differ, in words; empty where they do not."""
    our_commit = _commit(our_file)
    their_commit = _commit(their_file)
    return "; ".join(differs("commit", our_commit, their_commit))


def _commit(file: ResultFile) -> object:
    """The commit that a result was made with, where its record says."""
    record = file.record or {}
    source = record.get("source", {})
    return source.get("commit")


def _check_jobs(our_job: Job, their_job: Job) -> _CheckedJobs:
    """Compares two jobs stage by stage.

    A reason at one stage excuses those after it, not those before.
    """
    reasons = other_settings(our_job, their_job)
    our_seeds = our_job["evaluate"].content["seeds"]
    their_seeds = their_job["evaluate"].content["seeds"]
    reasons += differs("seeds", our_seeds, their_seeds)
    fault = None
    for stage in shared_stages(our_job, their_job):
        our_file = our_job[stage]
        their_file = their_job[stage]
        reasons += environment_differences(our_file, their_file)
        # A later stage may differ because the machine does; an earlier one, compared already, may
        # not.
        if not reasons and fault is None:
            fault = _fault(our_file, their_file)
    # Stages of one job often give the same reason.
    each_once = dict.fromkeys(reasons)
    return _CheckedJobs(fault, tuple(each_once))


def _fault(our_file: ResultFile, their_file: ResultFile) -> str | None:
    """A measured number that differs though all that decides bits is the same."""
    difference = measured_difference(our_file, their_file)
    if difference is None:
        return None
    # The digest of the code is the same, so another commit is a hint and no reason.
    commits = _commit_difference(our_file, their_file)
    suffix = ""
    if commits:
        suffix = f" ({commits})"
    return f"{difference}, and all that decides bits is the same{suffix}"


def job_pairs(our_jobs: Mapping[str, Job], their_jobs: Mapping[str, Job]) -> list[tuple[Job, Job]]:
    """The jobs of the same seeds; the first of each run where there are none."""
    common = sorted(our_jobs.keys() & their_jobs.keys())
    if common:
        return [(our_jobs[block], their_jobs[block]) for block in common]
    # Jobs of other seeds still say whether the same was asked for on the same machine.
    our_first = min(our_jobs)
    their_first = min(their_jobs)
    return [(our_jobs[our_first], their_jobs[their_first])]


def _all_other_settings(our_jobs: Mapping[str, Job], their_jobs: Mapping[str, Job]) -> list[str]:
    """How any two jobs of a model were asked for different things, each once."""
    settings: list[str] = []
    # Every pair: blocks of one run may themselves have been asked for different things.
    for our_job in our_jobs.values():
        for their_job in their_jobs.values():
            settings += other_settings(our_job, their_job)
    return list(dict.fromkeys(settings))


def compare_model(
    subject: str, reference: str, our_jobs: Mapping[str, Job], their_jobs: Mapping[str, Job]
) -> Pair:
    """One model on one data set, all blocks of seeds of both runs."""
    our_blocks = ", ".join(sorted(our_jobs))
    their_blocks = ", ".join(sorted(their_jobs))
    # Where the bits are the same, no difference of settings or machines can matter.
    if same_bits(our_jobs, their_jobs):
        return Pair(subject, reference, "same bits", f"seeds {our_blocks}")
    every_job = [*our_jobs.values(), *their_jobs.values()]
    if not all("train" in job for job in every_job):
        says = "not compared: a training result, which has the settings, is missing"
        return Pair(subject, reference, "different runs", says)
    job_checks = []
    for our_job, their_job in job_pairs(our_jobs, their_jobs):
        job_checks.append(_check_jobs(our_job, their_job))
    faults = [check.fault for check in job_checks if check.fault]
    if faults:
        return Pair(subject, reference, "failed", f"the bits must be the same: {faults[0]}")
    settings = _all_other_settings(our_jobs, their_jobs)
    if settings:
        says = f"not compared: {'; '.join(settings)}"
        return Pair(subject, reference, "different runs", says)
    reasons = list(differs("blocks of seeds", our_blocks, their_blocks))
    for check in job_checks:
        reasons += check.reasons
    each_once = dict.fromkeys(reasons)
    return _means(subject, reference, tuple(each_once), our_jobs, their_jobs)


def _pooled(blocks: Mapping[str, Job]) -> MeasuredCell:
    """The seeds of all blocks of a model together."""
    evaluations = []
    for block in sorted(blocks):
        file = blocks[block]["evaluate"]
        evaluations.append((str(file.path), cast(Evaluation, file.content)))
    cell = pool_seeds(evaluations)
    assert cell is not None
    return cell


def _failed_seeds(cell: MeasuredCell) -> str:
    seeds = [str(failure["seed"]) for failure in cell["failed"]]
    return ", ".join(seeds)


def _values(cell: MeasuredCell) -> tuple[float, ...]:
    """The log-likelihood of every seed, nats."""
    values = [seed["log_likelihood"] for seed in cell["per_seed"]]
    return tuple(values)


def _means(
    subject: str,
    reference: str,
    reasons: tuple[str, ...],
    our_jobs: Mapping[str, Job],
    their_jobs: Mapping[str, Job],
) -> Pair:
    """The pair whose means are compared, because bits cannot be asked for."""
    our_cell = _pooled(our_jobs)
    their_cell = _pooled(their_jobs)
    our_failed = _failed_seeds(our_cell)
    their_failed = _failed_seeds(their_cell)
    if our_failed or their_failed:
        says = (
            f"failed seeds {our_failed or 'none'} here, {their_failed or 'none'} there; "
            "averaging only surviving seeds would bias the mean"
        )
        return Pair(subject, reference, "inconclusive", says, reasons)
    our_error = our_cell["standard_error_test"]
    their_error = their_cell["standard_error_test"]
    context = f"standard error over test images {our_error:.1f} here, {their_error:.1f} there"
    numbers = Numbers(
        label="test log-likelihood (nats)",
        ours=_values(our_cell),
        theirs=_values(their_cell),
        context=context,
    )
    return Pair(subject, reference, None, "", reasons, (numbers,))


def compare_models(our_run: RunFolder, their_run: RunFolder) -> list[Pair]:
    """Every model on every data set that both runs evaluated.

    Rounded weights are compared with rounded ones.
    """
    reference = str(their_run.folder)
    return [
        *_pairs_of(reference, our_run.models, their_run.models, ""),
        *_pairs_of(reference, our_run.rounded, their_run.rounded, " with rounded weights"),
    ]


def _pairs_of(
    reference: str, our_models: Models, their_models: Models, suffix: str
) -> Iterator[Pair]:
    for cell, our_jobs in our_models.items():
        if cell in their_models:
            dataset, model = cell
            subject = f"{dataset} {model}{suffix}"
            yield compare_model(subject, reference, our_jobs, their_models[cell])


# ---------------------------------------------------------------------------------------- decisions


class _Tested(NamedTuple):
    """Whether two means differ at the level of the test, and the difference in words."""

    differs: bool
    words: str


def _welch(numbers: Numbers, level: float) -> _Tested:
    """Welch's test at `level`; of one seed there is only the difference."""
    our_count, their_count = len(numbers.ours), len(numbers.theirs)
    our_mean = sum(numbers.ours) / our_count
    their_mean = sum(numbers.theirs) / their_count
    words = (
        f"{numbers.label}: {our_mean:.6g} here, {their_mean:.6g} there, "
        f"difference {our_mean - their_mean:.4g}"
    )
    context = ""
    if numbers.context:
        context = f", {numbers.context}"
    if not numbers.testable:
        seeds = f"{our_count} against {their_count} seeds"
        return _Tested(False, f"{words}, no interval ({seeds}; it takes two of each){context}")
    gap = difference_of_means(numbers.ours, numbers.theirs)
    low, high = gap.interval(level)
    # Seeds that hardly differ would make a finding of the last bits.
    rounding = ROUNDING * max(abs(our_mean), abs(their_mean))
    leaves_out_zero = not low <= 0 <= high
    is_far = leaves_out_zero and abs(gap.value) > rounding
    shown_low, shown_high = gap.ci95
    words += f", 95 % interval {shown_low:.4g} to {shown_high:.4g}"
    if is_far:
        words += f", simultaneous {low:.4g} to {high:.4g}, without 0"
    return _Tested(is_far, f"{words}{context}")


def _decide(pair: Pair, level: float) -> Comparison:
    tests = [_welch(numbers, level) for numbers in pair.numbers]
    clauses = [pair.says]
    clauses += [test.words for test in tests]
    if pair.reasons:
        reasons = ", ".join(pair.reasons)
        clauses.append(f"bits cannot be asked for: {reasons}")
    text = "; ".join(clause for clause in clauses if clause)
    outcome = _outcome(pair, tests)
    return Comparison(pair.subject, pair.reference, outcome, text)


def _outcome(pair: Pair, tests: Sequence[_Tested]) -> Outcome:
    # First of all: one number that differs is not made good by others that agree.
    if any(test.differs for test in tests):
        return "failed"
    if pair.settled is not None:
        return pair.settled
    if not all(numbers.testable for numbers in pair.numbers):
        return "inconclusive"
    return "no difference found"


def decide(pairs: Sequence[Pair]) -> tuple[list[Comparison], int, float]:
    """Decides all pairs together.

    Returns:
        The comparisons in the order of the pairs; how many intervals they took; the level of each
        of these, so that all hold together with 95 % (Bonferroni).
    """
    # Fifty intervals of 95 % would leave out 0 for two or three pairs of equal means.
    intervals = 0
    for pair in pairs:
        intervals += sum(numbers.testable for numbers in pair.numbers)
    level = simultaneous(0.95, intervals)
    comparisons = [_decide(pair, level) for pair in pairs]
    return comparisons, intervals, level
