"""The page: gathers result files into what the templates in report/templates show.

No number is computed here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError, UndefinedError
from markupsafe import Markup

from replicate.comparison.beside import Beside, section
from replicate.datasets import REGISTRY as DATASETS
from replicate.errors import ReplicateError
from replicate.jobs.job_list import JobList
from replicate.measures.controls_list import TRUTH
from replicate.models.parts.samplers import TITLES
from replicate.records.sourced import (
    ResultFolder,
    Traced,
    as_code,
    as_json,
    named_once,
    number,
    pointers,
    seed_list,
    setting,
    source_of,
    text,
    traced,
    value_of,
)
from replicate.report import check_words
from replicate.report.analyst import Analyses
from replicate.report.answer import answer, kept_tables, read_meanings
from replicate.report.claim_map import NAMES, claim_map, row_anchor
from replicate.report.embedded import asset, data_element, data_id
from replicate.report.glossary import Glossary
from replicate.report.headline import headline, rank
from replicate.report.html_slim import without_layout
from replicate.report.live_generator import live_generator
from replicate.report.measured_ranks import read_kept_ranks, read_ranks
from replicate.report.ordinals import ordinal
from replicate.report.provenance import Step, backends, environments, records, steps, totals
from replicate.report.seed_plots import dot_plot, samplers_plot
from replicate.report.statement_cards import (
    OWN_DATA,
    deciding_check,
    state_counts,
    statement_cards,
)
from replicate.report.training_jobs import read_training_job
from replicate.storage.paths import package_root

#: A preset whose numbers are for trying the pipeline out, not for comparing.
TRIALS = frozenset({"demo", "smoke"})
#: Numbers that a table below a plot may hold; more of them are a download.
TABLE_NUMBERS = 300
#: The scripts of the page, in their order: what others call comes first.
SCRIPTS = (
    "script.js",
    "hint.js",
    "copy.js",
    "values.js",
    "cards.js",
    "play/network.js",
    "play/game.js",
    "play/game_panel.js",
    "play/generator.js",
    "play/generator_panel.js",
)


class Missing(StrictUndefined):
    """A value that a template asks for and no result file holds: an error that names the place."""

    @property
    def _undefined_message(self) -> str:
        if isinstance(self._undefined_obj, Traced):
            return f"{source_of(self._undefined_obj)} has no {self._undefined_name!r}"
        return super()._undefined_message


#: Words that keep their capital inside a sentence.
PROPER_NAMES = frozenset({"Helvetica"})


@dataclass(frozen=True)
class TunedModel:
    """The trials of one model; the best and the median one, None where every trial failed."""

    title: str
    trials: list[Traced]
    best: Traced | None
    median: Traced | None


@dataclass(frozen=True)
class Tuning:
    """The trials on one data set."""

    result: Traced
    models: list[TunedModel]


@dataclass(frozen=True)
class ComparedSamplers:
    """The rows of one data set whose samplers were compared, each with its title, and their plot.

    `run` is the folder of a kept run, "" for this one. The plot is None where another kept run
    shows more seeds of the same rows.
    """

    run: str
    title: str
    rows: list[tuple[str, Traced]]
    plot: Markup | None

    def is_part_of(self, other: "ComparedSamplers") -> bool:
        """Whether the other one shows all of its rows with more seeds."""
        if other.title != self.title:
            return False
        seeds = {title: len(cell["measured"]["seeds"]) for title, cell in other.rows}
        for title, cell in self.rows:
            if len(cell["measured"]["seeds"]) >= seeds.get(title, 0):
                return False
        return True


@dataclass(frozen=True)
class PlayLink:
    """What the page says of the play page.

    Attributes:
        address: of its file, relative to the page.
        generator: the provenance of its generator; None where it has none.
    """

    address: str
    generator: Traced | None


@dataclass(frozen=True)
class KeptTable:
    """The table of a kept run with its folder's name.

    `dots` has the plots of the data sets that it measured, by their titles.
    """

    name: str
    table: Traced
    dots: dict[str, Markup]

    @property
    def rows(self) -> list[str]:
        """The titles of the rows that it measured."""
        titles = []
        for row in self.table["rows"]:
            cells = [row["cells"][dataset] for dataset in row["cells"]]
            if any(cell["measured"] is not None for cell in cells):
                titles.append(row["title"])
        return titles


def of_kind(rows: Traced, kind: str) -> list[Traced]:
    """The rows of a table that are models, or reference rows.

    A table of an earlier version has models only.
    """
    chosen = []
    for row in rows:
        kind_of_row = value_of(row).get("kind", "model")
        if kind_of_row == kind:
            chosen.append(row)
    return chosen


def measured_on(rows: Iterable[Traced], dataset: str) -> list[Traced]:
    """The rows that were measured on a data set."""
    measured = []
    for row in rows:
        cells = row["cells"]
        if dataset in cells and cells[dataset]["measured"] is not None:
            measured.append(row)
    return measured


def are_alike(entries: Iterable[Traced], *keys: str) -> bool:
    """Whether all entries have the same values under some keys.

    Raises:
        ReplicateError: an entry lacks one of the keys.
    """
    found = []
    for entry in entries:
        for key in keys:
            if key not in entry:
                raise ReplicateError(
                    f"{source_of(entry)} has no {key!r}; run the stage that makes that file again."
                )
        values = [value_of(entry[key]) for key in keys]
        # A list of what was seen, since values may be lists, which no set takes.
        if values not in found:
            found.append(values)
    return len(found) <= 1


def _log_likelihood(trial: Traced) -> float:
    value = value_of(trial["log_likelihood"])
    return float(value)


def _tuning(result: Traced, titles: Mapping[str, str]) -> Tuning:
    """The trials on one data set, with the titles of the models."""
    models = []
    for name in result["models"]:
        trials = list(result["models"][name])
        finished = [trial for trial in trials if trial["log_likelihood"] is not None]
        finished.sort(key=_log_likelihood)
        best, median = None, None
        if finished:
            best = finished[-1]
            # Of two in the middle the lower one: a value that was measured, and no flattering one.
            middle = (len(finished) - 1) // 2
            median = finished[middle]
        # Trials may be of a model that the table has no row for.
        title = titles.get(name, name)
        models.append(TunedModel(title, trials, best, median))
    return Tuning(result, models)


def _compared_samplers(table: Traced, run: str = "") -> list[ComparedSamplers]:
    """The comparisons of samplers in a table, one of each data set."""
    comparisons = []
    for dataset in table["datasets"]:
        name = dataset["name"]
        rows = []
        for row in measured_on(table["rows"], name):
            cell = row["cells"][name]
            measured = cell["measured"]
            # Tables of earlier versions have no such field.
            if "samplers" not in measured:
                continue
            if measured["samplers"]:
                rows.append((row["title"], cell))
        if rows:
            plot = samplers_plot(table, dataset, run)
            comparisons.append(ComparedSamplers(run, dataset["title"], rows, plot))
    return comparisons


def _without_smaller_plots(comparisons: Sequence[ComparedSamplers]) -> list[ComparedSamplers]:
    """Those of kept runs, without the plots whose rows another one shows with more seeds."""
    shown = []
    for comparison in comparisons:
        if any(comparison.is_part_of(other) for other in comparisons):
            comparison = replace(comparison, plot=None)
        shown.append(comparison)
    # The sort is stable, and sets of numbers alone stand below all plots.
    return sorted(shown, key=lambda comparison: comparison.plot is None)


def _kept_table(name: str, table: Traced) -> KeptTable:
    dots = {}
    for dataset in table["datasets"]:
        # Kept runs stand beside the paper's numbers, and other data sets have none.
        if not dataset["published"]:
            continue
        plot = dot_plot(table, dataset, name)
        if plot:
            dots[dataset["title"]] = plot
    return KeptTable(name, table, dots)


def _protocols(*results: Traced) -> list[str]:
    """The SHA-256 of the protocol of these results: one, unless it was changed in between."""
    digests = []
    for result in results:
        inputs = value_of(result["inputs"])
        digest = inputs.get("protocol")
        if digest is not None and digest not in digests:
            digests.append(digest)
    return digests


def _file(value: Traced) -> str:
    """The name of the result file that a value comes from."""
    file, _, _ = source_of(value).partition("#")
    return file


def _step_id(step: Step) -> str:
    """Id of the place that shows a command."""
    below_results = step.file.removeprefix("results/")
    stem = below_results.removesuffix(".json")
    return "made-" + stem.replace("/", "-")


def first_lower(name: str) -> str:
    """A name inside a sentence: "The optimal D" -> "the optimal D"; a proper name stays."""
    first_word, *_ = name.split()
    # An abbreviation such as GMMN has a second capital.
    is_proper = first_word[1:2].isupper() or first_word in PROPER_NAMES
    if is_proper:
        return name
    return name[:1].lower() + name[1:]


def environment(
    folder: Path, styles: Sequence[str], scripts: Sequence[str] = SCRIPTS[:1]
) -> Environment:
    """Jinja as the page needs it.

    Everything is escaped, nothing may be undefined, and numbers stand only with their source.

    Args:
        folder: templates and assets.
        styles: the style sheets of the page, in their order.
        scripts: its scripts, in their order.
    """
    jinja = Environment(
        loader=FileSystemLoader(folder / "templates"),
        autoescape=True,
        # Jinja's own default would print nothing, and the page would lack a number in silence.
        undefined=Missing,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Numbers reach a template through these alone, which write the source beside them.
    jinja.filters |= {
        "text": text,
        "named_once": named_once,
        "pointers": pointers,
        "number": number,
        "json": as_json,
        "code": as_code,
        "value_of": value_of,
        "seeds": seed_list,
        "setting": setting,
        "file": _file,
        "made_id": _step_id,
        "ordinal": ordinal,
        "rank": rank,
        "data_id": data_id,
        "data_element": data_element,
        "of_kind": of_kind,
        "measured_on": measured_on,
        "alike": are_alike,
        "first_lower": first_lower,
        "deciding": deciding_check,
        "is_logarithm": check_words.is_logarithm,
        "says": check_words.says,
        "because": check_words.because,
        "check_measures": check_words.measured,
        "check_measures_alone": check_words.measured_alone,
        "check_value": check_words.value,
    }
    jinja.globals |= {
        "style": asset(folder, *styles),
        "script": asset(folder, *scripts),
        "trials": TRIALS,
        "own_data": OWN_DATA,
        "row_anchor": row_anchor,
        "table_numbers": TABLE_NUMBERS,
    }
    return jinja


def _read_all(results: ResultFolder, pattern: str) -> dict[Path, Traced]:
    """The result files that match a pattern, sorted by their names; run records are left out."""
    contents = {}
    for path in sorted(results.folder.glob(pattern)):
        # A record matches `*.json` as well, and is no result.
        if path.name.endswith(".run.json"):
            continue
        name = path.relative_to(results.folder).as_posix()
        contents[path] = results.read(name)
    return contents


def _context(
    jobs: JobList,
    table_path: Path,
    results: ResultFolder,
    beside: Beside | None,
    folder: Path,
    glossary: Glossary,
) -> dict[str, object]:
    """What the templates take, by name."""
    params = jobs.plan.params
    table = traced(results.display_name("table1.json"), table_path)
    statements = results.read("statements.json")
    commands = steps(jobs, results, table_path)
    run_records = records(commands, results)
    titles = {row["model"]: row["title"] for row in table["rows"]}
    cards = statement_cards(statements, results, commands)
    references = kept_tables(results)
    first_screen = answer(table, references, cards, results)
    samplers = _compared_samplers(table)
    kept_samplers = []
    for name, kept_table in references.items():
        kept_samplers += _compared_samplers(kept_table, name)
    samplers += _without_smaller_plots(kept_samplers)
    trials = _read_all(results, "tuning/*.json").values()
    set_titles = {name: title for name, (title, _) in DATASETS.items()}
    runs = [read_training_job(results, *run) for run in params.runs]
    ranks, measured_sets = read_ranks(results, titles, set_titles)
    return {
        "table": table,
        "headline": headline(first_screen.columns),
        "answer": first_screen,
        "analyses": Analyses(results),
        "statement_names": NAMES,
        "meanings": read_meanings(folder / "templates/statements.yaml"),
        "glossary": glossary,
        "claim_map": claim_map(table, cards, references, results),
        "data": {name: results.read(f"data/{name}.json") for name in params.datasets},
        "dots": {dataset["name"]: dot_plot(table, dataset) for dataset in table["datasets"]},
        "statements": cards,
        "names": set_titles,
        "ranks": ranks,
        "kept_ranks": read_kept_ranks(results, titles, set_titles),
        "truth": TRUTH,
        "measured": measured_sets,
        "counts": state_counts(statements),
        "runs": runs,
        "generator": live_generator(runs, results),
        "titles": titles,
        "tunings": [_tuning(result, titles) for result in trials],
        "samplers": samplers,
        "sampler_titles": TITLES,
        "references": [_kept_table(name, kept_table) for name, kept_table in references.items()],
        "protocols": _protocols(table, statements),
        "steps": commands,
        "records": run_records,
        "environments": environments(run_records),
        "beside": section(beside) if beside else None,
        "backends": backends(run_records),
        "totals": totals(run_records),
    }


def page(
    jobs: JobList,
    table_path: Path,
    results_folder: Path,
    folder: Path | None = None,
    beside: Beside | None = None,
    play: PlayLink | None = None,
) -> str:
    """The whole page as HTML.

    Args:
        jobs: those of the run, with its parameters.
        table_path: `table1.json`.
        results_folder: the folder that holds all other results.
        folder: templates and assets; by default the project's `report/`.
        beside: another run beside this one, which has a section of its own; by default there is
            none.
        play: the play page that is made with this one; by default there is none.

    Raises:
        ReplicateError: a result lacks something that the page shows, or a template is broken.
    """
    folder = folder or package_root() / "report"
    glossary = Glossary.read(folder / "templates/words.yaml")
    results = ResultFolder(results_folder)
    context = _context(jobs, table_path, results, beside, folder, glossary)
    context["play_link"] = play
    # A page without the section keeps its bytes whatever the section's style is.
    styles = ("style.css", "beside.css") if beside else ("style.css",)
    jinja = environment(folder, (*styles, "play.css"), SCRIPTS)
    jinja.filters["explained"] = glossary.linked
    try:
        page = jinja.get_template("page.html.j2").render(context)
        return without_layout(page)
    except UndefinedError as error:
        raise ReplicateError(
            f"the report cannot be built: {error.message}; run the stage that makes it again."
        ) from None
    except TemplateError as error:
        raise ReplicateError(f"the report's template is broken: {error}.") from None
