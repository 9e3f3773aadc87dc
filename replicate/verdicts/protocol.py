"""The rules of `protocol.yaml`, typed.

One entry a claim of Table 1 or a statement, each with a hash that results carry.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, PositiveFloat, PositiveInt, Tag, model_validator

from replicate.errors import ReplicateError
from replicate.models.parts.samplers import Sampler, SamplerName
from replicate.params import Section, checked, read_document
from replicate.storage.files import sha256_json


class Estimate(Section):
    """The estimate of a data set's published values (docs/protocol.md, section 1).

    Attributes:
        samples: of each draw.
        validation: images that choose the bandwidth; None for all of each fold's.
        folds: of the test images.
        sigmas: bandwidths that are tried.
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
    """When a training had not ended (docs/protocol.md, section 8).

    Attributes:
        smoothed_over: share of the run over which looks are smoothed.
        over: share at the end of the run over which the curve may not rise by more than the
            published standard error.
        otherwise: nats that it may rise where there is no published standard error.
        whole_runs: models by whose recipes a shorter run is not the beginning of a longer one: runs
            of half and of twice the epochs decide instead of the curve, where there are such.
        ends: data set -> model -> an end that was fixed beforehand; the curve of a run that ends
            there may rise.
    """

    smoothed_over: PositiveFloat
    over: PositiveFloat
    otherwise: PositiveFloat
    whole_runs: tuple[str, ...]
    ends: dict[str, dict[str, End]]

    def end(self, dataset: str, model: str) -> End | None:
        """The end that was fixed for a row, if one was."""
        ends_on_dataset = self.ends.get(dataset, {})
        return ends_on_dataset.get(model)


class SamplerRules(Section):
    """Which samplers of Markov chains count, and what they must show (docs/protocol.md, section 7).

    Attributes:
        decides: name of the sampler that measures the published number and chooses the epoch.
        beside: name of the one that tells about the model, if its chains forget their start.
        longer: name of the same with ten times the burn-in.
        draws: of each sampler over all seeds, at least.
        remembered_start: correlation of the last image with the starting image, at most.
        rows: model -> name -> the sampler.
    """

    decides: SamplerName
    beside: SamplerName
    longer: SamplerName
    draws: PositiveInt
    remembered_start: PositiveFloat
    rows: dict[str, dict[SamplerName, Sampler]]

    def deciding(self, model: str) -> Sampler | None:
        """The sampler that measures a row's published number; None without Markov chains."""
        if model not in self.rows:
            return None
        return self.rows[model][self.decides]


class Rule(Section):
    """What every entry of Table 1 has: its data set, and how many seeds it takes."""

    dataset: str
    seeds: PositiveInt
    minimum_seeds: PositiveInt


class Equivalence(Rule):
    """The rule of a published number (docs/protocol.md, section 3); margins in nats."""

    kind: Literal["equivalence"]
    number_margin: PositiveFloat
    claim_margin: PositiveFloat
    original_df: PositiveFloat | None


class Directional(Rule):
    """The rule of a published ordering (docs/protocol.md, section 4).

    Attributes:
        model: is compared with all others.
        ahead_of, behind: the models that it is better or worse than in the paper.
        awaits: what the rule compares that does not exist yet; until then the verdict is withheld,
            with these words.
    """

    kind: Literal["directional"]
    model: str
    ahead_of: tuple[str, ...]
    behind: tuple[str, ...]
    awaits: str | None = None

    @property
    def rivals(self) -> tuple[str, ...]:
        """The models that `model` is compared with."""
        return self.ahead_of + self.behind


class Check(Section):
    """One number that a statement of the paper turns on, and where it must lie.

    Attributes:
        reads: what is measured, with its unit.
        below, above: the threshold; one of them.
        exact: whether it is a single number; otherwise it is one number a seed, whose mean is
            tested.
    """

    reads: str
    below: float | None = None
    above: float | None = None
    exact: bool = False

    @model_validator(mode="after")
    def _one_threshold(self) -> Self:
        thresholds = [self.below, self.above]
        if thresholds.count(None) != 1:
            # Two would make an interval, which no test of this project decides.
            raise ValueError("a check needs either `below` or `above`")
        return self

    @property
    def threshold(self) -> float:
        """Where the number must lie below or above."""
        # By `is None`, since 0 is a threshold too.
        threshold = self.above if self.below is None else self.below
        assert threshold is not None
        return threshold

    @property
    def sign(self) -> int:
        """1 if the number must be large, -1 if it must be small."""
        if self.below is None:
            return 1
        return -1


class Statement(Section):
    """What the paper says beside Table 1 (docs/protocol.md, section 6).

    Attributes:
        section: of the paper.
        says: the statement in our own words.
        seeds, minimum_seeds: of the checks that are not exact.
        awaits: what no experiment of this version measures yet; the statement is not attempted.
        over: what the numbers of a check that is not exact are of.
        asks_for: whether all checks must hold, or any one of them, none of which is exact.
        checks: name -> check.
    """

    section: str
    says: str
    seeds: PositiveInt = 10
    minimum_seeds: PositiveInt = 6
    awaits: str | None = None
    over: Literal["seeds", "trials"] = "seeds"
    asks_for: Literal["all", "any"] = "all"
    checks: dict[str, Check] = Field(min_length=1)

    @model_validator(mode="after")
    def _chance_in_any(self) -> Self:
        exact = [name for name, check in self.checks.items() if check.exact]
        if self.asks_for == "any" and exact:
            raise ValueError(f"`asks_for: any` takes no exact checks: {', '.join(exact)}")
        return self


def _kind(entry: object) -> object:
    """The kind of an entry, of the document or already validated."""
    if isinstance(entry, Mapping):
        return entry.get("kind")
    return getattr(entry, "kind", None)


Entry = Annotated[
    Annotated[Equivalence, Tag("equivalence")] | Annotated[Directional, Tag("directional")],
    # By the kind, so that a fault is told once, for the rule that was meant, and not for both.
    Discriminator(_kind),
]


class Protocol(Section):
    """The content of protocol.yaml.

    Attributes:
        version: of the file.
        earlier: version -> SHA-256 of the file as it was.
        estimates: data set -> how its published values were estimated.
        samplers: rules of the rows that Markov chains sample.
        rising: rules of the end of training.
        claims: identifier -> rule of a number or an ordering of Table 1.
        statements: identifier -> rule of what the paper says in words.
    """

    # A file of another version is refused: its rules have other meanings under the same names.
    version: Literal[6]
    earlier: dict[str, Annotated[str, Field(pattern="^[0-9a-f]{64}$")]] = Field(
        default_factory=dict
    )
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
        """The estimate of the claim's data set."""
        dataset = self.claims[claim].dataset
        return self.estimates[dataset]

    def equivalence(self, claim: str) -> Equivalence:
        """The rule of a published number.

        Raises:
            ReplicateError: there is none, or it is of another kind.
        """
        entry = self.claims.get(claim)
        if not isinstance(entry, Equivalence):
            raise ReplicateError(
                f"protocol.yaml has no equivalence entry {claim}; add its rule before the run."
            )
        return entry

    @property
    def directional(self) -> dict[str, Directional]:
        """The rules of published orderings."""
        rules = self.claims.items()
        return {claim: rule for claim, rule in rules if isinstance(rule, Directional)}

    def _models(self, claim: str) -> tuple[str, ...]:
        """The models that a claim is about."""
        entry = self.claims[claim]
        if isinstance(entry, Directional):
            return (entry.model, *entry.rivals)
        # The name of a published number is T1/DATASET/MODEL.
        _, _, model = claim.rpartition("/")
        return (model,)

    def sha256(self, claim: str) -> str:
        """The hash of the rule of a claim of Table 1.

        That is its entry, its estimate, and the samplers and ends of its models; a change of
        another entry leaves it as it is. So an order's hash does not tell that the margins of its
        rows changed, which say how far a longer burn-in may move their values.
        """
        rule = self.claims[claim]
        models = self._models(claim)
        # From the validated rule, not the text of the file: comments and order change no hash.
        entry = rule.model_dump(mode="json")
        estimate = self.estimate(claim).model_dump(mode="json")
        samplers = self.samplers.model_dump(mode="json")
        # Of its own models alone, so that a new row leaves the hashes of older verdicts as they
        # are.
        samplers["rows"] = _only(samplers["rows"], models)
        rising = self.rising.model_dump(mode="json")
        ends_on_dataset = rising["ends"].get(rule.dataset, {})
        # Of the claim's data set alone, as the samplers above are of its models.
        rising["ends"] = _only(ends_on_dataset, models)
        models_by_whole_runs = rising.pop("whole_runs")
        # An order and the values of other models are judged by curves alone: their hashes stay
        # those of earlier versions, which had no such rule.
        if isinstance(rule, Equivalence) and models[0] in models_by_whole_runs:
            rising["whole_runs"] = True
        return sha256_json([entry, estimate, samplers, rising])

    def statement_sha256(self, statement: str) -> str:
        """The hash of a statement's own entry.

        What later versions added counts only where it is used, so that older hashes stay.
        """
        rule = self.statements[statement]
        entry = rule.model_dump(mode="json")
        unused_values = {"awaits": None, "over": "seeds", "asks_for": "all"}
        for name, unused in unused_values.items():
            if entry[name] == unused:
                # Hashes of statements that kept runs carry are from before these fields were there.
                del entry[name]
        return sha256_json(entry)


def _only(entries: Mapping[str, object], names: tuple[str, ...]) -> dict[str, object]:
    """The entries of some names, in the order of the file: their hash hangs on no other."""
    chosen = [name for name in entries if name in names]
    return {name: entries[name] for name in chosen}


def read_protocol(path: Path) -> Protocol:
    """Reads and checks the file.

    Raises:
        ReplicateError: names every fault with its path in the file.
    """
    document, source = read_document(str(path))
    # Said here in one sentence: pydantic would only say that a dictionary was expected.
    if not isinstance(document, dict):
        raise ReplicateError(
            f"{source}: the protocol must be a mapping with `version`, `estimates`, `claims` and "
            "`statements`."
        )
    return checked(Protocol, document, source)
