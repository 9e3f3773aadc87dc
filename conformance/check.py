"""Checks the output of an implementation against the conformance set.

  python conformance/check.py OUTPUT

OUTPUT is a folder with a file NAME.csv for each case NAME of conformance/cases/: one line a
bandwidth in the order of sigmas.csv, in it the log-density in nats of each row of rows.csv, with
commas between. Needs Python 3.11 and nothing else. Exits with 0 where every case agrees, with 1
where one does not or is missing, and with 2 where a file cannot be read.
"""

import argparse
import csv
import math
import sys
from pathlib import Path

CASES = Path(__file__).resolve().parent / "cases"
#: Nats by which a value may differ: what the project's own float32 estimate is held to.
ABSOLUTE = 1e-3
#: Share of the value by which it may differ: half the digits of float32, for values of millions.
RELATIVE = 1e-6


def numbers(path: Path) -> list[list[float]]:
    """The lines of a file; ValueError where a word is no number."""
    with path.open(encoding="utf-8-sig", newline="") as stream:
        return [[float(word) for word in line] for line in csv.reader(stream) if line]


def largest_error(values: list[list[float]], expected: list[list[float]]) -> float:
    """The largest difference beyond none, in nats; infinite where a value is not finite.

    Raises:
        ValueError: the shapes differ.
    """
    if [len(line) for line in values] != [len(line) for line in expected]:
        lines, width = len(expected), len(expected[0])
        raise ValueError(f"{lines} lines of {width} numbers are needed")
    worst = 0.0
    for line, correct_line in zip(values, expected, strict=True):
        for value, correct in zip(line, correct_line, strict=True):
            difference = abs(value - correct) if math.isfinite(value) else math.inf
            worst = max(worst, difference)
    return worst


def agrees(values: list[list[float]], expected: list[list[float]]) -> bool:
    """Whether every value is as near as it must be."""
    for line, correct_line in zip(values, expected, strict=True):
        for value, correct in zip(line, correct_line, strict=True):
            allowed = max(ABSOLUTE, RELATIVE * abs(correct))
            if not abs(value - correct) <= allowed:  # also NaN
                return False
    return True


def outcome(name: str, path: Path) -> tuple[bool, str]:
    """Whether a case agrees, and the line that says so.

    Raises:
        ValueError: the file holds something else than numbers, or of another shape.
        OSError: it cannot be read.
    """
    expected = numbers(CASES / name / "expected.csv")
    if not path.is_file():
        return False, f"{name:12s} missing: {path}"
    values = numbers(path)
    error = largest_error(values, expected)
    is_right = agrees(values, expected)
    word = "agrees" if is_right else "DIFFERS"
    return is_right, f"{name:12s} {word}, largest difference {error:.3g} nats"


def main(words: list[str] | None = None) -> int:
    """Prints a line for each case; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("output", type=Path, metavar="OUTPUT")
    output = parser.parse_args(words).output
    right = []
    for folder in sorted(CASES.iterdir()):
        path = output / f"{folder.name}.csv"
        try:
            is_right, line = outcome(folder.name, path)
        except (OSError, ValueError, csv.Error) as error:
            print(f"check: {path} cannot be compared: {error}.", file=sys.stderr)
            return 2
        right.append(is_right)
        print(line)
    print(f"{sum(right)} of {len(right)} cases agree")
    return 0 if all(right) else 1


if __name__ == "__main__":
    sys.exit(main())
