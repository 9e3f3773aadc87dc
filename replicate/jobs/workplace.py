"""Where a run takes place: its folder and its user, made fit for Snakemake and its jobs or refused
with a sentence.
"""

import argparse
import contextlib
import os
import pwd
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from replicate.errors import ReplicateError
from replicate.params import mapping_of, read_document
from replicate.storage.paths import dangling_link, unmounted

#: What a run writes, and its raw data, below the project's folder; each may be a link to another
#: disk.
FOLDERS = ("results", "report", "logs", "data", ".replicate", ".snakemake")
#: Where libraries keep what they may make again, as XDG has it: matplotlib its list of fonts, for
#: one.
CACHES = Path(".snakemake", "caches")


def check_folder(project: Path) -> None:
    """Refuses a run in another folder than the project's: parameters, results and rules name each
    other by place.

    Raises:
        ReplicateError: the current folder is another one, has a name that Snakemake cannot write
            down, or one of its folders is a link to nothing.
    """
    here = Path.cwd()
    # By what it is and not by its name: a link may lead to the project's folder.
    if not here.samefile(project):
        raise ReplicateError(
            f"a run takes place in the project's own folder, and this is {here}; go there first "
            "(cd "
            f"{shlex.quote(str(project))}), or clone the project to where the results are to be."
        )
    try:
        str(here).encode()
    except UnicodeEncodeError:
        raise ReplicateError(
            f"the path of this folder is not UTF-8 ({str(here)!r}); rename or move it."
        ) from None
    for name in FOLDERS:
        link = dangling_link(here / name)
        if link is not None:
            raise ReplicateError(f"{unmounted(link)}.")
        if (here / name).exists() and not (here / name).is_dir():
            raise ReplicateError(
                f"{here / name} is no folder, and a run keeps files there; move it away."
            )


def check_config_files(words: Sequence[str]) -> None:
    """Reads the files that a command of Snakemake names with --configfile, which Snakemake would
    read first.

    Its own reader ends in a traceback for a file that is no text or has no end, and has other words
    for other faults.

    Args:
        words: the command line after the program's name.

    Raises:
        SystemExit: one of them cannot be read, is no YAML, or is no mapping; with the sentence.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--configfile", "--configfiles", nargs="+", action="extend", default=[])
    with contextlib.suppress(argparse.ArgumentError):  # Snakemake says it better
        for file in parser.parse_known_args(list(words))[0].configfile:
            try:
                mapping_of(*read_document(file))
            except ReplicateError as error:
                sys.exit(str(error))


def _may_be_written(folder: Path) -> bool:
    """Whether a folder, or the one in which it is to be made, takes files; nothing is made to find
    out.
    """
    ancestry = (folder, *folder.parents)
    nearest = next(path for path in ancestry if path.exists())
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)


def supply_user_and_caches() -> None:
    """Sets, for this process and its jobs, what a user without a name or a home folder lacks.

    Containers are often run so: `podman run --user 12345`. Python's getpass and Snakemake ask for
    the name, and libraries want a folder for caches.
    """
    environment = os.environ
    number = os.getuid()
    try:
        pwd.getpwuid(number)
    except KeyError:
        # Set only where they are missing: whoever has a name keeps it.
        environment.setdefault("USER", f"uid{number}")
    home = environment.get("HOME") or "/"
    caches = Path(environment.get("XDG_CACHE_HOME") or Path(home, ".cache"))
    if not _may_be_written(caches.absolute()):
        own_caches = CACHES.absolute()
        environment["XDG_CACHE_HOME"] = str(own_caches)
        environment.setdefault("MPLCONFIGDIR", str(own_caches / "matplotlib"))
    # Jobs are `python -m replicate` in the project's folder, which this setting would leave out of
    # the search.
    environment.pop("PYTHONSAFEPATH", None)
