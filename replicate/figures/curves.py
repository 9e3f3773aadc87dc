"""Plots of result files: learning curves, bandwidth curves, and every seed against the published
value.
"""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullFormatter

from replicate.figures.drawing import Array, Result, numbers
from replicate.figures.theme import INK, MARKERS, PUBLISHED, SERIES, canvas, legend, seed_look, svg

#: Line styles of losses, in the order of the result file.
LOSS_STYLES = ("-", "--", ":", "-.")


class PublishedValue(TypedDict):
    """A value of Table 1, in nats."""

    log_likelihood: float
    standard_error: float
    uncertainty_over: str


class DotRow(TypedDict):
    """A row of `dots`: a model.

    Attributes:
        title: of the model.
        seeds: (seed, test log-likelihood in nats) of every seed that did not fail.
        failed: number of seeds that did.
        published: what the paper says, if it does.
    """

    title: str
    seeds: Sequence[tuple[int, float]]
    failed: int
    published: PublishedValue | None


def seeds_text(seeds: Sequence[int]) -> str:
    """How seeds are written: `seeds 0, 1, 2`, or `seeds 0 to 9` for a long unbroken list."""
    # Up to three are as short one by one, as `records/sourced.py` has it.
    if len(seeds) > 3:
        first, last = seeds[0], seeds[-1]
        unbroken = range(first, last + 1)
        if list(seeds) == list(unbroken):
            return f"seeds {first} to {last}"
    noun = "seeds"
    if len(seeds) == 1:
        noun = "seed"
    numbers_text = ", ".join(str(seed) for seed in seeds)
    return f"{noun} {numbers_text}"


def learning(training: Result, title: str, name: str) -> bytes:
    """Validation log-likelihood and losses against the epoch, one line per seed, the chosen epoch
    marked.

    Args:
        training: a result of the stage `train`.
        title: what was trained, such as "Adversarial nets on Digits".
        name: of the figure, for its ids.
    """
    curve = training["curve"]
    seeds = training["seeds"]
    epochs = np.array(curve["epoch"])
    # Explicit, since rows without an epoch have no second dimension.
    shape = (len(epochs), len(seeds))
    likelihoods = numbers(curve["log_likelihood"]).reshape(shape)
    # Results of models without a training step have no losses.
    rows_of_losses = curve.get("losses") or {}
    losses = {loss: numbers(rows).reshape(shape) for loss, rows in rows_of_losses.items()}
    height: float = 3.0
    rows: tuple[float, ...] = (1.0,)
    if losses:
        height, rows = 4.0, (2.0, 1.0)
    with canvas(height=height, rows=rows) as (figure, axes):
        for index in range(len(seeds)):
            _learning_line(axes[0], training, index, likelihoods[:, index])
            color = seed_look(index)["color"]
            # Colour is the seed's, so that losses differ by their dashes.
            # Not strict: no model has more losses than there are styles, and most have fewer.
            for style, values in zip(LOSS_STYLES, losses.values(), strict=False):
                loss = values[:, index]
                axes[1].plot(epochs, loss, color=color, linestyle=style, linewidth=1)
        _name_losses(axes, list(losses))
        cut = _cut(axes[0], likelihoods)
        axes[0].set_ylabel("validation log-likelihood\n(nats per image)")
        axes[-1].set_xlabel(f"epoch (n = {len(seeds)} seeds)")
        axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        legend(axes[0], len(seeds))
        description = (
            "Validation log-likelihood in nats per image against the training epoch, one line for "
            f"each of {seeds_text(seeds)} (n = {len(seeds)}); the mark is the epoch that was "
            "chosen."
        )
        if cut:
            description += " Values far below the others are cut off at the lower edge."
        if losses:
            description += " Below, the losses."
        return svg(figure, name, f"Learning curves: {title}", description)


def _learning_line(axes: Axes, training: Result, index: int, likelihoods: Array) -> None:
    """The line of one seed, and the mark of its chosen epoch, if it has one."""
    look = seed_look(index)
    seed = training["seeds"][index]
    failed = str(seed) in training["failed"]
    chosen = training["chosen_epoch"][index]
    # None where the last epoch was taken without a look at the validation images.
    likelihood = training["chosen_log_likelihood"][index]
    epochs = training["curve"]["epoch"]
    axes.plot(epochs, likelihoods, color=look["color"])
    x, y = [], []
    if not failed and chosen is not None and likelihood is not None:
        x, y = [chosen], [likelihood]
    label = f"seed {seed}"
    if failed:
        label += " (failed)"
    # Without a mark, too: the legend has every seed.
    axes.plot(x, y, linestyle="-", markersize=6, label=label, **look)


def _cut(axes: Axes, values: Array) -> bool:
    """Cuts the axis off far below the bulk of `values`, so that a few awful epochs do not flatten
    the rest; returns whether it did.
    """
    finite = values[np.isfinite(values)]
    if not len(finite):
        return False
    middle = float(np.median(finite))
    best = float(finite.max())
    # From the median, which the awful epochs themselves hardly move.
    lowest = middle - 10 * (best - middle)
    if finite.min() >= lowest or best == middle:
        return False
    margin = 0.05 * (best - lowest)
    axes.set_ylim(bottom=lowest, top=best + margin)
    return True


def _name_losses(axes: Sequence[Axes], names: Sequence[str]) -> None:
    """The entries of the losses' legend, as lines without data, and their axis."""
    if not names:
        return
    lower = axes[1]
    for style, name in zip(LOSS_STYLES, names, strict=False):
        label = name.replace("_", " ")
        # In ink: a line of a seed would give the entry that seed's colour.
        lower.plot([], [], color=INK, linestyle=style, linewidth=1, label=label)
    lower.set_ylabel("loss (nats)")
    legend(lower, len(names))


def bandwidth(result: Result, title: str, name: str) -> bytes:
    """Mean validation log-likelihood against the bandwidth, one line per seed, draw and fold, the
    chosen one marked.

    Args:
        result: of the stage `bandwidth`.
        title: what was measured.
        name: of the figure, for its ids.
    """
    seeds = result["seeds"]
    sigmas = np.array(result["sigmas"])
    # A seed that failed has null.
    curves = [draws or [] for draws in result["curve"]]
    has_folds = False
    with canvas() as (figure, (axes,)):
        for index, seed in enumerate(seeds):
            label = f"seed {seed}"
            if not curves[index]:
                label += " (failed)"
            for draw, folds in enumerate(curves[index]):
                has_folds = has_folds or len(folds) > 1
                for fold, values in enumerate(folds):
                    chosen = result["chosen"][index][draw][fold]
                    _bandwidth_line(axes, sigmas, values, chosen, index, draw)
            axes.plot([], [], markersize=6, label=label, **seed_look(index))
        axes.set_xscale("log")
        _label_ticks(axes, sigmas)
        axes.set_xlabel(f"bandwidth sigma (pixel units; n = {len(seeds)} seeds)")
        axes.set_ylabel("mean validation log-likelihood\n(nats per image)")
        legend(axes, len(seeds))
        line = "sample draw"
        if has_folds:
            line = "sample draw and fold"
        description = (
            "Mean validation log-likelihood in nats per image against the Parzen bandwidth, one "
            f"line for each {line} of {seeds_text(seeds)} (n = {len(seeds)}); the mark is the "
            "bandwidth that was chosen. A mark at either end means that the best bandwidth may lie "
            "outside the grid."
        )
        return svg(figure, name, f"Bandwidth curves: {title}", description)


def _bandwidth_line(
    axes: Axes, sigmas: Array, values: Sequence[float], chosen: float, index: int, draw: int
) -> None:
    """The line of one draw and fold, faint but for the first draw, and the mark at its `chosen`."""
    look = seed_look(index)
    alpha = 0.5
    if draw == 0:
        alpha = 1.0
    axes.plot(sigmas, numbers(values), color=look["color"], alpha=alpha)
    # The chosen one is one of the grid, but for the last bits of its decimal form.
    distances = np.abs(sigmas - chosen)
    nearest = int(np.argmin(distances))
    sigma, value = sigmas[nearest], values[nearest]
    axes.plot(sigma, value, markersize=6, linestyle="none", **look)


def _label_ticks(axes: Axes, sigmas: Array) -> None:
    """Ticks at the bandwidths that were tried; every second one is named where they are many."""
    count = len(sigmas)
    step = 2
    if count <= 6:
        step = 1
    names = [""] * count
    names[::step] = [f"{sigma:.2g}" for sigma in sigmas[::step]]
    axis = axes.xaxis
    axis.set_major_locator(FixedLocator(sigmas.tolist()))
    axis.set_major_formatter(FixedFormatter(names))
    axis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()


def dots(rows: Sequence[DotRow], title: str, name: str) -> bytes:
    """Every seed as a dot, the mean as a bar, and the published value with its standard error as a
    band.

    Args:
        rows: from the top.
        title: of the plot.
        name: of the figure, for its ids.
    """
    seeds: set[int] = set()
    for row in rows:
        seeds.update(seed for seed, _ in row["seeds"])
    # Sorted, since a set has another order in every process, and figures repeat their bytes.
    uncertainties = sorted(
        {row["published"]["uncertainty_over"] for row in rows if row["published"]}
    )
    with canvas(height=1.1 + 0.42 * len(rows)) as (figure, (axes,)):
        for index, row in enumerate(rows):
            _dot_row(axes, index, row)
        axes.set_yticks(range(len(rows)), [row["title"] for row in rows])
        # Downwards, so that rows stand in the table's order.
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.grid(visible=True, axis="x")
        axes.grid(visible=False, axis="y")
        # Long titles leave the axis narrower than its label, which would be cut at the right.
        axes.set_xlabel("test log-likelihood (nats per image)", loc="right")
        _name_dots(axes, with_published=bool(uncertainties))
        figure.legend(loc="outside upper left", ncols=3, handlelength=1.2, columnspacing=1.2)
        subject = seeds_text(sorted(seeds)) if seeds else "no seed"
        description = (
            f"Test log-likelihood in nats per image of {subject}, one dot a seed, one row a model; "
            "n is beside each row, and so are the seeds that failed and have no dot."
        )
        if uncertainties:
            description += (
                " Diamonds are published values; bars and bands reach one standard error over "
                f"{' or '.join(uncertainties)} to each side."
            )
        return svg(figure, name, title, description)


def _name_dots(axes: Axes, with_published: bool) -> None:
    """The entries of the legend, as artists without data."""
    axes.plot(
        [],
        [],
        marker=MARKERS[0],
        color=SERIES[0],
        linestyle="none",
        alpha=0.8,
        label="one seed",
    )
    axes.plot(
        [],
        [],
        marker="|",
        color=INK,
        linestyle="none",
        markersize=12,
        markeredgewidth=1.6,
        label="mean of seeds",
    )
    if with_published:
        axes.errorbar(
            [],
            [],
            xerr=[],
            fmt="d",
            color=PUBLISHED,
            capsize=3,
            capthick=1.2,
            label="published ± SE",
        )


def _dot_row(axes: Axes, index: int, row: DotRow) -> None:
    height: float = index
    if row["published"]:
        # Above the published value, so that neither hides the other.
        height -= 0.15
        _published_band(axes, index, row["published"])
    values = [value for _, value in row["seeds"]]
    if values:
        _dots_and_mean(axes, height, values)
    if values or row["failed"]:
        failed = f", {row['failed']} failed" if row["failed"] else ""
        axes.annotate(
            f"n = {len(values)}{failed}",
            (1.01, height),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize="small",
            annotation_clip=False,
        )


def _published_band(axes: Axes, index: int, published: PublishedValue) -> None:
    value, error = published["log_likelihood"], published["standard_error"]
    axes.barh(
        index,
        2 * error,
        left=value - error,
        height=0.9,
        color=PUBLISHED,
        alpha=0.25,
        linewidth=0,
    )
    axes.errorbar(
        value,
        index + 0.2,
        xerr=error,
        fmt="d",
        color=PUBLISHED,
        capsize=3,
        capthick=1.2,
        markersize=5,
        linewidth=1.2,
    )


def _dots_and_mean(axes: Axes, height: float, values: Sequence[float]) -> None:
    import seaborn as sns  # here: it takes a second to load, and no other figure needs it

    sns.stripplot(
        x=values,
        y=[height] * len(values),
        ax=axes,
        native_scale=True,
        orient="y",
        # Jitter is random: the figure would have other bytes each time.
        jitter=False,
        marker=MARKERS[0],
        size=6,
        linewidth=0,
        color=SERIES[0],
        alpha=0.8,
        zorder=2,
    )
    axes.plot(
        float(np.mean(values)),
        height,
        marker="|",
        color=INK,
        linestyle="none",
        markersize=14,
        markeredgewidth=1.6,
    )
