"""Every trap, by a file that has it and through the command line; and files that have none."""

import functools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from replicate.__main__ import main
from replicate.datasets.base import Splits
from replicate.scoring.rows import Rows as Sampled
from replicate.scoring.traps import (
    PUBLISHED_SAMPLES,
    THRESHOLDS,
    autocorrelation,
    inverted,
    other_range,
)
from tests.scoring.honest import Rows, digits, draws

SPLITS = digits()
HONEST = draws(SPLITS, PUBLISHED_SAMPLES)
TRAIN, VALID, TEST = (SPLITS.flat(split) for split in ("train", "valid", "test"))
#: Few sigmas, for speed; the best one of honest samples is inside.
PARAMS = '{"likelihood": {"sigmas": [0.02, 0.1, 0.15, 0.3, 1.0]}}'


def scored(folder: Path, samples: np.ndarray, *words: str) -> dict[str, object]:
    """The result of the command on a file of samples."""
    np.save(folder / "samples.npy", samples)
    out = folder / "score.json"
    command = ["score", str(folder / "samples.npy"), "--dataset", "digits", "--params", PARAMS]
    assert main([*command, "--json", str(out), "--state", str(folder / "state"), *words]) == 0
    result: dict[str, object] = json.loads(out.read_text())
    return result


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, object]]:
    """The result of the command on the samples that have a trap, by its title; of honest ones, by
    "honest".
    """

    @functools.cache
    def of(title: str) -> dict[str, object]:
        samples = HONEST if title == "honest" else TRAPS[title][1]()
        return scored(tmp_path_factory.mktemp("told"), samples)

    return of


def names(result: dict[str, object]) -> set[str]:
    return {trap["name"] for trap in result["traps"]}  # type: ignore[attr-defined]


def images(rows: Rows) -> np.ndarray:
    return rows.reshape(-1, 8, 8)


def rescaled(rows: Rows) -> Rows:
    """Each image from 0 to 1, as plots show it; it has been dimmed before."""
    dimmed = 0.05 + 0.7 * rows
    low, high = dimmed.min(1, keepdims=True), dimmed.max(1, keepdims=True)
    return (dimmed - low) / (high - low)


def chain(rows: Rows, chains: int, share: float = 0.9) -> Rows:
    """States of autoregressive chains in turn, each state mostly the one before it."""
    states = rows.copy()
    for step in range(chains, len(states)):
        states[step] = share * states[step - chains] + (1 - share) * rows[step]
    return states


def with_some(rows: Rows, others: Rows, count: int) -> Rows:
    mixed = rows.copy()
    mixed[:: len(mixed) // count][:count] = others[:count]
    return mixed


def noisy(rows: Rows) -> Rows:
    """10,000 copies of a few rows with a little noise."""
    generator = np.random.default_rng(1)
    chosen = rows[generator.integers(0, len(rows), PUBLISHED_SAMPLES)]
    return (chosen + generator.normal(0, 0.01, chosen.shape)).clip(0, 1).astype(np.float32)


TRAPS: dict[str, tuple[str, Callable[[], np.ndarray]]] = {
    "from -1 to 1": ("range", lambda: 2 * HONEST - 1),
    "from 0 to 255": ("range", lambda: 255 * HONEST),
    "less a half": ("range", lambda: HONEST - 0.5),
    "divided twice": ("range", lambda: HONEST / 255),
    "standardised": ("range", lambda: (HONEST - TRAIN.mean()) / TRAIN.std()),
    "of no range in use": ("range", lambda: 7 * HONEST - 3),
    "rescaled image by image": ("rescaled", lambda: rescaled(HONEST)),
    "rescaled and stored as bytes": (
        "rescaled",
        lambda: np.rint(255 * rescaled(HONEST)).astype(np.uint8),
    ),
    "binarised": ("binarised", lambda: (HONEST > 0.5).astype(np.float32)),
    "drawn as bits": (
        "binarised",
        lambda: np.random.default_rng(0).random(HONEST.shape) < HONEST,
    ),
    "transposed": ("transposed", lambda: images(HONEST).swapaxes(1, 2)),
    "upside down": ("transposed", lambda: images(HONEST)[:, ::-1]),
    "turned": ("transposed", lambda: np.rot90(images(HONEST), axes=(1, 2))),
    "inverted": ("inverted", lambda: 1 - HONEST),
    "inverted and from -1 to 1": ("inverted", lambda: 1 - 2 * HONEST),
    "few": ("few", lambda: HONEST[:9_999]),
    "repeated": ("equal", lambda: np.tile(HONEST[:5_000], (2, 1))),
    "one image": ("equal", lambda: np.tile(HONEST[:1], (10_000, 1))),
    "training images": ("memorised", lambda: with_some(HONEST, TRAIN, 50)),
    "training images as bytes": (
        "memorised",
        lambda: np.rint(255 * with_some(HONEST, TRAIN, 50)).astype(np.uint8),
    ),
    "nearly training images": ("memorised", lambda: noisy(TRAIN)),
    "test images": ("held-out", lambda: with_some(HONEST, TEST, 50)),
    "validation images": ("held-out", lambda: with_some(HONEST, VALID, 50)),
    "nearly test images": ("held-out", lambda: noisy(TEST)),
    "a chain": ("chain", lambda: chain(HONEST, 1)),
    "chains in turn": ("chain", lambda: chain(HONEST, 25)),
    "a bandwidth at the lower edge": ("edge", lambda: np.tile(VALID, (39, 1))[:10_000]),
    "a bandwidth at the upper edge": ("edge", lambda: 255 * HONEST),
}


#: Further files with a trap that another file in the quick tests has.
LIKE_ANOTHER = {
    "divided twice",
    "upside down",
    "turned",
    "nearly test images",
    "a bandwidth at the upper edge",
    "less a half",
    "of no range in use",
    "rescaled and stored as bytes",
    "drawn as bits",
    "inverted and from -1 to 1",
    "one image",
    "training images as bytes",
    "validation images",
    "chains in turn",
}


@pytest.mark.parametrize(
    "title",
    [
        pytest.param(title, marks=pytest.mark.slow) if title in LIKE_ANOTHER else title
        for title in TRAPS
    ],
)
def test_a_file_that_has_a_trap_says_so(
    title: str, told: Callable[[str], dict[str, object]]
) -> None:
    name, _ = TRAPS[title]
    result = told(title)
    assert name in names(result), result["traps"]
    for trap in result["traps"]:  # type: ignore[attr-defined]
        assert trap["sentence"].endswith(".")
        assert ";" in trap["sentence"] or ":" in trap["sentence"], "it says what to do"


@pytest.mark.parametrize(
    ("title", "allowed"),
    [
        ("from -1 to 1", {"range", "edge"}),
        ("from 0 to 255", {"range", "edge"}),
        ("standardised", {"range", "edge"}),
        ("transposed", {"transposed", "edge"}),
        ("inverted", {"inverted", "edge"}),
        ("few", {"few"}),
        ("test images", {"held-out"}),
        ("training images", {"memorised"}),
    ],
)
def test_it_says_nothing_else(
    title: str, allowed: set[str], told: Callable[[str], dict[str, object]]
) -> None:
    assert names(told(title)) <= allowed


@pytest.mark.parametrize(
    "title",
    [
        "from -1 to 1",
        "transposed",
        "inverted",
        pytest.param("upside down", marks=pytest.mark.slow),
        pytest.param("turned", marks=pytest.mark.slow),
    ],
)
def test_the_fix_that_it_names_brings_the_number_back(
    title: str, told: Callable[[str], dict[str, object]], tmp_path: Path
) -> None:
    honest, result = told("honest"), told(title)
    fixes = [fix for trap in result["traps"] for fix in trap["fix"]]  # type: ignore[attr-defined]
    again = scored(tmp_path, TRAPS[title][1](), "--fix", *fixes)
    assert names(again) == set()
    assert again["log_likelihood"] == pytest.approx(honest["log_likelihood"], abs=1e-3)
    assert again["log_likelihood"] > result["log_likelihood"] + 1  # type: ignore[operator]


CLEAN: dict[str, Callable[[], np.ndarray]] = {
    "real numbers": lambda: HONEST,
    "another draw": lambda: draws(SPLITS, PUBLISHED_SAMPLES, seed=1),
    "bytes": lambda: np.rint(255 * HONEST).astype(np.uint8),
    "counts to 16, as the files have them": lambda: np.rint(16 * HONEST).astype(np.uint8),
    "sorted by class": lambda: HONEST[np.argsort(nearest_class(HONEST), kind="stable")],
    "one class": lambda: one_class(3),
    "another class": lambda: one_class(0),
    "a little beyond the range": lambda: 1.02 * HONEST - 0.01,
    "of a linear output": lambda: linear(HONEST),
    "faint": lambda: 0.5 * HONEST,
    "half grey": lambda: 0.5 + 0.5 * (HONEST - 0.5),
}


def linear(rows: Rows) -> Rows:
    """With a little noise on every pixel and much on a few, as a linear decoder has them."""
    generator = np.random.default_rng(2)
    noise = 0.05 * generator.standard_t(3, rows.shape)
    return (rows + noise).astype(np.float32)


def nearest_class(rows: Rows) -> np.ndarray:
    means = np.stack([TRAIN[SPLITS.labels["train"] == label].mean(0) for label in range(10)])
    return ((rows[:, None] - means) ** 2).sum(2).argmin(1)


def one_class(label: int) -> Rows:
    is_class = SPLITS.labels["train"] == label
    part = Splits(
        images={"train": SPLITS.images["train"][is_class]},
        labels={"train": SPLITS.labels["train"][is_class]},
        divisor=SPLITS.divisor,
    )
    return draws(part, PUBLISHED_SAMPLES)


@pytest.mark.parametrize("title", CLEAN)
def test_samples_without_a_trap_raise_none(title: str, tmp_path: Path) -> None:
    assert names(scored(tmp_path, CLEAN[title]())) == set()


def own(
    folder: Path, samples: Rows, test: Rows, valid: Rows, train: Rows, *words: str
) -> dict[str, object]:
    """The result of the command on samples that are compared with data of one's own."""
    command = ["score", str(folder / "s.npy"), "--params", PARAMS, "--state", str(folder / "state")]
    for name, rows in {"s": samples, "test": test, "valid": valid, "train": train}.items():
        np.save(folder / f"{name}.npy", rows)
        if name != "s":
            command += [f"--{name}-file", str(folder / f"{name}.npy")]
    out = folder / "score.json"
    assert main([*command, "--json", str(out), *words]) == 0
    result: dict[str, object] = json.loads(out.read_text())
    return result


@pytest.mark.parametrize("shift", [0.0, -0.5], ids=["from 0 to 1", "less a half"])
def test_a_range_within_that_of_the_data_is_another_one(shift: float, tmp_path: Path) -> None:
    """Samples from 0 to 1 beside data from -1 to 1, which they do not leave."""
    data = [2 * rows - 1 for rows in (TEST, VALID, TRAIN)]
    right = own(tmp_path, 2 * HONEST - 1, *data)
    assert names(right) == set()
    wrong = own(tmp_path, HONEST + np.float32(shift), *data)
    assert names(wrong) - {"edge"} == {"range"}
    fixed = own(tmp_path, HONEST + np.float32(shift), *data, "--fix", "range")
    assert names(fixed) == set()
    assert fixed["log_likelihood"] == pytest.approx(right["log_likelihood"], abs=1e-3)


def dots(generator: np.random.Generator, count: int) -> Rows:
    """Images of two pixels, so dense that many have the same bytes."""
    return generator.normal(0.5, 0.15, (count, 2)).clip(0, 1).astype(np.float32)


def of_few_directions(generator: np.random.Generator, count: int) -> Rows:
    """Images of 64 pixels that vary in six directions."""
    directions = np.random.default_rng(5).normal(size=(6, 64)) / np.sqrt(6)
    logits = generator.normal(size=(count, 6)) @ directions
    return (1 / (1 + np.exp(-logits))).astype(np.float32)


def often_blank(generator: np.random.Generator, count: int) -> Rows:
    """Images of 64 pixels, a tenth of which have no ink."""
    rows = generator.random((count, 64)).astype(np.float32)
    rows[generator.random(count) < 0.1] = 0
    return rows


#: Distribution -> how many test, validation and training images there are of it.
DENSE = {dots: (3_000, 1_000, 6_000), of_few_directions: (200, 200, 20_000)}


@pytest.mark.parametrize("distribution", [*DENSE, often_blank])
def test_samples_of_the_very_distribution_of_the_data_raise_none(
    distribution: Callable[[np.random.Generator, int], Rows], tmp_path: Path
) -> None:
    """Real images of it are as often equal or near to each other."""
    generator = np.random.default_rng(0)
    sizes = DENSE.get(distribution, (500, 500, 3_000))
    test, valid, train = (distribution(generator, size) for size in sizes)
    samples = distribution(generator, PUBLISHED_SAMPLES)
    assert names(own(tmp_path, samples, test, valid, train)) - {"edge"} == set()


def test_images_of_one_value_are_equal_and_no_bits(tmp_path: Path) -> None:
    found = names(scored(tmp_path, np.full((10_000, 64), 0.25, np.float32)))
    assert "equal" in found
    assert "binarised" not in found


def test_copies_are_told_where_one_file_has_been_named_for_test_and_validation(
    tmp_path: Path,
) -> None:
    """Its images are then no sign that images of the data are equal by chance."""
    copies = with_some(HONEST, TEST, 50)
    assert "held-out" in names(own(tmp_path, copies, TEST, TEST, TRAIN))
    nearly = own(tmp_path, noisy(TRAIN), TEST, TEST, TRAIN)
    assert "memorised" in names(nearly)


def test_held_out_images_as_samples_raise_only_that_they_are_few(tmp_path: Path) -> None:
    """Real test images, where other test images are measured."""
    for name, rows in {"s": TEST[:128], "t": TEST[128:], "v": VALID, "r": TRAIN}.items():
        np.save(tmp_path / f"{name}.npy", rows)
    files = {key: str(tmp_path / f"{key}.npy") for key in "stvr"}
    out = tmp_path / "score.json"
    assert main([
        "score", files["s"], "--test-file", files["t"], "--valid-file", files["v"],
        "--train-file", files["r"], "--json", str(out), "--params", PARAMS, "--state", str(tmp_path / "state"),
    ]) == 0  # fmt: skip
    assert names(json.loads(out.read_text())) == {"few"}


def test_clusters_raise_only_that_they_are_few(tmp_path: Path) -> None:
    from sklearn.cluster import KMeans

    centres = KMeans(100, n_init=1, random_state=0).fit(TRAIN).cluster_centers_
    assert names(scored(tmp_path, centres.astype(np.float32))) == {"few"}


def test_data_that_do_not_reach_their_bounds_are_compared_by_their_deviation() -> None:
    """Contrast-normalised images, as CIFAR-10's."""
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(3, 200, 1, 4, 4)).astype(np.float32)
    names = ("train", "valid", "test")
    splits = Splits(images=dict(zip(names, rows, strict=True)), value_range=(-55.0, 55.0))
    samples = generator.normal(size=(50, 16)).astype(np.float32)
    assert other_range(Sampled(samples, (1, 4, 4)), splits) is None
    for wrong in (samples / 5, 50 * samples + 100):
        interval = other_range(Sampled(wrong, (1, 4, 4)), splits)
        assert interval is not None
        assert np.isnan(interval.scale), "no fix is offered"


def test_the_correlation_is_that_of_the_definition() -> None:
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(120, 5)).astype(np.float32)
    rho, deviation = autocorrelation(rows)
    centred = rows.astype(np.float64) - rows.mean(0, dtype=np.float64)
    for lag in (0, 1, 7, 60):
        products = (centred[: 120 - lag] * centred[lag:]).sum(1).mean()
        assert rho[lag] == pytest.approx(products / (centred**2).sum(1).mean(), abs=1e-6)
    values = np.linalg.eigvalsh(centred.T @ centred)
    directions = values.sum() ** 2 / (values**2).sum()
    assert deviation == pytest.approx(1 / np.sqrt(120 * directions), rel=1e-4)


def test_independent_images_are_within_the_deviations_that_are_allowed() -> None:
    rho, deviation = autocorrelation(HONEST)
    assert np.abs(rho[1:]).max() < THRESHOLDS.deviations * deviation


def test_light_for_dark_is_its_own_inverse() -> None:
    np.testing.assert_allclose(inverted(inverted(HONEST, SPLITS), SPLITS), HONEST, atol=1e-6)


def test_data_of_one_value_have_no_range_to_be_missed() -> None:
    """Their deviation is 0, and no sample's relative to it is a number."""
    images = np.full((20, 1, 2, 2), 0.5, np.float32)
    parts = {"train": images[:0], "valid": images, "test": images}
    splits = Splits(images=parts, value_range=(0.5, 0.6))
    for pixels in (images.reshape(20, -1), np.random.default_rng(0).random((20, 4))):
        assert other_range(Sampled(pixels.astype(np.float32), (1, 2, 2)), splits) is None
