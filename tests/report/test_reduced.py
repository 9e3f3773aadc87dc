"""The settings in which this run's form of an experiment differs from the full one, with values."""

from pathlib import Path
from typing import Any

import pytest

from replicate.records.sourced import ResultFolder, Traced, source_of, value_of
from replicate.report.statement_cards import (
    OWN_DATA,
    KeptStatement,
    full_form_of,
    reduced_settings,
)
from replicate.storage.files import write_json


def statement_of(**changes: Any) -> Traced:
    content = {"experiment": "ring", "changed": "updates, hidden", "dataset": None} | changes
    return Traced("results/statements.json", "/statements/0", content)


@pytest.fixture
def folder(tmp_path: Path) -> ResultFolder:
    own = {"updates": 300, "hidden": [32, 32], "rate": 0.1}
    full = {"updates": 3000, "hidden": [64, 64], "rate": 0.1}
    for file, config in (("experiments", own), ("reference/statements/ten", full)):
        write_json(tmp_path / f"results/{file}/ring.json", {"parameters": {"config": config}})
    return ResultFolder(tmp_path / "results")


def test_values_stand_beside_those_of_the_full_form_with_their_files(folder: ResultFolder) -> None:
    kept = KeptStatement("ten", statement_of(), OWN_DATA, same_rule=True)
    updates, hidden = reduced_settings(statement_of(), kept, folder)
    assert updates.full is not None
    assert hidden.full is not None
    assert (updates.name, value_of(updates.own), value_of(updates.full)) == ("updates", 300, 3000)
    assert (value_of(hidden.own), value_of(hidden.full)) == ([32, 32], [64, 64])
    assert source_of(updates.own) == "results/experiments/ring.json#/parameters/config/updates"
    assert source_of(updates.full) == (
        "results/reference/statements/ten/ring.json#/parameters/config/updates"
    )


@pytest.mark.parametrize(("name", "dataset"), [("ten", "mnist"), ("gone", OWN_DATA)])
def test_a_full_form_on_other_data_or_without_a_result_is_no_measure(
    folder: ResultFolder, name: str, dataset: str
) -> None:
    kept = KeptStatement(name, statement_of(), dataset, same_rule=True)
    assert [one.full for one in reduced_settings(statement_of(), kept, folder)] == [None, None]


def test_without_a_kept_result_the_defaults_are_the_full_form(folder: ResultFolder) -> None:
    """On synthetic data and on digits; on other data the full form is a recipe of its own."""
    settings = {"updates": {"default": 2000, "type": "integer"}, "hidden": {"type": "array"}}
    schema = {"properties": {"experiments": {"properties": {"ring": {"properties": settings}}}}}
    write_json(folder.folder.parent / "workflow/schema/params.schema.json", schema)
    for dataset in (None, "digits"):
        updates, hidden = reduced_settings(statement_of(dataset=dataset), None, folder)
        assert updates.full is not None
        assert value_of(updates.full) == 2000
        assert source_of(updates.full) == (
            "workflow/schema/params.schema.json"
            "#/properties/experiments/properties/ring/properties/updates/default"
        )
        assert hidden.full is None
    (updates, _) = reduced_settings(statement_of(dataset="mnist"), None, folder)
    assert updates.full is None


def test_a_full_form_has_none(folder: ResultFolder) -> None:
    assert reduced_settings(statement_of(changed=None), None, folder) == []
    assert reduced_settings(statement_of(experiment=None), None, folder) == []


def test_of_full_forms_with_as_many_seeds_the_one_that_can_be_seen_is_shown() -> None:
    def kept(name: str, seeds: int, changed: str | None, figures: bool) -> KeptStatement:
        statement = statement_of(seeds=seeds, changed=changed)
        return KeptStatement(name, statement, OWN_DATA, same_rule=True, has_figures=figures)

    first, drawn = kept("first", 10, None, False), kept("drawn", 10, None, True)
    assert full_form_of([first, drawn, kept("later", 10, None, True)]) is drawn
    assert full_form_of([first, kept("second", 10, None, False)]) is first
    larger = kept("larger", 16, None, False)
    assert full_form_of([drawn, larger]) is larger, "figures outweigh no seeds"
    assert full_form_of([first, kept("reduced", 10, "updates", True)]) is first
