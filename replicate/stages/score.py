"""Scores a file of samples by the paper's Parzen estimate, and warns of each problem found.

  python -m replicate score samples.npy --dataset mnist
  python -m replicate score samples.npy --dataset mnist --html score.html --json score.json
  python -m replicate score samples.npy --test-file test.npy --valid-file valid.npy

Samples: .npy, .npz, .safetensors, .pt, .csv, .mat, or a folder or .zip of PNG or JPEG images, as
(n, pixels), (n, height, width), (n, channels, height, width) or (n, height, width, channels), in
bytes or in real numbers of the data set's range (0 to 1 for mnist). Nothing is unpickled, and no
file is changed. The published numbers are of 10,000 samples.

First come the two lines that the released script prints (goodfeli/adversarial, parzen_ll.py), then
the interval, the bandwidth of a finer grid, where the number lies among those of Table 1, and the
traps: what makes the number mean something else than it seems to, each with what to do. `--fix`
applies only the fixes that you name:

  python -m replicate score samples.npy --dataset mnist --fix range

The data set is the prepared file results/data/NAME.safetensors where there is one; else it is
fetched and prepared as the pipeline does it, in memory. docs/scoring.md explains every trap.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from replicate.datasets import REGISTRY, data_folder
from replicate.errors import ReplicateError
from replicate.jobs.subject import Subject
from replicate.measures import REGISTRY as REGISTRY_OF_MEASURES
from replicate.params import Compute, Params, load_params
from replicate.progress.reporting import add_state_argument, reporting
from replicate.records.parameters import compute_parameters
from replicate.records.schema import Score as ScoreResult
from replicate.records.schema import ScoreNeighbour, ScoreParameters
from replicate.scoring.rows import FIXES, sizes
from replicate.scoring.score import Score, score
from replicate.stages.device_job import DeviceJob
from replicate.storage.files import atomic_write, canonical_json
from replicate.storage.paths import home_path, output_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the tool's arguments."""
    parser.add_argument("file", type=home_path, metavar="FILE", help="the samples")
    parser.add_argument(
        "--name", metavar="ARRAY", help="which array of FILE, where it holds several"
    )
    parser.add_argument(
        "--fix",
        nargs="+",
        default=[],
        choices=list(FIXES),
        metavar="NAME",
        help="fix the samples before they are scored (the fixes are listed below)",
    )
    parser.add_argument(
        "--measures",
        action="store_true",
        help="take the other measures of the samples too: precision, recall, density, coverage, "
        "distances and two-sample tests, in pixels (docs/measures.md); minutes on MNIST",
    )
    parser.add_argument("--json", type=home_path, metavar="FILE", help="write the result")
    parser.add_argument(
        "--html", type=home_path, metavar="FILE", help="write a page of one screen, with pictures"
    )
    _add_data_arguments(parser)
    parser.add_argument(
        "--params",
        metavar="PARAMS",
        help="a parameter file (YAML) or inline JSON: `likelihood` has the bandwidths that are "
        "tried, `compute` the device (default: the paper's protocol)",
    )
    parser.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="CPU threads (default: those of --params, else 1; the last digits may depend on it)",
    )
    add_state_argument(parser)
    fixes = "\n".join(f"  {name:10s} {text}" for name, text in FIXES.items())
    parser.epilog = f"fixes:\n{fixes}"


def _add_data_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what the samples are compared with")
    group.add_argument("--dataset", metavar="NAME", help=f"one of: {', '.join(REGISTRY)}")
    group.add_argument(
        "--data",
        type=home_path,
        metavar="FILE",
        help="its prepared file (safetensors), where it lies elsewhere",
    )
    group.add_argument(
        "--data-dir",
        type=home_path,
        default=data_folder(),
        metavar="FOLDER",
        help="folder of raw files (default: $REPLICATE_DATA, else data)",
    )
    group.add_argument(
        "--mirror",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="base address that is tried first, file:// or http(s)://",
    )
    group.add_argument("--offline", action="store_true", help="use no network")
    group.add_argument(
        "--test-file", type=home_path, metavar="FILE", help="test images of your own"
    )
    group.add_argument(
        "--valid-file",
        type=home_path,
        metavar="FILE",
        help="validation images of your own, which choose the bandwidth",
    )
    group.add_argument(
        "--train-file",
        type=home_path,
        metavar="FILE",
        help="training images of your own, to recognise copies",
    )
    group.add_argument(
        "--data-name", metavar="ARRAY", help="which array of these files, where they hold several"
    )


def _check_outputs(arguments: argparse.Namespace) -> None:
    """Refuses an output that could not be written, or that would replace what is read."""
    inputs = [arguments.file, arguments.data]
    inputs += [arguments.test_file, arguments.valid_file, arguments.train_file]
    read = {path.resolve() for path in inputs if path is not None}
    outputs = [path for path in (arguments.json, arguments.html) if path is not None]
    for path in outputs:
        output_path(path)
        # The samples may be the only copy that there is.
        if path.resolve() in read:
            raise ReplicateError(f"{path} is read; name another file for what is written.")
    if len({path.resolve() for path in outputs}) < len(outputs):
        raise ReplicateError("--json and --html name the same file; name two.")


def _compute(threads: int | None, params: Params) -> Compute:
    """The section `compute`, with another number of threads where one is named."""
    if threads is None:
        return params.compute
    document = {"compute": {**compute_parameters(params.compute), "threads": threads}}
    # By the types, so that the number has the same bounds as in a parameter file.
    return Params.parse(document, "--threads").compute


def run(arguments: argparse.Namespace) -> None:
    """Scores, prints, and writes what was asked for: all of it or nothing."""
    _check_outputs(arguments)
    params = load_params(arguments.params or "{}")
    compute = _compute(arguments.threads, params)
    # A tool at a user's own prompt, where bad input ends in one sentence.
    job = DeviceJob("score", compute, names_device=False)
    # By the process, since two files of one name may be scored at the same time.
    with reporting(arguments.state, f"score {os.getpid()}"):
        scored = score(arguments, params.likelihood, job.backend.device)
    result = _result(scored, job, params, compute)
    _write(arguments, scored, result)
    for line in _lines(scored, result):
        print(line)


def _result(scored: Score, job: DeviceJob, params: Params, compute: Compute) -> ScoreResult:
    parameters: ScoreParameters = {
        "sigmas": list(params.likelihood.sigmas),
        "validation_limit": params.likelihood.validation_limit,
        "compute": compute_parameters(compute),
        "fixes": scored.fixes,
    }
    estimate = scored.estimate
    frame = job.frame(parameters, {}, Subject(dataset=scored.data.name))
    # Replaced: the inputs may be a folder or an archive, whose digest is of its images.
    frame["inputs"] = {**scored.data.digests, "samples": scored.array.digest}
    return {
        **frame,
        "stage": "score",
        "parameters": parameters,
        "dataset": scored.data.name,
        "title": scored.data.title,
        "samples": scored.samples,
        "sigmas": list(params.likelihood.sigmas),
        "log_likelihood": estimate.log_likelihood,
        "standard_error": estimate.standard_error,
        "standard_error_folds": estimate.standard_error_folds,
        "interval": list(estimate.interval),
        "fine_log_likelihood": estimate.fine_log_likelihood,
        "folds": estimate.folds,
        "notes": scored.notes,
        "traps": scored.plain_traps,
        "neighbours": scored.neighbours,
        "standing": scored.standing,
        "measures": scored.measures,
    }


def _write(arguments: argparse.Namespace, scored: Score, result: ScoreResult) -> None:
    texts: dict[Path, str] = {}
    if arguments.json is not None:
        texts[arguments.json] = canonical_json(result)
    if arguments.html is not None:
        # Only where a page is asked for: this loads matplotlib and Jinja.
        from replicate.scoring.page import page

        texts[arguments.html] = page(scored, result, arguments.json)
    if texts:
        with atomic_write(*texts) as parts:
            for part, text in zip(parts, texts.values(), strict=True):
                part.write_text(text, encoding="utf-8")


def _lines(scored: Score, result: ScoreResult) -> list[str]:
    """What is printed: the released script's lines, then ours."""
    lines = []
    for fold in result["folds"]:
        # Word for word the lines of the released script.
        lines.append(f"Using Sigma: {fold['sigma']}")
        lines.append(
            f"Log-Likelihood of test set = {fold['log_likelihood']}, se: {fold['standard_error']}"
        )
    count = result["samples"]["count"]
    n_test = sum(fold["n_test"] for fold in result["folds"])
    size = sizes(scored.rows.shape)
    lines += [
        "",
        f"{result['samples']['name']}: {count:,} samples of {size} pixels, "
        f"{n_test:,} test images of {result['title']}",
    ]
    lines += _estimate_lines(result)
    lines += [_entry("note", note) for note in result["notes"]]
    lines += [_entry("fixed", fix) for fix in scored.fixes]
    lines += _neighbour_lines(result)
    lines += _measure_lines(result)
    if not result["traps"]:
        lines.append(_entry("traps", "none"))
    lines += [_entry("trap", f"{trap['name']}: {trap['sentence']}") for trap in result["traps"]]
    return lines


def _entry(title: str, text: str) -> str:
    return f"  {title:12s} {text}"


def _estimate_lines(result: ScoreResult) -> list[str]:
    low, high = result["interval"]
    over = "folds" if len(result["folds"]) > 1 else "test images"
    sigmas = result["sigmas"]
    lines = [
        _entry(
            "estimate",
            f"{result['log_likelihood']:.1f} nats, 95 % interval {low:.1f} to {high:.1f} over "
            f"{over} (it says nothing of another training or another draw)",
        )
    ]
    for fold in result["folds"]:
        where = "at the EDGE of the grid" if fold["at_edge"] else "inside the grid"
        lines.append(
            _entry(
                "bandwidth",
                f"{fold['sigma']:.4g}, {where} {sigmas[0]:g} to {sigmas[-1]:g}, chosen on "
                f"{fold['n_validation']:,} validation images",
            )
        )
        lines.append(
            _entry(
                "finer grid",
                f"{fold['fine_log_likelihood']:.1f} nats at {fold['fine_sigma']:.4g}",
            )
        )
    return lines


def _neighbour_lines(result: ScoreResult) -> list[str]:
    rows = result["neighbours"]
    published = [row for row in rows if row["kind"] == "published"]
    measured = [row for row in rows if row["kind"] == "measured"]
    lines = []
    if published:
        lines.append(_entry("published", f"{_named(published)} (Table 1)"))
    if measured:
        sources = " and ".join(dict.fromkeys(row["source"] for row in measured))
        lines.append(_entry("measured", f"{_named(measured)} ({sources})"))
    if result["standing"] is not None:
        lines.append(_entry("standing", f"the estimate lies {result['standing']}"))
    return lines


def _measure_lines(result: ScoreResult) -> list[str]:
    lines = []
    for entry in result["measures"]:
        measure = REGISTRY_OF_MEASURES[entry["measure"]]
        unit = f" ({measure.unit})" if measure.unit else ""
        interval = ""
        if entry["interval"] is not None:
            low, high = entry["interval"]
            interval = f", 95 % interval {low:.3g} to {high:.3g}"
        lines.append(_entry("measure", f"{measure.title} {entry['value']:.3g}{unit}{interval}"))
    return lines


def _named(rows: Sequence[ScoreNeighbour]) -> str:
    words = []
    for row in rows:
        value = row["log_likelihood"]
        words.append(f"{row['title']} {value:.0f}")
    return ", ".join(words)
