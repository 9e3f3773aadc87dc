"""Whether the Parzen estimate orders decoders otherwise than annealed importance sampling (AIS).

Wu, Burda, Salakhutdinov and Grosse (2017, Table 2) measured adversarial nets, VAE and GMMN both
ways. Of two models, `reversal` says by how many nats the two measures order them otherwise. AIS is
believed no further than its gap: it gives lower bounds, and the model that it puts lower may be
better by the gap of upper and lower bounds.
"""

import itertools
from collections.abc import Mapping, Sequence

from replicate.experiments.base import (
    ExperimentResult,
    MeasureConfig,
    MeasureStudy,
    ModelMeasures,
    NotApplicable,
    PerSeed,
)

#: The decoders that Wu et al. compare.
ROWS = ("adversarial_nets", "vae", "gmmn")
PAIRS = tuple(itertools.combinations(ROWS, 2))
#: The two measures.
PARZEN, ANNEALED = "parzen", "annealed_likelihood"


class DecoderOrder(MeasureStudy):
    """Decides W1."""

    statements = ("W1",)

    def measure(
        self, config: MeasureConfig, models: Mapping[str, ModelMeasures], seeds: Sequence[int]
    ) -> ExperimentResult:
        """Of every seed the reversal of each pair."""
        _require_measures(models)
        reversals: dict[str, PerSeed] = {}
        for first, second in PAIRS:
            name = f"reversal_of_{first}_and_{second}"
            reversals[name] = [reversal(models[first], models[second], seed) for seed in seeds]
        values = {name: _values(models[name], seeds) for name in ROWS}
        return ExperimentResult(
            checks={"W1": reversals}, series={"dataset": config.dataset, "measures": values}
        )


def reversal(first: ModelMeasures, second: ModelMeasures, seed: int) -> float | None:
    """By how many nats the measures order two models otherwise; negative where they agree.

    It is the smaller of the two differences, that of AIS less the gap of the model that AIS puts
    lower, and 0 where the gap is wider. None where a model's seed failed or is missing.
    """
    ours, theirs = first.values.get(seed), second.values.get(seed)
    if ours is None or theirs is None:
        return None
    parzen = ours[PARZEN] - theirs[PARZEN]
    annealed = ours[ANNEALED] - theirs[ANNEALED]
    lower = first if annealed < 0 else second
    # By chance an upper bound can lie below a lower one: such a gap is none.
    gap = max(lower.gaps[seed], 0.0)
    believed = max(abs(annealed) - gap, 0.0)
    size = min(abs(parzen), believed)
    agree = (parzen > 0) == (annealed > 0)
    return -size if agree else size


def _require_measures(models: Mapping[str, ModelMeasures]) -> None:
    """Refuses a run that lacks a row, or one of both measures of a seed that did not fail."""
    missing = [name for name in ROWS if name not in models]
    if missing:
        raise NotApplicable(f"measures missing: the run has none of {', '.join(missing)}")
    for name in ROWS:
        for seed, values in models[name].values.items():
            lacking = [label for label in (PARZEN, ANNEALED) if label not in (values or {})]
            if values is not None and lacking:
                raise NotApplicable(
                    f"measures missing: {name}, seed {seed}, has no {', '.join(lacking)}"
                )


def _values(model: ModelMeasures, seeds: Sequence[int]) -> dict[str, PerSeed]:
    """Both measures of every seed, and the gap of the bounds."""
    of_model: dict[str, PerSeed] = {PARZEN: [], ANNEALED: [], "gap": []}
    for seed in seeds:
        values = model.values.get(seed)
        of_model[PARZEN].append(values[PARZEN] if values else None)
        of_model[ANNEALED].append(values[ANNEALED] if values else None)
        of_model["gap"].append(model.gaps[seed] if values else None)
    return of_model


EXPERIMENT = DecoderOrder()
