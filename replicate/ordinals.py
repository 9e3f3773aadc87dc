"""Ordinal numbers as words: on the page, digits are of result files alone."""

_ONES = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_FIRST = (
    "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh",
    "twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth", "seventeenth", "eighteenth", "nineteenth",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


def ordinal(place: int) -> str:
    """`first` for 0, `twenty-first` for 20, `one hundred and third` for 102; below 999."""
    hundreds, rest = divmod(place + 1, 100)
    if hundreds:
        return f"{_ONES[hundreds - 1]} hundred" + (f" and {ordinal(rest - 1)}" if rest else "th")
    if rest <= len(_FIRST):
        return _FIRST[rest - 1]
    tens, ones = _TENS[rest // 10 - 2], rest % 10
    return f"{tens}-{_FIRST[ones - 1]}" if ones else f"{tens.removesuffix('y')}ieth"
