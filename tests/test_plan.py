"""What is in a run: data that users have yet to bring, models that do not apply, and what a job is
given.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from replicate import datasets, experiments, models
from replicate.__main__ import main
from replicate.errors import ReplicateError
from replicate.jobs.code_digest import code_digest
from replicate.jobs.job_list import JobList
from replicate.jobs.plan import Plan
from replicate.jobs.subject import Subject
from tests.datasets.data_helpers import clean_environment, write_faces, write_images

NEEDS = "needs TFD_48x48.mat (licensed; ask the owners)"
RUN: dict[str, Any] = {
    "preset": "t",
    "datasets": {"digits": None, "tfd": {}},
    "models": {"adversarial_nets": {"tfd": {}, "digits": {"epochs": 3}}, "vae": {"tfd": None}},
}


@pytest.fixture(autouse=True)
def data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty data folder, and a second model that needs pixels in [0, 1]."""
    clean_environment(monkeypatch)
    monkeypatch.setenv("REPLICATE_DATA", str(tmp_path / "raw"))
    entry = ("Another model", "replicate.models.adversarial_nets")
    monkeypatch.setattr(models, "REGISTRY", {**models.REGISTRY, "vae": entry})
    monkeypatch.setattr(models, "UNBOUNDED", frozenset({"adversarial_nets"}))
    return tmp_path / "raw"


def test_an_absent_data_set_is_left_out_with_its_models(data: Path) -> None:
    plan = Plan(RUN)
    assert plan.absent == {"tfd": NEEDS}
    assert plan.params.runs == [("digits", "adversarial_nets", "0-2")]
    assert list(plan.params.datasets) == ["digits"]
    assert list(plan.params.models) == ["adversarial_nets"]


def test_the_notice_says_what_is_missing_where_and_whom_to_ask(data: Path) -> None:
    (notice,) = Plan(RUN).notices
    assert notice.startswith(
        f"left out of this run: tfd {NEEDS}: {data / 'tfd' / 'TFD_48x48.mat'} is missing; "
    )
    assert "research only" in notice
    assert "Susskind" in notice
    assert len(notice.splitlines()) == 1


def test_every_stage_is_given_the_run_without_it() -> None:
    absent, never = (
        Plan(RUN),
        Plan(
            {
                **RUN,
                "datasets": {"digits": None},
                "models": {"adversarial_nets": {"digits": {"epochs": 3}}},
            }
        ),
    )
    for stage in ("table", "report"):
        assert absent.config(stage) == never.config(stage)
        assert "tfd" not in absent.config(stage)
    for stage in ("fetch", "prepare", "train", "sample", "bandwidth", "evaluate"):
        model = "adversarial_nets" if stage == "train" else None
        subject = Subject("digits", model)
        assert absent.config(stage, subject) == never.config(stage, subject)
    assert JobList(absent).all.keys() == JobList(never).all.keys()


def test_a_data_set_that_is_there_is_in_the_run(data: Path) -> None:
    write_faces(data / "tfd" / "TFD_48x48.mat")
    plan = Plan(RUN)
    assert (plan.absent, plan.notices) == ({}, [])
    assert plan.raw == RUN
    assert len(plan.params.runs) == 3


def test_a_link_to_the_file_will_do_and_a_link_to_nothing_will_not(
    data: Path, tmp_path: Path
) -> None:
    (data / "tfd").mkdir(parents=True)
    (data / "tfd" / "TFD_48x48.mat").symlink_to(tmp_path / "mine.mat")
    assert "which is not there" in Plan(RUN).notices[0]
    write_faces(tmp_path / "mine.mat")
    assert not Plan(RUN).absent


def test_a_run_with_nothing_left_is_an_error_that_says_why(data: Path) -> None:
    raw = {"datasets": {"tfd": {}, "digits": {}}, "models": {"vae": {"tfd": {}}}}
    with pytest.raises(
        ReplicateError,
        match=r"params\.yaml: nothing is left to run; left out of this run: tfd needs",
    ):
        Plan(raw)


def test_a_folder_of_images_is_looked_for_where_the_parameters_say(
    data: Path, tmp_path: Path
) -> None:
    def plan(options: dict[str, Any]) -> Plan:
        entries = {"images": {}, "digits": {}}
        return Plan(
            {"datasets": {"digits": {}, "images": options}, "models": {"adversarial_nets": entries}}
        )

    write_images(tmp_path / "photos", ["1.png"])
    assert str(data / "images") in plan({}).notices[0]
    assert str(tmp_path / "nowhere") in plan({"folder": str(tmp_path / "nowhere")}).notices[0]
    assert not plan({"folder": str(tmp_path / "photos")}).absent
    with pytest.raises(ReplicateError, match=r"datasets\.images\.size"):
        plan({"size": "large"})


@pytest.mark.parametrize("name", ["digits", "mnist", "cifar10"])
def test_what_can_be_fetched_is_never_absent(name: str) -> None:
    plan = Plan({"datasets": {name: {}}, "models": {"adversarial_nets": {name: {}}}})
    assert plan.absent == {}
    assert plan.stamp(name) == ""


def test_a_model_for_pixels_between_0_and_1_is_refused_on_other_pixels() -> None:
    with pytest.raises(ReplicateError) as caught:
        Plan({"datasets": {"cifar10": {}}, "models": {"vae": {"cifar10": {}}}}, "mine.yaml")
    message = str(caught.value)
    assert message.startswith(
        "mine.yaml: models.vae.cifar10: not applicable, because 'vae' needs pixels in [0, 1]"
    )
    assert "remove the entry (models for such data sets: adversarial_nets)" in message
    assert Plan(
        {"datasets": {"cifar10": {}}, "models": {"adversarial_nets": {"cifar10": {}}}}
    ).params.runs


def test_fetch_depends_on_where_the_data_lie_and_on_nothing_else_of_their_options(
    tmp_path: Path,
) -> None:
    write_images(tmp_path, ["1.png"])

    def config(stage: str, **options: Any) -> str:
        given = {"folder": str(tmp_path), **options}
        raw = {
            "datasets": {"images": given, "digits": {"split_seed": 4}},
            "models": {"adversarial_nets": {"images": {}}},
        }
        return Plan(raw).config(stage, Subject(dataset="images"))

    assert json.loads(config("fetch")) == {"datasets": {"images": {"folder": str(tmp_path)}}}
    assert config("fetch", size=8) == config("fetch")
    assert config("prepare", size=8) != config("prepare")
    plan = Plan(
        {"datasets": {"digits": {"split_seed": 4}}, "models": {"adversarial_nets": {"digits": {}}}}
    )
    assert json.loads(plan.config("fetch", Subject(dataset="digits"))) == {
        "datasets": {"digits": {}}
    }


def test_the_stamp_follows_the_users_files(data: Path, tmp_path: Path) -> None:
    write_faces(data / "tfd" / "TFD_48x48.mat")
    plan = Plan(RUN)
    before = plan.stamp("tfd")
    os.utime(data / "tfd" / "TFD_48x48.mat", (1, 1))
    assert plan.stamp("tfd") == before, "the same bytes at another time"
    with (data / "tfd" / "TFD_48x48.mat").open("ab") as stream:
        stream.write(b"x")
    assert plan.stamp("tfd") not in ("", before)


def test_a_folder_that_cannot_be_listed_gives_a_stamp_and_leaves_the_error_to_fetch(
    tmp_path: Path,
) -> None:
    write_images(tmp_path, ["a/b/c/d/e/1.png"])
    raw = {
        "datasets": {"images": {"folder": str(tmp_path)}},
        "models": {"adversarial_nets": {"images": {}}},
    }
    assert "lies too deep" in Plan(raw).stamp("images")


def test_list_and_status_say_what_is_missing(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["list", "--json"]) == 0
    found = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)["datasets"]}
    assert list(found) == list(datasets.REGISTRY)
    assert {name for name, entry in found.items() if "absent" in entry} == {
        "tfd",
        "faces",
        "images",
    }
    assert str(data / "tfd" / "TFD_48x48.mat") in found["tfd"]["absent"]
    assert main(["list"]) == 0
    assert f"not there: tfd {NEEDS}" in capsys.readouterr().out
    write_faces(data / "tfd" / "TFD_48x48.mat")
    assert main(["list"]) == 0
    assert f"not there: tfd {NEEDS}" not in capsys.readouterr().out


def test_status_names_what_is_left_out(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("replicate.jobs.forecast.CALIBRATION_SECONDS", 0.01)
    words = [
        "status",
        "--params",
        json.dumps(RUN),
        "--results",
        str(tmp_path),
        "--state",
        str(tmp_path),
    ]
    assert main(words) == 0
    text = capsys.readouterr().out
    assert f"left out of this run: tfd {NEEDS}" in text
    assert "pending  digits adversarial_nets seeds 0-2" in text
    assert "seeds" in text.split("left out")[1]
    assert "tfd adversarial_nets" not in text
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["absent"] == {"tfd": NEEDS}


def test_an_experiment_is_given_its_own_settings_and_depends_on_its_own_code() -> None:
    raw = {
        "datasets": {"digits": {}},
        "models": {"vae": {"digits": {}}},
        "experiments": {"theory": {"updates": 60}},
    }
    plan = Plan(raw)
    given = json.loads(plan.config("experiment", Subject(experiment="theory")))
    assert given == {"experiments": {"theory": {"updates": 60}}}
    assert plan.images("theory") is None
    codes = {
        plan.rerun_key(stage, Subject(experiment="theory")) for stage in ("experiment", "draw")
    } | {plan.rerun_key("experiment")}
    assert len(codes) == 3
    drawing = ["replicate.stages.draw", "replicate.figures.experiments.theory"]
    assert plan.rerun_key("draw", Subject(experiment="theory")) == code_digest(
        drawing
    )  # not the experiment
    with pytest.raises(
        ReplicateError, match="there is no experiment 'magic'; the registered ones are theory"
    ):
        Plan({**raw, "experiments": {"magic": {}}})


def test_an_experiment_on_images_needs_its_data_set_and_goes_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(experiments, "ON_IMAGES", frozenset({"theory"}))

    def plan(**options: str) -> Plan:
        raw = {"datasets": {"digits": {}, "tfd": {}}, "models": {"vae": {"digits": {}}}}
        return Plan({**raw, "experiments": {"theory": options}})

    assert plan().images("theory") == "digits"
    assert plan(dataset="tfd").params.experiments == {}  # nobody has the faces here
    with pytest.raises(
        ReplicateError, match=r"experiments\.theory\.dataset: the data set 'mnist' is not among"
    ):
        plan(dataset="mnist")


def test_a_study_of_samples_is_given_those_of_every_model_on_its_data_set() -> None:
    raw = {
        "seeds": ["0-1", "2"], "datasets": {"digits": {}, "mnist": {}},
        "models": {"vae": {"digits": {}}, "rbm": {"digits": {}, "mnist": {}}},
        "experiments": {"sampling": {}, "theory": {}},
    }  # fmt: skip
    plan = Plan(raw)
    names = ("vae/0-1", "vae/2", "rbm/0-1", "rbm/2")
    assert sorted(plan.samples("sampling")) == sorted(
        f"results/samples/digits/{name}.safetensors" for name in names
    )
    assert plan.samples("theory") == []
    mnist = Plan({**raw, "experiments": {"sampling": {"dataset": "mnist"}}})
    assert {path.split("/")[2] for path in mnist.samples("sampling")} == {"mnist"}
