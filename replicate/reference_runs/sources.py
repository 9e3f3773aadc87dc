"""The code of a block: that of the commit it was started from, whatever was changed since.

In a git checkout blocks run from a clone of their commit below the ignored folder, so that no edit
reaches a run that goes on for days. Without git they run from the code that is here; a pack may
have brought the name of its commit.
"""

import hashlib
import os
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from replicate.errors import ReplicateError
from replicate.jobs.code_digest import PACKAGE, code_digest
from replicate.models import REGISTRY
from replicate.reference_runs.blocks import Block, Folders, differing_settings
from replicate.storage.files import read_json, write_error, write_json
from replicate.storage.paths import package_root

#: The commit of the code that is here, where git cannot say it.
COMMIT = "commit.json"


class BlockOrigin(TypedDict):
    """What a block was started from: the content of its `block.json`."""

    entry: str
    model: str
    dataset: str
    block: str
    commit: str | None
    package: str
    data: str


@dataclass(frozen=True)
class Source:
    """Code that runs.

    Attributes:
        commit: None where it is unknown.
        package: SHA-256 of the project's modules.
        folder: holds the package's folder.
    """

    commit: str | None
    package: str
    folder: Path

    @property
    def name(self) -> str:
        """Its name in printed lines."""
        if self.commit:
            return f"commit {self.commit[:12]}"
        return f"code {self.package[:12]} of an unknown commit"

    def environment(self) -> dict[str, str]:
        """The environment of a process that runs this code."""
        environment = _environment_without_git()
        environment.pop("PYTHONSAFEPATH", None)
        # First: PYTHONPATH may name another copy of the project.
        folders = [str(self.folder)]
        if python_path := os.environ.get("PYTHONPATH"):
            folders.append(python_path)
        return environment | {"PYTHONPATH": os.pathsep.join(folders)}


def package_digest(root: Path) -> str:
    """SHA-256 of all modules of the project below a folder, with their names."""
    digest = hashlib.sha256()
    modules = sorted((root / PACKAGE).rglob("*.py"))
    for path in modules:
        # Emacs marks a file that is being edited by a link to nothing.
        if not path.is_file():
            continue
        name = path.relative_to(root).as_posix()
        line = f"{name}\n"
        content = hashlib.sha256(path.read_bytes())
        # The name too: a module that was moved is other code, though its bytes are the same.
        digest.update(line.encode())
        digest.update(content.digest())
    return digest.hexdigest()


def _environment_without_git() -> dict[str, str]:
    """The environment without the variables by which a git hook names its own repository."""
    environment = dict(os.environ)
    for name in os.environ:
        if name.startswith("GIT_"):
            del environment[name]
    return environment


def _git(root: Path, *words: str) -> str:
    """What git prints; raises OSError or CalledProcessError."""
    process = subprocess.run(
        ["git", "-C", str(root), *words],
        capture_output=True,
        text=True,
        check=True,
        env=_environment_without_git(),
    )
    return process.stdout.strip()


def is_checkout(root: Path) -> bool:
    """Whether the project's folder is in git: a repository, a worktree or part of a larger one.

    A repository around the folder that does not hold its files does not count.
    """
    with suppress(OSError, subprocess.CalledProcessError):
        head = _git(root, "rev-parse", "HEAD")
        tracked = _git(root, "ls-files", "--", f"{PACKAGE}/__init__.py")
        return bool(head and tracked)
    return False


def has_commit(root: Path, commit: str) -> bool:
    """Whether the repository has that commit."""
    with suppress(OSError, subprocess.CalledProcessError):
        return _git(root, "cat-file", "-t", commit) == "commit"
    return False


def uncommitted(root: Path) -> bool:
    """Whether modules of the project differ from those of the last commit."""
    changes = _git(root, "status", "--porcelain", "--", PACKAGE)
    return bool(changes)


def present(folders: Folders) -> Source:
    """The code of new blocks: that of the last commit, or without git the code that is here."""
    root = package_root()
    if is_checkout(root):
        head = _git(root, "rev-parse", "HEAD")
        return _cloned(folders, head)
    package = package_digest(root)
    path = folders.work / COMMIT
    note = read_json(path) if path.is_file() else {}
    # The note counts only for the code that it was written for.
    commit = note.get("commit") if note.get("package") == package else None
    return Source(commit, package, root)


def _project_in(clone: Path) -> Path:
    """The project's folder in a clone of its repository, which may hold more than the project."""
    root = package_root()
    if (clone / PACKAGE).is_dir() or not is_checkout(root):
        return clone
    return clone / _git(root, "rev-parse", "--show-prefix")


def _has_project(clone: Path) -> bool:
    package = _project_in(clone) / PACKAGE
    return (package / "__init__.py").is_file()


def _cloned(folders: Folders, commit: str) -> Source:
    """The clone of a commit below the ignored folder, made where it is missing.

    Raises:
        ReplicateError: the clone is missing and cannot be made, or the commit has the project in
            another folder.
    """
    clone = folders.work / "source" / commit
    # A clone is made once and used by every block of its commit.
    if not _has_project(clone):
        if clone.exists():
            raise ReplicateError(
                f"{clone} is no whole clone of commit {commit[:12]}; move it away, and it is made "
                "anew."
            )
        _clone(package_root(), clone, commit)
    project = _project_in(clone)
    package = package_digest(project)
    return Source(commit, package, project)


def _clone(root: Path, target: Path, commit: str) -> None:
    """Clones the repository of `root` at a commit to `target`, which appears complete."""
    if not is_checkout(root):
        raise ReplicateError(
            f"its code is that of commit {commit[:12]}, and a clone of it takes git and this "
            "project's repository, which are not here; go on where they are, or copy the clone to "
            f"{target}."
        )
    if not has_commit(root, commit):
        raise ReplicateError(
            f"its code is that of commit {commit[:12]}, which this repository does not have; fetch "
            "it first."
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Beside the target, since a rename does not cross file systems.
        with tempfile.TemporaryDirectory(prefix=".clone-", dir=target.parent) as scratch:
            clone = Path(scratch, "clone")
            repository = _git(root, "rev-parse", "--show-toplevel")
            _git(root, "clone", "--quiet", "--no-checkout", repository, str(clone))
            _git(clone, "checkout", "--quiet", "--detach", commit)
            if not _has_project(clone):
                raise ReplicateError(
                    f"commit {commit[:12]} does not have the project where it lies now, in {root}."
                )
            try:
                clone.rename(target)
            except OSError:
                # Another process may have made it in between.
                if not _has_project(target):
                    raise
    except OSError as error:
        raise write_error(target, error) from error
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip() or "no reason is given").splitlines()[-1]
        raise ReplicateError(
            f"commit {commit[:12]} could not be cloned to {target}: {reason}."
        ) from None


def begin(block: Block, source: Source, data_sha256: str) -> None:
    """Notes what a new block is started from."""
    _write_origin(block, source.commit, source.package, data_sha256)


def _write_origin(block: Block, commit: str | None, package: str, data_sha256: str) -> None:
    origin: BlockOrigin = {
        "entry": block.entry.name,
        "model": block.model,
        "dataset": block.dataset,
        "block": block.seeds,
        "commit": commit,
        "package": package,
        "data": data_sha256,
    }
    write_json(block.origin_file, origin)


def read_origin(path: Path) -> BlockOrigin:
    """What a block was started from, by its `block.json`."""
    origin: BlockOrigin = read_json(path)
    return origin


def source_of(block: Block, folders: Folders) -> Source:
    """The code that a block was started from.

    Raises:
        ReplicateError: it is not here.
    """
    if not block.origin_file.is_file():
        _adopt(block, folders)
    origin = read_origin(block.origin_file)
    commit = origin["commit"]
    package = origin["package"]
    root = package_root()
    if commit is not None:
        has_clone = (folders.work / "source" / commit).is_dir()
        if has_clone or is_checkout(root):
            return _cloned(folders, commit)
    # Without the commit the same code will do, wherever it came from.
    if package_digest(root) == package:
        return Source(commit, package, root)
    if commit is None:
        raise ReplicateError(
            "it was started from code of no commit, which has changed since; bring that code back, "
            f"or remove {block.folder} to start it anew."
        )
    return _cloned(folders, commit)


def _adopt(block: Block, folders: Folders) -> None:
    """Finds the code of a block that was started by hand, and notes its origin.

    The settings of its checkpoints name the digest of that code. Of several clones with the digest
    the oldest counts, and the code that is here last.

    Raises:
        ReplicateError: that code is not here, or its settings are not the plan's.
    """
    settings = block.states()[0].settings
    differing = differing_settings(block, settings)
    if differing:
        names = ", ".join(differing)
        raise ReplicateError(
            f"what lies in {block.state} was trained with other settings than the plan's "
            f"({names}); move it away, or put the plan right."
        )
    # What `jobs.subject` digests for a training: the stage and the model's own module.
    modules = ["replicate.stages.train", REGISTRY[block.model][1]]
    here = present(folders)
    clones = list((folders.work / "source").glob("[0-9a-f]*"))
    # Commits that did not touch a model have the same digest of it.
    clones.sort(key=lambda clone: clone.stat().st_mtime)
    candidates: list[tuple[Path, str | None]] = [
        (clone, clone.name) for clone in clones if clone.name != here.commit
    ]
    candidates.append((here.folder, here.commit))
    for folder, commit in candidates:
        project = _project_in(folder)
        if _digest(modules, project) == settings["code"]:
            _write_origin(block, commit, package_digest(project), settings["data"])
            return
    raise ReplicateError(
        f"the code that began {block.state} (digest {settings['code']}) is neither here nor in "
        f"{folders.work / 'source'}; put a clone of its commit there, named by the commit."
    )


def _digest(modules: list[str], folder: Path) -> str | None:
    """The digest of modules below a folder; None where it has no such modules."""
    with suppress(LookupError):
        return code_digest(modules, folder)
    return None
