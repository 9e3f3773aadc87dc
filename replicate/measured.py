"""What the blocks of seeds of one model on one data set measured, put together (docs/protocol.md, sections 1 and 5)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from replicate.errors import ReplicateError
from replicate.statistics import (
    interquartile_mean,
    interquartile_mean_interval,
    mean_interval,
    standard_deviation,
    variance_components,
)

#: What all blocks of a model must have in common.
SHARED = ("n_test", "n_samples", "n_validation", "validation_available", "dimension", "sigmas", "chains")


def measured(evaluations: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, Any] | None:
    """Puts the blocks of one model on one data set together.

    Args:
        evaluations: (file, content) of every block.

    Returns:
        None if there is no evaluation; means are over the seeds that did not fail, which are counted beside them.
    """
    if not evaluations:
        return None
    every = sorted((seed for _, content in evaluations for seed in content["per_seed"]), key=lambda s: s["seed"])
    shared = _shared(evaluations, [seed["seed"] for seed in every])
    good = [seed for seed in every if not seed["failed"]]
    per_seed = [_seed(seed) for seed in good]
    values = [seed["log_likelihood"] for seed in per_seed]
    return {
        "mean": _mean(values),
        "sd_over_seeds": standard_deviation(values),
        "standard_error_test": _mean([seed["standard_error"] for seed in per_seed]),
        "standard_error_folds": _mean([seed["standard_error_folds"] for seed in per_seed]),
        "interval": mean_interval(values),
        "interquartile_mean": interquartile_mean(values) if values else None,
        "interquartile_interval": interquartile_mean_interval(values),
        "variances": _variances(good, per_seed),
        "effective_samples": _least([seed["effective_samples"] for seed in per_seed]),
        "autocorrelation": good[0]["draws"][0]["autocorrelation"] if good else None,
        "at_edge": [s["seed"] for s in good if any(fold["at_edge"] for d in s["draws"] for fold in d["folds"])],
        "fine_mean": _mean([fold["fine_log_likelihood"] for s in good for d in s["draws"] for fold in d["folds"]]),
        "seeds": [seed["seed"] for seed in every],
        "failed": [{"seed": seed["seed"], **seed["failed"]} for seed in every if seed["failed"]],
        "per_seed": per_seed,
        **shared,
        "files": [file for file, _ in evaluations],
    }


def _shared(evaluations: Sequence[tuple[str, Mapping[str, Any]]], seeds: Sequence[int]) -> dict[str, Any]:
    """What the blocks have in common; blocks with a seed in common, or evaluated otherwise, are refused."""
    if len(seeds) != len(set(seeds)):
        again = next(seed for seed in seeds if list(seeds).count(seed) > 1)
        raise ReplicateError(
            f"seed {again} stands in more than one of {', '.join(file for file, _ in evaluations)}; a seed counts "
            "once: leave out the results of blocks that are no longer in the parameters."
        )
    first, content = evaluations[0]
    shared = {name: content[name] for name in SHARED} | {"sampler": content.get("sampler")}
    for file, content in evaluations:
        if other := next((name for name, value in shared.items() if content.get(name) != value), None):
            raise ReplicateError(f"{file} has another {other} than {first}; evaluate both alike.")
    return shared


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _least(values: Sequence[float | None]) -> float | None:
    return min((value for value in values if value is not None), default=None)


def _seed(seed: Mapping[str, Any]) -> dict[str, Any]:
    """One seed that did not fail: errors are means over its draws, the effective samples those of its worst draw."""
    draws = seed["draws"]
    return {
        "seed": seed["seed"],
        "log_likelihood": seed["log_likelihood"],
        "standard_error": _mean([draw["standard_error"] for draw in draws]),
        "standard_error_folds": _mean([draw["standard_error_folds"] for draw in draws]),
        "effective_samples": _least([draw["effective_samples"] for draw in draws]),
    }


def _variances(good: Sequence[Mapping[str, Any]], per_seed: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The three variances apart, each with its standard deviation; null where it cannot be told or came out negative.

    `test_images` is the squared standard error over test images, the mean of the seeds'.
    """
    parts = variance_components([[draw["log_likelihood"] for draw in seed["draws"]] for seed in good])
    images = _mean([seed["standard_error"] ** 2 for seed in per_seed])
    return {
        name: {"variance": value, "sd": float(np.sqrt(value)) if value is not None and value >= 0 else None}
        for name, value in (("seed", parts.seed), ("draw", parts.draw), ("test_images", images))
    }
