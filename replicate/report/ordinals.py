"""Ordinal numbers as words: on the page, digits are of result files alone."""

_ONES = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_BELOW_TWENTY = (
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "eleventh",
    "twelfth",
    "thirteenth",
    "fourteenth",
    "fifteenth",
    "sixteenth",
    "seventeenth",
    "eighteenth",
    "nineteenth",
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


def ordinal(index: int) -> str:
    """`first` for 0, `twenty-first` for 20, `one hundred and third` for 102; below 999."""
    hundreds, below_hundred = divmod(index + 1, 100)
    if hundreds:
        hundred = f"{_ONES[hundreds - 1]} hundred"
        if not below_hundred:
            return f"{hundred}th"
        rest = ordinal(below_hundred - 1)
        return f"{hundred} and {rest}"
    if below_hundred <= len(_BELOW_TWENTY):
        return _BELOW_TWENTY[below_hundred - 1]
    tens, ones = divmod(below_hundred, 10)
    ten = _TENS[tens - 2]
    if not ones:
        return f"{ten.removesuffix('y')}ieth"
    return f"{ten}-{_BELOW_TWENTY[ones - 1]}"
