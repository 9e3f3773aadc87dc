"""Compares the statements of a run with those of a kept one (`replicate.comparison.verify`).

A kept run may have its statements.json without the results of the experiments. Then their settings
are known by what the file and the parameter file say of them, and bits cannot be asked for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from replicate.comparison.result_differences import (
    data_digest,
    differs,
    environment_differences,
    flat,
    measured_difference,
)
from replicate.comparison.verify import Numbers, Pair
from replicate.experiments import DEFAULT_DATASET, ON_IMAGES, ON_MEASURES, ON_SAMPLES
from replicate.records.run_folder import ResultFile, RunFolder
from replicate.records.schema import CheckVerdict, Statements, StatementVerdict


@dataclass(frozen=True)
class _Statement:
    """A statement that was measured, with the run that measured it."""

    verdict: StatementVerdict
    run: RunFolder

    @property
    def experiment(self) -> str:
        """The experiment that decided it."""
        name = self.verdict["experiment"]
        assert name is not None
        return name

    @property
    def result(self) -> ResultFile | None:
        """The result of the experiment; None where it was not kept."""
        return self.run.experiments.get(self.experiment)

    @property
    def rule(self) -> str:
        """The first digits of the digest of the entry that decided; empty where none is known."""
        digest = self.verdict["protocol_sha256"] or ""
        return digest[:16]

    @property
    def measured(self) -> dict[str, object]:
        """What was measured, and the state of the verdict."""
        checks = [
            {"reads": check["reads"], "value": check["value"], "per_seed": check["per_seed"]}
            for check in self.verdict["checks"]
        ]
        return {"checks": checks, "state": self.verdict["state"]}

    @property
    def readings(self) -> list[str]:
        """What the checks measure, in words."""
        checks = self.verdict["checks"]
        return [check["reads"] for check in checks]

    @property
    def failed_seeds(self) -> int:
        """Seeds that failed in some check."""
        checks = self.verdict["checks"]
        return max(_failed_seeds(check) for check in checks)


def _failed_seeds(check: CheckVerdict) -> int:
    per_seed = check["per_seed"] or []
    return per_seed.count(None)


def _recipe(statement: _Statement) -> dict[str, object]:
    """The settings of a statement's experiment by their path, as far as the run tells them.

    Seeds and device are left out.
    """
    settings: dict[str, object] = {"changed settings": statement.verdict["changed"]}
    result = statement.result
    if result is not None:
        parameters = result.content["parameters"]
        config = dict(parameters["config"])
        # Other seeds are the point of a second run; they are named among the reasons.
        config.pop("seeds", None)
        settings |= flat(config)
        settings["data"] = data_digest(result.content)
        return settings
    # Without the result only the run's parameter file tells which data it used.
    sections = statement.run.settings
    if statement.experiment in ON_IMAGES and sections is not None:
        section = sections.get(statement.experiment) or {}
        settings["dataset"] = section.get("dataset", DEFAULT_DATASET)
    return settings


def _other_recipe(our_statement: _Statement, their_statement: _Statement) -> list[str]:
    """How the settings and checks of a statement differ, or that nobody can tell."""
    our_recipe = _recipe(our_statement)
    their_recipe = _recipe(their_statement)
    both_kept = our_statement.result is not None and their_statement.result is not None
    # What only one of them can tell would count as different, though nobody knows it.
    names = our_recipe.keys() & their_recipe.keys()
    if both_kept:
        names = our_recipe.keys() | their_recipe.keys()
    settings: list[str] = []
    for name in sorted(names):
        our_value = our_recipe.get(name)
        their_value = their_recipe.get(name)
        settings += differs(name, our_value, their_value)
    if our_statement.readings != their_statement.readings:
        settings.append("the statement has other checks")
    changed = our_statement.verdict["changed"]
    # Both name the same settings as changed, but to which values only the results say.
    if not settings and not both_kept and changed:
        file = f"{our_statement.experiment}.json"
        settings.append(f"both changed {changed}, and not both kept {file} with the values")
    return settings


def _reasons(our_statement: _Statement, their_statement: _Statement) -> list[str]:
    """Why the bits of an experiment cannot be asked for, its settings aside."""
    our_result = our_statement.result
    their_result = their_statement.result
    if our_result is not None and their_result is not None:
        our_seeds = our_result.content["seeds"]
        their_seeds = their_result.content["seeds"]
        reasons = list(differs("seeds", our_seeds, their_seeds))
        return reasons + environment_differences(our_result, their_result)
    side = "on either side"
    if our_result is not None:
        side = f"in {their_statement.run.folder}"
    elif their_result is not None:
        side = f"in {our_statement.run.folder}"
    # What is left of the machine and the code are the verdicts' own records.
    our_verdicts = our_statement.run.statements
    their_verdicts = their_statement.run.statements
    assert our_verdicts is not None
    assert their_verdicts is not None
    environment = environment_differences(our_verdicts, their_verdicts)
    return [f"no result of {our_statement.experiment} was kept {side}", *environment]


def _other_rule(our_statement: _Statement, their_statement: _Statement) -> list[str]:
    """That different entries of the protocol decided, if they did."""
    our_rule = our_statement.rule
    their_rule = their_statement.rule
    return list(differs("rule", our_rule, their_rule))


def _numbers(
    our_statement: _Statement, their_statement: _Statement
) -> tuple[tuple[Numbers, ...], str]:
    """The checks over seeds; and in words the exact ones, which involve no chance."""
    tested = []
    exact = []
    our_checks = our_statement.verdict["checks"]
    their_checks = their_statement.verdict["checks"]
    for our_check, their_check in zip(our_checks, their_checks, strict=True):
        reads = our_check["reads"]
        # Exact checks have one number for all seeds, and no spread to test.
        if our_check["exact"]:
            our_value, their_value = our_check["value"], their_check["value"]
            exact.append(f"{reads}: {our_value:.4g} here, {their_value:.4g} there")
        else:
            numbers = Numbers(reads, _per_seed(our_check), _per_seed(their_check))
            tested.append(numbers)
    return tuple(tested), "; ".join(exact)


def _per_seed(check: CheckVerdict) -> tuple[float, ...]:
    """The values of a check over seeds of which none failed."""
    per_seed = check["per_seed"]
    assert per_seed is not None
    values = [value for value in per_seed if value is not None]
    return tuple(values)


def _statistical(
    subject: str,
    reference: str,
    our_statement: _Statement,
    their_statement: _Statement,
    reasons: tuple[str, ...],
) -> Pair:
    """The pair whose means are compared, because bits cannot be asked for."""
    our_state = our_statement.verdict["state"]
    their_state = their_statement.verdict["state"]
    states = _states(our_statement, their_statement)
    is_opposite = {our_state, their_state} == {"replicated", "not replicated"}
    # By other rules opposite verdicts may both be right.
    if is_opposite and not _other_rule(our_statement, their_statement):
        says = f"opposite verdicts by the same rule: {states}"
        return Pair(subject, reference, "failed", says, reasons)
    if our_statement.failed_seeds or their_statement.failed_seeds:
        return Pair(subject, reference, "inconclusive", f"{states}; a seed failed", reasons)
    numbers, exact = _numbers(our_statement, their_statement)
    says = states
    if our_state == their_state:
        says = f"{our_state} in both"
    if exact:
        says += f"; {exact}"
    return Pair(subject, reference, None, says, reasons, numbers)


def _states(our_statement: _Statement, their_statement: _Statement) -> str:
    """Both verdicts, in words."""
    our_state = our_statement.verdict["state"]
    their_state = their_statement.verdict["state"]
    return f"{our_state} here, {their_state} there"


def _compare(our_statement: _Statement, their_statement: _Statement) -> Pair:
    """One statement that both runs measured."""
    subject = f"statement {our_statement.verdict['statement']}"
    reference = str(their_statement.run.folder)
    difference = None
    if our_statement.result is not None and their_statement.result is not None:
        difference = measured_difference(our_statement.result, their_statement.result)
    # Without the results the verdict's own numbers must do.
    if difference is None and our_statement.measured == their_statement.measured:
        says = f"{our_statement.verdict['state']} in both"
        return Pair(subject, reference, "same bits", says)
    states = _states(our_statement, their_statement)
    if our_statement.experiment in ON_SAMPLES | ON_MEASURES:
        says = f"not compared: it rests on the samples of each run's own models; {states}"
        return Pair(subject, reference, "different runs", says)
    settings = _other_recipe(our_statement, their_statement)
    if settings:
        says = f"not compared: {'; '.join(settings)}; {states}"
        return Pair(subject, reference, "different runs", says)
    reasons = (
        *_other_rule(our_statement, their_statement),
        *_reasons(our_statement, their_statement),
    )
    if not reasons:
        fault = difference or "the experiment is the same, what the statement says of it is not"
        says = f"the bits must be the same: {fault}"
        return Pair(subject, reference, "failed", says)
    return _statistical(subject, reference, our_statement, their_statement, reasons)


def _measured_statements(run: RunFolder, content: Mapping[str, object]) -> list[_Statement]:
    verdicts: Sequence[StatementVerdict] = cast(Statements, content)["statements"]
    attempted = [verdict for verdict in verdicts if verdict["checks"]]
    return [_Statement(verdict, run) for verdict in attempted]


def compare_statements(our_run: RunFolder, their_run: RunFolder) -> list[Pair]:
    """Every statement that both runs measured; none where a run has no statements.json."""
    if our_run.statements is None or their_run.statements is None:
        return []
    their_statements = {
        statement.verdict["statement"]: statement
        for statement in _measured_statements(their_run, their_run.statements.content)
    }
    pairs = []
    for statement in _measured_statements(our_run, our_run.statements.content):
        name = statement.verdict["statement"]
        if name in their_statements:
            pairs.append(_compare(statement, their_statements[name]))
    return pairs
