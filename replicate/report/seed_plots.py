"""Plots of every seed: the rows of Table 1 on one data set, and one row by several samplers."""

from markupsafe import Markup

from replicate.figures import curves, theme
from replicate.models.parts.samplers import TITLES
from replicate.records.schema import MeasuredCell, SeedLogLikelihood, SeedMeans
from replicate.records.sourced import Traced, value_of
from replicate.report.svg_slim import slim


def _seeds(per_seed: list[SeedMeans] | list[SeedLogLikelihood]) -> list[tuple[int, float]]:
    return [(seed["seed"], seed["log_likelihood"]) for seed in per_seed]


def _plot(rows: list[curves.DotRow], title: str, run: str, name: str) -> Markup:
    """The plot as SVG for the page; `run` names a kept run, in which the title says so."""
    # Plots of kept runs stand on the same page as those of this run.
    if run:
        title += f", reference run {run}"
    drawn = curves.dots(rows, title, name)
    # Drawn here, and checked all the same: all SVG of the page passes one gate.
    checked = theme.checked_svg(drawn)
    return Markup(slim(checked))


def dot_plot(table: Traced, dataset: Traced, run: str = "") -> Markup | None:
    """Every seed of every model on one data set, against the published values.

    Args:
        table: of this run, or of a kept one.
        dataset: an entry of its data sets.
        run: names a kept run.

    Returns:
        None where nothing was measured.
    """
    rows: list[curves.DotRow] = []
    for row in value_of(table["rows"]):
        cell = row["cells"].get(dataset["name"])
        if cell is None:
            continue
        measured: MeasuredCell | None = cell["measured"]
        plot_row: curves.DotRow = {
            "title": row["title"],
            "published": cell["published"],
            "failed": 0,
            "seeds": [],
        }
        if measured is not None:
            plot_row["failed"] = len(measured["failed"])
            plot_row["seeds"] = _seeds(measured["per_seed"])
        # A published value without a measurement is a row too: what is missing is to be seen.
        if measured is not None or cell["published"] is not None:
            rows.append(plot_row)
    if not any(row["seeds"] for row in rows):
        return None
    title = f"Test log-likelihood of every seed on {dataset['title']}"
    return _plot(rows, title, run, f"dots/{run}/{dataset['name']}")


def samplers_plot(table: Traced, dataset: Traced, run: str = "") -> Markup | None:
    """Every seed of every row that several samplers drew from, one row a sampler.

    Args:
        table, dataset, run: as those of `dot_plot`.

    Returns:
        None where no samplers were compared.
    """
    rows: list[curves.DotRow] = []
    for row in value_of(table["rows"]):
        cell = row["cells"].get(dataset["name"])
        if cell is None or cell["measured"] is None:
            continue
        measured: MeasuredCell = cell["measured"]
        samplers = measured.get("samplers")
        if samplers is None:
            continue
        for name, summary in samplers["samplers"].items():
            plot_row: curves.DotRow = {
                "title": f"{row['title']}: {TITLES[name]}",
                "published": cell["published"],
                "failed": len(measured["failed"]),
                "seeds": _seeds(summary["per_seed"]),
            }
            rows.append(plot_row)
    if not rows:
        return None
    title = f"One training, several samplers, on {dataset['title']}"
    return _plot(rows, title, run, f"samplers/{run}/{dataset['name']}")
