"""Compares a run with a kept one: bits where they must be the same, statistics where they cannot.

Bits depend on versions, instruction sets, device, threads, seeds and code (docs/faq.md). Where all
of these and the parameters and data are the same, every number must be. Where one differs, the
seeds' means are compared by Welch's interval of their difference. Runs with the same seeds share
initial weights and noise, so their means are nearer to each other than independent ones: the
interval is then too wide, never too narrow. Where parameters or data differ, the runs are different
ones, and nothing is compared.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, cast

from replicate.records.run_folder import JOB_STAGES, Job, Models, ResultFile, RunFolder
from replicate.records.schema import Evaluation, MeasuredCell
from replicate.storage.files import read_tensors
from replicate.verdicts.pooled_seeds import SHARED, pool_seeds
from replicate.verdicts.statistics import difference_of_means, simultaneous

Outcome = Literal["same bits", "no difference found", "inconclusive", "different runs", "failed"]
#: Fields of a result that say how it was made; the rest was measured.
FRAME = frozenset({"schema", "code", "parameters", "parameters_sha256", "inputs"})
#: Relative difference of two means that float32 rounding alone can make: no finding, however small
#: the spread.
ROUNDING = 1e-6
#: Characters of a setting that a line shows.
SHOWN = 60


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


# ---------------------------------------------------------------------------- differences in words


def _abbreviated(value: object) -> str:
    """A setting as a line shows it."""
    if value is None:
        text = "none"
    elif isinstance(value, str):
        text = value
    else:
        text = json.dumps(value)
    if len(text) > SHOWN:
        return f"{text[:SHOWN]}..."
    return text


def differs(name: str, our_value: object, their_value: object) -> Iterator[str]:
    """Both values of what differs, in words; nothing where it does not."""
    if our_value != their_value:
        ours = _abbreviated(our_value)
        yield f"{name} {ours} here, {_abbreviated(their_value)} there"


def differences(
    our_settings: Mapping[str, object], their_settings: Mapping[str, object]
) -> list[str]:
    """Every name whose values differ, with both."""
    sentences: list[str] = []
    names = dict.fromkeys([*our_settings, *their_settings])
    for name in names:
        # A setting that only one version knows shows as "none" in the other.
        our_value = our_settings.get(name)
        their_value = their_settings.get(name)
        sentences += differs(name, our_value, their_value)
    return sentences


def first_difference(our_value: object, their_value: object, pointer: str = "") -> str | None:
    """The first place (JSON pointer) at which two values differ, with both; None if they do not."""
    children = _paired_children(our_value, their_value)
    if children is not None:
        for step, our_child, their_child in children:
            difference = first_difference(our_child, their_child, f"{pointer}/{step}")
            if difference:
                return difference
        return None
    # 1 and 1.0 are equal numbers, but other bytes.
    if json.dumps(our_value) == json.dumps(their_value):
        return None
    ours = _abbreviated(our_value)
    return f"{pointer or '/'}: {ours} here, {_abbreviated(their_value)} there"


def _paired_children(
    our_value: object, their_value: object
) -> Iterable[tuple[str | int, object, object]] | None:
    """Key or index, and both values there; None where two values do not have the same ones."""
    if isinstance(our_value, Mapping) and isinstance(their_value, Mapping):
        # With other fields the objects differ as a whole, and no place in them is the first.
        if our_value.keys() != their_value.keys():
            return None
        return [(key, our_value[key], their_value[key]) for key in sorted(our_value)]
    if isinstance(our_value, list) and isinstance(their_value, list):
        # As for objects: lists of other lengths differ as a whole.
        if len(our_value) != len(their_value):
            return None
        indices = range(len(our_value))
        return zip(indices, our_value, their_value, strict=True)
    return None


def flat(settings: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Settings by their path; a list is one setting."""
    by_path: dict[str, object] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            by_path |= flat(value, f"{prefix}{name}.")
        else:
            by_path[f"{prefix}{name}"] = value
    return by_path


# ------------------------------------------------------------------------------- bits of two files


def _image_difference(our_path: Path, their_path: Path) -> str | None:
    """That the log-likelihoods of all test images differ, in words.

    None where they do not, and where a run did not keep them.
    """
    # Beside the evaluation: means may agree where single images do not.
    our_file = our_path.with_suffix(".safetensors")
    their_file = their_path.with_suffix(".safetensors")
    # Kept runs are without them, since they are large.
    if not our_file.is_file() or not their_file.is_file():
        return None
    our_tensors, _ = read_tensors(our_file)
    their_tensors, _ = read_tensors(their_file)
    # Bytes and not values: NaN, for a failed seed, is unlike itself.
    our_bytes = {name: tensor.tobytes() for name, tensor in our_tensors.items()}
    their_bytes = {name: tensor.tobytes() for name, tensor in their_tensors.items()}
    if our_bytes == their_bytes:
        return None
    return f"{our_file} differs from {their_file}: the log-likelihoods of single test images"


def _measured_fields(file: ResultFile) -> dict[str, object]:
    content = file.content
    names = [name for name in content if name not in FRAME]
    return {name: content[name] for name in names}


def measured_difference(our_file: ResultFile, their_file: ResultFile) -> str | None:
    """The first measured number of two results that differs, with its file; None if none does."""
    our_fields = _measured_fields(our_file)
    their_fields = _measured_fields(their_file)
    pointer = first_difference(our_fields, their_fields)
    if pointer:
        return f"{our_file.path} differs from {their_file.path} at {pointer}"
    return _image_difference(our_file.path, their_file.path)


def same_bits(our_jobs: Mapping[str, Job], their_jobs: Mapping[str, Job]) -> bool:
    """Whether two runs of a model have the same blocks of seeds with the same bits.

    Only stages whose results both kept are compared.
    """
    # Blocks are trained together: other blocks of the same seeds may end in other bits.
    if our_jobs.keys() != their_jobs.keys():
        return False
    for block, our_job in our_jobs.items():
        if _differing_stage(our_job, their_jobs[block]):
            return False
    return True


def _differing_stage(our_job: Job, their_job: Job) -> str | None:
    """The first stage of two jobs whose measured numbers differ; None where none does."""
    for stage in _shared_stages(our_job, their_job):
        if measured_difference(our_job[stage], their_job[stage]):
            return stage
    return None


def _shared_stages(our_job: Job, their_job: Job) -> list[str]:
    """The stages whose results both runs kept of a job, in their order."""
    # Kept runs may hold less than a run's own folder.
    return [stage for stage in JOB_STAGES if stage in our_job and stage in their_job]


# -------------------------------------------------------------------------------- what decides bits


def _platform(record: Mapping[str, object]) -> dict[str, object]:
    """What of a run record decides bits, instruction sets aside."""
    versions = record.get("versions")
    if not isinstance(versions, Mapping):
        versions = {}
    # Python's patch releases leave the values of arithmetic as they are.
    python_parts = versions.get("python", "").split(".")
    minor = ".".join(python_parts[:2])
    platform = {"torch": versions.get("torch"), "numpy": versions.get("numpy"), "python": minor}
    # Not the processor's name: virtual machines of different kinds share a generic one.
    for name in ("system", "device", "device_name", "threads", "products"):
        platform[name] = record.get(name)
    return platform


def _instruction_differences(
    our_record: Mapping[str, object], their_record: Mapping[str, object]
) -> list[str]:
    """How the instruction sets of two run records differ, or that a record does not have them."""
    our_sets = our_record.get("instructions")
    their_sets = their_record.get("instructions")
    if isinstance(our_sets, Mapping) and isinstance(their_sets, Mapping):
        our_names = {f"instructions of {library}": name for library, name in our_sets.items()}
        their_names = {f"instructions of {library}": name for library, name in their_sets.items()}
        return differences(our_names, their_names)
    side = "on either side"
    if isinstance(our_sets, Mapping):
        side = "there"
    elif isinstance(their_sets, Mapping):
        side = "here"
    return [f"instruction sets not known {side}"]


def environment_differences(our_file: ResultFile, their_file: ResultFile) -> list[str]:
    """How versions, instruction sets, device, threads and code of two results differ."""
    our_record, their_record = our_file.record, their_file.record
    unrecorded = [file.path for file in (our_file, their_file) if file.record is None]
    sentences = [f"no run record beside {path}" for path in unrecorded]
    if our_record is not None and their_record is not None:
        our_platform = _platform(our_record)
        their_platform = _platform(their_record)
        sentences += differences(our_platform, their_platform)
        sentences += _instruction_differences(our_record, their_record)
    stage = our_file.content["stage"]
    our_code = our_file.content["code"]
    their_code = their_file.content["code"]
    sentences += differs(f"code of {stage}", our_code, their_code)
    return sentences


def data_digest(content: Mapping[str, object]) -> str | None:
    """The first digits of the digest of the prepared data of a result; None without data."""
    inputs = cast(Mapping[str, str], content["inputs"])
    digest = inputs.get("data")
    # A study without images has no data among its inputs.
    if not digest:
        return None
    # Enough to tell data sets apart, and short enough for a line.
    return digest[:16]


def recipe(job: Job) -> dict[str, object]:
    """What was to be measured: the data, and the settings of training and evaluation.

    Seeds, device and threads are left out.
    """
    training = job["train"].content
    evaluation = job["evaluate"].content
    parameters = training["parameters"]
    # Seeds have a sentence of their own, and device and threads ask for nothing else.
    names = [name for name in parameters if name not in ("block", "compute")]
    settings: dict[str, object] = {name: parameters[name] for name in names}
    compute = parameters.get("compute", {})
    # Versions without this setting trained in float32.
    settings["precision"] = compute.get("precision", "float32")
    settings = flat(settings)
    for name in SHARED:
        settings[name] = evaluation[name]
    settings["data"] = data_digest(training)
    return settings


def draws_of(job: Job) -> int:
    """Draws of samples of each seed; 0 where every seed failed."""
    per_seed = job["evaluate"].content["per_seed"]
    counts = [len(seed["draws"]) for seed in per_seed]
    # Failed seeds have no draws, and say nothing of how many were asked for.
    return max(counts, default=0)


def other_settings(our_job: Job, their_job: Job) -> list[str]:
    """How two jobs were asked for different things."""
    our_recipe = recipe(our_job)
    their_recipe = recipe(their_job)
    settings = differences(our_recipe, their_recipe)
    our_draws = draws_of(our_job)
    their_draws = draws_of(their_job)
    # 0 stands for a run of which every seed failed: its number of draws is not known.
    if our_draws and their_draws:
        settings += differs("draws", our_draws, their_draws)
    return settings


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
    for stage in _shared_stages(our_job, their_job):
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
