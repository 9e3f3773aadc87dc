"""`python -m replicate STAGE`: one subcommand per stage of the pipeline, paths and parameters in,
files out.
"""

import argparse
import gc
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from types import ModuleType

from replicate.console import run
from replicate.errors import ReplicateError
from replicate.storage.paths import check_output, home_path

STAGES = {
    "fetch": "download the files of a data set, verify them, and list them in a manifest",
    "prepare": "cut a data set into train, validation and test images",
    "train": "train one model on one data set for a block of seeds (resumes where it was stopped)",
    "sample": "draw images from a trained model",
    "bandwidth": "choose the Parzen bandwidth on validation images",
    "evaluate": "measure the test log-likelihood with its standard error",
    "samplers": "compare samplers of Markov chains: what each measures of the same weights",
    "classifier": "train a classifier of the data set's labels",
    "recognise": "say what a model's samples show: classes, copies of training images, correlation",
    "measures": "measure a model's samples by every registered measure, with intervals",
    "controls": "measure samples of known quality by the same measures",
    "ranks": "put all rows, measures and controls side by side, and rank the rows by each measure",
    "panels": "draw the sample, interpolation, learning and bandwidth panels of a model",
    "experiment": "measure what one experiment says about the paper's statements",
    "draw": "draw the figures of an experiment",
    "table": "put published and measured log-likelihoods side by side, with verdicts",
    "statements": "put every statement of the paper beside what was measured, with its verdict",
    "metrics": "write the means of Table 1 as numbers alone, which `dvc metrics` compares",
    "curves": "write all learning and bandwidth curves as tables, which `dvc plots` shows",
    "report": "render report/index.html from the result files",
}
TOOLS = {
    "score": "score a file of anyone's samples, and warn of each problem found",
    "list": "name the registered data sets, models and experiments",
    "tune": "try settings of models on validation images, with the same budget for each",
    "check": "read every file of a run, and say which are not what their records and the "
    "parameters make them",
    "status": "show what is done, running and pending, and forecast hours, memory and disk",
    "preset": "make params.yaml a copy of one of the presets",
    "params": "check a parameter file, or write the JSON schema",
    "crate": "pack a finished run as one file that others can read, check and cite",
    "export": "write what sampling needs of one trained seed into a small file",
    "round": "round one trained generator to 8 bits a weight, for the play page",
    "play": "render report/play.html, in which one moves through the z of a trained generator",
    "reference": "go on with the reference runs of results/reference/plan.yaml whenever there is "
    "time",
    "verify": "compare a run with the reference runs: the same bits, or statistically",
    "multiverse": "judge every claim again under all combinations of an analyst's choices",
}
#: Stages whose --out is a folder with files in it.
WRITE_FOLDERS = frozenset({"curves", "draw", "panels"})
#: Stages that write a second file of the same name -> its ending, and the one that --out then has.
SECOND_FILES = {
    "prepare": (".json", ".safetensors"),
    "train": (".json", ".safetensors"),
    "classifier": (".json", ".safetensors"),
    "evaluate": (".safetensors", ".json"),
    "table": (".csv", ".json"),
    "round": (".safetensors", ".json"),
}
#: Options whose file has a .json beside it that is read too, or that says what the file is.
DESCRIBED = frozenset({"classifier", "data", "weights"})
#: A command of earlier versions -> its name now.
EARLIER_COMMANDS = {"claims": "statements"}
#: What a stage's memory grows with: what to lower where it runs out.
LOWER = {
    "prepare": "datasets.images.size, or the number of images",
    "train": "the seeds of a block, batch_size, or the widths of the model's layers",
    "tune": "the seeds of the trials, batch_size, or the widths of the model's layers",
    "sample": "likelihood.samples, likelihood.draws, or the seeds of a block",
    "bandwidth": "likelihood.samples, likelihood.draws, or the seeds of a block",
    "evaluate": "likelihood.samples, likelihood.draws, or the seeds of a block; or measure parts "
    "with --shard",
    "samplers": "likelihood.samples, or the seeds of a block",
    "score": "the number of samples in the file",
    "recognise": "likelihood.samples, likelihood.draws, or the seeds of a block",
    "measures": "measures.annealing.images, measures.annealing.chains, or the seeds of a block",
    "controls": "likelihood.samples, or measures.images",
    "experiment": "the experiment's seeds, batch_size, hidden or samples",
}
#: How the messages of torch's RuntimeError begin or what they contain where memory ran out, on a
#: CPU and on a GPU.
OUT_OF_MEMORY = ("not enough memory", "can't allocate memory", "out of memory", "ALLOC_FAILED")
DESCRIPTION = """Replicates "Generative Adversarial Nets" (Goodfellow et al., 2014).

Snakemake and DVC run these stages in order; each also runs by hand:

  python -m replicate fetch --dataset digits --out manifest.json
  python -m replicate prepare --dataset digits --manifest manifest.json --out digits.safetensors
  python -m replicate train --params params.yaml --dataset digits --model adversarial_nets \\
      --block 0-2 --data digits.safetensors --out weights.safetensors
  python -m replicate sample --weights weights.safetensors --out samples.safetensors

The word `then` puts several stages into one process, which spares all but the first the start of
Python and torch:

  python -m replicate bandwidth ... then evaluate ...

`python -m replicate STAGE --help` explains one stage."""


def _overview() -> str:
    """What `--help` prints: every stage and tool in a line."""
    lines = [DESCRIPTION, "", "stages:"]
    for name, text in STAGES.items():
        lines.append(f"  {name:10s} {text}")
    lines += ["", "tools:"]
    for name, text in TOOLS.items():
        lines.append(f"  {name:10s} {text}")
    return "\n".join(lines)


def _loaded(name: str) -> ModuleType:
    """The module of a stage, with all that it imports.

    Loading torch makes some 170,000 objects that live as long as the process. Looking for garbage
    among them, while they come and whenever it is looked for later, takes a good part of a short
    job's time, and there is none.

    Raises:
        ReplicateError: this Python lacks a package, as one outside the environment does.
    """
    module = f"replicate.stages.{name}"
    # A stage before, in the same process, has loaded it.
    if module in sys.modules:
        return sys.modules[module]
    gc.disable()
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package == "replicate":
            raise
        raise ReplicateError(
            f"{sys.executable} does not have the package {package}; take the Python of the "
            "environment: make runtime && source .venv/bin/activate"
        ) from None
    finally:
        # What is alive now stays so: later collections need not look at it again.
        gc.freeze()
        gc.enable()


def _commands(words: list[str]) -> list[list[str]]:
    """The words of each stage of one command line, cut at `then`."""
    parts: list[list[str]] = [[]]
    for word in words:
        if word == "then":
            parts.append([])
        else:
            parts[-1].append(word)
    return parts


def _call(words: list[str]) -> Callable[[], None]:
    """What runs one stage with its arguments, which are checked here; wrong ones end the process
    with status 2.

    An output that could not be written is refused before any stage runs.
    """
    name = words[0]
    stage = _loaded(name)
    parser = argparse.ArgumentParser(
        prog=f"python -m replicate {name}",
        description=stage.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    stage.add_arguments(parser)
    arguments = parser.parse_args(words[1:])
    if "out" in arguments:
        arguments.out = home_path(
            str(arguments.out), "--out"
        )  # no shell expands the ~ of --out=~/x
        writes_folder = name in WRITE_FOLDERS
        check_output(arguments.out, folder=writes_folder)
        if not writes_folder:
            _refuse_replacement(name, arguments)
    return partial(stage.run, arguments)


def _files_read(arguments: argparse.Namespace) -> Iterator[Path]:
    """The files that a command line names beside --out, and the descriptions beside them."""
    for name, value in vars(arguments).items():
        if name == "out":
            continue
        if name == "params" and isinstance(value, str):
            # Inline JSON is no file's name, and is that of no file that is written.
            yield Path(value)
        entries = value if isinstance(value, list) else [value]
        for entry in entries:
            if not isinstance(entry, Path):
                continue
            yield entry
            # An empty path, or a lone dot, has no name to give another ending.
            if name in DESCRIBED and entry.name:
                yield entry.with_suffix(".json")


def _refuse_replacement(name: str, arguments: argparse.Namespace) -> None:
    """Refuses an output whose files would replace one another, or a file that is read.

    Raises:
        ReplicateError: names that file.
    """
    from replicate.records.run_record import record_path  # which `--help` does without

    out: Path = arguments.out
    written = [out, record_path(out)]
    # A part of an evaluation is one file.
    if name in SECOND_FILES and getattr(arguments, "shard", None) is None:
        ending, ending_of_out = SECOND_FILES[name]
        second = out.with_suffix(ending)
        if second == out:
            raise ReplicateError(
                f"--out {out}: the name must end in {ending_of_out}; "
                f"the {ending} file takes the same stem."
            )
        written.append(second)
    # By what links lead to: a link to an input is that input.
    real_paths = {os.path.realpath(path) for path in written}
    for path in _files_read(arguments):
        if os.path.realpath(path) in real_paths:
            raise ReplicateError(
                f"{path} is read, and --out {out} would replace it; "
                "name another file for what is written."
            )


def _job(words: list[str]) -> AbstractContextManager[None]:
    """What surrounds the stages of a job that an engine starts: `job RULE ABOUT --plan FILE then
    STAGE ...`.
    """
    parser = argparse.ArgumentParser(prog="python -m replicate job", description=_job.__doc__)
    parser.add_argument("rule")
    parser.add_argument(
        "about", help="what distinguishes the job from others of its rule, or an empty word"
    )
    parser.add_argument(
        "--plan",
        type=Path,
        required=True,
        help="the parameters, as the engine keeps them for its jobs",
    )
    arguments = parser.parse_args(words)
    from replicate.jobs.context import job  # which stages by hand do without

    return job(arguments.rule, arguments.about, arguments.plan)


def _fault(command: list[str]) -> str | None:
    """What is wrong with the name of a stage or tool, in words; None where nothing is."""
    names = ", ".join([*STAGES, *TOOLS])
    if not command:
        return f"a stage is missing beside `then`; the stages are {names}"
    name = command[0]
    if name in EARLIER_COMMANDS:
        new_name = EARLIER_COMMANDS[name]
        return (
            f"the stage {name!r} is called {new_name!r} now; run `python -m replicate {new_name}`"
        )
    if name not in STAGES and name not in TOOLS:
        return f"there is no stage {name!r}; the stages are {names}"
    return None


def _ran_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError):
        return True
    # Torch has no type of its own for it, on a CPU.
    message = str(error)
    return any(words in message for words in OUT_OF_MEMORY)


def main(arguments: list[str] | None = None) -> int:
    """Runs stages; returns the exit status.

    0: done. 1: what was compared differs. 2: the command line, an input or the machine is to be
    mended. 130: interrupted.
    """
    words = sys.argv[1:] if arguments is None else arguments
    if not words or words[0] in ("-h", "--help"):
        print(_overview())
        # Whoever asked for it has an answer; a command line without a word is a fault.
        return 0 if words else 2
    commands = _commands(words)
    around: AbstractContextManager[None] = nullcontext()
    if commands[0][:1] == ["job"]:
        around = _job(commands.pop(0)[1:])
    # All of them before the first runs: a slip in the last one costs nothing.
    for command in commands:
        fault = _fault(command)
        if fault is not None:
            print(f"replicate: {fault}.", file=sys.stderr)
            return 2
    name = commands[0][0]
    calls = []
    try:
        # Outside `around`: a wrong word must not begin a job.
        for command in commands:
            name = command[0]
            calls.append(_call(command))
        # What surrounds them is begun for the first one.
        name = commands[0][0]
        with around:
            for command, call in zip(commands, calls, strict=True):
                name = command[0]
                call()
    except ReplicateError as error:
        print(f"replicate {name}: {error}", file=sys.stderr)
        return error.status
    except (MemoryError, RuntimeError) as error:
        if not _ran_out_of_memory(error):
            raise
        lower = LOWER.get(name, "the number of seeds or samples")
        print(
            f"replicate {name}: the memory ran out; nothing is lost: lower {lower}, or run it "
            "where more is free.",
            file=sys.stderr,
        )
        return ReplicateError.status
    except KeyboardInterrupt:
        print(f"replicate {name}: interrupted.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    run(main)
