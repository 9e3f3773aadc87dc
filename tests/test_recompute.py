"""The second opinion on Table 1: it agrees with the table, knows nothing of the package, and finds
injected faults.
"""

import ast
import functools
import importlib.util
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from replicate import models
from replicate.models.parts.samplers import SamplerName
from replicate.storage.files import read_json, write_json, write_tensors
from replicate.storage.paths import package_root
from replicate.verdicts.protocol import Protocol, read_protocol
from replicate.verdicts.published import read_published
from replicate.verdicts.statements import statement_verdict, statement_verdicts
from replicate.verdicts.table1 import build_table
from tests.framed import result

ROOT = package_root()
SCRIPT = ROOT / "tools/recompute.py"
PUBLISHED, PROTOCOL = (
    read_published(ROOT / "results/published/table1.csv"),
    read_protocol(ROOT / "protocol.yaml"),
)
#: Model -> level on MNIST: decided and undecided claims, a failed seed, a model without a published
#: value.
LEVELS = {
    "dbn": 139.0,
    "stacked_cae": 175.0,
    "deep_gsn": 219.0,
    "adversarial_nets": 236.0,
    "vae": 280.0,
}


def _training(path: Path, seeds: int, failed: int | None) -> dict[str, Any]:
    """A training that had ended: its curve falls a little."""
    values = [[100.0 - epoch / 1000] * seeds for epoch in range(100, 1100, 100)]
    content = {
        "curve": {"epoch": list(range(100, 1100, 100)), "log_likelihood": values}, "seeds": list(range(seeds)),
        "failed": {} if failed is None else {str(failed): {"epoch": 2, "reason": "x"}}, "epochs": 1000,
    }  # fmt: skip
    write_json(path, content)
    return content


def _samplers(path: Path, level: float, seeds: int) -> dict[str, Any]:
    """Samplers that agree: two draws of every seed."""
    noise = np.random.default_rng(1 + int(level))
    found = {}
    names: tuple[SamplerName, ...] = ("published", "mixed", "longer")
    for name in names:
        per_seed = [
            [{"log_likelihood": float(level + noise.normal(0, 5)), "effective_samples": 90.0, "memorisation": 0.0,
              "remembered_start": float(noise.normal(0, 0.01))} for _ in range(2)]
            for _ in range(seeds)
        ]  # fmt: skip
        settings = PROTOCOL.samplers.rows[path.parent.name][name].model_dump()
        found[name] = {"settings": settings, "per_seed": per_seed}
    content = {"seeds": list(range(seeds)), "samplers": found, "independent_pixels": -500.0}
    write_json(path, content)
    return content


def _evaluation(
    path: Path, level: float, seeds: int, folds: int, failed: int | None = None
) -> dict[str, Any]:
    """An evaluation whose images, means and errors agree, as the stage `evaluate` writes it."""
    noise = np.random.default_rng(int(level))
    sizes = [40] * folds if folds == 1 else [30, 50, 35, 45, 40]
    shift = noise.normal(0, 5, (seeds, 1)) + noise.normal(0, 2, (seeds, 2))
    images = [level + shift[:, :, None] + noise.normal(0, 60, (seeds, 2, n)) for n in sizes]
    per_seed: list[dict[str, Any]] = []
    for seed in range(seeds):
        if seed == failed:
            for fold in images:
                fold[seed] = np.nan
            entry = {"log_likelihood": None, "draws": [], "failed": {"epoch": 2, "reason": "x"}}
            per_seed.append({"seed": seed, **entry})
            continue
        draws = []
        for draw in range(2):
            each = [
                {"log_likelihood": float(fold[seed, draw].mean()), "at_edge": False, "fine_log_likelihood": level,
                 "standard_error": float(fold[seed, draw].std() / np.sqrt(fold.shape[2]))}
                for fold in images
            ]  # fmt: skip
            means = [fold["log_likelihood"] for fold in each]
            over = float(np.std(means, ddof=1) / np.sqrt(folds)) if folds > 1 else None
            draws.append({
                "log_likelihood": float(np.mean(means)), "standard_error_folds": over, "folds": each,
                "standard_error": float(np.mean([fold["standard_error"] for fold in each])),
                "effective_samples": 10000.0, "autocorrelation": None,
            })  # fmt: skip
        mean = float(np.mean([draw["log_likelihood"] for draw in draws]))
        per_seed.append({"seed": seed, "failed": None, "log_likelihood": mean, "draws": draws})
    content = {
        "per_seed": per_seed, "n_test": sizes, "n_samples": 10000, "dimension": 784, "chains": None,
        "n_validation": [1000] if folds == 1 else [800] * 5, "sigmas": list(PROTOCOL.estimates["mnist"].sigmas),
        "validation_available": [10000] if folds == 1 else [800] * 5,
    }  # fmt: skip
    if sampler := PROTOCOL.samplers.deciding(path.parent.name):
        content |= {"chains": sampler.chains, "sampler": sampler.model_dump()}
    write_json(path, content)
    write_tensors(
        path.with_suffix(".safetensors"), {f"fold{k}": fold for k, fold in enumerate(images)}
    )
    return content


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of five models on MNIST and four on five folds, with the files that it was made
    from.
    """
    tmp_path, found = tmp_path_factory.mktemp("run"), {}
    trainings, samplers = {}, {}
    for dataset, factor, folds in (("mnist", 1.0, 1), ("tfd", 9.2, 5)):
        for model, level in LEVELS.items():
            if (dataset, model) != ("tfd", "vae"):
                path = tmp_path / f"results/evaluation/{dataset}/{model}/0-6.json"
                failed = 3 if (dataset, model) == ("mnist", "stacked_cae") else None
                content = _evaluation(path, level * factor, 7, folds, failed)
                found[model, dataset] = [(str(path.relative_to(tmp_path)), content)]
                stem = f"{dataset}/{model}/0-6.json"
                training = _training(tmp_path / f"results/train/{stem}", 7, failed)
                trainings[model, dataset] = [(f"results/train/{stem}", training)]
                if model in PROTOCOL.samplers.rows:
                    compared = _samplers(tmp_path / f"results/samplers/{stem}", level * factor, 7)
                    samplers[model, dataset] = [(f"results/samplers/{stem}", compared)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(models.REGISTRY, "vae", ("VAE", "none"))
        content = build_table(
            "test",
            list(found),
            found,
            PUBLISHED,
            [],
            PROTOCOL,
            training=trainings,
            samplers=samplers,
        )
    write_json(tmp_path / "results/table1.json", result("table", "", {}, {}, **content))
    return tmp_path


@pytest.fixture
def table(kept: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(kept, tmp_path / "run")) / "results/table1.json"


def words_for(table: Path) -> list[str]:
    published = ROOT / "results/published/table1.csv"
    return [
        "--table",
        str(table),
        "--protocol",
        str(ROOT / "protocol.yaml"),
        "--published",
        str(published),
    ]


@functools.cache
def script() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("recompute", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def complaint(table: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the script says when it exits because of a difference."""
    monkeypatch.chdir(table.parent.parent)
    module = script()
    with pytest.raises(SystemExit) as caught:
        module.main(words_for(table))
    return str(caught.value.code)


def test_it_imports_nothing_of_the_package() -> None:
    imported = set()
    for node in ast.walk(ast.parse(SCRIPT.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").split(".")[0])
    assert imported - sys.stdlib_module_names == {"numpy", "scipy", "yaml"}


@pytest.mark.parametrize("epochs", [71, 72, 73])
@pytest.mark.parametrize("looks", [[], [None, None]])
def test_a_training_without_looks_has_not_shown_that_it_ended_unless_it_is_the_recipe(
    tmp_path: Path, epochs: int, looks: list[None]
) -> None:
    """On TFD no images choose the epoch: results have no looks, or looks without a value."""
    curve = {"epoch": [epochs][: len(looks)], "log_likelihood": [looks][: len(looks)]}
    file = tmp_path / "train.json"
    write_json(file, {"epochs": epochs, "seeds": [0, 1], "failed": {}, "curve": curve})
    rules = yaml.safe_load((ROOT / "protocol.yaml").read_text(encoding="utf-8"))["rising"]
    shown, module = {"files": [str(file)]}, script()
    assert module.still_rising(shown, rules, "tfd", "adversarial_nets", 26.0) == (epochs != 72)
    assert not module.went_on_beyond(shown, rules, 72)


def test_it_agrees_with_the_table(table: Path) -> None:
    states = {
        cell["verdict"]["state"]
        for row in read_json(table)["rows"]
        for cell in row["cells"].values()
    }  # fmt: skip
    assert {"inconclusive", "no published value"} < states
    assert len(states) >= 4
    words = [sys.executable, str(SCRIPT), *words_for(table)]
    done = subprocess.run(
        words, capture_output=True, text=True, cwd=table.parent.parent, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the largest difference is" in done.stdout
    assert int(done.stdout.split()[1]) > 400


def test_a_changed_log_likelihood_of_one_image_is_found(
    table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = table.parent / "evaluation/mnist/deep_gsn/0-6.safetensors"
    content = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    values = np.frombuffer(content, "<f8", offset=start).copy()
    values[17] += 1e-3
    path.write_bytes(bytes(content[:start]) + values.tobytes())
    said = complaint(table, monkeypatch)
    assert "mnist/deep_gsn/measured/mean" in said
    assert "dbn" not in said


def _set(content: Any, place: str, value: Any) -> None:
    *steps, last = place.split("/")
    for step in steps:
        content = content[int(step) if isinstance(content, list) else step]
    content[int(last) if isinstance(content, list) else last] = value


@pytest.mark.parametrize(
    ("place", "value", "named"),
    [
        ("rows/3/cells/mnist/verdict/state", "replicated", "mnist/adversarial_nets/verdict/state"),
        ("rows/0/cells/mnist/measured/sd_over_seeds", 1.0, "mnist/dbn/measured/sd_over_seeds"),
        (
            "rows/0/cells/mnist/measured/interquartile_interval/1",
            150.0,
            "mnist/dbn/measured/interquartile_interval/1",
        ),
        (
            "rows/0/cells/tfd/measured/standard_error_folds",
            0.5,
            "tfd/dbn/measured/standard_error_folds",
        ),
        (
            "rows/0/cells/tfd/measured/variances/seed/variance",
            9.0,
            "tfd/dbn/measured/variances/seed/variance",
        ),
        (
            "rows/2/cells/mnist/verdict/ci90_simultaneous/0",
            -1.0,
            "mnist/deep_gsn/verdict/ci90_simultaneous/0",
        ),
        ("rows/1/cells/mnist/verdict/state", "not replicated", "mnist/stacked_cae/verdict/state"),
        ("orderings/1/verdict/state", "replicated", "T1r/tfd/verdict/state"),
        (
            "orderings/0/comparisons/2/share_interval/0",
            0.9,
            "T1r/mnist/comparisons/2/share_interval/0",
        ),
        (
            "orderings/0/comparisons/0/ci95_simultaneous",
            None,
            "T1r/mnist/comparisons/0/ci95_simultaneous",
        ),
        ("rows/0/cells/mnist/measured/mean", None, "mnist/dbn/measured/mean"),
    ],
)
def test_a_changed_number_or_verdict_is_found(
    table: Path, monkeypatch: pytest.MonkeyPatch, place: str, value: Any, named: str
) -> None:
    content = json.loads(table.read_text())
    _set(content, place, value)
    table.write_text(json.dumps(content))
    assert named in complaint(table, monkeypatch)


def test_a_verdict_from_nowhere_is_found(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = json.loads(table.read_text())
    content["rows"][0]["cells"]["mnist"]["measured"] = None
    table.write_text(json.dumps(content))
    assert "mnist/dbn" in complaint(table, monkeypatch)


# --------------------------------------------------------------------------------- statements

STATEMENTS = ROOT / "results/reference/statements"
RULES = yaml.safe_load((ROOT / "protocol.yaml").read_text(encoding="utf-8"))


def kept_results(folder: Path) -> dict[str, tuple[str, Any]]:
    """Statement -> the kept result that decides it by the checks of today."""
    results = {}
    for path in sorted(folder.glob("*.json")):
        content = read_json(path)
        if content.get("stage") != "experiment":
            continue
        for name, checks in content.get("checks", {}).items():
            if checks.keys() == PROTOCOL.statements[name].checks.keys():
                results[name] = (str(path), content)
    return results


def test_it_agrees_with_every_statement_of_the_kept_results() -> None:
    module, states = script(), set()
    for folder in sorted(STATEMENTS.iterdir()):
        shown = statement_verdicts(PROTOCOL, kept_results(folder))
        states |= {entry["state"] for entry in shown}
        found = list(module.recomputed_statements({"statements": shown}, RULES))
        assert [place for size, place in found if not size <= 1e-9] == []
        assert len(found) >= len(PROTOCOL.statements)
    assert {"replicated", "not replicated", "inconclusive", "not attempted"} <= states


@given(
    seeds=st.lists(st.floats(-2, 2) | st.none(), min_size=1, max_size=12),
    exact=st.floats(-1, 1) | st.none(),
    shift=st.floats(-1, 1),
    side=st.sampled_from(["above", "below"]),
    second=st.booleans(),
    asks_for=st.sampled_from(["all", "any"]),
)
def test_it_agrees_on_any_numbers(
    seeds: list[float | None],
    exact: float | None,
    shift: float,
    side: str,
    second: bool,
    asks_for: str,
) -> None:
    """With failed seeds, too few of them, no spread, several checks together, or one that is enough."""
    checks: dict[str, Any] = {"tested": {"reads": "a", side: 0.1}}
    measured: dict[str, Any] = {"tested": seeds}
    if asks_for == "all":
        checks["exact"] = {"reads": "b", side: 0.0, "exact": True}
        measured["exact"] = exact
    if second:
        checks["again"] = {"reads": "c", "below": 0.5}
        measured["again"] = [None if value is None else value + shift for value in seeds]
    entry = {"section": "6", "says": "x", "asks_for": asks_for, "checks": checks}
    protocol = Protocol.model_validate({**RULES, "statements": {"X": entry}})
    content = {
        "experiment": "x", "parameters": {"config": {}}, "changed": [], "not_applicable": None,
        "checks": {"X": measured},
    }  # fmt: skip
    shown = statement_verdict("X", protocol, {"X": ("x.json", content)})  # type: ignore[dict-item]
    module = script()
    tested = sum(not check.get("exact") for check in checks.values())
    for (name, rule), verdict in zip(checks.items(), shown["checks"], strict=True):
        expected = module.check_verdict(rule, measured[name], tested, asks_for == "any")
        assert max(module.differences(name, expected, verdict))[0] <= 1e-9
    expected = module.decided(entry, measured, [*zip(checks, shown["checks"], strict=True)])
    assert max(module.differences("X", expected, shown))[0] == 0


@pytest.mark.parametrize(
    ("place", "value", "named"),
    [
        ("state", "inconclusive", "E1/state"),
        ("checks/1/ci90/0", -5.0, "E1/checks/1/ci90/0"),
        ("checks/1/value", 0.5, "E1/checks/1/value"),
        ("checks/0/state", None, "E1/checks/0/state"),
        ("result", None, "E1/state"),
    ],
)
def test_a_changed_number_or_verdict_of_a_statement_is_found(
    place: str, value: Any, named: str
) -> None:
    shown = statement_verdicts(PROTOCOL, kept_results(STATEMENTS / "version-4-seeds-0-9"))
    (entry,) = [entry for entry in shown if entry["statement"] == "E1"]
    assert entry["state"] not in ("not attempted", "inconclusive")
    _set(entry, place, value)
    found = script().recomputed_statements({"statements": shown}, RULES)
    assert named in [where for size, where in found if size > 1e-9]


def test_a_statement_that_is_missing_is_found() -> None:
    found = list(script().recomputed_statements({"statements": []}, RULES))
    assert len(found) == len(PROTOCOL.statements)
    assert all(math.isinf(size) for size, _ in found)


def test_a_kept_run_has_too_little_and_is_told_so() -> None:
    table = ROOT / "results/reference/mnist-1-seed/table1.json"
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--table", str(table)],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "is missing. This needs the log-likelihood of every test image" in line
