"""Packs a finished run as one file that others can read, check and cite: a Provenance Run Crate
(RO-Crate 1.1).

  python -m replicate crate --out run.zip
  python -m replicate crate --params presets/smoke.yaml --out run-folder
  python -m replicate crate --agent "Ada Lovelace" --out signed.zip

In it are every result with its record, the page, the parameters, the protocol, the published and
the kept values, and the workflow; `ro-crate-metadata.json` describes every job: its command, what
it read and made with digests, its times, and the versions of its software. `python
tools/recompute.py` in the unpacked crate computes every verdict again, without torch.

Prepared images, weights and samples are named by their digests and left out: they hold images of a
data set, or may, and are nearly all bytes of a run. --tensors takes them along; whoever sends them
on needs the right to.

Every byte of the run is read and judged first, as `python -m replicate check` does. A name that
ends in .zip is a zip file, any other a folder. The same run gives the same bytes.
"""

import argparse
import re
from pathlib import Path

from replicate.crate.finished import finished_jobs
from replicate.crate.graph import Agent, Citation, CrateGraph
from replicate.crate.payload import check_target, crate_files, write_crate
from replicate.errors import ReplicateError
from replicate.jobs.job_list import JobList
from replicate.jobs.plan import Plan
from replicate.params import read_document
from replicate.storage.documents import read_yaml
from replicate.storage.files import canonical_json

CITATION = Path("CITATION.cff")
#: A name, with an address in angle brackets or without.
AGENT = re.compile(r"\s*(?P<name>[^<>]*[^<>\s])\s*(<(?P<address>https?://[^<>\s]+)>)?\s*")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the tool's arguments."""
    parser.add_argument(
        "--params", default="params.yaml", help="parameter file of the run (default: params.yaml)"
    )
    parser.add_argument(
        "--tensors",
        action="store_true",
        help="also the prepared images, the weights and the samples",
    )
    parser.add_argument(
        "--agent",
        type=_agent,
        metavar="NAME",
        help="who started the run, if it is to be said: a name, with an address in <> or without",
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="a zip file, or a folder; must not be there"
    )


def run(arguments: argparse.Namespace) -> None:
    """Writes the crate, and says what is in it."""
    # Before every byte of the run is read, which may take minutes.
    check_target(arguments.out)
    raw, where = read_document(arguments.params)
    jobs = JobList(Plan(raw, where))
    citation = _citation()
    finished = finished_jobs(jobs)
    parameters = _parameter_file(arguments.params, raw)
    files = crate_files(finished, parameters, with_tensors=arguments.tensors)
    preset = jobs.plan.params.preset
    graph = CrateGraph(preset, finished, files, citation, arguments.agent)
    write_crate(arguments.out, graph.text(), files)
    travelling = [file for file in files if file.travels]
    megabytes = sum(file.size for file in travelling) / 1e6
    print(
        f"crate: {len(finished)} jobs, {len(travelling)} files of {megabytes:.1f} MB, "
        f"{len(files) - len(travelling)} more by digest -> {arguments.out}"
    )


def _agent(text: str) -> Agent:
    """A person as `--agent` names one.

    Raises:
        argparse.ArgumentTypeError: there is no name, or what is in <> is no address.
    """
    match = AGENT.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no name, nor a name and an address such as 'Ada <https://example.org>'"
        )
    return Agent(match["name"], match["address"])


def _citation() -> Citation:
    """What CITATION.cff says of licence, authors and paper.

    Raises:
        ReplicateError: it is not there, or lacks one of them.
    """
    if not CITATION.is_file():
        raise ReplicateError(f"there is no {CITATION} here; run this in the folder of the project.")
    content = read_yaml(CITATION)
    missing = set(Citation.__required_keys__) - set(content)
    if missing:
        names = ", ".join(sorted(missing))
        raise ReplicateError(f"{CITATION} has no {names}, which a crate names; add it there.")
    citation: Citation = content
    return citation


def _parameter_file(text_or_path: str, raw: object) -> bytes:
    """The parameter file as it is, with its comments; inline JSON is written out."""
    # As `params.read_document` tells a file from inline JSON.
    if text_or_path.lstrip().startswith("{"):
        return canonical_json(raw).encode()
    return Path(text_or_path).read_bytes()
