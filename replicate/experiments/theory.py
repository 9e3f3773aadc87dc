"""Section 4 of the paper, exactly: the optimal D, the criterion it leaves to G, and descent on p_g (P1, TH1, P2).

Densities live on a grid, where integrals are sums to rounding error; distributions of the descent are discrete. The
stochastic part trains a network D on samples of p_data = N(0, 1) and p_g = N(1, 1) and compares it with both.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import PositiveFloat, PositiveInt
from scipy.special import expit, log_expit, rel_entr

from replicate.datasets.base import Splits
from replicate.experiments.base import Experiment, ExperimentConfig, Found
from replicate.loops import each, steps, task
from replicate.models import perceptron
from replicate.params import OURS, setting
from replicate.training.adam import adam_step, moments
from replicate.training.objectives import discriminator_loss
from replicate.training.streams import Streams

Array = NDArray[np.float64]
#: Distance of the means of p_g = N(m, 1) and p_data = N(0, 1).
SHIFTS = (0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0)
#: p_g against which D is trained.
TRAINED_SHIFT = 1.0
GRID = np.linspace(-16.0, 22.0, 7601)
STEP = float(GRID[1] - GRID[0])
#: The logit of the optimal D as a function of log p_data and log p_g (equation 2 of the paper).
Optimum = Callable[[Array, Array], Array]


class TheoryConfig(ExperimentConfig):
    """How D is trained, and how p_g descends."""

    updates: int = setting(3000, "updates of D by Adam", OURS, ge=10)
    batch_size: int = setting(512, "samples of p_data, and of p_g, per update", OURS, ge=1)
    hidden: tuple[PositiveInt, ...] = setting((32, 32), "rectified units per layer of D", OURS, min_length=1)
    learning_rate: PositiveFloat = setting(0.003, "of Adam at the start; it falls linearly to 0", OURS)
    points: int = setting(12, "values of x in the descent on a discrete p_g", OURS, ge=2)
    descent_steps: int = setting(4000, "steps of the descent on p_g", OURS, ge=1)
    descent_rate: PositiveFloat = setting(0.25, "size of a step, on the natural parameters of p_g", OURS)


def log_normal(mean: float) -> Array:
    """The log-density of N(mean, 1) on the grid."""
    return -((GRID - mean) ** 2) / 2 - math.log(2 * math.pi) / 2


def optimal(log_data: Array, log_generated: Array) -> Array:
    """The logit of D* = p_data / (p_data + p_g), proposition 1: exact where D* itself rounds to 0 or 1."""
    return log_data - log_generated


def value(logits: Array, data: Array, generated: Array, weight: float) -> float:
    """V(D, G) = E_data[log D] + E_g[log(1 - D)], equation 1, as a sum over points of mass `weight` times density."""
    return float((data * log_expit(logits) + generated * log_expit(-logits)).sum() * weight)


def criterion(data: Array, generated: Array, weight: float) -> float:
    """C(G) = -log 4 + 2 JSD(p_data || p_g), theorem 1, from the divergences to the mixture alone."""
    middle = (data + generated) / 2
    return -math.log(4) + float((rel_entr(data, middle) + rel_entr(generated, middle)).sum() * weight)


def best_response(data: Array, generated: Array) -> Array:
    """The logit that maximises p_data log D + p_g log(1 - D) at every point, by bisection on its slope.

    Knows nothing of proposition 1; the slope p_data (1 - D) - p_g D falls in the logit, so its root is the maximum.
    """
    low, high = np.full_like(data, -700.0), np.full_like(data, 700.0)
    for _ in range(80):
        middle = (low + high) / 2
        rising = data * expit(-middle) > generated * expit(middle)
        low, high = np.where(rising, middle, low), np.where(rising, high, middle)
    return (low + high) / 2


def grid_facts(optimum: Optimum) -> dict[str, list[float]]:
    """For every shift: the largest error of `optimum`, and C(G) beside the V that it reaches."""
    data = np.exp(log_normal(0.0))
    facts: dict[str, list[float]] = {"error": [], "value": [], "criterion": []}
    for shift in SHIFTS:
        generated = np.exp(log_normal(shift))
        claimed = optimum(log_normal(0.0), log_normal(shift))
        facts["error"].append(float(np.abs(expit(claimed) - expit(best_response(data, generated))).max()))
        facts["value"].append(value(claimed, data, generated, STEP))
        facts["criterion"].append(criterion(data, generated, STEP))
    return facts


def train_discriminator(config: TheoryConfig, seeds: Sequence[int], device: torch.device) -> dict[str, list[Any]]:
    """Trains D on samples; at some updates its mean error against D*, and how far V(D, G) is below C(G).

    The mean is over (p_data + p_g) / 2, on the grid, so it has no sampling error.
    """
    streams, sizes = Streams(seeds, device), (1, *config.hidden, 1)
    parameters = perceptron.initial(streams, "discriminator", sizes, 0)
    slots, layers = moments(parameters), len(sizes) - 1
    data, generated = np.exp(log_normal(0.0)), np.exp(log_normal(TRAINED_SHIFT))
    best = expit(optimal(log_normal(0.0), log_normal(TRAINED_SHIFT)))
    bound, middle = criterion(data, generated, STEP), (data + generated) / 2 * STEP
    points = torch.from_numpy(GRID).float().to(device)[None, :, None].expand(len(seeds), -1, -1)
    looks = sorted({round(config.updates ** (k / 24)) for k in range(25)})
    curve: dict[str, list[Any]] = {"update": looks, "error": [], "shortfall": []}
    for update in steps(config.updates):
        leaves = {name: tensor.requires_grad_() for name, tensor in parameters.items()}
        real, fake = (
            streams.normal("noise", update, config.batch_size, 1, part=part) + part * TRAINED_SHIFT for part in (0, 1)
        )
        both = perceptron.outputs(torch.cat([real, fake], 1), leaves, "discriminator", layers)[..., 0]
        loss = discriminator_loss(both[:, : config.batch_size], both[:, config.batch_size :]).sum()
        gradients = dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))
        parameters = {name: tensor.detach() for name, tensor in leaves.items()}
        adam_step(parameters, slots, gradients, update, config.learning_rate * (1 - update / config.updates))
        if update + 1 in looks:
            with torch.no_grad():
                logits = perceptron.outputs(points, parameters, "discriminator", layers)[..., 0].double().cpu().numpy()
            curve["error"].append([float(e) for e in np.abs(expit(logits) - best) @ middle])
            curve["shortfall"].append([bound - value(row, data, generated, STEP) for row in logits])
    return curve


def descend(config: TheoryConfig, seeds: Sequence[int], optimum: Optimum = optimal) -> dict[str, Any]:
    """Proposition 2 on a discrete p_g: small steps against the gradient of C, with D at its optimum before each.

    With D = D* the gradient of V by p_g is log(1 - D*), up to a constant; p_g moves in its natural parameters
    (exponentiated gradient), which keeps it a distribution. `convexity` is the largest excess of C at a mixture over
    the mixture of C, on random segments: never above 0 where C is convex.
    """
    jsd, rises, convexity = [], [], []
    looks = sorted({round(config.descent_steps ** (k / 30)) for k in range(31)})
    for seed in each(seeds, "descent of seed {}"):
        streams = Streams((seed,), torch.device("cpu"), torch.float64)
        drawn = streams.uniform("init", 0, 2 + 2 * 200, config.points)[0].clamp_min(1e-6).numpy()
        distributions = -np.log(drawn)
        distributions /= distributions.sum(1, keepdims=True)  # uniform on the simplex
        data, generated = distributions[0], distributions[1]
        path = [criterion(data, generated, 1.0)]
        for _ in steps(config.descent_steps, "step"):
            slope = log_expit(-optimum(np.log(data), np.log(generated)))  # log(1 - D)
            moved = np.log(generated) - config.descent_rate * slope
            generated = np.exp(moved - moved.max())
            generated /= generated.sum()
            path.append(criterion(data, generated, 1.0))
        divergence = (np.array(path) + math.log(4)) / 2
        jsd.append([float(divergence[step]) for step in looks])
        rises.append(float(np.diff(path).max()))
        ends = distributions[2:].reshape(2, -1, config.points)
        share = streams.uniform("init", 1, ends.shape[1], 1)[0].numpy()
        between = [criterion(data, row, 1.0) for row in share * ends[0] + (1 - share) * ends[1]]
        chords = [
            s * criterion(data, one, 1.0) + (1 - s) * criterion(data, two, 1.0)
            for s, one, two in zip(share[:, 0], *ends, strict=True)
        ]
        convexity.append(float(np.max(np.subtract(between, chords))))
    return {"step": looks, "jsd": jsd, "largest_rise": rises, "largest_excess": convexity}


class Theory(Experiment):
    """P1, TH1 and P2."""

    Config = TheoryConfig
    claims: ClassVar[tuple[str, ...]] = ("P1", "TH1", "P2")

    def __init__(self, optimum: Optimum = optimal) -> None:
        self._optimum = optimum

    def run(self, config: TheoryConfig, seeds: Sequence[int], device: torch.device, splits: Splits | None) -> Found:
        """All three; `splits` is not used."""
        grid = grid_facts(self._optimum)
        with task("D on samples", 0.9):
            trained = train_discriminator(config, seeds, device)
        descent = descend(config, seeds, self._optimum)
        gaps = np.abs(np.subtract(grid["value"], grid["criterion"]))
        checks: dict[str, dict[str, float | list[float | None]]] = {
            "P1": {"error_on_the_grid": max(grid["error"]), "error_of_a_trained_discriminator": trained["error"][-1]},
            "TH1": {
                "gap_between_value_and_criterion": float(gaps.max()),
                "distance_of_the_minimum_from_minus_log_4": abs(grid["criterion"][0] + math.log(4)),
                "smallest_excess_elsewhere": min(grid["criterion"][1:]) + math.log(4),
                "trained_discriminator_above_the_criterion": -float(np.min(trained["shortfall"])),
                "shortfall_of_a_trained_discriminator": trained["shortfall"][-1],
            },
            "P2": {
                "divergence_at_the_end": max(row[-1] for row in descent["jsd"]),
                "largest_rise_of_a_step": max(descent["largest_rise"]),
                "largest_excess_over_a_chord": max(descent["largest_excess"]),
            },
        }
        return Found(checks, {"grid": {"shift": list(SHIFTS), **grid}, "trained": trained, "descent": descent})


EXPERIMENT = Theory()
