"""Describes what the code on PYTHONPATH makes of parameters: versions, device, recipes.

The runner starts it as a file, with an older commit's package on PYTHONPATH. So it imports only
what every commit has that blocks were started from, under the same names
(tests/reference/test_describe.py). It reads a JSON list of parameters from standard input and
prints a JSON object; where that code refuses them, one sentence goes to standard error.
"""

import json
import sys

import numpy as np
import torch

from replicate.errors import ReplicateError
from replicate.models import load_model
from replicate.params import Params
from replicate.training.backend import configure


def _described_entry(raw: dict[str, object]) -> dict[str, object]:
    """The backend of an entry's jobs, and whether its models can go on to more epochs."""
    location = f"entry {raw['preset']}"
    params = Params.parse(raw, location)
    extends = {}
    for model, recipes in params.models.items():
        kind = load_model(model)
        extends[model] = getattr(kind, "extends", False)
        for dataset, recipe in recipes.items():
            # For its faults alone: a plan is refused before any block of it runs.
            prefix = f"{location}: models.{model}.{dataset}"
            kind.config_for(dataset, recipe, prefix=prefix)
    backend = None
    if params.compute.device == "cpu" or torch.cuda.is_available():
        backend = configure(params.compute).facts
    return {"backend": backend, "extends": extends}


def main() -> None:
    """Prints the description of every entry on standard input."""
    cuda = torch.cuda.is_available()
    entries = [_described_entry(raw) for raw in json.load(sys.stdin)]
    description = {
        # Settings of checkpoints name them too: a training goes on only where they agree.
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
        "device": "cuda" if cuda else "cpu",
        "device_name": torch.cuda.get_device_name() if cuda else "CPU",
        "entries": entries,
    }
    print(json.dumps(description))


if __name__ == "__main__":
    try:
        main()
    except ReplicateError as error:
        sys.exit(str(error))
