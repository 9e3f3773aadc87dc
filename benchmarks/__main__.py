"""Measures speed and error, and prints one table for each word given.

  python -m benchmarks                          parzen and training
  python -m benchmarks peers growth             these two instead
  python -m benchmarks sweep --device cuda      blocks of seeds on a GPU
  python -m benchmarks engines --demo           with the demo, which takes many minutes

Every figure is measured in this run and means something beside the others of its table: contenders
take turns, and what is shown is the median of their times with the quartiles in brackets. Nothing
is downloaded: images are made from the digits that ship with scikit-learn.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks import (
    engines,
    growth,
    machine,
    measures,
    parzen,
    peers,
    protocol,
    public_loop,
    scoring,
    sweep,
    training,
)
from replicate.errors import ReplicateError
from replicate.params import Compute
from replicate.training.backend import Backend, configure


@dataclass(frozen=True)
class Table:
    """A table, named by one word of the command line.

    Attributes:
        about: what it shows, for `--help`.
        rows: measures it: name of a row -> its text.
    """

    about: str
    rows: Callable[[argparse.Namespace, Backend], dict[str, str]]


TABLES = {
    "parzen": Table(
        "the Parzen window against one matrix product, memory, error (half a minute)",
        lambda arguments, _: parzen.benchmark(arguments.repeats),
    ),
    "training": Table(
        "an epoch of the MNIST recipe against its matrix products (half a minute)",
        lambda arguments, _: training.benchmark(arguments.repeats),
    ),
    "peers": Table(
        "the Parzen window beside the released algorithm and scikit-learn (2 minutes)",
        lambda arguments, _: peers.benchmark(arguments.repeats),
    ),
    "protocol": Table(
        "the whole choice of sigma and test; a million samples in flat memory (3 minutes)",
        lambda arguments, _: protocol.benchmark(arguments.repeats),
    ),
    "loop": Table(
        "training beside the loop of a public repository (half a minute)",
        lambda arguments, _: public_loop.benchmark(arguments.repeats),
    ),
    "measures": Table(
        "hours that the dearest measures of a row on MNIST take (2 minutes)",
        lambda arguments, _: measures.benchmark(arguments.repeats),
    ),
    "score": Table(
        "the command `score` on 10,000 samples of MNIST's size (a minute)",
        lambda arguments, _: scoring.benchmark(arguments.repeats),
    ),
    "growth": Table(
        "time and memory against size, with fitted exponents (2 minutes)",
        lambda arguments, _: growth.benchmark(arguments.repeats),
    ),
    "sweep": Table(
        "blocks of 1, 2, 5 and 10 seeds, on --device (half a minute)",
        lambda arguments, backend: sweep.benchmark(backend.device, arguments.repeats),
    ),
    "engines": Table(
        "start-up, and Snakemake around the jobs of the smoke preset (3 minutes)",
        lambda arguments, _: engines.benchmark(arguments.repeats, arguments.demo),
    ),
}


def _parser() -> argparse.ArgumentParser:
    listed = "\n".join(f"  {name:10s} {table.about}" for name, table in TABLES.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=f"{__doc__}\ntables (times on two cores, with the default repeats):\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "tables", nargs="*", metavar="TABLE", help="any of those above (default: parzen training)"
    )
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default 2)")
    parser.add_argument(
        "--repeats", type=int, default=7, help="timed calls of each contender (default 7)"
    )
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="for `sweep`; other tables use the CPU",
    )
    parser.add_argument("--demo", action="store_true", help="`engines` also runs the demo, twice")
    return parser


def show(title: str, rows: dict[str, str]) -> None:
    """Prints a table with its title."""
    width = max(map(len, rows))
    print(title)
    for name, text in rows.items():
        print(f"  {name:{width}}  {text}")
    print(flush=True)


def main() -> None:
    """Prints the machine's facts and the tables of the command line."""
    parser = _parser()
    arguments = parser.parse_args()
    names = arguments.tables or ["parzen", "training"]
    for name in names:
        if name not in TABLES:
            parser.error(f"there is no table {name!r}; the tables are {', '.join(TABLES)}")
    try:
        backend = configure(Compute(device=arguments.device, threads=arguments.threads))
    except ReplicateError as error:
        parser.error(str(error))
    show("machine", machine.facts(backend))
    for name in names:
        show(name, TABLES[name].rows(arguments, backend))


if __name__ == "__main__":
    main()
