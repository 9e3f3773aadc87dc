"""What is measured of a sampler, against chains whose answer is known: one that stands still, and
white noise.
"""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from replicate.diagnostics.sampler_draws import (
    COMPARED,
    Images,
    cosines,
    independent_pixels,
    log_likelihood,
    measured_draw,
    remembered_start,
    spacing_over_chains,
)
from replicate.models.parts.chains import ChainConfig, ChainModel
from replicate.models.parts.samplers import Sampler
from replicate.training.streams import Streams

SIGMAS = (0.1, 0.2, 0.4)
#: Pixels of the images below; enough that two random ones have a correlation near 0.
DIMENSION = 200


class Still(ChainModel):
    """Chains that never leave the training images they start at."""

    Config = ChainConfig
    own_start = "images"

    def initialise(self, train: Tensor) -> None:
        """It has no parameters."""

    def train_step(self, batch: Tensor, epoch: int, step: int) -> dict[str, Tensor]:
        """It learns nothing."""
        return {}

    def chain_start(self, draw: int) -> Tensor:
        return self.drawn_images(draw)

    def chain_start_at_images(self, draw: int) -> Tensor:
        return self.drawn_images(draw)

    def chain_step(self, state: Tensor, draw: int, step: int) -> Tensor:
        return state

    def chain_images(self, state: Tensor, draw: int, step: int) -> Tensor:
        return state


class Noise(Still):
    """Chains that forget everything at once: every image is fresh white noise."""

    def chain_step(self, state: Tensor, draw: int, step: int) -> Tensor:
        return self.streams.uniform("evaluation", draw, *state.shape[1:], part=step + 1)


def images(seed: int = 0) -> Images:
    """Random images of few pixels that are on, so that white noise is nothing like them."""
    generator = np.random.default_rng(seed)

    def drawn(count: int) -> Tensor:
        return torch.from_numpy((generator.random((count, DIMENSION)) < 0.1).astype(np.float32))

    return Images(train=drawn(300), held_out=drawn(100), valid=[drawn(60)], test=[drawn(60)])


def measured(kind: type[ChainModel], sampler: Sampler, count: int = 200) -> dict[str, float]:
    """The one seed's first draw."""
    model = kind(ChainConfig(), (1, 10, 20), Streams((0,), torch.device("cpu")))
    of = images()
    model.train, model.sampler = of.train, sampler
    (found,) = measured_draw(model, count, 0, of, SIGMAS)
    return found


MANY = Sampler(chains=20, burn_in=50, thinning=2, start="images", pixels="means")


def test_chains_that_stand_still_remember_their_start_and_are_copies() -> None:
    found = measured(Still, MANY)
    assert found["remembered_start"] == pytest.approx(1.0, abs=0.05)
    assert found["memorisation"] == 1.0
    assert found["effective_samples"] < 40, "of 200: twenty chains, ten images of each"


def test_white_noise_remembers_nothing_and_is_no_better_than_independent_pixels() -> None:
    found, of = measured(Noise, MANY), images()
    assert found["remembered_start"] == pytest.approx(0.0, abs=0.05)
    assert found["log_likelihood"] < log_likelihood(independent_pixels(of.train, 200), of, SIGMAS)


def test_independent_pixels_have_each_pixels_own_mean_and_no_correlation() -> None:
    train = torch.zeros(4, 2)
    train[:2] = 1.0  # both pixels on together, half of the time
    drawn = independent_pixels(train, 40_000).double()
    assert drawn.mean(0).tolist() == pytest.approx([0.5, 0.5], abs=0.01)
    assert float(((drawn[:, 0] - 0.5) * (drawn[:, 1] - 0.5)).mean()) == pytest.approx(
        0.0, abs=0.005
    )


def test_the_correlation_with_the_start_against_a_loop_over_pairs() -> None:
    generator = np.random.default_rng(3)
    starts, last, others = (generator.normal(size=(count, 7)) for count in (3, 3, 4))
    mean = generator.normal(size=7)

    def correlation(one: np.ndarray, other: np.ndarray) -> float:
        a, b = one - mean, other - mean
        return float(a @ b / math.sqrt((a @ a) * (b @ b)))

    own = np.mean([correlation(starts[k], last[k]) for k in range(3)])
    unrelated = np.mean([correlation(other, image) for other in others for image in last])
    found = remembered_start(*(torch.from_numpy(rows) for rows in (starts, last, others, mean)))
    assert found == pytest.approx(own - unrelated, abs=1e-12)


def test_an_image_that_is_the_mean_itself_has_no_correlation() -> None:
    assert cosines(torch.zeros(1, 3), torch.ones(1, 3)).tolist() == [[0.0]]


def test_one_chain_of_every_state() -> None:
    """Its last image is its last state, however long it ran."""
    one = Sampler(chains=1, burn_in=0, thinning=1, start="images", pixels="means")
    assert measured(Still, one)["remembered_start"] == pytest.approx(1.0, abs=0.1)
    assert measured(Noise, one)["remembered_start"] == pytest.approx(0.0, abs=0.2)


@given(count=st.integers(1, 12_000), chains=st.integers(1, 1000))
def test_memorisation_meets_every_chain_alike(count: int, chains: int) -> None:
    spacing = spacing_over_chains(count, chains)
    compared = np.arange(count)[::spacing][:COMPARED]
    assert len(compared) == min(count, COMPARED)
    # Images of a draw come chain by chain in turn.
    of_chains = np.bincount(compared % chains, minlength=chains)
    assert of_chains.max() - of_chains.min() <= 1


def test_one_chain_is_looked_at_evenly_over_the_whole_draw() -> None:
    assert spacing_over_chains(10_000, 1) == 10
    assert spacing_over_chains(10_000, 10) == 9
