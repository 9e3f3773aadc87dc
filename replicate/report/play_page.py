"""The play page: a trained generator, rounded, that the reader's browser computes with.

One file that opens offline. Without JavaScript it shows pictures that Python computed of the same
weights and the same z.
"""

import base64
import io
import json
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jinja2 import TemplateError, UndefinedError
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from replicate.datasets import REGISTRY as DATASETS
from replicate.errors import ReplicateError
from replicate.figures.grids import grid, png
from replicate.models import REGISTRY as MODELS
from replicate.report.embedded import GRID_WIDTH
from replicate.report.generator_layers import images_of, widths_of
from replicate.report.page import environment
from replicate.report.rounded_generator import (
    LIMIT,
    KeptGenerator,
    RoundedLayer,
    find_kept_generator,
    read_kept_generator,
)
from replicate.report.seeded_codes import codes_of_seed
from replicate.storage.paths import package_root

STYLES = ("style.css", "play.css", "play_page.css")
#: In their order: what others call comes first.
SCRIPTS = (
    "script.js",
    "play/network.js",
    "play/generator.js",
    "play/rounded.js",
    "play/play_page.js",
)
#: The seed that the page begins with; its digits stand where there is no JavaScript, too.
SEED = 1
ROWS, COLUMNS = 4, 6
#: Walks in the still picture, and the images of each.
WALKS, STEPS = 4, 9


def generator_of(results: Path, chosen: Path | None = None) -> KeptGenerator | None:
    """The generator of the page; None where no rounded one is kept.

    Args:
        results: a folder of results, with kept runs below `reference/`.
        chosen: a `rounded.json`, instead.

    Raises:
        ReplicateError: a file is missing or damaged.
    """
    path = chosen or find_kept_generator(results)
    if path is None:
        return None
    # A file that was chosen by hand may lie anywhere: the page names no folder of this machine.
    name = path.name
    if chosen is None:
        name = f"results/{path.relative_to(results).as_posix()}"
    return read_kept_generator(path, name)


def packed_weights(layers: Sequence[RoundedLayer]) -> bytes:
    """Of each layer the steps, input by input, then scales and biases, little-endian; by zlib."""
    content = b""
    for layer in layers:
        # Bytes are the same on every machine; the numbers after them have their order fixed.
        content += layer.steps.tobytes()
        content += layer.scale.astype("<f4").tobytes()
        content += layer.bias.astype("<f4").tobytes()
    return zlib.compress(content, 9)


def weights_element(generator: KeptGenerator) -> Markup:
    """The data element with the weights, which `report/assets/play/rounded.js` reads."""
    exact = [layer.layer() for layer in generator.layers]
    content = {
        "shape": generator.shape,
        "noise": "uniform",
        "widths": widths_of(exact),
        "units": [layer.unit for layer in exact],
        "weights": base64.b64encode(packed_weights(generator.layers)).decode(),
    }
    # None of these words and numbers has a character that HTML would read as markup.
    text = Markup(json.dumps(content, sort_keys=True, separators=(",", ":")))
    return Markup('<script type="application/json" id="play-weights">{}</script>').format(text)


def _picture(generator: KeptGenerator, codes: NDArray[np.float64]) -> Markup:
    """Attributes of an `img` that shows the images of z.

    Args:
        generator: makes them.
        codes: (rows, columns, length of z).
    """
    rows, columns, length = codes.shape
    layers = [layer.layer() for layer in generator.layers]
    images = images_of(layers, codes.reshape(-1, length))
    content = png(grid(images.reshape(rows, columns, *generator.shape)))
    with Image.open(io.BytesIO(content)) as picture:
        width, height = picture.size
    factor = max(1, round(GRID_WIDTH / width))
    address = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    attributes = Markup('src="{}" width="{}" height="{}"')
    return attributes.format(address, width * factor, height * factor)


def _walks(codes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Straight lines in equal steps from every even z to the next one: (walks, steps, length)."""
    shares = np.linspace(0.0, 1.0, STEPS)[None, :, None]
    # Even and odd ones: no z is the end of two walks.
    first = codes[0::2, None, :]
    last = codes[1::2, None, :]
    return (1.0 - shares) * first + shares * last


def play_page(generator: KeptGenerator | None) -> str:
    """The page as HTML.

    Args:
        generator: None where there is none, which the page then says.

    Raises:
        ReplicateError: a result lacks something that the page shows, or the template is broken.
    """
    context: dict[str, object] = {"generator": None}
    if generator is not None:
        length = generator.layers[0].steps.shape[0]
        codes = codes_of_seed(SEED, ROWS * COLUMNS, length)
        context = {
            "generator": generator.result,
            "model": MODELS[generator.result["model"]][0],
            "dataset": DATASETS[generator.result["dataset"]][0],
            "weights": weights_element(generator),
            "digits": _picture(generator, codes.reshape(ROWS, COLUMNS, length)),
            "walks": _picture(generator, _walks(codes[: 2 * WALKS])),
            "seed": SEED,
            "limit": LIMIT,
            "tens": range(0, length, 10),
            "length": length,
        }
    jinja = environment(package_root() / "report", STYLES, SCRIPTS)
    try:
        return jinja.get_template("play_page.html.j2").render(context)
    except UndefinedError as error:
        raise ReplicateError(f"the play page cannot be built: {error.message}.") from None
    except TemplateError as error:
        raise ReplicateError(f"the template of the play page is broken: {error}.") from None
