"""The autoencoder and the density of its codes: moments in closed form, EM by scikit-learn, and
PCA.
"""

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from replicate.errors import ReplicateError
from replicate.models.autoencoder import Autoencoder
from replicate.models.parts import mixture
from replicate.training.streams import Streams

CPU = torch.device("cpu")


def images(count: int = 60) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(2).random((count, 8)))


def build(seeds: tuple[int, ...] = (0,), **changes: Any) -> Autoencoder:
    config = Autoencoder.Config(
        **{"hidden": (6,), "code_dimension": 3, "components": 2, "rounds": 5, **changes}
    )
    model = Autoencoder(config, (1, 2, 4), Streams(seeds, CPU, torch.float64))
    model.initialise(images())
    return model


def train(model: Autoencoder, steps: range) -> None:
    for step in steps:
        model.train_step(images()[model.streams.order(step, 60)[:, :10]], step // 6, step)


def clouds(seeds: int = 2, count: int = 300) -> torch.Tensor:
    """Rows of three overlapping Gaussians, far from the origin, (seeds, count, 3)."""
    rng = np.random.default_rng(4)
    shapes = rng.normal(size=(3, 3, 3))
    rows = [
        rng.normal(size=(count // 3, 3)) @ shapes[k] + 3 * rng.normal(size=3)
        for _ in range(seeds)
        for k in range(3)
    ]
    return torch.from_numpy(np.concatenate(rows).reshape(seeds, count, 3)) + 100


def covariance(density: mixture.Mixture) -> torch.Tensor:
    return density.factor @ density.factor.mT


def test_one_component_has_the_mean_and_covariance_of_the_rows() -> None:
    rows = clouds()
    density = mixture.fit(rows, torch.tensor([[5], [7]]), 1)
    for place, block in enumerate(rows.numpy()):
        np.testing.assert_allclose(
            density.mean[place, 0].numpy(), block.mean(0), rtol=0, atol=1e-10
        )
        expected = np.cov(block.T, ddof=0)
        expected += mixture.RIDGE * np.trace(expected) / 3 * np.eye(3)
        np.testing.assert_allclose(
            covariance(density)[place, 0].numpy(), expected, rtol=0, atol=1e-10
        )
    assert torch.equal(density.weight, torch.ones(2, 1, dtype=torch.float64))


@pytest.mark.parametrize("rounds", [1, 2, 20])
def test_rounds_of_em_are_those_of_scikit_learn(
    rounds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mixture, "ROWS", 77)  # several chunks, the last one partial
    rows = clouds()
    chosen = torch.tensor([[0, 120, 250], [10, 20, 290]])
    density = mixture.fit(rows, chosen, rounds)
    for place, block in enumerate(rows.numpy()):
        pooled = np.cov(block.T, ddof=0)
        ridge = mixture.RIDGE * np.trace(pooled) / 3
        precision = np.linalg.inv(pooled + ridge * np.eye(3))
        theirs = GaussianMixture(
            3,
            reg_covar=ridge,
            max_iter=rounds,
            tol=0,
            weights_init=np.full(3, 1 / 3),
            means_init=block[chosen[place]],
            precisions_init=np.stack([precision] * 3),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            theirs.fit(block)
        np.testing.assert_allclose(
            density.weight[place].numpy(), theirs.weights_, rtol=0, atol=1e-8
        )
        np.testing.assert_allclose(density.mean[place].numpy(), theirs.means_, rtol=0, atol=1e-7)
        np.testing.assert_allclose(
            covariance(density)[place].numpy(), theirs.covariances_, rtol=0, atol=1e-7
        )


def test_draws_have_the_moments_of_the_mixture() -> None:
    density = mixture.fit(clouds(), torch.tensor([[0, 120, 250], [10, 20, 290]]), 20)
    streams, count = Streams((1, 2), CPU, torch.float64), 200_000
    rows = density.draw(
        streams.uniform("evaluation", 0, count), streams.normal("evaluation", 0, count, 3, part=1)
    )
    for place, block in enumerate(rows.numpy()):
        weight, mean = density.weight[place].numpy(), density.mean[place].numpy()
        assert weight.min() > 0.1
        centre = weight @ mean
        spread = np.einsum("k,kij->ij", weight, covariance(density)[place].numpy())
        spread += np.einsum("k,ki,kj->ij", weight, mean - centre, mean - centre)
        deviation = np.sqrt(np.diag(spread))
        assert np.abs((block.mean(0) - centre) / deviation).max() < 5 / np.sqrt(count)
        assert np.abs((np.cov(block.T) - spread) / np.outer(deviation, deviation)).max() < 0.02


def test_components_are_chosen_by_weight_and_spread_by_their_own_factor() -> None:
    density = mixture.Mixture(
        torch.tensor([[0.2, 0.0, 0.5, 0.3]]),
        torch.arange(4.0)[None, :, None] * 100,
        torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 4, 1, 1),
    )
    choice = (torch.arange(100)[None] + 0.5) / 100
    rows = density.draw(choice, torch.ones(1, 100, 1))[0, :, 0]
    assert rows.tolist() == [1.0] * 20 + [203.0] * 50 + [304.0] * 30


def test_codes_that_have_collapsed_break_their_own_seed_only() -> None:
    rows = clouds()
    whole = mixture.fit(rows, torch.tensor([[0, 120], [10, 20]]), 3)
    for broken in (torch.nan, 1.0):
        rows[0] = broken
        density = mixture.fit(rows, torch.tensor([[0, 120], [10, 20]]), 3)
        assert density.factor[0].isnan().any()
        for one, other in zip(vars(density).values(), vars(whole).values(), strict=True):
            torch.testing.assert_close(one[1], other[1], rtol=0, atol=1e-12)


def test_a_covariance_that_is_not_positive_has_no_factor() -> None:
    shapes = torch.tensor([[[4.0, 2.0], [2.0, 5.0]], [[1.0, 2.0], [2.0, 1.0]]]).double()
    factors = mixture._factors(shapes, torch.tensor(0.0).double())
    assert factors[0].tolist() == [[2.0, 0.0], [1.0, 2.0]]
    assert factors[1].isnan().all()


def test_the_density_is_that_of_the_codes_of_all_training_images() -> None:
    model = build((0, 1), components=1)
    train(model, range(4))
    model.fit_statistics(images())
    w = {name: value[1].numpy() for name, value in model.parameters.items()}
    hidden = np.maximum(images().numpy() @ w["encoder.0.weight"] + w["encoder.0.bias"], 0)
    codes = hidden @ w["encoder.1.weight"] + w["encoder.1.bias"]
    np.testing.assert_allclose(w["density.mean"][0], codes.mean(0), rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        w["density.factor"][0] @ w["density.factor"][0].T,
        np.cov(codes.T, ddof=0),
        rtol=0,
        atol=1e-5,
    )
    hidden = np.maximum(codes @ w["decoder.0.weight"] + w["decoder.0.bias"], 0)
    expected = 1 / (1 + np.exp(-(hidden @ w["decoder.1.weight"] + w["decoder.1.bias"])))
    np.testing.assert_allclose(
        model.decode(model.encode(images()))[1].numpy(), expected, rtol=0, atol=1e-12
    )


def test_a_linear_autoencoder_spans_the_subspace_of_pca() -> None:
    """Baldi & Hornik 1989: its only minimum is the projection on the leading principal
    components.
    """
    rng = np.random.default_rng(5)
    basis = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    rows = torch.from_numpy(
        rng.normal(size=(200, 8)) * [1.4, 1.2, 1, 0.4, 0.3, 0.3, 0.2, 0.1] @ basis + 0.2
    )
    model = build((0, 1), hidden=(), pixels="gaussian", batch_size=200, learning_rate=0.01)
    model.initialise(rows)
    for step in range(1500):
        loss = model.train_step(rows.expand(2, -1, -1), step, step)["reconstruction"]
    centred = rows.numpy() - rows.numpy().mean(0)
    _, values, directions = np.linalg.svd(centred, full_matrices=False)
    for place in range(2):
        assert float(loss[place]) == pytest.approx(0.5 * (values[3:] ** 2).sum() / 200, rel=2e-3)
        spanned = np.linalg.qr(model.parameters["decoder.0.weight"][place].numpy().T)[0]
        cosines = np.linalg.svd(directions[:3] @ spanned, compute_uv=False)
        assert cosines.min() > 0.9995


@pytest.mark.parametrize("pixels", ["bernoulli", "gaussian"])
def test_a_step_descends_the_gradient_by_finite_differences(pixels: str) -> None:
    """Adam's first update is -rate * sign(gradient): it shows the sign, and the first moment the
    size.
    """
    model = build(pixels=pixels, hidden=(6, 5))
    before = {name: value.clone() for name, value in model.parameters.items()}
    model.train_step(images()[None, :10], 0, 0)
    for name in before:
        index = (0,) * before[name].ndim

        def loss(shift: float, name: str = name, index: tuple[int, ...] = index) -> float:
            moved = build(pixels=pixels, hidden=(6, 5))
            moved.parameters[name][index] += shift
            return float(moved.train_step(images()[None, :10], 0, 0)["reconstruction"])

        slope = (loss(1e-6) - loss(-1e-6)) / 2e-6
        assert float(model.slots[f"{name}.first"][index]) == pytest.approx(
            0.1 * slope, rel=1e-5, abs=1e-9
        ), name


def test_samples_are_a_function_of_weights_and_draw() -> None:
    model, reader = build(), build()
    model.fit_statistics(images())
    reader.parameters = dict(model.parameters)
    assert torch.equal(model.sample(1100, 2), reader.sample(1100, 2))
    assert not torch.equal(model.sample(50, 2), model.sample(50, 3))
    assert not torch.equal(
        model.sample(1100, 2)[:, :100], model.sample(1100, 2)[:, 1000:]
    )  # two chunks
    assert set(model.parameter_count()) == {"encoder", "decoder", "density"}


def test_bernoulli_pixels_outside_the_unit_interval_are_refused() -> None:
    with pytest.raises(ReplicateError, match=r"images in \[0, 1\]"):
        build().initialise(images() - 0.5)
    build(pixels="gaussian").initialise(images() - 0.5)
