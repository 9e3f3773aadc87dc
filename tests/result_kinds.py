"""The type of every result file, for tests of files."""

from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from typing_extensions import is_typeddict

from replicate.records import schema
from replicate.records.frame import stage_of

NO_RESULT = ("Frame", "RunRecord", "EvaluationPart")
#: Stage -> the type of its result file.
KINDS: dict[str, Any] = {
    stage_of(kind): kind
    for name, kind in vars(schema).items()
    if is_typeddict(kind) and "stage" in kind.__annotations__ and name not in NO_RESULT
}


def kind_of(path: Path, content: Any) -> Any:
    if path.name == "weights.json":
        return schema.BlockWeights
    return schema.RunRecord if path.name.endswith(".run.json") else KINDS[content["stage"]]


def undeclared(content: Any, kind: Any) -> bool:
    """Whether a file holds a field that its type lacks: pydantic's copy is without it."""
    return bool(TypeAdapter(kind).validate_python(content, strict=True) != content)
