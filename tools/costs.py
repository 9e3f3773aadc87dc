"""Prints what the stages of the last run took, and each experiment, from the records beside their results.

python tools/costs.py --since SECONDS   (since the epoch; 0 counts every record)
"""

import argparse
import json
import signal
import time
from pathlib import Path
from typing import Any

RESULTS = Path("results")


def records(since: float) -> dict[str, list[dict[str, Any]]]:
    """Stage -> its records that were written after `since`, in the order in which they were written."""
    found: dict[str, list[dict[str, Any]]] = {}
    paths = [path for path in RESULTS.rglob("*.run.json") if path.stat().st_mtime >= since]
    for path in sorted(paths, key=lambda path: path.stat().st_mtime):
        record = json.loads(path.read_text(encoding="utf-8")) | {"name": path.name.removesuffix(".run.json")}
        found.setdefault(record["stage"], []).append(record)
    return found


def main() -> None:
    """Prints one line per stage and the total."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--since", type=float, default=0.0, help="count records written after this time")
    since = parser.parse_args().since
    found = records(since)
    if not found:
        print("Everything was up to date: no stage ran.")
        return
    print("stage        runs   seconds   peak memory")
    for stage, entries in found.items():
        seconds = sum(entry["wall_seconds"] for entry in entries)
        peak = max(entry["peak_memory_mib"] for entry in entries)
        print(f"{stage:12s} {len(entries):4d} {seconds:9.1f} {peak:9.0f} MiB")
    for entry in sorted(found.get("experiment", []), key=lambda entry: -entry["wall_seconds"]):
        print(f"  {entry['name']:20s} {entry['wall_seconds']:6.1f} {entry['peak_memory_mib']:9.0f} MiB")
    if since:
        print(f"in all            {time.time() - since:9.1f} (wall time, with Snakemake's own)")


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `... | head -1` ends it quietly
    main()
