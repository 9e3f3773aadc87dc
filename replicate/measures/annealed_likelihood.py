"""The log-likelihood of a decoder with Gaussian pixels, by annealed importance sampling.

p(x) is the mean over z ~ p(z) of N(x; g(z), s^2 I): what the Parzen estimate would be from
infinitely many samples, were its window chosen for that (Wu, Burda, Salakhutdinov and Grosse 2017).
The width s is chosen on validation images. Values are lower bounds in expectation; `gap` is the
mean difference of upper and lower bounds on images that the model made (`annealing`).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from replicate.likelihood.parzen import is_at_edge
from replicate.measures.annealing import (
    Annealing,
    backward,
    forward,
    lower_bounds,
    pilot,
    temperatures,
    upper_bounds,
)
from replicate.measures.hamiltonian import Decoder, Observations
from replicate.measures.model_set import FIRST_DRAW, ModelSet
from replicate.measures.resampling import Estimate, mean_of
from replicate.params import AnnealingSettings
from replicate.training.streams import Streams

#: Steps of the stream `evaluation`, after `FIRST_DRAW`.
#: A step for each: chains that share numbers would share their errors, and the gap hide them.
_PILOT, _SIMULATED, _NOISE, _FORWARD, _TEST, _BACKWARD = range(6)


@dataclass(frozen=True)
class Likelihoods:
    """What chains say of every seed.

    Attributes:
        sigma: (seeds,) the chosen width.
        at_edge: (seeds,) whether it is the first or the last that was tried.
        test: (seeds, test images) lower bounds, nats.
        lower, upper: (seeds, simulated images) bounds, nats.
        acceptance: (seeds,) mean share of accepted proposals of the pilot run.
    """

    sigma: Tensor
    at_edge: Tensor
    test: Tensor
    lower: Tensor
    upper: Tensor
    acceptance: Tensor


@dataclass(frozen=True)
class _Chains:
    """The chains of a decoder, for one choice of settings."""

    decoder: Decoder
    streams: Streams
    settings: AnnealingSettings

    def annealing(self, draw: int) -> Annealing:
        """Chains with random numbers of their own."""
        return Annealing(
            self.decoder,
            self.streams,
            FIRST_DRAW + draw,
            temperatures(self.settings.temperatures),
            self.settings.leapfrogs,
        )

    def observations(self, images: Tensor, sigma: Tensor) -> Observations:
        """Every image of (seeds or 1, n, dimension) once for each chain, with sigma (seeds,)."""
        # Chains of one image lie side by side, which `per_image` undoes by a reshape.
        rows = images.repeat_interleave(self.settings.chains, 1)
        return Observations(rows, sigma[:, None].expand(-1, rows.shape[1]))

    def per_image(self, log_weights: Tensor) -> Tensor:
        """Log weights (seeds, n * chains) as (seeds, n, chains)."""
        return log_weights.reshape(len(log_weights), -1, self.settings.chains)


def log_likelihoods(
    decoder: Decoder,
    streams: Streams,
    validation: Tensor,
    test: Tensor,
    settings: AnnealingSettings,
) -> Likelihoods:
    """Chooses the width on validation images, then bounds log p(x) of test and simulated images.

    Args:
        decoder: the model.
        streams: of its seeds.
        validation, test: (n, dimension).
        settings: of the chains.
    """
    chains = _Chains(decoder, streams, settings)
    seeds, device = len(streams.seeds), test.device
    widths = torch.tensor(settings.sigmas, dtype=torch.float64, device=device)
    # One chain for every width and validation image.
    count = len(validation)
    # Widths outermost, images within them: `pilot` is told how many groups of rows there are.
    rows = validation.repeat(len(widths), 1)[None]
    sigma_of_rows = widths.repeat_interleave(count).expand(seeds, -1)
    trial = pilot(chains.annealing(_PILOT), Observations(rows, sigma_of_rows), len(widths))
    # No width with NaN is the best: `argmax` would take NaN for the largest.
    curve = trial.log_weights.mean(2).nan_to_num(-torch.inf, -torch.inf, -torch.inf)
    best = curve.argmax(1)
    seed = torch.arange(seeds, device=device)
    sigma = widths[best]
    # (temperatures - 1, seeds, widths) -> (temperatures - 1, seeds). Steps stay the pilot's from
    # here on: one that followed its own chain would bias the weights.
    step_sizes = trial.step_sizes[:, seed, best]

    test_rows = chains.observations(test[None], sigma)
    test_weights = forward(chains.annealing(_TEST), test_rows, step_sizes)
    lower, upper = _bounds_of_simulated(chains, sigma, step_sizes)
    edges = [is_at_edge(int(number), len(widths)) for number in best]
    return Likelihoods(
        sigma=sigma,
        at_edge=torch.tensor(edges),
        test=lower_bounds(chains.per_image(test_weights)),
        lower=lower,
        upper=upper,
        acceptance=trial.acceptance[seed, best],
    )


def _bounds_of_simulated(
    chains: _Chains, sigma: Tensor, step_sizes: Tensor
) -> tuple[Tensor, Tensor]:
    """Lower and upper bounds on log p(x) of images that the model makes, (seeds, n) each."""
    count = chains.settings.simulated
    position = chains.decoder.prior.draw(count, FIRST_DRAW + _SIMULATED, 0)
    with torch.no_grad():
        means = chains.decoder.images(position)
    noise = chains.streams.normal("evaluation", FIRST_DRAW + _NOISE, *means.shape[1:])
    # With the model's noise: only of such images is z an exact draw of the posterior.
    images = means + sigma[:, None, None].to(means.dtype) * noise
    rows = chains.observations(images, sigma)
    forward_weights = forward(chains.annealing(_FORWARD), rows, step_sizes)
    # In the order of `observations`: the chains of an image side by side.
    start = position.repeat_interleave(chains.settings.chains, 1)
    backward_weights = backward(chains.annealing(_BACKWARD), rows, step_sizes, start)
    lower = lower_bounds(chains.per_image(forward_weights))
    return lower, upper_bounds(chains.per_image(backward_weights))


def measure(model_set: ModelSet) -> list[Estimate]:
    """Of each seed: the mean lower bound of test images, nats.

    Details: `sigma`, `at_edge`, `acceptance`, `gap` and the two bounds that it is the difference
    of, `simulated_lower` and `simulated_upper`.
    """
    model, settings = model_set.model, model_set.settings.annealing
    assert settings is not None
    decoder = Decoder(model.prior(), model.decode)
    validation = model_set.images("valid", settings.validation)
    test = model_set.images("test", settings.images)
    bounds = log_likelihoods(decoder, model.streams, validation, test, settings)
    estimates = []
    for seed in range(model.seed_count):
        estimate = mean_of(bounds.test[seed], model_set.settings.resamples)
        # Of simulated images alone are both bounds known: only there is z an exact draw.
        lower, upper = float(bounds.lower[seed].mean()), float(bounds.upper[seed].mean())
        estimate.details["sigma"] = float(bounds.sigma[seed])
        estimate.details["at_edge"] = float(bounds.at_edge[seed])
        estimate.details["acceptance"] = float(bounds.acceptance[seed])
        estimate.details["gap"] = upper - lower
        estimate.details["simulated_lower"] = lower
        estimate.details["simulated_upper"] = upper
        estimates.append(estimate)
    return estimates
