"""The commit of the project that a run was made with."""

import os
import subprocess
from pathlib import Path

from replicate.records.schema import SourceState
from replicate.storage.paths import package_root

#: The commit of files without a git history, such as those in a container; its build sets it.
COMMIT = "REPLICATE_COMMIT"
#: A git hook sets these for its own repository, which need not be the project's.
_HOOK_VARIABLES = frozenset(
    {
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_COMMON_DIR",
        "GIT_OBJECT_DIRECTORY",
        "GIT_PREFIX",
    }
)


class _NoCommitError(Exception):
    """Why there is no commit to name."""


def _git(root: Path, *words: str) -> str:
    """The output of a git command in the repository around `root`."""
    environment = {name: value for name, value in os.environ.items() if name not in _HOOK_VARIABLES}
    # `git status` else writes the index, whose lock would be in the way of the user's own git.
    command = ["git", "--no-optional-locks", "-C", str(root), *words]
    try:
        process = subprocess.run(
            command,
            capture_output=True,
            errors="replace",
            timeout=20,
            # In English, for the word that is cut off below.
            env=environment | {"LC_ALL": "C"},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _NoCommitError("no answer from git within 20 s") from None
    except OSError as error:
        raise _NoCommitError(f"no git was started ({error.strerror})") from None
    if process.returncode:
        message = (process.stderr.strip() or "it says no more").splitlines()[0]
        raise _NoCommitError(f"the answer of git: {message.removeprefix('fatal: ')}")
    return process.stdout.strip()


def in_git(root: Path) -> bool:
    """Whether a folder lies in a git checkout: its own, a worktree, or part of a larger one."""
    try:
        return _git(root, "rev-parse", "--is-inside-work-tree") == "true"
    except _NoCommitError:
        return False


def source_state(root: Path | None = None) -> SourceState:
    """`commit` of the project, and `dirty`: whether its tracked files differ from it.

    The project may be a folder of a larger repository; its commits count if they hold the project's
    files, and only these are asked about. Where there is no commit, `commit` and `dirty` are None
    and `reason` says why; where the environment names it (REPLICATE_COMMIT), `dirty` is None, for
    nobody can tell.

    Args:
        root: the folder of the project; by default that of the package that runs.
    """
    root = package_root() if root is None else root
    try:
        commit = _git(root, "rev-parse", "--verify", "HEAD")
        if not _git(root, "ls-files", "--", "replicate/__init__.py"):
            raise _NoCommitError(
                "the git repository around this folder does not hold the project's files"
            )
        changes = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ".")
    except _NoCommitError as reason:
        if commit := os.environ.get(COMMIT, "").strip():
            return {"commit": commit, "dirty": None}
        return {"commit": None, "dirty": None, "reason": str(reason)}
    return {"commit": commit, "dirty": bool(changes)}
