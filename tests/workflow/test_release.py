"""A release of a scratch repository: what stands in its way, what is in it, and that nothing is
pushed.
"""

import hashlib
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from replicate import __version__
from tests.workflow.conftest import ROOT, Project

VERSION = "7.0.1"
DAY = "2031-05-04"
GENERATOR = "results/reference/mnist-500-epochs/adversarial_nets/generator.safetensors"


def prepare(project: Project, version: str = VERSION) -> None:
    """Gives the project a version everywhere, and commits all of it."""
    project.edit("pyproject.toml", r'(?m)^version = "[^"]+"', f'version = "{version}"')
    project.edit("replicate/__init__.py", r'__version__ = "[^"]+"', f'__version__ = "{version}"')
    project.edit("CITATION.cff", r"(?m)^version: \S+", f"version: {version}")
    project.edit("CITATION.cff", r"(?m)^date-released: .*", f'date-released: "{DAY}"')
    project.edit("CHANGELOG.md", r"## Unreleased\n", f"## Unreleased\n\n## {version} ({DAY})\n")
    project.good("git", "init", "--quiet")
    project.good("git", "config", "user.name", "test")
    project.good("git", "config", "user.email", "test@example.org")
    project.commit()


@pytest.fixture
def small(tmp_path: Path) -> Project:
    """A repository with no more than the files that are looked at."""
    project = Project(tmp_path / "small")
    for name in (
        "pyproject.toml", "replicate/__init__.py", "CITATION.cff", "CHANGELOG.md", "tools/release.py", ".gitignore",
    ):  # fmt: skip
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((ROOT / name).read_bytes())
    (project / GENERATOR).parent.mkdir(parents=True)
    (project / GENERATOR).write_bytes(b"weights")
    prepare(project)
    return project


def release(project: Project, *words: str) -> subprocess.CompletedProcess[str]:
    return project.run(sys.executable, "tools/release.py", *words)


def tags(project: Project) -> str:
    return project.good("git", "tag", "--list")


def test_a_repository_that_agrees_may_be_released(small: Project) -> None:
    done = release(small, VERSION, "--check")
    assert (done.returncode, done.stderr) == (0, "")
    assert tags(small) == ""
    assert not (small / "dist").exists()


@pytest.mark.parametrize("version", ["7.0", "v7.0.1", "7.0.01", "7.0.1-rc1", "", "7.0.1; echo"])
def test_a_version_has_three_numbers(small: Project, version: str) -> None:
    done = release(small, version)
    assert done.returncode == 1
    assert done.stderr == f"release: {version!r} is no version x.y.z.\n"


def other_versions(project: Project) -> Iterator[tuple[str, str]]:
    for name, old in (
        ("pyproject.toml", f'version = "{VERSION}"'),
        ("replicate/__init__.py", f'"{VERSION}"'),
        ("CITATION.cff", f"version: {VERSION}"),
    ):
        project.edit(name, re.escape(old), old.replace(VERSION, "7.0.0"))
        yield name, f"{name} has version 7.0.0"


def test_every_file_that_names_another_version_is_named(small: Project) -> None:
    expected = [clause for _, clause in other_versions(small)]
    small.commit()
    done = release(small, VERSION)
    assert done.returncode == 1
    assert done.stderr == f"release: {'; '.join(expected)}.\n"
    assert tags(small) == ""


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("no heading", f"CHANGELOG.md has no heading `## {VERSION} ({DAY})`"),
        ("other day", f"CHANGELOG.md says 2031-05-05, and CITATION.cff was released on {DAY}"),
        ("changed", "files differ from the commit"),
        ("new", "files differ from the commit"),
        ("tagged", f"there is a tag v{VERSION} already"),
        ("released", f"dist/{VERSION} is there already"),
        ("no generator", "generator.safetensors is not there"),
    ],
)
def test_what_stands_in_the_way_is_said_and_nothing_is_made(
    small: Project, fault: str, words: str
) -> None:
    if fault == "no heading":
        small.edit("CHANGELOG.md", re.escape(f"## {VERSION} ({DAY})"), "## Something")
        small.commit()
    elif fault == "other day":
        small.edit("CHANGELOG.md", re.escape(f"({DAY})"), "(2031-05-05)")
        small.commit()
    elif fault == "changed":
        (small / "CHANGELOG.md").write_text((small / "CHANGELOG.md").read_text() + "more\n")
    elif fault == "new":
        (small / "replicate/new.py").write_text("")
    elif fault == "tagged":
        small.good("git", "tag", f"v{VERSION}")
    elif fault == "released":
        (small / "dist" / VERSION).mkdir(parents=True)
    else:
        (small / GENERATOR).unlink()
        small.commit()
    before = tags(small)
    done = release(small, VERSION)
    assert done.returncode == 1
    assert done.stderr.startswith("release: ")
    assert done.stderr.count("\n") == 1
    assert words in done.stderr
    assert tags(small) == before
    assert fault == "released" or not (small / "dist").exists()


def test_a_release_has_all_files_with_their_checksums_and_is_pushed_nowhere(
    finished: Project, tmp_path: Path
) -> None:
    prepare(finished, __version__)
    remote = tmp_path / "remote.git"
    finished.good("git", "init", "--quiet", "--bare", str(remote))
    finished.good("git", "remote", "add", "origin", str(remote))
    said = finished.good(sys.executable, "tools/release.py", __version__)
    assert "nothing was pushed" in said
    assert finished.good("git", "ls-remote", str(remote)) == ""
    assert finished.good("git", "cat-file", "-t", f"v{__version__}") == "tag\n"
    head = finished.good("git", "rev-parse", "HEAD")
    assert finished.good("git", "rev-parse", f"v{__version__}^{{commit}}") == head
    assert finished.good("git", "status", "--porcelain") == ""
    folder = finished / f"dist/{__version__}"
    name = f"replicate-{__version__}"
    files = {
        f"{name}.tar.gz",
        f"{name}-run.zip",
        f"{name}-report.html",
        f"{name}-generator.safetensors",
    }
    assert {path.name for path in folder.iterdir()} == files | {"SHA256SUMS"}
    assert [path.name for path in (finished / "dist").iterdir()] == [__version__]
    sums = dict(
        reversed(line.split("  ")) for line in (folder / "SHA256SUMS").read_text().splitlines()
    )
    assert sums == {
        file: hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in files
    }
    listed = set(finished.good("git", "ls-tree", "-r", "--name-only", "HEAD").splitlines())
    with tarfile.open(folder / f"{name}.tar.gz") as archive:
        packed = {member.name for member in archive.getmembers() if member.isfile()}
    assert packed == {f"{name}/{file}" for file in listed}
    with zipfile.ZipFile(folder / f"{name}-run.zip") as crate:
        assert crate.read("report/index.html") == (folder / f"{name}-report.html").read_bytes()
    # Once more: the tag is there.
    assert "already" in release(finished, __version__).stderr


def test_without_a_finished_run_there_is_no_tag(finished: Project) -> None:
    prepare(finished, __version__)
    (finished / "results/metrics.json").unlink()
    done = release(finished, __version__)
    assert done.returncode == 1
    assert "results/metrics.json is missing" in done.stderr
    assert "no crate to release" in done.stderr
    assert tags(finished) == ""
    assert list((finished / "dist").iterdir()) == []
