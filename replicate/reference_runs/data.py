"""The data sets of reference runs, prepared once and used by all blocks."""

import json
import subprocess
import sys
from pathlib import Path

from replicate.datasets import data_folder, load_dataset
from replicate.datasets.base import UserDataset
from replicate.errors import ReplicateError, understanding
from replicate.params import checked
from replicate.reference_runs.blocks import Folders
from replicate.reference_runs.plan import Options
from replicate.reference_runs.sources import Source
from replicate.storage.files import read_json, sha256_file


def prepared(dataset: str, options: Options, folders: Folders, source: Source) -> Path:
    """The prepared data set; a source's code prepares it where it is missing.

    Raises:
        ReplicateError: its files are missing and cannot be fetched, or the prepared file is
            damaged, or was prepared with other options.
    """
    path = folders.data / f"{dataset}.safetensors"
    description = path.with_suffix(".json")
    if not (path.is_file() and description.is_file()):
        # A download of 170 MB may take minutes, of which its process says nothing here.
        print(f"reference: fetches and prepares the data set {dataset}", flush=True)
        _prepare(dataset, options, folders, source, path)
    content = read_json(description)
    with understanding(description):
        digest = content["sha256"]
    # Blocks of many days read this one file: a bit that flips would be in all of them.
    if sha256_file(path) != digest:
        raise ReplicateError(
            f"{path} is damaged: it does not match the digest in {description}; remove both."
        )
    with understanding(description):
        earlier = content["parameters"]["datasets"][dataset]
    settings = _settings(dataset, options)
    # An earlier version may not have had an option of today.
    for name in settings.keys() & earlier.keys():
        before = earlier[name]
        value = settings[name]
        if before != value:
            raise ReplicateError(
                f"{path} was prepared with {name} {before}, and the plan asks for {value}; "
                f"put the plan right, or move it and {description.name} away."
            )
    return path


def _settings(dataset: str, options: Options) -> Options:
    """The options of a data set with their defaults, but for where its files lie."""
    definition = load_dataset(dataset)
    path = f"datasets.{dataset}"
    config = checked(definition.Config, options, "the plan", path)
    settings = config.model_dump(mode="json")
    if isinstance(definition, UserDataset):
        # The same images may lie in another place on every machine.
        for name in definition.location:
            settings.pop(name, None)
    return settings


def _prepare(dataset: str, options: Options, folders: Folders, source: Source, path: Path) -> None:
    """Fetches and prepares a data set in a process of its own.

    Raw files may lie in the folder of prepared data sets: they are used and not fetched.
    """
    raw_folder = data_folder().absolute()
    if (folders.data / dataset).is_dir():
        raw_folder = folders.data
    manifest = path.with_suffix(".sources.json")
    common = ["--dataset", dataset, "--data-dir", str(raw_folder)]
    if options:
        common += ["--params", json.dumps({"datasets": {dataset: options}})]
    fetch = ["fetch", *common, "--out", str(manifest)]
    prepare = ["prepare", *common, "--manifest", str(manifest), "--out", str(path)]
    process = subprocess.run(
        [sys.executable, "-m", "replicate", *fetch, "then", *prepare],
        capture_output=True,
        text=True,
        check=False,
        cwd=source.folder,
        env=source.environment(),
    )
    if process.returncode:
        last_line = (process.stderr.strip() or "it says no more").splitlines()[-1]
        reason = last_line.removeprefix("replicate fetch: ")
        raise ReplicateError(f"the data set {dataset!r} is not here: {reason}")
