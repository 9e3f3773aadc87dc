"""What the page weighs: that of the paper's own run, made of results of its shape."""

import argparse
import shutil
from pathlib import Path

import pytest

from replicate.models import load_model
from replicate.params import Params, load_params, seeds_of
from replicate.records.run_record import StageMeter
from replicate.report.page import page
from replicate.stages import draw
from replicate.storage.files import read_json, write_json
from replicate.storage.paths import package_root
from replicate.verdicts.statements import counts
from tests.framed import result
from tests.report.fabricated import (
    CODE,
    SHAPES,
    Job,
    jobs_of,
    write_data,
    write_job,
    write_ranks,
    write_table,
)

#: Bytes. A browser opens it at once, and mail and code hosts take it.
LIMIT = 8e6
ROOT = package_root()
KEPT = ROOT / "results/reference/statements"
#: Where results of experiments in their full form are kept; of two of the same experiment the later
#: counts.
FULL = (
    "seeds-0-9",
    "version-4-seeds-0-9",
    "mnist-seeds-0-5",
    "synchrony-seeds-0-15",
    "version-5-seeds-20-29",
)
#: Stands for the experiments of which no result is kept in these.
STAND_IN = "degenerate"


def write_experiments(folder: Path, params: Params) -> None:
    """The kept results under the names of the preset's experiments, with their figures and every
    claim.
    """
    kept = {
        file.stem: file
        for run in FULL
        for file in (KEPT / run).glob("*.json")
        if ".run" not in file.name
    }
    for name in params.experiments:
        target = folder / f"experiments/{name}.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(kept.get(name, kept[STAND_IN]), target)
        StageMeter("experiment").write(target, device="cpu", threads=1)
        draw.run(argparse.Namespace(result=target, out=folder / f"figures/{name}"))
    judged = {entry["statement"]: entry for run in FULL for entry in read_json(KEPT / run / "statements.json")["statements"]
              if entry["state"] != "not attempted"}  # fmt: skip
    statements = [
        {"over": "seeds"}
        | entry
        | {
            "dataset": entry.get("dataset"),
            "result": f"results/experiments/{entry['experiment']}.json",
        }
        for entry in judged.values()
    ]
    about = {"preset": params.preset, "statements": statements, "counts": counts(statements)}
    write_json(
        folder / "statements.json",
        result("statements", CODE, {"preset": params.preset}, {}, **about),
    )


def jobs(params: Params) -> list[Job]:
    """Every training job of a run, looked at as often as its recipe says."""
    made = []
    for dataset, model, block in params.runs:
        kind, every = load_model(model), params.selection.every
        last = kind.config_for(dataset, params.models[model][dataset]).epochs
        epochs = sorted({*range(every, last + 1, every), last})
        made.append(
            Job(
                dataset,
                221.0,
                {},
                model,
                seeds_of(block),
                epochs,
                SHAPES[dataset],
                20.0,
                latent=kind.has_latent,
            )
        )
    return made


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> tuple[Params, Path]:
    """The parameters of the preset `paper`, and results of its shape; pictures are noise, the worst
    case.
    """
    params = load_params(str(ROOT / "presets/paper.yaml"))
    folder = tmp_path_factory.mktemp("paper") / "results"
    for kept in ("reference", "tuning", "published"):
        shutil.copytree(ROOT / "results" / kept, folder / kept)
    for dataset in params.datasets:
        write_data(folder, dataset)
    trained = jobs(params)
    for job in trained:
        write_job(folder, job)
    for run in jobs_of(params).plan.compared:
        seeds = {"seeds": seeds_of(run[2]), "samplers": {}}
        compared = result("samplers", CODE, {"compared": {}}, {}, **seeds)
        write_json(folder / f"samplers/{'/'.join(run)}.json", compared)
    write_table(folder, trained, params.preset)
    write_ranks(folder, trained)
    write_experiments(folder, params)
    return params, folder


@pytest.mark.slow
def test_the_page_of_the_paper_is_small_enough(paper: tuple[Params, Path]) -> None:
    params, folder = paper
    assert len(params.runs) == 24
    weight = len(page(jobs_of(params), folder / "table1.json", folder).encode())
    print(f"the page of paper weighs {weight / 1e6:.2f} MB")
    assert weight < LIMIT
