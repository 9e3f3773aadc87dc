"""Goes on with the reference runs whenever there is time: give it your spare hours.

Takes the next unfinished block of results/reference/plan.yaml, trains and measures it, and puts its
results into results/reference/. Stop it whenever you like (Ctrl-C, SIGTERM, or after --minutes): it
ends by a checkpoint, and the same command goes on from there to the same bits. A block stays with
the commit that it was started from.

  python -m replicate reference --minutes 120      # two hours, then a checkpoint
  python -m replicate reference --side-by-side 2   # two blocks at once, until all are done
  python -m replicate reference --status           # what is done, running, pending; starts nothing

From a machine and back: what is finished goes into few files, and comes out of them again.

  python -m replicate reference --pack packs/ --largest 16M
  python -m replicate reference --unpack packs/

Every kept run has a list of its files (SHA256SUMS), without which no page shows it. After a change
that was meant, such as a new table:

  python -m replicate reference --sums

Every measure (docs/measures.md) of what is finished and whose weights are here, afterwards:

  python -m replicate reference --measure

It needs neither Snakemake nor DVC; git only to go on with blocks of an older commit
(docs/reference-runs.md).
"""

import argparse
import os
import sys
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from replicate.errors import ReplicateError
from replicate.progress.reporting import seconds_of
from replicate.records.hardware import usable_cores
from replicate.records.schema import Training
from replicate.reference_runs.blocks import Folders, blocks_of
from replicate.reference_runs.plan import ReferencePlan, read_plan

#: The part of the time, and the most seconds, that are left for the last checkpoints.
RESERVE, RESERVE_SECONDS = 0.1, 60.0
#: The table of an entry as JSON and CSV, and its run record.
TABLE = ("table1.json", "table1.csv", "table1.run.json")
#: Its rows by every measure.
RANKS = "ranks.json"
#: How the names of kept results begin in both.
OF_RESULTS = "results/reference/"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the tool's arguments."""
    results = Path("results/reference")
    parser.add_argument(
        "--plan", type=Path, default=results / "plan.yaml", help="the plan (default: %(default)s)"
    )
    parser.add_argument(
        "--results",
        type=Path,
        default=results,
        help="folder of kept results (default: %(default)s)",
    )
    parser.add_argument(
        "--folder", type=Path, default=Path(".replicate/reference"),
        help="folder of everything else: data, states, weights, clones (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--side-by-side",
        type=int,
        metavar="N",
        help="blocks at once (default: one a core; on a GPU 1)",
    )
    parser.add_argument(
        "--minutes", type=float, metavar="M", help="end by a checkpoint within so many minutes"
    )
    parser.add_argument(
        "--checkpoint-every",
        type=seconds_of,
        default=300.0,
        metavar="SECONDS",
        help="what a kill may cost (default 300)",
    )
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="whose blocks to take (default: %(default)s)",
    )
    does = parser.add_mutually_exclusive_group()
    does.add_argument(
        "--status",
        action="store_true",
        help="show what is done, running and pending; start nothing",
    )
    does.add_argument(
        "--pack", type=Path, metavar="FOLDER", help="write what is finished into few files there"
    )
    does.add_argument(
        "--unpack", type=Path, metavar="FOLDER", help="take in what a pack there holds"
    )
    does.add_argument(
        "--sums", type=Path, nargs="*", metavar="RUN",
        help="write the lists of files of these kept runs anew (default: of all where they differ)",
    )  # fmt: skip
    does.add_argument(
        "--measure", nargs="*", metavar="ENTRY",
        help="put every measure of finished blocks beside their results (default: of all entries)",
    )  # fmt: skip
    does.add_argument(
        "--tables",
        action="store_true",
        help="write the tables of all entries anew, by today's rules",
    )
    parser.add_argument(
        "--largest",
        default="16M",
        metavar="SIZE",
        help="of a file of a pack (default: %(default)s)",
    )
    parser.add_argument(
        "--states",
        action="store_true",
        help="pack states too: half-finished blocks, and what more epochs go on from",
    )


def run(arguments: argparse.Namespace) -> None:
    """Runs, shows, packs or unpacks; what cannot be done at all ends with status 2, troubled blocks
    with 1.
    """
    try:
        status = _run(arguments)
    except ReplicateError as error:
        print(f"replicate reference: {error}", file=sys.stderr)
        status = 2
    except OSError as error:
        where = f"cannot use {error.filename}: " if error.filename else ""
        print(f"replicate reference: {where}{error.strerror or error}.", file=sys.stderr)
        status = 2
    if status:
        raise SystemExit(status)


def _run(arguments: argparse.Namespace) -> int:
    started = time.monotonic()
    if arguments.side_by_side is not None and arguments.side_by_side < 1:
        raise ReplicateError(
            f"--side-by-side {arguments.side_by_side}: a whole number from 1 is needed."
        )
    if arguments.minutes is not None and not 0 < arguments.minutes < 1e6:
        raise ReplicateError(f"--minutes {arguments.minutes:g}: a number above 0 is needed.")
    # Before the plan is read: lists of kept runs need none.
    if arguments.sums is not None:
        return _sums(arguments.sums, arguments.results)
    plan = read_plan(arguments.plan)
    folders = Folders(arguments.folder.absolute(), arguments.results.absolute())
    if arguments.pack is not None:
        return _pack(arguments, plan, folders)
    if arguments.unpack is not None:
        return _unpack(arguments, plan, folders)
    if arguments.tables:
        return _tables(plan, folders)
    if arguments.measure is not None:
        return _measure(arguments, plan, folders, started)
    if arguments.status:
        return _status(arguments, plan, folders)
    return _continue(arguments, plan, folders, started)


def _status(arguments: argparse.Namespace, plan: ReferencePlan, folders: Folders) -> int:
    # Here and below, not above: `--help` and a look at how far runs are load no torch.
    from replicate.reference_runs.overview import lines, standings

    blocks = blocks_of(plan, folders)
    at_once = arguments.side_by_side or usable_cores()
    print(f"{arguments.plan}:", end=" ")
    print(*lines(standings(blocks), at_once), sep="\n")
    return 0


def _sums(runs: Sequence[Path], results: Path) -> int:
    """Writes the lists of files of kept results anew, by default of all."""
    from replicate.records.kept_runs import LIST, PARAMETERS, kept_below, renew

    tuning = results.parent / "tuning"
    for run in runs or [*kept_below(results), *kept_below(tuning)]:
        if not run.is_dir():
            raise ReplicateError(
                f"--sums {run}: there is no such folder; name the folder of a kept run."
            )
        # The project's own folder has a parameter file too, and all of its files are no results.
        is_project = (run / "replicate").is_dir()
        if is_project or not ((run / PARAMETERS).is_file() or (run / LIST).is_file()):
            raise ReplicateError(
                f"--sums {run}: it is no kept run, which has a {PARAMETERS} or a list already."
            )
        changed = renew(run)
        if changed:
            print(
                f"reference: {run / LIST}: {len(changed)} files are new, changed or gone, "
                f"first {changed[0]}"
            )
    return 0


def _tables(plan: ReferencePlan, folders: Folders) -> int:
    for entry in plan.entries:
        if any((folders.results / entry.name).glob("*/*/train.json")):
            _write_table(folders, entry.name)
    return 0


def _is_current(result: Path, files: Mapping[str, Path], names: Iterable[str]) -> bool:
    """Whether what is made of an entry's results was made of these, and its run's list agrees.

    After a kill between the results of a block and the table it was not, and no later block may
    come to bring it up to date.

    Args:
        result: the table or the ranks.
        files: name -> result that it should be made of.
        names: of the files that are written with it.
    """
    from replicate.records.kept_runs import read_sums
    from replicate.storage.files import read_json, sha256_file

    run = result.parent
    try:
        inputs = read_json(result)["inputs"]
        listed = read_sums(run)
        for name, path in files.items():
            if inputs[name] != sha256_file(path):
                return False
        for name in names:
            if listed is not None and listed[name] != sha256_file(run / name):
                return False
    except (ReplicateError, OSError, LookupError, TypeError):
        return False
    # Nor of results that are gone: rules and published numbers stand among the inputs too.
    made_of = [name for name in inputs if name.startswith(OF_RESULTS)]
    return len(made_of) == len(files)


def _renew_tables(plan: ReferencePlan, folders: Folders) -> None:
    """Brings tables up to date that were not made of all results that are here."""
    for entry in plan.entries:
        name = entry.name
        run = folders.results / name
        table = run / TABLE[0]
        results = _table_inputs(run)
        for other in _runs_of_other_lengths(run):
            results |= other
        if results and not _is_current(table, results, TABLE):
            print(f"reference: the table of {name} is not of its results: written anew")
            _write_table(folders, name)


def _write_tables_with(plan: ReferencePlan, folders: Folders, entry: str) -> None:
    """Writes the table of an entry, and those of other entries that its results decide too.

    Runs of half and of twice the epochs stand in the table of the run that they are half or twice
    of (docs/protocol.md, section 8).
    """
    _write_table(folders, entry)
    _renew_tables(plan, folders)


def _write_table(folders: Folders, entry: str) -> None:
    """Writes the table of an entry from all of its blocks whose results are complete.

    Today's code writes it by today's rules; the results are those of each block's own commit.
    """
    from replicate.params import load_params
    from replicate.records.kept_runs import add_to_sums
    from replicate.reference_runs.keeping import sole_writer
    from replicate.stages.table import write_table
    from replicate.storage.paths import package_root

    root = package_root()
    files = {
        "protocol": root / "protocol.yaml",
        "published": root / "results/published/table1.csv",
        "context": root / "results/published/context.csv",
    }
    run = folders.results / entry
    # Another reference run on the same folder may be finishing a block of this entry.
    with sole_writer(folders):
        params = load_params(str(run / "params.yaml"))
        others = _runs_of_other_lengths(run)
        write_table(params, _table_inputs(run), files, {}, run / TABLE[0], others)
        add_to_sums(run, {}, TABLE)


def _table_inputs(run: Path) -> dict[str, Path]:
    """Name in the table -> file, of all results of a kept run that its table shows."""
    results = {}
    for name in ("evaluation.json", "train.json", "samplers.json"):
        for path in sorted(run.glob(f"*/*/{name}")):
            # `train.json` is written last: without it the block is not complete.
            if (path.parent / "train.json").is_file():
                results[_name_in_table(path, run)] = path
    return results


def _name_in_table(path: Path, run: Path) -> str:
    """The name that a table has for a result of a kept run."""
    relative = path.relative_to(run.parent).as_posix()
    return f"{OF_RESULTS}{relative}"


def _runs_of_other_lengths(run: Path) -> list[dict[str, Path]]:
    """Name in the table -> file, of the evaluations and trainings of every kept run beside this one
    that has a recipe of it with half or twice the epochs (docs/protocol.md, section 8).
    """
    from replicate.storage.paths import package_root
    from replicate.verdicts.protocol import read_protocol
    from replicate.verdicts.whole_runs import is_other_length

    rules = read_protocol(package_root() / "protocol.yaml").rising
    runs = []
    for other in sorted(run.parent.glob("*/")):
        files = {}
        for model in rules.whole_runs:
            own = _trainings(run, model)
            for path, training in _trainings(other, model).items():
                evaluation = path.with_name("evaluation.json")
                # As in the run's own table, a block without its evaluation has measured nothing.
                if not evaluation.is_file():
                    continue
                if any(is_other_length(each, training) for each in own.values()):
                    for file in (path, evaluation):
                        files[_name_in_table(file, other)] = file
        if files:
            runs.append(files)
    return runs


def _trainings(run: Path, model: str) -> dict[Path, Training]:
    """The trainings of a model in a kept run, by their files."""
    from replicate.records.frame import checked_result
    from replicate.storage.files import read_json

    trainings = {}
    for path in sorted(run.glob(f"{model}/*/train.json")):
        trainings[path] = checked_result(read_json(path), Training, path)
    return trainings


def _measure(
    arguments: argparse.Namespace, plan: ReferencePlan, folders: Folders, started: float
) -> int:
    from replicate.reference_runs.measuring import measure_blocks
    from replicate.reference_runs.sources import present

    names = [entry.name for entry in plan.entries]
    for name in arguments.measure:
        if name not in names:
            raise ReplicateError(f"--measure {name}: the plan has the entries {', '.join(names)}.")
    end_at = None if arguments.minutes is None else started + 60 * arguments.minutes
    os.nice(19)  # children inherit it
    entries = arguments.measure or names
    write_ranks = partial(_write_ranks, folders)
    status = measure_blocks(plan, folders, present(folders), entries, end_at, write_ranks)
    for entry in entries:
        run = folders.results / entry
        files = _ranks_inputs(run)
        # Controls alone, which are measured first, rank nothing.
        if not any(run.glob("*/*/measures.json")):
            continue
        if not _is_current(run / RANKS, files, [RANKS]):
            print(f"reference: the ranks of {entry} are not of its measures: written anew")
            _write_ranks(folders, entry)
    return status


def _ranks_inputs(run: Path) -> dict[str, Path]:
    """Name in the ranks -> file, of all kept measures of a kept run, and of its controls."""
    paths = sorted(run.glob("*/*/measures.json"))
    paths += sorted(run.glob("controls-*.json"))
    files = {}
    for path in paths:
        if not path.name.endswith(".run.json"):
            relative = path.relative_to(run.parent).as_posix()
            files[f"{OF_RESULTS}{relative}"] = path
    return files


def _write_ranks(folders: Folders, entry: str) -> None:
    """Writes the ranks of an entry."""
    from replicate.records.kept_runs import add_to_sums
    from replicate.records.run_record import record_path
    from replicate.reference_runs.keeping import sole_writer
    from replicate.stages.ranks import write_ranks

    run = folders.results / entry
    with sole_writer(folders):
        write_ranks(_ranks_inputs(run), run / RANKS)
        add_to_sums(run, {}, [RANKS, record_path(run / RANKS).name])


def _pack(arguments: argparse.Namespace, plan: ReferencePlan, folders: Folders) -> int:
    from replicate.reference_runs.packing import pack, size_of

    pack(plan, folders, arguments.pack, size_of(arguments.largest), arguments.states)
    return 0


def _unpack(arguments: argparse.Namespace, plan: ReferencePlan, folders: Folders) -> int:
    from replicate.reference_runs.unpacking import unpack

    unpack(plan, folders, arguments.unpack)
    return 0


def _continue(
    arguments: argparse.Namespace, plan: ReferencePlan, folders: Folders, started: float
) -> int:
    """Goes on with the plan's blocks of one device."""
    from replicate.reference_runs.data import prepared
    from replicate.reference_runs.runner import Runner, described
    from replicate.reference_runs.sources import is_checkout, present, uncommitted
    from replicate.storage.paths import package_root

    _renew_tables(plan, folders)
    left = [block for block in blocks_of(plan, folders) if not block.is_finished()]
    if not left:
        print("reference: all blocks of the plan are done.")
        return 0
    source = present(folders)
    machine = described(source, [plan.params_of(entry) for entry in plan.entries])
    device = machine["device"] if arguments.device == "auto" else arguments.device
    if device == "cuda" and machine["device"] != "cuda":
        raise ReplicateError(
            "--device cuda: this torch finds no GPU; leave --device out, or install a CUDA build."
        )
    waiting = deque(block for block in left if block.entry.device == device)
    # A GPU is filled by one block of seeds; several would share its memory and gain nothing.
    at_once = arguments.side_by_side or (1 if device == "cuda" else usable_cores())
    name = f"{machine['device_name']} (cuda)" if device == "cuda" else "the CPU"
    print(
        f"reference: on {name}, {at_once} side by side; "
        f"{len(waiting)} blocks left for it, {len(left)} in all"
    )
    if is_checkout(package_root()) and uncommitted(package_root()):
        print(
            "note: what is not committed takes no part; new blocks start from the last commit.",
            file=sys.stderr,
        )
    if source.commit is None:
        print(
            "note: git cannot say here which commit this is, so the results name none.",
            file=sys.stderr,
        )
    # Before any block starts: blocks side by side read the same files.
    for dataset in sorted({block.dataset for block in waiting}):
        prepared(dataset, plan.datasets.get(dataset, {}), folders, source)
    extends = {}
    for entry, facts in zip(plan.entries, machine["entries"], strict=True):
        for model, is_extended in facts["extends"].items():
            extends[entry.name, model] = is_extended
    os.nice(19)  # children inherit it
    write_table = partial(_write_tables_with, plan, folders)
    runner = Runner(folders, waiting, at_once, extends, arguments.checkpoint_every, write_table)
    if arguments.minutes is not None:
        seconds = 60 * arguments.minutes
        # From the start of the command: reading the plan and preparing data are part of the time.
        runner.end_at = started + seconds
        runner.stop_at = runner.end_at - min(RESERVE * seconds, RESERVE_SECONDS)
    if runner.run():
        # Stopped by a signal: it ends as any command that was, with status 130.
        raise KeyboardInterrupt
    print(
        f"reference: {runner.finished} finished, {runner.troubled} in trouble; "
        "`--status` shows what is left"
    )
    return 1 if runner.troubled else 0
