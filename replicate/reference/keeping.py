"""What stays of a finished block: its weights by digest, and its results in the committed folder."""

import fcntl
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from replicate.files import (
    canonical_json,
    read_json,
    read_tensors,
    replacing,
    sha256_file,
    sha256_json,
    write_json,
    write_tensors,
    write_text,
)
from replicate.filesystem import lock
from replicate.kept import add_to_sums
from replicate.reference.blocks import Block
from replicate.runrecord import record_path

#: Names the weights of a block by digest: in its folder, and beside its results.
NAMED, WEIGHTS = "named.json", "weights.json"
#: Beside what is measured: the digest of the weights that it is of.
MEASURED_OF = "of.json"
#: Of a block's kept results the one whose presence says that all are there.
LAST = "train.json"
PARAMETERS = "params.yaml"


def keep_weights(block: Block) -> None:
    """Keeps the weights of the chosen epochs and those of the last one, named by their SHA-256, and notes both."""
    training = read_json(block.weights.with_suffix(".json"))
    chosen = _keep(block, block.weights)
    last = chosen if set(training["chosen_epoch"]) == {training["epochs"]} else _keep_last(block, training)
    content = {
        "epochs": training["epochs"],
        "chosen": {**chosen, "epoch": training["chosen_epoch"]},
        "last": {**last, "epoch": training["epochs"]} if last else None,
    }
    write_json(block.folder / NAMED, content)
    _forget_measures_of_others(block, chosen["sha256"])


def _keep(block: Block, path: Path) -> dict[str, Any]:
    """Puts a file of weights into the folder of all, and says what it is."""
    digest = sha256_file(path)
    target = block.folders.weights / f"{digest}.safetensors"
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        try:
            os.link(path, target)
        except OSError:  # a file system without hard links
            with replacing(target) as (part,):
                shutil.copyfile(path, part)
    return {"sha256": digest, "size": target.stat().st_size}


def _keep_last(block: Block, training: dict[str, Any]) -> dict[str, Any] | None:
    """The weights of the last state, as training left them: before what a look settles (`settle` of the model).

    None where no state was due, since every seed failed before.
    """
    tensors = _last_state(block, training["epochs"])
    if tensors is None:
        return None
    parameters = {name.removeprefix("parameter/"): value for name, value in tensors.items() if "parameter/" in name}
    _, metadata = read_tensors(block.weights)
    path = block.folder / "last.safetensors"
    write_tensors(path, parameters, metadata)
    found = _keep(block, path)
    path.unlink()
    return found


def _last_state(block: Block, epochs: int) -> dict[str, np.ndarray] | None:
    for folder, settings in block.states():
        if settings["config"]["epochs"] == epochs:
            newest = max(folder.glob("step-*.json"))
            return read_tensors(newest.with_suffix(".safetensors"))[0]
    return None


def _forget_measures_of_others(block: Block, digest: str) -> None:
    """Removes what was measured of other weights, those of fewer epochs."""
    of = block.measured / MEASURED_OF
    if block.measured.is_dir() and (not of.is_file() or read_json(of) != {"weights": digest}):
        shutil.rmtree(block.measured)
    write_json(of, {"weights": digest})


def publish(block: Block) -> None:
    """Puts the results of a finished block into the committed folder, and removes its samples."""
    if before := block.kept_epochs():
        tell_of_replacing(block, before, block.trained_epochs())
    origin = read_json(block.note)
    sources = {name: block.measured / f"{name}.json" for name in block.results}
    sources["train"] = block.weights.with_suffix(".json")
    contents = {WEIGHTS: read_json(block.folder / NAMED)}
    for name, source in sources.items():
        contents[f"{name}.run.json"] = with_commit(read_json(record_path(source)), origin["commit"])
        contents[f"{name}.json"] = read_json(source)
    put(block, contents)
    (block.measured / "samples.safetensors").unlink(missing_ok=True)


def put(block: Block, contents: Mapping[str, Any]) -> None:
    """Puts results into the committed folder of a block, and what they are into the list of their run.

    `train.json` comes last, so that what a kill cuts off is done again.

    Args:
        block: whose results they are.
        contents: name of a file -> its content.
    """
    write_params(block)
    texts = {name: canonical_json(content) for name, content in contents.items()}
    (block.kept / LAST).unlink(missing_ok=True)
    with _sole_writer(block):
        run = block.folders.results / block.entry.name
        below = block.kept.relative_to(run)
        add_to_sums(run, {(below / name).as_posix(): text for name, text in texts.items()}, [PARAMETERS])
    for name in sorted(texts, key=lambda name: (name == LAST, name)):
        write_text(block.kept / name, texts[name])


@contextmanager
def _sole_writer(block: Block) -> Iterator[None]:
    """While one process changes the list of a run, others wait; where there are no locks, they do not."""
    block.folders.work.mkdir(parents=True, exist_ok=True)
    with (block.folders.work / "sums.lock").open("w") as stream:
        lock(stream.fileno(), fcntl.LOCK_EX, block.folders.work)
        yield


def tell_of_replacing(block: Block, before: int, epochs: int) -> None:
    """Says that results of a longer training take the place of a shorter one's."""
    print(f"{block.kept}: the results of {before} epochs are replaced by those of {epochs}.", file=sys.stderr)


def with_commit(record: dict[str, Any], commit: str | None) -> dict[str, Any]:
    """A run record made where there was no git, with the commit whose code it was, to the byte."""
    if record["source"]["commit"] is None and commit is not None:
        return {**record, "source": {"commit": commit, "dirty": False}}
    return record


def write_params(block: Block) -> None:
    """Writes the parameter file of the block's entry beside the results, where it does not say the same already."""
    path = block.folders.results / block.entry.name / PARAMETERS
    if path.is_file():
        with suppress(yaml.YAMLError):
            if sha256_json(yaml.safe_load(path.read_text(encoding="utf-8"))) == sha256_json(dict(block.params)):
                return
        print(f"{path} is written anew: the plan asks for other parameters than it held.", file=sys.stderr)
    write_text(path, params_text(block))


def params_text(block: Block) -> str:
    """The parameter file of a block's entry."""
    body = yaml.safe_dump(dict(block.params), sort_keys=False, default_flow_style=None, width=110)
    return f"# {block.entry.about}\n# Written from results/reference/plan.yaml.\n{body}"
