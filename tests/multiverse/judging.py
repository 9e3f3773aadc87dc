"""Claims made up to a known answer, as the multiverse takes them."""

import json
from typing import Any

from replicate.multiverse.choices import Alternative, Analysis, read_choices
from replicate.multiverse.counting import Claim, protocol_analysis
from replicate.multiverse.numbers import NumberClaim, NumberContext
from replicate.multiverse.runs import nearest_value, pooled_variance, values_of_row
from replicate.multiverse.statements import StatementClaim
from replicate.storage.paths import package_root
from replicate.verdicts.protocol import Protocol, read_protocol
from replicate.verdicts.statements import statement_verdict

PROTOCOL = read_protocol(package_root() / "protocol.yaml")
CHOICES = read_choices()


def chosen(claim: Claim, **names: str | int) -> Analysis:
    """The protocol's own analysis but for some choices, by the names of their options.

    An option that leaves one thing out is named by its index.
    """
    analysis = dict(protocol_analysis(claim.alternatives))
    for choice, name in names.items():
        options = claim.alternatives[choice]
        if isinstance(name, int):
            (option,) = [each for each in options if each[0] == "without_one" and each[2] == name]
        else:
            (option,) = [each for each in options if each.name == name]
        analysis[choice] = option
    return analysis


def option_names(claim: Claim, choice: str) -> list[str]:
    """The names of what may be chosen."""
    options: list[Alternative] = list(claim.alternatives.get(choice, []))
    return [option.name for option in options]


def number_claim(
    table: Any,
    model: str = "adversarial_nets",
    jobs: Any = (),
    dataset: str = "mnist",
    together: int = 3,
) -> NumberClaim:
    """A published value of a table (`replicate.verdicts.table1.build_table`)."""
    (row,) = [row for row in table["rows"] if row["model"] == model]
    cell = row["cells"][dataset]
    context = NumberContext(
        claim=cell["claim"],
        rule=PROTOCOL.equivalence(cell["claim"]),
        protocol=PROTOCOL,
        published=cell["published"],
        nearest=nearest_value(table, dataset, model),
        together=together,
        pooled=pooled_variance(table, dataset),
    )
    values = values_of_row(cell["measured"], jobs)
    return NumberClaim(cell["measured"], values, context, CHOICES.number)


def statement_rule(asks_for: str = "all", **checks: dict[str, Any]) -> Protocol:
    """A protocol with the one statement X."""
    statement = {"section": "6", "says": "it holds", "asks_for": asks_for, "checks": checks}
    rules = PROTOCOL.model_dump(mode="json", include={"version", "samplers", "rising"})
    document = {**rules, "estimates": {}, "claims": {}, "statements": {"X": statement}}
    return Protocol.model_validate_json(json.dumps(document))


def verdict_on(rule: Protocol, numbers: dict[str, Any]) -> Any:
    """The statement X with its verdict, by the protocol's own code."""
    content: Any = {
        "experiment": "toy",
        "not_applicable": None,
        "parameters": {"config": {}},
        "changed": [],
        "checks": {"X": numbers},
    }
    return statement_verdict("X", rule, {"X": ("toy.json", content)})


def statement_claim(
    rule: Protocol, numbers: dict[str, Any], partner: dict[str, Any] | None = None
) -> StatementClaim:
    """The statement X as the multiverse judges it, beside a run with other seeds."""
    other = verdict_on(rule, partner) if partner is not None else None
    return StatementClaim(verdict_on(rule, numbers), other, 6, CHOICES.statement)
