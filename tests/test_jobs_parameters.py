"""Every stage can read what its job is given, of every preset: its own part of the parameters, and no other."""

from pathlib import Path

import pytest

from replicate.codedigest import package_root
from replicate.jobs.table import Jobs
from replicate.params import load_params, read_document
from replicate.plan import Plan

PRESETS = sorted((package_root() / "presets").glob("*.yaml"))


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_every_stage_reads_what_its_job_is_given(preset: Path) -> None:
    jobs = Jobs(Plan(*read_document(str(preset))), package_root())
    assert len(jobs.all) > 5
    for job in jobs.all.values():
        dataset, model, experiment = jobs.subject(job)
        for stage in job.stages:
            load_params(jobs.plan.config(stage, dataset, model, experiment))
