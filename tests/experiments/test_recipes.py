"""The full form of an experiment on a data set: its own settings there, which a run may change and
then names.
"""

import json

import pytest

from replicate.errors import ReplicateError
from replicate.experiments import ON_IMAGES, REGISTRY, load_experiment
from replicate.params import load_params
from replicate.stages.experiment import changed, experiment_parameters

WITH_RECIPES = ["conditional", "features", "inference", "inpainting", "interpolation"]


def settings(name: str, **given: object) -> tuple[dict[str, object], list[str]]:
    study = load_experiment(name)
    params = load_params(json.dumps({"experiments": {name: given}}))
    config = experiment_parameters(params, name)
    return config.model_dump(), changed(study, config)


@pytest.mark.parametrize("name", WITH_RECIPES)
def test_mnist_has_settings_of_its_own(name: str) -> None:
    ours, different = settings(name, dataset="mnist")
    digits, none = settings(name)
    assert ours["hidden"] == (256, 256)
    assert digits["hidden"] == (128, 128)
    assert different == none == []


def test_what_a_run_changes_is_named() -> None:
    ours, different = settings("inpainting", dataset="mnist", updates=10, seeds="0-1")
    assert ours["learning_rate"] == 0.0007
    assert different == ["updates"]
    assert settings("inpainting", hidden=[256, 256])[1] == [
        "hidden"
    ]  # on digits that is another form


def test_only_experiments_on_images_have_recipes_and_every_recipe_is_valid() -> None:
    for name in REGISTRY:
        recipes = load_experiment(name).recipes
        assert not recipes or name in ON_IMAGES
        for dataset in recipes:
            settings(name, dataset=dataset)
    with pytest.raises(ReplicateError, match="updates"):
        settings("conditional", dataset="mnist", updates=0)
