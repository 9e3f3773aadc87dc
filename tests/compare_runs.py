"""Small runs that tests set beside each other: a table of the project's own making, and the results
behind it.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from replicate.storage.files import read_json, write_json
from replicate.storage.paths import package_root
from replicate.verdicts.protocol import read_protocol
from replicate.verdicts.published import read_published
from replicate.verdicts.table1 import build_table
from tests.framed import result

#: Log-likelihoods of the seeds of a model, None for one that failed.
Values = tuple[float | None, ...]
RECORD = {
    "versions": {"torch": "2.13.0", "numpy": "2.4.6", "python": "3.11.7"}, "processor": "Xeon", "system": "Linux",
    "device": "cpu", "device_name": "CPU", "threads": 1, "wall_seconds": 1.0,
}  # fmt: skip


def _kept(path: Path, content: dict[str, Any]) -> None:
    write_json(path, content)
    write_json(path.with_name(f"{path.stem}.run.json"), RECORD)


def _draw(value: float) -> dict[str, Any]:
    fold = {"at_edge": False, "fine_log_likelihood": value}
    return {
        "log_likelihood": value, "standard_error": 2.0, "standard_error_folds": None, "effective_samples": None,
        "autocorrelation": None, "folds": [fold],
    }  # fmt: skip


def _seed(seed: int, value: float | None) -> dict[str, Any]:
    failed = {"epoch": 3, "reason": "the loss is not a number"} if value is None else None
    draws = [] if value is None else [_draw(value)]
    return {"seed": seed, "failed": failed, "log_likelihood": value, "draws": draws}


def write_run(
    folder: Path, measured: Mapping[str, Values], first: int = 0, rate: float = 0.1, samples: int = 100,
    dimension: int = 64,
) -> Path:  # fmt: skip
    """A run of models on digits, in one block of seeds from `first`.

    Args:
        folder: project folder of the run.
        measured: model -> log-likelihoods of its seeds.
        rate: learning rate of all models.
        samples: of the Parzen estimate.
        dimension: of the images.
    """
    results, evaluations = folder / "results", {}
    for model, values in measured.items():
        seeds = list(range(first, first + len(values)))
        block = f"{first}-{seeds[-1]}"
        of = {"dataset": "digits", "model": model, "block": block, "seeds": seeds}
        asked = {"config": {"rate": rate, "hidden": [8, 8]}, "compute": {"threads": 1}, **of}
        training = result("train", "train-1", asked, {}, **of, chosen_epoch=[5] * len(seeds))
        evaluation = result(
            "evaluate", "evaluate-1", {"compute": {"threads": 1}}, {}, **of, n_test=[10], n_samples=samples,
            n_validation=[10], validation_available=[10], dimension=dimension, sigmas=[0.1], chains=None,
            per_seed=[_seed(seed, value) for seed, value in zip(seeds, values, strict=True)],
        )  # fmt: skip
        stem = f"digits/{model}/{block}.json"
        for kind, content in (("train", training), ("evaluation", evaluation)):
            _kept(results / kind / stem, content | {"inputs": {"data": "d" * 64}})
        evaluations[model, "digits"] = [(f"results/evaluation/{stem}", evaluation)]
    root = package_root()
    protocol, published = (
        read_protocol(root / "protocol.yaml"),
        read_published(root / "results/published/table1.csv"),
    )
    table = build_table(folder.name, list(evaluations), evaluations, published, [], protocol)
    write_json(results / "table1.json", result("table", "table-1", {}, {}, **table))
    return folder


def write_statements(
    folder: Path, statements: Mapping[str, tuple[str, float]], updates: int = 100
) -> Path:
    """The statements of a run, all of one experiment: name -> verdict and the value of its one
    check.
    """
    seeds = [0, 1]
    found = [
        {
            "statement": name, "says": f"Says {name}.", "state": state, "reason": "by a test", "protocol_sha256": "a" * 64,
            "experiment": None if state == "not attempted" else "theory",
            "checks": [] if state == "not attempted" else
            [{"reads": "gap (nats)", "value": value, "per_seed": [value, value], "sd_over_seeds": 0.0}],
        }
        for name, (state, value) in statements.items()
    ]  # fmt: skip
    config = {"config": {"updates": updates, "seeds": "0-1"}}
    experiment = result(
        "experiment", "theory-1", config, {}, experiment="theory", seeds=seeds, checks={}
    )
    _kept(folder / "results/experiments/theory.json", experiment)
    write_json(
        folder / "results/statements.json",
        result("statements", "statements-1", {}, {}, statements=found),
    )
    return folder


def change(path: Path, edit: Callable[[Any], Any]) -> None:
    """Edits a JSON file in place."""
    content = read_json(path)
    edit(content)
    write_json(path, content)
