"""Names the registered data sets, models and experiments, and the data that users have to bring.

python -m replicate list
python -m replicate list --json
"""

import argparse

from replicate import datasets, experiments, models
from replicate.datasets.base import UserDataset
from replicate.storage.files import canonical_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The stage's arguments."""
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")


def _absent(name: str) -> dict[str, str]:
    """What is missing of a data set that users bring themselves, at its default path."""
    dataset = datasets.load_dataset(name)
    if not isinstance(dataset, UserDataset):
        return {}
    folder = datasets.data_folder() / name
    # There may be no parameter file yet, so the defaults say where it belongs.
    path = dataset.data_path(folder, dataset.Config())
    sentence = dataset.missing(path)
    return {"absent": sentence} if sentence else {}


def registered() -> dict[str, list[dict[str, str]]]:
    """Every data set, model and experiment with its title, and `absent` where data are missing."""
    # Titles come from the registries, so that nothing is imported to list what there is.
    entries: dict[str, list[dict[str, str]]] = {"datasets": [], "models": [], "experiments": []}
    for name, entry in datasets.REGISTRY.items():
        entries["datasets"].append({"name": name, "title": entry[0], **_absent(name)})
    for name, entry in models.REGISTRY.items():
        entries["models"].append({"name": name, "title": entry[0]})
    for name, entry in experiments.REGISTRY.items():
        entries["experiments"].append({"name": name, "title": entry[0]})
    return entries


def run(arguments: argparse.Namespace) -> None:
    """Prints what is registered."""
    registries = registered()
    if arguments.json:
        # It ends in a line break of its own.
        print(canonical_json(registries), end="")
        return
    for kind, entries in registries.items():
        print(f"{kind}:")
        for entry in entries:
            print(f"  {entry['name']:18s} {entry['title']}")
            if "absent" in entry:
                print(f"  {'':18s} not there: {entry['absent']}")
