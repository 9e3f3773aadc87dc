"""What the paper states in words, as the page shows it: verdict, figures, how it was made, and reference runs."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from replicate.embedded import embedded_svg
from replicate.experiments import DEFAULT_DATASET, ON_IMAGES
from replicate.params import load_params
from replicate.provenance import Step
from replicate.traced import ResultFolder, Traced

#: Verdict states in the order in which the summary tells them, with the words behind a number of statements.
COUNTED = {
    "replicated": "replicated",
    "not replicated": "not replicated",
    "inconclusive": "inconclusive",
    "withheld": "withheld",
    "not applicable": "not applicable here",
    "not attempted": "not attempted",
}
#: Instead of a data set: an experiment that makes its own data, and a kept run of which nothing tells its data.
OWN_DATA, UNKNOWN_DATA = "data of its own", "not recorded"


def dataset_of(claim: Traced, settings: Path) -> str:
    """The data set that a kept run judged a claim on.

    Args:
        claim: its entry; claims that were kept before it was recorded there have no `dataset`.
        settings: the run's `params.yaml`, which then tells it.
    """
    if "dataset" in claim:
        return claim["dataset"] or OWN_DATA
    experiment = claim["experiment"]
    if experiment not in ON_IMAGES:
        return OWN_DATA
    given = load_params(str(settings)).experiments if settings.is_file() else {}
    return str(given[experiment].get("dataset", DEFAULT_DATASET)) if experiment in given else UNKNOWN_DATA


def statements_of(claims: Traced, results: ResultFolder, made: Iterable[Step]) -> list[dict[str, Any]]:
    """Every statement of the paper beside Table 1: its figures, how it was made, and what reference runs found.

    A figure stands under the first statement of its experiment alone, for its ids must not occur twice.
    """
    kept = {
        path.parent.name: (results.read(path.relative_to(results.folder).as_posix()), path.with_name("params.yaml"))
        for path in sorted(results.folder.glob("reference/statements/*/claims.json"))
    }
    steps_of = {step.file: step for step in made}
    shown: set[str] = set()
    found = []
    for claim in claims["claims"]:
        figures: list[dict[str, Any]] = []
        data: Traced | None = None
        name = claim["experiment"]
        if name is not None and name not in shown:
            shown.add(name)
            drawn = results.read(f"figures/{name}/figures.json")
            for figure in drawn["figures"]:
                path = results.folder / f"figures/{name}/{figure['name']}.svg"
                figures.append({"svg": embedded_svg(path, "draw"), "source": figure})
            if figures:
                data = results.read(f"experiments/{name}.json")
        references = [
            {
                "name": run, "claim": other, "dataset": dataset_of(other, settings),
                "same_rule": other["protocol_sha256"] == claim["protocol_sha256"],
            }
            for run, (of_run, settings) in kept.items()
            for other in of_run["claims"]
            if other["claim"] == claim["claim"] and other["state"] != "not attempted"
        ]  # fmt: skip
        step = steps_of.get(claim["result"]) if claim["result"] is not None else None
        found.append({"claim": claim, "figures": figures, "data": data, "step": step, "references": references})
    return found


def counted(claims: Traced) -> list[dict[str, Any]]:
    """How many statements have each verdict state, in the order in which the summary tells them."""
    return [
        {"state": state, "words": words, "count": claims["counts"][state]}
        for state, words in COUNTED.items()
        if state in claims["counts"]
    ]
