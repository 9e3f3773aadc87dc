"""The page: gathers result files into what the templates in report/templates show. Computes no number itself."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError, UndefinedError
from markupsafe import Markup

from replicate.codedigest import package_root
from replicate.comparison.beside import Beside, section
from replicate.datasets import REGISTRY as DATASETS
from replicate.embedded import asset, data_element, data_id
from replicate.errors import ReplicateError
from replicate.figures import curves, theme
from replicate.figures.embedding import slim
from replicate.ordinals import ordinal
from replicate.outcome import outcome, rank
from replicate.overview import picture, row_anchor
from replicate.params import Params
from replicate.provenance import backends, environments, records, steps, totals
from replicate.sampling.settings import TITLES
from replicate.statements import counted, statements_of
from replicate.traced import (
    ResultFolder,
    Traced,
    as_json,
    named_once,
    number,
    plain,
    seed_list,
    setting,
    text,
    traced,
    where,
)  # fmt: skip
from replicate.training_run import run_of

#: A preset whose numbers are for trying the pipeline out, not for comparing.
TRIALS = frozenset({"demo", "smoke"})
#: Numbers that a table below a plot may hold; where there are more, the page has them as a download.
TABLE_NUMBERS = 300


class Missing(StrictUndefined):
    """A value that a template asks for and no result file holds: an error that names the place."""

    @property
    def _undefined_message(self) -> str:
        if isinstance(self._undefined_obj, Traced):
            return f"{where(self._undefined_obj)} has no {self._undefined_name!r}"
        return super()._undefined_message


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


def samplers_plot(table: Traced, dataset: Traced, run: str = "") -> Markup | None:
    """Every seed of every row that several samplers drew from, one row a sampler; None where there is none.

    Args:
        table, dataset, run: as those of `dot_plot`.
    """
    rows = []
    for row in plain(table["rows"]):
        cell = row["cells"].get(dataset["name"]) or {"measured": None}
        compared = (cell["measured"] or {}).get("samplers") or {"samplers": {}}
        for name, of_sampler in compared["samplers"].items():
            rows.append(
                {
                    "title": f"{row['title']}: {TITLES[name]}",
                    "published": cell["published"],
                    "failed": len(cell["measured"]["failed"]),
                    "seeds": [(entry["seed"], entry["log_likelihood"]) for entry in of_sampler["per_seed"]],
                }
            )
    if not rows:
        return None
    title = f"One training, several samplers, on {dataset['title']}" + (f", reference run {run}" if run else "")
    return Markup(slim(theme.checked_svg(curves.dots(rows, title, f"samplers/{run}/{dataset['name']}"))))


def samplers_of(table: Traced, run: str = "") -> list[dict[str, Any]]:
    """Per data set of a table: the rows whose samplers were compared, and their plot."""
    found = []
    for dataset in table["datasets"]:
        cells = [(row["title"], row["cells"][dataset["name"]]) for row in measured_on(table["rows"], dataset["name"])]
        rows = [
            (title, cell) for title, cell in cells if "samplers" in cell["measured"] and cell["measured"]["samplers"]
        ]
        if rows:
            plot = samplers_plot(table, dataset, run)
            found.append({"run": run, "title": dataset["title"], "rows": rows, "plot": plot})
    return found


def kept_table(name: str, table: Traced) -> dict[str, Any]:
    """The table of a kept run with its folder's name, and the dot plots of the data sets that it measured."""
    dots = {dataset["title"]: dot_plot(table, dataset, name) for dataset in table["datasets"] if dataset["published"]}
    return {"name": name, "table": table, "dots": {title: plot for title, plot in dots.items() if plot}}


def protocols(*results: Traced) -> list[str]:
    """The SHA-256 of the protocol that decided these results: one, unless it was changed in between."""
    given = (plain(one["inputs"]).get("protocol") for one in results)
    return list(dict.fromkeys(digest for digest in given if digest is not None))


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
        "named_once": named_once,
        "number": number,
        "json": as_json,
        "plain": plain,
        "seeds": seed_list,
        "setting": setting,
        "file": lambda place: where(place).removesuffix("#"),
        "made_id": lambda step: "made-" + step.file.removeprefix("results/").removesuffix(".json").replace("/", "-"),
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
        "samplers": [
            *samplers_of(table),
            *(one for name, kept in references.items() for one in samplers_of(kept, name)),
        ],
        "sampler_titles": TITLES,
        "references": [kept_table(name, kept) for name, kept in references.items()],
        "protocols": protocols(table, found),
        "steps": made,
        "records": kept,
        "environments": environments(kept),
        "beside": section(beside) if beside else None,
        "backends": backends(kept),
        "totals": totals(kept),
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
