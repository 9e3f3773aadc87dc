"""What lies inside the page instead of beside it: pictures, plots, data for downloads, style and script."""

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
from replicate.figures.embedding import slim
from replicate.traced import Traced, plain, where

#: Width in CSS pixels that an image grid is enlarged to, by a whole factor.
GRID_WIDTH = 400


def embedded_png(path: Path) -> Markup:
    """Attributes of an `img`: the file as a data address, and its size enlarged by a whole factor."""
    try:
        content = path.read_bytes()
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            width, height = image.size
    except FileNotFoundError:
        raise ReplicateError(f"{path} does not exist; run the stage `panels` first.") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
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
    except OSError as error:
        raise ReplicateError(f"cannot read {path}: {error.strerror}; run the stage `{stage}` again.") from None
    except (ValueError, RecursionError) as error:
        raise ReplicateError(f"{path} {error}; run the stage `{stage}` again.") from None


def data_id(place: Traced) -> str:
    """Id of the element that holds a result file's content for its download."""
    return "data-" + where(place).removesuffix("#").removeprefix("results/").removesuffix(".json").replace("/", "-")


def data_element(place: Traced) -> Markup:
    """A result file's content in the page: a script element that is data, which nothing runs.

    The data is a JSON string of base64 of the file, compressed by zlib, which the script undoes for a download.
    """
    content = json.dumps(plain(place), sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    packed = base64.b64encode(zlib.compress(content.encode(), 9)).decode()
    return Markup('<script type="application/json" id="{}">"{}"</script>').format(data_id(place), Markup(packed))


def asset(folder: Path, *names: str) -> dict[str, Markup]:
    """A style sheet or script, of one file or several, with the hash that the content-security policy allows it by."""
    text = "".join((folder / "assets" / name).read_text(encoding="utf-8") for name in names)
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return {"text": Markup(text), "hash": Markup(f"sha256-{digest}")}
