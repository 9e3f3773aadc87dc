"""The page for students in both languages, and the numbers that the questions link to.

A number of theirs is a link `[196.3][name]`, and the definition of `name` at the end of the page is
its source: a committed file, a JSON pointer after the `#`, and in the title how the value is read.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from replicate.records.sourced import MINUS, THIN_SPACE, Traced, number

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = ("what-the-paper-says.md", "what-the-paper-says.ko.md")
WITH_NUMBERS = (*PAGES, "faq.md")

DEFINITION = re.compile(r'^\[([\w-]+)\]: (\S+?)#(/\S*)(?: "(.+)")?$', re.MULTILINE)
NUMBER = re.compile(rf"\[({MINUS}?\d[\d,.]*)\]\[([\w-]+)\]")
HEADING = re.compile(r"^(#+) (?:(\d+)\. )?\S", re.MULTILINE)
#: What a title says is done to the value before it is rounded.
READINGS: dict[str, Callable[[float], float]] = {
    "": lambda value: value,
    "in percent": lambda value: 100 * value,
    "e to the power of this": math.exp,
    "e to the power of minus this": lambda value: math.exp(-value),
    "2 to the power of this": lambda value: 2**value,
}
COUNT = "number of entries"
#: Digits that are no measurement: formulas, places in the paper, chapters of the page.
NAMES = re.compile(
    r"`[^`]*`"
    r"|^#+ \d+\. |^ *\d+\. "
    r"|[Ss]ections? \d(?:\.\d)?|\d(?:\.\d)?절"
    r"|(?:Table|[Ff]igure|Theorem|Proposition|Algorithm|표|그림|정리|명제|알고리즘) \d"
    r"|\b2014",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Source:
    """Where a number stands.

    Attributes:
        file: relative to docs/.
        pointer: into its JSON (RFC 6901).
        reading: a key of `READINGS`, or `COUNT`.
    """

    file: str
    pointer: str
    reading: str

    def value(self) -> float:
        """The number, as its title reads it; KeyError or IndexError where the file has none."""
        item = json.loads((DOCS / self.file).read_text(encoding="utf-8"))
        for token in self.pointer.split("/")[1:]:
            item = item[int(token)] if isinstance(item, list) else item[token]
        if self.reading == COUNT:
            return len(item)
        return READINGS[self.reading](float(item))


def text_of(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def sources(text: str) -> dict[str, Source]:
    return {
        name: Source(file, pointer, reading)
        for name, file, pointer, reading in DEFINITION.findall(text)
    }


def rounded(value: float, like: str) -> str:
    """A value with as many decimals as `like` has, by the filter of the report's page; thousands are
    apart by a comma, which texts can hold.
    """
    decimals = len(like.partition(".")[2])
    element = number(Traced("", "", value), decimals)
    return re.sub("<[^>]*>", "", element).replace(THIN_SPACE, ",")


def chapters(text: str) -> list[str]:
    """The page cut before every heading."""
    return re.split(r"^(?=#)", DEFINITION.sub("", text), flags=re.MULTILINE)


def without_file(text: str) -> list[str]:
    """Digits in a text that are neither a link to a file nor a name."""
    prose = NUMBER.sub("", DEFINITION.sub("", text))
    return re.findall(r"\d[\d.,]*", NAMES.sub("", re.sub(r"\]\([^)]*\)", "]", prose)))


@pytest.mark.parametrize("page", WITH_NUMBERS)
def test_every_number_is_what_its_file_holds(page: str) -> None:
    text = text_of(page)
    known = sources(text)
    shown = NUMBER.findall(text)
    assert {label for _, label in shown} == set(known), "each definition is used, each use defined"
    assert [
        (number, label, rounded(known[label].value(), number))
        for number, label in shown
        if rounded(known[label].value(), number) != number
    ] == []


@pytest.mark.parametrize("page", WITH_NUMBERS)
def test_sources_are_kept_runs(page: str) -> None:
    files = {source.file for source in sources(text_of(page)).values()}
    assert files
    assert all(file.startswith("../results/reference/") for file in files)


@pytest.mark.parametrize("page", PAGES)
def test_no_number_of_the_page_lacks_a_file(page: str) -> None:
    assert without_file(text_of(page)) == []


def test_both_languages_have_the_same_headings_in_the_same_order() -> None:
    english, korean = (HEADING.findall(text_of(page)) for page in PAGES)
    assert english == korean
    numbers = [number for _, number in english if number]
    assert numbers == [str(place) for place in range(1, len(numbers) + 1)]


def test_both_languages_show_the_same_numbers_under_each_heading() -> None:
    english, korean = (text_of(page) for page in PAGES)
    assert sources(english) == sources(korean)
    for here, there in zip(chapters(english), chapters(korean), strict=True):
        assert Counter(NUMBER.findall(here)) == Counter(NUMBER.findall(there)), here[:40]


def test_both_languages_show_the_same_formulas_under_each_heading() -> None:
    english, korean = (text_of(page) for page in PAGES)
    for here, there in zip(chapters(english), chapters(korean), strict=True):
        assert set(re.findall(r"`[^`]+`", here)) == set(re.findall(r"`[^`]+`", there)), here[:40]


@pytest.mark.parametrize("text", ["docs/faq.md", "presets/mnist.yaml", "presets/paper.yaml"])
def test_the_rise_after_500_epochs_is_that_of_the_curve(text: str) -> None:
    """From epoch 300 to 500, in nats per 100 epochs."""
    kept = ROOT / "results/reference/mnist-500-epochs/adversarial_nets/train.json"
    curve = json.loads(kept.read_text(encoding="utf-8"))["curve"]
    values = dict(zip(curve["epoch"], curve["log_likelihood"], strict=True))
    rise = (values[500][0] - values[300][0]) / 2
    assert re.findall(r"([\d.]+) nats per 100 epochs", (ROOT / text).read_text()) == [f"{rise:.1f}"]


@pytest.mark.parametrize(
    ("value", "like", "text"),
    [
        (196.3033, "196.3", "196.3"),
        (196.36, "196.3", "196.4"),
        (-262.4486, f"{MINUS}262.4", f"{MINUS}262.4"),
        (10000, "10,000", "10,000"),
        (-0.0004, "0.0", "0.0"),
        (26.07, "26", "26"),
    ],
)
def test_rounding(value: float, like: str, text: str) -> None:
    assert rounded(value, like) == text


def test_a_number_without_a_file_is_noticed() -> None:
    assert without_file(
        "## 3. The game\n\nSection 4.2, Table 1, `k = 1`, [8.0][a1]: 7.5 modes"
    ) == ["7.5"]
