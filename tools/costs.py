"""Prints what the stages of the last run took, and each experiment, from their run records.

python tools/costs.py --since SECONDS   (since the epoch; 0 counts every record)
"""

import argparse
import json
import signal
import time
from dataclasses import dataclass
from pathlib import Path

RESULTS = Path("results")


@dataclass(frozen=True)
class Cost:
    """What one job took, by its run record (`NAME.run.json`)."""

    name: str
    stage: str
    seconds: float
    peak_memory_mib: float


def costs(since: float) -> dict[str, list[Cost]]:
    """Stage -> the costs of its jobs that ended after `since`, in the order in which they ended."""
    paths = [path for path in RESULTS.rglob("*.run.json") if path.stat().st_mtime >= since]
    costs_of_stages: dict[str, list[Cost]] = {}
    for path in sorted(paths, key=lambda path: path.stat().st_mtime):
        record = json.loads(path.read_text(encoding="utf-8"))
        cost = Cost(
            name=path.name.removesuffix(".run.json"),
            stage=record["stage"],
            seconds=record["wall_seconds"],
            peak_memory_mib=record["peak_memory_mib"],
        )
        costs_of_stages.setdefault(cost.stage, []).append(cost)
    return costs_of_stages


def main() -> None:
    """Prints one line for each stage and each experiment, and the total."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--since", type=float, default=0.0, help="count records written after this time"
    )
    since = parser.parse_args().since
    costs_of_stages = costs(since)
    if not costs_of_stages:
        print("Everything was up to date: no stage ran.")
        return
    print("stage        runs   seconds   peak memory")
    for stage, jobs in costs_of_stages.items():
        seconds = sum(job.seconds for job in jobs)
        peak = max(job.peak_memory_mib for job in jobs)
        print(f"{stage:12s} {len(jobs):4d} {seconds:9.1f} {peak:9.0f} MiB")
    experiments = costs_of_stages.get("experiment", [])
    for job in sorted(experiments, key=lambda job: -job.seconds):
        print(f"  {job.name:20s} {job.seconds:6.1f} {job.peak_memory_mib:9.0f} MiB")
    if since:
        print(f"in all            {time.time() - since:9.1f} (wall time, with Snakemake's own)")


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `... | head -1` ends it quietly
    main()
