"""Writes the measured means of Table 1 as a nested mapping of numbers, the form that `dvc metrics` compares.

python tools/metrics.py results/table1.json results/metrics.json
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from replicate.files import write_json
from replicate.result import read_result

KEPT = {"mean": "log_likelihood", "sd_over_seeds": "sd_over_seeds", "standard_error_test": "standard_error_test"}


def metrics(table: dict[str, Any]) -> dict[str, dict[str, dict[str, float]]]:
    """Data set -> model -> name -> value in nats, of every cell that was measured."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for row in table["rows"]:
        for dataset, cell in row["cells"].items():
            if measured := cell["measured"]:
                values = {name: measured[key] for key, name in KEPT.items() if measured.get(key) is not None}
                found.setdefault(dataset, {})[row["model"]] = values
    return found


def main() -> None:
    """Reads the table and writes its metrics."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    found = metrics(read_result(arguments.table, "table"))
    write_json(arguments.out, found)
    print(f"metrics: {json.dumps(found)}")


if __name__ == "__main__":
    main()
