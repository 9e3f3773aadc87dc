"""Judges every claim again under all combinations of an analyst's defensible choices.

  python -m replicate multiverse                    # this run, if there is one, and kept runs
  python -m replicate multiverse E1 T1/mnist/dbn    # some claims
  python -m replicate multiverse --json multiverse.json
  python -m replicate multiverse --renew            # what the page shows of the kept runs

It reads kept result files alone: nothing is trained, and it takes seconds. The choices, each with
its reason, are in replicate/multiverse/choices.yaml (docs/multiverse.md): epoch, bandwidth,
sampler, seeds, error, test, margin, level, and what withholds a verdict. Printed are for each claim
and run the verdict of the protocol's own analysis, in how many analyses each verdict comes out, and
every single choice that leads away from the protocol's.

This is no evidence and changes no verdict: the analyses share their data, nobody holds all of them
to be equally good, and another list of choices has other counts. It tells how much of a verdict is
the analyst's.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from replicate.errors import ReplicateError
from replicate.jobs.seal import check_sealed
from replicate.jobs.subject import WHOLE_RUN, source_digest
from replicate.multiverse.choices import FILE, Choices, read_choices
from replicate.multiverse.runs import OWN_RUN, RunClaim, number_claims, statement_claims
from replicate.records.frame import frame_of
from replicate.records.kept_runs import keep_in_list
from replicate.records.schema import Multiverse, MultiverseClaim, MultiverseParameters
from replicate.storage.files import write_json
from replicate.storage.paths import home_path, output_path
from replicate.verdicts.protocol import Protocol, read_protocol

#: What the page shows, below the folder of results.
FOR_THE_PAGE = "reference/multiverse.json"
NO_EVIDENCE = (
    "No evidence: the analyses share their data, and the counts depend on which choices are listed."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the tool's arguments."""
    parser.add_argument(
        "claims",
        nargs="*",
        metavar="CLAIM",
        help="names in protocol.yaml, such as H1 or T1/mnist/dbn (default: all)",
    )
    parser.add_argument(
        "--results",
        type=home_path,
        default=Path("results"),
        metavar="FOLDER",
        help="results of the run, with kept runs below reference/ (default: results)",
    )
    parser.add_argument("--protocol", type=home_path, default=Path("protocol.yaml"))
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", type=home_path, metavar="FILE", help="write the counts")
    output.add_argument(
        "--renew",
        action="store_true",
        help=f"write those of all kept runs into {FOR_THE_PAGE} of the results, for the page",
    )


def _claims(
    results: Path, protocol: Protocol, choices: Choices, names: Sequence[str]
) -> list[RunClaim]:
    """What is to be judged again.

    Raises:
        ReplicateError: there is nothing, or nothing of a claim that was asked for.
    """
    # A table that was edited by hand since its job would be counted as a verdict.
    for name in ("table1.json", "statements.json"):
        check_sealed(results / name)
    claims = [
        *number_claims(results, protocol, choices),
        *statement_claims(results, protocol, choices),
    ]
    if not claims:
        raise ReplicateError(
            f"{results} holds no measured claim; give the folder of a run with --results."
        )
    measured = {claim.name for claim in claims}
    unknown = [name for name in names if name not in measured]
    if unknown:
        raise ReplicateError(
            f"no run below {results} measured {unknown[0]}; measured are: "
            f"{', '.join(sorted(measured))}."
        )
    return [claim for claim in claims if not names or claim.name in names]


def multiverse(
    results: Path, protocol_file: Path, names: Sequence[str], own_run: bool = True
) -> Multiverse:
    """All that the command tells, as its file has it.

    Args:
        results: folder of a run's results.
        protocol_file: the rules.
        names: claims; empty for all.
        own_run: whether the folder's own run counts, beside the kept ones.
    """
    protocol = read_protocol(protocol_file)
    choices = read_choices()
    inputs = {"protocol": protocol_file, "choices": FILE}
    counted = []
    for claim in _claims(results, protocol, choices, names):
        # The kept file is of kept runs alone: an own run differs from machine to machine.
        if claim.run == OWN_RUN and not own_run:
            continue
        relative = claim.path.relative_to(results).as_posix()
        file = f"results/{relative}"
        # Every file that was judged, so that the page shows no counts of another version of it.
        inputs[file] = claim.path
        counted.append(claim.counted(choices, file))
    parameters: MultiverseParameters = {"claims": list(names)}
    code = source_digest("multiverse", WHOLE_RUN)
    return {
        **frame_of(code, parameters, inputs),
        "stage": "multiverse",
        "parameters": parameters,
        "claims": counted,
    }


def run(arguments: argparse.Namespace) -> None:
    """Prints every claim, and writes what was asked for."""
    out = arguments.json
    if arguments.renew:
        out = arguments.results / FOR_THE_PAGE
        # The page would lose every claim that is not named.
        if arguments.claims:
            raise ReplicateError("--renew counts all claims; name none, or write to --json FILE.")
    if out is not None:
        output_path(out)
    own_run = not arguments.renew
    content = multiverse(arguments.results, arguments.protocol, arguments.claims, own_run)
    if out is not None:
        write_json(out, content)
        keep_in_list(out)
    for claim in content["claims"]:
        print("\n".join(_lines(claim)))
    analyses = sum(claim["analyses"] for claim in content["claims"])
    print(f"multiverse: {analyses:,} analyses of {len(content['claims'])} verdicts. {NO_EVIDENCE}")


def _lines(claim: MultiverseClaim) -> Iterator[str]:
    """What is printed of one claim."""
    yield (
        f"{claim['claim']} [{claim['run']}]: {claim['state']} "
        f"in {claim['agreeing']:,} of {claim['analyses']:,} analyses{_rest(claim)}"
    )
    flips = _flips(claim)
    for state, options in flips.items():
        yield f"  {state}, if only: {'; '.join(options)}"
    if not flips:
        yield "  no single choice leads elsewhere"
    if claim["by_earlier_rule"]:
        yield "  judged by an earlier rule"
    if claim["earlier_verdicts"]:
        verdicts = [f"{each['state']} [{each['run']}]" for each in claim["earlier_verdicts"]]
        yield f"  its rule was changed when verdicts were known: {', '.join(verdicts)}"
    if claim["known_before_the_rule"] is not None:
        yield f"  {claim['known_before_the_rule']}"


def _rest(claim: MultiverseClaim) -> str:
    """The other verdicts, with their counts."""
    counts = []
    for state, count in claim["states"].items():
        if state != claim["state"]:
            counts.append(f"{state} in {count:,}")
    if not counts:
        return ""
    return f"; {', '.join(counts)}"


def _flips(claim: MultiverseClaim) -> dict[str, list[str]]:
    """Verdict -> the single choices that lead to it."""
    options: dict[str, list[str]] = {}
    for flip in claim["flips"]:
        options.setdefault(flip["state"], []).append(flip["option"])
    return options
