"""The data of reference runs, prepared once by the code that is here."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from replicate.datasets import data_folder
from replicate.errors import ReplicateError
from replicate.files import read_json, sha256_file
from replicate.reference.blocks import Folders
from replicate.reference.sources import Source


def prepared(dataset: str, options: Mapping[str, Any], folders: Folders, source: Source) -> Path:
    """The prepared data set, made by a source's code where it is missing.

    Raises:
        ReplicateError: its files are missing and cannot be fetched, or what is there is damaged.
    """
    path = folders.data / f"{dataset}.safetensors"
    description = path.with_suffix(".json")
    if not (path.is_file() and description.is_file()):
        _prepare(dataset, options, folders, source, path)
    if sha256_file(path) != read_json(description)["sha256"]:
        raise ReplicateError(f"{path} is damaged: it does not match the digest in {description}; remove both.")
    return path


def _prepare(dataset: str, options: Mapping[str, Any], folders: Folders, source: Source, path: Path) -> None:
    """Fetches and prepares in a process of its own; raw files that lie in the folder already are taken from there."""
    raw = folders.data if (folders.data / dataset).is_dir() else data_folder().absolute()
    manifest = path.with_suffix(".sources.json")
    common = ["--dataset", dataset, "--data-dir", str(raw)]
    if options:
        common += ["--params", json.dumps({"datasets": {dataset: dict(options)}})]
    words = ["fetch", *common, "--out", str(manifest)]
    words += ["then", "prepare", *common, "--manifest", str(manifest), "--out", str(path)]
    done = subprocess.run(
        [sys.executable, "-m", "replicate", *words], capture_output=True, text=True, check=False,
        cwd=source.folder, env=source.environment(),
    )  # fmt: skip
    if done.returncode:
        said = (done.stderr.strip() or "it says no more").splitlines()[-1].removeprefix("replicate fetch: ")
        raise ReplicateError(f"the data set {dataset!r} is not here: {said}")
