"""The rules of `protocol.yaml`: typed, one entry a claim, each with a hash that results carry."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, PositiveFloat, PositiveInt, Tag, model_validator

from replicate.errors import ReplicateError
from replicate.files import sha256_json
from replicate.params import Section, checked, read_document
from replicate.sampling.settings import Sampler, SamplerName


class Estimate(Section):
    """The estimate that a data set's published values are compared with (docs/protocol.md, section 1).

    `validation` images choose the bandwidth; null: all of each fold's.
    """

    samples: PositiveInt
    validation: PositiveInt | None
    folds: PositiveInt
    sigmas: tuple[PositiveFloat, ...]


class End(Section):
    """Where a recipe ends, by a source that is not the result."""

    epochs: PositiveInt
    source: str


class Rising(Section):
    """When a training had not ended (docs/protocol.md, section 8); shares of the run, and nats.

    Attributes:
        smoothed_over: looks are smoothed over this share of the run.
        over: the share at the end over which the curve may not rise,
        otherwise: by more than the published standard error, or by this much where there is none.
        ends: data set -> model -> an end that was fixed beforehand, for which nothing is asked.
    """

    smoothed_over: PositiveFloat
    over: PositiveFloat
    otherwise: PositiveFloat
    ends: dict[str, dict[str, End]]

    def end(self, dataset: str, model: str) -> End | None:
        """The end that was fixed for a row, if one was."""
        return self.ends.get(dataset, {}).get(model)


class SamplerRules(Section):
    """Which samplers of Markov chains are looked at, and what they must show (docs/protocol.md, section 7).

    Attributes:
        decides: measures the published number, and chooses the epoch.
        beside: speaks of the model, if its chains have forgotten their start.
        longer: the same with ten times the burn-in.
        draws: of each, over all seeds, that the rules ask for.
        remembered_start: the correlation with the starting image that the last image may still have.
        rows: model -> name -> the sampler.
    """

    decides: SamplerName
    beside: SamplerName
    longer: SamplerName
    draws: PositiveInt
    remembered_start: PositiveFloat
    rows: dict[str, dict[SamplerName, Sampler]]

    def deciding(self, model: str) -> Sampler | None:
        """The sampler that measures a row's published number; None for rows that no chain samples."""
        return self.rows[model][self.decides] if model in self.rows else None


class Rule(Section):
    """What every entry has: its data set, and how many seeds it takes."""

    dataset: str
    seeds: PositiveInt
    minimum_seeds: PositiveInt


class Equivalence(Rule):
    """A published number (docs/protocol.md, section 3). Margins in nats."""

    kind: Literal["equivalence"]
    number_margin: PositiveFloat
    claim_margin: PositiveFloat
    original_df: PositiveFloat | None


class Directional(Rule):
    """A published ordering (docs/protocol.md, section 4): `model` is ahead of some models and behind others.

    `awaits` says what the rule compares that does not exist yet; until then the verdict is withheld, in these words.
    """

    kind: Literal["directional"]
    model: str
    ahead_of: tuple[str, ...]
    behind: tuple[str, ...]
    awaits: str | None = None

    @property
    def rivals(self) -> tuple[str, ...]:
        """Every model that `model` is compared with."""
        return self.ahead_of + self.behind


class Check(Section):
    """One number that a statement of the paper turns on, and where it must lie.

    Attributes:
        reads: what is measured, with its unit.
        below, above: the threshold; one of them.
        exact: a single number that either lies there or not; otherwise one number a seed, whose mean must.
    """

    reads: str
    below: float | None = None
    above: float | None = None
    exact: bool = False

    @model_validator(mode="after")
    def _one_threshold(self) -> Self:
        if (self.below is None) == (self.above is None):
            raise ValueError("a check needs either `below` or `above`")
        return self

    @property
    def threshold(self) -> float:
        """Where the number must lie below or above."""
        return self.below if self.below is not None else self.above  # type: ignore[return-value]

    @property
    def sign(self) -> int:
        """1 if the number must be large, -1 if it must be small."""
        return 1 if self.below is None else -1


class Statement(Section):
    """What the paper says beside Table 1 (docs/protocol.md, section 6): all of its checks must hold.

    Attributes:
        section: of the paper.
        says: the claim in our own words.
        seeds, minimum_seeds: of the checks that are not exact.
        awaits: what no experiment of this version measures yet, so that the statement is not attempted.
        over: what a check that is not exact has one number of.
    """

    section: str
    says: str
    seeds: PositiveInt = 10
    minimum_seeds: PositiveInt = 6
    awaits: str | None = None
    over: Literal["seeds", "trials"] = "seeds"
    checks: dict[str, Check] = Field(min_length=1)


def _kind(entry: Any) -> Any:
    return entry.get("kind") if isinstance(entry, Mapping) else getattr(entry, "kind", None)


Entry = Annotated[
    Annotated[Equivalence, Tag("equivalence")] | Annotated[Directional, Tag("directional")], Discriminator(_kind)
]


class Protocol(Section):
    """The whole file.

    `earlier` has the SHA-256 of the file as it was in earlier versions.
    """

    version: Literal[4]
    earlier: dict[str, Annotated[str, Field(pattern="^[0-9a-f]{64}$")]] = Field(default_factory=dict)
    estimates: dict[str, Estimate]
    samplers: SamplerRules
    rising: Rising
    claims: dict[str, Entry]
    statements: dict[str, Statement]

    @model_validator(mode="after")
    def _every_claim_has_an_estimate(self) -> Self:
        for claim, entry in self.claims.items():
            if entry.dataset not in self.estimates:
                raise ValueError(f"claims.{claim}: `estimates` has no entry {entry.dataset!r}")
        return self

    def estimate(self, claim: str) -> Estimate:
        """The estimate that the claim is about."""
        return self.estimates[self.claims[claim].dataset]

    def equivalence(self, claim: str) -> Equivalence:
        """The rule of a published number; another kind, or none, is refused."""
        entry = self.claims.get(claim)
        if not isinstance(entry, Equivalence):
            raise ReplicateError(f"protocol.yaml has no equivalence entry {claim}; add its rule before the run.")
        return entry

    @property
    def directional(self) -> dict[str, Directional]:
        """The rules of published orderings."""
        return {claim: entry for claim, entry in self.claims.items() if isinstance(entry, Directional)}

    def _models(self, claim: str) -> tuple[str, ...]:
        """The rows that a claim is about."""
        entry = self.claims[claim]
        return (entry.model, *entry.rivals) if isinstance(entry, Directional) else (claim.rsplit("/", 1)[-1],)

    def sha256(self, claim: str) -> str:
        """The hash of all that decides a claim: its entry and estimate, the samplers and ends of its rows.

        A change of another entry leaves it as it is.
        """
        entry, names = self.claims[claim], self._models(claim)
        samplers = self.samplers.model_dump(mode="json")
        samplers["rows"] = {model: rules for model, rules in samplers["rows"].items() if model in names}
        rising = self.rising.model_dump(mode="json")
        rising["ends"] = {model: end for model, end in rising["ends"].get(entry.dataset, {}).items() if model in names}
        return sha256_json(
            [entry.model_dump(mode="json"), self.estimate(claim).model_dump(mode="json"), samplers, rising]
        )

    def statement_sha256(self, claim: str) -> str:
        """The hash of a statement's own entry; what version 4 has added counts where it is used."""
        entry = self.statements[claim].model_dump(mode="json")
        for name, unused in (("awaits", None), ("over", "seeds")):
            if entry[name] == unused:
                del entry[name]
        return sha256_json(entry)


def read_protocol(path: Path) -> Protocol:
    """Reads and checks the file; faults are named with their path in it."""
    raw, where = read_document(str(path))
    if not isinstance(raw, dict):
        raise ReplicateError(
            f"{where}: the protocol must be a mapping with `version`, `estimates`, `claims` and `statements`."
        )
    return checked(Protocol, raw, where)
