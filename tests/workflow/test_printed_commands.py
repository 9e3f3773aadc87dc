"""The commands that the page prints under "How this was made": run by hand in an empty folder, they
make the same bytes.
"""

import hashlib
import shutil
from pathlib import Path

import pytest
from lxml import html

from tests.workflow.conftest import Project


def run_by_preset(project: Project) -> None:
    """params.yaml stays the demo's, and names other epochs than the preset."""
    project.good("snakemake", "--cores", "2", "--configfile", "presets/smoke.yaml")


def run_by_dvc(project: Project) -> None:
    shutil.copy(project / "presets/smoke.yaml", project / "params.yaml")
    project.with_git().good("dvc", "repro")


def printed_steps(page: Path) -> list[dict[str, str]]:
    """What the page says of each step, by its headings, and the file that it made."""
    steps = []
    for item in html.parse(page).xpath("//section[@id='made']//li"):
        headings = [heading.text_content() for heading in item.xpath(".//dt")]
        values = [value.text_content() for value in item.xpath(".//dd")]
        file = item.xpath("./details/summary/code")[0].text_content()
        steps.append({"file": file, **dict(zip(headings, values, strict=True))})
    return steps


@pytest.mark.slow
@pytest.mark.parametrize("run", [run_by_preset, pytest.param(run_by_dvc, marks=pytest.mark.faults)])
def test_printed_commands_make_the_same_bytes_in_an_empty_folder(run, fresh, tmp_path):
    by_hand = fresh.copy(tmp_path / "by-hand")
    run(fresh)
    steps = printed_steps(fresh / "report/index.html")
    results = {step["file"] for step in steps}
    assert {"results/train/digits/adversarial_nets/0-1.json", "results/table1.json"} <= results
    for step in steps:
        by_hand.good("bash", "-c", step["Command"])
    for step in steps:
        digest = hashlib.sha256((by_hand / step["file"]).read_bytes()).hexdigest()
        assert digest == step["SHA-256 of the file"], step["file"]
