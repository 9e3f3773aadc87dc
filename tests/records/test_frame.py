"""The frame of a result: digests by hashlib, and places of faults by RFC 6901."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from replicate.errors import ReplicateError
from replicate.records.frame import checked_content, frame_of, stage_of
from replicate.records.schema import Training
from replicate.storage.files import canonical_json


def test_the_frame_has_the_digests_of_parameters_and_inputs(tmp_path: Path) -> None:
    for name, content in (("a", b"first"), ("b", b"second")):
        (tmp_path / name).write_bytes(content)
    parameters = {"epochs": 3, "config": {"units": 8}}
    inputs = {"data": tmp_path / "a", "weights": tmp_path / "b"}
    frame = frame_of("digest of the code", parameters, inputs)
    assert frame == {
        "schema": 1,
        "code": "digest of the code",
        "parameters_sha256": hashlib.sha256(canonical_json(parameters).encode()).hexdigest(),
        "inputs": {
            "data": hashlib.sha256(b"first").hexdigest(),
            "weights": hashlib.sha256(b"second").hexdigest(),
        },
    }
    assert stage_of(Training) == "train"


@pytest.mark.parametrize(
    ("content", "kind", "pointer"),
    [
        ({"a/b": {"~": ["x"]}}, dict[str, dict[str, list[int]]], "/a~1b/~0/0"),
        ([1, [2, "3"]], list[list[int] | int], "/1/1"),
        ({"a": [1, 2, None]}, dict[str, list[int]], "/a/2"),
        ("x", int, ""),
    ],
)
def test_a_fault_is_named_by_its_pointer(content: Any, kind: Any, pointer: str) -> None:
    with pytest.raises(ReplicateError) as refusal:
        checked_content(content, kind, Path("x.json"), "write it again")
    message = str(refusal.value)
    assert message.startswith(f"x.json#{pointer}: ")
    assert message.endswith("; write it again.")
