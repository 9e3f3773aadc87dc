"""The page of one screen: an estimate, what speaks against it, pictures, and the curve."""

import base64
import io
from pathlib import Path

import numpy as np
from jinja2 import TemplateError, UndefinedError
from markupsafe import Markup
from matplotlib.ticker import FixedFormatter, FixedLocator, NullFormatter
from PIL import Image

from replicate.datasets.base import Splits
from replicate.diagnostics.nearest import nearest_rows
from replicate.errors import ReplicateError
from replicate.figures.grids import grid, png
from replicate.figures.theme import canvas, checked_svg, seed_look, svg
from replicate.measures import REGISTRY
from replicate.records.schema import Score as ScoreResult
from replicate.records.sourced import traced_content
from replicate.report.embedded import GRID_WIDTH
from replicate.report.page import environment
from replicate.report.svg_slim import slim
from replicate.scoring.data import training_images
from replicate.scoring.rows import Pixels, Shape
from replicate.scoring.score import Score
from replicate.storage.paths import package_root

#: Rows and columns of the grid of samples, and samples in a row beside their nearest images.
ROWS, COLUMNS = 6, 12
PAIRS, PAIR_COLUMNS = 2, 12
#: What the page calls the result where it is written nowhere else.
NAME = "score.json"


def page(score: Score, result: ScoreResult, path: Path | None) -> str:
    """The page as HTML, one file that opens offline.

    Args:
        score: what is shown.
        result: the same as numbers, all that the page prints.
        path: of the JSON file, where one is written.

    Raises:
        ReplicateError: the template is broken.
    """
    name = path.name if path is not None else NAME
    splits = score.data.splits
    context = {
        "score": traced_content(name, path or Path(NAME), result),
        "registry": REGISTRY,
        "samples_grid": samples_grid(score.rows.pixels, splits),
        "nearest_grid": nearest_grid(score.rows.pixels, splits),
        "bandwidth_plot": Markup(slim(checked_svg(bandwidth_curve(result)))),
    }
    jinja = environment(package_root() / "report", ("style.css", "score.css"))
    try:
        return jinja.get_template("score.html.j2").render(context)
    except UndefinedError as error:
        raise ReplicateError(f"the page cannot be built: {error.message}.") from None
    except TemplateError as error:
        raise ReplicateError(f"the page's template is broken: {error}.") from None


def _is_picture(shape: Shape) -> bool:
    """Whether rows of pixels can be shown: grey or of three colours, and no line."""
    channels, height, width = shape
    is_line = min(height, width) == 1
    return channels in (1, 3) and not is_line


def _spread(count: int, most: int) -> np.ndarray:
    """At most so many row numbers, evenly spread."""
    last = count - 1
    positions = np.linspace(0, last, min(count, most))
    return positions.astype(np.int64)


def _embedded(images: Pixels, shape: Shape, columns: int, splits: Splits) -> Markup | None:
    """Attributes of an `img` that shows whole rows of images."""
    rows = len(images) // columns
    if rows == 0:
        return None
    panel = images[: rows * columns].reshape(rows, columns, *shape)
    content = png(grid(panel, splits.shown_range(panel)))
    with Image.open(io.BytesIO(content)) as picture:
        width, height = picture.size
    factor = max(1, round(GRID_WIDTH / width))
    address = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    attributes = Markup('src="{}" width="{}" height="{}"')
    return attributes.format(address, width * factor, height * factor)


def samples_grid(pixels: Pixels, splits: Splits) -> Markup | None:
    """Samples, evenly spread over the file; None where they are no pictures or too few."""
    if not _is_picture(splits.shape):
        return None
    chosen = pixels[_spread(len(pixels), ROWS * COLUMNS)]
    return _embedded(chosen, splits.shape, COLUMNS, splits)


def nearest_grid(pixels: Pixels, splits: Splits) -> Markup | None:
    """Rows of samples, below each the row of their nearest training images; None where they are no
    pictures or too few, or there are no training images.
    """
    train = training_images(splits)
    if not _is_picture(splits.shape) or not len(train) or len(pixels) < PAIRS * PAIR_COLUMNS:
        return None
    chosen = pixels[_spread(len(pixels), PAIRS * PAIR_COLUMNS)]
    numbers, _ = nearest_rows(chosen, train)
    dimension = pixels.shape[1]
    pairs = np.stack(
        [
            chosen.reshape(PAIRS, PAIR_COLUMNS, dimension),
            train[numbers].reshape(PAIRS, PAIR_COLUMNS, dimension),
        ],
        axis=1,
    )
    return _embedded(pairs.reshape(-1, dimension), splits.shape, PAIR_COLUMNS, splits)


def bandwidth_curve(result: ScoreResult) -> bytes:
    """Mean validation log-likelihood against the bandwidth, one line a fold, the chosen one marked,
    as SVG.
    """
    sigmas = result["sigmas"]
    with canvas(height=2.6) as (figure, (axes,)):
        for index, fold in enumerate(result["folds"]):
            look = seed_look(index)
            chosen = sigmas.index(fold["sigma"])
            axes.plot(sigmas, fold["curve"], color=look["color"])
            axes.plot(sigmas[chosen], fold["curve"][chosen], markersize=6, linestyle="none", **look)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(sigmas))
        axes.xaxis.set_major_formatter(FixedFormatter([f"{sigma:.2g}" for sigma in sigmas]))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.minorticks_off()
        axes.set_xlabel("bandwidth sigma (pixel units)")
        axes.set_ylabel("mean validation log-likelihood\n(nats per image)")
        description = (
            "Mean validation log-likelihood in nats per image against the Parzen bandwidth, one "
            "line a fold; the mark is the bandwidth that was chosen. A mark at either end means "
            "that the best bandwidth may lie outside the grid."
        )
        return svg(figure, "score-bandwidth", "Bandwidth curve", description)
