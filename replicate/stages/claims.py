"""Puts every claim of the paper beside what was measured, with its verdict by protocol.yaml.

  python -m replicate claims --params params.yaml --protocol protocol.yaml \\
      --out results/claims.json results/experiments/theory.json
"""

import argparse
from pathlib import Path
from typing import Any

from replicate.claims import build_claims, counts
from replicate.codedigest import code_digest
from replicate.errors import ReplicateError, understanding
from replicate.files import write_json
from replicate.params import load_params
from replicate.protocol import read_protocol
from replicate.result import read_result, result
from replicate.runrecord import RunRecord


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the stage's arguments."""
    parser.add_argument("--params", required=True, help="parameter file, or inline JSON")
    parser.add_argument("--protocol", type=Path, default=Path("protocol.yaml"))
    parser.add_argument("--out", type=Path, required=True, help="result (JSON)")
    parser.add_argument("experiments", type=Path, nargs="*", help="results of the stage `experiment`")


def run(arguments: argparse.Namespace) -> None:
    """Writes the claims and the run record."""
    record = RunRecord("claims")
    params, protocol = load_params(arguments.params), read_protocol(arguments.protocol)
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for path in arguments.experiments:
        content = read_result(path, "experiment")
        with understanding(path):
            for claim in content["checks"]:
                if claim in found:
                    raise ReplicateError(f"{path} and {found[claim][0]} both decide {claim}; give one of them.")
                found[claim] = (str(path), content)
    with understanding(" or ".join(map(str, arguments.experiments))):
        claims = build_claims(protocol, found)
    inputs = {"protocol": arguments.protocol, **{str(path): path for path in arguments.experiments}}
    content = result(
        "claims", code_digest(["replicate.stages.claims"]), {"preset": params.preset}, inputs,
        preset=params.preset, claims=claims, counts=counts(claims),
    )  # fmt: skip
    write_json(arguments.out, content)
    record.write(arguments.out)
    print(f"claims: {', '.join(f'{count} {state}' for state, count in content['counts'].items())} -> {arguments.out}")
