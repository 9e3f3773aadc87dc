"""Names the registered data sets, models and experiments, and says which data users have yet to bring.

python -m replicate list
python -m replicate list --json
"""

import argparse

from replicate import datasets, models
from replicate.datasets.base import UserDataset
from replicate.files import canonical_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The stage's arguments."""
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")


def _absent(name: str) -> dict[str, str]:
    """What is missing of a data set that users bring themselves, in the place where its defaults look for it."""
    dataset = datasets.load_dataset(name)
    if not isinstance(dataset, UserDataset):
        return {}
    sentence = dataset.missing(dataset.place(datasets.data_folder() / name, dataset.Config()))
    return {"absent": sentence} if sentence else {}


def registered() -> dict[str, list[dict[str, str]]]:
    """Every registered data set, model and experiment with its title, and `absent` where data are missing."""
    return {
        "datasets": [{"name": name, "title": entry[0], **_absent(name)} for name, entry in datasets.REGISTRY.items()],
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
            if "absent" in entry:
                print(f"  {'':18s} not there: {entry['absent']}")
