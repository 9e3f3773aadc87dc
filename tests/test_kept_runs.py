"""Every run that is kept below results/reference: read, compared with all others and with runs of
every preset.
"""

import functools
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from replicate.__main__ import main
from replicate.comparison.beside import read_beside, section
from replicate.comparison.verify import compare_models, decide
from replicate.comparison.verify_statements import compare_statements
from replicate.figures.theme import checked_svg
from replicate.params import Params, load_params
from replicate.records.kept_runs import LIST, differences
from replicate.records.parameters import training_parameters
from replicate.records.run_folder import RunFolder, kept_runs, read_run
from replicate.stages.train import model_parameters
from replicate.storage.files import read_json, read_tensors, write_json
from replicate.storage.paths import package_root

ROOT = package_root()
KEPT = ROOT / "results/reference"
FOLDERS = kept_runs(KEPT)
#: What the pages and tools of this project read of a kept run.
STAGES = {
    "train",
    "bandwidth",
    "evaluate",
    "samplers",
    "recognise",
    "table",
    "experiment",
    "statements",
    "draw",
    "round",
    # Of `reference --measure`, and of rows that a kept statement compares.
    "measures",
    "controls",
    "ranks",
}
#: A run with every kind of result, which the others are set beside.
WHOLE = KEPT / "mnist-1-seed"


def named(folder: Path) -> str:
    return folder.relative_to(KEPT).as_posix()


@functools.cache
def run_in(folder: Path) -> RunFolder:
    return read_run(folder)


@pytest.mark.parametrize("folder", FOLDERS, ids=named)
def test_it_is_itself_bit_by_bit_and_says_the_same_as_every_other(folder: Path) -> None:
    """That is what `python -m replicate verify --run` tells of it."""
    pairs = []
    for other in FOLDERS:
        pairs += compare_models(run_in(folder), run_in(other)) + compare_statements(
            run_in(folder), run_in(other)
        )
    comparisons, _, _ = decide(pairs)
    own = [one.outcome for one in comparisons if one.reference == str(folder)]
    assert own
    assert set(own) == {"same bits"}
    assert [one for one in comparisons if one.outcome == "failed"] == []


@pytest.mark.parametrize("folder", FOLDERS, ids=named)
def test_it_can_be_set_beside_another_run(folder: Path) -> None:
    beside = read_beside(WHOLE / "table1.json", WHOLE, folder, "page.comparison.json")
    shown = section(beside)
    measured = beside.content["counts"]["rows"] + beside.content["counts"]["rows_of_one_run"]
    assert measured >= len(read_json(WHOLE / "table1.json")["rows"]) - 1
    attempted = [claim for claim in shown.differing if claim.compared["change"] == "only there"]
    statements = folder / "statements.json"
    if statements.is_file():
        judged_there = [entry for entry in read_json(statements)["statements"] if entry["checks"]]
        assert (shown.has_statements.ours, shown.has_statements.theirs) == (False, True)
        assert attempted == []
        assert len(beside.theirs.statements) >= len(judged_there) > 0
    else:
        assert beside.theirs.table is not None
        assert beside.theirs.run.models, "the results behind its table are found"


@pytest.mark.parametrize("folder", FOLDERS, ids=named)
def test_its_files_are_those_of_its_list(folder: Path) -> None:
    """After a change that was meant: `python -m replicate reference --sums`."""
    assert (folder / LIST).is_file()
    assert differences(folder) == []


def files() -> list[Path]:
    return sorted(path for path in KEPT.rglob("*") if path.is_file())


def test_every_file_belongs_to_one_run_and_is_of_a_kind_that_something_reads() -> None:
    """What no reader knows is either read as something else or kept for nothing."""
    for path in files():
        of_all_runs = (KEPT / "README.md", KEPT / "plan.yaml", KEPT / "multiverse.json")
        if path in of_all_runs or path.name == LIST:
            continue
        assert len([folder for folder in FOLDERS if folder in path.parents]) == 1, path
        kind(path)


def kind(path: Path) -> None:
    """Checks what a kept file is by what it holds."""
    if path.name.endswith(".run.json"):
        assert read_json(path)["schema"] == 1
        assert read_json(path)["stage"] in STAGES, path
    elif path.name == "weights.json":
        assert set(read_json(path)) == {"chosen", "epochs", "last"}, path
    elif path.suffix == ".json":
        assert read_json(path)["stage"] in STAGES, path
    elif path.suffix == ".safetensors":
        tensors, metadata = read_tensors(path)
        exported = "rounded" in json.loads(metadata.get("about", "{}"))
        of_images = (
            read_json(path.with_suffix(".json"))["stage"] == "evaluate" if not exported else False
        )
        assert exported or (of_images and set(tensors) == {"fold0"}), path
    elif path.suffix == ".csv":
        assert path.name == "table1.csv" or path.parent.name == "curves", path
    elif path.suffix == ".png":
        with Image.open(path) as picture:
            picture.verify()
    elif path.suffix == ".svg":
        listing = read_json(path.with_name("figures.json"))
        assert path.stem in {figure["name"] for figure in listing["figures"]}, path
        checked_svg(path.read_bytes())
    else:
        assert path.name == "params.yaml", path


@pytest.mark.parametrize("folder", FOLDERS, ids=named)
def test_its_parameter_file_is_that_of_its_results(folder: Path) -> None:
    """Models, data sets, blocks and precision that the results record are those that the file asks
    for.
    """
    params = load_params(str(folder / "params.yaml"))
    for (dataset, model), blocks in run_in(folder).models.items():
        for block, job in blocks.items():
            assert (dataset, model, block) in params.runs
            recorded = job["evaluate"].content["parameters"]["compute"]
            assert recorded.get("precision", "float32") == params.compute.precision


def evaluated(params: Params, values: dict[int, float]) -> dict[str, Any]:
    """What an evaluation measured: seed -> log-likelihood."""
    draw = {
        "standard_error": 2.0,
        "standard_error_folds": None,
        "effective_samples": None,
        "autocorrelation": None,
    }
    draw["folds"] = [{"at_edge": False, "fine_log_likelihood": 1.0}]
    per_seed = [
        {
            "seed": seed,
            "failed": None,
            "log_likelihood": value,
            "draws": [draw | {"log_likelihood": value}],
        }
        for seed, value in values.items()
    ]
    sigmas, limit = list(params.likelihood.sigmas), params.likelihood.validation_limit
    return {
        "per_seed": per_seed, "n_test": [10000], "n_samples": params.likelihood.samples, "n_validation": [limit],
        "validation_available": [10000], "dimension": 784, "sigmas": sigmas, "chains": None,
    }  # fmt: skip


def fabricate(folder: Path, params: Params) -> None:
    """A run with these parameters that nobody waited for: results of its trainings, and statements as
    they were kept.
    """
    data = run_in(WHOLE).models["mnist", "vae"]["0"]["train"].content["inputs"]
    for dataset, model, block in params.runs:
        given = training_parameters(
            params, model_parameters(params, dataset, model), dataset, model, block
        )
        first, last = (int(end) for end in (block.split("-") * 2)[:2])
        seeds = list(range(first, last + 1))
        of = {
            "schema": 1,
            "code": "a" * 16,
            "dataset": dataset,
            "model": model,
            "block": block,
            "seeds": seeds,
        }
        stem = f"{dataset}/{model}/{block}.json"
        write_json(
            folder / "train" / stem, of | {"stage": "train", "parameters": given, "inputs": data}
        )
        measured = evaluated(params, {seed: 100.0 + seed for seed in seeds})
        frame = {"stage": "evaluate", "parameters": {"compute": given["compute"]}, "inputs": data}
        write_json(folder / "evaluation" / stem, of | frame | measured)
    write_json(folder / "statements.json", statements_of(params))
    write_json(folder / "params.yaml", params.model_dump(mode="json"))


def statements_of(params: Params) -> dict[str, Any]:
    """The statements that the run's experiments decide, as they were found on the same data."""
    sides = {None: "seeds-0-9", "digits": "seeds-0-9", "mnist": "mnist-seeds-0-5"}
    kept = {
        dataset: read_json(KEPT / "statements" / name / "statements.json")
        for dataset, name in sides.items()
    }
    found = dict(kept[None])
    found["statements"] = []
    for name, changes in params.experiments.items():
        statements = kept[changes.get("dataset")]["statements"]
        found["statements"] += [
            statement for statement in statements if statement["experiment"] == name
        ]
    return found


@pytest.mark.parametrize("preset", sorted(path.stem for path in (ROOT / "presets").glob("*.yaml")))
def test_a_run_by_each_preset_is_compared_with_all_that_it_has_in_common(
    preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    params = load_params(str(ROOT / f"presets/{preset}.yaml"))
    fabricate(tmp_path / "results", params)
    monkeypatch.chdir(ROOT)
    assert main(["verify", "--run", str(tmp_path / "results")]) == 0
    told = capsys.readouterr().out
    cells = {(dataset, model) for dataset, model, _ in params.runs}
    for cell, folder in itertools.product(cells, FOLDERS):
        line = f"{' '.join(cell)} [{folder.relative_to(ROOT)}]: "
        assert told.count(line) == (cell in run_in(folder).models)
    assert told.splitlines()[-1].startswith("verify: ")
