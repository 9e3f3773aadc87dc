"""The commands that lead from a block of the plan to its kept results, one process after the other."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from replicate.files import write_text
from replicate.reference.blocks import Block
from replicate.reference.keeping import keep_weights, params_text, publish
from replicate.reference.sources import Source
from replicate.runrecord import record_path


def steps(block: Block, source: Source, checkpoint_every: float) -> Iterator[list[str]]:
    """Yields the words of each process; what they lead to is kept in between, once each has ended well."""
    params = block.folder / "params.yaml"
    write_text(params, params_text(block))
    if block.trained_epochs() < block.epochs:
        yield _python(_training(block, params, checkpoint_every))
    keep_weights(block)
    if measuring := _measuring(block, source, params):
        yield _python(measuring)
    publish(block)


def _python(words: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "replicate", *words]


def _data(block: Block) -> str:
    return str(block.folders.data / f"{block.dataset}.safetensors")


def _training(block: Block, params: Path, checkpoint_every: float) -> list[str]:
    return [
        "train", "--params", str(params), "--dataset", block.dataset, "--model", block.model, "--block", block.seeds,
        "--data", _data(block), "--out", str(block.weights), "--state", str(block.state),
        "--checkpoint-every", str(checkpoint_every),
    ]  # fmt: skip


def _measuring(block: Block, source: Source, params: Path) -> list[str]:
    """The stages from weights to what is kept, joined by `then`; without those whose result is there."""
    samples, bandwidth, evaluation, recognition = (
        block.measured / name
        for name in ("samples.safetensors", "bandwidth.json", "evaluation.json", "recognition.json")
    )
    classifier = block.folders.data / f"{block.dataset}.classifier-{source.package[:12]}.safetensors"
    common = ["--params", str(params), "--data", _data(block), "--state", str(block.state)]
    of_samples = ["--samples", str(samples)]
    stages = {
        classifier: ["classifier", *common],
        samples: ["sample", *common, "--weights", str(block.weights)],
        bandwidth: ["bandwidth", *common, *of_samples],
        evaluation: ["evaluate", *common, *of_samples, "--bandwidth", str(bandwidth)],
        recognition: ["recognise", *common, *of_samples, "--classifier", str(classifier)],
    }
    if "samplers" in block.results:
        stages[block.measured / "samplers.json"] = ["samplers", *common, "--weights", str(block.weights)]
    missing = [(out, words) for out, words in stages.items() if not record_path(out).is_file()]
    joined: list[str] = []
    for out, words in missing:
        joined += [*(["then"] if joined else []), *words, "--out", str(out)]
    return joined
