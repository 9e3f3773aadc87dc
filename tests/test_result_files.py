"""Result files are what their types say: kept ones, and those of today's stages; others are refused
with the place of the fault.
"""

import copy
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from replicate.errors import ReplicateError
from replicate.jobs.code_digest import NOT_FOLLOWED, code_digest
from replicate.records import schema
from replicate.records.frame import checked_content, checked_result, read_result
from replicate.storage.files import canonical_json, read_json, write_json
from replicate.storage.paths import package_root
from tests.result_kinds import KINDS, kind_of, undeclared

ROOT = package_root()
KEPT = sorted(
    path
    for folder in ("reference", "tuning")
    for path in (ROOT / "results" / folder).rglob("*.json")
)


@pytest.mark.parametrize("path", KEPT, ids=lambda path: str(path.relative_to(ROOT / "results")))
def test_a_kept_file_is_what_its_type_says(path: Path) -> None:
    content = read_json(path)
    kind = kind_of(path, content)
    assert checked_content(content, kind, path, "run it again") is content
    assert not undeclared(content, kind)


def _values(content: Any, pointer: str = "") -> Iterator[tuple[Any, Any, str]]:
    """Every value in a document: its container, its key, and its JSON pointer."""
    if not isinstance(content, dict | list):
        return
    for key, value in content.items() if isinstance(content, dict) else enumerate(content):
        step = str(key).replace("~", "~0").replace("/", "~1")
        yield content, key, f"{pointer}/{step}"
        yield from _values(value, f"{pointer}/{step}")


STATEMENTS = ROOT / "results/reference/statements/seeds-0-9"
MODEL = ROOT / "results/reference/mnist-1-seed/adversarial_nets"


@pytest.mark.parametrize(
    ("path", "pointer", "value", "words"),
    [
        (MODEL / "train.json", "/curve/epoch/0", "10", "a whole number is needed, not '10'"),
        (MODEL / "train.json", "/seeds/0", True, "a whole number is needed, not true"),
        (MODEL / "train.json", "/parameters/compute/threads", None, "a whole number is needed"),
        (
            MODEL / "evaluation.json",
            "/per_seed/0/draws/0/folds/0/sigma",
            "0.2",
            "a number is needed",
        ),
        (MODEL / "evaluation.json", "/per_seed/0/failed", {"epoch": 1}, "field required"),
        (MODEL / "bandwidth.json", "/at_edge/0/0/0", 0, "true or false is needed, not 0"),
        (MODEL / "recognition.json", "/per_seed", {}, "a list is needed, not a mapping"),
        (
            STATEMENTS / "statements.json",
            "/statements/0/state",
            "maybe",
            "input should be 'replicated'",
        ),
        (
            STATEMENTS / "degenerate.json",
            "/checks/H1",
            [],
            "a mapping of names to values is needed",
        ),
        (ROOT / "results/tuning/digits.json", "/models/vae/0/seconds", "1", "a number is needed"),
    ],
)
def test_a_field_of_another_type_is_named_by_its_place(
    path: Path, pointer: str, value: Any, words: str, tmp_path: Path
) -> None:
    content = read_json(path)
    *steps, last = pointer.split("/")[1:]
    container = content
    for step in steps:
        container = container[int(step) if isinstance(container, list) else step]
    container[int(last) if isinstance(container, list) else last] = value
    file = tmp_path / path.name
    write_json(file, content)
    stage = content["stage"]
    with pytest.raises(ReplicateError) as refusal:
        read_result(file, KINDS[stage])
    message = str(refusal.value)
    assert message.startswith(f"{file}#{pointer}")
    assert words in message
    assert message.endswith(f"; run the stage {stage!r} again.")
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize("key", ["curve", "epochs", "parameters_sha256", "inputs"])
def test_a_missing_field_is_named(key: str) -> None:
    content = read_json(MODEL / "train.json")
    del content[key]
    with pytest.raises(ReplicateError, match=rf"x\.json#/{key}: field required; "):
        checked_result(content, schema.Training, Path("x.json"))


@pytest.mark.parametrize(
    "content", [None, [], {}, {"stage": "train"}, {"stage": "tune", "schema": 1}]
)
def test_what_is_no_result_of_the_stage_is_refused(content: Any) -> None:
    with pytest.raises(ReplicateError, match=r"not a result of the stage 'train' \(schema 1\)"):
        checked_result(content, schema.Training, Path("x.json"))


def test_a_field_of_a_later_version_is_no_fault_and_stays() -> None:
    content = read_json(MODEL / "train.json") | {"later": 1}
    assert checked_result(content, schema.Training, Path("x.json"))["later"] == 1  # type: ignore[typeddict-item]


VALUES: list[Any] = [None, "text", -1, 0.5, [], {}, True]
REPRESENTATIVES = [
    MODEL / "train.json",
    MODEL / "bandwidth.json",
    MODEL / "evaluation.json",
    STATEMENTS / "statements.json",
    ROOT / "results/reference/mnist-1-seed/table1.json",
]


@pytest.mark.parametrize("path", REPRESENTATIVES, ids=lambda path: path.stem)
def test_a_document_that_changed_at_random_is_read_or_refused_at_the_change(path: Path) -> None:
    """The pointer of a refusal leads to the value that changed, or to where it would stand."""
    generator = random.Random(0)
    original = read_json(path)
    kind = kind_of(path, original)
    refusals: list[tuple[str, str]] = []
    pointers = [pointer for _, _, pointer in _values(original)]
    for pointer in generator.sample(pointers, 60):
        content = copy.deepcopy(original)
        container, key = next((c, k) for c, k, p in _values(content) if p == pointer)
        container[key] = generator.choice(VALUES)
        try:
            checked_content(content, kind, Path("x.json"), "make it again")
        except ReplicateError as refusal:
            refusals.append((pointer, str(refusal)))
    assert len(refusals) > 20
    for pointer, message in refusals:
        assert message.startswith(f"x.json#{pointer}")
        assert message.endswith("; make it again.")


def test_types_are_no_part_of_any_code_digest(tmp_path: Path) -> None:
    """A field that is described in other words re-runs nothing."""
    package = tmp_path / "replicate"
    for name, text in {
        "stages/a.py": "from replicate.records.schema import Training\n",
        "records/schema.py": "class Training: ...\n",
        "__init__.py": "",
    }.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    before = code_digest(["replicate.stages.a"], tmp_path)
    (package / "records/schema.py").write_text("class Training:\n    epochs: int\n")
    assert code_digest(["replicate.stages.a"], tmp_path) == before
    assert "replicate.records.schema" in NOT_FOLLOWED


def test_the_types_hold_no_function_and_no_constant_that_a_value_could_come_from() -> None:
    """What is left out of the digests must not be able to change a result."""
    import ast

    tree = ast.parse((ROOT / "replicate/records/schema.py").read_text(encoding="utf-8"))
    for statement in tree.body:
        if isinstance(statement, ast.Assign):
            assert isinstance(statement.value, ast.Subscript), ast.unparse(statement)
        else:
            assert isinstance(statement, ast.Expr | ast.ImportFrom | ast.ClassDef)


@pytest.mark.slow
def test_the_page_of_fields_is_what_the_types_say() -> None:
    check = [sys.executable, "tools/result_files.py", "--check"]
    done = subprocess.run(check, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_page_names_every_result_file() -> None:
    page = (ROOT / "docs/result-files.md").read_text(encoding="utf-8")
    missing = [stage for stage in KINDS if f"`{stage}`" not in page]
    assert missing == []


def test_reading_a_file_returns_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    path.write_bytes((MODEL / "train.json").read_bytes())
    content = read_result(path, schema.Training)
    assert canonical_json(content).encode() == path.read_bytes()
    assert json.loads(path.read_bytes()) == content
