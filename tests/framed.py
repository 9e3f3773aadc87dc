"""Results of any stage, in the frame that every result file has."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from replicate.records.frame import frame_of


def result(
    stage: str,
    code: str,
    parameters: Mapping[str, Any],
    inputs: Mapping[str, Path],
    **values: Any,
) -> dict[str, Any]:
    """The content of a result file.

    Args:
        stage: the stage's name.
        code: stands for the digest of the code.
        parameters: of the job.
        inputs: name -> file that was read.
        values: what was measured.
    """
    frame = frame_of(code, parameters, inputs)
    return {**frame, "stage": stage, "parameters": dict(parameters), **values}
