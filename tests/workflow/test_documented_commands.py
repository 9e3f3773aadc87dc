"""Every command that README, docs, the page, help or a message names does what it says, in a fresh
checkout.

The short tests see that each one can be run or is listed with a reason; the slow ones run them.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from replicate.__main__ import STAGES, TOOLS
from tests.workflow.conftest import Project, with_all
from tests.workflow.documented import TARGETS, UNKNOWN, Found, collected, examples, listed

#: Words that stand for something that a reader puts in their place.
SKETCH = re.compile(rf"{re.escape(UNKNOWN)}|\.\.\.|\b(?!HEAD\b)[A-Z]{{3,}}\b(?!=)|\[--")
#: Commands that leave something behind for the next: they run in their order, in one checkout with
#: git and DVC.
IN_ORDER = ("dvc ", "git ", "make restore")
IDENTITY = {
    "GIT_AUTHOR_NAME": "test", "GIT_AUTHOR_EMAIL": "test@example.org",
    "GIT_COMMITTER_NAME": "test", "GIT_COMMITTER_EMAIL": "test@example.org",
}  # fmt: skip


def every_line() -> list[str]:
    return [line for found in collected() for line in found.lines]


def in_order(found: Found) -> bool:
    return any(line.startswith(IN_ORDER) for line in found.lines)


def script(found: Found) -> tuple[str, int]:
    """What a shell is given for it, and the exit status that it is to have."""
    lines, status = [], 0
    for line in found.lines:
        entry = listed().get(line)
        if entry is None:
            lines.append(line)
        elif entry.instead is not None:
            lines.append(entry.instead)
            status = entry.status
    return "\n".join(lines), status


def test_texts_name_commands() -> None:
    assert len(collected()) > 100
    places = {found.where for found in collected()}
    assert {
        "README.md",
        "docs/faq.md",
        "report/templates/summary.html.j2",
        "replicate/stages/verify.py",
    } <= places
    assert "snakemake --cores 8" in every_line(), "also said by a message, without quotes"


def test_every_entry_of_the_list_is_of_a_command_and_says_why() -> None:
    lines = set(every_line())
    assert [command for command in listed() if command not in lines] == []
    assert [command for command, entry in listed().items() if not entry.reason] == []
    assert [command for command, entry in listed().items() if entry.instead == command] == []


def test_a_command_that_is_not_listed_can_be_run_as_it_stands() -> None:
    """It has no word for something that a reader puts in, and what it calls exists."""
    for line in every_line():
        if line in listed():
            continue
        assert not SKETCH.search(line), (
            f"{line!r} can not be run as it stands: add it to documented.yaml"
        )
        if stage := re.match(r"python -m replicate ([a-z]+)", line):
            assert stage[1] in STAGES | TOOLS, line
        if tool := re.match(r"python (tools/\S+)", line):
            assert Path(tool[1]).is_file(), line
        assert not line.startswith("make"), f"{line!r} installs packages: add it to documented.yaml"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (
            "```sh\n# why\nA=1; b   # c\npython -m x \\\n  --y '# z'\n```",
            [["A=1; b", "python -m x --y '# z'"]],
        ),
        ("```\n$ dvc repro  # now\nout\nmake test\n```", [["dvc repro"], ["make test"]]),
        ("run `make\n report`, or make the `bed`", [["make report"]]),
    ],
)
def test_the_collector_finds_what_is_there(
    text: str, lines: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.workflow.documented.ROOT", tmp_path)
    (tmp_path / "x.md").write_text(text)
    from tests.workflow.documented import of_markdown

    assert [list(found.lines) for found in of_markdown(tmp_path / "x.md")] == lines


def test_the_collector_finds_commands_of_docstrings_and_messages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.workflow.documented.ROOT", tmp_path)
    (tmp_path / "x.py").write_text(
        '"""D.\n\n  python -m replicate a   what\n"""\n'
        'E = f"run `dvc repro {1}` or make it: snakemake --cores 8."\n'
    )
    from tests.workflow.documented import of_module

    found = [line for one in of_module(tmp_path / "x.py") for line in one.lines]
    assert found == ["python -m replicate a", f"dvc repro {UNKNOWN}", "snakemake --cores 8"]
    assert set(TARGETS.split("|")) <= set(
        Path("Makefile").read_text().split(".PHONY:")[1].split("\n")[0].split()
    )


#: Commands that ask whether the run is whole: its page was made beside the kept runs of a copy, so
#: that with all of them it would be out of date.
OF_A_WHOLE_RUN = re.compile(r"python -m replicate (check|crate)\b")


def with_examples(project: Project, text: str) -> Project:
    """The checkout with the files that texts take for granted."""
    if not OF_A_WHOLE_RUN.search(text):
        with_all(project)
    for name, source in examples().items():
        shutil.copy(project / source, project / name)
    return project


def ran(project: Project, text: str) -> "subprocess.CompletedProcess[str]":
    return project.run("bash", "-e", "-c", text, **IDENTITY)


@pytest.mark.slow
@pytest.mark.parametrize(
    "found",
    [f for f in collected() if not in_order(f)],
    ids=lambda f: f"{f.where}: {f.lines[0]}"[:90],
)
def test_it_runs(finished: Project, found: Found) -> None:
    text, status = script(found)
    if not text:
        pytest.skip(listed()[found.lines[0]].reason)
    done = ran(with_examples(finished, text), text)
    assert done.returncode == status, (
        f"{found.where}: {text}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    )
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.slow
def test_those_of_git_and_dvc_run_one_after_another(finished: Project) -> None:
    project = with_all(finished).with_git()
    for found in sorted(
        (f for f in collected() if in_order(f)), key=lambda f: f.where != "docs/comparing-runs.md"
    ):
        text, status = script(found)
        done = ran(project, text)
        assert done.returncode == status, (
            f"{found.where}: {text}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
        assert "Traceback" not in done.stdout + done.stderr
