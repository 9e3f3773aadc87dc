"""Renders the play page: a trained MNIST generator that a browser computes with.

One file that opens offline. A visitor draws digits by a seed, moves through z, and walks between
two z. What it shows is live and no result: its weights are rounded, and no estimate is made of
them.

  python -m replicate play --out report/play.html
  python -m replicate play --generator rounded.json --out play.html

Without --generator it is the first rounded.json among the kept runs (results/reference/), written
by `python -m replicate round`. Where there is none, the page says so in a sentence. `make report`
makes the page too, and links to it.
"""

import argparse
from pathlib import Path

from replicate.report.play_page import generator_of, play_page
from replicate.storage.files import write_text
from replicate.storage.paths import home_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the tool's arguments."""
    parser.add_argument(
        "--results",
        type=home_path,
        default=Path("results"),
        metavar="FOLDER",
        help="results, with kept runs below reference/ (default: results)",
    )
    parser.add_argument(
        "--generator",
        type=home_path,
        metavar="FILE",
        help="the rounded.json of a generator, instead of the kept one",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="HTML file to write"
    )


def run(arguments: argparse.Namespace) -> None:
    """Writes the page, and says what is on it."""
    generator = generator_of(arguments.results, arguments.generator)
    text = play_page(generator)
    write_text(arguments.out, text)
    content = "no rounded generator is there, as the page says"
    if generator is not None:
        content = f"seed {generator.seed} of {generator.name}"
    kibibytes = len(text.encode()) / 1024
    print(f"play: {content} -> {arguments.out} ({kibibytes:.0f} KiB)")
