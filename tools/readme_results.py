"""Writes the results into README.md, between its two marks, from the runs that are kept below
results/reference.

python tools/readme_results.py            # writes them
python tools/readme_results.py --check    # exits with 1 where README says something else
"""

import argparse
import statistics
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from replicate.datasets import REGISTRY as DATASETS
from replicate.models import load_model
from replicate.params import load_params
from replicate.records.sourced import ResultFolder, Traced, value_of
from replicate.report.answer import (
    Answer,
    Measurement,
    StatementStates,
    TableColumn,
    TableRow,
    kept_tables,
    largest,
    measurements,
    read_meanings,
    statement_states,
    table_columns,
)
from replicate.report.claim_map import AFTER_TABLE_1, BEFORE_TABLE_1, NAMES
from replicate.report.page import first_lower
from replicate.report.statement_cards import (
    KeptStatement,
    StatementCard,
    in_kept_runs,
    kept_runs,
)
from replicate.storage.files import read_json
from replicate.storage.paths import package_root
from replicate.verdicts.protocol import Protocol, read_protocol

BEGIN = "<!-- results: written by tools/readme_results.py -->"
END = "<!-- end of results -->"
SHORT_BEGIN = "<!-- in short: written by tools/readme_results.py -->"
SHORT_END = "<!-- end of in short -->"
HEADER = """\
| | published | measured here: mean over seeds (SD), or one seed ± | trained | verdict |
|---|---|---|---|---|"""
#: Data set of the rows for scale, and these: model -> what it is.
SCALE_DATASET = "mnist"
SCALE_ROWS = {
    "true_distribution": "training images as samples",
    "k_means": "k-means centroids of training images as samples",
}
#: Verdict state -> the words before its statements, and what each of them has beside its name.
LEADS = {
    "not replicated": ("**Not replicated** (at least one check says the opposite)", "fails"),
    "inconclusive": ("**Inconclusive** (an interval covers its threshold)", "asks"),
    "withheld": ("**Withheld** (too few seeds for a verdict)", "asks"),
}
#: The sampler that decides the rows of Table 1 (protocol.yaml).
TABLE_SAMPLER = "published"
STUDENT_PAGE = "docs/what-the-paper-says.md"
#: Statement -> the question that a chapter of the student page answers, and its heading.
CHAPTERS = {
    "H1": ("early or late in training?", "#5-synchrony-and-the-helvetica-scenario"),
    "E1": ("variance or bias?", "#6-the-parzen-window"),
    "F2": ("how near?", "#7-the-advantages-one-by-one"),
    "X3": ("what is missing?", "#7-the-advantages-one-by-one"),
}
MINUS = "\N{MINUS SIGN}"


def number(value: float, decimals: int = 1) -> str:
    """A number as README shows it, with a true minus sign."""
    return f"{value:.{decimals}f}".replace("-", MINUS)


def published(row: TableRow) -> str:
    """The paper's value with its standard error."""
    value = value_of(row.published)
    return f"{value['log_likelihood']:g} ± {value['standard_error']:g}"


def measured(measurement: Measurement) -> str:
    """Mean over seeds and their standard deviation, or the standard error of a single seed."""
    value = value_of(measurement.cell["measured"])
    mean = number(value["mean"])
    if value["sd_over_seeds"] is None:
        return f"{mean} ± {number(value['standard_error_test'])}"
    return f"{mean} (SD {number(value['sd_over_seeds'])})"


def trained(measurement: Measurement, whole: int | None = None, with_epochs: bool = True) -> str:
    """Seeds and epochs, with a link to the run.

    Args:
        whole: epochs of the recipe, named where the run had fewer.
        with_epochs: False for rows that train nothing.
    """
    seeds = len(measurement.cell["measured"]["seeds"])
    words = "1 seed" if seeds == 1 else f"{seeds} seeds"
    if with_epochs and measurement.epochs is not None:
        epochs = value_of(measurement.epochs)
        is_short = whole is not None and epochs < whole
        words += f", {epochs:,} of {whole:,} epochs" if is_short else f", all {epochs:,} epochs"
    return f"[{words}](results/reference/{measurement.run})"


def epochs_of_recipes(root: Path) -> dict[str, int]:
    """Model -> epochs that its recipe has in the preset that measures Table 1's MNIST column."""
    params = load_params(str(root / "presets/mnist.yaml"))
    epochs = {}
    for dataset, model, _ in params.runs:
        changes = params.models[model][dataset]
        epochs[model] = load_model(model).config_for(dataset, changes).epochs
    return epochs


def table_rows(column: TableColumn, recipe_epochs: Mapping[str, int]) -> Iterator[str]:
    """The rows of a data set as Markdown."""
    for row in column.rows:
        title = f"{row.title}, {column.title}"
        if row.best is None:
            yield f"| {title} | {published(row)} | | | not attempted |"
            continue
        verdict = row.best.cell["verdict"]
        whole = recipe_epochs.get(row.model)
        epochs = row.best.epochs
        reasons = [verdict["reason"]] if verdict["reason"] else []
        if whole and epochs is not None and value_of(epochs) < whole:
            reasons.append("training was cut short")
        words = f"{verdict['state']}: {'; '.join(reasons)}" if reasons else verdict["state"]
        yield (
            f"| {title} | {published(row)} | {measured(row.best)} | {trained(row.best, whole)} "
            f"| {words} |"
        )


def dataset_title(name: str) -> str:
    """A data set's title; what an experiment draws for itself has none."""
    return DATASETS[name][0] if name in DATASETS else name


def name_of(states: StatementStates) -> str:
    """A statement's name in a few words, inside a sentence."""
    return first_lower(NAMES.get(states.statement, states.statement))


def scale_rows(tables: Mapping[str, Traced], results: ResultFolder) -> Iterator[str]:
    """The rows without training on the data set of the paper: what the measure gives to images that
    no model drew.
    """
    for model, words in SCALE_ROWS.items():
        best = largest(measurements(tables, results, SCALE_DATASET, model))
        if best is not None:
            title = f"*For scale: {words}, {DATASETS[SCALE_DATASET][0]}*"
            seeds = trained(best, with_epochs=False)
            yield f"| {title} | | {measured(best)} | {seeds} | no model |"


def sampler_means(folder: Path) -> list[float]:
    """The mean log-likelihood of a kept model by each way to run its chains but the table's, the
    lowest first.

    Args:
        folder: of the model in a kept run, with a folder for each block of seeds.
    """
    values: dict[str, list[float]] = {}
    for path in sorted(folder.glob("*/samplers.json")):
        for sampler, entry in read_json(path)["samplers"].items():
            if sampler == TABLE_SAMPLER:
                continue
            for draws in entry["per_seed"]:
                values.setdefault(sampler, []).extend(draw["log_likelihood"] for draw in draws)
    return sorted(map(statistics.fmean, values.values()))


def sampler_sentence(columns: Sequence[TableColumn], results: ResultFolder) -> Iterator[str]:
    """How far the chains decide a row of Table 1, for each row whose chains were compared."""
    ranges = []
    for column in columns:
        for row in column.rows:
            if row.best is None:
                continue
            folder = results.folder / "reference" / row.best.run / row.model
            means = sampler_means(folder)
            if means:
                ends = f"{number(means[0], 0)} to {number(means[-1], 0)} nats"
                ranges.append(f"{ends} ({row.title})")
    if ranges:
        yield ""
        yield (
            "Some models draw images with a Markov chain, each image from the one before, and how "
            "the chain is run decides the value. The table takes one long chain (the mean of two). "
            f"Other ways to run chains with the very same weights give {' and '.join(ranges)}, "
            "means over seeds "
            "([the ways](docs/faq.md#why-is-a-dbn-at-138-nats-here-and-at-245-there)). The papers "
            "do not say how theirs were run: one reason why ours may differ."
        )


def order_sentence(
    column: TableColumn, tables: Mapping[str, Traced], protocol: Protocol
) -> Iterator[str]:
    """The verdict on the order of a column's rows, of the kept runs that measured all of them."""
    claim = f"T1r/{column.dataset}"
    states = set()
    for table in tables.values():
        for ordering in table["orderings"]:
            state = ordering["verdict"]["state"]
            if ordering["claim"] == claim and state != "not attempted":
                states.add(state)
    if not states:
        return
    rule = protocol.directional[claim]
    reason = f", because {rule.awaits}" if rule.awaits else ""
    titles = {row.model: row.title for row in column.rows}
    rivals = ", ".join(titles[rival] for rival in rule.ahead_of)
    yield ""
    yield (
        f"The order of the rows on {column.title}, {first_lower(titles[rule.model])} ahead of "
        f"{rivals}: **{' and '.join(sorted(states))}**{reason} "
        "([the rule](docs/protocol.md#4-the-verdict-on-the-order-of-the-rows))."
    )


@dataclass(frozen=True)
class Statements:
    """The statements in words, as the kept runs judged them.

    Attributes:
        answer: which of them ended in which state.
        cards: statement -> its kept runs.
        meanings: statement -> its plain sentences (`report/templates/statements.yaml`).
    """

    answer: Answer
    cards: Mapping[str, StatementCard]
    meanings: Mapping[str, Mapping[str, str]]

    def item(self, states: StatementStates, meaning: str, outcome: str = "") -> str:
        """A list item of one statement: its name, what came out where that has several parts, a
        plain sentence, and where to read more.
        """
        statement = states.statement
        name = NAMES.get(statement, statement)
        # An outcome by parts names the data of each part itself.
        data = "" if outcome else self.data(states)
        code = f"{self.code(statement)}{data}"
        text = f"*{name}* ({code}; {self.source(statement)}){outcome}: "
        text += self.meanings[statement][meaning]
        failed = self.failed_checks(statement) if meaning == "fails" else ""
        details = [failed] if failed else []
        if statement in CHAPTERS:
            question, heading = CHAPTERS[statement]
            details.append(f"[{question}]({STUDENT_PAGE}{heading})")
        return f"  - {text} ({'; '.join(details)})" if details else f"  - {text}"

    def source(self, statement: str) -> str:
        """Who says it: the paper, or somebody after it."""
        if "place" in self.meanings[statement]:
            return "the paper"
        return next(group for group, names in AFTER_TABLE_1.items() if statement in names).lower()

    def code(self, statement: str) -> str:
        """Its name in the protocol, with a link to the kept run that has the most seeds."""
        run = self.cards[statement].full_form
        if run is None:
            return statement
        return f"[{statement}](results/reference/statements/{run.name})"

    def data(self, states: StatementStates) -> str:
        """The data of its runs, to stand behind its name; empty where there is no run."""
        names = set(chain.from_iterable(states.datasets.values()))
        titles = [first_lower(title) for title in map(dataset_title, sorted(names))]
        return f", {' and '.join(titles)}" if titles else ""

    def failed_checks(self, statement: str) -> str:
        """How many checks contradict it in the run with the most seeds."""
        run = self.cards[statement].full_form
        if run is None:
            return ""
        checks = value_of(run.statement["checks"])
        failed = [check for check in checks if check["state"] == "not replicated"]
        return f"{len(failed)} of {len(checks)} checks contradict it"

    def lines(self) -> Iterator[str]:
        """What became of the statements, a list item for each state."""
        replicated = self.answer.ended_in("replicated")
        if replicated:
            yield (
                f"- **Replicated** in every [kept run](results/reference/README.md#statements) "
                f"({self.extent()}):"
            )
            yield from self.by_group(replicated)
        for state, (lead, meaning) in LEADS.items():
            statements = self.answer.ended_in(state)
            if statements:
                yield f"- {lead}:"
                yield from (self.item(states, meaning) for states in statements)
        mixed = self.answer.ended_in(None)
        by_data = [states for states in mixed if states.differs_by_data]
        if by_data:
            yield "- **Depends on the data**:"
            yield from map(self.item_by_data, by_data)
        by_seeds = [states for states in mixed if not states.differs_by_data]
        if by_seeds:
            yield "- **Depends on the seeds** (runs on the same data end differently):"
            yield from map(self.item_by_seeds, by_seeds)
        if self.answer.not_run:
            yield "- **Not judged yet**:"
            yield from (self.item(states, "asks") for states in self.answer.not_run)

    def by_group(self, statements: Sequence[StatementStates]) -> Iterator[str]:
        """A list item for each part of the paper: the names of its statements among these."""
        for group, names in (BEFORE_TABLE_1 | AFTER_TABLE_1).items():
            items = [
                f"{name_of(states)} ({self.code(states.statement)}{self.data(states)})"
                for states in statements
                if states.statement in names
            ]
            if items:
                yield f"  - {group}: {', '.join(items)}."

    def item_by_seeds(self, states: StatementStates) -> str:
        """A list item of a statement on which runs on the same data differ."""
        return self.item(states, "asks", f", {' and '.join(states.datasets)} in different runs")

    def item_by_data(self, states: StatementStates) -> str:
        """A list item of a statement on which the runs differ, with the data of each state."""
        outcomes = []
        for state, datasets in states.datasets.items():
            titles = map(dataset_title, datasets)
            outcomes.append(f"{state} on {' and '.join(titles)}")
        return self.item(states, "asks", f", {', '.join(outcomes)}")

    def extent(self) -> str:
        """How many runs judged a replicated statement, and with how many seeds."""
        runs: list[int] = []
        seeds: list[int] = []
        for states in self.answer.ended_in("replicated"):
            full_forms = self.cards[states.statement].full_forms
            runs.append(len(full_forms))
            for run in full_forms:
                seeds += seed_counts(run)
        return (
            f"{span(runs)} runs of each by today's rule, {span(seeds)} seeds a run; digits are "
            "8x8, synthetic data are drawn from known distributions"
        )

    def earlier_rules(self) -> Iterator[str]:
        """The statements that an earlier version of the rules had judged otherwise."""
        changed = []
        for statement, card in self.cards.items():
            earlier = {
                run.statement["state"]
                for run in card.references
                if not run.same_rule and run.statement["changed"] is None
            }
            if earlier - set(card.full_form_states):
                name = NAMES.get(statement, statement)
                changed.append(f"{name} ({' and '.join(sorted(earlier))})")
        if changed:
            yield ""
            yield (
                "Some rules were made stricter after results were known, since too little had "
                "satisfied them ([which, and why](docs/protocol.md#6-statements-beside-table-1)). "
                f"By earlier rules these verdicts were different: {', '.join(changed)}."
            )


def seed_counts(run: KeptStatement) -> list[int]:
    """How many seeds each check of a kept run has; none for exact numbers."""
    checks = value_of(run.statement["checks"])
    return [len(check["per_seed"]) for check in checks if check["per_seed"] is not None]


def span(counts: Sequence[int]) -> str:
    """The least and the largest of some counts, in words."""
    least, most = min(counts), max(counts)
    return str(least) if least == most else f"{least} to {most}"


def read_cards(results: ResultFolder, protocol: Protocol) -> list[StatementCard]:
    """The statements of the protocol with their kept runs."""
    runs = kept_runs(results)
    cards = []
    for statement in protocol.statements:
        rule = protocol.statement_sha256(statement)
        entry = {"statement": statement, "protocol_sha256": rule}
        traced = Traced("protocol.yaml", "", entry)
        kept = list(in_kept_runs(traced, runs))
        cards.append(StatementCard(statement=traced, references=kept))
    return cards


def is_measured(column: TableColumn) -> bool:
    """Whether some row of a data set was measured."""
    return any(row.best for row in column.rows)


def column_in_short(column: TableColumn) -> str:
    """What became of the measured rows of a data set, in a sentence."""
    decided = []
    undecided = []
    for row in column.rows:
        if row.best is None:
            continue
        state = row.best.cell["verdict"]["state"]
        if state in ("withheld", "inconclusive"):
            undecided.append(row.title)
        else:
            ours, theirs = measured(row.best), published(row)
            decided.append(f"{row.title} is {state}, with {ours} nats where {theirs} are published")
    clauses = decided
    if undecided:
        names = ", ".join(undecided)
        reasons = "for the reasons in the table's last column"
        clauses = [*decided, f"there is no verdict yet on {names}, {reasons}"]
    return f"in Table 1 on {column.title}, {'; '.join(clauses)}."


def in_short(answer: Answer, meanings: Mapping[str, Mapping[str, str]]) -> str:
    """What was found, in a line: what became of the measured rows of Table 1, and how many
    statements ended how.
    """
    table = " ".join(map(column_in_short, filter(is_measured, answer.columns)))
    # Those of the paper have a place in it.
    of_paper = [states for states in answer.statements if "place" in meanings[states.statement]]
    others = [states for states in answer.statements if states not in of_paper]
    return (
        f"In short: {table} Of {len(of_paper)} statements of the paper in words "
        f"{_counts(of_paper)}; of {len(others)} of a lecture and of later work {_counts(others)}."
    )


def _counts(statements: Sequence[StatementStates]) -> str:
    """How many of them ended how."""
    counts = Counter(states.state for states in statements)
    replicated, failed = counts["replicated"], counts["not replicated"]
    rest = len(statements) - replicated - failed
    return (
        f"{replicated} were replicated, {failed} not, and {rest} are open or depend on data or "
        "seeds"
    )


def results_texts(root: Path) -> tuple[str, str]:
    """What was found in short, and the results, as Markdown with the marks around them."""
    results = ResultFolder(root / "results")
    tables = kept_tables(results)
    protocol = read_protocol(root / "protocol.yaml")
    cards = read_cards(results, protocol)
    any_table = next(iter(tables.values()))
    answer = Answer(table_columns(any_table, tables, results), statement_states(cards), None)
    meanings = read_meanings(root / "report/templates/statements.yaml")
    by_name = {str(card.statement["statement"]): card for card in cards}
    statements = Statements(answer, by_name, meanings)
    recipe_epochs = epochs_of_recipes(root)
    lines = [BEGIN, HEADER]
    for column in answer.columns:
        lines += table_rows(column, recipe_epochs)
        if column.dataset == SCALE_DATASET:
            lines += scale_rows(tables, results)
    lines += sampler_sentence(answer.columns, results)
    for column in answer.columns:
        lines += order_sentence(column, tables, protocol)
    lines += [
        "",
        f"The {len(answer.statements)} statements in words, each judged by checks: numbers with an "
        "interval and a threshold ([every rule](docs/protocol.md#6-statements-beside-table-1)):",
        "",
    ]
    lines += statements.lines()
    lines += statements.earlier_rules()
    lines += [END]
    short = f"{SHORT_BEGIN}\n{in_short(answer, meanings)}\n{SHORT_END}"
    return short, "\n".join(lines)


def with_results(readme: str, texts: tuple[str, str]) -> str:
    """README with each text between its marks.

    Raises:
        ValueError: a mark is missing.
    """
    marks = ((SHORT_BEGIN, SHORT_END), (BEGIN, END))
    for (begin, end), text in zip(marks, texts, strict=True):
        before, begun, rest = readme.partition(begin)
        _, ended, after = rest.partition(end)
        if not begun or not ended:
            raise ValueError(f"README.md lacks the mark {begin} or {end}; put both back.")
        readme = before + text + after
    return readme


def main() -> None:
    """Writes or compares."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    arguments = parser.parse_args()
    root = package_root()
    path = root / "README.md"
    readme = path.read_text(encoding="utf-8")
    written = with_results(readme, results_texts(root))
    if not arguments.check:
        path.write_text(written, encoding="utf-8")
        print(f"readme_results: wrote {path}")
    elif written != readme:
        sys.exit("README.md does not tell the kept results; run tools/readme_results.py.")


if __name__ == "__main__":
    main()
