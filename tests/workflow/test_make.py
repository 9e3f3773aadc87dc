"""`make`: what it cleans, which makes can read it, what it keeps out, and which environments it
believes.
"""

import functools
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.workflow.conftest import ROOT

KEPT = {
    "data/digits.bin",
    "params.yaml",
    ".replicate/reference/blocks/log",
    "report/assets/style.css",
    "report/templates/page.html.j2",
    "results/published/table1.yaml",
    "results/reference/mnist.json",
    "results/tuning/digits.json",
}
MADE = {
    "report/index.html",
    "report/compared.html",
    "report/compared.comparison.json",
    "report.zip",
    "dvc_plots/index.html",
    "logs/train/a.log",
    ".replicate/progress/a.json",
    ".snakemake/log/a.log",
    "results/table1.json",
    "results/train/digits/a.json",
}


def test_clean(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in KEPT | MADE:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    subprocess.run(["make", "clean"], cwd=tmp_path, check=True, capture_output=True)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == KEPT | {"Makefile"}


#: What GNU make got after 3.81, by the file NEWS of its sources (3.82, 4.0, 4.2, 4.3, 4.4).
LATER = [
    r"^\.(ONESHELL|SHELLFLAGS|RECIPEPREFIX|EXTRA_PREREQS|NOTINTERMEDIATE|WAIT)\b",
    r"^\s*(private|undefine|-?load)\s",
    r"^\s*define\s+\S+\s*[:+?!]*=",
    r"(!|::|:::)=",
    r"\$\((file|guile|let|intcmp)\s",
    r"\.SHELLSTATUS",
    r"&:",
]


def later_features(text: str) -> list[str]:
    return [pattern for pattern in LATER if re.search(pattern, text, re.MULTILINE)]


def test_the_makefile_needs_no_more_than_gnu_make_3_81():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert later_features(text) == []
    assert later_features(f"{text}\n.ONESHELL:\ndefine X =\nendef\nY != date\na b &: c\n") != []
    # That make runs plain commands by the PATH that it was started with, not by the one that it
    # exports.
    recipes = [line.strip() for line in text.splitlines() if line.startswith("\t")]
    words = {
        word for line in recipes for word in re.findall(r"(?:^|&& )([\w./$()\"]+)(?= |$)", line)
    }
    systems = {"echo", "find", "rm", "sh"}
    assert {word for word in words if not word.startswith("$(VENV)/bin/")} - systems == {
        '"$(PYTHON)"'
    }


LEAKS = {
    "PYTHONPATH": "/opt/ros/numpy",
    "PYTHONHOME": "/opt/ros",
    "PYTHONSAFEPATH": "1",
    "PYTHONINSPECT": "1",
    "PIP_USER": "1",
    "PIP_TARGET": "/opt/x",
    "PIP_PREFIX": "/opt/x",
    "PIP_REQUIRE_VIRTUALENV": "1",
    "PIP_NO_DEPS": "1",
    "VIRTUAL_ENV": "/opt/x",
    "PIP_PYTHON": "/opt/x",
}
NEEDED = {
    "PIP_INDEX_URL": "file:///i",
    "PIP_FIND_LINKS": "/w",
    "PIP_CERT": "/c",
    "HTTPS_PROXY": "http://127.0.0.1:1",
}


def test_settings_of_another_python_stay_out_and_those_of_the_index_come_in(tmp_path):
    (tmp_path / "Makefile").write_text(f"include {ROOT}/Makefile\nshow:\n\tenv\n")
    done = subprocess.run(
        ["make", "show"],
        cwd=tmp_path,
        env=os.environ | LEAKS | NEEDED,
        capture_output=True,
        text=True,
        check=True,
    )
    seen = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    assert not seen.keys() & LEAKS.keys()
    assert {name: seen.get(name) for name in NEEDED} == NEEDED


#: Stands for pip in a new environment: notes what it is asked for, and makes the one script that is
#: looked for.
PIP = """
import pathlib, sys
bin = pathlib.Path(sys.prefix, "bin")
with (bin / "asked").open("a") as asked:
    print(*sys.argv[1:], file=asked)
if (bin / "../../broken").exists():
    sys.exit("no connection")
(bin / "snakemake").write_text(f"#!{sys.executable}\\n")
(bin / "snakemake").chmod(0o755)
"""
#: Makes environments in a moment: without pip, and with the one above.
PYTHON = """#!/bin/sh
case "$1 $2" in
  "-m venv")
    {python} -m venv --without-pip "$3" || exit 1
    for site in "$3"/lib/python*/site-packages; do
      mkdir "$site/pip" && cp pip.py "$site/pip/__main__.py"
    done;;
  *) exec {python} "$@";;
esac
"""


class Checkout:
    """A folder with what `make runtime` needs, and a Python that makes environments quickly."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "tools").mkdir(parents=True)
        for name in ("tools/environment.sh", "tools/torch_index.py"):
            shutil.copy(ROOT / name, folder / "tools")
        shutil.copy(ROOT / "requirements-torch.lock", folder)
        (folder / "pip.py").write_text(PIP)
        (folder / "requirements.lock").write_text("a==1\n")
        self.python = folder / "python"
        self.python.write_text(PYTHON.format(python=sys.executable))
        self.python.chmod(0o755)

    def make(
        self, python: str | Path | None = None, **settings: str
    ) -> subprocess.CompletedProcess[str]:
        """What `make runtime` does."""
        words = ["sh", "tools/environment.sh", "requirements.lock"]
        environment = os.environ | {"PYTHON": str(python or self.python)} | settings
        return subprocess.run(
            words, cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )

    def asked(self) -> list[str]:
        """What pip was asked for since the environment was made."""
        return (self.folder / ".venv/bin/asked").read_text().splitlines()


@pytest.fixture
def checkout(tmp_path):
    made = Checkout(tmp_path / "a checkout")
    assert made.make().returncode == 0
    return made


def test_an_environment_is_made_once_with_digests_but_for_torch(checkout):
    first = ["install --quiet --disable-pip-version-check --require-hashes -r requirements.lock"]
    second = ["install --quiet --disable-pip-version-check -r requirements-torch.lock"]
    assert checkout.asked() == first + second
    again = checkout.make()
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    (checkout.folder / "requirements.lock").write_text("a==2\n")
    assert checkout.make().returncode == 0
    assert checkout.asked() == 2 * (first + second), "other versions go into the same environment"


VERSION = re.search(r"torch==(\S+)", (ROOT / "requirements-torch.lock").read_text())[1]
#: A page of builds as PyTorch's index has it: addresses with %2B, texts with +.
BUILDS = "".join(
    f'<a href="/whl/{name}/torch-{version}%2B{name}-cp311-cp311-linux_x86_64.whl#sha256=0">'
    f"torch-{version}+{name}-cp311-cp311-linux_x86_64.whl</a>"
    for version, name in (
        (VERSION, "cpu"), (VERSION, "cu126"), (VERSION, "cu99"), ("1.0.0", "cu999"), (VERSION, "rocm6.4")
    )
)  # fmt: skip


@pytest.fixture
def index(tmp_path):
    """The address of a package index that has some builds of torch."""
    (tmp_path / "index/torch").mkdir(parents=True)
    (tmp_path / "index/torch/index.html").write_text(BUILDS)
    handler = functools.partial(QuietHandler, directory=tmp_path / "index")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files and says nothing of it."""

    def log_message(self, *_):
        pass


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "folder"), [("cpu", "cpu"), ("cuda", "cu126"), ("rocm6.4", "rocm6.4")]
)
def test_a_build_of_torch_comes_from_its_folder_of_pytorchs_index(checkout, index, kind, folder):
    asked_before = checkout.asked()
    done = checkout.make(TORCH=kind, TORCH_INDEX=index)
    assert done.returncode == 0, done.stderr
    *_, last = checkout.asked()[len(asked_before) :]
    assert last.endswith(
        f" --upgrade --extra-index-url {index}/{folder} -r requirements-torch.lock"
    )
    asked = checkout.asked()
    assert checkout.make(TORCH=kind, TORCH_INDEX="http://127.0.0.1:9").returncode == 0
    assert checkout.make().returncode == 0
    assert checkout.asked() == asked, "the build that is there is not asked for again"


@pytest.mark.slow
def test_a_build_that_there_is_not_is_refused_with_those_that_there_are(checkout, index):
    asked = checkout.asked()
    done = checkout.make(TORCH="cu118", TORCH_INDEX=index)
    assert done.returncode == 1
    assert done.stderr == (
        f"TORCH=cu118: there is no such build of torch {VERSION}; builds: cpu, cu126, cu99, rocm6.4.\n"
    )
    assert checkout.asked() == asked


@pytest.mark.slow
def test_an_index_that_never_answers_costs_seconds_and_one_sentence(checkout):
    """A port that takes connections and is silent, as behind a firewall that drops packets."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        begun = time.monotonic()
        done = checkout.make(TORCH="cpu", TORCH_INDEX=address)
        seconds = time.monotonic() - begun
    assert done.returncode == 1
    assert seconds < 30
    [line] = done.stderr.splitlines()
    assert line.startswith(f"PyTorch's package index {address}/torch/ does not answer (")


#: Pip that is slow: something has come, and it is not done yet.
SLOW = """
import os, time
pathlib.Path(os.environ["TMPDIR"], "wheel").write_bytes(bytes(3 << 20))
time.sleep(2.5)
"""


@pytest.mark.slow
def test_a_long_installation_says_how_far_it_is(tmp_path):
    """A line a beat, with the seconds and the size of what has come so far."""
    checkout = Checkout(tmp_path / "a checkout")
    (checkout.folder / "pip.py").write_text(PIP + SLOW)
    done = checkout.make(BEAT="1")
    assert done.returncode == 0, done.stderr
    beats = [line.split() for line in done.stdout.splitlines() if line.startswith("  ")]
    assert len(beats) >= 4, "two installations of 2.5 s each"
    assert all(beat[1] == "s," and beat[3] == "MB" for beat in beats)
    assert max(int(beat[2]) for beat in beats) >= 3
    assert not (checkout.folder / ".venv/tmp").exists()


def moved(checkout):
    folder = checkout.folder.with_name("moved")
    checkout.folder.rename(folder)
    checkout.folder, checkout.python = folder, folder / "python"


def copied(checkout):
    folder = checkout.folder.with_name("copied")
    shutil.copytree(checkout.folder, folder, symlinks=True)
    checkout.folder, checkout.python = folder, folder / "python"


def removed_python(checkout):
    python = checkout.folder / ".venv/bin/python"
    python.unlink()
    python.symlink_to("/opt/python3.10/bin/python3")


UNFIT = {
    "moved": moved,
    "copied": copied,
    "python removed": removed_python,
    "installation broken off": lambda one: (one.folder / ".venv/requirements.lock").unlink(),
    "script missing": lambda one: (one.folder / ".venv/bin/snakemake").unlink(),
    "creation broken off": lambda one: shutil.rmtree(one.folder / ".venv/bin"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", UNFIT)
def test_an_environment_that_would_fail_is_made_anew(checkout, kind):
    UNFIT[kind](checkout)
    trace = checkout.folder / ".venv" / "trace"
    trace.touch()
    done = checkout.make()
    assert done.returncode == 0, done.stderr
    assert "it is made anew" in done.stdout
    assert not trace.exists()
    assert len(checkout.asked()) == 2
    assert checkout.make().stdout == ""


@pytest.mark.slow
def test_an_installation_that_fails_is_not_believed_afterwards(tmp_path):
    checkout = Checkout(tmp_path / "one")
    (checkout.folder / "broken").touch()
    done = checkout.make()
    assert done.returncode != 0
    assert "no connection" in done.stderr
    assert "Installed" not in done.stdout
    (checkout.folder / "broken").unlink()
    assert checkout.make().returncode == 0
    assert len(checkout.asked()) == 2


def test_a_python_without_ensurepip_is_told_what_to_install_and_nothing_is_left(tmp_path):
    checkout = Checkout(tmp_path / "one")
    (tmp_path / "without" / "ensurepip").mkdir(parents=True)
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\nexport PYTHONPATH="{tmp_path}/without"\nexec {sys.executable} -S "$@"\n'
    )
    python.chmod(0o755)
    (tmp_path / "without" / "ensurepip" / "__init__.py").write_text("raise ImportError")
    done = checkout.make(python)
    assert done.returncode == 1
    assert "apt install python3-venv" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (checkout.folder / ".venv").exists()


@pytest.mark.parametrize("python", ["false", "no-such-python"])
def test_an_old_or_missing_python_is_one_sentence_and_nothing_is_left(tmp_path, python):
    checkout = Checkout(tmp_path / "one")
    done = checkout.make(python)
    assert done.returncode == 1
    assert done.stderr == (
        f"Python 3.11 or newer is needed, and {python} is not; "
        "name one with: make ... PYTHON=python3.12.\n"
    )
    assert not (checkout.folder / ".venv").exists()


def test_what_is_no_environment_is_not_removed(tmp_path):
    checkout = Checkout(tmp_path / "one")
    mine = checkout.folder / ".venv" / "mine"
    mine.mkdir(parents=True)
    assert "something else than Python" in checkout.make().stderr
    assert mine.is_dir()
    shutil.rmtree(checkout.folder / ".venv")
    (tmp_path / "shared" / "bin").mkdir(parents=True)
    (checkout.folder / ".venv").symlink_to(tmp_path / "shared")
    assert "is a link to no finished environment" in checkout.make().stderr
    assert (tmp_path / "shared" / "bin").is_dir()
