"""The second opinion on Table 1: it agrees with the table, knows nothing of the package, and finds injected faults."""

import ast
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from replicate import models
from replicate.codedigest import package_root
from replicate.files import read_json, write_json, write_tensors
from replicate.protocol import read_protocol
from replicate.published import read_published
from replicate.result import result
from replicate.table import build_table

ROOT = package_root()
SCRIPT = ROOT / "tools/recompute.py"
PUBLISHED, PROTOCOL = read_published(ROOT / "results/published/table1.csv"), read_protocol(ROOT / "protocol.yaml")
#: Model -> level on MNIST: decided and undecided claims, a failed seed, a model without a published value.
LEVELS = {"dbn": 139.0, "stacked_cae": 175.0, "deep_gsn": 219.0, "adversarial_nets": 236.0, "vae": 280.0}


def _training(path: Path, seeds: int, failed: int | None) -> dict[str, Any]:
    """A training that had ended: its curve falls a little."""
    values = [[100.0 - epoch / 1000] * seeds for epoch in range(100, 1100, 100)]
    content = {
        "curve": {"epoch": list(range(100, 1100, 100)), "log_likelihood": values}, "seeds": list(range(seeds)),
        "failed": {} if failed is None else {str(failed): {"epoch": 2, "reason": "x"}},
    }  # fmt: skip
    write_json(path, content)
    return content


def _samplers(path: Path, level: float, seeds: int) -> dict[str, Any]:
    """Samplers that agree: two draws of every seed."""
    noise = np.random.default_rng(1 + int(level))
    found = {}
    for name in ("published", "mixed", "longer"):
        per_seed = [
            [{"log_likelihood": float(level + noise.normal(0, 5)), "effective_samples": 90.0, "memorisation": 0.0,
              "remembered_start": float(noise.normal(0, 0.01))} for _ in range(2)]
            for _ in range(seeds)
        ]  # fmt: skip
        found[name] = {"settings": {}, "per_seed": per_seed}
    content = {"seeds": list(range(seeds)), "samplers": found, "independent_pixels": -500.0}
    write_json(path, content)
    return content


def _evaluation(path: Path, level: float, seeds: int, folds: int, failed: int | None = None) -> dict[str, Any]:
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
    write_tensors(path.with_suffix(".safetensors"), {f"fold{k}": fold for k, fold in enumerate(images)})
    return content


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of five models on MNIST and four on five folds, with the files that it was made from."""
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
            "test", list(found), found, PUBLISHED, [], PROTOCOL, training=trainings, samplers=samplers
        )
    write_json(tmp_path / "results/table1.json", result("table", "", {}, {}, **content))
    return tmp_path


@pytest.fixture
def table(kept: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(kept, tmp_path / "run")) / "results/table1.json"


def words_for(table: Path) -> list[str]:
    published = ROOT / "results/published/table1.csv"
    return ["--table", str(table), "--protocol", str(ROOT / "protocol.yaml"), "--published", str(published)]


def complaint(table: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the script says when it exits because of a difference."""
    monkeypatch.chdir(table.parent.parent)
    spec = importlib.util.spec_from_file_location("recompute", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
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


def test_it_agrees_with_the_table(table: Path) -> None:
    states = {
        cell["verdict"]["state"]
        for row in read_json(table)["rows"]
        for cell in row["cells"].values()
    }  # fmt: skip
    assert {"inconclusive", "no published value"} < states
    assert len(states) >= 4
    words = [sys.executable, str(SCRIPT), *words_for(table)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=table.parent.parent, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the largest difference is" in done.stdout
    assert int(done.stdout.split()[1]) > 400


def test_a_changed_log_likelihood_of_one_image_is_found(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
        ("rows/0/cells/mnist/measured/interquartile_interval/1", 150.0, "mnist/dbn/measured/interquartile_interval/1"),
        ("rows/0/cells/tfd/measured/standard_error_folds", 0.5, "tfd/dbn/measured/standard_error_folds"),
        ("rows/0/cells/tfd/measured/variances/seed/variance", 9.0, "tfd/dbn/measured/variances/seed/variance"),
        ("rows/2/cells/mnist/verdict/ci90_simultaneous/0", -1.0, "mnist/deep_gsn/verdict/ci90_simultaneous/0"),
        ("rows/1/cells/mnist/verdict/state", "not replicated", "mnist/stacked_cae/verdict/state"),
        ("orderings/1/verdict/state", "replicated", "T1r/tfd/verdict/state"),
        ("orderings/0/comparisons/2/share_interval/0", 0.9, "T1r/mnist/comparisons/2/share_interval/0"),
        ("orderings/0/comparisons/0/ci95_simultaneous", None, "T1r/mnist/comparisons/0/ci95_simultaneous"),
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
