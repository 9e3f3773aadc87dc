"""The choices of an analyst, as `choices.yaml` has them with their reasons."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self

from pydantic import Field, model_validator

from replicate.errors import ReplicateError
from replicate.params import Section, checked, read_document

FILE = Path(__file__).with_name("choices.yaml")


class Option(Section):
    """One way to choose.

    Attributes:
        title: in a few words, as the page shows it.
        reason: why someone would take it, a sentence.
        value: the number that it stands for, where it stands for one.
    """

    title: str
    reason: str = Field(min_length=1)
    value: float | None = None


#: Name -> option; the first one is the protocol's.
Options = Mapping[str, Option]


class Choices(Section):
    """The content of choices.yaml.

    Attributes:
        number: choice -> options, of a published value of Table 1.
        statement: the same of what the paper says in words.
        known_before_the_rule: claim -> that its results were known when its rule was made.
    """

    number: dict[str, dict[str, Option]]
    statement: dict[str, dict[str, Option]]
    known_before_the_rule: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _several_options_each(self) -> Self:
        for choices in (self.number, self.statement):
            for name, options in choices.items():
                # With one option nothing is chosen.
                if len(options) < 2:
                    raise ValueError(f"{name}: a choice has two options or more")
        return self


class Alternative(NamedTuple):
    """An option as it applies to one claim.

    Attributes:
        name: in choices.yaml.
        title: in a few words.
        value: the number that it stands for, or the index of what is left out.
    """

    name: str
    title: str
    value: float | None = None


#: What an analysis of a claim chooses: choice -> alternative.
Analysis = Mapping[str, Alternative]
#: Choice -> the alternatives that a claim has, the protocol's first.
Alternatives = Mapping[str, Sequence[Alternative]]


def read_choices(path: Path = FILE) -> Choices:
    """Reads and checks the file.

    Raises:
        ReplicateError: names every fault with its path in the file.
    """
    document, source = read_document(str(path))
    if not isinstance(document, dict):
        raise ReplicateError(f"{source}: it must be a mapping with `number` and `statement`.")
    return checked(Choices, document, source)


def alternatives(options: Options, names: Sequence[str] | None = None) -> list[Alternative]:
    """The options as they stand in the file, or those of some names."""
    chosen = []
    for name, option in options.items():
        if names is None or name in names:
            chosen.append(Alternative(name, option.title, option.value))
    return chosen


def without_each(labels: Sequence[str]) -> list[Alternative]:
    """The option `without_one`, once for each thing that may be left out."""
    left_out = []
    for index, label in enumerate(labels):
        left_out.append(Alternative("without_one", f"without {label}", index))
    return left_out


def subsets_of_seeds(options: Options, labels: Sequence[str]) -> list[Alternative]:
    """All seeds, all but one of three or more, and halves of four or more."""
    subsets = alternatives(options, ["all"])
    # Of two one would be left, of which no spread is known.
    if len(labels) >= 3:
        subsets += without_each(labels)
    if len(labels) >= 4:
        subsets += alternatives(options, ["first_half", "second_half"])
    return subsets


def chosen_seeds(values: Sequence[float], subset: Alternative) -> list[float]:
    """The values of the seeds that a subset has, in their order."""
    # Of an odd number the second half has one seed more.
    middle = len(values) // 2
    if subset.name == "first_half":
        return list(values[:middle])
    if subset.name == "second_half":
        return list(values[middle:])
    if subset.name == "without_one":
        return [value for index, value in enumerate(values) if index != subset.value]
    return list(values)
