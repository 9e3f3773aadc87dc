"""A finished run as a crate: what it says of every job, that it travels alone, and when there is
none.
"""

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from replicate.__main__ import main
from replicate.crate.payload import CrateFile, file_of, write_crate
from replicate.errors import ReplicateError
from replicate.jobs.seal import read_seal, write_seal
from replicate.storage.files import read_json, write_json
from tests.workflow.conftest import ROOT, Project, flip

RECOMPUTE = """
import runpy, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "replicate"):
            raise ImportError(f"there is no {name} where the crate travels")
sys.meta_path.insert(0, Refuse())
sys.argv = ["tools/recompute.py"]
runpy.run_path("tools/recompute.py", run_name="__main__")
"""


@pytest.fixture
def here(finished: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A finished run as the current folder."""
    monkeypatch.chdir(finished.folder)
    return finished


@pytest.fixture(scope="module")
def run(whole_run: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A finished run, not to be changed."""
    return whole_run.copy(tmp_path_factory.mktemp("run") / "finished")


@pytest.fixture(scope="module")
def crate(run: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its crate, as a folder far from the project; not to be changed."""
    folder = tmp_path_factory.mktemp("elsewhere") / "crate"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(run.folder)
        assert main(["crate", "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def own_crate(crate: Path, tmp_path: Path) -> Path:
    """A copy of the crate that a test may change."""
    return Path(shutil.copytree(crate, tmp_path / "own" / "crate"))


def entities(crate: Path) -> dict[str, dict[str, Any]]:
    graph = json.loads((crate / "ro-crate-metadata.json").read_text(encoding="utf-8"))["@graph"]
    by_name = {entity["@id"]: entity for entity in graph}
    assert len(by_name) == len(graph), "two entities have one name"
    return by_name


def mentioned(value: Any) -> list[str]:
    """The identifiers that a property names."""
    values = value if isinstance(value, list) else [value]
    return [entry["@id"] for entry in values]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def records(project: Project) -> dict[str, dict[str, Any]]:
    """Run record of this run -> its content."""
    found = [*(project / "results").rglob("*.run.json"), project / "report/index.run.json"]
    of_run = [path for path in found if not {"reference", "tuning"} & set(path.parts)]
    return {str(path.relative_to(project.folder)): read_json(path) for path in of_run}


def test_every_sealed_job_is_an_action_with_its_files_times_and_software(
    run: Project, crate: Path
) -> None:
    known = entities(crate)
    sealed = {path: record for path, record in records(run).items() if "job" in record}
    assert len(sealed) == 16
    actions = {
        entity["@id"]: entity for entity in known.values() if entity["@id"].startswith("#job/")
    }
    assert len(actions) == len(sealed)
    for path, record in sealed.items():
        seal = record["job"]
        action = actions[f"#job/{seal['rule']}{'%20' if seal['about'] else ''}{seal['about']}"]
        read = {known[name]["name"]: known[name]["sha256"] for name in mentioned(action["object"])}
        made = {known[name]["name"]: known[name]["sha256"] for name in mentioned(action["result"])}
        assert read == seal["inputs"]
        assert made == {**seal["outputs"], path: sha256(run / path)}
        assert action["endTime"] == record["ended"]
        assert action["startTime"] <= record["started"]
        tool = known[mentioned(action["instrument"])[0]]
        versions = {
            known[name]["name"]: known[name]["softwareVersion"]
            for name in mentioned(tool["softwareRequirements"])
        }
        assert versions == record["versions"]


def test_a_job_of_several_stages_begins_with_the_first(run: Project, crate: Path) -> None:
    sample = read_json(run / "results/samples/digits/adversarial_nets/0-1.run.json")
    action = entities(crate)["#job/measure%20digits/adversarial_nets/0-1"]
    assert action["startTime"] == sample["started"]
    words = shlex.split(action["description"])
    assert [words[3], *(words[k + 1] for k, word in enumerate(words) if word == "then")] == [
        "sample", "bandwidth", "evaluate",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("job", "made"),
    [("metrics", "results/metrics.json"), ("statements", "results/statements.json")],
)
def test_the_command_of_an_action_makes_its_file_again_in_the_crate(
    own_crate: Path, job: str, made: str
) -> None:
    content = (own_crate / made).read_bytes()
    (own_crate / made).unlink()
    words = shlex.split(entities(own_crate)[f"#job/{job}"]["description"])
    words[0] = sys.executable
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(words, cwd=own_crate, env=environment, check=True, capture_output=True)
    assert (own_crate / made).read_bytes() == content


def test_files_are_there_with_their_digests_and_every_name_is_described(crate: Path) -> None:
    known = entities(crate)
    listed = {name: entity for name, entity in known.items() if "File" in entity["@type"]}
    on_disk = files_below(crate) - {"ro-crate-metadata.json"}
    assert set(listed) == on_disk == set(mentioned(known["./"]["hasPart"]))
    for name, entity in listed.items():
        assert entity["sha256"] == sha256(crate / name), name
        assert entity["contentSize"] == str((crate / name).stat().st_size)
    for entity in known.values():
        for value in entity.values():
            values = value if isinstance(value, list) else [value]
            for inner in values:
                if isinstance(inner, dict):
                    assert list(inner) == ["@id"], "the description is flat"
                    assert inner["@id"] in {*known, "https://w3id.org/ro/crate/1.1"}


def test_the_crate_names_licence_authors_paper_and_profiles(run: Project, crate: Path) -> None:
    known = entities(crate)
    root = known["./"]
    assert mentioned(root["license"]) == ["https://spdx.org/licenses/MIT"]
    assert [known[name]["name"] for name in mentioned(root["author"])] == [
        "The replicate developers"
    ]
    assert [known[name]["name"] for name in mentioned(root["citation"])] == [
        "Generative Adversarial Nets"
    ]
    profiles = {
        f"https://w3id.org/ro/wfrun/{name}/0.5" for name in ("process", "workflow", "provenance")
    }
    assert profiles < set(mentioned(root["conformsTo"]))
    assert root["datePublished"] == max(record["ended"] for record in records(run).values())
    assert (crate / "params.yaml").read_bytes() == (run / "presets/smoke.yaml").read_bytes()


def test_who_started_the_run_is_said_where_it_is_told(
    run: Project, crate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No record knows it, so nobody is an agent unless a name is given; then of every action."""
    assert not any("agent" in entity for entity in entities(crate).values())
    monkeypatch.chdir(run.folder)
    person = "https://orcid.org/0000-0001-2345-6789"
    assert (
        main(["crate", "--agent", f"Ada Lovelace <{person}>", "--out", str(tmp_path / "told")]) == 0
    )
    known = entities(tmp_path / "told")
    actions = [entity for entity in known.values() if entity["@type"] == "CreateAction"]
    assert len(actions) == 17
    assert all(mentioned(action["agent"]) == [person] for action in actions)
    assert known[person] == {"@id": person, "@type": "Person", "name": "Ada Lovelace"}
    assert main(["crate", "--agent", " Ada ", "--out", str(tmp_path / "named")]) == 0
    (agent,) = mentioned(entities(tmp_path / "named")["#run"]["agent"])
    assert entities(tmp_path / "named")[agent]["name"] == "Ada"


@pytest.mark.parametrize("agent", ["", " ", "<https://example.org>", "Ada <example.org>"])
def test_an_agent_without_a_name_is_refused(agent: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["crate", "--agent", agent, "--out", "run.zip"])
    assert ended.value.code == 2
    assert "is no name" in capsys.readouterr().err


def test_an_address_of_the_project_is_that_of_its_software(here: Project) -> None:
    address = "https://example.org/replicate"
    with (here / "CITATION.cff").open("a", encoding="utf-8") as stream:
        stream.write(f"repository-code: {address}\n")
    assert main(["crate", "--out", "addressed"]) == 0
    known = entities(here / "addressed")
    tools = mentioned(known["Snakefile"]["hasPart"])
    assert all(tool.startswith(f"{address}#tool/") for tool in tools)
    assert {known[tool]["url"] for tool in [*tools, "Snakefile"]} == {address}


def test_images_weights_and_samples_are_named_by_digest_or_taken_along(
    run: Project, crate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = "digits/adversarial_nets/0-1.safetensors"
    tensors = [
        "results/data/digits.safetensors",
        f"results/train/{block}",
        f"results/samples/{block}",
    ]
    monkeypatch.chdir(run.folder)
    known = entities(crate)
    for path in tensors:
        assert not (crate / path).exists()
        assert known[f"#{path}"]["sha256"] == sha256(run / path)
    assert main(["crate", "--tensors", "--out", str(tmp_path / "all")]) == 0
    assert files_below(tmp_path / "all") == files_below(crate) | set(tensors)


def test_the_same_run_gives_the_same_bytes(here: Project, crate: Path, tmp_path: Path) -> None:
    assert main(["crate", "--out", "one.zip"]) == 0
    moved = here.copy(tmp_path / "moved")
    for path in sorted(moved.folder.rglob("*"), reverse=True):
        os.utime(path, (1e9, 1e9))
    moved.good(sys.executable, "-m", "replicate", "crate", "--out", "two.zip")
    assert (here / "one.zip").read_bytes() == (moved / "two.zip").read_bytes()
    with zipfile.ZipFile("one.zip") as archive:
        assert archive.testzip() is None
        content = {name: archive.read(name) for name in archive.namelist()}
    assert content == {name: (crate / name).read_bytes() for name in files_below(crate)}


def recompute(folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    words = [sys.executable, "-P", "-c", RECOMPUTE]
    return subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_every_verdict_recomputes_from_the_crate_alone(own_crate: Path, run: Project) -> None:
    away = run.folder.rename(run.folder.with_name("away"))
    try:
        done = recompute(own_crate)
    finally:
        away.rename(run.folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "results/table1.json and results/statements.json" in done.stdout
    path = own_crate / "results/statements.json"
    content = read_json(path)
    (entry,) = [entry for entry in content["statements"] if entry["statement"] == "P2"]
    assert entry["state"] == "replicated"
    entry["state"] = "not replicated"
    write_json(path, content)
    done = recompute(own_crate)
    assert done.returncode == 1
    assert "P2/state" in done.stderr


def test_parameters_in_json_are_written_out(here: Project, tmp_path: Path) -> None:
    """The run is that of the same parameters, whatever they were written in."""
    import yaml

    parameters = yaml.safe_load((here / "params.yaml").read_text(encoding="utf-8"))
    assert main(["crate", "--params", json.dumps(parameters), "--out", str(tmp_path / "c")]) == 0
    assert yaml.safe_load((tmp_path / "c/params.yaml").read_text(encoding="utf-8")) == parameters


# ------------------------------------------------------------------------------------- no crate


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The sentence with which the tool ends."""
    capsys.readouterr()
    assert main(["crate", *words]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("replicate crate: ")
    assert said.err.count("\n") == 1
    return said.err


@pytest.mark.parametrize("out", ["run.zip", pytest.param("run", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("missing", "results/metrics.json is missing"),
        ("damaged", "results/table1.json is not what its record says"),
        ("other parameters", "its parameters have changed"),
        ("no times", "does not say when table ran"),
        ("no citation", "there is no CITATION.cff here"),
        ("no licence", "CITATION.cff has no license"),
        ("no workflow", "cannot read Snakefile (No such file or directory)"),
    ],
)
def test_a_run_that_is_not_whole_gives_no_crate(
    here: Project, capsys: pytest.CaptureFixture[str], fault: str, words: str, out: str
) -> None:
    if fault == "missing":
        (here / "results/metrics.json").unlink()
    elif fault == "damaged":
        flip(here / "results/table1.json")
    elif fault == "other parameters":
        here.edit("params.yaml", r"(?<=epochs: )\d+", "7")
    elif fault == "no times":
        path = here / "results/table1.run.json"
        seal = read_seal(path)
        assert seal is not None
        write_json(
            path, {name: value for name, value in read_json(path).items() if name != "started"}
        )
        write_seal(path, seal)
    elif fault == "no citation":
        (here / "CITATION.cff").unlink()
    elif fault == "no licence":
        here.edit("CITATION.cff", r"(?m)^license: MIT\n", "")
    else:
        (here / "Snakefile").unlink()
    before = set(here.folder.iterdir())
    assert words in refusal(capsys, "--out", out)
    assert set(here.folder.iterdir()) - before <= {here / ".replicate"}


def test_what_is_there_is_not_written_over(
    here: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "run.zip").write_text("mine")
    (here / "run").mkdir()
    (here / "link.zip").symlink_to("nowhere")
    for name in ("run.zip", "run", "link.zip"):
        refusal(capsys, "--out", name)
    assert (here / "run.zip").read_text() == "mine"
    assert list((here / "run").iterdir()) == []


@pytest.mark.parametrize("target", ["c.zip", "c"])
def test_a_file_that_changes_meanwhile_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("after")
    before = file_of("a.txt", b"before")
    file = CrateFile(before.path, before.size, before.sha256)
    with pytest.raises(ReplicateError, match=r"a\.txt has changed"):
        write_crate(Path(target), "{}", [file])
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ReplicateError, match="part of the path is a file"):
        write_crate(tmp_path / "file" / "crate", "{}", [])


# ------------------------------------------------------------------------------ other people's eyes


@pytest.mark.slow
def test_the_validator_finds_no_required_issue_and_rocrate_reads_it(own_crate: Path) -> None:
    packages = os.environ.get("REPLICATE_TEST_ROCRATE")
    if not packages or not Path(packages, "rocrate_validator").is_dir():
        pytest.skip("needs roc-validator and rocrate: set REPLICATE_TEST_ROCRATE to their folder")

    def judged() -> dict[str, Any]:
        script = ROOT / "tests/workflow/validate_crate.py"
        words = [sys.executable, "-P", str(script), packages, str(own_crate)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer

    verdict = judged()
    assert verdict["issues"] == []
    assert verdict["passed"]
    assert verdict["checks"] > 50
    names = {name for name, _ in verdict["actions"]}
    assert {"Run 'smoke'", "table", "train digits/adversarial_nets/0-1"} < names
    assert len(names) == 18
    # A crate that is wrong is found wrong: its run has no instrument any more.
    path = own_crate / "ro-crate-metadata.json"
    content = read_json(path)
    for entity in content["@graph"]:
        if entity["@id"] == "#run":
            del entity["instrument"]
    write_json(path, content)
    assert any("instrument" in issue for issue in judged()["issues"])
