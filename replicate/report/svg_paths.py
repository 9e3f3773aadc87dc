"""Paths of SVG files in fewer bytes."""

import re
from decimal import Decimal

#: Numbers of each command that the plots' paths are made of; all are absolute.
_NUMBERS = {"M": 2, "L": 2, "Q": 4, "C": 6}
Point = tuple[Decimal, Decimal]


def shorter_path(data: str) -> str:
    """The same path in fewer bytes.

    Every point is relative to the last one, and a command stands once for a row of equal ones. The
    sums are exact, so that no error gathers along the path.

    Raises:
        ValueError: a command has another number of coordinates than this project's plots write.
    """
    text = ""
    start = point = (Decimal(0), Decimal(0))
    last_letter = ""
    for command, coordinates in re.findall(r"([A-Za-z])([^A-Za-z]*)", data):
        numbers = [Decimal(number) for number in coordinates.split()]
        if command == "z":
            text += "z"
            # After closing, the pen is where the path began.
            point, last_letter = start, "z"
            continue
        if len(numbers) != _NUMBERS.get(command):
            raise ValueError(f"a path has the command {command} with {len(numbers)} numbers")
        letter, steps = _step(command.lower(), _relative(numbers, point))
        point = (numbers[-2], numbers[-1])
        if command == "M":
            start = point
        # A letter that repeats the last one may be left out.
        shown_letter = "" if _is_implied(letter, last_letter) else letter
        text += joined(shown_letter, steps)
        last_letter = letter
    return text


def _relative(numbers: list[Decimal], point: Point) -> list[Decimal]:
    """Coordinates, x and y in turn, less those of a point."""
    steps = []
    for k, number in enumerate(numbers):
        origin = point[k % 2]
        steps.append(number - origin)
    return steps


def _is_implied(letter: str, last_letter: str) -> bool:
    """Whether a command follows from the last one: a line does from a line and from a move."""
    if letter == "m":
        return False
    return letter == last_letter or (letter == "l" and last_letter == "m")


def _step(command: str, steps: list[Decimal]) -> tuple[str, list[Decimal]]:
    """A line that goes straight across or straight up has a command of its own, of one number."""
    if command != "l":
        return command, steps
    across, up = steps
    if not up:
        return "h", [across]
    if not across:
        return "v", [up]
    return command, steps


def joined(letter: str, numbers: list[Decimal]) -> str:
    """Numbers without zeros that say nothing, and a space only where neither a sign nor a second
    point parts them.
    """
    text = letter
    last = ""
    for k, number in enumerate(numbers):
        word = _short(number)
        is_second_point = word.startswith(".") and "." in last
        is_apart = word.startswith("-") or is_second_point or (k == 0 and letter)
        text += word if is_apart else f" {word}"
        last = word
    return text


def _short(number: Decimal) -> str:
    """A number without the zeros at its end, and without the one before its point."""
    text = f"{number.normalize():f}"
    if text.startswith(("0.", "-0.")):
        return text.replace("0.", ".", 1)
    return text
