"""Pools the seeds of one model on one data set (docs/protocol.md, sections 1 and 5)."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from replicate.errors import ReplicateError
from replicate.records.schema import (
    Evaluation,
    FailedSeed,
    MeasuredCell,
    SeedEvaluation,
    SeedMeans,
    VarianceComponent,
    Variances,
)
from replicate.verdicts.statistics import (
    as_list,
    interquartile_mean,
    interquartile_mean_interval,
    mean_interval,
    standard_deviation,
    variance_components,
)

#: What all blocks of a model must have in common.
#: Blocks that differ in one of these are estimates of different quantities, whose mean is none.
SHARED = (
    "n_test",
    "n_samples",
    "n_validation",
    "validation_available",
    "dimension",
    "sigmas",
    "chains",
)
#: The result file of each block of seeds, and its content.
EvaluatedBlocks = Sequence[tuple[str, Evaluation]]


def pool_seeds(blocks: EvaluatedBlocks) -> MeasuredCell | None:
    """The seeds of all blocks of one model on one data set together.

    Means are over the seeds that did not fail; how many failed stands beside them.

    Args:
        blocks: (file, evaluation) of every block.

    Returns:
        None if there is no block.

    Raises:
        ReplicateError: a seed stands in two blocks, or blocks were evaluated differently.
    """
    if not blocks:
        return None
    seeds = _all_seeds(blocks)
    _check_blocks_agree(blocks)
    # A failed seed has no value. It stands beside the mean, and stops the verdict.
    sound = [seed for seed in seeds if not seed["failed"]]
    per_seed = [_seed_means(seed) for seed in sound]
    values = [means["log_likelihood"] for means in per_seed]
    errors_test = [means["standard_error"] for means in per_seed]
    errors_folds = [means["standard_error_folds"] for means in per_seed]
    effective_samples = [means["effective_samples"] for means in per_seed]
    # `_check_blocks_agree` has made the first block stand for all.
    _, first = blocks[0]
    return {
        "mean": _mean(values),
        "sd_over_seeds": standard_deviation(values),
        "standard_error_test": _mean(errors_test),
        "standard_error_folds": _mean(errors_folds),
        "interval": as_list(mean_interval(values)),
        "interquartile_mean": interquartile_mean(values) if values else None,
        "interquartile_interval": as_list(interquartile_mean_interval(values)),
        "variances": _variances(sound, errors_test),
        # The worst seed: a mean would hide a chain that stands still.
        "effective_samples": _least(effective_samples),
        "autocorrelation": sound[0]["draws"][0]["autocorrelation"] if sound else None,
        "at_edge": [seed["seed"] for seed in sound if _is_at_edge(seed)],
        "fine_mean": _mean(_fine_log_likelihoods(sound)),
        "seeds": [seed["seed"] for seed in seeds],
        "failed": _failed_seeds(seeds),
        "per_seed": per_seed,
        "n_test": first["n_test"],
        "n_samples": first["n_samples"],
        "n_validation": first["n_validation"],
        "validation_available": first["validation_available"],
        "dimension": first["dimension"],
        "sigmas": first["sigmas"],
        "chains": first["chains"],
        "sampler": first.get("sampler"),
        "files": [file for file, _ in blocks],
    }


def _all_seeds(blocks: EvaluatedBlocks) -> list[SeedEvaluation]:
    """The seeds of all blocks, ascending; one that stands in two blocks is refused."""
    seeds: list[SeedEvaluation] = []
    for _, evaluation in blocks:
        seeds += evaluation["per_seed"]
    # The bootstrap draws indices, so its interval hangs on the order, and blocks may come in any.
    seeds.sort(key=lambda seed: seed["seed"])
    numbers = [seed["seed"] for seed in seeds]
    repeated = [number for number, count in Counter(numbers).items() if count > 1]
    # A seed that counts twice would make the spread over seeds too small.
    if repeated:
        files = ", ".join(file for file, _ in blocks)
        raise ReplicateError(
            f"seed {repeated[0]} stands in more than one of {files}; a seed counts once: "
            "leave out the results of blocks that are no longer in the parameters."
        )
    return seeds


def _check_blocks_agree(blocks: EvaluatedBlocks) -> None:
    """Refuses blocks that were evaluated differently."""
    first_file, first = blocks[0]
    for file, evaluation in blocks:
        # By `get`: kept results of earlier versions do not name their sampler.
        for name in (*SHARED, "sampler"):
            value = evaluation.get(name)
            if value != first.get(name):
                raise ReplicateError(
                    f"{file} has another {name} than {first_file}; evaluate both alike."
                )


def _mean(values: Iterable[float | None]) -> float | None:
    """The mean of the values that are known; None where none is."""
    # None stands for "not measured" (an error over folds where there are none), never for a failed
    # seed.
    known = [value for value in values if value is not None]
    if not known:
        return None
    return float(np.mean(known))


def _least(values: Iterable[float | None]) -> float | None:
    """The least of the values that are known; None where none is."""
    known = [value for value in values if value is not None]
    return min(known, default=None)


def _seed_means(seed: SeedEvaluation) -> SeedMeans:
    """Means of a seed that did not fail over its draws; effective samples are the worst draw's."""
    draws = seed["draws"]
    if seed["log_likelihood"] is None:
        raise ValueError(f"seed {seed['seed']} did not fail, and has no log-likelihood")
    return {
        "seed": seed["seed"],
        "log_likelihood": seed["log_likelihood"],
        "standard_error": _mean(draw["standard_error"] for draw in draws),
        "standard_error_folds": _mean(draw["standard_error_folds"] for draw in draws),
        "effective_samples": _least(draw["effective_samples"] for draw in draws),
    }


def _failed_seeds(seeds: Iterable[SeedEvaluation]) -> list[FailedSeed]:
    failed: list[FailedSeed] = []
    for seed in seeds:
        failure = seed["failed"]
        if failure:
            failed.append({"seed": seed["seed"], **failure})
    return failed


def _is_at_edge(seed: SeedEvaluation) -> bool:
    """Whether some bandwidth of the seed is the smallest or the largest of the grid."""
    for draw in seed["draws"]:
        for fold in draw["folds"]:
            if fold["at_edge"]:
                return True
    return False


def _fine_log_likelihoods(seeds: Iterable[SeedEvaluation]) -> list[float]:
    """Log-likelihoods with the bandwidths of the fine grid: every seed, draw and fold."""
    values = []
    for seed in seeds:
        for draw in seed["draws"]:
            values += [fold["fine_log_likelihood"] for fold in draw["folds"]]
    return values


def _variances(seeds: Sequence[SeedEvaluation], errors_test: Iterable[float | None]) -> Variances:
    """The variances of training seeds, of draws of samples and of test images apart.

    That of test images is the mean over seeds of the squared standard error.
    """
    draws_of_seeds = [_draw_values(seed) for seed in seeds]
    # Draws of one seed share its weights: mixed, they would hide the variance of training.
    components = variance_components(draws_of_seeds)
    # Variances are averaged, not deviations: only they add up.
    squared_errors = [error**2 for error in errors_test if error is not None]
    return {
        "seed": _component(components.seed),
        "draw": _component(components.draw),
        "test_images": _component(_mean(squared_errors)),
    }


def _draw_values(seed: SeedEvaluation) -> list[float]:
    """The log-likelihood of every draw of a seed, nats."""
    draws = seed["draws"]
    return [draw["log_likelihood"] for draw in draws]


def _component(variance: float | None) -> VarianceComponent:
    """A variance with its standard deviation, which a negative estimate does not have."""
    deviation = None
    if variance is not None and variance >= 0:
        deviation = math.sqrt(variance)
    return {"variance": variance, "sd": deviation}
