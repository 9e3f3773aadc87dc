"""Plots of result files: learning curves, bandwidth curves, and every seed against the published value."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullFormatter

from replicate.figures.theme import INK, MARKERS, PUBLISHED, SERIES, canvas, legend, seed_look, svg


def _numbers(values: Sequence[float | None]) -> np.ndarray:
    """Values with not-a-number where a failed seed has none, so that the line ends there."""
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)


def seeds_text(seeds: Sequence[int]) -> str:
    """How a list of seeds is written: `seeds 0, 1, 2`, or `seeds 0 to 9` for a long unbroken one."""
    if len(seeds) > 3 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"seeds {seeds[0]} to {seeds[-1]}"
    return ("seed " if len(seeds) == 1 else "seeds ") + ", ".join(str(seed) for seed in seeds)


def learning(training: Mapping[str, Any], title: str, name: str) -> bytes:
    """Validation log-likelihood and losses against the epoch, one line per seed, the chosen epoch marked.

    Args:
        training: a result of the stage `train`.
        title: what was trained, such as "Adversarial nets on Digits".
        name: of the figure, for its ids.
    """
    curve, seeds = training["curve"], training["seeds"]
    epochs = np.array(curve["epoch"])
    likelihoods = np.array([_numbers(row) for row in curve["log_likelihood"]]).reshape(len(epochs), len(seeds))
    losses = curve.get("losses") or {}
    with canvas(height=4.0 if losses else 3.0, rows=(2.0, 1.0) if losses else (1.0,)) as (figure, axes):
        for k, seed in enumerate(seeds):
            look = seed_look(k)
            axes[0].plot(epochs, likelihoods[:, k], color=look["color"])
            failed = str(seed) in training["failed"]
            chosen = None if failed else training["chosen_epoch"][k]
            if training["chosen_log_likelihood"][k] is None:  # the last epoch was taken, without a look
                chosen = None
            label = f"seed {seed}" + (" (failed)" if failed else "")
            at = [] if chosen is None else [chosen]
            height = [] if chosen is None else [training["chosen_log_likelihood"][k]]
            axes[0].plot(at, height, linestyle="-", markersize=6, label=label, **look)
            for style, values in zip(("-", "--", ":", "-."), losses.values(), strict=False):
                series = np.array([_numbers(row) for row in values]).reshape(len(epochs), len(seeds))[:, k]
                axes[1].plot(epochs, series, color=look["color"], linestyle=style, linewidth=1)
        _name_losses(axes, list(losses))
        cut = _cut(axes[0], likelihoods)
        axes[0].set_ylabel("validation log-likelihood\n(nats per image)")
        axes[-1].set_xlabel(f"epoch (n = {len(seeds)} seeds)")
        axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        legend(axes[0], len(seeds))
        described = (
            f"Validation log-likelihood in nats per image against the training epoch, one line for each of "
            f"{seeds_text(seeds)} (n = {len(seeds)}); the mark is the epoch that was chosen."
        )
        described += " Values far below the others are cut off at the lower edge." if cut else ""
        described += " Below, the losses." if losses else ""
        return svg(figure, name, f"Learning curves: {title}", described)


def _cut(axes: Axes, values: np.ndarray) -> bool:
    """Cuts the axis off far below the bulk of `values`, so that a few awful epochs do not flatten the rest."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return False
    middle, best = float(np.median(finite)), float(finite.max())
    lowest = middle - 10 * (best - middle)
    if finite.min() >= lowest or best == middle:
        return False
    axes.set_ylim(bottom=lowest, top=best + 0.05 * (best - lowest))
    return True


def _name_losses(axes: Sequence[Axes], names: Sequence[str]) -> None:
    if not names:
        return
    for style, name in zip(("-", "--", ":", "-."), names, strict=False):
        axes[1].plot([], [], color=INK, linestyle=style, linewidth=1, label=name.replace("_", " "))
    axes[1].set_ylabel("loss (nats)")
    legend(axes[1], len(names))


def bandwidth(result: Mapping[str, Any], title: str, name: str) -> bytes:
    """Mean validation log-likelihood against the bandwidth, one line per seed, draw and fold, the chosen one marked.

    Args:
        result: a result of the stage `bandwidth`.
        title: what was measured.
        name: of the figure, for its ids.
    """
    seeds, sigmas = result["seeds"], np.array(result["sigmas"])
    with canvas() as (figure, (axes,)):
        for k, seed in enumerate(seeds):
            look = seed_look(k)
            draws = result["curve"][k] or []
            for draw, folds in enumerate(draws):
                for fold, values in enumerate(folds):
                    axes.plot(sigmas, _numbers(values), color=look["color"], alpha=1.0 if draw == 0 else 0.5)
                    chosen = int(np.argmin(np.abs(sigmas - result["chosen"][k][draw][fold])))
                    axes.plot(sigmas[chosen], values[chosen], markersize=6, linestyle="none", **look)
            axes.plot([], [], markersize=6, label=f"seed {seed}" + ("" if draws else " (failed)"), **look)
        axes.set_xscale("log")
        _label_ticks(axes, sigmas)
        axes.set_xlabel(f"bandwidth sigma (pixel units; n = {len(seeds)} seeds)")
        axes.set_ylabel("mean validation log-likelihood\n(nats per image)")
        legend(axes, len(seeds))
        several = any(len(draw) > 1 for draws in result["curve"] for draw in draws or [])
        line = "sample draw and fold" if several else "sample draw"
        described = (
            f"Mean validation log-likelihood in nats per image against the Parzen bandwidth, one line for each "
            f"{line} of {seeds_text(seeds)} (n = {len(seeds)}); the mark is the bandwidth that was chosen. A mark at "
            "either end means that the best bandwidth may lie outside the grid."
        )
        return svg(figure, name, f"Bandwidth curves: {title}", described)


def _label_ticks(axes: Axes, sigmas: np.ndarray) -> None:
    """Ticks at the bandwidths that were tried; every second one is named where they are many."""
    step = 1 if len(sigmas) <= 6 else 2
    names = [f"{sigma:.2g}" if k % step == 0 else "" for k, sigma in enumerate(sigmas)]
    axes.xaxis.set_major_locator(FixedLocator([float(sigma) for sigma in sigmas]))
    axes.xaxis.set_major_formatter(FixedFormatter(names))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()


def dots(rows: Sequence[Mapping[str, Any]], title: str, name: str) -> bytes:
    """Every seed as a dot, the mean as a bar, and the published value with its standard error as a band.

    Args:
        rows: `title`, `seeds` [(seed, log-likelihood)], the number of `failed` seeds and `published` (null or
            {log_likelihood, standard_error, uncertainty_over}), from the top.
        title: of the plot.
        name: of the figure, for its ids.
    """
    with canvas(height=1.1 + 0.42 * len(rows)) as (figure, (axes,)):
        for k, row in enumerate(rows):
            _dot_row(axes, k, row)
        axes.set_yticks(range(len(rows)), [row["title"] for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.grid(visible=True, axis="x")
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("test log-likelihood (nats per image)")
        seeds = sorted({seed for row in rows for seed, _ in row["seeds"]})
        axes.plot([], [], marker=MARKERS[0], color=SERIES[0], linestyle="none", alpha=0.8, label="one seed")
        axes.plot(
            [], [], marker="|", color=INK, linestyle="none", markersize=12, markeredgewidth=1.6, label="mean of seeds"
        )
        published = [row["published"] for row in rows if row["published"]]
        over = sorted({entry["uncertainty_over"] for entry in published})
        if published:
            axes.errorbar([], [], xerr=[], fmt="d", color=PUBLISHED, capsize=3, capthick=1.2, label="published ± SE")
        figure.legend(loc="outside upper left", ncols=3, handlelength=1.2, columnspacing=1.2)
        shown = seeds_text(seeds) if seeds else "no seed"
        described = (
            f"Test log-likelihood in nats per image of {shown}, one dot a seed, one row a model; n is beside each row, "
            "and so are the seeds that failed and have no dot."
        )
        if published:
            described += (
                f" Diamonds are published values; bars and bands reach one standard error over {' or '.join(over)} to "
                "each side."
            )
        return svg(figure, name, title, described)


def _dot_row(axes: Axes, k: int, row: Mapping[str, Any]) -> None:
    import seaborn as sns  # here: it takes a second to load, and no other figure needs it

    values = [value for _, value in row["seeds"]]
    published = row["published"]
    if published:
        error = published["standard_error"]
        low = published["log_likelihood"] - error
        axes.barh(k, 2 * error, left=low, height=0.9, color=PUBLISHED, alpha=0.25, linewidth=0)
        axes.errorbar(
            published["log_likelihood"],
            k + 0.2,
            xerr=error,
            fmt="d",
            color=PUBLISHED,
            capsize=3,
            capthick=1.2,
            markersize=5,
            linewidth=1.2,
        )
    height = k - 0.15 if published else k
    if values:
        sns.stripplot(
            x=values, y=[height] * len(values), ax=axes, native_scale=True, orient="y", jitter=False,
            marker=MARKERS[0], size=6, linewidth=0, color=SERIES[0], alpha=0.8, zorder=2,
        )  # fmt: skip
        axes.plot(
            float(np.mean(values)), height, marker="|", color=INK, linestyle="none", markersize=14, markeredgewidth=1.6
        )
    if values or row["failed"]:
        axes.annotate(
            f"n = {len(values)}" + (f", {row['failed']} failed" if row["failed"] else ""),
            (1.01, height),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize="small",
            annotation_clip=False,
        )
