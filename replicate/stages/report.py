"""Renders the report, one self-contained HTML file, from the result files.

  python -m replicate report --params params.yaml --table results/table1.json --results results \\
      --out report/index.html --play report/play.html

`--play` renders the play page too (`python -m replicate play --help`), and the report links to it.

The parameters name the data sets, models and blocks of seeds whose results are shown.

Another run can stand beside this one: of another preset, machine or version, with other seeds or
edited parameters.

  python -m replicate report --params params.yaml --table results/table1.json --results results \\
      --out report/compared.html --compare ../another-run

`--compare` takes the project folder or the results folder of that run, which is only read, or a
reference run, such as results/reference/mnist-1-seed. The page gets the section "Beside another
run": the settings that differ, the rows of Table 1 with the difference of their means, and every
claim with both verdicts. What is computed for it lies in report/compared.comparison.json, beside
the page. Give the page a name of its own, as here: the pipeline keeps report/index.html, without
that section.
"""

import argparse
import os
from contextlib import nullcontext
from pathlib import Path

from replicate.comparison.beside import read_beside
from replicate.errors import ReplicateError, understanding
from replicate.jobs.digests import Digests
from replicate.jobs.job_list import JobList
from replicate.jobs.plan import Plan
from replicate.jobs.seal import was_sealed
from replicate.jobs.standing import DIGESTS, Standing
from replicate.params import read_document
from replicate.records.earlier_names import refuse_old_statements
from replicate.records.kept_runs import check_kept, kept_folders
from replicate.report.page import PlayLink, page
from replicate.report.play_page import generator_of, play_page
from replicate.report.rounded_generator import KeptGenerator
from replicate.stages.job import StageJob
from replicate.storage.files import atomic_write, canonical_json
from replicate.storage.paths import output_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of the stage."""
    parser.add_argument(
        "--params", required=True, help="parameter file, or its content as a JSON object"
    )
    parser.add_argument("--table", required=True, type=Path, help="table1.json")
    parser.add_argument(
        "--results", required=True, type=Path, help="folder that holds the other result files"
    )
    parser.add_argument("--out", required=True, type=Path, help="HTML file to write")
    parser.add_argument(
        "--play",
        type=Path,
        metavar="FILE",
        help="write the play page there, below the folder of --out, and link to it",
    )
    parser.add_argument(
        "--compare",
        type=Path,
        metavar="OTHER",
        help="project folder or results folder of another run, to be shown beside this one "
        "(never written to)",
    )


def _check_kept(results: Path) -> None:
    """Refuses to show kept runs that are not what their lists say."""
    for folder in kept_folders(results):
        refuse_old_statements(folder)
        check_kept(folder)


def _check_bytes(jobs: JobList, results: Path) -> bool:
    """Reads every byte of what is shown, and refuses files that are not what their records say.

    Only below the folder `results` of the project, which an engine fills; a kept or copied folder
    has its own records.

    Returns:
        Whether every job that is shown has such a record.
    """
    if results != Path("results"):
        return False
    findings = Standing(jobs, Digests(DIGESTS, fresh=True)).broken(jobs.before_page)
    if findings:
        raise ReplicateError(
            f"the page is not made: {findings[0].reason}; `snakemake --cores all` makes it anew, "
            "and `python -m replicate check` names all such files."
        )
    return all(was_sealed(Path(job.record)) for job in jobs.before_page)


def _link(out: Path, play: Path, generator: KeptGenerator | None) -> PlayLink:
    """What the page says of the play page."""
    # Relative, so that both pages can be moved together, and opened from a disk.
    address = Path(os.path.relpath(play, out.parent)).as_posix()
    return PlayLink(address, generator.result if generator is not None else None)


def run(arguments: argparse.Namespace) -> None:
    """Writes the page, the play page if one is asked for, and what was computed to compare another
    run with this one.
    """
    job = StageJob("report")
    raw, where = read_document(arguments.params)
    jobs = JobList(Plan(raw, where))
    out = arguments.out
    if arguments.play is not None:
        output_path(arguments.play)
        if os.path.realpath(arguments.play) == os.path.realpath(out):
            raise ReplicateError(f"--out and --play both name {out}; name two files.")
    _check_kept(arguments.results)
    is_sealed = _check_bytes(jobs, arguments.results)
    refuse_old_statements(arguments.results)
    files = f"a file below {arguments.results}"
    texts: dict[Path, str] = {}
    link = None
    if arguments.play is not None:
        generator = generator_of(arguments.results)
        texts[arguments.play] = play_page(generator)
        link = _link(out, arguments.play, generator)
    if arguments.compare is None:
        # A file with the bytes that its stage wrote cannot be at fault: a failure is a defect of
        # this project, and keeps its traceback.
        with nullcontext() if is_sealed else understanding(files):
            text = page(jobs, arguments.table, arguments.results, play=link)
    else:
        numbers = out.with_name(f"{out.stem}.comparison.json")
        with understanding(f"{files} or {arguments.compare}"):
            beside = read_beside(
                arguments.table, arguments.results, arguments.compare, numbers.name
            )
            text = page(jobs, arguments.table, arguments.results, beside=beside, play=link)
        texts[numbers] = canonical_json(beside.content)
    texts[out] = text
    # Both pages or none: a link must not lead to the play page of an earlier run.
    with atomic_write(*texts) as temporaries:
        for temporary, content in zip(temporaries, texts.values(), strict=True):
            temporary.write_text(content, encoding="utf-8")
    kibibytes = len(text.encode()) / 1024
    job.close(out, f"report: {out} ({kibibytes:.0f} KiB)")
