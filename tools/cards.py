"""Writes docs/models.md and docs/datasets.md: a card for each registered model and data set.

python tools/cards.py            # writes the pages
python tools/cards.py --check    # exits with 1 where a page is not what the code says

A card has what the module says of itself, its settings with defaults and sources, and of a model
its recipes, of a data set its files. All of it is read from the registries, so that a card can
neither be forgotten nor grow old.
"""

import argparse
import importlib
import inspect
import json
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from replicate import datasets, models
from replicate.datasets.base import Dataset, PinnedDataset, UserDataset
from replicate.models.base import GenerativeModel

PAGES = {"models": Path("docs/models.md"), "datasets": Path("docs/datasets.md")}
NOTE = "<!-- Written by tools/cards.py from the registries: change the modules. -->"
HEADS = {
    "models": """# Models

A card for each model of the registry (`replicate/models/`). What they reach stands in the
[reference runs](../results/reference/README.md) and on the page of a run;
[adding a model](adding-a-model.md) tells how one is added.

None of them is for use: they are small, old, trained on digits and faces, and some remember their
training images. They are here to be compared.""",
    "datasets": """# Data sets

A card for each data set of the registry (`replicate/datasets/`).
[Adding a data set](adding-a-dataset.md) tells how one is added. Files are verified before use;
their licences are their authors'.""",
}


def as_text(text: str) -> str:
    """A text in a cell of a table."""
    return text.replace("|", "\\|")


def as_code(value: object) -> str:
    """A value in a cell of a table, as JSON has it."""
    return as_text(f"`{json.dumps(to_jsonable_python(value), ensure_ascii=False)}`")


def about(module: str) -> str:
    """What a module says of itself."""
    return inspect.getdoc(importlib.import_module(module)) or ""


def settings(fields: Mapping[str, FieldInfo]) -> Iterator[str]:
    """The table of a config's settings."""
    if not fields:
        yield "There is nothing to set."
        return
    yield "| setting | default | what it is | source |"
    yield "|---|---|---|---|"
    for name, field in fields.items():
        extra = field.json_schema_extra
        source = extra.get("source", "") if isinstance(extra, Mapping) else ""
        default = "has to be given" if field.is_required() else as_code(field.default)
        row = [f"`{name}`", default, as_text(field.description or ""), as_text(str(source))]
        yield f"| {' | '.join(row)} |"


def model_card(name: str, title: str, module: str) -> Iterator[str]:
    """The card of a model."""
    model: type[GenerativeModel] = models.load_model(name)
    yield from (
        f"## {title}",
        "",
        f"`{name}`, `{module.replace('.', '/')}.py`",
        "",
        about(module),
        "",
    )
    drawn = "by Markov chains" if name in models.CHAINS else "independently of each other"
    yield f"- Images are drawn {drawn}."
    yield f"- Pixels: {'any' if name in models.UNBOUNDED else 'in [0, 1]'}."
    yield f"- A code z to walk through: {'yes' if model.has_latent else 'no'}."
    if model.samples_from_train:
        use = "chains start there" if name in models.CHAINS else "images are made of them"
        yield f"- Sampling reads training images: {use}."
    yield ""
    yield from settings(model.Config.model_fields)
    for dataset, recipe in model.recipes.items():
        changes = [f"`{key}` = {as_code(value)}" for key, value in recipe.changes.items()]
        title_of_set = datasets.REGISTRY[dataset][0]
        yield ""
        yield f"On {title_of_set}: {', '.join(changes) or 'the defaults'}. Source: {recipe.source}."
    yield ""


def dataset_card(name: str, title: str, module: str) -> Iterator[str]:
    """The card of a data set."""
    dataset: Dataset = datasets.load_dataset(name)
    yield from (
        f"## {title}",
        "",
        f"`{name}`, `{module.replace('.', '/')}.py`",
        "",
        about(module),
        "",
    )
    if isinstance(dataset, PinnedDataset):
        shape = " x ".join(map(str, dataset.image_shape))
        yield f"{dataset.train_count:,} training images of {shape} (channels, height, width)."
        yield ""
        yield "| file | bytes | SHA-256 |"
        yield "|---|---|---|"
        for source in dataset.sources:
            yield f"| `{source.name}` | {source.size:,} | `{source.sha256}` |"
        yield ""
    if isinstance(dataset, UserDataset):
        yield f"Not shipped and not downloaded. It {dataset.needs}: {dataset.remedy}."
        yield ""
    yield from settings(dataset.Config.model_fields)
    yield ""


def page(kind: str) -> str:
    """The text of a page."""
    lines = [HEADS[kind], "", NOTE, ""]
    registry = models.REGISTRY if kind == "models" else datasets.REGISTRY
    card = model_card if kind == "models" else dataset_card
    for name, (title, module) in registry.items():
        lines += card(name, title, module)
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    """Writes the pages, or compares them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing, only compare")
    arguments = parser.parse_args()
    for kind, path in PAGES.items():
        text = page(kind)
        if not arguments.check:
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            sys.exit(f"{path} is not what the registries say; run `python tools/cards.py`.")


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `... | head -1` ends it quietly
    main()
