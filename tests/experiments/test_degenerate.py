"""S2: distances by brute force, the RBM by enumeration, a chain's step by hand, and controls that
are found out.
"""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from replicate.errors import ReplicateError
from replicate.experiments.base import ExperimentResult
from replicate.experiments.constants import ARC_DISTANCE, ARCS
from replicate.experiments.degenerate import (
    EXPERIMENT,
    Degenerate,
    DegenerateConfig,
    Measures,
    _checks,
    adversarial_samples,
    chain_step,
    chosen_level,
    curve_measures,
    draw_data,
    follow,
    free_energy,
    gibbs_step,
    log_likelihood,
    nearest,
    on_the_curves,
    train_autoencoder,
    train_rbm,
    vae_loss,
    vae_samples,
)  # fmt: skip
from replicate.experiments.games.player import Player
from replicate.figures.experiments.degenerate import draw, half_circles
from replicate.figures.theme import checked_svg
from replicate.models.parts import perceptron
from replicate.params import checked
from replicate.training.streams import Streams
from tests.experiments.controls import negative_control
from tests.experiments.small_digits import states

CPU = torch.device("cpu")
SEEDS = range(100, 106)
QUICK = DegenerateConfig(
    updates=1000,
    hidden=(32, 32),
    binary_units=16,
    game_rate=0.005,
    corruptions=(0.05, 0.4),
    burn_in=20,
    kept=40,
)
TINY = QUICK.model_copy(update={"updates": 15, "batch_size": 8, "hidden": (6,)})


def streams(*seeds: int) -> Streams:
    return Streams(seeds or (0,), CPU, torch.float64)


def curves(count: int) -> Tensor:
    """Both half circles, from their equation: (2, count, 2)."""
    angles = torch.linspace(0, math.pi, count, dtype=torch.float64)
    first = torch.stack([angles.cos() - 0.5, angles.sin() - 0.25], 1)
    return torch.stack([first, torch.stack([0.5 - angles.cos(), 0.25 - angles.sin()], 1)])


@pytest.fixture(scope="module")
def result() -> ExperimentResult:
    return EXPERIMENT.run(QUICK, SEEDS, CPU, None)


def test_distance_half_and_share_by_brute_force() -> None:
    points = 1.2 * streams().normal("evaluation", 0, 400, 2)[0]
    gaps = torch.cdist(points, curves(5001).flatten(0, 1)).unflatten(1, (2, -1))
    best, place = gaps.min(2)
    distance, half, share = nearest(points)
    torch.testing.assert_close(distance, best.amin(1), rtol=0, atol=3e-5)
    assert torch.equal(half, best.argmin(1))
    expected = place.gather(1, half[:, None])[:, 0].double() / 5000
    torch.testing.assert_close(share, expected, rtol=0, atol=4e-4)
    assert (points[:, 1] < -0.25).any()


def test_data_lies_on_the_curves_and_is_uniform_along_them() -> None:
    data = draw_data(streams(0, 1), 0, 64_000, 0)
    distance, half, share = nearest(data)
    assert distance.max() < 1e-7
    for places in half + share:
        assert (torch.histc(places, ARCS, 0, 2) / 2000 - 1).abs().max() < 0.15
    ends = on_the_curves(torch.tensor([0.0, 0.0, 1.0]), torch.tensor([0.0, 1.0, 0.0]))
    torch.testing.assert_close(ends, torch.tensor([[0.5, -0.25], [-1.5, -0.25], [-0.5, 0.25]]))


def test_samples_are_judged_as_by_a_loop() -> None:
    samples = draw_data(streams(), 0, 60, 0) + 0.1 * streams().normal("evaluation", 0, 60, 2)
    fine = curves(16_001)
    covered, total = set(), 0.0
    for point in samples[0]:
        gaps = (fine - point).norm(dim=2)
        total += float(gaps.min())
        half, place = divmod(int(gaps.argmin()), 16_001)
        if gaps.min() < ARC_DISTANCE:
            covered.add((half, min(place // 1000, 15)))
    measures = curve_measures(samples)
    assert measures["distance"] == [pytest.approx(total / 60, abs=1e-6)]
    assert measures["coverage"] == [len(covered) / 32]
    assert 5 < len(covered) < 32


def test_the_data_covers_all_a_point_one_and_what_is_not_finite_nothing() -> None:
    data = draw_data(streams(), 0, 1000, 0)
    broken = data.clone()
    broken[0, 3, 1] = math.inf
    rows = torch.cat([data, data[:, :1].expand_as(data), broken])
    assert curve_measures(rows)["coverage"] == [1.0, 1 / 32, None]


def _rbm(units: int) -> dict[str, Tensor]:
    shapes = {"weight": (2, units), "visible": (1, 2), "hidden": (1, units), "log_spread": (1, 1)}
    return {
        n: 0.7 * streams(3).normal("init", 0, *shape, part=k)
        for k, (n, shape) in enumerate(shapes.items())
    }


def _joint(parameters: dict[str, Tensor], visible: Tensor, hidden: Tensor) -> Tensor:
    """log p(v, h) up to a constant, in plain sums, of v (n, 2) and h (m, units): (n, m)."""
    weight, b, c, log_spread = (
        parameters[n][0] for n in ("weight", "visible", "hidden", "log_spread")
    )
    s = log_spread.exp()[0, 0]
    pull = ((visible - b) ** 2).sum(1, keepdim=True) / (2 * s**2)
    return -pull + (hidden @ c[0])[None] + visible @ weight @ hidden.T / s


def _all(units: int) -> Tensor:
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=units)), dtype=torch.float64)


def test_the_free_energy_sums_over_all_hidden_states() -> None:
    parameters, visible = _rbm(5), streams().normal("evaluation", 0, 7, 2)
    expected = -_joint(parameters, visible[0], _all(5)).logsumexp(1)
    torch.testing.assert_close(free_energy(parameters, visible)[0], expected)


def test_the_gradient_of_the_log_likelihood_is_that_of_free_energies() -> None:
    """log Z in closed form, Gaussian by Gaussian; the model's expectation by a fine grid of the
    plane.
    """
    parameters, data = _rbm(4), streams().normal("evaluation", 0, 7, 2)
    leaves = {name: value.requires_grad_() for name, value in parameters.items()}
    weight, b, c, log_spread = (leaves[n][0] for n in ("weight", "visible", "hidden", "log_spread"))
    hidden, s = _all(4), log_spread.exp()
    pushed = (
        hidden @ weight.T
    )  # the integral over v of exp(-|v - b|^2 / 2 s^2 + v u / s), for u = W h
    log_z = (hidden @ c[0] + pushed @ b[0] / s[0] + pushed.square().sum(1) / 2).logsumexp(
        0
    ) + 2 * log_spread.sum()
    exact = torch.autograd.grad(-free_energy(leaves, data).mean() - log_z, list(leaves.values()))
    axis = torch.linspace(-14, 14, 561, dtype=torch.float64)
    points = torch.cartesian_prod(axis, axis)[None]
    with torch.no_grad():
        mass = (-free_energy(leaves, points)).softmax(1)
    both = free_energy(leaves, data).mean() - (mass * free_energy(leaves, points)).sum()
    for one, other in zip(exact, torch.autograd.grad(-both, list(leaves.values())), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def test_a_gibbs_step_draws_from_both_conditionals() -> None:
    parameters = _rbm(3)
    visible = torch.tensor([0.4, -0.3], dtype=torch.float64).expand(1, 60_000, 2)
    uniform, noise = (
        streams().uniform("noise", 0, 60_000, 3),
        streams().normal("noise", 0, 60_000, 2, part=1),
    )
    moved = gibbs_step(parameters, visible, uniform, noise)[0]
    chances = _joint(parameters, visible[0, :1], _all(3)).softmax(1)[0]
    s = float(parameters["log_spread"].exp())
    means = parameters["visible"][0] + s * _all(3) @ parameters["weight"][0].T
    mean = chances @ means
    covariance = s**2 * torch.eye(2) + ((means - mean).T * chances) @ (means - mean)
    torch.testing.assert_close(moved.mean(0), mean, rtol=0, atol=0.02)
    torch.testing.assert_close(moved.T.cov(), covariance.double(), rtol=0.03, atol=0.01)


def test_the_step_of_a_chain_by_hand() -> None:
    weight = torch.tensor([[[2.0, 0.0], [1.0, -1.0]]], dtype=torch.float64)
    parameters = {"r.0.weight": weight, "r.0.bias": torch.full((1, 1, 2), 0.5, dtype=torch.float64)}
    model = Player("r", 1, parameters | {"log_spread": torch.full((1, 1, 1), math.log(0.1))}, {})
    state, one, two = (
        torch.tensor([[pair]], dtype=torch.float64)
        for pair in ((1.0, 2.0), (0.5, -1.0), (3.0, 4.0))
    )
    moved = chain_step(model, 0.2, state, (one, two))
    # x~ = (1.1, 1.8); r(x~) = (2 * 1.1 + 1.8 + 0.5, -1.8 + 0.5)
    np.testing.assert_allclose(moved[0, 0].numpy(), [4.5 + 0.3, -1.3 + 0.4], atol=1e-6)


def test_the_spread_becomes_the_deviation_of_the_residuals() -> None:
    config = QUICK.model_copy(update={"updates": 500})
    model = train_autoencoder(config, streams(1, 2), 0.3, 0)
    points = draw_data(streams(1, 2), 10_000, 20_000, 5)
    noise = streams(1, 2).normal("evaluation", 0, 20_000, 2)
    with torch.no_grad():
        residual = (model.outputs(points + 0.3 * noise) - points).square().mean((1, 2)).sqrt()
        spread = model.parameters["log_spread"].exp()[:, 0, 0]
    torch.testing.assert_close(spread, residual, rtol=0.1, atol=0)


def test_a_chain_that_has_been_on_both_half_circles_has_changed() -> None:
    config = QUICK.model_copy(update={"burn_in": 2, "kept": 3})

    def turned(at: int) -> tuple[Tensor, Tensor]:
        return follow(lambda k, states: -states if k == at else states, config, streams(0, 1), 0)

    for at, expected in ((0, False), (1, False), (2, True), (4, True), (5, False)):
        last, changed = turned(at)
        assert changed.all() == expected
        assert changed.any() == expected
        assert (nearest(last)[1] == int(at < 5)).all()
    assert [chosen_level(shares) for shares in ([0.1, 0.5, 1.0], [0.1, None, 0.2], [0.9, 0.2])] == [
        1,
        2,
        0,
    ]


def test_a_seed_of_which_a_lower_corruption_failed_is_not_compared_by_a_higher_one() -> None:
    """A blurrier chain would stand in for one that is not known, against the chains."""
    measures = {
        "distance": [[0.1, 0.1], [0.2, None], [0.4, 0.4]],
        "crossed": [[0.0, 0.0], [0.2, None], [0.9, 0.9]],
    }
    chains = ["DAE 0.1", "DAE 0.2", "DAE 0.4"]
    models: dict[str, Measures] = {
        name: {measure: rows[level] for measure, rows in measures.items()}
        for level, name in enumerate(chains)
    }
    models["adversarial nets"] = {"distance": [0.1, 0.1], "coverage": [1.0, 1.0]}
    models["RBM"] = {"distance": [0.3, 0.3]}
    found = _checks(models, ["DAE 0.4", "DAE 0.4"], chains)
    ratios = found["log_ratio_of_distances_of_the_chain_that_mixes"]
    assert ratios == [pytest.approx(math.log(4)), None]


@pytest.mark.parametrize("corruptions", [[0.4, 0.05], [0.05, 0.05]])
def test_corruptions_that_do_not_rise_are_refused(corruptions: list[float]) -> None:
    """The first chain is taken for the least noisy one, and the lowest that mixes for the sharpest;
    two of one name would be one chain.
    """
    with pytest.raises(ReplicateError, match="corruptions.* ascending order"):
        checked(DegenerateConfig, {"corruptions": corruptions}, "parameters")


def test_the_loss_of_the_vae_is_its_bound() -> None:
    network = {
        **perceptron.initial(streams(), "decoder", (2, 5, 2), 0),
        **perceptron.initial(streams(), "encoder", (2, 5, 4), 9),
        "log_spread": torch.full((1, 1, 1), -0.4, dtype=torch.float64),
    }
    points, noise = draw_data(streams(), 0, 6, 0), streams().normal("noise", 0, 6, 2, part=1)
    mean, log_deviation = perceptron.outputs(points, network, "encoder", 2).chunk(2, 2)
    posterior = Normal(mean, log_deviation.exp())
    decoded = perceptron.outputs(posterior.loc + posterior.scale * noise, network, "decoder", 2)
    likelihood = Normal(decoded, math.exp(-0.4)).log_prob(points).sum(2) + math.log(2 * math.pi)
    divergence = kl_divergence(posterior, Normal(torch.zeros_like(mean), 1.0)).sum(2)
    loss = vae_loss(Player("decoder", 2, network, {}), points, noise)
    torch.testing.assert_close(loss, (divergence - likelihood).mean(1))
    torch.testing.assert_close(log_likelihood(points, decoded, network["log_spread"]), likelihood)


def test_adversarial_nets_are_sharp_and_chains_that_mix_are_not(result: ExperimentResult) -> None:
    assert set(states("S2", result.checks["S2"]).values()) == {"replicated"}


@negative_control("S2")
def test_blurred_or_collapsed_samples_are_found_out() -> None:
    config = QUICK.model_copy(update={"updates": 150, "burn_in": 5, "kept": 5})

    def blurred(outputs: Tensor) -> Tensor:
        return outputs + 1.5 * Streams(SEEDS, CPU).normal(
            "evaluation", 0, *outputs.shape[1:], part=9999
        )

    blurry = states("S2", Degenerate(blurred).run(config, SEEDS, CPU, None).checks["S2"])
    for other in ("chain_that_mixes", "rbm"):
        assert blurry[f"log_ratio_of_distances_of_the_{other}"] == "not replicated"
    collapsed = Degenerate(lambda outputs: outputs[:, :1].expand_as(outputs)).run(
        config, SEEDS, CPU, None
    )
    assert states("S2", collapsed.checks["S2"])["coverage_of_adversarial_nets"] == "not replicated"


def test_a_seed_alone_is_that_in_company() -> None:
    company, alone = streams(1, 2), streams(2)
    pairs = [
        (adversarial_samples(TINY, one), vae_samples(TINY, one)[0]) for one in (company, alone)
    ]
    trained = [
        (train_rbm(TINY, one), train_autoencoder(TINY, one, 0.2, 500)) for one in (company, alone)
    ]
    for one, other in zip(*pairs, strict=True):
        torch.testing.assert_close(one[1:], other, rtol=0, atol=1e-10)
        assert (one[0] - one[1]).abs().max() > 1e-3
    for one, other in zip(*trained, strict=True):
        for name, tensor in other.parameters.items():
            torch.testing.assert_close(one.parameters[name][1:], tensor, rtol=0, atol=1e-10)


@pytest.mark.slow
def test_the_result_is_a_function_of_its_seeds_and_figures_are_drawn_from_it_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, again = (EXPERIMENT.run(TINY, (0, 1), CPU, None) for _ in range(2))
    assert one == again
    monkeypatch.setattr(Streams, "_draw", None)  # nothing is drawn at random
    drawn = draw({"seeds": [0, 1], "series": one.series})
    assert set(drawn) == {"samples", "distances"}
    assert "2 seeds" in drawn["distances"].caption
    assert "one seed (0)" in drawn["samples"].caption
    assert all(checked_svg(drawing.svg) for drawing in drawn.values())
    assert drawn == draw({"seeds": [0, 1], "series": again.series})


def test_the_curves_of_the_figure_are_those_of_the_data() -> None:
    along = torch.linspace(0, 1, 61, dtype=torch.float64)
    for half, curve in enumerate(half_circles()):
        np.testing.assert_allclose(
            curve, on_the_curves(torch.full_like(along, half), along).numpy(), atol=1e-6
        )
