"""Section 4.1: the optimal D, the criterion that it leaves to G, and descent on p_g (P1, TH1, P2).

The paper claims: for a fixed G the optimal D is p_data / (p_data + p_g) (proposition 1); with it G
faces C(G) = -log 4 + 2 JSD(p_data, p_g), least only where p_g is p_data (theorem 1); and p_g
converges to p_data if D is at its optimum before every small step (proposition 2).

Measured, on densities of a grid, where integrals are sums to rounding error: the formula of
proposition 1 against the best answer found point by point; V at that D against C(G), which is
computed from the JSD alone; the criterion along a descent on discrete p_g. Besides, a network D is
trained on samples of p_data = N(0, 1) and p_g = N(1, 1) and compared with both formulas.
"""

import math
from collections.abc import Callable, Sequence
from typing import ClassVar, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import PositiveFloat, PositiveInt
from scipy.special import expit, log_expit, rel_entr

from replicate.datasets.base import Splits
from replicate.experiments.base import (
    Checks,
    Experiment,
    ExperimentConfig,
    ExperimentResult,
    geometric_looks,
)
from replicate.models.parts import perceptron
from replicate.params import OURS, setting
from replicate.progress.loops import each, steps, task
from replicate.training.adam import adam_step, moments
from replicate.training.objectives import discriminator_loss
from replicate.training.streams import Streams

Array = NDArray[np.float64]
#: Distances of the means of p_g = N(m, 1) and p_data = N(0, 1).
SHIFTS = (0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0)
#: Mean of the p_g against which D is trained.
TRAINED_SHIFT = 1.0
GRID = np.linspace(-16.0, 22.0, 7601)
STEP = float(GRID[1] - GRID[0])
#: Looks at D while it learns, and at a descent.
LOOKS, DESCENT_LOOKS = 25, 31
#: Random segments between two p_g on which convexity is checked.
SEGMENTS = 200
#: The logit of the optimal D as a function of log p_data and log p_g (equation 2 of the paper).
Optimum = Callable[[Array, Array], Array]


class TheoryConfig(ExperimentConfig):
    """How D is trained, and how p_g descends."""

    updates: int = setting(3000, "updates of D by Adam", OURS, ge=10)
    batch_size: int = setting(512, "samples of p_data, and of p_g, per update", OURS, ge=1)
    hidden: tuple[PositiveInt, ...] = setting(
        (32, 32), "rectified units per layer of D", OURS, min_length=1
    )
    learning_rate: PositiveFloat = setting(
        0.003, "of Adam at the start; it falls linearly to 0", OURS
    )
    points: int = setting(12, "values of x in the descent on a discrete p_g", OURS, ge=2)
    descent_steps: int = setting(4000, "steps of the descent on p_g", OURS, ge=1)
    descent_rate: PositiveFloat = setting(
        0.25,
        "size of a step, on the natural parameters of p_g; from 2 on steps overshoot the data",
        OURS,
        le=2,
    )


class GridFacts(TypedDict):
    """One number for every shift; `value` and `criterion` in nats."""

    error: list[float]
    value: list[float]
    criterion: list[float]


class TrainingCurve(TypedDict):
    """How a trained D compares with D* after some updates; rows of one number a seed."""

    update: list[int]
    error: list[list[float]]
    shortfall: list[list[float]]


class Descent(TypedDict):
    """Descents of all seeds: the JSD (seeds, looks) in nats, and two numbers a seed."""

    step: list[int]
    jsd: list[list[float]]
    largest_rise: list[float]
    largest_excess: list[float]


def log_normal(mean: float) -> Array:
    """The log-density of N(mean, 1) on the grid."""
    squares = (GRID - mean) ** 2
    log_normaliser = math.log(2 * math.pi) / 2
    return -squares / 2 - log_normaliser


def optimal(log_data: Array, log_generated: Array) -> Array:
    """The logit of D* = p_data / (p_data + p_g), proposition 1.

    Exact also where D* itself rounds to 0 or 1.
    """
    return log_data - log_generated


def value(logits: Array, data: Array, generated: Array, weight: float) -> float:
    """V(D, G) = E_data[log D] + E_g[log(1 - D)], equation 1, in nats.

    Args:
        logits: of D at every point.
        data: density of p_data at every point; `generated` that of p_g.
        weight: what a point's density is multiplied with to give its mass.
    """
    at_data = data * log_expit(logits)
    # log(1 - sigmoid(x)) is log sigmoid(-x), which stays finite where D is 1 to rounding.
    at_generated = generated * log_expit(-logits)
    density = at_data + at_generated
    return float(density.sum() * weight)


def criterion(data: Array, generated: Array, weight: float) -> float:
    """C(G) = -log 4 + 2 JSD(p_data || p_g), theorem 1, by divergences to the mixture alone."""
    mixture = (data + generated) / 2
    of_data = rel_entr(data, mixture)
    of_generated = rel_entr(generated, mixture)
    divergences = of_data + of_generated
    doubled_divergence = float(divergences.sum() * weight)
    return -math.log(4) + doubled_divergence


def best_response(data: Array, generated: Array) -> Array:
    """The logit that maximises p_data log D + p_g log(1 - D) at every point, by bisection.

    It knows nothing of proposition 1. The slope p_data (1 - D) - p_g D falls in the logit, so its
    root is the maximum.
    """
    # At these bounds `expit` is 0 or 1 to rounding; 80 halvings end below the spacing of float64.
    low = np.full_like(data, -700.0)
    high = np.full_like(data, 700.0)
    for _ in range(80):
        middle = (low + high) / 2
        # The derivative at the middle, by its two terms.
        gain_on_data = data * expit(-middle)
        loss_on_generated = generated * expit(middle)
        is_rising = gain_on_data > loss_on_generated
        low = np.where(is_rising, middle, low)
        high = np.where(is_rising, high, middle)
    return (low + high) / 2


def grid_facts(optimum: Optimum) -> GridFacts:
    """For every shift: the largest error of `optimum`, and C(G) beside the V that it reaches."""
    log_data = log_normal(0.0)
    data = np.exp(log_data)
    facts: GridFacts = {"error": [], "value": [], "criterion": []}
    for shift in SHIFTS:
        log_generated = log_normal(shift)
        generated = np.exp(log_generated)
        logits = optimum(log_data, log_generated)
        best_logits = best_response(data, generated)
        differences = expit(logits) - expit(best_logits)
        # Of probabilities: where D is 0 or 1 logits may differ without meaning.
        errors = np.abs(differences)
        value_at_optimum = value(logits, data, generated, STEP)
        criterion_of_generator = criterion(data, generated, STEP)
        facts["error"].append(float(errors.max()))
        facts["value"].append(value_at_optimum)
        facts["criterion"].append(criterion_of_generator)
    return facts


def train_discriminator(
    config: TheoryConfig, seeds: Sequence[int], device: torch.device
) -> TrainingCurve:
    """Trains D on samples: its mean error against D*, and how far V(D, G) is below C(G).

    The mean is over (p_data + p_g) / 2, on the grid, so it has no sampling error.
    """
    streams = Streams(seeds, device)
    sizes = (1, *config.hidden, 1)
    layers = len(sizes) - 1
    count = config.batch_size
    parameters = perceptron.initial(streams, "discriminator", sizes, 0)
    slots = moments(parameters)
    log_data = log_normal(0.0)
    log_generated = log_normal(TRAINED_SHIFT)
    data = np.exp(log_data)
    generated = np.exp(log_generated)
    best = expit(optimal(log_data, log_generated))
    bound = criterion(data, generated, STEP)
    mixture_mass = (data + generated) / 2 * STEP
    column = torch.from_numpy(GRID).float().to(device)[None, :, None]
    points = column.expand(len(seeds), -1, -1)
    looks = geometric_looks(config.updates, LOOKS)
    curve: TrainingCurve = {"update": looks, "error": [], "shortfall": []}
    for update in steps(config.updates):
        leaves = {name: tensor.requires_grad_() for name, tensor in parameters.items()}
        real = streams.normal("noise", update, count, 1, part=0)
        fake = streams.normal("noise", update, count, 1, part=1) + TRAINED_SHIFT
        rows = torch.cat([real, fake], 1)
        batch_outputs = perceptron.outputs(rows, leaves, "discriminator", layers)
        batch_logits = batch_outputs[..., 0]
        real_logits = batch_logits[:, :count]
        fake_logits = batch_logits[:, count:]
        loss = discriminator_loss(real_logits, fake_logits).sum()
        slopes = torch.autograd.grad(loss, list(leaves.values()))
        gradients = dict(zip(leaves, slopes, strict=True))
        parameters = {name: tensor.detach() for name, tensor in leaves.items()}
        fade = 1 - update / config.updates
        rate = config.learning_rate * fade
        adam_step(parameters, slots, gradients, update, rate)
        if update + 1 in looks:
            outputs = perceptron.outputs(points, parameters, "discriminator", layers)[..., 0]
            logits = outputs.double().cpu().numpy()
            distances = np.abs(expit(logits) - best)
            # Weighted by where data and samples are: elsewhere D learns nothing.
            errors = [float(error) for error in distances @ mixture_mass]
            shortfalls = [bound - value(row, data, generated, STEP) for row in logits]
            curve["error"].append(errors)
            curve["shortfall"].append(shortfalls)
    return curve


def descend(config: TheoryConfig, seeds: Sequence[int], optimum: Optimum = optimal) -> Descent:
    """Proposition 2 on a discrete p_g: small steps against the gradient of C, D at its optimum.

    With D = D* the gradient of V by p_g is log(1 - D*), up to a constant. p_g moves in its natural
    parameters (exponentiated gradient), which keeps it a distribution. `largest_excess` is the most
    that C at a mixture exceeds the mixture of C, on random segments: never above 0 if C is convex.
    """
    looks = geometric_looks(config.descent_steps, DESCENT_LOOKS)
    descent: Descent = {"step": looks, "jsd": [], "largest_rise": [], "largest_excess": []}
    for seed in each(seeds, "descent of seed {}"):
        # In float64: the statement is about bounds of 1e-9 and 1e-12.
        streams = Streams((seed,), torch.device("cpu"), torch.float64)
        drawn = streams.uniform("init", 0, 2 + 2 * SEGMENTS, config.points)[0]
        # Exponential variates over their sum are uniform on the simplex.
        # Clamped away from 0, whose logarithm is infinite.
        distributions = -np.log(drawn.clamp_min(1e-6).numpy())
        distributions /= distributions.sum(1, keepdims=True)
        data = distributions[0]
        start = distributions[1]
        path = _path(config, data, start, optimum)
        # C(G) = -log 4 + 2 JSD, theorem 1.
        divergence = (np.array(path) + math.log(4)) / 2
        at_looks = [float(divergence[step]) for step in looks]
        # Of every step, not of the looks: the statement is that none of them rises.
        rises = np.diff(path)
        largest_rise = float(rises.max())
        descent["jsd"].append(at_looks)
        descent["largest_rise"].append(largest_rise)
        starts, ends = distributions[2:].reshape(2, -1, config.points)
        shares = streams.uniform("init", 1, len(starts), 1)[0].numpy()
        excess = _largest_excess(data, starts, ends, shares)
        descent["largest_excess"].append(excess)
    return descent


def _path(config: TheoryConfig, data: Array, start: Array, optimum: Optimum) -> list[float]:
    """C(G) before the first step and after every step of a descent, nats."""
    log_data = np.log(data)
    generated = start
    # The weight 1: points of a discrete p_g have probabilities themselves, not densities.
    path = [criterion(data, generated, 1.0)]
    for _ in steps(config.descent_steps, "step"):
        log_generated = np.log(generated)
        best_logits = optimum(log_data, log_generated)
        slope = log_expit(-best_logits)  # log(1 - D)
        logits = log_generated - config.descent_rate * slope
        # A softmax keeps p_g on the simplex; less its maximum, nothing overflows.
        generated = np.exp(logits - logits.max())
        generated /= generated.sum()
        criterion_of_generator = criterion(data, generated, 1.0)
        path.append(criterion_of_generator)
    return path


def _largest_excess(data: Array, starts: Array, ends: Array, shares: Array) -> float:
    """The most that C lies above its chord, on segments from `starts` to `ends` (segments, points).

    Args:
        shares: (segments, 1), the weight of the start in the mixture.
    """
    mixtures = shares * starts + (1 - shares) * ends
    at_mixtures = [criterion(data, mixture, 1.0) for mixture in mixtures]
    chords = []
    segments = zip(shares[:, 0], starts, ends, strict=True)
    for share, start, end in segments:
        at_start = criterion(data, start, 1.0)
        at_end = criterion(data, end, 1.0)
        chord = share * at_start + (1 - share) * at_end
        chords.append(chord)
    excesses = np.subtract(at_mixtures, chords)
    return float(np.max(excesses))


class Theory(Experiment[TheoryConfig]):
    """P1, TH1 and P2.

    Args:
        optimum: what is taken for the optimal D.
    """

    Config = TheoryConfig
    statements: ClassVar[tuple[str, ...]] = ("P1", "TH1", "P2")

    def __init__(self, optimum: Optimum = optimal) -> None:
        self._optimum = optimum

    def run(
        self,
        config: TheoryConfig,
        seeds: Sequence[int],
        device: torch.device,
        splits: Splits | None,
    ) -> ExperimentResult:
        """All three statements; `splits` is not used."""
        grid = grid_facts(self._optimum)
        with task("D on samples", 0.9):
            trained = train_discriminator(config, seeds, device)
        descent = descend(config, seeds, self._optimum)
        checks = _checks(grid, trained, descent)
        series = {
            "grid": {"shift": list(SHIFTS), **grid},
            "trained": trained,
            "descent": descent,
        }
        return ExperimentResult(checks, series)


def _least_known(looks: Sequence[Sequence[float]]) -> float | None:
    """The least of the numbers of all looks and seeds that are finite; None where none is.

    A seed that diverged has none. Its own checks say so, and this one is of the others.
    """
    numbers = np.asarray(looks)
    known = numbers[np.isfinite(numbers)]
    if not len(known):
        return None
    return float(known.min())


def _checks(grid: GridFacts, trained: TrainingCurve, descent: Descent) -> Checks:
    gaps = np.abs(np.subtract(grid["value"], grid["criterion"]))
    # The first shift is 0, where p_g is p_data.
    at_the_data = grid["criterion"][0]
    elsewhere = grid["criterion"][1:]
    # Of all looks and seeds: no D may ever surpass the optimal one.
    smallest_shortfall = _least_known(trained["shortfall"])
    excess = None if smallest_shortfall is None else -smallest_shortfall
    last_divergences = [row[-1] for row in descent["jsd"]]
    return {
        "P1": {
            "error_on_the_grid": max(grid["error"]),
            "error_of_a_trained_discriminator": trained["error"][-1],
        },
        "TH1": {
            "gap_between_value_and_criterion": float(gaps.max()),
            "distance_of_the_minimum_from_minus_log_4": abs(at_the_data + math.log(4)),
            "smallest_excess_elsewhere": min(elsewhere) + math.log(4),
            "trained_discriminator_above_the_criterion": excess,
            "shortfall_of_a_trained_discriminator": trained["shortfall"][-1],
        },
        "P2": {
            "divergence_at_the_end": max(last_divergences),
            "largest_rise_of_a_step": max(descent["largest_rise"]),
            "largest_excess_over_a_chord": max(descent["largest_excess"]),
        },
    }


EXPERIMENT = Theory()
