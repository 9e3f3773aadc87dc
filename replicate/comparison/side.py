"""One of two runs that the page shows side by side: its table, claims and results, read only and checked.

The other run may come from any machine and from another version of this project, so nothing of it is believed before
its shape was looked at: what cannot be read ends in one sentence that names the file.
"""

import contextlib
import getpass
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from replicate.errors import ReplicateError
from replicate.files import read_json, sha256_file
from replicate.result import SCHEMA
from replicate.runfolder import RunFolder, results_below
from replicate.traced import ResultFolder, Traced, part, plain, traced_content

#: What a run is called whose folder has the name of a person, or none that a page can show.
NAMELESS = "other-run"
#: Folders whose folders are named by people.
HOMES = ("home", "Users")
#: Characters of a folder's name that the page shows.
LONGEST = 32


class Shape(BaseModel):
    """The part of a result that is read here; what else stands there is the business of other versions."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, allow_inf_nan=False)


class Seed(Shape):
    """A seed that did not fail."""

    seed: int
    log_likelihood: float


class Failure(Shape):
    """A seed that failed."""

    seed: int


class Measured(Shape):
    """What a table says of one model on one data set."""

    mean: float | None
    sd_over_seeds: float | None
    seeds: list[int]
    failed: list[Failure]
    per_seed: list[Seed]
    dimension: int
    files: list[str]

    @property
    def values(self) -> list[float]:
        """The log-likelihood of every seed that did not fail, nats."""
        return [seed.log_likelihood for seed in self.per_seed]


class Verdict(Shape):
    """A verdict, in a word, with its reason and the hash of the rule that it was reached by."""

    state: str
    reason: str
    protocol_sha256: str | None = None


class Cell(Shape):
    """A model on a data set."""

    measured: Measured | None
    verdict: Verdict


class Row(Shape):
    """A model on all data sets."""

    model: str
    title: str
    cells: dict[str, Cell]


class Dataset(Shape):
    """A data set of a table."""

    name: str
    title: str


class Rival(Shape):
    """One comparison of an order of rows."""

    title: str
    difference: float | None


class Ordering(Shape):
    """The verdict on an order of rows."""

    claim: str
    dataset: str
    title: str
    comparisons: list[Rival]
    verdict: Verdict

    @property
    def numbers(self) -> dict[str, Any]:
        """What was measured, by what it is: null where nothing was."""
        return {one.title: one.difference for one in self.comparisons}


class Table(Shape):
    """`table1.json`."""

    preset: str
    datasets: list[Dataset]
    rows: list[Row]
    orderings: list[Ordering] = []
    inputs: dict[str, str] = {}


class Check(Shape):
    """One check of a statement."""

    reads: str
    value: float | None
    per_seed: list[float | None] | None
    sd_over_seeds: float | None


class Statement(Verdict):
    """What the paper states in words, judged."""

    claim: str
    says: str
    experiment: str | None
    checks: list[Check]

    @property
    def verdict(self) -> Verdict:
        """Its own verdict."""
        return self

    @property
    def numbers(self) -> dict[str, Any]:
        """What was measured, by what it is: the value and each seed's."""
        return {check.reads: None if check.value is None else (check.value, check.per_seed) for check in self.checks}


class Claims(Shape):
    """`claims.json`."""

    claims: list[Statement]


class KeptClaims(Claims):
    """The same where no table names the preset."""

    preset: str


class Frame(Shape):
    """What every result of a job says of how it was made."""

    code: str
    parameters: dict[str, Any]
    inputs: dict[str, str]


class SeedDraws(Shape):
    """The draws of samples of one seed."""

    draws: list[Any]


class Evaluation(Frame):
    """Of an evaluation, what its settings are read from."""

    per_seed: list[SeedDraws]


S = TypeVar("S", bound=Shape)


def shaped(shape: type[S], content: Any, path: Path) -> S:
    """A result in the shape that is read here, or a sentence that names the first place that has another."""
    try:
        return shape.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = "".join(f"/{step}" for step in first["loc"])
        raise ReplicateError(
            f"{path} cannot be set beside another run: {place or 'the file'}: {first['msg'].lower()}. If another "
            "version of this project wrote it, run its stage again with this one."
        ) from None


def _result(path: Path, shown: str, stage: str) -> Traced:
    """A result of a stage, or a sentence that says what it is instead."""
    content = read_json(path)
    if not isinstance(content, dict) or content.get("stage") != stage:
        raise ReplicateError(
            f"{path} is not a result of the stage {stage!r} of this project; give the project folder or the results "
            "folder of a run."
        )
    if (found := content.get("schema")) != SCHEMA:
        raise ReplicateError(
            f"{path} has the format {found!r}, and this version reads format {SCHEMA}; make the report with the "
            "version that wrote it, or run the stages again with this one."
        )
    return traced_content(shown, path, content)


@dataclass(frozen=True)
class Placed(Generic[S]):
    """A part of a result that was checked, and the same with its source."""

    value: S
    source: Traced


#: (data set, model)
CellName = tuple[str, str]


@dataclass(frozen=True)
class Side:
    """A run.

    Attributes:
        results: where its results lie, and the name that the page shows for them.
        preset: its name.
        models, datasets: name -> title.
        cells: its table; all cells, also those where nothing was measured.
        orderings: claim -> its verdict on an order of rows.
        statements: claim -> its verdict on what the paper states in words.
        run: the results of the jobs behind the table and the statements, as far as they were kept.
        table: `table1.json`; None for a kept run of statements alone.
        claims: `claims.json`; None where the run judged no statement.
    """

    results: ResultFolder
    preset: Traced
    models: dict[str, str]
    datasets: dict[str, str]
    cells: Mapping[CellName, Placed[Cell]]
    orderings: Mapping[str, Placed[Ordering]]
    statements: Mapping[str, Placed[Statement]]
    run: RunFolder
    table: Path | None
    claims: Path | None

    def measured(self, cell: CellName) -> Measured | None:
        """What the table says of a cell; None where nothing was measured."""
        return self.cells[cell].value.measured if cell in self.cells else None

    @property
    def experiments(self) -> set[str]:
        """Those that decided its statements."""
        return {one.value.experiment for one in self.statements.values() if one.value.experiment is not None}

    def title(self, cell: CellName) -> str:
        """The model and the data set of a cell, in words."""
        dataset, model = cell
        return f"{self.models[model]} on {self.datasets[dataset]}"

    def source(self, path: Path, content: Any) -> Traced:
        """The content of a file below the results, with its source."""
        return traced_content(self.shown(path), path, content)

    def shown(self, path: Path) -> str:
        """The name that the page shows for a file of the run; its table may lie elsewhere than its other results."""
        below = path.relative_to(self.results.folder) if path.is_relative_to(self.results.folder) else Path(path.name)
        return self.results.shown(below.as_posix())


def _behind(
    cells: Mapping[CellName, Placed[Cell]],
    statements: Iterable[Placed[Statement]],
    run: RunFolder,
    digests: Collection[str] = (),
) -> RunFolder:
    """Of all results, those that the table and the statements were made of: others are left over from earlier runs.

    An evaluation is known by the name that the table read it under, which is its block's, or, where it was kept under
    another, by one of the `digests` of the table's inputs.
    """
    blocks = {
        cell: {Path(file).stem for file in placed.value.measured.files}
        for cell, placed in cells.items()
        if placed.value.measured is not None
    }
    jobs = {
        cell: {
            block: job
            for block, job in run.models[cell].items()
            if block in blocks[cell] or sha256_file(job["evaluate"].path) in digests
        }
        for cell in run.models.keys() & blocks.keys()
    }
    named = {placed.value.experiment for placed in statements}
    return RunFolder(
        run.folder,
        {cell: jobs[cell] for cell in blocks if jobs.get(cell)},
        {name: file for name, file in run.experiments.items() if name in named},
    )


def _read_claims(results: ResultFolder, path: Path) -> tuple[Traced, dict[str, Placed[Statement]]]:
    """`claims.json`, and every verdict in it by its claim."""
    claims = _result(path, results.shown("claims.json"), "claims")
    judged = shaped(Claims, plain(claims), path).claims
    return claims, {one.claim: Placed(one, claims["claims"][k]) for k, one in enumerate(judged)}


def _checked_results(run: RunFolder) -> None:
    """Refuses results of jobs and experiments in another shape than is read here."""
    for file in (file for blocks in run.models.values() for job in blocks.values() for file in job.values()):
        shaped(Evaluation if file.content["stage"] == "evaluate" else Frame, file.content, file.path)
    for file in run.experiments.values():
        shaped(Frame, file.content, file.path)


def read_statements(results: ResultFolder) -> Side:
    """Reads a kept run of statements, which has no table.

    Raises:
        ReplicateError: a file is broken, of another format, or not of this project.
    """
    path = results.folder / "claims.json"
    claims, statements = _read_claims(results, path)
    shaped(KeptClaims, plain(claims), path)
    run = _behind({}, statements.values(), results_below(results.folder))
    _checked_results(run)
    return Side(results, part(claims, "preset"), {}, {}, {}, {}, statements, run, None, path)


def read_side(results: ResultFolder, table_path: Path) -> Side:
    """Reads a run.

    Raises:
        ReplicateError: a file is missing, broken, of another format, or not of this project.
    """
    table = _result(table_path, results.shown("table1.json"), "table")
    checked = shaped(Table, plain(table), table_path)
    cells = {
        (dataset.name, row.model): Placed(row.cells[dataset.name], table["rows"][k]["cells"][dataset.name])
        for dataset in checked.datasets
        for k, row in enumerate(checked.rows)
        if dataset.name in row.cells
    }
    orderings = {one.claim: Placed(one, table["orderings"][k]) for k, one in enumerate(checked.orderings)}
    statements: dict[str, Placed[Statement]] = {}
    path = results.folder / "claims.json"
    if path.is_file():
        _, statements = _read_claims(results, path)
    run = _behind(cells, statements.values(), results_below(results.folder), checked.inputs.values())
    _checked_results(run)
    return Side(
        results,
        part(table, "preset"),
        {row.model: row.title for row in checked.rows},
        {entry.name: entry.title for entry in checked.datasets},
        cells,
        orderings,
        statements,
        run,
        table_path,
        path if path.is_file() else None,
    )


def _people(project: Path) -> Iterator[str]:
    """Names of users, which no page shows."""
    sources: tuple[Callable[[], str], ...] = (lambda: Path.home().name, getpass.getuser, project.owner)
    for found in sources:
        with contextlib.suppress(OSError, KeyError, RuntimeError):  # a machine may know none of them
            yield found()


def shown_name(project: Path) -> str:
    """What the page calls a run: its folder's name, unless that is a person's or would read like this run's own."""
    name = re.sub(r"[^\w.-]+", "-", project.name).strip("-.")[:LONGEST]
    of_this_run = name in ("", "results", "report")
    of_a_person = project.name in _people(project) or project.parent.name in HOMES
    return NAMELESS if of_this_run or of_a_person else name


def read_other(folder: Path) -> Side:
    """Reads another run, from its project folder or its results folder.

    Raises:
        ReplicateError: there is no such folder, no finished run in it, or its results cannot be read.
    """
    try:
        whole = folder.resolve(strict=True)
        found = [results for results in (whole / "results", whole) if (results / "table1.json").exists()]
        statements_alone = not found and all((whole / name).is_file() for name in ("params.yaml", "claims.json"))
        if not whole.is_dir():
            raise NotADirectoryError
    except (FileNotFoundError, NotADirectoryError):
        raise ReplicateError(
            f"--compare {folder}: there is no such folder; give the project folder or the results folder of another "
            "run."
        ) from None
    except OSError as error:
        raise ReplicateError(f"--compare {folder}: cannot read it: {error.strerror}.") from None
    if statements_alone:  # a kept run, since its parameter file lies beside its results
        return read_statements(ResultFolder(whole, shown_name(whole)))
    if not found:
        raise ReplicateError(
            f"--compare {folder}: no table1.json lies in it or in its folder `results`; run that pipeline to its end, "
            "or give the project folder or the results folder of a finished run."
        )
    inside = found[0].name == "results"
    name = shown_name(found[0].parent if inside else found[0])
    results = ResultFolder(found[0], f"{name}/results" if inside else name)
    return read_side(results, found[0] / "table1.json")
