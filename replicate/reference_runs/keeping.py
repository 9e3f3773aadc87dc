"""What stays of a finished block: weights named by digest, and results in the committed folder."""

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import yaml

from replicate.records.kept_runs import add_to_sums
from replicate.records.run_record import record_path
from replicate.reference_runs.blocks import Block, Folders
from replicate.reference_runs.sources import read_origin
from replicate.storage.files import (
    atomic_write,
    canonical_json,
    read_json,
    read_tensors,
    sha256_file,
    sha256_json,
    write_json,
    write_tensors,
    write_text,
)
from replicate.storage.turns import turn

#: The digests of a block's weights: the file in the folder of the work, and that of the results.
WORK_WEIGHTS, WEIGHTS = "named.json", "weights.json"
#: Beside what is measured: the digest of the weights that it is of.
MEASURED_OF = "of.json"
#: The file of a block's committed results that is written last: with it they are complete.
LAST = "train.json"
PARAMETERS = "params.yaml"

#: The content of a JSON file, which the stage that wrote it has checked.
Content = dict[str, Any]


class WeightsFile(TypedDict):
    """A file in the folder of all weights."""

    sha256: str
    size: int


def keep_weights(block: Block) -> None:
    """Keeps the weights of the chosen epochs and of the last one, and notes their SHA-256."""
    training = read_json(block.weights.with_suffix(".json"))
    epochs = training["epochs"]
    chosen_epochs = training["chosen_epoch"]
    chosen = _keep(block, block.weights)
    last: WeightsFile | None = chosen
    # Where every seed chose its last epoch, both are the same file.
    if set(chosen_epochs) != {epochs}:
        last = _keep_last(block, epochs)
    content = {
        "epochs": epochs,
        "chosen": {**chosen, "epoch": chosen_epochs},
        "last": {**last, "epoch": epochs} if last else None,
    }
    write_json(block.folder / WORK_WEIGHTS, content)
    _remove_stale_measures(block, chosen["sha256"])


def _keep(block: Block, path: Path) -> WeightsFile:
    """Puts a file of weights into the folder of all weights."""
    digest = sha256_file(path)
    target = block.folders.weights / f"{digest}.safetensors"
    target.parent.mkdir(parents=True, exist_ok=True)
    # Named by its content: a file that is there is the same one.
    if not target.exists():
        try:
            # A second name costs no space.
            os.link(path, target)
        except OSError:  # a file system without hard links
            with atomic_write(target) as (temporary,):
                shutil.copyfile(path, temporary)
    return {"sha256": digest, "size": target.stat().st_size}


def _keep_last(block: Block, epochs: int) -> WeightsFile | None:
    """Keeps the weights of the last state, as the last training step left them.

    A model may estimate more of itself before it is measured; that is not in them.

    Returns:
        None where there is no last state, because every seed failed before.
    """
    tensors = _last_state(block, epochs)
    if tensors is None:
        return None
    parameters = {
        name.removeprefix("parameter/"): value
        for name, value in tensors.items()
        if "parameter/" in name
    }
    _, metadata = read_tensors(block.weights)
    path = block.folder / "last.safetensors"
    write_tensors(path, parameters, metadata)
    weights_file = _keep(block, path)
    # Its second name, or its copy, stays in the folder of all weights.
    path.unlink()
    return weights_file


def _last_state(block: Block, epochs: int) -> dict[str, np.ndarray] | None:
    for folder, settings in block.states():
        if settings["config"]["epochs"] == epochs:
            newest = max(folder.glob("step-*.json"))
            tensors, _ = read_tensors(newest.with_suffix(".safetensors"))
            return tensors
    return None


def _remove_stale_measures(block: Block, digest: str) -> None:
    """Removes what was measured of other weights, those of fewer epochs, or by other settings than
    the plan has now.
    """
    folder = block.measures
    path = folder / MEASURED_OF
    settings = {}
    for name in ("compute", "likelihood", "samplers"):
        settings[name] = block.params.get(name)
    content = {"weights": digest, "settings": sha256_json(settings)}
    is_current = path.is_file() and read_json(path) == content
    if folder.is_dir() and not is_current:
        shutil.rmtree(folder)
    write_json(path, content)


def publish(block: Block) -> None:
    """Puts the results of a finished block into the committed folder, and removes its samples,
    which are large, and can be drawn again.
    """
    earlier_epochs = block.published_epochs()
    if earlier_epochs:
        report_replacement(block, earlier_epochs, block.trained_epochs())
    origin = read_origin(block.origin_file)
    contents = {WEIGHTS: read_json(block.folder / WORK_WEIGHTS)}
    for name in block.result_names:
        path = block.measures / f"{name}.json"
        if name == "train":
            path = block.weights.with_suffix(".json")
        record = read_json(record_path(path))
        record_with_commit = with_commit(record, origin["commit"])
        contents[f"{name}.run.json"] = record_with_commit
        contents[f"{name}.json"] = read_json(path)
    samples = block.measures / "samples.safetensors"
    # First: after a kill nobody comes back to a block that is published.
    samples.unlink(missing_ok=True)
    write_results(block, contents)


def write_results(block: Block, contents: Mapping[str, Content]) -> None:
    """Writes results into the committed folder of a block, and their sums into the run's list.

    `train.json` is removed first and written last: after a kill the block does not look finished.

    Args:
        block: whose results they are.
        contents: name of a file -> its content.
    """
    write_params(block)
    run = block.folders.results / block.entry.name
    folder = block.results_folder
    texts: dict[Path, str] = {}
    texts_of_run: dict[str, str] = {}
    for name, content in contents.items():
        path = folder / name
        texts[path] = canonical_json(content)
        texts_of_run[path.relative_to(run).as_posix()] = texts[path]
    # Until all new results are there the block counts as unfinished.
    (folder / LAST).unlink(missing_ok=True)
    with sole_writer(block.folders):
        # The list before the files: after a kill a file may be missing, which is seen, but none is
        # unlisted.
        add_to_sums(run, texts_of_run, [PARAMETERS])
    # `LAST` at the end: a block with it has all of its results, however often it was killed.
    for path in sorted(texts, key=lambda path: (path.name == LAST, path.name)):
        write_text(path, texts[path])


@contextmanager
def sole_writer(folders: Folders, lock_file: str = "sums.lock") -> Iterator[None]:
    """Makes other processes wait that would write a run's list or table.

    Args:
        folders: of the reference runs.
        lock_file: another one than that of lists and tables, for other work.

    Raises:
        ReplicateError: the lock's file cannot be written.
    """
    with turn(folders.work / lock_file):
        yield


def report_replacement(block: Block, earlier_epochs: int, epochs: int) -> None:
    """Prints that results of a longer training replace those of a shorter one."""
    print(
        f"{block.results_folder}: the results of {earlier_epochs} epochs are replaced by those of "
        f"{epochs}.",
        file=sys.stderr,
    )


def with_commit(record: Content, commit: str | None) -> Content:
    """A run record; one that was made without git gets the commit of its code.

    It is then, to the byte, the record that a checkout of that commit would write.
    """
    source = record["source"]
    if source["commit"] is None and commit is not None:
        return {**record, "source": {"commit": commit, "dirty": False}}
    return record


def write_params(block: Block) -> None:
    """Writes the parameter file of the block's entry, unless it holds the same parameters."""
    path = block.folders.results / block.entry.name / PARAMETERS
    if path.is_file():
        # Somebody may have edited it: it may be no text, or have dates and infinities.
        with suppress(yaml.YAMLError, ValueError, TypeError):
            params = yaml.safe_load(path.read_text(encoding="utf-8"))
            # By content, so that comments and the order of a file that somebody edited stay.
            if sha256_json(params) == sha256_json(block.params):
                return
        print(
            f"{path} is written anew: the plan asks for other parameters than it held.",
            file=sys.stderr,
        )
    write_text(path, params_text(block))


def params_text(block: Block) -> str:
    """The parameter file of a block's entry."""
    body = yaml.safe_dump(block.params, sort_keys=False, default_flow_style=None, width=110)
    return f"# {block.entry.about}\n# Written from results/reference/plan.yaml.\n{body}"
