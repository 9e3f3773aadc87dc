"""Measures speed and error, and prints one table for each word given.

  python -m benchmarks                          parzen and training
  python -m benchmarks peers growth             these two instead
  python -m benchmarks sweep --device cuda      blocks of seeds on a GPU
  python -m benchmarks engines --demo           with the demo, which takes many minutes

Every figure is measured in this run and means something beside the others of its table: contenders take turns, and what
is shown is the median of their times with the quartiles in brackets. Nothing is downloaded: images are made from the
digits that ship with scikit-learn.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks import engines, growth, machine, parzen, peers, protocol, public_loop, sweep, training
from replicate.params import Compute
from replicate.training.backend import Backend, configure


@dataclass(frozen=True)
class Table:
    """One word of the command line.

    Attributes:
        about: what it shows, for `--help`.
        rows: the measurement.
    """

    about: str
    rows: Callable[[argparse.Namespace, Backend], dict[str, str]]


TABLES = {
    "parzen": Table(
        "the Parzen window against one matrix product, memory, error (half a minute)",
        lambda given, _: parzen.benchmark(given.repeats),
    ),
    "training": Table(
        "an epoch of the MNIST recipe against its matrix products (half a minute)",
        lambda given, _: training.benchmark(given.repeats),
    ),
    "peers": Table(
        "the Parzen window beside the released algorithm and scikit-learn (2 minutes)",
        lambda given, _: peers.benchmark(given.repeats),
    ),
    "protocol": Table(
        "the whole choice of sigma and test; a million samples in flat memory (3 minutes)",
        lambda given, _: protocol.benchmark(given.repeats),
    ),
    "loop": Table(
        "training beside the loop of a public repository (half a minute)",
        lambda given, _: public_loop.benchmark(given.repeats),
    ),
    "growth": Table(
        "time and memory against size, with fitted exponents (2 minutes)",
        lambda given, _: growth.benchmark(given.repeats),
    ),
    "sweep": Table(
        "blocks of 1, 2, 5 and 10 seeds, on --device (half a minute)",
        lambda given, backend: sweep.benchmark(backend.device, given.repeats),
    ),
    "engines": Table(
        "start-up, and Snakemake around the jobs of the smoke preset (3 minutes)",
        lambda given, _: engines.benchmark(given.repeats, given.demo),
    ),
}


def _parser() -> argparse.ArgumentParser:
    listed = "\n".join(f"  {name:10s} {table.about}" for name, table in TABLES.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=f"{__doc__}\ntables (times on two cores, with the default repeats):\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("tables", nargs="*", metavar="TABLE", help="any of those above (default: parzen training)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default 2)")
    parser.add_argument("--repeats", type=int, default=7, help="timed calls of each contender (default 7)")
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="for `sweep`; other tables use the CPU"
    )
    parser.add_argument("--demo", action="store_true", help="`engines` also runs the demo, twice")
    return parser


def show(title: str, rows: dict[str, str]) -> None:
    """Prints a table with its title."""
    width = max(map(len, rows))
    print(title, *(f"  {name:{width}}  {text}" for name, text in rows.items()), "", sep="\n", flush=True)


def main() -> None:
    """Prints the machine's facts and the tables that are asked for."""
    parser = _parser()
    given = parser.parse_args()
    wanted = given.tables or ["parzen", "training"]
    if unknown := [name for name in wanted if name not in TABLES]:
        parser.error(f"there is no table {unknown[0]!r}; the tables are {', '.join(TABLES)}")
    backend = configure(Compute(device=given.device, threads=given.threads))
    show("machine", machine.facts(backend))
    for name in wanted:
        show(name, TABLES[name].rows(given, backend))


if __name__ == "__main__":
    main()
