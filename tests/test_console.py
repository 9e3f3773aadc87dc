"""The end of a command whose output cannot be written, quiet where its reader has gone, else in one
sentence; and of one that Python cannot run.
"""

import os
import signal
import subprocess
import sys

import pytest

from replicate.console import UNREAD, UNWRITTEN
from replicate.storage.paths import package_root

LIST, HELP = ("-m", "replicate", "list"), ("-m", "replicate", "list", "--help")
REFERENCE = ("-m", "replicate", "reference", "--status")
LONG = "import sys; from replicate.console import run; run(lambda: print('x' * 100_000) or 0)"
DEFECT = "from replicate.console import run; run(lambda: 1 // 0)"
MESSAGE = "import sys; from replicate.console import run; run(lambda: sys.exit('what is wrong'))"


def ended(words: tuple[str, ...], unbuffered: bool, out: int | None = None) -> tuple[int, str]:
    """Exit status and messages of a command whose output goes to `out`, by default to a pipe that
    nobody reads.
    """
    reader, writer = os.pipe()
    os.close(reader)
    environment = os.environ | {"PYTHONUNBUFFERED": "1" if unbuffered else ""}
    try:
        done = subprocess.run(
            [sys.executable, *words],
            stdout=writer if out is None else out,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env=environment,
            cwd=package_root(),
        )
    finally:
        os.close(writer)
    return done.returncode, done.stderr


@pytest.mark.parametrize("words", [LIST, HELP, REFERENCE, ("-c", LONG)])
@pytest.mark.parametrize("unbuffered", [False, True])
def test_a_reader_that_went_away_is_no_fault(words: tuple[str, ...], unbuffered: bool) -> None:
    status, messages = ended(words, unbuffered)
    assert messages == ""
    noticed = unbuffered or words == (
        "-c",
        LONG,
    )  # what fits into a buffer is all done before anybody notices
    assert status == (UNREAD if noticed else 0)


@pytest.mark.parametrize("tool", ["costs", "power", "recompute", "same_results", "screenshot"])
def test_the_tools_end_quietly_too(tool: str) -> None:
    assert ended((f"tools/{tool}.py", "--help"), False) == (-signal.SIGPIPE, "")


@pytest.mark.parametrize("unbuffered", [False, True])
def test_a_full_disk_under_the_output_is_told(unbuffered: bool) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123 (a device)
        status, messages = ended(LIST, unbuffered, full.fileno())
    assert status == UNWRITTEN
    assert (
        messages == "replicate: what was printed could not be written: No space left on device.\n"
    )


def test_defects_and_messages_are_those_of_any_program() -> None:
    status, messages = ended(("-c", DEFECT), False, subprocess.DEVNULL)
    assert status == 1
    assert messages.splitlines()[-1].startswith("ZeroDivisionError")
    assert ended(("-c", MESSAGE), False, subprocess.DEVNULL) == (1, "what is wrong\n")


@pytest.mark.parametrize("stage", ["train", "score", "report"])
def test_a_python_without_the_packages_is_told_where_they_are(stage: str) -> None:
    """-S: none of the installed packages can be imported."""
    done = subprocess.run(
        [sys.executable, "-S", "-m", "replicate", stage, "--help"],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        cwd=package_root(),
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"replicate {stage}: ")
    assert "make runtime && source .venv/bin/activate" in line
