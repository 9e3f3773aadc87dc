"""The frame that every result file shares (docs/architecture.md, "Result files")."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from replicate.errors import ReplicateError
from replicate.files import read_json, sha256_file, sha256_json

SCHEMA = 1


def result(
    stage: str, code: str, parameters: BaseModel | Mapping[str, Any], inputs: Mapping[str, Path], **values: Any
) -> dict[str, Any]:
    """The content of a result file: the frame, and the measured `values`.

    Args:
        stage: the stage's name.
        code: digest of the syntax trees that computed the values.
        parameters: those of the job, with defaults filled in.
        inputs: name -> file that was read; its SHA-256 is recorded.
    """
    given = parameters.model_dump(mode="json") if isinstance(parameters, BaseModel) else dict(parameters)
    return {
        "schema": SCHEMA,
        "stage": stage,
        "code": code,
        "parameters": given,
        "parameters_sha256": sha256_json(given),
        "inputs": {name: sha256_file(path) for name, path in inputs.items()},
        **values,
    }


def read_result(path: Path, stage: str) -> dict[str, Any]:
    """Reads a result file; another schema or another stage's file is refused."""
    content = read_json(path)
    if not isinstance(content, dict) or content.get("stage") != stage or content.get("schema") != SCHEMA:
        raise ReplicateError(f"{path} is not a result of the stage {stage!r} (schema {SCHEMA}); run that stage again.")
    return content
