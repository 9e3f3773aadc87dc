"""The commands that lead from a block of the plan to its committed results."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from replicate.jobs.layout import STAGES
from replicate.records.run_record import record_path
from replicate.reference_runs.blocks import Block
from replicate.reference_runs.keeping import keep_weights, params_text, publish
from replicate.reference_runs.sources import Source
from replicate.storage.files import sha256_file, write_text


def steps(block: Block, source: Source, checkpoint_every: float) -> Iterator[list[str]]:
    """Yields the command of each process, and takes up its outcome once it has ended well.

    The caller runs a process to its end before it asks for the next command.
    """
    params = block.folder / "params.yaml"
    write_text(params, params_text(block))
    if block.trained_epochs() < block.epochs:
        yield python(_training(block, params, checkpoint_every))
    # Before what is measured, since it removes measurements of other weights.
    keep_weights(block)
    if measuring := _measuring(block, source, params):
        yield python(measuring)
    publish(block)


def python(words: Sequence[str]) -> list[str]:
    """The command of a process that runs `python -m replicate` with these words."""
    return [sys.executable, "-m", "replicate", *words]


def _data(block: Block) -> str:
    return str(block.folders.data / f"{block.dataset}.safetensors")


def _training(block: Block, params: Path, checkpoint_every: float) -> list[str]:
    values = {
        "params": str(params),
        "dataset": block.dataset,
        "model": block.model,
        "block": block.seeds,
        "data": _data(block),
        "weights": str(block.weights),
    }
    options = ["--state", str(block.state), "--checkpoint-every", str(checkpoint_every)]
    return ["train", *STAGES["train"].words(values), *options]


def _measuring(block: Block, source: Source, params: Path) -> list[str]:
    """The stages after training, joined by `then`, without those whose result is there."""
    # Each stage stands after those whose results it reads, with the name of its output.
    stages = {
        "classifier": ("classifier", classifier_of(block, source)),
        "sample": ("samples", block.measures / "samples.safetensors"),
        "bandwidth": ("bandwidth", block.measures / "bandwidth.json"),
        "evaluate": ("evaluation", block.measures / "evaluation.json"),
        "recognise": ("recognition", block.measures / "recognition.json"),
    }
    if "samplers" in block.result_names:
        stages["samplers"] = ("samplers", block.measures / "samplers.json")
    return joined_stages(block, stages, params, block.weights)


def classifier_of(block: Block, source: Source) -> Path:
    """The classifier of the block's data, by the code that trains it."""
    name = name_of_code_and_data(block, source, "classifier")
    return block.folders.data / f"{name}.safetensors"


def name_of_code_and_data(block: Block, source: Source, kind: str) -> str:
    """The start of the name of what blocks share: those of other commits, or of data that were cut
    anew, must not.
    """
    path = Path(_data(block))
    # Of the bytes: the name of a data set does not say how it was cut.
    data = sha256_file(path)[:8]
    code = source.package[:12]
    return f"{block.dataset}.{kind}-{code}-{data}"


def joined_stages(
    block: Block, stages: Mapping[str, tuple[str, Path]], params: Path, weights: Path
) -> list[str]:
    """The words of several stages in one process, without those whose result is there.

    Args:
        block: what they are about.
        stages: each after those whose results it reads -> name of its output, and its file.
        params: the parameter file.
        weights: of the block.
    """
    values = {name: str(path) for name, path in stages.values()}
    values |= {"params": str(params), "data": _data(block), "weights": str(weights)}
    values["dataset"] = block.dataset
    joined: list[str] = []
    for stage, (_, path) in stages.items():
        # The record is written after the result: where it is, the stage ended.
        if record_path(path).is_file():
            continue
        if joined:
            joined.append("then")
        joined += [stage, *STAGES[stage].words(values), "--state", str(block.state)]
    return joined
