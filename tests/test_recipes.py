"""Our own recipes are what the committed trials chose, and every trial is one of the committed
file.
"""

from pathlib import Path
from typing import Any

import pytest

from replicate.models import REGISTRY, load_model
from replicate.params import checked
from replicate.stages.tune import configs_of, read_trials
from replicate.storage.files import read_json
from replicate.storage.paths import package_root

FILES = sorted((package_root() / "tuning").glob("*.yaml"))
#: Reference rows: nothing of them is tuned.
UNTUNED = {"true_distribution", "k_means", "k_means_weighted"}


#: Settings that are younger than the trials, with the values that these had.
YOUNGER = {"sampler": "recipe"}


def of_trial(entry: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """The config of a trial, with what it has of the younger settings."""
    return {name: value for name, value in YOUNGER.items() if name in config} | entry["config"]


def measured(path: Path) -> dict[str, list[dict[str, Any]]]:
    models: dict[str, list[dict[str, Any]]] = read_json(
        package_root() / f"results/tuning/{path.stem}.json"
    )["models"]
    return models


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_model_had_the_same_trials_as_the_file_lists(path: Path) -> None:
    trials, found = read_trials(path), measured(path)
    assert set(found) == set(trials.models) == set(REGISTRY) - UNTUNED
    for name, entries in found.items():
        configs = [config.model_dump(mode="json") for config in configs_of(trials, name)]
        assert [
            of_trial(entry, config) for entry, config in zip(entries, configs, strict=True)
        ] == configs
        assert {entry["seeds"] for entry in entries} == {trials.seeds}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_best_trial_is_the_recipe(path: Path) -> None:
    trials = read_trials(path)
    for name, entries in measured(path).items():
        sound = [entry for entry in entries if entry["log_likelihood"] is not None]
        best = max(sound, key=lambda entry: entry["log_likelihood"])
        model = load_model(name)
        recipe = checked(model.Config, dict(model.recipes[trials.dataset][0]), name).model_dump(
            mode="json"
        )
        assert recipe == of_trial(best, recipe), name
