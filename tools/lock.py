"""Refreshes requirements.lock and requirements-dev.lock from the direct dependencies in pyproject.toml.

Installs them into a new environment, first those of a run, then those of tests and checks, and writes down
what pip chose. To move to a newer version, change its pin in pyproject.toml and workflow/envs/replicate.yaml first.
"""

import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

RUNTIME, DEV = Path("requirements.lock"), Path("requirements-dev.lock")
HEADS = {
    RUNTIME: "# Everything that a run needs, pinned. `make lock` writes this file anew from pyproject.toml.\n",
    DEV: "# What tests and checks need besides requirements.lock. `make lock` writes this file anew.\n"
    "-r requirements.lock\n",
}


def frozen(python: Path, requirements: list[str]) -> list[str]:
    """Installs the requirements; every version in the environment afterwards.

    A local version such as +cpu is left out: the same line then gives each machine its own build.
    """
    subprocess.run([python, "-m", "pip", "install", "--quiet", *requirements], check=True)
    listed = subprocess.run([python, "-m", "pip", "freeze"], check=True, capture_output=True, text=True).stdout
    return [line.split("+")[0] for line in listed.splitlines()]


def main() -> None:
    """Writes both lock files."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    tests = [name for entries in extras.values() for name in entries if not name.startswith(project["name"])]
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder, "bin", "python")
        runtime = frozen(python, project["dependencies"])
        both = frozen(python, [*project["dependencies"], *tests])
    moved = sorted(set(runtime) - set(both))
    if moved:
        sys.exit(f"The tests need other versions than a run does: {', '.join(moved)}; change a pin in pyproject.toml.")
    RUNTIME.write_text(HEADS[RUNTIME] + "\n".join(runtime) + "\n", encoding="utf-8")
    DEV.write_text(HEADS[DEV] + "\n".join(line for line in both if line not in runtime) + "\n", encoding="utf-8")
    print(f"{RUNTIME}: {len(runtime)} packages, {DEV}: {len(both) - len(runtime)} more")


if __name__ == "__main__":
    main()
