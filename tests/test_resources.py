"""What a cluster is asked for a job, from forecasts that are written beforehand."""

import json
from pathlib import Path

import pytest

from replicate.__main__ import main
from replicate.errors import ReplicateError
from replicate.jobs.forecast import Forecast
from replicate.jobs.layout import RULES
from replicate.jobs.resources import SMALL, need_of, needed, read_needs, write_needs
from replicate.storage.paths import package_root

RUN = "digits/vae/0-2"


def forecast(state: str = "pending", seconds: float = 600.0, memory_gib: float = 2.0) -> Forecast:
    return Forecast("digits", "vae", "0-2", state, 0, 4, seconds, memory_gib, 1.0, "timed now")


def test_a_need_has_a_margin_over_the_forecast() -> None:
    """Ten minutes and 2 GiB: twice the time and 10 minutes, 1.5 times the memory and 400 MB."""
    assert need_of(forecast()) == {"mem_mb": 3 * 1024 + 400, "runtime": 30}


def test_what_is_done_keeps_what_was_forecast_before(tmp_path: Path) -> None:
    path = tmp_path / "resources.json"
    assert write_needs([forecast()], path) == 1
    assert write_needs([forecast(state="done", seconds=0.0, memory_gib=0.0)], path) == 0
    assert read_needs(path) == {RUN: {"mem_mb": 3472, "runtime": 30}}


def test_a_training_gets_its_forecast_and_each_attempt_as_much_again(tmp_path: Path) -> None:
    needs = {RUN: need_of(forecast())}
    assert needed(needs, "train", RUN, 1) == {"mem_mb": 3472, "runtime": 30}
    assert needed(needs, "train", RUN, 3) == {"mem_mb": 10416, "runtime": 90}


def test_what_follows_a_training_gets_its_memory_if_that_is_more() -> None:
    large = {RUN: need_of(forecast(memory_gib=20.0))}
    assert needed(large, "measure", RUN, 1)["mem_mb"] == large[RUN]["mem_mb"]
    small = {RUN: need_of(forecast(memory_gib=0.1))}
    assert needed(small, "measure", RUN, 1) == needed({}, "measure", RUN, 1)


@pytest.mark.parametrize(
    ("rule", "about", "minutes"),
    [("experiment", "theory", 240), ("train", RUN, 240), ("table", "", 30)],
)
def test_without_a_forecast_a_job_gets_hours_if_it_computes_and_half_an_hour_if_not(
    rule: str, about: str, minutes: int
) -> None:
    assert needed({}, rule, about, 1) == {"mem_mb": 4000, "runtime": minutes}
    assert needed({}, rule, about, 3) == {"mem_mb": 12000, "runtime": 3 * minutes}


@pytest.mark.parametrize(
    "content", ["[]", "{", '{"x": 3}', '{"x": {"mem_mb": "much", "runtime": 1}}']
)
def test_a_file_of_something_else_is_refused_with_what_to_do(tmp_path: Path, content: str) -> None:
    path = tmp_path / "resources.json"
    path.write_text(content)
    with pytest.raises(ReplicateError, match="holds no forecasts; remove it"):
        read_needs(path)


def test_status_writes_them_beside_the_forecast(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--params", "presets/smoke.yaml", "--results", str(tmp_path), "--state", str(tmp_path)]
    assert main(["status", *words, "--json", "--write-resources"]) == 0
    (job,) = json.loads(capsys.readouterr().out)["jobs"]
    need = read_needs(tmp_path / "resources.json")["digits/adversarial_nets/0-1"]
    assert need["mem_mb"] >= 1.5 * job["memory_gib"] * 1024
    assert need["runtime"] >= 10 + 2 * job["seconds"] / 60


def test_what_is_small_is_what_computes_with_no_torch() -> None:
    text = (package_root() / "workflow/rules/standing.smk").read_text(encoding="utf-8")
    computing = text.split("COMPUTE = {")[1].split("}")[0]
    assert {rule for rule in RULES if f'"{rule}"' not in computing} == SMALL
