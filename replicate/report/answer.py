"""The answer of the project so far: the largest measurement of each value of Table 1, and what
became of each statement in its full form.

It is read from the kept runs below `results/reference` and from the run of the page; nothing is
computed here. The page begins with it, and README tells it (`tools/readme_results.py`).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import yaml
from markupsafe import Markup

from replicate.records.sourced import ResultFolder, Traced, value_of
from replicate.report.embedded import embedded_png
from replicate.report.statement_cards import StatementCard

#: Below `results/`: where kept runs lie.
KEPT = "reference"
#: The model whose samples are shown, and the file of its samples in a kept run.
SAMPLED_MODEL, SAMPLES = "adversarial_nets", "samples.png"


@dataclass(frozen=True)
class Measurement:
    """A cell of Table 1 as a kept run measured it.

    Attributes:
        run: folder of the run, below `results/reference`.
        cell: the cell of its table, with what is published and the verdict.
        epochs: that the model was trained for; None where its training is not kept.
    """

    run: str
    cell: Traced
    epochs: Traced | None

    @property
    def extent(self) -> tuple[int, int]:
        """Number of seeds, then epochs: the larger of two measurements says more."""
        measured = self.cell["measured"]
        seeds = len(measured["seeds"])
        if self.epochs is None:
            # Of unknown length, so that any training that is kept counts as longer.
            return seeds, 0
        return seeds, value_of(self.epochs)


@dataclass(frozen=True)
class TableRow:
    """A published value of Table 1 beside its measurements.

    Attributes:
        model, title: the row's name in files and in words.
        published: the paper's value.
        best: the kept measurement with the most seeds, and of these the longest; None without one.
        cell: the cell of the page's own run.
    """

    model: str
    title: str
    published: Traced
    best: Measurement | None
    cell: Traced

    @property
    def ours(self) -> Traced | None:
        """What the page's own run measured."""
        measured: Traced | None = self.cell["measured"]
        return measured

    @property
    def verdict(self) -> Traced:
        """The verdict of the measurement with more seeds; of two alike, that of the page's run."""
        own_seeds = 0
        if self.ours is not None:
            own_seeds = len(self.ours["seeds"])
        cell = self.cell
        if self.best is not None:
            kept_seeds, _ = self.best.extent
            if kept_seeds > own_seeds:
                cell = self.best.cell
        verdict: Traced = cell["verdict"]
        return verdict


@dataclass(frozen=True)
class Order:
    """The order of the rows on one data set, as a kept run judged it.

    Attributes:
        run: folder of the run, below `results/reference`.
        ordering: its entry in the run's table.
        same_rule: whether it was judged by the rule that the page's own run has.
    """

    run: str
    ordering: Traced
    same_rule: bool


@dataclass(frozen=True)
class TableColumn:
    """The published values of one data set.

    Attributes:
        dataset, title: its name in files and in words.
        rows: the published values, each beside its measurements.
        orders: what kept runs say of the order of the rows.
    """

    dataset: str
    title: str
    rows: list[TableRow]
    orders: list[Order] = field(default_factory=list)

    @property
    def measured(self) -> bool:
        """Whether any of them was measured, by a kept run or by the page's own."""
        has_kept = any(row.best is not None for row in self.rows)
        return has_kept or self.ours

    @property
    def ours(self) -> bool:
        """Whether the page's own run measured any of them."""
        return any(row.ours is not None for row in self.rows)


@dataclass
class StatementStates:
    """What the kept runs found of one statement in its full form, by the rule that holds now.

    Attributes:
        statement: its id in protocol.yaml.
        datasets: verdict state -> the data sets on which runs ended in it, by name.
    """

    statement: str
    datasets: dict[str, list[str]] = field(default_factory=dict)

    @property
    def state(self) -> str | None:
        """The state that all these runs ended in; None where they differ, or there is none."""
        states = list(self.datasets)
        if len(states) != 1:
            return None
        return states[0]

    @property
    def differs_by_data(self) -> bool:
        """Whether runs that differ had other data; False where other seeds of the same data do."""
        counts = Counter(chain.from_iterable(self.datasets.values()))
        return max(counts.values(), default=0) <= 1


@dataclass(frozen=True)
class Samples:
    """Samples that a kept run of the generator drew.

    Attributes:
        attributes: of an `img`: the picture and its size.
        file: the picture's name.
        epochs: that the generator was trained for.
    """

    attributes: Markup
    file: str
    epochs: Traced


@dataclass(frozen=True)
class Answer:
    """What stands on the first screen."""

    columns: list[TableColumn]
    statements: list[StatementStates]
    samples: Samples | None

    def ended_in(self, state: str | None) -> list[StatementStates]:
        """The statements whose full-form runs all ended in a state; with None, those that
        differ.
        """
        attempted = [states for states in self.statements if states.datasets]
        return [states for states in attempted if states.state == state]

    @property
    def not_run(self) -> list[StatementStates]:
        """The statements that no run has judged in full form."""
        return [states for states in self.statements if not states.datasets]


def training_files(results: ResultFolder, run: str, model: str) -> list[Path]:
    """The trainings of a model that a kept run has: one, or one of each block of seeds."""
    folder = results.folder / KEPT / run / model
    # A run of one block may have its files in the model's own folder.
    single = list(folder.glob("train.json"))
    of_blocks = sorted(folder.glob("*/train.json"))
    return single + of_blocks


def _epochs(results: ResultFolder, run: str, model: str, dataset: str) -> Traced | None:
    """How long a kept run trained a model: of several blocks of seeds, the shortest."""
    epochs: list[Traced] = []
    for path in training_files(results, run, model):
        name = path.relative_to(results.folder).as_posix()
        training = results.read(name)
        if training["dataset"] == dataset:
            epochs.append(training["epochs"])
    # The shortest, so that no block is said to have been trained for longer than it was.
    return min(epochs, key=value_of, default=None)


def measurements(
    tables: Mapping[str, Traced], results: ResultFolder, dataset: str, model: str
) -> list[Measurement]:
    """What the kept runs measured for a cell of Table 1.

    Args:
        tables: folder below `results/reference` -> the `table1.json` that is kept there.
        results: the folder of all results.
        dataset, model: the column and the row.
    """
    measured = []
    for run, table in tables.items():
        for row in table["rows"]:
            if row["model"] != model or dataset not in row["cells"]:
                continue
            cell = row["cells"][dataset]
            if cell["measured"] is not None:
                epochs = _epochs(results, run, model, dataset)
                measured.append(Measurement(run, cell, epochs))
    return measured


def largest(candidates: Iterable[Measurement]) -> Measurement | None:
    """The measurement with the most seeds, and of these the longest; None without any."""
    return max(candidates, key=lambda measurement: measurement.extent, default=None)


def table_columns(
    table: Traced, tables: Mapping[str, Traced], results: ResultFolder
) -> list[TableColumn]:
    """The published values of Table 1, each beside the largest kept measurement of it.

    Args:
        table: `table1.json` of the page's own run.
        tables: folder below `results/reference` -> the `table1.json` that is kept there.
        results: the folder of all results.
    """
    columns = []
    for dataset in table["datasets"]:
        name = dataset["name"]
        rows = []
        for row in table["rows"]:
            # Only rows of the paper's own table have a claim.
            if name not in row["cells"] or row["cells"][name]["claim"] is None:
                continue
            cell = row["cells"][name]
            model = row["model"]
            best = largest(measurements(tables, results, name, model))
            rows.append(TableRow(model, row["title"], cell["published"], best, cell))
        if rows:
            orders = list(_orders(table, tables, name))
            columns.append(TableColumn(name, dataset["title"], rows, orders))
    return columns


def _orders(own: Traced, tables: Mapping[str, Traced], dataset: str) -> Iterator[Order]:
    """The kept runs that attempted the order of the rows on a data set."""
    rules = {
        ordering["claim"]: ordering["verdict"]["protocol_sha256"] for ordering in own["orderings"]
    }
    for run, table in tables.items():
        for ordering in table["orderings"]:
            # A kept run of some rows alone has the orders of all, most of them not attempted.
            is_attempted = ordering["verdict"]["state"] != "not attempted"
            if ordering["dataset"] == dataset and is_attempted:
                same_rule = ordering["verdict"]["protocol_sha256"] == rules.get(ordering["claim"])
                yield Order(run, ordering, same_rule)


def statement_states(cards: Iterable[StatementCard]) -> list[StatementStates]:
    """What the kept runs found of every statement, in the order of the cards.

    A run counts where it had the full form of the experiment and the rule that holds now.
    """
    all_states = []
    for card in cards:
        states = StatementStates(card.statement["statement"])
        for reference in card.full_forms:
            state = reference.statement["state"]
            datasets = states.datasets.setdefault(state, [])
            # Two kept runs on one data set are one answer on it.
            if reference.dataset not in datasets:
                datasets.append(reference.dataset)
        all_states.append(states)
    return all_states


def kept_tables(results: ResultFolder) -> dict[str, Traced]:
    """Folder below `results/reference` -> the `table1.json` that is kept there.

    Studies of something else, such as of the precision, have a folder for each setting; they are no
    measurement of Table 1 and stand one folder deeper.
    """
    tables = {}
    for path in sorted((results.folder / KEPT).glob("*/table1.json")):
        run = path.parent.name
        name = path.relative_to(results.folder).as_posix()
        tables[run] = results.read(name)
    return tables


def _samples(tables: Mapping[str, Traced], results: ResultFolder, dataset: str) -> Samples | None:
    """Samples of the generator by the kept run that trained it longest, of those that have them."""
    pictured: list[tuple[int, Samples]] = []
    for run in tables:
        name = f"{KEPT}/{run}/{SAMPLED_MODEL}/{SAMPLES}"
        path = results.folder / name
        epochs = _epochs(results, run, SAMPLED_MODEL, dataset)
        if path.is_file() and epochs is not None:
            samples = Samples(embedded_png(path), results.display_name(name), epochs)
            pictured.append((value_of(epochs), samples))
    if not pictured:
        return None
    # By the epochs alone: of a tie `max` would go on to compare the samples.
    _, samples = max(pictured, key=lambda entry: entry[0])
    return samples


def answer(
    table: Traced,
    tables: Mapping[str, Traced],
    cards: Sequence[StatementCard],
    results: ResultFolder,
) -> Answer:
    """What stands on the first screen.

    Args:
        table: `table1.json` of the page's own run.
        tables: folder below `results/reference` -> the `table1.json` that is kept there.
        cards: the statements.
        results: the folder of all results.
    """
    columns = table_columns(table, tables, results)
    states = statement_states(cards)
    # MNIST alone: the paper's first figure of samples is of it, and the picture has one place.
    samples = _samples(tables, results, "mnist")
    return Answer(columns, states, samples)


def read_meanings(path: Path) -> dict[str, dict[str, str]]:
    """Statement -> what it asks, and what it means that it holds or fails, each a plain sentence.

    Args:
        path: `report/templates/statements.yaml`.
    """
    with path.open(encoding="utf-8") as stream:
        meanings: dict[str, dict[str, str]] = yaml.safe_load(stream)
    return meanings
