"""Compares a run with a kept one: the same bits where they must be, statistics where they cannot (docs/faq.md).

Bits depend on versions, instruction sets, device, threads, seeds and code. Where all of these and the parameters and
data are the same, every number must be. Where one differs the seeds' means are compared, by Welch's interval of their
difference. Runs with the same seeds share initial weights and noise, so their means are nearer to each other than
independent ones: the interval is then too wide, never too narrow. Where parameters or data differ, the runs are
different ones, and nothing is compared.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from replicate.files import read_tensors
from replicate.measured import SHARED, measured
from replicate.runfolder import JOB_STAGES, Job, ResultFile, RunFolder
from replicate.statistics import difference_of_means, simultaneous

Outcome = Literal["same bits", "no difference found", "inconclusive", "different runs", "failed"]
#: What of a result says how it was made; the rest was measured.
FRAME = frozenset({"schema", "code", "parameters", "parameters_sha256", "inputs"})
#: Relative difference of two means that float32 rounding alone can make: no finding, however small the spread.
ROUNDING = 1e-6
#: Characters of a setting that a line shows.
SHOWN = 60


@dataclass(frozen=True)
class Numbers:
    """One number a seed on both sides.

    Attributes:
        label: what was measured, with its unit.
        context: what else to say beside the difference.
    """

    label: str
    ours: tuple[float, ...]
    theirs: tuple[float, ...]
    context: str = ""

    @property
    def testable(self) -> bool:
        """Whether both sides have the two seeds that an interval takes."""
        return min(len(self.ours), len(self.theirs)) > 1


@dataclass(frozen=True)
class Pair:
    """One thing that both runs measured, before the number of comparisons is known.

    Attributes:
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


def _shown(value: Any) -> str:
    text = "none" if value is None else value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def differs(name: str, ours: Any, theirs: Any) -> Iterator[str]:
    """Both values of what differs, in words; nothing where it does not."""
    if ours != theirs:
        yield f"{name} {_shown(ours)} here, {_shown(theirs)} there"


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Every name whose values differ, with both."""
    names = dict.fromkeys([*ours, *theirs])
    return [said for name in names for said in differs(name, ours.get(name), theirs.get(name))]


def first_difference(ours: Any, theirs: Any, place: str = "") -> str | None:
    """The first place (JSON pointer) at which two values differ, with both; None where they are the same."""
    steps: Iterable[Any] = ()
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping) and ours.keys() == theirs.keys():
        steps = sorted(ours)
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        steps = range(len(ours))
    elif json.dumps(ours) != json.dumps(theirs):  # 1 and 1.0 are equal numbers, but other bytes
        return f"{place or '/'}: {_shown(ours)} here, {_shown(theirs)} there"
    found = (first_difference(ours[step], theirs[step], f"{place}/{step}") for step in steps)
    return next(filter(None, found), None)


def _of_images(ours: Path, theirs: Path) -> str | None:
    """The first file of log-likelihoods of all test images that differs; None also where a side did not keep them."""
    files = [path.with_suffix(".safetensors") for path in (ours, theirs)]
    if not all(file.is_file() for file in files):
        return None
    (one, _), (other, _) = map(read_tensors, files)
    same = one.keys() == other.keys() and all(one[name].tobytes() == other[name].tobytes() for name in one)
    return None if same else f"{files[0]} differs from {files[1]}: the log-likelihoods of single test images"


def unlike(ours: ResultFile, theirs: ResultFile) -> str | None:
    """The first measured number of two results that differs, with its file; None where all are the same."""
    one, other = ({k: v for k, v in file.content.items() if k not in FRAME} for file in (ours, theirs))
    if place := first_difference(one, other):
        return f"{ours.path} differs from {theirs.path} at {place}"
    return _of_images(ours.path, theirs.path)


def platform(record: Mapping[str, Any]) -> dict[str, Any]:
    """What of a run record decides bits, instruction sets aside."""
    versions = record.get("versions", {})
    minor = ".".join(versions.get("python", "").split(".")[:2])
    names = ("system", "device", "device_name", "threads", "products")
    return {"torch": versions.get("torch"), "numpy": versions.get("numpy"), "python": minor} | {
        name: record.get(name) for name in names
    }


def other_instructions(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """How the instruction sets of two run records differ; that they are not known, where a record does not say them."""
    known = [isinstance(record.get("instructions"), Mapping) for record in (ours, theirs)]
    if not all(known):
        where = "on either side" if not any(known) else "there" if known[0] else "here"
        return [f"instruction sets not known {where}"]
    named = ({f"instructions of {of}": name for of, name in side["instructions"].items()} for side in (ours, theirs))
    return differences(*named)


def made_otherwise(ours: ResultFile, theirs: ResultFile) -> list[str]:
    """How versions, instruction sets, device, threads and code of two results differ."""
    found = [f"no run record beside {file.path}" for file in (ours, theirs) if file.record is None]
    if ours.record is not None and theirs.record is not None:
        found = differences(platform(ours.record), platform(theirs.record))
        found += other_instructions(ours.record, theirs.record)
    stage = ours.content["stage"]
    return [*found, *differs(f"code of {stage}", ours.content["code"], theirs.content["code"])]


def flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by their path; lists are settings as a whole."""
    found: dict[str, Any] = {}
    for name, entry in value.items():
        found |= flat(entry, f"{prefix}{name}.") if isinstance(entry, Mapping) else {f"{prefix}{name}": entry}
    return found


def data_digest(result: Mapping[str, Any]) -> str | None:
    """The first digits of the digest of the prepared data that a result was made from; None where there were none."""
    digest: str | None = result["inputs"].get("data")
    return digest and digest[:16]


def recipe(job: Job) -> dict[str, Any]:
    """What was to be measured: settings of training and evaluation, and the data; without seeds, device and threads."""
    train, evaluation = job["train"].content, job["evaluate"].content
    asked = {name: value for name, value in train["parameters"].items() if name not in ("block", "compute")}
    compute = train["parameters"].get("compute", {})
    asked["precision"] = compute.get("precision", "float32")  # the only one that older versions had
    return flat(asked) | {name: evaluation[name] for name in SHARED} | {"data": data_digest(train)}


def draws_of(job: Job) -> int:
    """Draws of samples of each seed; 0 where every seed failed."""
    return max((len(seed["draws"]) for seed in job["evaluate"].content["per_seed"]), default=0)


def other_settings(ours: Job, theirs: Job) -> list[str]:
    """How two jobs were asked for different things."""
    draws = draws_of(ours), draws_of(theirs)
    return [*differences(recipe(ours), recipe(theirs)), *(differs("draws", *draws) if all(draws) else ())]


@dataclass(frozen=True)
class _Checked:
    """Two jobs, bit by bit: what must be the same and is not, why bits cannot be asked for."""

    fault: str | None
    reasons: tuple[str, ...]


def _commits(ours: ResultFile, theirs: ResultFile) -> str:
    found = [(file.record or {}).get("source", {}).get("commit") for file in (ours, theirs)]
    return "; ".join(differs("commit", *found))


def _check_jobs(ours: Job, theirs: Job, other_recipe: Sequence[str]) -> _Checked:
    """Compares the stages in their order: a reason at one of them excuses those after it, not those before."""
    reasons, fault = list(other_recipe), None
    reasons += differs("seeds", ours["evaluate"].content["seeds"], theirs["evaluate"].content["seeds"])
    for stage in JOB_STAGES:
        if stage not in ours or stage not in theirs:
            continue
        reasons += made_otherwise(ours[stage], theirs[stage])
        if not reasons and fault is None and (place := unlike(ours[stage], theirs[stage])):
            commits = _commits(ours[stage], theirs[stage])
            fault = f"{place}, and all that decides bits is the same{f' ({commits})' if commits else ''}"
    return _Checked(fault, tuple(dict.fromkeys(reasons)))


def same_bits(ours: Mapping[str, Job], theirs: Mapping[str, Job]) -> bool:
    """Whether two runs of a model have the same blocks of seeds, and the same bits in every stage that both kept."""
    return ours.keys() == theirs.keys() and not any(
        unlike(ours[block][stage], theirs[block][stage])
        for block in ours
        for stage in JOB_STAGES
        if stage in ours[block] and stage in theirs[block]
    )


def job_pairs(ours: Mapping[str, Job], theirs: Mapping[str, Job]) -> list[tuple[Job, Job]]:
    """The jobs of the same seeds; the first of each side where none are."""
    common = sorted(ours.keys() & theirs.keys())
    pairs = [(block, block) for block in common] or [(min(ours), min(theirs))]
    return [(ours[one], theirs[other]) for one, other in pairs]


def compare_model(subject: str, reference: str, ours: Mapping[str, Job], theirs: Mapping[str, Job]) -> Pair:
    """One model on one data set, all blocks of seeds of both runs."""
    if same_bits(ours, theirs):
        return Pair(subject, reference, "same bits", f"seeds {', '.join(sorted(ours))}")
    if not all("train" in job for blocks in (ours, theirs) for job in blocks.values()):
        missing = "a training result, which has the settings, is missing"
        return Pair(subject, reference, "different runs", f"not compared: {missing}")
    checked = [_check_jobs(*pair, other_settings(*pair)) for pair in job_pairs(ours, theirs)]
    if faults := [found.fault for found in checked if found.fault]:
        return Pair(subject, reference, "failed", f"the bits must be the same: {faults[0]}")
    every = [(one, other) for one in ours.values() for other in theirs.values()]
    if other := dict.fromkeys(setting for pair in every for setting in other_settings(*pair)):
        return Pair(subject, reference, "different runs", f"not compared: {'; '.join(other)}")
    blocks = list(differs("blocks of seeds", ", ".join(sorted(ours)), ", ".join(sorted(theirs))))
    reasons = dict.fromkeys([*blocks, *(reason for found in checked for reason in found.reasons)])
    return _statistical(subject, reference, tuple(reasons), ours, theirs)


def _statistical(
    subject: str, reference: str, reasons: tuple[str, ...], ours: Mapping[str, Job], theirs: Mapping[str, Job]
) -> Pair:  # fmt: skip
    sides = []
    for blocks in (ours, theirs):
        files = [(str(blocks[block]["evaluate"].path), blocks[block]["evaluate"].content) for block in sorted(blocks)]
        found = measured(files)
        assert found is not None
        sides.append(found)
    failed = [", ".join(str(one["seed"]) for one in side["failed"]) for side in sides]
    if any(failed):
        says = (
            f"failed seeds {failed[0] or 'none'} here, {failed[1] or 'none'} there; the others' mean would be a choice"
        )
        return Pair(subject, reference, "inconclusive", says, reasons)
    one, other = (tuple(seed["log_likelihood"] for seed in side["per_seed"]) for side in sides)
    errors = [f"{side['standard_error_test']:.1f}" for side in sides]
    context = f"standard error over test images {errors[0]} here, {errors[1]} there"
    numbers = Numbers("test log-likelihood (nats)", one, other, context)
    return Pair(subject, reference, None, "", reasons, (numbers,))


def _welch(numbers: Numbers, level: float) -> tuple[bool, str]:
    """Whether the means differ at `level`, and the difference in words; of one seed there is only the difference."""
    ours, theirs = (sum(side) / len(side) for side in (numbers.ours, numbers.theirs))
    said = f"{numbers.label}: {ours:.6g} here, {theirs:.6g} there, difference {ours - theirs:.4g}"
    context = f", {numbers.context}" if numbers.context else ""
    if not numbers.testable:
        seeds = f"{len(numbers.ours)} against {len(numbers.theirs)} seeds"
        return False, f"{said}, no interval ({seeds}; it takes two of each){context}"
    found = difference_of_means(numbers.ours, numbers.theirs)
    low, high = found.interval(level)
    far = not low <= 0 <= high and abs(found.value) > ROUNDING * max(abs(ours), abs(theirs))
    said += f", 95 % interval {found.ci95[0]:.4g} to {found.ci95[1]:.4g}"
    return far, f"{said}{f', simultaneous {low:.4g} to {high:.4g}, without 0' if far else ''}{context}"


def _judge(pair: Pair, level: float) -> Comparison:
    told = [_welch(numbers, level) for numbers in pair.numbers]
    outcome: Outcome = pair.settled or "no difference found"
    if any(far for far, _ in told):
        outcome = "failed"
    elif pair.settled is None and not all(numbers.testable for numbers in pair.numbers):
        outcome = "inconclusive"
    parts = [pair.says, *(said for _, said in told)]
    if pair.reasons:
        parts.append(f"bits cannot be asked for: {', '.join(pair.reasons)}")
    return Comparison(pair.subject, pair.reference, outcome, "; ".join(filter(None, parts)))


def judged(pairs: Sequence[Pair]) -> tuple[list[Comparison], int, float]:
    """Decides all pairs together.

    Returns:
        The comparisons in the order of the pairs; how many intervals they took; the level of each of these, so that all
        hold together with 95 % (Bonferroni).
    """
    intervals = sum(numbers.testable for pair in pairs for numbers in pair.numbers)
    level = simultaneous(0.95, intervals)
    return [_judge(pair, level) for pair in pairs], intervals, level


def compare_models(ours: RunFolder, theirs: RunFolder) -> list[Pair]:
    """Every model on every data set that both runs evaluated; rounded weights are compared with rounded ones."""
    pairs = []
    kinds = (("", ours.models, theirs.models), (" with rounded weights", ours.rounded, theirs.rounded))
    for suffix, one, other in kinds:
        for cell in (cell for cell in one if cell in other):
            subject = f"{' '.join(cell)}{suffix}"
            pairs.append(compare_model(subject, str(theirs.folder), one[cell], other[cell]))
    return pairs
