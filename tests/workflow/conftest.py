"""Copies of the project to run the engines in, as a user would; one whole run of the smoke preset
is shared.
"""

import fcntl
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: What a run, a tool or a person leaves in a checkout, and a new copy does not have.
LEFT_OUT = {
    ".git",
    ".venv",
    ".snakemake",
    ".replicate",
    ".dvc",
    "data",
    "logs",
    "site",
    "dist",
    "dvc.lock",
    "index.html",
    "play.html",
}
#: What a copy has of the tests and the kept runs: two runs, which the page shows and a release
#: takes. Hundreds of copies of all of them would be most of what the tests write.
KEPT = {"mnist-500-epochs", "statements", "seeds-0-9"}
CACHES = shutil.ignore_patterns("__pycache__", ".*_cache", ".hypothesis", "*.egg-info", "*.bak-*")
CHANGED = re.compile(r"^(\w+) +(\d+)$", re.MULTILINE)
#: A stand-in for conda with the subcommands that Snakemake calls; its environments see the packages
#: of this one.
CONDA = """#!{python}
import json, pathlib, subprocess, sys, venv
words = sys.argv[1:]
base = pathlib.Path(__file__).resolve().parent.parent
if words[0] == "info":
    facts = {{"conda_prefix": str(base), "conda_version": "25.1.0", "platform": "linux-64"}}
    print(json.dumps(facts))
elif words[0] == "--version":
    print("conda 25.1.0")
elif words[0] == "config":
    print(json.dumps({{"get": {{"channel_priority": "strict"}}}}))
elif words[:2] == ["env", "create"]:
    prefix = pathlib.Path(words[words.index("--prefix") + 1])
    venv.create(prefix, with_pip=False, symlinks=True)
    (site,) = prefix.glob("lib/python*/site-packages")
    (site / "stand_in.pth").write_text({packages!r} + "\\n")
"""
ACTIVATE = 'export VIRTUAL_ENV="$1" PATH="$1/bin:$PATH"\n'


class Project:
    """A copy of the project in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    def run(
        self, *command: str, path: Path | None = None, **extra: str
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command in the folder with the environment's programs, `path` before them, and no
        conda.
        """
        bins = [Path(sys.executable).parent, "/usr/local/bin", "/usr/bin", "/bin"]
        environment = {
            name: os.environ[name]
            for name in ("HOME", "LANG", "TMPDIR", "TMP")
            if name in os.environ
        }
        environment |= {
            "PATH": os.pathsep.join(map(str, [path, *bins] if path else bins)),
            "DVC_NO_ANALYTICS": "1",
        }
        return subprocess.run(
            command,
            cwd=self.folder,
            env=environment | extra,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    def good(self, *command: str, path: Path | None = None, **extra: str) -> str:
        """What a command prints; its failure fails the test and shows the output."""
        done = self.run(*command, path=path, **extra)
        assert done.returncode == 0, (
            f"{' '.join(command)} exited with {done.returncode}:\n{done.stdout}{done.stderr}"
        )
        return done.stdout + done.stderr

    def cost(self, *command: str) -> tuple[str, float]:
        """What a command prints, and the processor seconds it took: on a busy machine they say more
        than the clock.
        """
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        answer = self.good(*command)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return answer, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def quick(self) -> float:
        """Processor seconds that a run with nothing to do may take: 5, or more where Snakemake
        itself starts slowly.
        """
        return max(5.0, 3 * self.cost("snakemake", "--version")[1])

    def planned(self, *options: str) -> dict[str, int]:
        """Rule -> number of jobs that `snakemake -n` would run, targets left out."""
        text = self.good("snakemake", "-n", "--cores", "2", *options)
        if "Nothing to be done" in text:
            return {}
        counts = dict(CHANGED.findall(text.split("Job stats:")[1].split("Reasons:")[0]))
        return {rule: int(count) for rule, count in counts.items() if rule not in ("all", "total")}

    def records(self) -> dict[str, bytes]:
        """The run records, which say something new after every job, and the page.

        Their times would not do: DVC replaces a file that it takes into its cache by an equal one.
        """
        files = [*(self / "results").rglob("*.run.json"), self / "report/index.html"]
        return {
            str(file.relative_to(self.folder)): file.read_bytes() for file in files if file.exists()
        }

    def edit(self, name: str, old: str, new: str) -> None:
        """Replaces the one match of the regular expression `old` in a file."""
        text, count = re.subn(old, lambda _: new, (self / name).read_text(encoding="utf-8"))
        assert count == 1, f"{name} matches {old!r} {count} times"
        (self / name).write_text(text, encoding="utf-8")

    def copy(self, folder: Path) -> "Project":
        """The same project, with its results and what the engines know about them, in another
        folder.
        """
        shutil.copytree(self.folder, folder, symlinks=True)
        return Project(folder)

    def with_git(self) -> "Project":
        """The project as a git checkout with one commit and DVC."""
        shutil.copytree(
            ROOT / ".dvc",
            self / ".dvc",
            ignore=shutil.ignore_patterns("cache", "tmp", "config.local"),
        )
        self.good("git", "init", "--quiet")
        self.commit()
        return self

    def commit(self) -> None:
        """Commits everything that git does not ignore."""
        self.good("git", "add", "--all")
        self.good(
            "git",
            "-c",
            "user.name=test",
            "-c",
            "user.email=test@example.org",
            "commit",
            "--quiet",
            "-m",
            "test",
        )


def flip(path: Path) -> None:
    """Flips one bit in the middle of a file and gives it the time that it had: what a bad disk
    does.
    """
    times = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def _pristine(folder: Path) -> Project:
    def left_out(where: str, names: list[str]) -> set[str]:
        skipped = set(CACHES(where, names)) | (
            LEFT_OUT & set(names) if where in (str(ROOT), f"{ROOT}/report") else set()
        )
        folder = Path(where)
        if folder == ROOT:
            skipped |= {"tests"}
        if folder == ROOT / "results":
            skipped |= set(names) - {"published", "reference", "tuning"}
        if folder in (ROOT / "results/reference", ROOT / "results/reference/statements"):
            skipped |= {name for name in names if (folder / name).is_dir()} - KEPT
        return skipped

    shutil.copytree(ROOT, folder, ignore=left_out)
    return Project(folder)


def with_all(project: Project) -> Project:
    """The copy with what it has been spared: the tests, and all kept runs."""
    for name in ("tests", "results/reference"):
        shutil.copytree(ROOT / name, project / name, ignore=CACHES, dirs_exist_ok=True)
    return project


def stand_in(folder: Path) -> Path:
    """A folder to put on PATH, with a stand-in named conda."""
    bins = folder / "bin"
    bins.mkdir(parents=True)
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    (bins / "conda").write_text(CONDA.format(python=sys.executable, packages=packages))
    (bins / "conda").chmod(0o755)
    (bins / "activate").write_text(ACTIVATE)
    return bins


@pytest.fixture
def fresh(tmp_path: Path) -> Project:
    """A copy as unpacked from an archive: nothing has run, params.yaml is the demo."""
    return _pristine(tmp_path / "fresh")


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Project:
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base  # one run for all workers
    folder = shared / "finished"
    with (shared / "finished.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            project = _pristine(Path(tempfile.mkdtemp(dir=shared)) / "project")
            shutil.copy(project / "presets/smoke.yaml", project / "params.yaml")
            project.good("snakemake", "--cores", "2")
            project.folder.rename(folder)
    return Project(folder)


@pytest.fixture(scope="session")
def recorded_run(whole_run: Project) -> Project:
    """The whole run as a git checkout whose results DVC has recorded, not to be changed."""
    folder = whole_run.folder.with_name("recorded")
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            project = whole_run.copy(Path(tempfile.mkdtemp(dir=folder.parent)) / "project")
            project.with_git().good("dvc", "repro")
            project.folder.rename(folder)
    return Project(folder)


@pytest.fixture
def recorded(recorded_run: Project, tmp_path: Path) -> Project:
    """A copy of a whole run that DVC has recorded."""
    return recorded_run.copy(tmp_path / "recorded")


@pytest.fixture
def finished(whole_run: Project, tmp_path: Path) -> Iterator[Project]:
    """A copy of a whole run of the smoke preset by Snakemake."""
    return whole_run.copy(tmp_path / "finished")
