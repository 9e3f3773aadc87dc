"""The plan: the committed one, and what none may say."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from replicate.errors import ReplicateError
from replicate.params import load_params
from replicate.reference_runs.blocks import Folders, blocks_of, differing_settings
from replicate.reference_runs.plan import read_plan
from replicate.storage.paths import package_root
from tests.reference.project import PLAN

COMMITTED = package_root() / "results/reference/plan.yaml"
FOLDERS = Folders(Path("work"), Path("results"))


def test_the_committed_plan_is_in_order_of_value() -> None:
    blocks = blocks_of(read_plan(COMMITTED), FOLDERS)
    names = [(block.model, block.seeds) for block in blocks if block.entry.device == "cpu"]
    adversarial_nets = [("adversarial_nets", str(seed)) for seed in range(6)]
    assert names == [
        *_seed_by_seed("dbn", "stacked_cae"),
        *[("dbn", str(seed)) for seed in range(6)],  # half the epochs
        *[("dbn", str(seed)) for seed in range(6)],  # twice the epochs
        *[("stacked_cae", str(seed)) for seed in range(6)],  # half
        *[("stacked_cae", str(seed)) for seed in range(6)],  # twice
        *adversarial_nets,
        *_seed_by_seed("autoencoder", "vae", "rbm", "dbm"),
        *_seed_by_seed("k_means", "k_means_weighted", "true_distribution"),
        *_seed_by_seed("deep_gsn"),
        *_seed_by_seed("denoising_autoencoder"),
        *[("gmmn", str(seed)) for seed in range(6)],
    ]


def _seed_by_seed(*rows: str) -> list[tuple[str, str]]:
    """Blocks of ten seeds of these models, so that all their rows grow together."""
    return [(row, str(seed)) for seed in range(10) for row in rows]


def test_the_protocol_of_the_committed_plan_is_the_presets() -> None:
    plan, preset = read_plan(COMMITTED), load_params(str(package_root() / "presets/mnist.yaml"))
    for entry in plan.entries:
        params = plan.params_of(entry)
        assert params["likelihood"]["sigmas"] == list(preset.likelihood.sigmas)
        assert params["likelihood"]["samples"] == preset.likelihood.samples
        assert params["selection"] == preset.selection.model_dump()


def test_the_recipe_of_the_adversarial_nets_stays() -> None:
    """Its settings are those of the committed run of 500 epochs, but for the epochs."""
    plan = read_plan(COMMITTED)
    (entry,) = [entry for entry in plan.entries if entry.name == "mnist-1000-epochs"]
    params = plan.params_of(entry)
    path = package_root() / "results/reference/mnist-500-epochs/params.yaml"
    committed = yaml.safe_load(path.read_text())
    recipe = committed["models"]["adversarial_nets"]["mnist"]
    assert params["models"] == {"adversarial_nets": {"mnist": recipe | {"epochs": 1000}}}
    for section in ("compute", "likelihood", "selection", "datasets"):
        assert params[section] == committed[section]


def _changed(change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    plan = deepcopy(PLAN)
    change(plan)
    return plan


def _changed_entry(change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    return _changed(lambda plan: change(plan["entries"][0]))


def _with_epochs(value: object) -> dict[str, Any]:
    return _changed_entry(lambda entry: entry["models"]["k_means"]["digits"].update(epochs=value))


FAULTS: dict[str, tuple[Any, str]] = {
    "no mapping": ([1], "a plan must be a mapping"),
    "another version": (_changed(lambda plan: plan.update(plan=2)), "plan: "),
    "no entries": (_changed(lambda plan: plan.update(entries=[])), "entries: "),
    "an unknown key": (_changed(lambda plan: plan.update(more=1)), "more: unknown key"),
    "a name twice": (
        _changed(lambda plan: plan["entries"].append(plan["entries"][0])),
        "stands in it twice",
    ),
    "a name that climbs": (
        _changed_entry(lambda entry: entry.update(name="../x")),
        "entries[0].name",
    ),
    "device auto": (
        _changed_entry(lambda entry: entry["compute"].update(device="auto")),
        "cpu or cuda",
    ),
    "no threads": (
        _changed_entry(lambda entry: entry["compute"].update(threads=0)),
        "compute.threads",
    ),
    "no epochs": (
        _changed_entry(lambda entry: entry["models"]["k_means"]["digits"].clear()),
        "its epochs",
    ),
    "half an epoch": (_with_epochs(0.5), "its epochs"),
    "true for epochs": (_with_epochs(True), "its epochs"),
    "two data sets": (
        _changed_entry(lambda entry: entry["models"]["k_means"].update(mnist={})),
        "one data set",
    ),
    "an unknown model": (
        _changed_entry(lambda entry: entry.update(models={"m": {"digits": {"epochs": 1}}})),
        "no model 'm'",
    ),
    "an unknown data set": (
        _changed_entry(lambda entry: entry.update(models={"vae": {"d": {"epochs": 1}}})),
        "'d' is not among",
    ),
    "a seed twice": (
        _changed_entry(lambda entry: entry.update(seeds=["0-2", "1"])),
        "more than one block",
    ),
    "no seeds": (_changed_entry(lambda entry: entry.update(seeds=[])), "entries[0].seeds"),
    "a wrong protocol": (
        _changed(lambda plan: plan["likelihood"].update(samples=1)),
        "likelihood.samples",
    ),
}


@pytest.mark.parametrize("fault", list(FAULTS))
def test_what_is_no_plan_is_refused_with_its_place(tmp_path: Path, fault: str) -> None:
    content, sentence = FAULTS[fault]
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(ReplicateError) as caught:
        read_plan(path)
    assert sentence in str(caught.value)
    assert str(path) in str(caught.value)


def test_differing_settings_are_named_and_more_epochs_are_none(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(PLAN))
    (block,) = blocks_of(read_plan(tmp_path / "plan.yaml"), FOLDERS)
    settings: Any = {
        "config": {"epochs": 9, "batch_size": 100},
        "compute": {"device": "cpu", "threads": 1, "precision": "float32"},
        "selection": {"every": 5, "samples": 100},
        "sigmas": [0.1, 0.2, 0.4],
        "validation_limit": 100,
    }
    assert differing_settings(block, settings) == []
    settings["compute"]["threads"] = 2
    settings["sigmas"] = [0.1, 0.2]
    assert differing_settings(block, settings) == ["compute.threads", "likelihood.sigmas"]
