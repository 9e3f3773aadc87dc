"""What is refused before any job starts: batches larger than their set, seeds, and data that DVC's
copies lack.
"""

import time
from pathlib import Path
from typing import Any

import pytest

from replicate.errors import ReplicateError
from replicate.jobs import parameter_schema
from replicate.jobs.parameter_schema import model_defaults
from replicate.jobs.precheck import checked_plan, workspace_of
from replicate.models import REGISTRY, load_model
from replicate.params import MAX_BLOCK, Params, seeds_of
from tests.datasets.data_helpers import write_images

DIGITS = 1283  # training images of digits


def given(**changes: Any) -> dict[str, Any]:
    return {
        "seeds": ["0-1"],
        "datasets": {"digits": {}},
        "models": {"k_means": {"digits": {}}},
    } | changes


def refusal(raw: dict[str, Any]) -> str:
    with pytest.raises(ReplicateError) as caught:
        checked_plan(raw, "p.yaml")
    return str(caught.value)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("REPLICATE_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("content", [None, "", "{"])
def test_a_schema_that_is_lost_or_damaged_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    path = tmp_path / "params.schema.json"
    if content is not None:
        path.write_text(content)
    monkeypatch.setattr(parameter_schema, "schema_path", lambda: path)
    parameter_schema._committed.cache_clear()
    try:
        assert refusal(given()).startswith(f"cannot read {path} (")
    finally:
        parameter_schema._committed.cache_clear()


def test_a_batch_of_more_images_than_there_are_is_refused() -> None:
    def model(**changes: Any) -> dict[str, Any]:
        return given(models={"adversarial_nets": {"digits": changes}})

    checked_plan(model(batch_size=DIGITS), "p.yaml")
    words = f"images and digits has {DIGITS} to train on; choose less."
    path = "p.yaml: models.adversarial_nets.digits.batch_size: a step takes"
    assert refusal(model(batch_size=DIGITS + 1)) == f"{path} {DIGITS + 1} {words}"
    checked_plan(model(batch_size=400, schedule="simultaneous", discriminator_steps=4), "p.yaml")
    assert (
        refusal(model(batch_size=400, schedule="alternating", discriminator_steps=4))
        == f"{path} 1600 {words}"
    )


def test_a_batch_is_compared_with_a_folder_of_images_that_is_there(folder: Path) -> None:
    write_images(folder / "data/images", [f"{k}.png" for k in range(70)])
    raw = given(
        datasets={"images": {"size": 8}},
        models={"k_means": {"images": {}}, "vae": {"images": {"batch_size": 51}}},
    )
    assert (
        "models.vae.images.batch_size: a step takes 51 images and images has 50 to train on"
        in refusal(raw)
    )
    (folder / "data/images/far.png").symlink_to("/nowhere")
    checked_plan(raw, "p.yaml")  # `fetch` says what is wrong, and the other jobs run


def test_a_batch_of_an_experiment_on_images_is_compared_with_its_set() -> None:
    raw = given(experiments={"collapse": {"batch_size": DIGITS + 1}})
    assert (
        f"experiments.collapse.batch_size: {DIGITS + 1} images are more than the {DIGITS} that "
        "digits" in refusal(raw)
    )
    checked_plan(given(experiments={"theory": {"batch_size": 5000}, "collapse": {}}), "p.yaml")


@pytest.mark.parametrize("model", REGISTRY)
def test_the_defaults_of_the_schema_are_those_of_the_model(model: str) -> None:
    assert model_defaults(model, "mnist") == load_model(model).config_for("mnist", {}).model_dump(
        mode="json"
    )


SEEDS = {
    "0\u20135": 'a block of seeds is written as "7" or "0-2", not \'0\u20135\' (the dash is a hyphen)',
    "5-0": "the block '5-0' runs backwards",
    "": 'a block of seeds is written as "7" or "0-2", not \'\'',
    "\u0663": 'a block of seeds is written as "7" or "0-2", not \'\u0663\'',
    "0-999999999": "the block '0-999999999' has 1000000000 seeds, which are trained side by side "
    "in memory; "
    "write blocks of at most 1000",
}


@pytest.mark.parametrize("block", SEEDS)
def test_seeds_of_experiments_are_checked_with_those_of_the_run(block: str) -> None:
    assert refusal(given(seeds=[block])) == f"p.yaml: seeds: {SEEDS[block]}."
    assert (
        refusal(given(experiments={"theory": {"seeds": block}}))
        == f"p.yaml: experiments.theory.seeds: {SEEDS[block]}."
    )


def test_any_number_of_blocks_is_checked_at_once_and_repeated_seeds_are_found() -> None:
    """Against a search of every pair of seeds."""
    blocks = [f"{7 * k}-{7 * k + 6}" for k in range(20_000)]
    before = time.process_time()
    Params.parse({"seeds": blocks}, "p.yaml")
    assert time.process_time() - before < 2
    for extra in ("699-705", "3", "139999", "0-6"):
        with pytest.raises(
            ReplicateError, match=f"seed {seeds_of(extra)[0]} stands in more than one block"
        ):
            Params.parse({"seeds": [*blocks, extra]}, "p.yaml")
    assert len(seeds_of(f"5-{MAX_BLOCK + 4}")) == MAX_BLOCK


def test_the_workspace_of_a_copy() -> None:
    assert workspace_of(Path("/a/b/.dvc/tmp/exps/tmpx1")) == Path("/a/b")
    assert workspace_of(Path("/a/b/.dvc/tmp/exps/standalone/tmpx1")) == Path("/a/b")
    assert workspace_of(Path("/a/b")) is None
    assert workspace_of(Path("/a/.dvc/tmp/b")) is None


@pytest.mark.parametrize("named", [None, "photos"])
def test_data_that_only_the_workspace_has_are_not_left_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch, named: str | None
) -> None:
    copy = folder / ".dvc/tmp/exps/tmpx1"
    copy.mkdir(parents=True)
    options = {"size": 8} | ({"folder": named} if named else {})
    raw = given(
        datasets={"digits": {}, "images": options},
        models={"k_means": {"digits": {}, "images": {"batch_size": 5}}},
    )
    monkeypatch.chdir(copy)
    assert list(checked_plan(raw, "p.yaml").absent) == ["images"], (
        "nobody has them: left out as ever"
    )
    place = folder / (named or "data/images")
    write_images(place, [f"{k}.png" for k in range(14)])
    remedy = f"name {place} in the parameters" if named else f"set REPLICATE_DATA={folder / 'data'}"
    assert refusal(raw) == (
        "p.yaml: datasets.images would be left out: `dvc exp run --temp` and `--queue` work in a "
        "copy of the checkout, "
        f"which has no {named or 'data/images'}; {remedy}, or run the experiment without --temp "
        "and --queue."
    )
    monkeypatch.setenv("REPLICATE_DATA", str(folder / "data"))
    if named is None:
        assert not checked_plan(raw, "p.yaml").absent
