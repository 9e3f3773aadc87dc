"""Writes the lock files anew from the direct dependencies in pyproject.toml.

Installs them into a new environment, first those of a run, then those of tests and checks, and
writes down what pip chose, with the SHA-256 of every file of these versions on the index (uv
collects them; UV_DEFAULT_INDEX names another index than PyPI). torch and torchvision go into
requirements-torch.lock, without digests, as does what clouds need into requirements-cloud.txt. The
environment for conda gets the same versions. To move to a newer version, change its pin in
pyproject.toml first.

python tools/lock.py           # everything anew
python tools/lock.py --conda   # workflow/envs/replicate.yaml alone, from the lock files as they are
"""

import argparse
import re
import signal
import subprocess
import sys
import tempfile
import tomllib
import venv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

RUNTIME = Path("requirements.lock")
DEV = Path("requirements-dev.lock")
TORCH = Path("requirements-torch.lock")
CLOUD = Path("requirements-cloud.txt")
CONDA = Path("workflow/envs/replicate.yaml")
#: The extras of pyproject.toml whose packages tests and checks need, and those of clouds.
DEV_EXTRAS = ("test", "dev")
CLOUD_EXTRAS = ("s3", "ssh", "store", "kubernetes")
HEADS = {
    RUNTIME: (
        "# Everything that a run needs, pinned. "
        "`make lock` writes this file anew from pyproject.toml.\n"
    ),
    DEV: (
        "# What tests and checks need besides requirements.lock. "
        "`make lock` writes this file anew.\n"
        "-r requirements.lock\n"
    ),
    TORCH: (
        "# Pinned without digests: every build (CPU, CUDA, ROCm, a wheel of one's own) has the "
        "same version, other\n"
        "# bytes, and companions of its own. `make lock` writes this file anew.\n"
    ),
    CLOUD: (
        "# What object storage, DVC's remotes, Kubernetes and their tests need besides "
        "requirements.lock. Complete, so that\n"
        "# pip can leave the versions of that file alone (--no-deps). `make lock` writes this file "
        "anew.\n"
    ),
}
#: The versions come from pip: conda-forge has not every one of them, and other builds of some.
#: No digests here, since pip wants them for all lines or none, and torch has none.
CONDA_HEAD = """\
# The environment of every rule, where Snakemake may use conda: the versions of requirements.lock
# and requirements-torch.lock. `make lock` writes this file anew.
# `nodefaults` keeps Anaconda's own channel out.
channels:
  - conda-forge
  - nodefaults
dependencies:
  - python={python}
  - pip
  - pip:
"""
BUILDS = ("torch", "torchvision")
COMPILE = (
    "pip",
    "compile",
    "--quiet",
    "--no-deps",
    "--generate-hashes",
    "--universal",
    "--no-header",
    "--no-annotate",
)


def pip(python: Path, *words: str) -> str:
    """What pip of an environment prints."""
    command = [str(python), "-m", "pip", *words]
    process = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return process.stdout


def frozen(python: Path, requirements: list[str]) -> list[str]:
    """Installs the requirements; every version in the environment afterwards.

    A local version such as +cpu is left out: the same line then gives each machine its own build.
    setuptools is needed and comes with some Pythons only; pip itself is left alone.
    """
    pip(python, "install", "--quiet", *requirements)
    lines = pip(python, "freeze", "--all").splitlines()
    return [line.split("+")[0] for line in lines if not line.startswith("pip==")]


def with_digests(lines: list[str], python: Path) -> str:
    """The pinned lines, each with the digests of its files for any system; needs uv."""
    uv = python.with_name("uv")
    command = [str(uv), *COMPILE, "--python", str(python), "-"]
    process = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, input="\n".join(lines)
    )
    return process.stdout


def named(project: Mapping[str, Any], extras: Iterable[str]) -> list[str]:
    """The packages of extras of pyproject.toml."""
    packages = []
    for extra in extras:
        requirements = project["optional-dependencies"][extra]
        # An extra may name another extra of the project itself.
        packages += [name for name in requirements if not name.startswith(project["name"])]
    return packages


def write(runtime: list[str], dev: list[str], cloud: list[str], python: Path) -> None:
    """Writes the four files.

    requirements.lock names the pins of requirements-torch.lock in a comment, so that it stands for
    both: this one file decides whether an environment is up to date, and run records have its
    digest.
    """
    torch = [line for line in runtime if line.split("==")[0] in BUILDS]
    without_torch = [line for line in runtime if line not in torch]
    TORCH.write_text(HEADS[TORCH] + "".join(f"{line}\n" for line in torch), encoding="utf-8")
    comment = f"# {TORCH}: {' '.join(torch)}\n"
    pins = with_digests(without_torch, python)
    RUNTIME.write_text(HEADS[RUNTIME] + comment + pins, encoding="utf-8")
    DEV.write_text(HEADS[DEV] + with_digests(dev, python), encoding="utf-8")
    CLOUD.write_text(HEADS[CLOUD] + "".join(f"{line}\n" for line in cloud), encoding="utf-8")


def conda_environment() -> str:
    """The conda environment with the versions of the lock files and the oldest supported Python."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    oldest_python = project["requires-python"].removeprefix(">=")
    lines = [line for file in (RUNTIME, TORCH) for line in file.read_text("utf-8").splitlines()]
    pins = [line.removesuffix(" \\") for line in lines if re.match(r"[\w.-]+==", line)]
    environment = CONDA_HEAD.format(python=oldest_python)
    return environment + "".join(f"      - {pin}\n" for pin in sorted(pins, key=str.lower))


def main() -> None:
    """Writes the lock files, or the conda environment alone."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--conda", action="store_true", help="write the conda environment alone")
    if not parser.parse_args().conda:
        write_locks()
    CONDA.write_text(conda_environment(), encoding="utf-8")


def write_locks() -> None:
    """Writes the lock files."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    tests = named(project, DEV_EXTRAS)
    clouds = named(project, CLOUD_EXTRAS)
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder, "bin", "python")
        runtime = frozen(python, project["dependencies"])
        both = frozen(python, [*project["dependencies"], *tests])
        whole = frozen(python, [*project["dependencies"], *tests, *clouds])
        differing = sorted((set(runtime) | set(both)) - set(whole))
        if differing:
            sys.exit(
                "Tests or clouds need other versions than a run does: "
                f"{', '.join(differing)}; change pyproject.toml."
            )
        pip(python, "install", "--quiet", "uv")
        dev = [line for line in both if line not in runtime]
        cloud = [line for line in whole if line not in both]
        write(runtime, dev, cloud, python)
    print(
        f"{RUNTIME} and {TORCH}: {len(runtime)} packages, {DEV}: {len(dev)} more, "
        f"{CLOUD}: {len(cloud)} more"
    )


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `... | head -1` ends it quietly
    main()
