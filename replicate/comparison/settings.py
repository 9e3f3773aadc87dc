"""What two runs were asked for, leaf by leaf, where it differs: read from their results, not from parameter files.

A parameter file may have been edited since the run; a result holds the parameters that made it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from replicate.comparison.side import CellName, Side
from replicate.files import canonical_json
from replicate.measured import SHARED
from replicate.runfolder import JOB_STAGES, ResultFile
from replicate.runrecord import record_path
from replicate.traced import Traced, leaves, part, plain
from replicate.verify import job_pairs

#: What a setting belongs to: what was asked for, the code's logic, or the machine with its versions.
Kind = Literal["asked", "code", "machine"]
#: What a run record says of the machine and the versions that decide a result's bits (`replicate.verify.platform`).
#: The processor's name decides nothing, but stands for the instruction sets in records that do not have these.
MACHINE = (
    "versions.torch", "versions.numpy", "versions.python", "processor", "system", "device", "device_name", "threads",
    "products",
)  # fmt: skip
#: How the names of its instruction sets begin.
INSTRUCTIONS = "instructions."
#: Leaves of a job's parameters that tell it from others of the same run.
OWN = frozenset({"block", "dataset", "model"})


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


def _key(place: Traced | None) -> str:
    """A value as text that differs where its bytes do: 1 and 1.0 are other settings."""
    return "" if place is None else canonical_json(plain(place))


def different(kind: Kind, of: str, ours: Mapping[str, Traced], theirs: Mapping[str, Traced]) -> Iterator[Setting]:
    """The leaves of two results that differ."""
    for name in dict.fromkeys([*ours, *theirs]):
        one, other = ours.get(name), theirs.get(name)
        if _key(one) != _key(other):
            yield Setting(kind, name, (of,), one, other)


def grouped(found: Iterable[Setting]) -> list[Setting]:
    """The same leaf with the same two values is told once, with all that it was set for."""
    groups: dict[tuple[str, ...], Setting] = {}
    for one in found:
        key = (one.kind, one.name, _key(one.ours), _key(one.theirs))
        first = groups.get(key, one)
        groups[key] = replace(first, of=tuple(dict.fromkeys([*first.of, *one.of])))
    return list(groups.values())


def _parameters(result: Traced) -> dict[str, Traced]:
    return {name: leaf for name, leaf in leaves(part(result, "parameters")).items() if name not in OWN}


def _data(result: Traced) -> dict[str, Traced]:
    inputs = part(result, "inputs")
    return {"prepared data, SHA-256": part(inputs, "data")} if "data" in inputs else {}


def _machine(side: Side, file: ResultFile) -> dict[str, Traced]:
    """The leaves of the run record that decide bits; none where no record was kept."""
    if not isinstance(file.record, dict):
        return {}
    found = leaves(side.source(record_path(file.path), file.record))
    names = [*MACHINE, *(name for name in found if name.startswith(INSTRUCTIONS))]
    return {name: found[name] for name in names if name in found}


def _of_files(of: str, ours: tuple[Side, ResultFile], theirs: tuple[Side, ResultFile]) -> Iterator[Setting]:
    """What differs between two results of the same stage."""
    one, other = (side.source(file.path, file.content) for side, file in (ours, theirs))
    yield from different("asked", of, _parameters(one) | _data(one), _parameters(other) | _data(other))
    codes = ({f"code of {plain(result)['stage']}": part(result, "code")} for result in (one, other))
    yield from different("code", of, *codes)
    machine, another = _machine(*ours), _machine(*theirs)
    if machine and another:
        yield from different("machine", of, machine, another)


def _of_cell(cell: CellName, ours: Side, theirs: Side) -> Iterator[Setting]:
    of = ours.title(cell)
    tables = [part(side.cells[cell].source, "measured") for side in (ours, theirs)]
    told = ({name: part(table, name) for name in ("seeds", *SHARED) if name in table} for table in tables)
    yield from different("asked", of, *told)
    if cell in ours.run.models and cell in theirs.run.models:
        for one, other in job_pairs(ours.run.models[cell], theirs.run.models[cell]):
            for stage in JOB_STAGES:
                if stage in one and stage in other:
                    yield from _of_files(of, (ours, one[stage]), (theirs, other[stage]))


def in_common(ours: Side, theirs: Side) -> dict[str, bool]:
    """All that both runs measured, and whether both kept the results that its settings are read from."""
    found = {}
    for cell in ours.cells:
        if ours.measured(cell) is not None and theirs.measured(cell) is not None:
            sides = [side.run.models.get(cell, {}) for side in (ours, theirs)]
            found[ours.title(cell)] = all(jobs and all("train" in job for job in jobs.values()) for jobs in sides)
    for name in sorted(ours.experiments & theirs.experiments):
        found[f"experiment {name}"] = name in ours.run.experiments and name in theirs.run.experiments
    return found


def settings_of(ours: Side, theirs: Side) -> list[Setting]:
    """What differs in everything that both runs measured."""
    found = list(different("asked", "the run", {"preset": ours.preset}, {"preset": theirs.preset}))
    for cell in ours.cells:
        if ours.measured(cell) is not None and theirs.measured(cell) is not None:
            found += _of_cell(cell, ours, theirs)
    for name in sorted(ours.run.experiments.keys() & theirs.run.experiments.keys()):
        pair = (ours, ours.run.experiments[name]), (theirs, theirs.run.experiments[name])
        found += _of_files(f"experiment {name}", *pair)
    return grouped(found)
