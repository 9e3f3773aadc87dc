"""Prints which share of small faults in the code the tests notice (docs/mutants.md).

python tools/mutants.py                                  # all mutants of the four rooms: many hours
python tools/mutants.py --room likelihood --minutes 30   # a random sample of one room's

mutmut makes the mutants, each with one small fault, and runs for each the tests that call its
function; pyproject.toml says which lines have none, and which tests count. Where time does not
suffice for all, a random sample is tried, and the share has a 95 % interval (Wilson).
"""

import argparse
import random
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from replicate.storage.paths import package_root
from replicate.verdicts.statistics import wilson_interval

ROOT = package_root()
ROOMS = ("likelihood", "records", "training", "verdicts")
#: Mutants of the first batch, by whose time the size of the next is chosen.
FIRST_BATCH = 20
#: Outcomes that a run of the tests would show as a failure.
NOTICED = frozenset({"killed", "timeout", "segfault", "suspicious"})
_RESULT = re.compile(r"\s+(\S+): (.+)")


def mutants_of(room: str) -> list[str]:
    """The names of all mutants of a room, as mutmut calls them, in the order of the code."""
    # Only `make mutants` installs it.
    from mutmut.mutation.file_mutation import mutate_file_contents
    from mutmut.utils.format_utils import get_mutant_name

    names: list[str] = []
    for path in sorted((ROOT / "replicate" / room).glob("*.py")):
        relative = path.relative_to(ROOT)
        file = mutate_file_contents(str(relative), path.read_text(encoding="utf-8"))
        names += [get_mutant_name(relative, name) for name in file.mutant_names]
    return names


def _mutmut(*words: str) -> str:
    """What a command of mutmut prints."""
    command = [str(Path(sys.executable).with_name("mutmut")), *words]
    process = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if process.returncode:
        sys.exit(f"{process.stdout[-3000:]}\n`mutmut {words[0]}` failed: see above.")
    return process.stdout


def try_mutants(names: Sequence[str], processes: int) -> None:
    """Runs the tests on these mutants; mutmut keeps what came out in the folder `mutants`."""
    _mutmut("run", "--max-children", str(processes), *names)


def outcomes(names: Sequence[str]) -> dict[str, str]:
    """Mutant -> what came out: killed, survived, no tests, timeout ..."""
    lines = _mutmut("results", "--all", "true").splitlines()
    matches = [_RESULT.fullmatch(line) for line in lines]
    outcome_of = {match[1]: match[2] for match in matches if match}
    return {name: outcome_of[name] for name in names}


def try_for(names: Sequence[str], seconds: float, processes: int) -> list[str]:
    """Tries mutants, in this order, until the time is over; those that were tried.

    The size of a batch is fixed before it is tried, so that mutants which take long are not left
    out, and the beginning of a random order is a random sample.
    """
    started = time.monotonic()
    tried = 0
    batch = FIRST_BATCH
    while tried < len(names) and batch > 0:
        batch_started = time.monotonic()
        batch_names = names[tried : tried + batch]
        try_mutants(batch_names, processes)
        tried += len(batch_names)
        seconds_each = (time.monotonic() - batch_started) / len(batch_names)
        seconds_left = seconds - (time.monotonic() - started)
        batch = int(seconds_left / seconds_each)
    return list(names[:tried])


def report(room: str, outcome_of: dict[str, str], total: int) -> None:
    """Prints a room's share, and the mutants that no test noticed."""
    tried = len(outcome_of)
    noticed = sum(outcome in NOTICED for outcome in outcome_of.values())
    text = f"{room}: {noticed} of {tried} mutants killed, {noticed / tried:.1%}"
    if tried < total:
        low, high = wilson_interval(noticed, tried)
        text += f" (of {total}; 95 % interval {low:.1%} to {high:.1%})"
    print(text)
    for outcome, count in sorted(Counter(outcome_of.values()).items()):
        print(f"  {outcome}: {count}")
    for name, outcome in outcome_of.items():
        if outcome not in NOTICED:
            print(f"  {outcome}: {name}   (mutmut show {name})")
    sys.stdout.flush()


def main() -> None:
    """Tries the mutants of the rooms and prints their shares."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--room", choices=ROOMS, action="append", help="by default all four")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="for all rooms")
    parser.add_argument("--seed", type=int, default=0, help="of the random order")
    parser.add_argument("--processes", type=int, default=1, help="mutants at a time")
    options = parser.parse_args()
    rooms = options.room or ROOMS
    seconds = 60 * options.minutes / len(rooms)
    for room in rooms:
        names = mutants_of(room)
        order = random.Random(options.seed).sample(names, len(names))
        tried = order
        if seconds == float("inf"):
            try_mutants(order, options.processes)
        else:
            tried = try_for(order, seconds, options.processes)
        report(room, outcomes(tried), len(names))


if __name__ == "__main__":
    main()
