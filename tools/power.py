"""Prints the power of the rules of statements: how often a statement's weakest check would pass if
the kept runs are right.

python tools/power.py results/reference/statements/seeds-*/statements.json

Mean and spread of each check over all seeds of the given files; then the chance that a one-sided
test at 5 % with the protocol's number of seeds passes, by Student's noncentral t distribution.
Printed is the least of a statement's checks; that all of them pass is less likely. Statements that
ask for any one check are left out, since no single check has their power. No seed may stand in two
of the files.
"""

import argparse
import json
import math
import signal
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

LEVEL = 0.05


def power(values: Sequence[float], threshold: float, sign: int, seeds: int) -> float:
    """The chance that the mean of `seeds` draws, with mean and spread of `values`, tests beyond the
    threshold.

    Args:
        sign: 1 if the mean is to be above the threshold, -1 if below.
    """
    distance, spread = sign * (float(np.mean(values)) - threshold), float(np.std(values, ddof=1))
    if np.ptp(values) == 0:
        distance = sign * (values[0] - threshold)  # a rounded mean of equal values is another one
        return float(distance > 0)
    quantile = stats.t.ppf(1 - LEVEL, seeds - 1)
    return float(stats.nct.sf(quantile, seeds - 1, distance / spread * math.sqrt(seeds)))


def main() -> None:
    """One line per statement: seeds known, seeds that the protocol asks for, and the least power of
    its checks.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "files",
        nargs="+",
        type=Path,
        help="statements.json of runs of the full form with other seeds each",
    )
    known: defaultdict[str, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    rules: dict[str, dict[str, Any]] = {}
    asked: defaultdict[str, int] = defaultdict(int)
    for file in parser.parse_args().files:
        for statement in json.loads(file.read_text(encoding="utf-8"))["statements"]:
            tested = {check["reads"]: check for check in statement["checks"] if check["per_seed"]}
            name = " on ".join(
                filter(None, (statement["statement"], statement.get("dataset")))
            )  # older files do not name it
            if statement.get("asks_for") == "any":
                continue
            if tested:
                rules[name] = tested
                asked[name] = max(asked[name], statement["seeds"])
            for reads, check in tested.items():
                known[name][reads] += [value for value in check["per_seed"] if value is not None]
    for name, checks in rules.items():
        found = [
            power(
                known[name][reads],
                check["threshold"],
                -1 if check["side"] == "below" else 1,
                asked[name],
            )
            for reads, check in checks.items()
        ]
        count = len(known[name][next(iter(checks))])
        print(f"{name:20} {count:3} seeds known, {asked[name]} asked for: {min(found):.2f}")


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `... | head -1` ends it quietly
    main()
