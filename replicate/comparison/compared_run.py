"""Reads one of two runs that the page shows side by side: its table, statements and results.

The other run may come from any machine and from another version of this project. So what is read of
it is validated first, by types that know only the fields that are used here: what cannot be read
ends in one sentence that names the file.
"""

import contextlib
import getpass
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from replicate.errors import ReplicateError
from replicate.records.earlier_names import refuse_old_statements
from replicate.records.frame import SCHEMA
from replicate.records.run_folder import Job, RunFolder, results_below
from replicate.records.sourced import ResultFolder, Traced, child, traced_content, value_of
from replicate.storage.files import read_json, sha256_file

#: What a run is called whose folder has the name of a person, or none that a page can show.
NAMELESS = "other-run"
#: Folders whose folders are named by people.
HOMES = ("home", "Users")
#: Characters of a folder's name that the page shows.
LONGEST = 32


class ResultSchema(BaseModel):
    """The fields of a result that are read here; other versions may have others beside them."""

    # Strict, else the text "3" in a broken file would pass for the number.
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, allow_inf_nan=False)


class Seed(ResultSchema):
    """A seed that did not fail."""

    seed: int
    log_likelihood: float


class Failure(ResultSchema):
    """A seed that failed."""

    seed: int


class Measured(ResultSchema):
    """What one model measured on one data set."""

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
        seeds = self.per_seed
        return [seed.log_likelihood for seed in seeds]


class Verdict(ResultSchema):
    """A verdict, in a word, with its reason and the hash of the rule that it was reached by."""

    state: str
    reason: str
    # Verdicts that no rule reached, such as "not attempted", name none.
    protocol_sha256: str | None = None


class Cell(ResultSchema):
    """A model on a data set."""

    measured: Measured | None
    verdict: Verdict


class Row(ResultSchema):
    """A model on all data sets."""

    model: str
    title: str
    cells: dict[str, Cell]


class Dataset(ResultSchema):
    """A data set of a table."""

    name: str
    title: str


class Rival(ResultSchema):
    """One comparison of an order of rows."""

    title: str
    difference: float | None


class Ordering(ResultSchema):
    """The verdict on an order of rows."""

    claim: str
    dataset: str
    title: str
    comparisons: list[Rival]
    verdict: Verdict

    @property
    def numbers(self) -> dict[str, object]:
        """Title of a rival -> difference of means, nats; None where nothing was measured."""
        return {rival.title: rival.difference for rival in self.comparisons}


class Table(ResultSchema):
    """`table1.json`."""

    preset: str
    datasets: list[Dataset]
    rows: list[Row]
    # Tables of early versions have neither orderings nor inputs.
    orderings: list[Ordering] = []
    inputs: dict[str, str] = {}


class Check(ResultSchema):
    """One check of a statement."""

    reads: str
    value: float | None
    per_seed: list[float | None] | None
    sd_over_seeds: float | None

    @property
    def number(self) -> tuple[float, list[float | None] | None] | None:
        """The value with that of each seed; None where nothing was measured."""
        if self.value is None:
            return None
        return self.value, self.per_seed


class Statement(Verdict):
    """What the paper states in words, with its verdict."""

    statement: str
    says: str
    experiment: str | None
    checks: list[Check]

    @property
    def verdict(self) -> Verdict:
        """Its own verdict."""
        return self

    @property
    def numbers(self) -> dict[str, object]:
        """What a check reads -> its value and that of each seed; None where nothing was."""
        return {check.reads: check.number for check in self.checks}


class Statements(ResultSchema):
    """`statements.json`."""

    statements: list[Statement]


class KeptStatements(Statements):
    """`statements.json` of a kept run of statements alone, where no table names the preset."""

    preset: str


class Frame(ResultSchema):
    """How a result of a job was made."""

    code: str
    parameters: dict[str, object]
    inputs: dict[str, str]


class SeedDraws(ResultSchema):
    """The draws of samples of one seed."""

    draws: list[object]


class Evaluation(Frame):
    """An evaluation, of which the number of draws is read."""

    per_seed: list[SeedDraws]


Schema = TypeVar("Schema", bound=ResultSchema)


def validated(schema: type[Schema], content: object, path: Path) -> Schema:
    """The fields of a result that are read here.

    Raises:
        ReplicateError: names the first field that is missing or of another type.
    """
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        first = faults[0]
        pointer = "".join(f"/{step}" for step in first["loc"])
        raise ReplicateError(
            f"{path} cannot be set beside another run: {pointer or 'the file'}: "
            f"{first['msg'].lower()}. If another version of this project wrote it, "
            "run its stage again with this one."
        ) from None


def _read(path: Path, name: str, stage: str) -> Traced:
    """A result of a stage, under the name that the page shows.

    Raises:
        ReplicateError: says what the file is instead.
    """
    content = read_json(path)
    # By what it says of itself: any folder may hold a file of that name.
    if not isinstance(content, dict) or content.get("stage") != stage:
        raise ReplicateError(
            f"{path} is not a result of the stage {stage!r} of this project; "
            "give the project folder or the results folder of a run."
        )
    version = content.get("schema")
    if version != SCHEMA:
        raise ReplicateError(
            f"{path} has the format {version!r}, and this version reads format {SCHEMA}; make the "
            "report with the version that wrote it, or run the stages again with this one."
        )
    return traced_content(name, path, content)


@dataclass(frozen=True)
class Sourced(Generic[Schema]):
    """A validated part of a result, and the same with its source."""

    value: Schema
    source: Traced


#: (data set, model)
CellName = tuple[str, str]


@dataclass(frozen=True)
class ComparedRun:
    """A run.

    Attributes:
        results: where its results lie, and the name that the page shows for them.
        preset: its name.
        models, datasets: name -> title.
        cells: its table; all cells, also those where nothing was measured.
        orderings: name -> its verdict on an order of rows.
        statements: name -> its verdict on what the paper states in words.
        run: the results of the jobs behind the table and the statements, as far as they were kept.
        table: `table1.json`; None for a kept run of statements alone.
        statements_file: `statements.json`; None where the run has none.
    """

    results: ResultFolder
    preset: Traced
    models: dict[str, str]
    datasets: dict[str, str]
    cells: Mapping[CellName, Sourced[Cell]]
    orderings: Mapping[str, Sourced[Ordering]]
    statements: Mapping[str, Sourced[Statement]]
    run: RunFolder
    table: Path | None
    statements_file: Path | None

    def measured(self, cell: CellName) -> Measured | None:
        """What a cell measured; None where there is no such cell, or nothing in it."""
        if cell not in self.cells:
            return None
        return self.cells[cell].value.measured

    @property
    def experiments(self) -> set[str]:
        """Those that decided its statements."""
        return _experiments_of(self.statements.values())

    def title(self, cell: CellName) -> str:
        """The model and the data set of a cell, in words."""
        dataset, model = cell
        model_title = self.models[model]
        return f"{model_title} on {self.datasets[dataset]}"

    def source(self, path: Path, content: object) -> Traced:
        """The content of a file below the results, with its source."""
        name = self.display_name(path)
        return traced_content(name, path, content)

    def display_name(self, path: Path) -> str:
        """The name that the page shows for a file of the run."""
        # A table may lie elsewhere than the other results.
        name = path.name
        if path.is_relative_to(self.results.folder):
            name = path.relative_to(self.results.folder).as_posix()
        return self.results.display_name(name)


def _experiments_of(statements: Iterable[Sourced[Statement]]) -> set[str]:
    names = {statement.value.experiment for statement in statements}
    return {name for name in names if name is not None}


def _behind(
    cells: Mapping[CellName, Sourced[Cell]],
    statements: Iterable[Sourced[Statement]],
    run: RunFolder,
    digests: Collection[str] = (),
) -> RunFolder:
    """Of all results, those behind the table and the statements; others are of earlier runs.

    An evaluation is known by the name that the table read it under, which is its block's; where it
    was kept under another name, by one of the `digests` of the table's inputs.
    """
    models: dict[CellName, dict[str, Job]] = {}
    for name, cell in cells.items():
        measured = cell.value.measured
        if measured is None:
            continue
        blocks = {Path(file).stem for file in measured.files}
        candidates = run.models.get(name, {})
        jobs = {
            block: job
            for block, job in candidates.items()
            # To hash a file takes longer, and is done only where its name does not tell.
            if block in blocks or sha256_file(job["evaluate"].path) in digests
        }
        if jobs:
            models[name] = jobs
    names = _experiments_of(statements)
    experiments = {name: file for name, file in run.experiments.items() if name in names}
    return RunFolder(run.folder, models, experiments)


def _read_statements(
    results: ResultFolder, path: Path
) -> tuple[Traced, dict[str, Sourced[Statement]]]:
    """`statements.json`, and every statement in it by its name."""
    content = _read(path, results.display_name("statements.json"), "statements")
    entries = validated(Statements, value_of(content), path).statements
    sources = content["statements"]
    statements = {}
    for entry, source in zip(entries, sources, strict=True):
        statements[entry.statement] = Sourced(entry, source)
    return content, statements


def _validate_results(run: RunFolder) -> None:
    """Refuses results of jobs and experiments that do not have the fields that are read here."""
    for blocks in run.models.values():
        for job in blocks.values():
            for stage, file in job.items():
                # Of evaluations alone more is read than how they were made.
                schema = Evaluation if stage == "evaluate" else Frame
                validated(schema, file.content, file.path)
    for file in run.experiments.values():
        validated(Frame, file.content, file.path)


def read_statements(results: ResultFolder) -> ComparedRun:
    """Reads a kept run of statements, which has no table.

    Raises:
        ReplicateError: a file is broken, of another format, or not of this project.
    """
    path = results.folder / "statements.json"
    content, statements = _read_statements(results, path)
    validated(KeptStatements, value_of(content), path)
    run = _behind({}, statements.values(), results_below(results.folder))
    _validate_results(run)
    return ComparedRun(
        results=results,
        preset=child(content, "preset"),
        models={},
        datasets={},
        cells={},
        orderings={},
        statements=statements,
        run=run,
        table=None,
        statements_file=path,
    )


def _cells_of(table: Table, source: Traced) -> dict[CellName, Sourced[Cell]]:
    """The cells of a table, column by column."""
    cells = {}
    for dataset in table.datasets:
        # Validated values to compute with, and beside them the places that the page names.
        for row, row_source in zip(table.rows, source["rows"], strict=True):
            cell = row.cells.get(dataset.name)
            if cell is not None:
                cell_source = row_source["cells"][dataset.name]
                cells[dataset.name, row.model] = Sourced(cell, cell_source)
    return cells


def read_compared_run(results: ResultFolder, table_path: Path) -> ComparedRun:
    """Reads a run.

    Raises:
        ReplicateError: a file is missing, broken, of another format, or not of this project.
    """
    source = _read(table_path, results.display_name("table1.json"), "table")
    table = validated(Table, value_of(source), table_path)
    cells = _cells_of(table, source)
    orderings = {}
    for k, ordering in enumerate(table.orderings):
        orderings[ordering.claim] = Sourced(ordering, source["orderings"][k])
    statements: dict[str, Sourced[Statement]] = {}
    path = results.folder / "statements.json"
    # A run of models alone has none, and is compared by its table.
    has_statements = path.is_file()
    if has_statements:
        _, statements = _read_statements(results, path)
    every_result = results_below(results.folder)
    run = _behind(cells, statements.values(), every_result, table.inputs.values())
    _validate_results(run)
    return ComparedRun(
        results=results,
        preset=child(source, "preset"),
        models={row.model: row.title for row in table.rows},
        datasets={dataset.name: dataset.title for dataset in table.datasets},
        cells=cells,
        orderings=orderings,
        statements=statements,
        run=run,
        table=table_path,
        statements_file=path if has_statements else None,
    )


def _user_names(project: Path) -> Iterator[str]:
    """Names of users, which no page shows."""
    sources: tuple[Callable[[], str], ...] = (
        lambda: Path.home().name,
        getpass.getuser,
        project.owner,
    )
    for source in sources:
        # A machine may know none of them.
        with contextlib.suppress(OSError, KeyError, RuntimeError):
            yield source()


def shown_name(project: Path) -> str:
    """What the page calls a run: its folder's name.

    A name of a person, and one that would read like this run's own, is not shown.
    """
    # Characters that a terminal or a page may take for something else become dashes.
    plain = re.sub(r"[^\w.-]+", "-", project.name)
    # A name with a dot or a dash in front reads like a hidden file or an option.
    name = plain.strip("-.")[:LONGEST]
    is_like_ours = name in ("", "results", "report")
    # The folder of a home is called as its user is.
    is_home = project.parent.name in HOMES
    if is_like_ours or is_home or project.name in _user_names(project):
        return NAMELESS
    return name


def read_other(folder: Path) -> ComparedRun:
    """Reads another run, from its project folder or its results folder.

    Raises:
        ReplicateError: there is no such folder, no finished run in it, or its results cannot be
            read.
    """
    try:
        # A link, or `..`, has no name of its own for the page to show.
        project = folder.resolve(strict=True)
        if not project.is_dir():
            raise NotADirectoryError
        folders = [project / "results", project]
        with_table = [results for results in folders if (results / "table1.json").exists()]
        # A kept run has its parameter file beside its results.
        kept_files = [project / name for name in ("params.yaml", "statements.json")]
        is_kept_run = not with_table and all(file.is_file() for file in kept_files)
    except (FileNotFoundError, NotADirectoryError):
        raise ReplicateError(
            f"--compare {folder}: there is no such folder; "
            "give the project folder or the results folder of another run."
        ) from None
    except OSError as error:
        raise ReplicateError(f"--compare {folder}: cannot read it: {error.strerror}.") from None
    for results in folders:
        refuse_old_statements(results)
    if is_kept_run:
        return read_statements(ResultFolder(project, shown_name(project)))
    if not with_table:
        raise ReplicateError(
            f"--compare {folder}: no table1.json lies in it or in its folder `results`; "
            "run that pipeline to its end, "
            "or give the project folder or the results folder of a finished run."
        )
    # Of a project folder its `results`, before a table that lies beside that.
    results = with_table[0]
    if results.name == "results":
        name = f"{shown_name(results.parent)}/results"
    else:
        name = shown_name(results)
    return read_compared_run(ResultFolder(results, name), results / "table1.json")
