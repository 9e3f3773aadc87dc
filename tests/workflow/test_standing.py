"""What is made anew: judged by seals and bytes, whatever an engine remembers."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from replicate.__main__ import main
from replicate.jobs.context import ENGINE, die_with_engine, keep_plan
from replicate.jobs.digests import Digests
from replicate.jobs.job_list import Job, JobList
from replicate.jobs.plan import Plan
from replicate.jobs.seal import read_seal, write_seal
from replicate.jobs.standing import DIGESTS, Finding, Standing
from replicate.params import read_document
from tests.workflow.conftest import Project, flip

ABOUT = "digits/adversarial_nets/0-1"
EVALUATION = f"results/evaluation/{ABOUT}.json"
BLOCK = re.compile(r"^(?:local)?rule (\w+):\n((?:    .*\n)+)", re.MULTILINE)


@pytest.fixture
def here(finished: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The copy of a finished run as the current folder: the code that judges is the code that made
    it.
    """
    monkeypatch.chdir(finished.folder)
    return finished


def jobs_here() -> JobList:
    return JobList(Plan(*read_document("params.yaml")))


def findings(fresh: bool = False, jobs: JobList | None = None) -> list[Finding]:
    jobs = jobs or jobs_here()
    return Standing(jobs, Digests(DIGESTS, fresh)).findings(jobs.all.values())


def files_of(job: Job) -> list[str]:
    beside = [str(path) for path in Path(job.folder).iterdir()] if job.folder else []
    return sorted({*job.outputs, *beside})


def test_the_table_has_the_files_that_the_rules_declare(finished: Project) -> None:
    """Snakemake's own graph of the smoke preset, with every job forced, is the reference."""
    said = finished.run(
        "snakemake", "-n", "--forceall", "--cores", "1", "--workflow-profile", "none"
    )
    declared = {}
    for rule, body in BLOCK.findall(said.stdout + said.stderr):
        parts = dict(re.findall(r"^    (input|output): (.*)$", body, re.MULTILINE))
        if "output" in parts:
            files = [set(parts.get(name, "").split(", ")) - {""} for name in ("input", "output")]
            declared[rule] = files
    jobs = JobList(Plan(*read_document(str(finished / "params.yaml"))), finished.folder)
    assert {job.rule: [set(job.inputs), set(job.outputs)] for job in jobs.all.values()} == declared


@pytest.mark.slow
def test_every_file_of_every_job_is_judged_by_its_bytes(here: Project) -> None:
    """Deleted, flipped with its time kept, and edited: each is found in its own job; put back,
    nothing is.
    """
    assert findings() == []
    tried, jobs = 0, jobs_here()
    for job in jobs.all.values():
        for name in files_of(job):
            path = Path(name)
            whole = path.read_bytes()
            for spoil in (Path.unlink, flip, lambda one: one.write_bytes(one.read_bytes() + b"\n")):
                spoil(path)
                found = findings(jobs=jobs)
                assert job.record in {one.job.record for one in found}, (name, spoil)
                path.write_bytes(whole)
                assert findings(jobs=jobs) == [], name
                tried += 1
    assert tried >= 3 * 38


def test_a_flip_that_leaves_size_times_and_place_alike_is_found_by_reading(here: Project) -> None:
    """No kept digest can see it: here one is kept for bytes that the file does not have."""
    assert findings() == []
    path = Path(EVALUATION)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"1", b"2", 1))
    kept = json.loads(DIGESTS.read_text())
    about = path.stat()
    stamp = [about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino]
    kept[EVALUATION][0] = stamp
    DIGESTS.write_text(json.dumps(kept))
    assert findings() == []
    assert findings(fresh=True)[0].damaged == (path,)
    (finding, *_) = findings()
    assert finding.damaged == (path,), "what was read once is known from then on"


@pytest.mark.parametrize("damage", ["deep", "text", "entries", "digest", "folder"])
def test_damage_of_the_kept_digests_costs_no_job_and_ends_nothing(
    here: Project, damage: str
) -> None:
    """They only save time."""
    assert findings() == []
    kept = json.loads(DIGESTS.read_text())
    stamp, digest = kept[EVALUATION]
    if damage == "folder":
        DIGESTS.unlink()
        DIGESTS.mkdir()
    else:
        DIGESTS.write_text(
            {
                "deep": "[" * 100_000,
                "text": '"text"',
                "entries": json.dumps({EVALUATION: 1}),
                "digest": json.dumps(kept | {EVALUATION: [stamp, digest[::-1]]}),
            }[damage]
        )
    assert findings() == []


def test_damage_is_shown_to_dvc_where_times_cannot_be_set(
    here: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some network file systems refuse it; DVC then knows a file by its place on disk."""
    table = Path("results/table1.json")
    flip(table)
    place = table.stat().st_ino
    content = table.read_bytes()

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("replicate.stages.check.os.utime", refused)
    main(["check", "--for-dvc"])
    assert table.stat().st_ino != place
    assert table.read_bytes() == content


@pytest.mark.parametrize(
    "engine",
    ['["HOST"]', '["HOST", "x", "1"]', '{"host": "HOST", "process": 1}', "7", "[" * 100_000],
)
def test_an_engine_that_nobody_announced_is_none(
    monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    """The variable may be anybody's; a thread that fails prints its traceback into the log."""
    monkeypatch.setenv(ENGINE, engine.replace("HOST", socket.gethostname()))
    before = threading.active_count()
    die_with_engine()
    assert threading.active_count() == before


@pytest.mark.parametrize("damage", ["not JSON", '{"raw": {}, "where": "x"}', ""])
def test_a_damaged_plan_is_written_anew(here: Project, damage: str) -> None:
    """Jobs read their parameters from it, and it was believed for ever by its name."""
    raw, where = read_document("params.yaml")
    path = Path(keep_plan(raw, where))
    whole = path.read_bytes()
    path.write_text(damage)
    assert keep_plan(raw, where) == str(path)
    assert path.read_bytes() == whole


def test_a_seal_that_was_edited_counts_for_nothing(here: Project) -> None:
    record = Path(f"results/train/{ABOUT}.run.json")
    seal = read_seal(record)
    assert seal is not None
    content = json.loads(record.read_text())
    content["wall_seconds"] = 42.0
    record.write_text(json.dumps(content))
    assert read_seal(record) is None
    write_seal(record, seal)
    assert findings() == []


@pytest.mark.slow
def test_other_parameters_are_seen_without_snakemakes_memory(here: Project) -> None:
    shutil.rmtree(".snakemake")
    here.edit("params.yaml", "draws: .*", "draws: 2")
    assert {one.job.rule for one in findings()} == {"measure", "report"}
    made_of_samples = {"measure", "measures", "ranks", "inspect"}
    assert set(here.planned()) == made_of_samples | {"table", "metrics", "curves", "report"}
    here.edit("params.yaml", "draws: .*", "draws: 1")
    assert here.planned() == {}


@pytest.mark.slow
def test_times_decide_nothing(here: Project) -> None:
    """A clock that was set back, a clone, a copy: files of any age, also of the year 2100."""
    for number, path in enumerate(sorted(Path("results").rglob("*"))):
        os.utime(path, (4102444800, 4102444800) if number % 3 else (1, 1))
    assert here.planned() == {}
    here.edit("params.yaml", "preset: smoke", "preset: other")
    here.good("snakemake", "--cores", "2")
    assert here.planned() == {}


@pytest.mark.slow
def test_the_page_is_not_made_over_a_broken_chain(here: Project) -> None:
    Path("report/index.html").unlink()
    content = json.loads(Path("results/table1.json").read_text())
    Path("results/table1.json").write_text(json.dumps(content | {"preset": "forged"}))
    words = ["--params", "params.yaml", "--table", "results/table1.json", "--results", "results"]
    done = here.run("python", "-m", "replicate", "report", *words, "--out", "report/index.html")
    assert done.returncode != 0
    assert "the page is not made: results/table1.json is not what its record says" in done.stderr
    assert not Path("report/index.html").exists()
    checked = here.run("python", "-m", "replicate", "check")
    assert checked.returncode != 0
    assert "table: results/table1.json is not what its record says" in checked.stdout
    here.good("snakemake", "--cores", "2")
    assert "all files of 16 jobs are what their records say" in here.good(
        "python", "-m", "replicate", "check"
    )


def test_a_defect_of_the_page_is_bad_input_only_where_nobody_knows_the_files(
    here: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def defective(*_: object, **__: object) -> str:
        raise LookupError("a slip")

    monkeypatch.setattr("replicate.stages.report.page", defective)
    words = ["report", "--params", "params.yaml", "--table", "results/table1.json", "--results"]
    with pytest.raises(LookupError, match="a slip"):
        main([*words, "results", "--out", "page.html"])
    shutil.copytree("results", "copied")
    assert main([*words, "copied", "--out", "page.html"]) == 2
    assert (
        "a file below copied: the content is not what its stage writes" in capsys.readouterr().err
    )


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize(
    ("file", "tool"),
    [
        (EVALUATION, ["verify", "--run"]),
        ("results/statements.json", ["verify", "--run"]),
        ("results/table1.json", ["multiverse", "--results"]),
        ("results/statements.json", ["multiverse", "--results"]),
    ],
)
def test_tools_refuse_results_that_are_not_what_was_sealed(
    here: Project, capsys: pytest.CaptureFixture[str], file: str, tool: list[str], moved: bool
) -> None:
    """A mean edited to 42 was compared and judged again as if it had been measured."""
    folder = Path("results")
    if moved:
        folder = Path("elsewhere/results")
        folder.parent.mkdir()
        shutil.copytree("results", folder)
    flip(folder / Path(file).relative_to("results"))
    assert main([*tool, str(folder)]) == 2
    said = capsys.readouterr().err
    assert "is not what its record says: changed or damaged" in said or "not valid JSON" in said


@pytest.mark.slow
def test_code_that_was_changed_with_its_time_kept_is_what_runs(here: Project) -> None:
    """Python believed its bytecode by size and time, and the old code was sealed as the new."""
    module = here / "replicate/stages/metrics.py"
    here.good("python", "-c", "import replicate.stages.metrics")
    assert list(module.parent.glob("__pycache__/metrics.*.pyc"))
    times = module.stat()
    here.edit("replicate/stages/metrics.py", "= json.dumps.*|{json.dumps", "{json.xumps")
    os.utime(module, ns=(times.st_atime_ns, times.st_mtime_ns))
    done = here.run("snakemake", "--cores", "1", "metrics")
    assert done.returncode != 0
    assert "module 'json' has no attribute 'xumps'" in done.stdout + done.stderr


@pytest.mark.slow
def test_a_job_ends_with_its_engine(fresh: Project) -> None:
    """Snakemake is killed by SIGKILL: its training ends within seconds, its state saved, and the
    next run goes on.
    """
    text = (fresh / "presets/smoke.yaml").read_text(encoding="utf-8")
    (fresh / "params.yaml").write_text(
        re.sub("epochs: 4", "epochs: 100000", text), encoding="utf-8"
    )
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    engine = subprocess.Popen(
        ["snakemake", "--cores", "2", "training"],
        cwd=fresh.folder,
        env=os.environ | {"PATH": path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    progress = fresh / ".replicate/progress/digits-adversarial_nets-0-1.json"
    _until(lambda: progress.is_file() and json.loads(progress.read_text())["epoch"] >= 2)
    training = json.loads(progress.read_text())["pid"]
    engine.send_signal(signal.SIGKILL)
    engine.wait()
    _until(lambda: not Path(f"/proc/{training}").exists(), 60)
    assert json.loads(progress.read_text())["state"] == "stopped"
    fresh.edit("params.yaml", "epochs: 100000", "epochs: 4")
    fresh.good("snakemake", "--cores", "2", "training")
    assert json.loads((fresh / f"results/train/{ABOUT}.json").read_text())["epochs"] == 4


def _until(holds, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.1)
