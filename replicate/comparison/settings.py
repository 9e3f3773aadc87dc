"""What two runs were asked for, leaf by leaf, where it differs.

It is read from results, not from parameter files: a parameter file may have been edited since the
run, and a result holds the parameters that made it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from replicate.comparison.compared_run import CellName, ComparedRun
from replicate.comparison.verify import job_pairs
from replicate.records.run_folder import JOB_STAGES, Job, ResultFile
from replicate.records.run_record import record_path
from replicate.records.sourced import Traced, child, leaves, value_of
from replicate.storage.files import canonical_json
from replicate.verdicts.pooled_seeds import SHARED

#: What a setting belongs to: what was asked for, the code's logic, or the machine with its
#: versions.
Kind = Literal["asked", "code", "machine"]
#: What a run record says of the machine and the versions that decide a result's bits
#: (`replicate.comparison.result_differences`). The processor's name decides nothing, but stands for
#: the instruction sets in records that do not have these.
MACHINE = (
    "versions.torch",
    "versions.numpy",
    "versions.python",
    "processor",
    "system",
    "device",
    "device_name",
    "threads",
    "products",
)
#: How the names of instruction sets begin.
INSTRUCTIONS = "instructions."
#: Leaves of a job's parameters that tell it from others of the same run.
IDENTITY = frozenset({"block", "dataset", "model"})
#: Path of a leaf -> its value with the source.
Leaves = dict[str, Traced]


@dataclass(frozen=True)
class Setting:
    """One leaf that differs.

    Attributes:
        kind: what it belongs to.
        name: its path in the parameters, or what else it is.
        of: what it was set for: rows of the table and experiments.
        ours, theirs: the values with their sources; None where a run does not have the leaf.
    """

    kind: Kind
    name: str
    of: tuple[str, ...]
    ours: Traced | None
    theirs: Traced | None


def _text(leaf: Traced | None) -> str:
    """A value as text that differs where its bytes do: 1 and 1.0 are different settings."""
    if leaf is None:
        return ""
    return canonical_json(value_of(leaf))


def different(
    kind: Kind, subject: str, our_leaves: Mapping[str, Traced], their_leaves: Mapping[str, Traced]
) -> Iterator[Setting]:
    """The leaves of two results that differ.

    Args:
        kind: of the leaves.
        subject: row or experiment that the results are of.
        our_leaves, their_leaves: path -> leaf.
    """
    names = dict.fromkeys([*our_leaves, *their_leaves])
    for name in names:
        our_leaf = our_leaves.get(name)
        their_leaf = their_leaves.get(name)
        if _text(our_leaf) != _text(their_leaf):
            yield Setting(kind, name, (subject,), our_leaf, their_leaf)


def grouped(settings: Iterable[Setting]) -> list[Setting]:
    """Each leaf with the same two values once, with all that it was set for."""
    groups: dict[tuple[str, ...], Setting] = {}
    for setting in settings:
        our_text = _text(setting.ours)
        their_text = _text(setting.theirs)
        key = (setting.kind, setting.name, our_text, their_text)
        first = groups.get(key, setting)
        subjects = dict.fromkeys([*first.of, *setting.of])
        groups[key] = replace(first, of=tuple(subjects))
    return list(groups.values())


def _parameters(result: Traced) -> Leaves:
    parameters = leaves(child(result, "parameters"))
    # They say which job it is, and every pair is of one cell already.
    names = [name for name in parameters if name not in IDENTITY]
    return {name: parameters[name] for name in names}


def _data(result: Traced) -> Leaves:
    inputs = child(result, "inputs")
    if "data" not in inputs:
        return {}
    return {"prepared data, SHA-256": child(inputs, "data")}


def _code(result: Traced) -> Leaves:
    stage = value_of(child(result, "stage"))
    return {f"code of {stage}": child(result, "code")}


def _machine(run: ComparedRun, file: ResultFile) -> Leaves:
    """The leaves of the run record that decide bits; none where no record was kept."""
    if not isinstance(file.record, dict):
        return {}
    path = record_path(file.path)
    record = leaves(run.source(path, file.record))
    instructions = [name for name in record if name.startswith(INSTRUCTIONS)]
    names = [*MACHINE, *instructions]
    return {name: record[name] for name in names if name in record}


@dataclass(frozen=True)
class _RunPair:
    """Two runs whose settings are compared."""

    ours: ComparedRun
    theirs: ComparedRun

    def both_measured(self, cell: CellName) -> bool:
        """Whether both runs measured a cell of Table 1."""
        our_cell = self.ours.measured(cell)
        their_cell = self.theirs.measured(cell)
        return our_cell is not None and their_cell is not None

    def of_files(
        self, subject: str, our_file: ResultFile, their_file: ResultFile
    ) -> Iterator[Setting]:
        """What differs between two results of the same stage."""
        our_result = self.ours.source(our_file.path, our_file.content)
        their_result = self.theirs.source(their_file.path, their_file.content)
        our_settings = _parameters(our_result) | _data(our_result)
        their_settings = _parameters(their_result) | _data(their_result)
        yield from different("asked", subject, our_settings, their_settings)
        our_code = _code(our_result)
        their_code = _code(their_result)
        yield from different("code", subject, our_code, their_code)
        our_machine = _machine(self.ours, our_file)
        their_machine = _machine(self.theirs, their_file)
        # Where a record is missing, every line of the other would count as a difference.
        if our_machine and their_machine:
            yield from different("machine", subject, our_machine, their_machine)

    def of_cell(self, cell: CellName) -> Iterator[Setting]:
        """What differs between two cells of Table 1, and between the results behind them."""
        subject = self.ours.title(cell)
        our_leaves = _cell_leaves(self.ours, cell)
        their_leaves = _cell_leaves(self.theirs, cell)
        yield from different("asked", subject, our_leaves, their_leaves)
        our_jobs = self.ours.run.models.get(cell)
        their_jobs = self.theirs.run.models.get(cell)
        if our_jobs is None or their_jobs is None:
            return
        for our_job, their_job in job_pairs(our_jobs, their_jobs):
            yield from self.of_jobs(subject, our_job, their_job)

    def of_jobs(self, subject: str, our_job: Job, their_job: Job) -> Iterator[Setting]:
        """What differs between two jobs, stage by stage."""
        for stage in JOB_STAGES:
            if stage in our_job and stage in their_job:
                yield from self.of_files(subject, our_job[stage], their_job[stage])


def _cell_leaves(run: ComparedRun, cell: CellName) -> Leaves:
    """The settings that a measured cell of Table 1 has, and its seeds."""
    measured = child(run.cells[cell].source, "measured")
    names = [name for name in ("seeds", *SHARED) if name in measured]
    return {name: child(measured, name) for name in names}


def _have_training(jobs: Mapping[str, Job]) -> bool:
    """Whether there are jobs, and every one has the training that its settings are read from."""
    if not jobs:
        return False
    return all("train" in job for job in jobs.values())


def in_common(our_run: ComparedRun, their_run: ComparedRun) -> dict[str, bool]:
    """All that both runs measured, and whether both kept the results with its settings."""
    pair = _RunPair(our_run, their_run)
    are_kept = {}
    for cell in our_run.cells:
        if pair.both_measured(cell):
            our_jobs = our_run.run.models.get(cell, {})
            their_jobs = their_run.run.models.get(cell, {})
            title = our_run.title(cell)
            are_kept[title] = _have_training(our_jobs) and _have_training(their_jobs)
    both_kept = our_run.run.experiments.keys() & their_run.run.experiments.keys()
    for name in sorted(our_run.experiments & their_run.experiments):
        are_kept[f"experiment {name}"] = name in both_kept
    return are_kept


def settings_of(our_run: ComparedRun, their_run: ComparedRun) -> list[Setting]:
    """What differs in everything that both runs measured."""
    pair = _RunPair(our_run, their_run)
    our_preset = {"preset": our_run.preset}
    their_preset = {"preset": their_run.preset}
    settings = list(different("asked", "the run", our_preset, their_preset))
    for cell in our_run.cells:
        if pair.both_measured(cell):
            settings += pair.of_cell(cell)
    our_files = our_run.run.experiments
    their_files = their_run.run.experiments
    for name in sorted(our_files.keys() & their_files.keys()):
        subject = f"experiment {name}"
        settings += pair.of_files(subject, our_files[name], their_files[name])
    return grouped(settings)
