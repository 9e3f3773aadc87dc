"""What decides whether a job is current: its settings with all defaults, however the parameter file
writes them.
"""

import pytest

from replicate import datasets, experiments, models
from replicate.jobs.job_list import JobList
from replicate.jobs.parameter_schema import filled
from replicate.jobs.plan import Plan
from replicate.jobs.subject import Subject


@pytest.mark.parametrize("dataset", datasets.REGISTRY)
@pytest.mark.parametrize("model", models.REGISTRY)
def test_filled_recipes_are_those_of_the_models_themselves(model: str, dataset: str) -> None:
    """The defaults come from the committed schema, without torch; here from the types."""
    kind = models.load_model(model)
    for changes in ({}, {"batch_size": 8}):
        config = kind.config_for(dataset, changes).model_dump(mode="json")
        assert filled(["models", model, dataset], changes) == config
        assert filled(["models", model, dataset], config) == config


@pytest.mark.parametrize("name", experiments.REGISTRY)
def test_filled_experiments_are_those_of_their_modules(name: str) -> None:
    study = experiments.load_experiment(name)
    assert study.recipe({}) == {}
    whole = study.Config().model_dump(mode="json")
    raw = {"datasets": {"digits": {}, "mnist": {}}, "models": {"vae": {"digits": {}, "mnist": {}}}}

    def settings(**options: object) -> object:
        plan = Plan({**raw, "experiments": {name: options}})
        return plan.settings("experiment", Subject(experiment=name))["experiments"][name]

    assert settings() == settings(**whole) == whole
    if name in experiments.ON_IMAGES:  # a module may have other defaults there
        assert settings(dataset="mnist", seeds="0-3") == {"dataset": "mnist", "seeds": "0-3"}


def test_a_default_that_is_written_out_is_no_change_and_any_other_value_is() -> None:
    raw = {
        "datasets": {"digits": {}},
        "models": {"vae": {"digits": {}}},
        "experiments": {"theory": {}},
    }
    before = Plan(raw)
    written = {
        **raw,
        "preset": "custom", "seeds": ["0-2"], "compute": {"threads": 1}, "selection": {"every": 10},
        "likelihood": {"samples": 10_000, "sigmas": list(before.params.likelihood.sigmas)},
        "datasets": {"digits": {"split_seed": 0}},
        "models": {"vae": {"digits": {"batch_size": before.filled["models"]["vae"]["digits"]["batch_size"]}}},
        "experiments": {"theory": {"updates": 3000, "learning_rate": 0.003}},
    }  # fmt: skip
    one, other = JobList(before), JobList(Plan(written))
    assert {job: one.given(one.all[job]) for job in one.all} == {
        job: other.given(other.all[job]) for job in other.all
    }
    changed = JobList(Plan({**written, "models": {"vae": {"digits": {"batch_size": 3}}}}))
    moved = {
        rule
        for (rule, about), job in one.all.items()
        if one.given(job) != changed.given(changed.all[rule, about])
    }
    assert moved == {"train", "table", "report"}


@pytest.mark.parametrize("value", [1, 1.0])
def test_a_whole_number_is_one_number_however_it_is_written(value: float) -> None:
    raw = {
        "datasets": {"digits": {}},
        "models": {"adversarial_nets": {"digits": {"learning_rate": value}}},
    }
    learning_rate = Plan(raw).filled["models"]["adversarial_nets"]["digits"]["learning_rate"]
    assert repr(learning_rate) == "1"
