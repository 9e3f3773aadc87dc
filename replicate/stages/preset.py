"""Makes params.yaml a copy of one of the presets.

  python -m replicate preset              name the presets
  python -m replicate preset mnist        params.yaml becomes presets/mnist.yaml

A params.yaml that equals no preset is first kept beside it as params.yaml.bak-<hash>.
"""

import argparse
import hashlib
from collections.abc import Iterable
from pathlib import Path

from replicate.errors import ReplicateError
from replicate.stages.params import checked_file
from replicate.storage.files import atomic_write
from replicate.storage.paths import package_root


def presets() -> dict[str, Path]:
    """The presets by name."""
    folder = package_root() / "presets"
    paths = sorted(folder.glob("*.yaml"))
    return {path.stem: path for path in paths}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The stage's arguments."""
    names = ", ".join(presets())
    parser.add_argument("name", nargs="?", help=f"one of: {names}")
    parser.add_argument(
        "--out", type=Path, default=Path("params.yaml"), help="the file to write (params.yaml)"
    )


def _copy(content: bytes, target: Path) -> None:
    """Writes `target` byte for byte, whatever its line ends and its encoding."""
    with atomic_write(target) as (part,):
        part.write_bytes(content)


def _keep_aside(target: Path, presets: Iterable[Path]) -> Path | None:
    """Copies an edited `target`; None if it equals a preset or does not exist."""
    try:
        content = target.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ReplicateError(f"cannot read {target} to keep it aside: {error.strerror}.") from None
    # A preset can be had again, so there is nothing to keep.
    if content in [preset.read_bytes() for preset in presets]:
        return None
    digest = hashlib.sha256(content).hexdigest()
    # Named by its content: two edited files in a row keep both, the same one is kept once.
    copy = target.with_name(f"{target.name}.bak-{digest[:8]}")
    _copy(content, copy)
    return copy


def run(arguments: argparse.Namespace) -> None:
    """Writes the parameter file, or names the presets."""
    paths = presets()
    names = ", ".join(paths)
    if arguments.name is None:
        print(f"presets: {names} (python -m replicate preset NAME)")
        return
    if arguments.name not in paths:
        raise ReplicateError(f"there is no preset {arguments.name!r}; the presets are {names}.")
    source = paths[arguments.name]
    # Before anything is written.
    plan = checked_file(str(source))
    jobs = len(plan.params.runs)
    copy = _keep_aside(arguments.out, paths.values())
    _copy(source.read_bytes(), arguments.out)
    line = f"preset: {arguments.out} is now the preset {arguments.name}, {jobs} training job(s)"
    if copy:
        line += f"; your changed file is kept as {copy}"
    print(line)
    print(
        "preset: `python -m replicate status` forecasts hours, memory and disk; "
        "nothing has been started"
    )
