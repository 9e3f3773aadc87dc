"""`python -m benchmarks`: one table; every figure is a ratio within this run, with medians and quartiles."""

import argparse

from benchmarks import parzen, training
from replicate.params import Compute
from replicate.training.backend import configure


def main() -> None:
    """Runs the benchmarks on the CPU and prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default 2)")
    parser.add_argument("--repeats", type=int, default=7, help="timed calls of each contender (default 7)")
    arguments = parser.parse_args()
    configure(Compute(device="cpu", threads=arguments.threads))
    rows = (
        {"threads": str(arguments.threads)}
        | parzen.benchmark(arguments.repeats)
        | training.benchmark(arguments.repeats)
    )
    width = max(map(len, rows))
    for name, text in rows.items():
        print(f"{name:{width}}  {text}")


if __name__ == "__main__":
    main()
