"""The checks of a statement in a reader's words: minus for "less", and times for logarithms.

`protocol.yaml` fixed the wording of its checks together with their rules, and results repeat it; a
change there would be a change of the rule. So the page says it in other words.
"""

import re
from collections.abc import Callable

from markupsafe import Markup

from replicate.records.sourced import MINUS, Traced, child, exponential, number, source_of, value_of

#: What a check leans on that stands in the line before: for a sentence of its own.
ALONE = {
    "that JSD with": "JSD with",
    "of the same norms": "of the norms of the gradients",
    "the same correlation along": "correlation with the next image along",
    "log ratio of that distance": "log ratio of the mean distance of samples to the curves",
    "the same log ratio: z": "log ratio of updates to a target of the validation log-likelihood: z",
    "that gain less": "gain in test log-likelihood by the most training images less",
    "the same share of data and sequences chosen by that G": (
        "share that D tells right of data and sequences chosen by a perfect G"
    ),
    "that log ratio with fixed noise": (
        "log ratio of updates, from a quarter of the first distance to a sixteenth over those to "
        "a quarter, with fixed noise"
    ),
}
#: How a check begins that compares two quantities by the logarithm of their ratio.
_LOGARITHM = re.compile(r"(that |the same |size of the )?log (ratio|of )")


def is_logarithm(check: Traced) -> bool:
    """Whether a check's value is the logarithm of a ratio."""
    reads: str = check["reads"]
    return _LOGARITHM.match(reads) is not None


def typeset(words: str) -> str:
    """Formulas in words with a minus where the file has a hyphen."""
    spaced = words.replace(" - ", f" {MINUS} ")
    signed = re.sub(r"(?<![\w.])-(?=log|\d)", MINUS, spaced)
    return signed.replace("log 4", "log\N{NO-BREAK SPACE}4")


def in_words(reads: str) -> str:
    """What a check measures: a difference with a minus."""
    words = reads.replace(" less ", " minus ")
    return re.sub(r"^what (.*) falls short of", r"how far \1 falls short of", words)


def in_times(reads: str) -> str:
    """What a check measures whose logarithm is undone: a ratio."""
    words = reads.removesuffix(" (nats)")
    words = words.replace("size of the log ratio of", "ratio, the larger to the smaller, of")
    words = words.replace("log of ", "ratio of ").replace("log ratio", "ratio")
    return words.replace(" less ", " to ")


def alone(reads: str) -> str:
    """What a check measures, without the lines before it."""
    for leaning, whole in ALONE.items():
        reads = reads.replace(leaning, whole)
    return reads


def says(statement: Traced) -> Markup:
    """What the paper states, in the words of `protocol.yaml`, with its source."""
    return _with_source(statement, "says", typeset)


def because(statement: Traced) -> Markup:
    """Why a statement has its verdict, with its source."""
    return _with_source(statement, "reason", in_words)


def measured(check: Traced) -> Markup:
    """What a check measures, as a line of a list."""
    return _with_source(check, "reads", in_words)


def measured_alone(check: Traced) -> Markup:
    """What a check measures, in a sentence of its own: a logarithm as the ratio that it is of."""
    to_words = in_times if is_logarithm(check) else in_words
    return _with_source(check, "reads", lambda reads: to_words(alone(reads)))


def _with_source(entry: Traced, key: str, to_words: Callable[[str], str]) -> Markup:
    place = child(entry, key)
    words = typeset(to_words(value_of(place)))
    return Markup('<bdi title="{}">{}</bdi>').format(source_of(place), words)


def value(entry: Traced, times: bool = False, digits: int = 3) -> Markup:
    """A value of a check: as it stands in the file, or as the ratio whose logarithm it is."""
    return number(exponential(entry) if times else entry, digits=digits)
