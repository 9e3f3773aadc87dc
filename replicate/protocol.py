"""The rules of `protocol.yaml`: typed, one entry a claim, each with a hash that results carry."""

from pathlib import Path
from typing import Literal

from pydantic import PositiveFloat, PositiveInt

from replicate.errors import ReplicateError
from replicate.files import sha256_json
from replicate.params import Section, checked, read_document


class Estimate(Section):
    """The estimate that published values are compared with (docs/protocol.md, section 1)."""

    samples: PositiveInt
    validation: PositiveInt
    sigmas: tuple[PositiveFloat, ...]


class Entry(Section):
    """The rule of one claim of the kind "equivalence" (docs/protocol.md, section 3). Margins in nats."""

    kind: Literal["equivalence"]
    number_margin: PositiveFloat
    claim_margin: PositiveFloat
    seeds: PositiveInt
    minimum_seeds: PositiveInt
    original_df: PositiveFloat | None


class Protocol(Section):
    """The whole file."""

    version: Literal[1]
    estimate: Estimate
    claims: dict[str, Entry]

    def sha256(self, claim: str) -> str:
        """The hash of a claim's own entry and the estimate: a change of another entry leaves it as it is."""
        return sha256_json([self.claims[claim].model_dump(mode="json"), self.estimate.model_dump(mode="json")])


def read_protocol(path: Path) -> Protocol:
    """Reads and checks the file; faults are named with their path in it."""
    raw, where = read_document(str(path))
    if not isinstance(raw, dict):
        raise ReplicateError(f"{where}: the protocol must be a mapping with `version` and `claims`.")
    return checked(Protocol, raw, where)
