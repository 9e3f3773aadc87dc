"""Says, in a process of its own, what the code on PYTHONPATH makes of parameters: versions, device, recipes.

A file and no module of the package that is imported: an older commit's code is asked by today's questions. Reads a JSON
list of parameters from standard input, and prints a JSON object. Refusals go to standard error as one sentence.
"""

import json
import sys

import numpy as np
import torch

from replicate.errors import ReplicateError
from replicate.models import load_model
from replicate.params import Params
from replicate.training.backend import configure


def _entry(raw: dict[str, object]) -> dict[str, object]:
    """The backend of an entry's jobs, and of its models whether they can be extended."""
    where = f"entry {raw['preset']}"
    params = Params.parse(raw, where)
    extends = {}
    for model, recipes in params.models.items():
        kind = load_model(model)
        extends[model] = getattr(kind, "extends", False)
        for dataset, recipe in recipes.items():
            kind.config_for(dataset, recipe, prefix=f"{where}: models.{model}.{dataset}")
    here = params.compute.device == "cpu" or torch.cuda.is_available()
    return {"backend": configure(params.compute).facts if here else None, "extends": extends}


def main() -> None:
    """Answers for every entry of standard input."""
    cuda = torch.cuda.is_available()
    found = {
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
        "device": "cuda" if cuda else "cpu",
        "device_name": torch.cuda.get_device_name() if cuda else "CPU",
        "entries": [_entry(raw) for raw in json.load(sys.stdin)],
    }
    print(json.dumps(found))


if __name__ == "__main__":
    try:
        main()
    except ReplicateError as error:
        sys.exit(str(error))
