"""Code of an older commit and of today, each described by today's `describe.py`."""

from pathlib import Path

import pytest

from replicate.jobs.code_digest import code_digest
from replicate.reference_runs.plan import ReferencePlan
from replicate.reference_runs.runner import described
from replicate.reference_runs.sources import Source, package_digest
from replicate.storage.paths import package_root
from tests.reference.project import PLAN, write_older_package

MODELS = {"vae": {"digits": {"epochs": 2}}, "dbn": {"digits": {"epochs": 2}}}


@pytest.mark.parametrize("code", ["of today", "before the moves"])
def test_code_of_every_shape_is_described(tmp_path: Path, code: str) -> None:
    """`describe.py` imports the package that it finds, whose modules have moved since."""
    root = package_root()
    if code == "before the moves":
        root = tmp_path
        write_older_package(tmp_path)
        assert (tmp_path / "replicate/codedigest.py").is_file()
    entry = PLAN["entries"][0] | {"models": MODELS}
    plan = ReferencePlan.model_validate(PLAN | {"entries": [entry]})
    source = Source(None, package_digest(root), root)
    description = described(source, [plan.params_of(plan.entries[0])])
    (of_entry,) = description["entries"]
    assert of_entry["extends"] == {"vae": True, "dbn": False}
    assert of_entry["backend"] is not None
    assert of_entry["backend"]["device"] == "cpu"
    assert of_entry["backend"]["threads"] == 1
    assert description["versions"].keys() == {"torch", "numpy"}


def test_the_digest_of_older_code_is_what_its_checkpoints_name(tmp_path: Path) -> None:
    """Today's digest of modules of that commit; the values are those of its checkpoints."""
    write_older_package(tmp_path)
    for model, digest in (("dbn", "45e4423d86c82cb1"), ("stacked_cae", "ad15e746f1603635")):
        modules = ["replicate.stages.train", f"replicate.models.{model}"]
        assert code_digest(modules, tmp_path) == digest
