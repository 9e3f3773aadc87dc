"""The claims that kept files can judge again: this run's and those of every kept run.

Nothing is trained, and nothing but result files is read.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np

from replicate.errors import understanding
from replicate.multiverse.choices import Choices
from replicate.multiverse.counting import Claim, counted
from replicate.multiverse.numbers import NumberClaim, NumberContext, Values
from replicate.multiverse.statements import StatementClaim
from replicate.params import load_params, seeds_of
from replicate.records.frame import read_result
from replicate.records.run_folder import Job, RunFolder, results_below
from replicate.records.schema import (
    EarlierVerdict,
    MeasuredCell,
    MultiverseClaim,
    Statements,
    StatementVerdict,
    Table1,
    VerdictState,
)
from replicate.verdicts.protocol import Protocol
from replicate.verdicts.statistics import standard_deviation
from replicate.verdicts.table1_verdicts import values_of

#: What a run is called that is no kept one.
OWN_RUN = "results"
#: Statement, and how its experiment was set but for its seeds: runs that have both alike.
Sameness = tuple[str, str | None, object]


@dataclass(frozen=True)
class RunClaim:
    """One claim as one run measured it.

    Attributes:
        name: in the protocol.
        kind: number or statement.
        run: name of the run.
        path: file that has its verdict.
        recorded: that verdict.
        by_earlier_rule: whether that was by another rule than today's.
        earlier_verdicts: of other kept runs, by an earlier rule, where this run has today's.
        claim: what can be judged again.
    """

    name: str
    kind: Literal["number", "statement"]
    run: str
    path: Path
    recorded: VerdictState
    by_earlier_rule: bool
    earlier_verdicts: Sequence[EarlierVerdict]
    claim: Claim

    def counted(self, choices: Choices, file: str) -> MultiverseClaim:
        """Its verdicts under all analyses.

        Args:
            choices: of the analyst.
            file: the name that the result gives to the file of its verdict.
        """
        return {
            "claim": self.name,
            "kind": self.kind,
            "run": self.run,
            "file": file,
            "by_earlier_rule": self.by_earlier_rule,
            "earlier_verdicts": list(self.earlier_verdicts),
            "known_before_the_rule": choices.known_before_the_rule.get(self.name),
            **counted(self.claim),
        }


def _folders(results: Path, below: str, file: str) -> Iterator[tuple[str, Path]]:
    """Name and folder of this run and of the kept runs that have a file."""
    if (results / file).is_file():
        yield OWN_RUN, results
    kept_folder = results / "reference"
    for path in sorted((kept_folder / below).glob(f"*/{file}")):
        name = path.parent.relative_to(kept_folder).as_posix()
        yield name, path.parent


# ------------------------------------------------------------------------------ numbers of Table 1


def number_claims(results: Path, protocol: Protocol, choices: Choices) -> Iterator[RunClaim]:
    """The published values that runs measured, in the order of their tables."""
    for name, folder in _folders(results, "", "table1.json"):
        path = folder / "table1.json"
        table = read_result(path, Table1)
        run = results_below(folder)
        with understanding(f"{path} or an evaluation or training beside it"):
            yield from _claims_of_table(name, path, table, run, protocol, choices)


def _claims_of_table(
    name: str, path: Path, table: Table1, run: RunFolder, protocol: Protocol, choices: Choices
) -> Iterator[RunClaim]:
    for row in table["rows"]:
        for dataset, cell in row["cells"].items():
            measured = cell["measured"]
            claim = cell["claim"]
            published = cell["published"]
            # Only values that the paper has are claims of it.
            if measured is None or claim is None or published is None:
                continue
            context = NumberContext(
                claim=claim,
                rule=protocol.equivalence(claim),
                protocol=protocol,
                published=published,
                nearest=nearest_value(table, dataset, row["model"]),
                together=_measured_values(table, dataset),
                pooled=pooled_variance(table, dataset),
            )
            jobs = run.models.get((dataset, row["model"]), {})
            values = values_of_row(measured, list(jobs.values()))
            digest = cell["verdict"]["protocol_sha256"]
            # A cell without any verdict names no rule.
            is_earlier = digest is not None and digest != protocol.sha256(claim)
            judgement = NumberClaim(measured, values, context, choices.number)
            state = cell["verdict"]["state"]
            yield RunClaim(claim, "number", name, path, state, is_earlier, (), judgement)


def _published_on(table: Table1, dataset: str) -> dict[str, float]:
    """Model -> the published value on a data set."""
    values = {}
    for row in table["rows"]:
        cell = row["cells"].get(dataset)
        if cell is not None and cell["published"] is not None:
            values[row["model"]] = cell["published"]["log_likelihood"]
    return values


def nearest_value(table: Table1, dataset: str, model: str) -> float:
    """The published value of another row that is nearest to a model's."""
    values = _published_on(table, dataset)
    own_value = values.pop(model)
    return min(values.values(), key=lambda value: abs(value - own_value))


def _measured_cells(table: Table1, dataset: str) -> Iterator[MeasuredCell]:
    """The measured cells of the rows that have a published value on a data set."""
    published = _published_on(table, dataset)
    for row in table["rows"]:
        if row["model"] not in published:
            continue
        measured = row["cells"][dataset]["measured"]
        if measured is not None:
            yield measured


def _measured_values(table: Table1, dataset: str) -> int:
    """Published values of the data set that the run has a mean for, at least one."""
    # As the table counts them: a row of which every seed failed has no interval.
    known = [cell for cell in _measured_cells(table, dataset) if cell["mean"] is not None]
    return max(len(known), 1)


def pooled_variance(table: Table1, dataset: str) -> tuple[float, int] | None:
    """Variance over seeds, pooled over rows by degrees of freedom; None without two seeds."""
    squares = 0.0
    degrees = 0
    for cell in _measured_cells(table, dataset):
        values = values_of(cell)
        spread = standard_deviation(values)
        if spread is not None:
            squares += spread**2 * (len(values) - 1)
            degrees += len(values) - 1
    if degrees == 0:
        return None
    return squares / degrees, degrees


def values_of_row(measured: MeasuredCell, jobs: Sequence[Job]) -> Values:
    """The log-likelihood of every seed by what the kept files hold, nats."""
    seeds = [seed["seed"] for seed in measured["per_seed"]]
    coarse = values_of(measured)
    values: dict[tuple[str, str, str], list[float]] = {("chosen", "coarse", "published"): coarse}
    fine_of_seed = _fine_values(jobs)
    has_fine = set(seeds) <= fine_of_seed.keys()
    if has_fine:
        fine = [fine_of_seed[seed] for seed in seeds]
        values["chosen", "fine", "published"] = fine
    change_of_seed = _changes_to_the_end(jobs)
    # Where the chosen epochs are the last ones there is nothing to choose.
    if set(seeds) <= change_of_seed.keys() and any(change_of_seed.values()):
        changes = [change_of_seed[seed] for seed in seeds]
        values["last", "coarse", "published"] = _sums(coarse, changes)
        if has_fine:
            values["last", "fine", "published"] = _sums(fine, changes)
    samplers = measured.get("samplers")
    if samplers is not None:
        for name, summary in samplers["samplers"].items():
            of_seed = {entry["seed"]: entry["log_likelihood"] for entry in summary["per_seed"]}
            # A sampler that was run for some seeds alone would be compared on other seeds.
            if name != "published" and of_seed.keys() == set(seeds):
                values["chosen", "coarse", name] = [of_seed[seed] for seed in seeds]
    return values


def _sums(values: Sequence[float], changes: Sequence[float]) -> list[float]:
    pairs = zip(values, changes, strict=True)
    return [value + change for value, change in pairs]


def _fine_values(jobs: Sequence[Job]) -> dict[int, float]:
    """Seed -> mean log-likelihood over draws and folds at the bandwidths of the fine grid."""
    of_seed = {}
    for job in jobs:
        for seed in job["evaluate"].content["per_seed"]:
            values = []
            for draw in seed["draws"]:
                values += [fold["fine_log_likelihood"] for fold in draw["folds"]]
            if values:
                of_seed[seed["seed"]] = float(np.mean(values))
    return of_seed


def _changes_to_the_end(jobs: Sequence[Job]) -> dict[int, float]:
    """Seed -> what the validation log-likelihood changed from the chosen epoch to the last one.

    No test value of the last epoch is kept; this moves the one of the chosen epoch by as much.
    """
    of_seed = {}
    for job in jobs:
        if "train" not in job:
            continue
        training: Mapping[str, Any] = job["train"].content
        looks = training["curve"]["log_likelihood"]
        # A block whose seeds all failed before the first look has none.
        if not looks:
            continue
        chosen_look = training["chosen_log_likelihood"]
        for seed, last, chosen in zip(training["seeds"], looks[-1], chosen_look, strict=True):
            # A seed that failed has no last look.
            if last is not None and chosen is not None:
                of_seed[seed] = last - chosen
    return of_seed


# -------------------------------------------------------------------------------------- statements


@dataclass(frozen=True)
class _Attempt:
    """A statement that a run attempted.

    Attributes:
        run, path: its name, and the file that has the verdict.
        statement: the verdict.
        settings: of its experiment, but its seeds; None where they are not known.
        seeds: of its experiment; none where they are not known.
    """

    run: str
    path: Path
    statement: StatementVerdict
    settings: object
    seeds: frozenset[int]

    @property
    def sameness(self) -> Sameness:
        """What runs have in common whose seeds may stand together."""
        statement = self.statement
        return statement["statement"], statement["protocol_sha256"], self.settings


def statement_claims(results: Path, protocol: Protocol, choices: Choices) -> Iterator[RunClaim]:
    """The statements that runs attempted, in the order of the protocol."""
    attempts = list(_attempts(results))
    order = list(protocol.statements)
    # A statement that the protocol has no longer has no rule to be judged by again.
    known = [attempt for attempt in attempts if attempt.statement["statement"] in order]
    known.sort(key=lambda attempt: order.index(attempt.statement["statement"]))
    for attempt in known:
        statement = attempt.statement
        name = statement["statement"]
        partner = _partner(attempt, known)
        minimum = protocol.statements[name].minimum_seeds
        with understanding(attempt.path):
            judgement = StatementClaim(statement, partner, minimum, choices.statement)
        rule = protocol.statement_sha256(name)
        is_earlier = statement["protocol_sha256"] != rule
        earlier = [] if is_earlier else list(_earlier_verdicts(name, rule, known))
        yield RunClaim(
            name, "statement", attempt.run, attempt.path, statement["state"], is_earlier,
            earlier, judgement,
        )  # fmt: skip


def _attempts(results: Path) -> Iterator[_Attempt]:
    for name, folder in _folders(results, "statements", "statements.json"):
        path = folder / "statements.json"
        content = read_result(path, Statements)
        run = results_below(folder)
        # This run's own results have no parameters beside them, so no other is known to be alike.
        sections = run.settings if name != OWN_RUN else None
        for statement in content["statements"]:
            # Without any it was not attempted, or not on data that could answer.
            if statement["checks"]:
                experiment = statement["experiment"]
                settings = _settings(sections, experiment)
                seeds = _seeds(run, experiment) if settings is not None else frozenset[int]()
                yield _Attempt(name, path, statement, settings, seeds)


def _settings(sections: Mapping[str, Any] | None, experiment: str | None) -> object:
    """The settings of an experiment but its seeds; None where they are not known."""
    if sections is None or experiment is None or experiment not in sections:
        return None
    section = sections[experiment] or {}
    return {name: value for name, value in section.items() if name != "seeds"}


def _seeds(run: RunFolder, experiment: str | None) -> frozenset[int]:
    """The seeds of an experiment of a kept run."""
    result = run.experiments.get(experiment or "")
    if result is not None and result.content.get("seeds"):
        return frozenset(result.content["seeds"])
    # Older kept runs have no results of their experiments, whose seeds are then those asked for.
    params = load_params(str(run.folder / "params.yaml"))
    section = params.experiments.get(experiment or "", {})
    blocks = [str(section["seeds"])] if "seeds" in section else params.seeds
    return frozenset(chain.from_iterable(map(seeds_of, blocks)))


def _partner(attempt: _Attempt, attempts: Sequence[_Attempt]) -> StatementVerdict | None:
    """The statement in the first other kept run by the same rule and settings, with all seeds.

    None of its seeds is one of the attempt's: a seed that both runs have would count twice in their
    union, and be the original that it replicates.
    """
    if attempt.settings is None:
        return None
    for candidate in attempts:
        is_same = candidate.run != attempt.run and candidate.sameness == attempt.sameness
        has_other_seeds = attempt.seeds.isdisjoint(candidate.seeds)
        if is_same and has_other_seeds and not _has_failed(candidate.statement):
            return candidate.statement
    return None


def _has_failed(statement: StatementVerdict) -> bool:
    """Whether a seed of a statement failed."""
    return any(None in (check["per_seed"] or []) for check in statement["checks"])


def _earlier_verdicts(
    name: str, rule: str, attempts: Sequence[_Attempt]
) -> Iterator[EarlierVerdict]:
    """The verdicts of kept runs by another rule than today's."""
    for attempt in attempts:
        statement = attempt.statement
        if statement["statement"] == name and statement["protocol_sha256"] != rule:
            yield {"run": attempt.run, "state": statement["state"]}
