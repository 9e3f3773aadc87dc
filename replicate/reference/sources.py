"""The code that a block belongs to: that of the commit it was started from, whatever was changed since.

In a git checkout blocks run from a clone of their commit below the ignored folder, so that nobody's edits reach a run
that goes on for days. Without git they run from the code that is here; which commit that is, a pack may have said.
"""

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from replicate.codedigest import PACKAGE, code_digest, package_root
from replicate.errors import ReplicateError
from replicate.files import read_json, write_json
from replicate.models import REGISTRY
from replicate.reference.blocks import Block, Folders, other_settings

#: Which commit the code here is, where git cannot say.
COMMIT = "commit.json"


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
        """For lines."""
        return f"commit {self.commit[:12]}" if self.commit else f"code {self.package[:12]} of an unknown commit"

    def environment(self) -> dict[str, str]:
        """The environment of a process that runs this code."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        kept.pop("PYTHONSAFEPATH", None)
        places = [str(self.folder), *filter(None, [os.environ.get("PYTHONPATH")])]
        return kept | {"PYTHONPATH": os.pathsep.join(places)}


def package_digest(root: Path) -> str:
    """SHA-256 of all modules of the project below a folder, with their names."""
    digest = hashlib.sha256()
    for path in sorted((root / PACKAGE).rglob("*.py")):
        digest.update(f"{path.relative_to(root).as_posix()}\n".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _git(root: Path, *words: str) -> str:
    """What git prints; raises OSError or CalledProcessError."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        ["git", "-C", str(root), *words], capture_output=True, text=True, check=True, env=environment
    )  # fmt: skip
    return done.stdout.strip()


def is_checkout(root: Path) -> bool:
    """Whether git can answer for the project's folder, be it a repository, a worktree or part of a larger one.

    A repository that only lies around the folder, and does not hold its files, is none of the project's.
    """
    with suppress(OSError, subprocess.CalledProcessError):
        return bool(_git(root, "rev-parse", "HEAD") and _git(root, "ls-files", "--", f"{PACKAGE}/__init__.py"))
    return False


def has_commit(root: Path, commit: str) -> bool:
    """Whether the repository has that commit."""
    with suppress(OSError, subprocess.CalledProcessError):
        return _git(root, "cat-file", "-t", commit) == "commit"
    return False


def uncommitted(root: Path) -> bool:
    """Whether modules of the project differ from those of the last commit."""
    return bool(_git(root, "status", "--porcelain", "--", PACKAGE))


def present(folders: Folders) -> Source:
    """The code that new blocks run: that of the last commit, or where there is no git, the one that is here."""
    root = package_root()
    if is_checkout(root):
        return _cloned(folders, _git(root, "rev-parse", "HEAD"))
    package = package_digest(root)
    path = folders.work / COMMIT
    known = read_json(path) if path.is_file() else {}
    commit = known.get("commit") if known.get("package") == package else None
    return Source(commit, package, root)


def _project_in(clone: Path) -> Path:
    """The project's folder in a clone of its repository, which may hold more than the project."""
    root = package_root()
    if (clone / PACKAGE).is_dir() or not is_checkout(root):
        return clone
    return clone / _git(root, "rev-parse", "--show-prefix")


def _cloned(folders: Folders, commit: str) -> Source:
    """The clone of a commit below the ignored folder, made where it is missing.

    Raises:
        ReplicateError: there is neither the clone nor what it takes to make one; or the commit has the project in
            another folder.
    """
    target = folders.work / "source" / commit
    if not (_project_in(target) / PACKAGE / "__init__.py").is_file():
        _clone(package_root(), target, commit)
    project = _project_in(target)
    return Source(commit, package_digest(project), project)


def _clone(root: Path, target: Path, commit: str) -> None:
    if not is_checkout(root):
        raise ReplicateError(
            f"its code is that of commit {commit[:12]}, and a clone of it takes git and this project's repository, "
            f"which are not here; go on where they are, or copy the clone to {target}."
        )
    if not has_commit(root, commit):
        raise ReplicateError(
            f"its code is that of commit {commit[:12]}, which this repository does not have; fetch it first."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=".clone-", dir=target.parent) as scratch:
            clone = Path(scratch, "clone")
            whole = _git(root, "rev-parse", "--show-toplevel")
            _git(root, "clone", "--quiet", "--no-checkout", whole, str(clone))
            _git(clone, "checkout", "--quiet", "--detach", commit)
            if not (_project_in(clone) / PACKAGE / "__init__.py").is_file():
                raise ReplicateError(f"commit {commit[:12]} does not have the project where it lies now, in {root}.")
            if not target.exists():
                clone.rename(target)
    except subprocess.CalledProcessError as error:
        said = (error.stderr.strip() or "no reason is given").splitlines()[-1]
        raise ReplicateError(f"commit {commit[:12]} could not be cloned to {target}: {said}.") from None


def begin(block: Block, source: Source, data_sha256: str) -> None:
    """Notes what a new block is started from."""
    _write_note(block, source.commit, source.package, data_sha256)


def _write_note(block: Block, commit: str | None, package: str, data_sha256: str) -> None:
    named = {"entry": block.entry.name, "model": block.model, "dataset": block.dataset, "block": block.seeds}
    origin = {"commit": commit, "package": package, "data": data_sha256}
    write_json(block.note, named | origin)


def source_of(block: Block, folders: Folders) -> Source:
    """The code that a block was started from.

    Raises:
        ReplicateError: it is not here.
    """
    if not block.note.is_file():
        _adopt(block, folders)
    origin: Mapping[str, Any] = read_json(block.note)
    root = package_root()
    if origin["commit"] is not None and (is_checkout(root) or (folders.work / "source" / origin["commit"]).is_dir()):
        return _cloned(folders, origin["commit"])
    if package_digest(root) == origin["package"]:
        return Source(origin["commit"], origin["package"], root)
    if origin["commit"] is None:
        raise ReplicateError(
            "it was started from code of no commit, which has changed since; bring that code back, or remove "
            f"{block.folder} to start it anew."
        )
    return _cloned(folders, origin["commit"])


def _adopt(block: Block, folders: Folders) -> None:
    """Notes the origin of a block that was started by hand: the code whose digest its checkpoints name.

    Raises:
        ReplicateError: that code is not here, or the training is another one than the plan's.
    """
    settings = block.states()[0][1]
    if others := other_settings(block, settings):
        raise ReplicateError(
            f"what lies in {block.state} was trained with other settings than the plan's ({', '.join(others)}); "
            "move it away, or put the plan right."
        )
    entries = ["replicate.stages.train", REGISTRY[block.model][1]]
    here = present(folders)
    clones = sorted((folders.work / "source").glob("[0-9a-f]*"), key=lambda path: path.stat().st_mtime)
    known = {path: path.name for path in clones if path.name != here.commit} | {here.folder: here.commit}
    for folder, commit in known.items():  # the oldest clone first, and what is newest last
        project = _project_in(folder)
        if _digest(entries, project) == settings["code"]:
            _write_note(block, commit, package_digest(project), settings["data"])
            return
    raise ReplicateError(
        f"the code that began {block.state} (digest {settings['code']}) is neither here nor in "
        f"{folders.work / 'source'}; put a clone of its commit there, named by the commit."
    )


def _digest(entries: list[str], folder: Path) -> str | None:
    """The digest of modules below a folder; None where it has no such modules."""
    with suppress(LookupError):
        return code_digest(entries, folder)
    return None
