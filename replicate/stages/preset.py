"""Makes params.yaml a copy of one of the presets.

  python -m replicate preset              name the presets
  python -m replicate preset mnist        params.yaml becomes presets/mnist.yaml

A params.yaml that equals no preset is first kept beside it as params.yaml.bak-<hash>.
"""

import argparse
import hashlib
from pathlib import Path

from replicate.codedigest import package_root
from replicate.errors import ReplicateError
from replicate.files import replacing
from replicate.stages.params import checked_file


def presets() -> dict[str, Path]:
    """The presets by name."""
    return {path.stem: path for path in sorted((package_root() / "presets").glob("*.yaml"))}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The stage's arguments."""
    parser.add_argument("name", nargs="?", help=f"one of: {', '.join(presets())}")
    parser.add_argument("--out", type=Path, default=Path("params.yaml"), help="the file to write (params.yaml)")


def _copy(content: bytes, target: Path) -> None:
    """Writes `target` byte for byte, whatever its line ends and its encoding."""
    with replacing(target) as (part,):
        part.write_bytes(content)


def _kept_aside(target: Path, known: dict[str, Path]) -> Path | None:
    """Where an edited `target` was kept; None if it equals a preset or does not exist."""
    try:
        content = target.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ReplicateError(f"cannot read {target} to keep it aside: {error.strerror}.") from None
    if content in [path.read_bytes() for path in known.values()]:
        return None
    kept = target.with_name(f"{target.name}.bak-{hashlib.sha256(content).hexdigest()[:8]}")
    _copy(content, kept)
    return kept


def run(arguments: argparse.Namespace) -> None:
    """Writes the parameter file, or names the presets."""
    known = presets()
    if arguments.name is None:
        print(f"presets: {', '.join(known)} (python -m replicate preset NAME)")
        return
    if arguments.name not in known:
        raise ReplicateError(f"there is no preset {arguments.name!r}; the presets are {', '.join(known)}.")
    source = known[arguments.name]
    runs = checked_file(str(source)).params.runs
    kept = _kept_aside(arguments.out, known)
    _copy(source.read_bytes(), arguments.out)
    aside = f"; your changed file is kept as {kept}" if kept else ""
    print(f"preset: {arguments.out} is now the preset {arguments.name}, {len(runs)} training job(s){aside}")
    print("preset: `python -m replicate status` forecasts hours, memory and disk; nothing has been started")
