"""Makes a release of the checked-out commit: a tag, and a folder of files with their checksums.
Nothing is pushed.

python tools/release.py VERSION           # the release, in dist/VERSION/
python tools/release.py VERSION --check   # only says what stands in its way

`make release` looks first, then runs the checks, the tests and the demo, and then makes it. In the
folder: the source as an archive, a finished run as a crate, its page, the generator of the
reference run, and SHA256SUMS over all of them.

A version x.y.z must be the one of pyproject.toml, replicate/__init__.py and CITATION.cff, with a
heading `## x.y.z (YYYY-MM-DD)` in CHANGELOG.md, of the day in CITATION.cff; no file may differ
from the commit, and no tag of the version be there.
"""

import argparse
import hashlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import yaml

DIST = Path("dist")
SUMS = "SHA256SUMS"
PAGE = Path("report/index.html")
GENERATOR = Path("results/reference/mnist-500-epochs/adversarial_nets/generator.safetensors")


def git(*words: str) -> str:
    """What a command of git prints; its failure ends the release with its own words."""
    process = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
    if process.returncode:
        sys.exit(f"release: git {words[0]} failed: {process.stderr.strip()}")
    return process.stdout.strip()


def versions() -> dict[str, str]:
    """File -> the version that it names."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    module = Path("replicate/__init__.py").read_text(encoding="utf-8")
    in_module = re.search(r'^__version__ = "(.*)"$', module, re.MULTILINE)
    return {
        "pyproject.toml": project["version"],
        "replicate/__init__.py": in_module[1] if in_module else "none",
        "CITATION.cff": str(citation()["version"]),
    }


def citation() -> dict[str, object]:
    """The content of CITATION.cff."""
    content: dict[str, object] = yaml.safe_load(Path("CITATION.cff").read_text(encoding="utf-8"))
    return content


def obstacles(version: str) -> Iterator[str]:
    """What stands in the way of a release, a clause each."""
    if not re.fullmatch(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)", version):
        yield f"{version!r} is no version x.y.z"
        return
    for file, named in versions().items():
        if named != version:
            yield f"{file} has version {named}"
    changes = Path("CHANGELOG.md").read_text(encoding="utf-8")
    heading = re.search(
        rf"^## {re.escape(version)} \((\d{{4}}-\d\d-\d\d)\)$", changes, re.MULTILINE
    )
    day = str(citation()["date-released"])
    if heading is None:
        yield f"CHANGELOG.md has no heading `## {version} ({day})`"
    elif heading[1] != day:
        yield f"CHANGELOG.md says {heading[1]}, and CITATION.cff was released on {day}"
    if git("status", "--porcelain"):
        yield "files differ from the commit, or are not in it (`git status` names them)"
    if git("tag", "--list", f"v{version}"):
        yield f"there is a tag v{version} already"
    if not GENERATOR.is_file():
        yield f"{GENERATOR} is not there"
    if (DIST / version).exists():
        yield f"{DIST / version} is there already"


def check(version: str) -> None:
    """Ends the program with one sentence where something stands in the way."""
    clauses = list(obstacles(version))
    if clauses:
        sys.exit(f"release: {'; '.join(clauses)}.")


def build(folder: Path, version: str) -> None:
    """Writes the files of a release."""
    name = f"replicate-{version}"
    archive = folder / f"{name}.tar.gz"
    git("archive", "--format=tar.gz", f"--prefix={name}/", f"--output={archive}", "HEAD")
    crate = ["-m", "replicate", "crate", "--out", str(folder / f"{name}-run.zip")]
    done = subprocess.run([sys.executable, *crate], check=False)
    if done.returncode:
        sys.exit("release: there is no crate to release, for the reason above.")
    shutil.copyfile(PAGE, folder / f"{name}-report.html")
    shutil.copyfile(GENERATOR, folder / f"{name}-generator.safetensors")
    lines = []
    for path in sorted(folder.iterdir()):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        lines.append(f"{digest}  {path.name}\n")
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def release(version: str) -> None:
    """Builds the files beside their place, tags the commit, and puts them there."""
    target = DIST / version
    DIST.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=DIST, prefix=".") as temporary:
        folder = Path(temporary) / version
        folder.mkdir()
        build(folder, version)
        git("tag", "--annotate", "--message", f"Version {version}", f"v{version}")
        folder.rename(target)
    print(f"release: tag v{version} and {target}/; nothing was pushed")


def main() -> None:
    """Makes the release, or only looks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("version", help="x.y.z")
    parser.add_argument("--check", action="store_true", help="make nothing")
    arguments = parser.parse_args()
    check(arguments.version)
    if arguments.check:
        print(f"release: nothing stands in the way of {arguments.version}")
    else:
        release(arguments.version)


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `... | head -1` ends it quietly
    main()
