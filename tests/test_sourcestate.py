"""The commit is that of the project's files, wherever they lie, or there is none and a reason."""

import subprocess
from pathlib import Path

import pytest

from replicate.records.source_state import COMMIT, source_state


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(COMMIT, raising=False)
    for name, value in {"NAME": "a", "EMAIL": "a@b"}.items():
        monkeypatch.setenv(f"GIT_AUTHOR_{name}", value)
        monkeypatch.setenv(f"GIT_COMMITTER_{name}", value)


def git(folder: Path, *words: str) -> str:
    return subprocess.run(
        ["git", "-C", folder, *words], check=True, capture_output=True, text=True
    ).stdout.strip()


def project_in(folder: Path) -> Path:
    (folder / "replicate").mkdir(parents=True)
    (folder / "replicate" / "__init__.py").touch()
    return folder


def committed(folder: Path) -> str:
    if not (folder / ".git").exists():
        git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "x", "--allow-empty")
    return git(folder, "rev-parse", "HEAD")


@pytest.mark.parametrize("below", [".", "gan"])
def test_a_repository_of_its_own_or_a_larger_one(tmp_path: Path, below: str) -> None:
    project = project_in(tmp_path / below)
    commit = committed(tmp_path)
    assert source_state(project) == {"commit": commit, "dirty": False}
    (project / "replicate" / "__init__.py").write_text("edited")
    assert source_state(project) == {"commit": commit, "dirty": True}


def test_changes_elsewhere_in_a_larger_repository_are_none_of_the_project(tmp_path: Path) -> None:
    project = project_in(tmp_path / "gan")
    (tmp_path / "thesis.tex").touch()
    commit = committed(tmp_path)
    (tmp_path / "thesis.tex").write_text("edited")
    assert source_state(project) == {"commit": commit, "dirty": False}


def test_a_repository_that_only_lies_around_the_project_says_nothing_of_it(tmp_path: Path) -> None:
    """Such as a home folder that is kept in git, with the project unpacked or cloned below it and
    ignored.
    """
    (tmp_path / ".gitignore").write_text("gan\n")
    project = project_in(tmp_path / "gan")
    committed(tmp_path)
    state = source_state(project)
    assert (state["commit"], state["dirty"]) == (None, None)
    assert "does not hold the project's files" in state["reason"]


def test_a_clone_in_another_repository_is_its_own(tmp_path: Path) -> None:
    project = project_in(tmp_path / "gan")
    own = committed(project)
    (tmp_path / ".gitignore").write_text("gan\n")
    assert committed(tmp_path) != own
    assert source_state(project)["commit"] == own


def test_a_hook_of_another_repository_does_not_lend_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, other = project_in(tmp_path / "gan"), tmp_path / "other"
    own = committed(project)
    other.mkdir()
    committed(other)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert source_state(project)["commit"] == own


def test_without_git_history_the_commit_is_the_one_that_the_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = project_in(tmp_path)
    assert "not a git repository" in source_state(project)["reason"]
    monkeypatch.setenv(COMMIT, "f" * 40)
    assert source_state(project) == {"commit": "f" * 40, "dirty": None}
    commit = committed(project)
    assert source_state(project) == {"commit": commit, "dirty": False}


def test_without_git_the_reason_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert source_state(project_in(tmp_path / "gan")) == {
        "commit": None, "dirty": None, "reason": "no git was started (No such file or directory)",
    }  # fmt: skip
