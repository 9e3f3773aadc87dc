"""The plot of ranks: a row a model, a column a measure, in each cell the rank with its interval."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from replicate.figures.theme import FAINT, INK, MARKERS, SERIES, canvas, svg
from replicate.measures import REGISTRY
from replicate.records.schema import RankColumn, RankRow, RanksOfDataset

#: Of the width of a cell, what lies between its border and rank 1 or the last rank.
MARGIN = 0.12


def column_title(column: RankColumn) -> str:
    """A measure with its space in words."""
    title = REGISTRY[column["measure"]].title
    return f"{title}, {column['space']}" if column["space"] else title


def ranks(content: RanksOfDataset, titles: Mapping[str, str], title: str, name: str) -> bytes:
    """Draws the models of a data set, the one that the Parzen estimate ranks first at the top.

    Args:
        content: of one data set, with at least one measure that ranks.
        titles: model -> its title.
        title: of the plot.
        name: of the figure, for its ids.
    """
    shown = [n for n, column in enumerate(content["columns"]) if column["ranked"]]
    rows = [row for row in content["rows"] if row["kind"] == "model"]
    # The Parzen estimate is the first measure of the registry, and so of the columns.
    rows.sort(key=lambda row: _mean_rank(row, shown[:1]))
    # Slanted titles below take about two inches, each row a third of one.
    height = 2.0 + 0.3 * len(rows)
    with canvas(width=6.8, height=height) as (figure, (axes,)):
        _draw_cells(axes, rows, shown)
        for place in range(len(shown) + 1):
            axes.axvline(place, color=FAINT, linewidth=0.5)
        axes.set_xlim(0, len(shown))
        # Turned round, so that the first row stands at the top as in a table.
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.grid(visible=False)
        axes.set_yticks(range(len(rows)), [titles.get(row["name"], row["name"]) for row in rows])
        labels = [column_title(content["columns"][number]) for number in shown]
        centres = np.arange(len(shown)) + 0.5
        axes.set_xticks(centres, labels, rotation=60, ha="right", fontsize="small")
        axes.tick_params(length=0)
        description = (
            f"The rank of {len(rows)} models by {len(shown)} measures: in each cell the left "
            "border is the first rank and the right border the last, a dot the mean rank, and a "
            "bar its 95 % interval over seeds and images."
        )
        return svg(figure, name, title, description)


def _mean_rank(row: RankRow, numbers: Sequence[int]) -> float:
    """The mean over columns of a row's rank."""
    found = []
    for number in numbers:
        value = row["values"][number]
        if value is not None and value["rank"] is not None:
            found.append(value["rank"])
    # Rank 0 is none: a model without any comes before the first.
    return float(np.mean(found)) if found else 0.0


def _draw_cells(axes: Axes, rows: Sequence[RankRow], shown: Sequence[int]) -> None:
    """The rank of every model by the measures that are shown, all intervals below all dots."""
    heights, places = [], []
    for line, row in enumerate(rows):
        for place, number in enumerate(shown):
            cell = _cell(place, row, number, len(rows))
            if cell is None:
                continue
            low, rank, high = cell
            axes.plot([low, high], [line, line], color=INK, linewidth=1)
            heights.append(line)
            places.append(rank)
    # One by one they would make the page heavier.
    axes.plot(places, heights, MARKERS[0], color=SERIES[0], markersize=3.5)


def _cell(place: int, row: RankRow, number: int, count: int) -> tuple[float, float, float] | None:
    """Where in its cell a rank lies, between the ends of its interval; None for what has none.

    Args:
        place: column of the cell.
        row: of which model.
        number: of the measure among its values.
        count: ranks that there are.
    """
    value = row["values"][number]
    if value is None or value["rank"] is None or value["rank_interval"] is None:
        return None
    # One model alone has rank 1 and no scale to divide by.
    scale = (1 - 2 * MARGIN) / max(count - 1, 1)

    def position(rank: float) -> float:
        return place + MARGIN + scale * (rank - 1)

    low, high = value["rank_interval"]
    return position(low), position(value["rank"]), position(high)
