"""The metadata of weights and samples: what is whole comes back as it stands, and a fault is named
by its place.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from replicate.errors import ReplicateError
from replicate.records.tensor_about import samples_about, weights_about

COMMON: dict[str, Any] = {
    "dataset": "digits",
    "model": "rbm",
    "block": "0-1",
    "seeds": [0, 1],
    "failed": {"1": {"epoch": 3, "reason": "diverged"}},
    "shape": [1, 8, 8],
    "parameters": {"config": {"epochs": 2}},
    "later": "what a later version adds",
}
SAMPLES = COMMON | {
    "chains": 10,
    "sampler": {"chains": 10, "burn_in": 0, "thinning": 1, "start": "data", "pixels": "means"},
}
PATH = Path("folder/x.safetensors")
Reader = Callable[[Path, dict[str, str]], Any]


def read(reader: Reader, about: object) -> Any:
    return reader(PATH, {"about": json.dumps(about)})


@pytest.mark.parametrize(("reader", "about"), [(weights_about, COMMON), (samples_about, SAMPLES)])
def test_what_is_whole_comes_back_as_it_stands(reader: Reader, about: dict[str, Any]) -> None:
    assert read(reader, about) == about
    assert read(
        reader, about | {"rounded": {"to": "float16", "largest_difference": 0.1, "images": 1}}
    )


def test_samples_need_neither_shape_nor_chains() -> None:
    independent = {name: SAMPLES[name] for name in ("dataset", "model", "block", "seeds", "failed")}
    independent["chains"] = None
    assert read(samples_about, independent) == independent


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"seeds": []}, "its seeds are not distinct"),
        ({"seeds": [2, 2]}, "its seeds are not distinct"),
        ({"seeds": [-1]}, "about.seeds.0: input should be greater than or equal to 0"),
        ({"seeds": ["0"]}, "about.seeds.0: input should be a valid integer"),
        ({"failed": {"1": {"epoch": 3}}}, "about.failed.1.reason: field required"),
        ({"block": None}, "about.block: input should be a valid string"),
        ({"shape": [1, 8]}, "about.shape: list should have at least 3 items"),
    ],
)
def test_a_fault_of_weights_is_named_by_its_place(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(ReplicateError) as refusal:
        read(weights_about, COMMON | changes)
    message = str(refusal.value)
    assert message.startswith("folder/x.safetensors is not a weights file of this project (")
    assert f"({fault}" in message
    assert message.endswith("); run `train` again.")


def test_faults_of_samples_name_their_stage() -> None:
    with pytest.raises(ReplicateError, match=r"is not a samples file .*; run `sample` again"):
        read(samples_about, COMMON)
    with pytest.raises(ReplicateError, match="says nothing of a model"):
        samples_about(PATH, {})
    with pytest.raises(ReplicateError, match=r"\(Expecting value"):
        samples_about(PATH, {"about": "no JSON"})
