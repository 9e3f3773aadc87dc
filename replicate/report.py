"""The page: gathers result files into what the templates in report/templates show. Computes no number itself."""

import base64
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError, UndefinedError
from markupsafe import Markup
from PIL import Image

from replicate.codedigest import package_root
from replicate.comparison.beside import Beside, section
from replicate.datasets import REGISTRY as DATASETS
from replicate.errors import ReplicateError
from replicate.figures import curves, theme
from replicate.figures.embedding import slim
from replicate.overview import picture, row_anchor
from replicate.params import Params
from replicate.provenance import Step, backends, environments, records, steps
from replicate.traced import ResultFolder, Traced, as_json, number, plain, seed_list, setting, text, traced, where

#: A preset whose numbers are for trying the pipeline out, not for comparing.
TRIALS = frozenset({"demo", "smoke"})
#: Width in CSS pixels that an image grid is enlarged to, by a whole factor.
GRID_WIDTH = 400
#: Numbers that a table below a plot may hold; where there are more, the page has them as a download.
TABLE_NUMBERS = 600
#: What counts the draws and folds in the heads of such tables: digits on the page come from result files alone.
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


class Missing(StrictUndefined):
    """A value that a template asks for and no result file holds: an error that names the place."""

    @property
    def _undefined_message(self) -> str:
        if isinstance(self._undefined_obj, Traced):
            return f"{where(self._undefined_obj)} has no {self._undefined_name!r}"
        return super()._undefined_message


@dataclass(frozen=True)
class Run:
    """One training job: a model on a data set for a block of seeds, with its results, pictures and run records.

    `costs` holds the records of its stages, by the folder of their results, where they were kept.
    """

    dataset: str
    model: str
    block: str
    training: Traced
    evaluation: Traced
    bandwidth: Traced
    panels: Traced
    recognition: Traced
    pictures: Mapping[str, Markup] = field(default_factory=dict)
    costs: Mapping[str, Traced] = field(default_factory=dict)

    @property
    def effective_samples(self) -> Traced | None:
        """The smallest effective sample size of any seed and draw."""
        draws = (draw for entry in self.evaluation["per_seed"] for draw in entry["draws"])
        known = [draw["effective_samples"] for draw in draws if draw["effective_samples"] is not None]
        return min(known, key=plain, default=None)

    def recognised(self, what: str) -> list[Traced]:
        """The least and the largest over seeds of a number of the stage `recognise`; none where no seed has it."""
        known = [entry[what] for entry in self.recognition["per_seed"] if entry[what] is not None]
        return [min(known, key=plain), max(known, key=plain)] if known else []

    @property
    def anchor(self) -> str:
        """Id of the run's section."""
        return f"run-{self.dataset}-{self.model}-{self.block}"


def run_of(results: ResultFolder, dataset: str, model: str, block: str) -> Run:
    """All results of one training job."""
    stem, panels = f"{dataset}/{model}/{block}", f"panels/{dataset}/{model}/{block}"
    folder = results.folder / panels
    grids = [name for name in ("samples", "interpolation") if (folder / f"{name}.png").exists()]
    pictures = {name: embedded_png(folder / f"{name}.png") for name in grids}
    pictures |= {name: embedded_svg(folder / f"{name}.svg") for name in ("learning", "bandwidth")}
    return Run(
        dataset,
        model,
        block,
        training=results.read(f"train/{stem}.json"),
        evaluation=results.read(f"evaluation/{stem}.json"),
        bandwidth=results.read(f"bandwidth/{stem}.json"),
        panels=results.read(f"{panels}/panels.json"),
        recognition=results.read(f"recognition/{stem}.json"),
        pictures=pictures,
        costs={
            kind: results.read(f"{kind}/{stem}.run.json")
            for kind in ("train", "samples")
            if (results.folder / f"{kind}/{stem}.run.json").exists()
        },
    )


def statements_of(claims: Traced, results: ResultFolder, made: Iterable[Step]) -> list[dict[str, Any]]:
    """Every statement of the paper beside Table 1: its figures, how it was made, and what reference runs found.

    A figure stands under the first statement of its experiment alone, for its ids must not occur twice.
    """
    kept = {
        path.parent.name: results.read(path.relative_to(results.folder).as_posix())
        for path in sorted(results.folder.glob("reference/statements/*/claims.json"))
    }
    steps_of = {step.file: step for step in made}
    shown: set[str] = set()
    found = []
    for claim in claims["claims"]:
        figures: list[dict[str, Any]] = []
        data: Traced | None = None
        name = claim["experiment"]
        if name is not None and name not in shown:
            shown.add(name)
            drawn = results.read(f"figures/{name}/figures.json")
            for figure in drawn["figures"]:
                path = results.folder / f"figures/{name}/{figure['name']}.svg"
                figures.append({"svg": embedded_svg(path, "draw"), "source": figure})
            if figures:
                data = results.read(f"experiments/{name}.json")
        references = [
            {"name": run, "claim": other}
            for run, of_run in kept.items()
            for other in of_run["claims"]
            if other["claim"] == claim["claim"] and other["state"] != "not attempted"
        ]
        step = steps_of.get(claim["result"]) if claim["result"] is not None else None
        found.append({"claim": claim, "figures": figures, "data": data, "step": step, "references": references})
    return found


def counted(claims: Traced) -> list[dict[str, Any]]:
    """How many statements have each verdict state, in the order in which the summary tells them."""
    return [
        {"state": state, "words": words, "count": claims["counts"][state]}
        for state, words in COUNTED.items()
        if state in claims["counts"]
    ]


def of_kind(rows: Traced, kind: str) -> list[Traced]:
    """The rows of a table that are models, or reference rows; a table of an earlier version has models only."""
    return [row for row in rows if plain(row).get("kind", "model") == kind]


def measured_on(rows: Iterable[Traced], dataset: str) -> list[Traced]:
    """The rows that were measured on a data set."""
    return [row for row in rows if dataset in row["cells"] and row["cells"][dataset]["measured"] is not None]


def tuning_of(result: Traced, titles: Mapping[str, str]) -> dict[str, Any]:
    """The trials on one data set; per model the best and the median one, None where every trial failed."""
    models = []
    for name in result["models"]:
        trials = list(result["models"][name])
        sound = [trial for trial in trials if trial["log_likelihood"] is not None]
        ordered = sorted(sound, key=lambda trial: float(plain(trial["log_likelihood"])))
        models.append(
            {
                "title": titles.get(name, name),
                "trials": trials,
                "best": ordered[-1] if ordered else None,
                "median": ordered[(len(ordered) - 1) // 2] if ordered else None,
            }
        )
    return {"result": result, "models": models}


def embedded_png(path: Path) -> Markup:
    """Attributes of an `img`: the file as a data address, and its size enlarged by a whole factor."""
    content = path.read_bytes()
    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            width, height = image.size
    except (OSError, SyntaxError):
        raise ReplicateError(f"{path} is not a whole PNG file; run the stage `panels` again.") from None
    factor = max(1, round(GRID_WIDTH / width))
    address = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    return Markup('src="{}" width="{}" height="{}"').format(address, width * factor, height * factor)


def embedded_svg(path: Path, stage: str = "panels") -> Markup:
    """An SVG file of this project, checked: no script, no inline style, no address but its own ids."""
    try:
        return Markup(slim(theme.checked_svg(path.read_bytes())))
    except FileNotFoundError:
        raise ReplicateError(f"{path} does not exist; run the stage `{stage}` first.") from None
    except ValueError as error:
        raise ReplicateError(f"{path} {error}; run the stage `{stage}` again.") from None


def claims(table: Traced) -> Iterator[dict[str, Any]]:
    """Every claim of Table 1 in the paper's order: data set by data set, row by row."""
    for dataset in table["datasets"]:
        for row in table["rows"]:
            if dataset["name"] in row["cells"] and row["cells"][dataset["name"]]["claim"] is not None:
                yield {"dataset": dataset, "row": row, "verdict": row["cells"][dataset["name"]]["verdict"]}


#: Verdict states in the order in which the summary tells them, with the words that lead to the claims.
OPENINGS = {
    "replicated": "replicated",
    "exceeds": "exceeds the published value of",
    "not inferior": "does not fall short of the published value of",
    "not replicated": "did not replicate",
    "inconclusive": "could not decide on",
    "withheld": "withholds its verdict on",
    "not applicable": "cannot be applied to",
    "no published value": "has no published value for",
    "not attempted": "did not attempt",
}
#: The same with the words that lead to a number of statements.
COUNTED = {
    "replicated": "replicated",
    "not replicated": "not replicated",
    "inconclusive": "inconclusive",
    "withheld": "withheld",
    "not applicable": "not applicable here",
    "not attempted": "not attempted",
}
#: States whose words deny something: "did not attempt any row on X or on Y".
DENIALS = frozenset({"not replicated", "inconclusive", "not applicable", "no published value", "not attempted"})


def outcome(table: Traced) -> list[dict[str, Any]]:
    """What the run found, one entry a verdict state: the words, and the claims with that state.

    A data set whose rows all have the same state is told as one.
    """
    by_state: dict[str, list[str]] = {}
    for dataset in table["datasets"]:
        of_set = [claim for claim in claims(table) if claim["dataset"]["name"] == dataset["name"]]
        states = {claim["verdict"]["state"] for claim in of_set}
        if len(of_set) > 1 and len(states) == 1:
            state = states.pop()
            extent = "any" if state in DENIALS else "every"
            by_state.setdefault(state, []).append(f"{extent} row on {dataset['title']}")
        else:
            for claim in of_set:
                name = f"{claim['row']['title']} on {dataset['title']}"
                by_state.setdefault(claim["verdict"]["state"], []).append(name)
    return [
        {"state": state, "opening": words, "names": by_state[state], "last": "or" if state in DENIALS else "and"}
        for state, words in OPENINGS.items()
        if state in by_state
    ]


def dot_plot(table: Traced, dataset: Traced, run: str = "") -> Markup | None:
    """Every seed of every model on one data set, against the published values where there are any.

    Args:
        table: of this run, or of a kept one.
        dataset: an entry of its data sets.
        run: names a kept run.
    """
    rows = []
    for row in plain(table["rows"]):
        cell = row["cells"].get(dataset["name"])
        if cell is None or (cell["measured"] is None and cell["published"] is None):
            continue
        per_seed = (cell["measured"] or {}).get("per_seed", [])
        rows.append(
            {
                "title": row["title"],
                "published": cell["published"],
                "failed": len((cell["measured"] or {}).get("failed", [])),
                "seeds": [(entry["seed"], entry["log_likelihood"]) for entry in per_seed],
            }
        )
    if not any(row["seeds"] for row in rows):
        return None
    title = f"Test log-likelihood of every seed on {dataset['title']}" + (f", reference run {run}" if run else "")
    return Markup(slim(theme.checked_svg(curves.dots(rows, title, f"dots/{run}/{dataset['name']}"))))


def ordinal(place: int) -> str:
    """`first` for 0; words, so that they are told from measured numbers."""
    return ORDINALS[place] if place < len(ORDINALS) else "later"


def rank(state: str) -> int:
    """The place of a verdict among all, for sorting."""
    return list(OPENINGS).index(state)


def data_id(place: Traced) -> str:
    """Id of the element that holds a result file's content for its download."""
    return "data-" + where(place).removesuffix("#").removeprefix("results/").removesuffix(".json").replace("/", "-")


def data_element(place: Traced) -> Markup:
    """A result file's content in the page: a script element that is data, which nothing runs."""
    content = json.dumps(plain(place), sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # In JSON these stand inside strings only; as escapes they can neither end the element nor open a comment.
    content = content.replace("<", "\\u003c").replace(">", "\\u003e")
    return Markup('<script type="application/json" id="{}">{}</script>').format(data_id(place), Markup(content))


def kept_table(name: str, table: Traced) -> dict[str, Any]:
    """The table of a kept run with its folder's name, and the dot plots of the data sets that it measured."""
    dots = {dataset["title"]: dot_plot(table, dataset, name) for dataset in table["datasets"] if dataset["published"]}
    return {"name": name, "table": table, "dots": {title: plot for title, plot in dots.items() if plot}}


def protocols(*results: Traced) -> list[str]:
    """The SHA-256 of the protocol that decided these results: one, unless it was changed in between."""
    given = (plain(one["inputs"]).get("protocol") for one in results)
    return list(dict.fromkeys(digest for digest in given if digest is not None))


def asset(folder: Path, *names: str) -> dict[str, Markup]:
    """A style sheet or script, of one file or several, with the hash that the content-security policy allows it by."""
    text = "".join((folder / "assets" / name).read_text(encoding="utf-8") for name in names)
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return {"text": Markup(text), "hash": Markup(f"sha256-{digest}")}


def environment(folder: Path, styles: Sequence[str]) -> Environment:
    """Jinja as the page needs it: everything escaped, nothing undefined, numbers only with their source.

    Args:
        folder: templates and assets.
        styles: the style sheets of the page, in their order.
    """
    jinja = Environment(
        loader=FileSystemLoader(folder / "templates"),
        autoescape=True,
        undefined=Missing,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    jinja.filters |= {
        "text": text,
        "number": number,
        "json": as_json,
        "plain": plain,
        "seeds": seed_list,
        "setting": setting,
        "file": lambda place: where(place).removesuffix("#"),
        "ordinal": ordinal,
        "rank": rank,
        "data_id": data_id,
        "data_element": data_element,
        "of_kind": of_kind,
        "measured_on": measured_on,
    }
    jinja.globals |= {"style": asset(folder, *styles), "script": asset(folder, "script.js"), "trials": TRIALS}
    jinja.globals |= {"row_anchor": row_anchor, "table_numbers": TABLE_NUMBERS}
    return jinja


def page(
    params: Params, table_path: Path, results_folder: Path, folder: Path | None = None, beside: Beside | None = None
) -> str:
    """The whole page as HTML.

    Args:
        params: of the run: which data sets, models and blocks of seeds it has.
        table_path: `table1.json`.
        results_folder: the folder that holds all other results.
        folder: templates and assets; by default the project's `report/`.
        beside: another run beside this one, which has a section of its own; by default there is none.
    """
    results, folder = ResultFolder(results_folder), folder or package_root() / "report"
    table = traced(results.shown("table1.json"), table_path)
    made = list(steps(params, results, table_path))
    kept = records(made, results)
    titles = {row["model"]: row["title"] for row in table["rows"]}
    references = {
        path.parent.name: results.read(path.relative_to(results_folder).as_posix())
        for path in sorted(results_folder.glob("reference/*/table1.json"))
    }
    found = results.read("claims.json")
    statements = statements_of(found, results, made)
    context = {
        "table": table,
        "outcome": outcome(table),
        "picture": picture(table, statements, references, results),
        "data": {name: results.read(f"data/{name}.json") for name in params.datasets},
        "dots": {dataset["name"]: dot_plot(table, dataset) for dataset in table["datasets"]},
        "statements": statements,
        "names": {name: title for name, (title, _) in DATASETS.items()},
        "counts": counted(found),
        "runs": [run_of(results, *one) for one in params.runs],
        "titles": titles,
        "tunings": [
            tuning_of(results.read(path.relative_to(results_folder).as_posix()), titles)
            for path in sorted(results_folder.glob("tuning/*.json"))
            if not path.name.endswith(".run.json")
        ],
        "references": [kept_table(name, kept) for name, kept in references.items()],
        "protocols": protocols(table, found),
        "steps": made,
        "records": kept,
        "environments": environments(kept),
        "beside": section(beside) if beside else None,
        "backends": backends(kept),
    }
    styles = ("style.css", "beside.css") if beside else ("style.css",)  # the page without the section keeps its bytes
    try:
        return environment(folder, styles).get_template("page.html.j2").render(context)
    except UndefinedError as error:
        raise ReplicateError(
            f"the report cannot be built: {error.message}; run the stage that makes it again."
        ) from None
    except TemplateError as error:
        raise ReplicateError(f"the report's template is broken: {error}.") from None
