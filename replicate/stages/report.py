"""Renders the report, one self-contained HTML file, from the result files.

  python -m replicate report --params params.yaml --table results/table1.json --results results --out report/index.html

The parameters name the data sets, models and blocks of seeds whose results are shown.

Another run beside this one: of another preset, machine or version, with other seeds or edited parameters.

  python -m replicate report --params params.yaml --table results/table1.json --results results \\
      --out report/compared.html --compare ../another-run

`--compare` takes the project folder or the results folder of that run, which is only read, or a reference run, such as
results/reference/mnist-1-seed. The page gets the section "Beside another run": the settings that
differ, the rows of Table 1 with the difference of their means, and every claim with both verdicts. What is computed
for it lies in report/compared.comparison.json, beside the page. Give the page a name of its own, as here: the
pipeline keeps report/index.html, without that section.
"""

import argparse
from contextlib import nullcontext
from pathlib import Path

from replicate.comparison.beside import read_beside
from replicate.errors import ReplicateError, understanding
from replicate.files import canonical_json, replacing, write_text
from replicate.jobs.digests import Digests
from replicate.jobs.seal import was_sealed
from replicate.jobs.standing import DIGESTS, Standing
from replicate.jobs.table import Jobs
from replicate.kept import check_kept
from replicate.params import load_params, read_document
from replicate.plan import Plan
from replicate.report import page
from replicate.runrecord import RunRecord


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of the stage."""
    parser.add_argument("--params", required=True, help="parameter file, or its content as a JSON object")
    parser.add_argument("--table", required=True, type=Path, help="table1.json")
    parser.add_argument("--results", required=True, type=Path, help="folder that holds the other result files")
    parser.add_argument("--out", required=True, type=Path, help="HTML file to write")
    parser.add_argument(
        "--compare",
        type=Path,
        metavar="OTHER",
        help="project folder or results folder of another run, to be shown beside this one (never written to)",
    )


def _check_kept(results: Path) -> None:
    """Refuses to show kept runs that are not what their lists say."""
    for document in sorted((results / "reference").rglob("params.yaml")):
        check_kept(document.parent)


def _check_bytes(params: str, results: Path) -> bool:
    """Refuses to show what is not what its records say; reads every byte.

    Only of the folder `results` of the project, which an engine fills; a kept or copied folder has its own records.

    Returns:
        Whether every job that is shown has such a record.
    """
    if results != Path("results"):
        return False
    jobs = Jobs(Plan(*read_document(params)))
    found = Standing(jobs, Digests(DIGESTS, fresh=True)).broken(jobs.shown)
    if found:
        raise ReplicateError(
            f"the page is not made: {found[0].reason}; `snakemake --cores all` makes it anew, and "
            "`python -m replicate check` names all such files."
        )
    return all(was_sealed(Path(job.record)) for job in jobs.shown)


def run(arguments: argparse.Namespace) -> None:
    """Writes the page, and beside it what was computed to compare another run with this one."""
    record = RunRecord("report")
    params, out = load_params(arguments.params), arguments.out
    _check_kept(arguments.results)
    whole = _check_bytes(arguments.params, arguments.results)
    files = f"a file below {arguments.results}"
    if arguments.compare is None:
        # Files with the bytes that their stages wrote are no reason to fail: that would be a defect of this project.
        with nullcontext() if whole else understanding(files):
            text = page(params, arguments.table, arguments.results)
        write_text(out, text)
    else:
        numbers = out.with_name(f"{out.stem}.comparison.json")
        with understanding(f"{files} or {arguments.compare}"):
            beside = read_beside(arguments.table, arguments.results, arguments.compare, numbers.name)
            text = page(params, arguments.table, arguments.results, beside=beside)
        with replacing(out, numbers) as (html, json):
            html.write_text(text, encoding="utf-8")
            json.write_text(canonical_json(beside.content), encoding="utf-8")
    record.write(out)
    print(f"report: {arguments.out} ({len(text.encode()) / 1024:.0f} KiB)")
