"""Compares the results of two folders of the project byte by byte.

python tools/same_results.py ONE OTHER

Left out is what is measured anew at every run, the records (*.run.json) and the report's section on
costs, and results/standing.txt, which DVC alone writes.
"""

import argparse
import re
import signal
import sys
from pathlib import Path

#: What DVC's first stage says of the files that are there; Snakemake has no such file.
STANDING = "standing.txt"
COSTS = re.compile(rb'<section id="costs".*?</section>', re.DOTALL)


def results(root: Path) -> dict[str, bytes]:
    """Path below `root` -> content, of every file that must not differ between runs."""
    contents = {}
    for path in sorted((root / "results").rglob("*")):
        measured_anew = path.name == STANDING or path.name.endswith(".run.json")
        if path.is_file() and not measured_anew:
            contents[str(path.relative_to(root))] = path.read_bytes()
    page = root / "report" / "index.html"
    contents["report/index.html"] = COSTS.sub(b"", page.read_bytes())
    contents["report/play.html"] = page.with_name("play.html").read_bytes()
    return contents


def main() -> None:
    """Prints how many files agree; exits with 1 and their names if any differ."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs=2, type=Path)
    left, right = (results(folder) for folder in parser.parse_args().folders)
    names = left.keys() | right.keys()
    differing = sorted(name for name in names if left.get(name) != right.get(name))
    if differing:
        sys.exit(f"{len(differing)} of {len(names)} files differ: {', '.join(differing)}")
    print(f"{len(left)} files are the same, byte by byte")


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `... | head -1` ends it quietly
    main()
