"""Ordinals in words: each place has its own."""

import pytest

from replicate.report.ordinals import ordinal


@pytest.mark.parametrize(
    ("place", "word"),
    [(0, "first"), (9, "tenth"), (10, "eleventh"), (19, "twentieth"), (20, "twenty-first"), (98, "ninety-ninth"),
     (99, "one hundredth"), (102, "one hundred and third"), (299, "three hundredth")],
)  # fmt: skip
def test_places_are_counted_in_words(place: int, word: str) -> None:
    assert ordinal(place) == word


def test_no_two_rows_have_the_same_word() -> None:
    assert len({ordinal(place) for place in range(999)}) == 999
