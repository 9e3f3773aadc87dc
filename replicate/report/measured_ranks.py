"""What every measure says of every row, and the plot of the ranks, as the page shows them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from replicate.figures import ranks as ranks_figure
from replicate.figures import theme
from replicate.measures import REGISTRY
from replicate.measures.controls_list import CONTROLS
from replicate.records.sourced import ResultFolder, Traced, value_of
from replicate.report.svg_slim import slim

#: Space of a measure -> what its table is called.
GROUPS: Mapping[str | None, str] = {
    None: "Log-likelihoods, memory and classes",
    "pixels": "Images compared in pixels",
    "features": "Images compared in features of the data set's own classifier",
}
#: Side of better values -> how the page says it.
BETTER = {"higher": "higher is better", "lower": "lower is better", "half": "½ is best"}


@dataclass(frozen=True)
class MeasureColumn:
    """A measure in one space: its place among the values of a row, and what its head says."""

    number: int
    title: str
    unit: str
    better: str
    source: str


@dataclass(frozen=True)
class MeasureGroup:
    """The measures of one space, a table of the page."""

    title: str
    columns: list[MeasureColumn]


@dataclass(frozen=True)
class MeasuredRanks:
    """All rows of one data set.

    Attributes:
        title: of the data set.
        content: its entry in `ranks.json`.
        groups: its tables.
        plot: of the ranks; None where nothing is ranked.
        names: row -> title.
        flaws: control -> what is wrong with it.
    """

    title: str
    content: Traced
    groups: list[MeasureGroup]
    plot: Markup | None
    names: Mapping[str, str]
    flaws: Mapping[str, str]


def _groups(columns: Sequence[Mapping[str, str | None]]) -> list[MeasureGroup]:
    groups = []
    for space, title in GROUPS.items():
        of_space = []
        for number, column in enumerate(columns):
            measure = REGISTRY[str(column["measure"])]
            if column["space"] == space:
                better = BETTER[measure.better]
                head = MeasureColumn(number, measure.title, measure.unit, better, measure.source)
                of_space.append(head)
        if of_space:
            groups.append(MeasureGroup(title, of_space))
    return groups


@dataclass(frozen=True)
class KeptRanks:
    """What every measure says of the rows of a kept run.

    Attributes:
        run: its folder below `results/reference`.
        ranks: its `ranks.json`.
        measured: its data sets, without plots.
    """

    run: str
    ranks: Traced
    measured: list[MeasuredRanks]


def _names_and_flaws(models: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Row -> title, and control -> what is wrong with it."""
    names = dict(models) | {name: control.title for name, control in CONTROLS.items()}
    return names, {name: control.flaw for name, control in CONTROLS.items()}


def read_kept_ranks(
    results: ResultFolder, models: Mapping[str, str], datasets: Mapping[str, str]
) -> list[KeptRanks]:
    """The same of every kept run that has its measures (`reference --measure`), by name.

    Args:
        results: the folder of all results.
        models: model -> title.
        datasets: data set -> title.
    """
    names, flaws = _names_and_flaws(models)
    kept = []
    for path in sorted(results.folder.glob("reference/*/ranks.json")):
        ranks = results.read(path.relative_to(results.folder).as_posix())
        measured = []
        for content in ranks["datasets"]:
            title = datasets.get(content["dataset"], content["dataset"])
            groups = _groups(value_of(content["columns"]))
            measured.append(MeasuredRanks(title, content, groups, None, names, flaws))
        kept.append(KeptRanks(path.parent.name, ranks, measured))
    return kept


def read_ranks(
    results: ResultFolder, models: Mapping[str, str], datasets: Mapping[str, str]
) -> tuple[Traced, list[MeasuredRanks]]:
    """`ranks.json`, and its data sets as the page shows them.

    Args:
        results: the folder of all results.
        models: model -> title.
        datasets: data set -> title.
    """
    ranks = results.read("ranks.json")
    names, flaws = _names_and_flaws(models)
    shown = []
    for content in ranks["datasets"]:
        dataset = content["dataset"]
        title = datasets.get(dataset, dataset)
        columns = value_of(content["columns"])
        plot = None
        if any(column["ranked"] for column in columns):
            heading = f"Ranks of the models by every measure on {title}"
            drawn = ranks_figure.ranks(value_of(content), models, heading, f"ranks/{dataset}")
            plot = Markup(slim(theme.checked_svg(drawn)))
        shown.append(MeasuredRanks(title, content, _groups(columns), plot, names, flaws))
    return ranks, shown
