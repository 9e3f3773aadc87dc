"""What the paper states in words, as the page shows it, one card a statement."""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from markupsafe import Markup

from replicate.experiments import DEFAULT_DATASET, ON_IMAGES
from replicate.params import load_params
from replicate.records.sourced import ResultFolder, Traced, child, traced, value_of
from replicate.report.embedded import embedded_svg
from replicate.report.provenance import Step

#: Verdict states in the order in which the summary tells them, with the words behind a number of
#: statements.
COUNTED = {
    "replicated": "replicated",
    "not replicated": "not replicated",
    "inconclusive": "inconclusive",
    "withheld": "withheld",
    "not applicable": "not applicable here",
    "not attempted": "not attempted",
}
#: Statement -> the figure that says most of it, where that is not the first; the others are folded.
LEADING = {"F3": "strip", "X1": "samples", "X2": "pictures", "S2": "samples", "H1": "samples_ring"}
#: Statement -> the figures of its experiment that are about it, where the experiment decides others
#: too. Figures that none of them names stand under the first.
OWN_FIGURES: Mapping[str, tuple[str, ...]] = {
    "P1": ("trained",),
    "TH1": ("criterion",),
    "P2": ("descent",),
    "A1": ("steps",),
    "H1": ("samples_ring", "ratios_ring", "samples_grid", "ratios_grid"),
    "G1": ("games",),
    "L1": ("alone",),
    "S1": ("models",),
}
#: Folder of the kept runs of statements, relative to the results.
KEPT = "reference/statements"
#: The parameters with their defaults, relative to the project.
SCHEMA = "workflow/schema/params.schema.json"
#: Instead of a data set: an experiment that makes its own data, and a kept run that does not record
#: its data.
OWN_DATA, UNKNOWN_DATA = "synthetic data", "not recorded"


@dataclass(frozen=True)
class Figure:
    """A figure of an experiment: the picture, and its entry in `figures.json`."""

    svg: Markup
    source: Traced


@dataclass(frozen=True)
class KeptStatement:
    """A statement in a kept run.

    Attributes:
        name: folder of the run.
        statement: its entry in the run's statements.json.
        dataset: that it was decided on, in words.
        same_rule: whether the protocol had the same entry as in this run.
        has_figures: whether the run kept the figures of the statement's experiment.
    """

    name: str
    statement: Traced
    dataset: str
    same_rule: bool
    has_figures: bool = False


@dataclass(frozen=True)
class ReducedSetting:
    """A setting in which this run's form of an experiment differs from the full one.

    Attributes:
        name: of the setting.
        own: its value in this run.
        full: its value in a kept run of the full form on the same data, else its default, where
            that is the full form; None otherwise.
    """

    name: str
    own: Traced
    full: Traced | None


@dataclass(frozen=True)
class StatementCard:
    """A statement with its verdict, and all that the page shows of it.

    Attributes:
        statement: its entry in statements.json.
        references: the kept runs that attempted it.
        figures: of its experiment, as this run drew them; none where kept ones take their place.
        own_figure: the first of them, where kept ones do; the others lie beside the results.
        kept_figures: of the same experiment in its full form, as the kept run drew them.
        kept_data: result of that run's experiment; None without its figures.
        reduced: the settings in which this run's form differs from the full one.
        figures_under: the statement whose card shows the figures of the same experiment, where
            this one shows none.
        data: this run's result of the experiment; None without figures of this run.
        embeds_data: whether the page holds it here: once, though several cards may offer it.
        step: the command that ran the experiment.
    """

    statement: Traced
    references: list[KeptStatement]
    figures: list[Figure] = field(default_factory=list)
    own_figure: Figure | None = None
    kept_figures: list[Figure] = field(default_factory=list)
    kept_data: Traced | None = None
    reduced: list[ReducedSetting] = field(default_factory=list)
    figures_under: str | None = None
    data: Traced | None = None
    embeds_data: bool = False
    step: Step | None = None

    @property
    def full_forms(self) -> list[KeptStatement]:
        """The kept runs that had the full form of the experiment and the rule that holds now."""
        return _full_forms(self.references)

    @property
    def full_form(self) -> KeptStatement | None:
        """Of these the one that the card shows."""
        return full_form_of(self.references)

    @property
    def full_form_states(self) -> list[str]:
        """The verdict states that these ended in, each once."""
        states = [reference.statement["state"] for reference in self.full_forms]
        return list(dict.fromkeys(states))

    @property
    def rule_has_changed(self) -> bool:
        """Whether a kept run was judged by an earlier rule: today's came after a verdict."""
        return any(not reference.same_rule for reference in self.references)

    @property
    def judged(self) -> bool:
        """Whether this run or a kept one attempted the statement."""
        return self.statement["state"] != "not attempted" or bool(self.references)


def _worth(reference: KeptStatement) -> tuple[int, bool]:
    """Its seeds and, where these are as many, whether it can be seen."""
    seeds = value_of(reference.statement["seeds"])
    return int(seeds), reference.has_figures


def _full_forms(references: Iterable[KeptStatement]) -> list[KeptStatement]:
    """The kept runs that had the full form of the experiment and the rule that holds now."""
    # Another form of the experiment, or another rule, would be another question.
    full_forms = []
    for reference in references:
        is_full_form = reference.statement["changed"] is None
        if is_full_form and reference.same_rule:
            full_forms.append(reference)
    return full_forms


def full_form_of(references: Iterable[KeptStatement]) -> KeptStatement | None:
    """Of the kept runs in full form the one with the most seeds; of several alike one with figures,
    and of these the first.
    """
    return max(_full_forms(references), key=_worth, default=None)


@dataclass(frozen=True)
class StateCount:
    """How many statements have a verdict state, in the words of the summary."""

    state: str
    words: str
    count: Traced


@dataclass(frozen=True)
class KeptRun:
    """A kept run of statements: folder, `statements.json`, and where its `params.yaml` lies."""

    name: str
    statements: Traced
    settings: Path


def dataset_of(statement: Traced, settings: Path) -> str:
    """The data set that a kept run decided a statement on.

    Args:
        statement: its entry; older statements.json have no `dataset` in it.
        settings: the run's `params.yaml`, which then has it.
    """
    if "dataset" in statement:
        return statement["dataset"] or OWN_DATA
    experiment = statement["experiment"]
    if experiment not in ON_IMAGES:
        return OWN_DATA
    sections = load_params(str(settings)).experiments if settings.is_file() else {}
    if experiment not in sections:
        return UNKNOWN_DATA
    return str(sections[experiment].get("dataset", DEFAULT_DATASET))


def kept_runs(results: ResultFolder) -> list[KeptRun]:
    """The kept runs of statements, by name."""
    runs = []
    for path in sorted(results.folder.glob(f"{KEPT}/*/statements.json")):
        file = path.relative_to(results.folder).as_posix()
        statements = results.read(file)
        settings = path.with_name("params.yaml")
        runs.append(KeptRun(path.parent.name, statements, settings))
    return runs


def in_kept_runs(statement: Traced, runs: Iterable[KeptRun]) -> Iterator[KeptStatement]:
    """The statement in every kept run that attempted it."""
    name = statement["statement"]
    rule = statement["protocol_sha256"]
    for run in runs:
        for entry in run.statements["statements"]:
            if entry["statement"] != name or entry["state"] == "not attempted":
                continue
            dataset = dataset_of(entry, run.settings)
            same_rule = entry["protocol_sha256"] == rule
            drawn = run.settings.parent / "figures" / entry["experiment"] / "figures.json"
            yield KeptStatement(run.name, entry, dataset, same_rule, drawn.is_file())


def deciding_check(checks: Iterable[Traced], one_is_enough: bool = False) -> Traced | None:
    """The check that a verdict hangs on; None without checks.

    It is the first that lies on the other side, or else that is undecided. Where all hold, it is
    the one that holds most narrowly: whose 90 % interval lies nearest to the threshold, in widths
    of the interval. Where one is enough, it is the first that holds, or else that is undecided.
    """
    if one_is_enough:
        order = ("replicated", "inconclusive", None, "not replicated")
        return min(checks, key=lambda check: order.index(value_of(check["state"])), default=None)
    checks = list(checks)
    # One on the other side denies the statement, whatever stands undecided before it.
    for state in ("not replicated", "inconclusive"):
        for check in checks:
            if check["state"] == state:
                return check
    narrowest = None
    least_distance = math.inf
    for check in checks:
        distance = _distance_in_widths(check)
        if narrowest is None or distance < least_distance:
            narrowest, least_distance = check, distance
    return narrowest


def _distance_in_widths(check: Traced) -> float:
    """From the threshold to the near end of the 90 % interval, in widths of it."""
    interval = value_of(check["ci90"])
    # One exact number, or the same in every seed: no chance comes into it.
    if interval is None or interval[0] == interval[1]:
        return math.inf
    low, high = interval
    threshold = float(value_of(check["threshold"]))
    distance = low - threshold if check["side"] == "above" else threshold - high
    return float(distance / (high - low))


class FigureFolders:
    """The figures of experiments, this run's and those of kept runs.

    Each figure stands under one statement, for its ids must not occur twice on the page.
    """

    def __init__(self, results: ResultFolder) -> None:
        self._results = results
        self._figures: dict[str, list[Figure]] = {}
        self._first_statements: dict[str, str] = {}

    def under(self, statement: str, folder: str, id_prefix: str = "") -> list[Figure]:
        """The figures of a folder that stand under a statement.

        Args:
            statement: its id.
            folder: of the figures, relative to the results.
            id_prefix: beginning of their ids, which tells them from those of another run.
        """
        is_first = folder not in self._figures
        if is_first:
            self._figures[folder] = self._read(folder, id_prefix)
        own_names = OWN_FIGURES.get(statement, ())
        named = set(itertools.chain.from_iterable(OWN_FIGURES.values()))
        chosen = []
        for figure in self._figures[folder]:
            name = figure.source["name"]
            if name in own_names or (is_first and name not in named):
                chosen.append(figure)
        if chosen:
            self._first_statements.setdefault(folder, statement)
        # Sorted by being another one: the sort is stable, so the others keep their order.
        leading = LEADING.get(statement)
        return sorted(chosen, key=lambda figure: figure.source["name"] != leading)

    def _read(self, folder: str, id_prefix: str) -> list[Figure]:
        listing = self._results.read(f"{folder}/figures.json")
        figures = []
        for source in listing["figures"]:
            path = self._results.folder / folder / f"{source['name']}.svg"
            svg = embedded_svg(path, "draw", id_prefix)
            figures.append(Figure(svg, source))
        return figures

    def first_statement(self, folder: str) -> str | None:
        """The first statement that figures of a folder stand under; None if none does."""
        return self._first_statements.get(folder)

    @staticmethod
    def kept_folder(experiment: str, run: str) -> str:
        """Where the figures of a kept run lie, relative to the results."""
        return f"{KEPT}/{run}/figures/{experiment}"

    def kept(self, statement: str, experiment: str, run: str) -> list[Figure]:
        """The figures of a kept run under a statement; none where it has none of the experiment."""
        folder = self.kept_folder(experiment, run)
        if not (self._results.folder / folder / "figures.json").is_file():
            return []
        return self.under(statement, folder, "kept-")


def reduced_settings(
    statement: Traced, full_form: KeptStatement | None, results: ResultFolder
) -> list[ReducedSetting]:
    """The settings in which this run's form of an experiment differs from the full one.

    Args:
        statement: of this run, whose `changed` names them.
        full_form: the same statement in a kept run of the full form.
        results: the folder of all results.
    """
    experiment = value_of(statement["experiment"])
    if experiment is None or not statement["changed"]:
        return []
    own = _config(results, f"experiments/{experiment}.json")
    full = None
    # On other data the full form has other settings, and is no measure for these.
    own_dataset = statement["dataset"] or OWN_DATA
    if full_form is not None and full_form.dataset == own_dataset:
        full = _config(results, f"{KEPT}/{full_form.name}/{experiment}.json")
    defaults = None
    if own_dataset in (OWN_DATA, DEFAULT_DATASET):
        defaults = _defaults(results, experiment)
    settings = []
    for name in statement["changed"].split(", "):
        if own is None or name not in own:
            continue
        full_value = None
        if full is not None and name in full:
            full_value = child(full, name)
        elif defaults is not None and name in defaults and "default" in defaults[name]:
            full_value = child(child(defaults, name), "default")
        settings.append(ReducedSetting(name, child(own, name), full_value))
    return settings


def _defaults(results: ResultFolder, experiment: str) -> Traced | None:
    """The settings of an experiment as the schema of the parameters has them: its full form (docs/
    protocol.md, section 6), on synthetic data and on the data set that it has without a choice.
    """
    path = results.folder.parent / SCHEMA
    if not path.is_file():
        return None
    experiments = traced(SCHEMA, path)["properties"]["experiments"]["properties"]
    if experiment not in experiments:
        return None
    settings: Traced = experiments[experiment]["properties"]
    return settings


def _config(results: ResultFolder, file: str) -> Traced | None:
    """The settings of an experiment as its result has them; None without the result."""
    if not (results.folder / file).is_file():
        return None
    parameters: Traced = results.read(file)["parameters"]
    return child(parameters, "config") if "config" in parameters else None


def statement_cards(
    statements: Traced, results: ResultFolder, steps: Iterable[Step]
) -> list[StatementCard]:
    """A card for every statement of the paper beside Table 1.

    Args:
        statements: `statements.json`.
        results: the folder of all results.
        steps: the commands of the run.
    """
    runs = kept_runs(results)
    steps_by_file = {step.file: step for step in steps}
    folders = FigureFolders(results)
    with_data: set[str] = set()
    cards = []
    shown_folders = []
    for statement in statements["statements"]:
        name = value_of(statement["statement"])
        experiment = value_of(statement["experiment"])
        references = list(in_kept_runs(statement, runs))
        figures: list[Figure] = []
        folder = f"figures/{experiment}"
        if experiment is not None:
            figures = folders.under(name, folder)
        data = results.read(f"experiments/{experiment}.json") if figures else None
        own_figure = None
        kept_figures: list[Figure] = []
        kept_data = None
        full_form = full_form_of(references)
        if full_form is not None:
            # A run that left the experiment out has no name for it; the kept one has.
            kept_experiment = value_of(full_form.statement["experiment"])
            kept_figures = folders.kept(name, kept_experiment, full_form.name)
            if not figures:
                folder = folders.kept_folder(kept_experiment, full_form.name)
            if kept_figures:
                # A reduced form of all the same pictures would only make the page heavier.
                own_figure = figures[0] if figures else None
                figures = []
                kept_data = results.read(f"{KEPT}/{full_form.name}/{kept_experiment}.json")
        card = StatementCard(
            statement=statement,
            figures=figures,
            own_figure=own_figure,
            kept_figures=kept_figures,
            kept_data=kept_data,
            data=data,
            # Once: statements of one experiment share its data.
            embeds_data=bool(figures) and experiment not in with_data,
            reduced=reduced_settings(statement, full_form, results),
            step=steps_by_file.get(statement["result"]),
            references=references,
        )
        if figures:
            with_data.add(experiment)
        cards.append(card)
        shown_folders.append(folder)
    return [
        # Only now: where a folder's figures stand is known when all cards have theirs.
        replace(card, figures_under=folders.first_statement(folder))
        if not (card.figures or card.kept_figures)
        else card
        for card, folder in zip(cards, shown_folders, strict=True)
    ]


def state_counts(statements: Traced) -> list[StateCount]:
    """How many statements have each verdict state, in the order in which the summary tells them."""
    counts = statements["counts"]
    return [
        StateCount(state, words, counts[state])
        for state, words in COUNTED.items()
        if state in counts
    ]
