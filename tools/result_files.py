"""Writes docs/result-files.md, the fields of every result file, from their types.

python tools/result_files.py           writes the page
python tools/result_files.py --check   fails if the page is not what the types say
"""

import argparse
import ast
import inspect
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import (
    Any,
    Literal,
    NamedTuple,
    NotRequired,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from typing_extensions import is_typeddict

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from replicate.records import schema

PAGE = Path("docs/result-files.md")

#: The files, under the headings of the page.
FILES: dict[str, tuple[type[object], ...]] = {
    "Data sets": (schema.Manifest, schema.DataDescription),
    "Training": (
        schema.Training,
        schema.WeightsAbout,
        schema.SamplesAbout,
        schema.RoundedGenerator,
    ),
    "Likelihood": (
        schema.BandwidthChoice,
        schema.Evaluation,
        schema.EvaluationPart,
        schema.SamplerComparison,
        schema.Score,
    ),
    "Inspection": (schema.ClassifierResult, schema.Recognition, schema.Panels),
    "Measures": (schema.MeasuresOfBlock, schema.ControlResult, schema.Ranks),
    "Verdicts": (
        schema.ExperimentResult,
        schema.FigureList,
        schema.Statements,
        schema.Table1,
        schema.Multiverse,
    ),
    "Tuning": (schema.Tuning,),
    "Comparison of two runs": (schema.RunComparison,),
    "Records": (schema.RunRecord, schema.BlockWeights),
}
HEAD = """\
# Result files

<!-- Written by tools/result_files.py from replicate/records/schema.py: change the types there. -->

{introduction}

Stages build these fields by types, and a file is held to its type before anything relies on it
(`replicate/records/`). Paths are relative to `results/`. In a field's path `[]` stands for an
index and `{{}}` for a name.
"""
FRAME = """\
## Frame

All files have these fields, but for tensors' metadata, run records, `weights.json` and
`metrics.json` (data set -> model -> numbers, the form that `dvc metrics` reads).

{table}
Tensor files, but for prepared data and parts of an evaluation, have the metadata `content_sha256`:
the digest of the canonical JSON of their other metadata and of the type, the shape and the digest
of every tensor. Whoever reads such a file checks it; files of earlier versions have none. The
digest of prepared data stands in their description.
"""
#: JSON's names of types.
JSON_TYPES: dict[object, str] = {
    int: "integer",
    float: "number",
    str: "text",
    bool: "true or false",
    type(None): "null",
    Any: "any",
}


class Field(NamedTuple):
    """A field of a file.

    Attributes:
        path: from the file's root, such as `curve.epoch`.
        kind: its type in JSON's words.
        meaning: what it is.
    """

    path: str
    kind: str
    meaning: str


def meanings(kind: type[object]) -> dict[str, str]:
    """Field -> the text below it in the class of a TypedDict, those of its bases last."""
    texts: dict[str, str] = {}
    (definition,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(definition, ast.ClassDef)
    for statement, below in zip(definition.body, definition.body[1:], strict=False):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            assert isinstance(below, ast.Expr), f"{kind.__name__}.{statement.target.id}: no text"
            assert isinstance(below.value, ast.Constant)
            texts[statement.target.id] = " ".join(str(below.value.value).split())
    for base in getattr(kind, "__orig_bases__", ()):
        if is_typeddict(base):
            texts |= meanings(base)
    return texts


def json_type(kind: object) -> str:
    """A type in JSON's words: `[integer]` is a list of integers, `{number}` names and numbers."""
    if kind in JSON_TYPES:
        return JSON_TYPES[kind]
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is list:
        return f"[{json_type(arguments[0])}]"
    if origin is dict:
        return f"{{{json_type(arguments[1])}}}"
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(json_type(alternative) for alternative in arguments)
    return "object"


def objects_of(kind: object, path: str) -> Iterator[tuple[type[object], str]]:
    """The TypedDicts inside a field's type, with their paths: `per_seed[]` of a list of them."""
    if is_typeddict(kind):
        assert isinstance(kind, type)
        yield kind, path
        return
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is list:
        yield from objects_of(arguments[0], f"{path}[]")
    elif origin is dict:
        yield from objects_of(arguments[1], f"{path}{{}}")
    elif origin in (Union, types.UnionType):
        for alternative in arguments:
            yield from objects_of(alternative, path)


def fields_of(kind: type[object], path: str = "") -> Iterator[Field]:
    """Every field of a TypedDict, those of the objects in it right after their own."""
    annotations = get_type_hints(kind, include_extras=True)
    for name, meaning in meanings(kind).items():
        annotation = annotations[name]
        is_optional = get_origin(annotation) is NotRequired
        value_type = get_args(annotation)[0] if is_optional else annotation
        words = json_type(value_type)
        if is_optional:
            words += ", not in all files"
        yield Field(path + name, words, meaning)
        for inner, inner_path in objects_of(value_type, path + name):
            yield from fields_of(inner, f"{inner_path}.")


def table(fields: Iterator[Field] | list[Field]) -> str:
    """A Markdown table of fields."""
    lines = ["| field | type | meaning |", "|---|---|---|"]
    for field in fields:
        meaning = field.meaning.replace("|", "\\|")
        lines.append(f"| `{field.path}` | {field.kind} | {meaning} |")
    return "\n".join(lines) + "\n"


def section(kind: type[object]) -> str:
    """The section of one file: its name, what it is, and its fields without those of the frame."""
    title, _, rest = inspect.cleandoc(kind.__doc__ or "").partition("\n")
    path, _, summary = title.partition(":")
    own = [field for field in fields_of(kind) if field.path not in schema.Frame.__annotations__]
    sentence = summary.strip()
    text = f"{sentence[0].upper()}{sentence[1:]}"
    if rest.strip():
        text += f"\n{rest}"
    return f"### {path}\n\n{text}\n\n{table(own)}"


def page() -> str:
    """The whole page."""
    _, introduction, _ = (schema.__doc__ or "").split("\n\n")
    parts = [
        HEAD.format(introduction=introduction.strip()),
        FRAME.format(table=table(fields_of(schema.Frame))),
    ]
    for heading, kinds in FILES.items():
        sections = "\n".join(section(kind) for kind in kinds)
        parts.append(f"## {heading}\n\n{sections}")
    return "\n".join(parts)


def main() -> None:
    """Writes or checks the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="compare the page; write nothing")
    is_check = parser.parse_args().check
    if not is_check:
        PAGE.write_text(page(), encoding="utf-8")
        print(f"result_files: wrote {PAGE}")
        return
    if not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != page():
        sys.exit(f"{PAGE} is not what the types say; run `python tools/result_files.py`.")
    print(f"result_files: {PAGE} agrees with the types")


if __name__ == "__main__":
    main()
