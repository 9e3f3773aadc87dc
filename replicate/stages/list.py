"""Names the registered data sets, models and experiments.

python -m replicate list
python -m replicate list --json
"""

import argparse

from replicate import datasets, models
from replicate.files import canonical_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The stage's arguments."""
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")


def registered() -> dict[str, list[dict[str, str]]]:
    """Every registered data set, model and experiment with its title."""
    return {
        "datasets": [{"name": name, "title": entry[0]} for name, entry in datasets.REGISTRY.items()],
        "models": [{"name": name, "title": entry[0]} for name, entry in models.REGISTRY.items()],
        "experiments": [],
    }


def run(arguments: argparse.Namespace) -> None:
    """Prints what is registered."""
    found = registered()
    if arguments.json:
        print(canonical_json(found), end="")
        return
    for kind, entries in found.items():
        print(f"{kind}:" + ("" if entries else " none"))
        for entry in entries:
            print(f"  {entry['name']:18s} {entry['title']}")
