"""What lies inside the page instead of beside it: pictures, plots, data, style and script."""

import base64
import hashlib
import io
import json
import zlib
from pathlib import Path

from markupsafe import Markup
from PIL import Image

from replicate.errors import ReplicateError
from replicate.figures import theme
from replicate.records.sourced import Traced, source_of, value_of
from replicate.report.svg_slim import slim

#: Width in CSS pixels that an image grid is enlarged to, by a whole factor.
GRID_WIDTH = 400


def embedded_png(path: Path) -> Markup:
    """Attributes of an `img`: the file as a data address, and its size by a whole factor."""
    try:
        content = path.read_bytes()
        # By one decoder alone, whatever the bytes pretend to be.
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            width, height = image.size
    except FileNotFoundError:
        raise ReplicateError(f"{path} does not exist; run the stage `panels` first.") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise ReplicateError(
            f"{path} is not a whole PNG file; run the stage `panels` again."
        ) from None
    # By a whole factor: by any other, some pixels would be wider than others.
    factor = max(1, round(GRID_WIDTH / width))
    address = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    return Markup('src="{}" width="{}" height="{}"').format(
        address, width * factor, height * factor
    )


def embedded_svg(path: Path, stage: str = "panels", id_prefix: str = "") -> Markup:
    """An SVG file of this project, checked: no script, inline style, or address but its own ids.

    Args:
        path: of the file.
        stage: that makes it, for the error.
        id_prefix: beginning of its ids, where the page holds another figure of the same name.
    """
    try:
        return Markup(slim(theme.checked_svg(path.read_bytes()), id_prefix))
    except FileNotFoundError:
        raise ReplicateError(f"{path} does not exist; run the stage `{stage}` first.") from None
    except OSError as error:
        raise ReplicateError(
            f"cannot read {path}: {error.strerror}; run the stage `{stage}` again."
        ) from None
    except (ValueError, RecursionError) as error:
        raise ReplicateError(f"{path} {error}; run the stage `{stage}` again.") from None


def data_id(result: Traced) -> str:
    """Id of the element that holds a result file's content for its download."""
    file = source_of(result).removesuffix("#")
    below_results = file.removeprefix("results/")
    stem = below_results.removesuffix(".json")
    return "data-" + stem.replace("/", "-")


def data_element(result: Traced) -> Markup:
    """A result file's content in the page: a script element that is data, which nothing runs.

    The data is a JSON string of base64 of the file, compressed by zlib, which the script undoes for
    a download.
    """
    # Without the spaces of the file: the page holds dozens of results.
    content = json.dumps(
        value_of(result), sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )
    compressed = zlib.compress(content.encode(), 9)
    # Base64 has no character that HTML or JSON would read as markup, so it goes in as it is.
    packed = Markup(base64.b64encode(compressed).decode())
    element = Markup('<script type="application/json" id="{}">"{}"</script>')
    return element.format(data_id(result), packed)


def asset(folder: Path, *names: str) -> dict[str, Markup]:
    """A style sheet or script of some files, with its hash for the content-security policy."""
    text = ""
    for name in names:
        file = folder / "assets" / name
        text += file.read_text(encoding="utf-8")
    # The policy lets the browser use no style or script but those with these hashes.
    digest = hashlib.sha256(text.encode()).digest()
    in_base64 = base64.b64encode(digest).decode()
    return {"text": Markup(text), "hash": Markup(f"sha256-{in_base64}")}
