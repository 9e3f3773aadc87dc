"""Whether the Parzen estimate and other measures order the rows of Table 1 alike (slides: L5).

The order of the rows by the Parzen estimate beside their order by every other measure that has a
value for each of them, within a seed: Kendall's tau, 1 where both are the same. The rule in
protocol.yaml is about MNIST, the rows of Table 1, and the sampler that decides these.
"""

from collections.abc import Mapping, Sequence

from replicate.experiments.base import (
    ExperimentResult,
    MeasureConfig,
    MeasureStudy,
    ModelMeasures,
    NotApplicable,
    PerSeed,
)
from replicate.measures import REGISTRY
from replicate.measures.ranking import agreement_of_seed

#: The rows of Table 1.
ROWS = ("dbn", "stacked_cae", "deep_gsn", "adversarial_nets")
#: The sampler that decides a row of Markov chains (protocol.yaml, `samplers`).
SAMPLER = "published"
_PARZEN = "parzen"


class RankAgreement(MeasureStudy):
    """Decides L5."""

    statements = ("L5",)

    def measure(
        self, config: MeasureConfig, models: Mapping[str, ModelMeasures], seeds: Sequence[int]
    ) -> ExperimentResult:
        """Kendall's tau of every seed, the mean over measures."""
        if config.dataset != "mnist":
            raise NotApplicable("the rule is about the rows of Table 1 on MNIST")
        missing = [name for name in ROWS if name not in models]
        if missing:
            raise NotApplicable(f"the run has no measures of {', '.join(missing)}")
        for name in ROWS:
            # Another sampler can move a row by more than the gaps that the order hangs on.
            if models[name].sampler not in (None, SAMPLER):
                raise NotApplicable(
                    f"{name} is sampled by `{models[name].sampler}`, the rule is about `{SAMPLER}`"
                )
        labels = _common_labels([models[name] for name in ROWS])
        if not labels:
            raise NotApplicable("no measure but the Parzen estimate has a value for every row")
        per_measure: dict[str, PerSeed] = {label: [] for label in labels}
        means: PerSeed = []
        for seed in seeds:
            taus = _of_seed(models, seed, labels)
            known = [tau for tau in taus.values() if tau is not None]
            means.append(sum(known) / len(known) if known else None)
            for label in labels:
                per_measure[label].append(taus.get(label))
        return ExperimentResult(
            checks={"L5": {"rank_agreement_with_other_measures": means}},
            series={"dataset": config.dataset, "rows": list(ROWS), "measures": per_measure},
        )


def _common_labels(models: Sequence[ModelMeasures]) -> list[str]:
    """The measures that rank rows and have a value for every seed that did not fail."""
    common: set[str] | None = None
    for model in models:
        for values in model.values.values():
            if values is not None:
                # The same measures for all seeds, or their means would be of different things.
                common = set(values) if common is None else common & set(values)
    names = sorted(common or ())
    return [name for name in names if REGISTRY[name.split("/")[0]].ranked and name != _PARZEN]


def _of_seed(
    models: Mapping[str, ModelMeasures], seed: int, labels: Sequence[str]
) -> dict[str, float | None]:
    """Tau of every measure; none where a row's seed failed or is missing."""
    rows: dict[str, Mapping[str, float]] = {}
    for name in ROWS:
        values = models[name].values.get(seed)
        # A tau over fewer rows is of another order, and would not stand beside those of other
        # seeds.
        if values is None:
            return {}
        rows[name] = values
    return agreement_of_seed(rows, _PARZEN, labels)


EXPERIMENT = RankAgreement()
