"""The frame that every result file shares, and how a file is held to its type.

The types themselves stand in `replicate.records.schema`.
"""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, get_args, get_type_hints

from replicate.errors import ReplicateError
from replicate.records.schema import Frame
from replicate.storage.files import read_json, sha256_file, sha256_json
from replicate.wording import of_types

if TYPE_CHECKING:
    from pydantic import TypeAdapter

#: Version of the frame; a file of another one is refused.
SCHEMA = 1

Content = TypeVar("Content", bound=Mapping[str, object])


def frame_of(code: str, parameters: Mapping[str, object], inputs: Mapping[str, Path]) -> Frame:
    """The frame of a result file, beside its own `stage` and `parameters`.

    Args:
        code: digest of the modules that compute the values.
        parameters: those of the job, with defaults filled in.
        inputs: name -> file that was read.
    """
    return {
        "schema": SCHEMA,
        "code": code,
        "parameters_sha256": sha256_json(parameters),
        "inputs": {name: sha256_file(path) for name, path in inputs.items()},
    }


def stage_of(kind: type[object]) -> str:
    """The stage that writes a type of result file."""
    annotation = get_type_hints(kind)["stage"]
    (stage,) = get_args(annotation)
    return str(stage)


def read_result(path: Path, kind: type[Content]) -> Content:
    """Reads a result file as its type says, such as `Training`.

    Raises:
        ReplicateError: there is no such file, it is of another schema or stage, or a field is not
            what its stage writes there.
    """
    content = read_json(path)
    return checked_result(content, kind, path)


def checked_result(content: object, kind: type[Content], path: Path) -> Content:
    """The content of a result file that was read before, as it stands, held to its type.

    Raises:
        ReplicateError: as `read_result`.
    """
    stage = stage_of(kind)
    if not is_result_of(content, stage):
        raise ReplicateError(
            f"{path} is not a result of the stage {stage!r} (schema {SCHEMA}); "
            "run that stage again."
        )
    return checked_content(content, kind, path, f"run the stage {stage!r} again")


def is_result_of(content: object, stage: str) -> bool:
    """Whether a file calls itself a result of a stage, in the schema of this version."""
    # Any JSON may lie there: the file's name says nothing of its content.
    if not isinstance(content, dict):
        return False
    return content.get("schema") == SCHEMA and content.get("stage") == stage


def checked_content(content: object, kind: type[Content], path: Path, remedy: str) -> Content:
    """Any JSON, as it stands, held to a type of `replicate.records.schema`.

    Args:
        content: of the file.
        kind: its type.
        path: of the file, for the message.
        remedy: what the message advises.

    Raises:
        ReplicateError: names the first field that is missing or of another type by its JSON
            pointer.
    """
    from pydantic import ValidationError

    try:
        # Strict: pydantic would take the text "1" where a stage writes the number.
        _adapter(kind).validate_python(content, strict=True)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        pointer = _pointer(content, fault["loc"], fault["type"] == "missing")
        raise ReplicateError(f"{path}#{pointer}: {of_types(fault)}; {remedy}.") from None
    # What was validated is a copy, in which fields of later versions are missing.
    return content  # type: ignore[return-value]


@functools.cache
def _adapter(kind: type[object]) -> "TypeAdapter[object]":
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _pointer(content: object, location: Sequence[int | str], is_missing: bool) -> str:
    """The JSON pointer (RFC 6901) of a fault.

    Args:
        content: of the file.
        location: of the fault, as pydantic has it: keys and indices, and between them the names of
            alternatives where a field may be of several types.
        is_missing: the last entry of `location` is the name of a field that is not there.
    """
    pointer, value = "", content
    for depth, step in enumerate(location, start=1):
        is_key = isinstance(value, dict) and step in value
        is_index = isinstance(value, list) and isinstance(step, int)
        if is_key or is_index:
            value = value[step]  # type: ignore[index]
        # The name of an alternative is no step of the file.
        elif not (is_missing and depth == len(location)):
            continue
        escaped = str(step).replace("~", "~0").replace("/", "~1")
        pointer += f"/{escaped}"
    return pointer
