"""The plan: the committed one, and what none may say."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from replicate.codedigest import package_root
from replicate.errors import ReplicateError
from replicate.params import load_params
from replicate.reference.blocks import Folders, blocks_of, other_settings
from replicate.reference.plan import read_plan
from tests.reference.project import PLAN

COMMITTED = package_root() / "results/reference/plan.yaml"
FOLDERS = Folders(Path("work"), Path("results"))


def test_the_committed_plan_is_in_order_of_value() -> None:
    blocks = blocks_of(read_plan(COMMITTED), FOLDERS)
    labels = [(block.model, block.seeds, block.epochs) for block in blocks if block.entry.device == "cpu"]
    assert labels[:6] == [("adversarial_nets", str(seed), 1000) for seed in range(6)]
    rows = [
        "dbn",
        "rbm",
        "dbm",
        "stacked_cae",
        "autoencoder",
        "vae",
        "k_means",
        "k_means_weighted",
        "true_distribution",
    ]
    assert [(model, seeds) for model, seeds, _ in labels[6:96]] == [(row, str(k)) for row in rows for k in range(10)]
    assert [model for model, _, _ in labels[96:]] == ["deep_gsn"] * 10 + ["denoising_autoencoder"] * 10


def test_the_protocol_of_the_committed_plan_is_the_presets() -> None:
    plan, preset = read_plan(COMMITTED), load_params(str(package_root() / "presets/mnist.yaml"))
    for entry in plan.entries:
        params = plan.params_of(entry)
        assert params["likelihood"]["sigmas"] == list(preset.likelihood.sigmas)
        assert params["likelihood"]["samples"] == preset.likelihood.samples
        assert params["selection"] == preset.selection.model_dump()


def test_the_recipe_that_began_first_stays() -> None:
    """Blocks of it are under way: their settings are those of the kept run of 500 epochs, but for the epochs."""
    plan = read_plan(COMMITTED)
    params = plan.params_of(plan.entries[0])
    kept = yaml.safe_load((package_root() / "results/reference/mnist-500-epochs/params.yaml").read_text())
    recipe = kept["models"]["adversarial_nets"]["mnist"]
    assert params["models"] == {"adversarial_nets": {"mnist": recipe | {"epochs": 1000}}}
    for section in ("compute", "likelihood", "selection", "datasets"):
        assert params[section] == kept[section]


def _changed(change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    plan = deepcopy(PLAN)
    change(plan)
    return plan


FAULTS: dict[str, tuple[Any, str]] = {
    "no mapping": ([1], "a plan must be a mapping"),
    "another version": (_changed(lambda plan: plan.update(plan=2)), "plan: "),
    "no entries": (_changed(lambda plan: plan.update(entries=[])), "entries: "),
    "an unknown key": (_changed(lambda plan: plan.update(more=1)), "more: unknown key"),
    "a name twice": (_changed(lambda plan: plan["entries"].append(plan["entries"][0])), "stands in it twice"),
    "a name that climbs": (_changed(lambda plan: plan["entries"][0].update(name="../x")), "entries[0].name"),
    "device auto": (_changed(lambda plan: plan["entries"][0]["compute"].update(device="auto")), "cpu or cuda"),
    "no threads": (_changed(lambda plan: plan["entries"][0]["compute"].update(threads=0)), "compute.threads"),
    "no epochs": (_changed(lambda plan: plan["entries"][0]["models"]["k_means"]["digits"].clear()), "its epochs"),
    "half an epoch": (
        _changed(lambda plan: plan["entries"][0]["models"]["k_means"]["digits"].update(epochs=0.5)), "its epochs"
    ),
    "true for epochs": (
        _changed(lambda plan: plan["entries"][0]["models"]["k_means"]["digits"].update(epochs=True)), "its epochs"
    ),
    "two data sets": (_changed(lambda plan: plan["entries"][0]["models"]["k_means"].update(mnist={})), "one data set"),
    "an unknown model": (
        _changed(lambda plan: plan["entries"][0].update(models={"m": {"digits": {"epochs": 1}}})), "no model 'm'"
    ),
    "an unknown data set": (
        _changed(lambda plan: plan["entries"][0].update(models={"vae": {"d": {"epochs": 1}}})), "'d' is not among"
    ),
    "a seed twice": (_changed(lambda plan: plan["entries"][0].update(seeds=["0-2", "1"])), "more than one block"),
    "no seeds": (_changed(lambda plan: plan["entries"][0].update(seeds=[])), "entries[0].seeds"),
    "a wrong protocol": (_changed(lambda plan: plan["likelihood"].update(samples=1)), "likelihood.samples"),
}  # fmt: skip


@pytest.mark.parametrize("fault", list(FAULTS))
def test_what_is_no_plan_is_refused_with_its_place(tmp_path: Path, fault: str) -> None:
    content, sentence = FAULTS[fault]
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(ReplicateError) as caught:
        read_plan(path)
    assert sentence in str(caught.value)
    assert str(path) in str(caught.value)


def test_other_settings_are_named_and_more_epochs_are_none(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(PLAN))
    (block,) = blocks_of(read_plan(tmp_path / "plan.yaml"), FOLDERS)
    given: dict[str, Any] = {
        "config": {"epochs": 9, "batch_size": 100},
        "compute": {"device": "cpu", "threads": 1, "precision": "float32"},
        "selection": {"every": 5, "samples": 100}, "sigmas": [0.1, 0.2, 0.4], "validation_limit": 100,
    }  # fmt: skip
    assert other_settings(block, given) == []
    given["compute"]["threads"] = 2
    given["sigmas"] = [0.1, 0.2]
    assert other_settings(block, given) == ["compute.threads", "likelihood.sigmas"]
