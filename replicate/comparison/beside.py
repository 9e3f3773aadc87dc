"""The section "Beside another run": two runs and how they differ, as its template takes them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from replicate.comparison.compare import comparison
from replicate.comparison.compared_run import (
    CellName,
    ComparedRun,
    read_compared_run,
    read_other,
)
from replicate.comparison.settings import Kind, Setting, grouped, in_common, settings_of
from replicate.records.schema import ComparedSetting, RunComparison, SettingValue
from replicate.records.sourced import ResultFolder, Traced, source_of, value_of

#: What became of a claim that says nothing about a difference between the runs.
UNCHANGED = frozenset({"same numbers", "attempted by neither"})
#: What else became of claims, in the words that lead to their number.
CHANGE_WORDS = {
    "same verdict": "with the same verdict and other numbers",
    "same numbers": "with the same numbers",
    "only here": "attempted by this run alone",
    "only there": "attempted by the other run alone",
    "attempted by neither": "attempted by neither",
}


@dataclass(frozen=True)
class Beside:
    """Two runs beside each other.

    Attributes:
        ours, theirs: the runs.
        file: the name that the page shows for the file of what was computed here.
        content: what that file holds.
        settings: that differ.
    """

    ours: ComparedRun
    theirs: ComparedRun
    file: str
    content: RunComparison
    settings: list[Setting]


@dataclass(frozen=True)
class Both:
    """A value of this run and of the other one; None where a run has none."""

    ours: object
    theirs: object


@dataclass(frozen=True)
class SettingRow:
    """A setting that differs, and what it was set for."""

    name: str
    of: list[str]
    ours: Traced | None
    theirs: Traced | None


@dataclass(frozen=True)
class CellRow:
    """A row of Table 1 on one data set: both cells, and what was computed of them."""

    title: str
    compared: Traced
    ours: Traced | None
    theirs: Traced | None


@dataclass(frozen=True)
class Column:
    """The rows of one data set, under its title."""

    title: str
    rows: list[CellRow]


@dataclass(frozen=True)
class MeasuredPair:
    """What both runs measured for a check or a comparison; `of` is that of a run that has it."""

    of: Traced
    ours: Traced | None
    theirs: Traced | None


@dataclass(frozen=True)
class ClaimRow:
    """An ordering or a statement of either run.

    Attributes:
        compared: what became of its verdict.
        of: the claim, of a run that has it.
        is_ours: whether this run has it.
        verdicts: of this run and of the other one.
        measured: each check of a statement, or each comparison of an ordering.
    """

    compared: Traced
    of: Traced
    is_ours: bool
    verdicts: list[Traced | None]
    measured: list[MeasuredPair]


@dataclass(frozen=True)
class Section:
    """All that the template of the section takes.

    Attributes:
        name: of the other run.
        file: of what was computed.
        comparison: its content.
        presets: of both runs.
        is_same: whether all that both measured has the same bits.
        change_words: what became of a claim -> the words that lead to their number.
        is_compared: whether settings of anything were compared.
        uncompared: of what no settings were kept.
        settings: that differ, by their kind.
        columns: Table 1 of both runs.
        differing, same, unattempted: claims by what became of them.
        has_statements: whether each run has a statements.json.
        has_table: whether the other run has a table1.json.
    """

    name: str
    file: str
    comparison: Traced
    presets: Both
    is_same: bool
    change_words: Mapping[str, str]
    is_compared: bool
    uncompared: list[str]
    settings: Mapping[Kind, list[SettingRow]]
    columns: list[Column]
    differing: list[ClaimRow]
    same: list[ClaimRow]
    unattempted: list[ClaimRow]
    has_statements: Both
    has_table: bool


def _draw_settings(compared: Traced, our_run: ComparedRun) -> Iterator[Setting]:
    """Numbers of draws that differ.

    No result has them as a leaf, so their source is what was counted here.
    """
    for row in compared["rows"]:
        draws = row["draws"]
        counts = value_of(draws)
        our_draws, their_draws = counts["ours"], counts["theirs"]
        # A run that kept its table alone does not say how many draws it had.
        is_known = our_draws is not None and their_draws is not None
        if is_known and our_draws != their_draws:
            title = our_run.title((row["dataset"], row["model"]))
            yield Setting("asked", "draws", (title,), draws["ours"], draws["theirs"])


def _setting_value(leaf: Traced | None) -> SettingValue | None:
    if leaf is None:
        return None
    return {"place": source_of(leaf), "value": value_of(leaf)}


def _compared_setting(setting: Setting) -> ComparedSetting:
    return {
        "kind": setting.kind,
        "name": setting.name,
        "of": list(setting.of),
        "ours": _setting_value(setting.ours),
        "theirs": _setting_value(setting.theirs),
    }


def read_beside(table: Path, results: Path, other: Path, file: str) -> Beside:
    """Sets a run beside another one; writes nothing.

    Args:
        table: `table1.json` of this run.
        results: folder of its other results.
        other: project folder or results folder of the other run.
        file: name of the file that will hold what is computed here.

    Raises:
        ReplicateError: one of the runs cannot be read.
    """
    our_run = read_compared_run(ResultFolder(results), table)
    their_run = read_other(other)
    content = comparison(our_run, their_run)
    # The file is not written yet: its numbers have their future place as source.
    compared = Traced(file, "", content)
    settings = settings_of(our_run, their_run)
    settings += _draw_settings(compared, our_run)
    settings = grouped(settings)
    # Last: draws that differ are found in the very content that they are added to.
    content["settings"] = [_compared_setting(setting) for setting in settings]
    return Beside(our_run, their_run, file, content, settings)


def _columns(beside: Beside, compared: Traced) -> list[Column]:
    """Every row of Table 1 that either run measured, by its data set."""
    our_run, their_run = beside.ours, beside.theirs
    # Where both name a model or a data set, this version's title counts.
    models = their_run.models | our_run.models
    datasets = their_run.datasets | our_run.datasets
    columns: dict[str, Column] = {}
    for row in compared["rows"]:
        dataset, model = row["dataset"], row["model"]
        cell_row = CellRow(
            title=models[model],
            compared=row,
            ours=_cell_source(our_run, (dataset, model)),
            theirs=_cell_source(their_run, (dataset, model)),
        )
        column = columns.setdefault(dataset, Column(datasets[dataset], []))
        column.rows.append(cell_row)
    return list(columns.values())


def _cell_source(run: ComparedRun, cell: CellName) -> Traced | None:
    """A cell of a run's Table 1; None where it has no such cell."""
    if cell not in run.cells:
        return None
    return run.cells[cell].source


def _by_label(claim: Traced | None, entries: str, label: str) -> dict[str, Traced]:
    """The checks of a statement or the comparisons of an ordering, by their label."""
    if claim is None:
        return {}
    return {entry[label]: entry for entry in claim[entries]}


def _measured_pairs(
    our_claim: Traced | None, their_claim: Traced | None, entries: str, label: str
) -> list[MeasuredPair]:
    """What both runs measured for a claim, by its label, ours first."""
    our_entries = _by_label(our_claim, entries, label)
    their_entries = _by_label(their_claim, entries, label)
    # A dict keeps the order, ours first, where a set would have none.
    names = dict.fromkeys([*our_entries, *their_entries])
    pairs = []
    for name in names:
        our_entry = our_entries.get(name)
        their_entry = their_entries.get(name)
        # What a check reads is the same in both, so that either may say it.
        of = our_entry or their_entry
        assert of is not None
        pairs.append(MeasuredPair(of, our_entry, their_entry))
    return pairs


def _claim_row(beside: Beside, compared: Traced) -> ClaimRow:
    """One ordering or statement, with both verdicts and what was measured."""
    is_ordering = compared["kind"] == "ordering"
    our_claim = _claim_source(beside.ours, compared["claim"], is_ordering)
    their_claim = _claim_source(beside.theirs, compared["claim"], is_ordering)
    of = our_claim or their_claim
    assert of is not None
    verdicts = [our_claim, their_claim]
    entries, label = "checks", "reads"
    # A statement is its own verdict; an ordering has one.
    if is_ordering:
        entries, label = "comparisons", "title"
        verdicts = [claim["verdict"] if claim else None for claim in verdicts]
    return ClaimRow(
        compared=compared,
        of=of,
        is_ours=our_claim is not None,
        verdicts=verdicts,
        measured=_measured_pairs(our_claim, their_claim, entries, label),
    )


def _claim_source(run: ComparedRun, name: str, is_ordering: bool) -> Traced | None:
    """An ordering or a statement of a run; None where the run does not have it."""
    claim = run.orderings.get(name) if is_ordering else run.statements.get(name)
    if claim is None:
        return None
    return claim.source


def _is_same(beside: Beside) -> bool:
    """Whether both runs measured the same things, and all of them to the same bits."""
    counts = beside.content["counts"]
    # What only one of them measured cannot be the same.
    if counts["rows_of_one_run"] > 0:
        return False
    if counts["rows_same_bits"] < counts["rows"]:
        return False
    changes = {change for change, count in counts["claims"].items() if count}
    return changes <= UNCHANGED


def _abbreviated(subjects: Sequence[str], groups: Mapping[str, list[str]]) -> list[str]:
    """What a setting was set for, where a group of more than one goes by its own name."""
    # Named as a group only where all of it differs in that setting.
    complete = {
        name: members
        for name, members in groups.items()
        if len(members) > 1 and set(members) <= set(subjects)
    }
    grouped_subjects: set[str] = set()
    for members in complete.values():
        grouped_subjects |= set(members)
    rest = [subject for subject in subjects if subject not in grouped_subjects]
    return [*complete, *rest]


def _settings(beside: Beside, common: Iterable[str]) -> dict[Kind, list[SettingRow]]:
    """The settings that differ, by their kind."""
    titles = {beside.ours.title(cell) for cell in beside.ours.cells}
    cells = []
    experiments = []
    for subject in common:
        if subject in titles:
            cells.append(subject)
        else:
            experiments.append(subject)
    groups = {"every row that both measured": cells, "every experiment of both": experiments}
    rows: dict[Kind, list[SettingRow]] = {"asked": [], "code": [], "machine": []}
    for setting in beside.settings:
        subjects = _abbreviated(setting.of, groups)
        row = SettingRow(setting.name, subjects, setting.ours, setting.theirs)
        rows[setting.kind].append(row)
    return rows


def _with_change(claims: Iterable[ClaimRow], change: str) -> list[ClaimRow]:
    return [claim for claim in claims if claim.compared["change"] == change]


def section(beside: Beside) -> Section:
    """What the template of the section takes."""
    our_run, their_run = beside.ours, beside.theirs
    compared = Traced(beside.file, "", beside.content)
    claims = [_claim_row(beside, claim) for claim in compared["claims"]]
    common = in_common(our_run, their_run)
    return Section(
        name=their_run.results.name.removesuffix("/results"),
        file=beside.file,
        comparison=compared,
        presets=Both(our_run.preset, their_run.preset),
        is_same=_is_same(beside),
        change_words=CHANGE_WORDS,
        is_compared=any(common.values()),
        uncompared=[subject for subject, is_kept in common.items() if not is_kept],
        settings=_settings(beside, common),
        columns=_columns(beside, compared),
        differing=[claim for claim in claims if claim.compared["change"] not in UNCHANGED],
        same=_with_change(claims, "same numbers"),
        unattempted=_with_change(claims, "attempted by neither"),
        has_statements=Both(
            our_run.statements_file is not None, their_run.statements_file is not None
        ),
        has_table=their_run.table is not None,
    )
