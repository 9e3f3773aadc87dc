"""Every stage can read what its job is given, of every preset: its own part of the parameters, and
no other.
"""

from pathlib import Path
from typing import Any

import pytest

from replicate.jobs.job_list import JobList
from replicate.jobs.layout import STAGES
from replicate.jobs.plan import Plan
from replicate.params import load_params, read_document
from replicate.storage.paths import package_root

PRESETS = sorted((package_root() / "presets").glob("*.yaml"))


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_every_stage_reads_what_its_job_is_given(preset: Path) -> None:
    jobs = JobList(Plan(*read_document(str(preset))), package_root())
    assert len(jobs.all) > 5
    for job in jobs.all.values():
        for stage in job.stages:
            load_params(jobs.plan.config(stage, job.subject))


def test_no_section_that_a_stage_depends_on_is_left_out_of_what_its_seal_says() -> None:
    plan = Plan(*read_document(str(package_root() / "presets/demo.yaml")))
    assert {
        section for stage in STAGES.values() for section in stage.sections
    } <= plan.filled.keys()


def test_other_samplers_run_their_job_again_and_defaults_written_out_do_not() -> None:
    raw, where = read_document(str(package_root() / "presets/demo.yaml"))

    def given(options: dict[str, Any]) -> str:
        jobs = JobList(
            Plan({**raw, "samplers": {"dbn": {"digits": options}}}, where), package_root()
        )
        return jobs.given(jobs.all["samplers", "digits/dbn/0-2"])

    assert given({}) == given({"draws": 1})
    assert given({}) != given({"draws": 2})
    assert given({}) != given({"names": ["published"]})
