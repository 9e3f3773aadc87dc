"""Runs, kept runs and commands with the names of earlier versions: each is refused in one sentence
that says what to run, and the program that it names converts every value as it is.
"""

import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from replicate.__main__ import main
from replicate.records.kept_runs import differences, renew
from replicate.storage.files import read_json, write_json
from replicate.storage.paths import package_root

ROOT = package_root()
KEPT = ROOT / "results/reference/statements/seeds-10-19"
TABLE = ROOT / "results/reference/mnist-1-seed/table1.json"


def old_run(folder: Path) -> Path:
    """A kept run as an earlier version wrote it, with the list of its files."""
    shutil.copytree(KEPT, folder)
    content = read_json(folder / "statements.json")
    entries = content.pop("statements")
    content["stage"] = "claims"
    content["claims"] = [{"claim": entry.pop("statement"), **entry} for entry in entries]
    record = read_json(folder / "statements.run.json")
    record |= {"stage": "claims", "result": "claims.json"}
    for name, old in (("claims.json", content), ("claims.run.json", record)):
        write_json(folder / name, old)
        (folder / name.replace("claims", "statements")).unlink()
    renew(folder)
    return folder


def convert(*folders: Path) -> "subprocess.CompletedProcess[str]":
    words = [sys.executable, str(ROOT / "tools/rename_statements.py"), *map(str, folders)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def leaves(content: Any) -> Iterator[str]:
    if isinstance(content, dict | list):
        for value in content.values() if isinstance(content, dict) else content:
            yield from leaves(value)
    else:
        yield repr(content)


def sentence(capsys: pytest.CaptureFixture[str]) -> str:
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1, error
    return error


def test_a_kept_run_is_converted_to_the_bytes_of_its_new_names(tmp_path: Path) -> None:
    run = old_run(tmp_path / "run")
    old = Counter(leaves(read_json(run / "claims.json")))
    process = convert(tmp_path)
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout.splitlines() == [str(run / "statements.json")]
    new = Counter(leaves(read_json(run / "statements.json")))
    assert (old - new, new - old) == (Counter(["'claims'"]), Counter(["'statements'"]))
    for path in KEPT.iterdir():
        assert (run / path.name).read_bytes() == path.read_bytes(), path.name
    assert sorted(path.name for path in run.iterdir()) == sorted(p.name for p in KEPT.iterdir())
    assert differences(run) == []


def test_a_sealed_record_loses_the_seal_of_the_old_file(tmp_path: Path) -> None:
    run = old_run(tmp_path / "run")
    record = read_json(run / "claims.run.json")
    write_json(run / "claims.run.json", record | {"job": {"rule": "claims"}, "record_sha256": "0"})
    renew(run)
    assert convert(run).returncode == 0
    expected = record | {"stage": "statements", "result": "statements.json"}
    assert read_json(run / "statements.run.json") == expected


def test_what_cannot_be_converted_is_left_as_it_is(tmp_path: Path) -> None:
    run = old_run(tmp_path / "damaged")
    path = run / "claims.json"
    path.write_bytes(path.read_bytes().replace(b"replicated", b"replicatee", 1))
    damaged = path.read_bytes()
    assert "claims.json is not what it was kept as" in convert(run).stderr
    assert path.read_bytes() == damaged
    both = old_run(tmp_path / "both")
    shutil.copy(KEPT / "statements.json", both)
    renew(both)
    assert "statements.json is there already; remove" in convert(both).stderr
    (tmp_path / "foreign").mkdir()
    write_json(tmp_path / "foreign/claims.json", {"claims": []})
    assert "is not a result of the stage 'claims'" in convert(tmp_path / "foreign").stderr
    assert "has no claims.json; nothing is to be done" in convert(KEPT).stderr


@pytest.mark.parametrize(
    "reader", ["verify", "verify against", "report", "report with kept runs", "report --compare"]
)
def test_a_run_with_the_old_name_is_refused(
    tmp_path: Path, reader: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sentence names the file, its new name and the command; nothing is written."""
    folder = tmp_path / "results"
    place = folder / "reference/statements/run" if reader == "report with kept runs" else folder
    run, out = old_run(place), tmp_path / "page.html"
    page = ["report", "--params", "presets/smoke.yaml", "--table", str(TABLE), "--out", str(out)]
    commands = {
        "verify": ["verify", "--run", str(run), "--reference", str(KEPT)],
        "verify against": ["verify", "--run", str(KEPT), "--reference", str(run)],
        "report": [*page, "--results", str(run)],
        "report with kept runs": [*page, "--results", str(folder)],
        "report --compare": [*page, "--results", str(TABLE.parent), "--compare", str(run)],
    }
    assert main(commands[reader]) == 2
    error = sentence(capsys)
    assert f"{run / 'claims.json'} is of an earlier version" in error
    assert f"is called statements.json now; `python tools/rename_statements.py {run}`" in error
    assert not out.exists()
    assert convert(run).returncode == 0
    if reader.startswith("verify"):
        assert main(commands[reader]) == 0


def test_an_old_file_beside_the_new_one_is_left_over(tmp_path: Path) -> None:
    """A run in the folder of an earlier one makes the new file, and the old one means nothing."""
    run = old_run(tmp_path / "run")
    shutil.copy(KEPT / "statements.json", run)
    renew(run)
    assert main(["verify", "--run", str(run), "--reference", str(KEPT)]) == 0


def test_the_old_command_names_the_new_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["claims", "--params", "presets/smoke.yaml"]) == 2
    error = sentence(capsys)
    assert "'claims' is called 'statements' now; run `python -m replicate statements`" in error
