"""L2: a model that needs data is told from one that does not; subsets, updates and looks are what
they should be.
"""

import json
import math
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from replicate.datasets.base import Splits
from replicate.errors import ReplicateError
from replicate.experiments.base import NotApplicable
from replicate.experiments.data_size import (
    ADVERSARIAL_NETS,
    EXPERIMENT,
    MODELS,
    SIGMAS,
    Cut,
    DataSize,
    DataSizeConfig,
    Look,
    best,
    look_epochs,
    nested,
    repeated,
    train,
)
from replicate.experiments.games.image_game import pixels
from replicate.figures.experiments.data_size import draw
from replicate.figures.theme import checked_svg
from replicate.likelihood.parzen import log_density
from replicate.models import REGISTRY, load_model
from replicate.models.base import GenerativeModel, ModelConfig
from replicate.models.parts.chains import ChainModel
from replicate.params import checked
from replicate.training.streams import Streams
from tests.experiments.controls import negative_control
from tests.experiments.small_digits import small_digits, states

CPU = torch.device("cpu")
SEEDS = tuple(range(100, 110))
CHECKS = ("gain_of_adversarial_nets", "gain_beyond_the_mean_of_the_others")
STUBS = DataSizeConfig(
    others=("dbn",), shares=(0.125, 1.0), epochs_share=0.03, looks=1, samples=400
)
TINY = DataSizeConfig(shares=(0.125, 1.0), epochs_share=0.02, looks=1, chain_looks=1, samples=40)


class Memory(GenerativeModel):
    """Draws the images that it was shown: the more of them, the better."""

    Config = ModelConfig
    samples_from_train = True

    def initialise(self, train: Tensor) -> None:
        self.shown: list[tuple[int, int, Tensor]] = []

    def train_step(self, batch: Tensor, epoch: int, step: int) -> dict[str, Tensor]:
        self.shown.append((epoch, step, batch))
        return {}

    def sample(self, count: int, draw: int) -> Tensor:
        chosen = (self.streams.uniform("evaluation", draw, count) * len(self.train)).long()
        return self.train[chosen]


class Blind(Memory):
    """Draws noise, whatever it was shown."""

    def sample(self, count: int, draw: int) -> Tensor:
        return self.streams.uniform("evaluation", draw, count, self.dimension)


class Fails(Memory):
    """Gives no number for the seed 101."""

    def sample(self, count: int, draw: int) -> Tensor:
        return super().sample(count, draw) * (math.nan if self.streams.seeds == (101,) else 1.0)


class Recorded(Memory):
    """Keeps what every training was shown."""

    runs: ClassVar[list["Recorded"]] = []

    def initialise(self, train: Tensor) -> None:
        super().initialise(train)
        self.runs.append(self)


def quick(kind: type[GenerativeModel]) -> type[GenerativeModel]:
    """The model with few and short chains."""
    recipe = kind.recipes["digits"]
    fewer = {"chains": 40, "burn_in": 3} if issubclass(kind, ChainModel) else {}
    return type(
        kind.__name__,
        (kind,),
        {"recipes": {"digits": recipe._replace(changes={**recipe.changes, **fewer})}},
    )


QUICK = {name: quick(kind) for name, kind in MODELS.items()}


def first_half(order: Tensor, count: int) -> Tensor:
    """The same images at every size."""
    return order[:200]


def some_half(order: Tensor, count: int) -> Tensor:
    """Other images at every size, but as many."""
    return order.roll(-count)[:200]


def test_a_model_that_needs_data_is_told_from_one_that_does_not() -> None:
    measured = (
        DataSize(models={"dbn": Blind, ADVERSARIAL_NETS: Memory})
        .run(STUBS, SEEDS, CPU, small_digits())
        .checks["L2"]
    )
    assert set(states("L2", measured).values()) == {"replicated"}
    swapped = (
        DataSize(models={"dbn": Memory, ADVERSARIAL_NETS: Blind})
        .run(STUBS, SEEDS, CPU, small_digits())
        .checks["L2"]
    )
    assert set(states("L2", swapped).values()) == {"not replicated"}


@pytest.mark.parametrize("cut", [first_half, some_half])
@negative_control("L2")
def test_where_all_sizes_have_as_many_images_it_is_not_replicated(cut: Cut) -> None:
    control = DataSize(cut, {"dbn": Blind, ADVERSARIAL_NETS: Memory})
    measured = control.run(STUBS, SEEDS, CPU, small_digits()).checks["L2"]
    assert states("L2", measured)["gain_of_adversarial_nets"] == "not replicated"


def test_adversarial_nets_on_the_same_images_at_every_size_are_not_replicated() -> None:
    measured = DataSize(first_half, QUICK).run(TINY, (100, 101), CPU, small_digits()).checks["L2"]
    assert measured == {check: [0.0, 0.0] for check in CHECKS}
    assert states("L2", measured)["gain_of_adversarial_nets"] == "not replicated"


def test_subsets_are_nested_and_of_a_seeds_own_and_updates_are_equal() -> None:
    Recorded.runs.clear()
    config = STUBS.model_copy(update={"shares": (0.1, 0.5, 1.0)})
    splits = small_digits()
    found = DataSize(models={"dbn": Blind, ADVERSARIAL_NETS: Recorded}).run(
        config, (100, 101), CPU, splits
    )
    assert found.series["images"] == [40, 200, 400]
    sets = [{tuple(row) for row in run.train.tolist()} for run in Recorded.runs]
    for small, middle, large in (sets[:3], sets[3:]):
        assert len(small) == 40
        assert small < middle < large
    assert sets[0] != sets[3]
    assert sets[2] == sets[5] == {tuple(row) for row in pixels(splits, "train", CPU).tolist()}
    keys = [[(epoch, step) for epoch, step, _ in run.shown] for run in Recorded.runs]
    assert keys[0] == [
        (step // 4, step) for step in range(12)
    ]  # 3 of 100 epochs of 400 images by 100
    assert all(other == keys[0] for other in keys)
    for run, allowed in zip(Recorded.runs, sets, strict=True):
        assert {tuple(row) for _, _, batch in run.shown for row in batch[0].tolist()} <= allowed


def test_a_subset_is_repeated_evenly() -> None:
    assert repeated(torch.tensor([4, 7, 9]), 8).tolist() == [4, 7, 9, 4, 7, 9, 4, 7]
    assert repeated(torch.arange(5), 5).tolist() == [0, 1, 2, 3, 4]
    assert nested(torch.tensor([3, 1, 0, 2]), 2).tolist() == [3, 1]


def model(name: str, epochs: int) -> GenerativeModel:
    kind = MODELS[name]
    return kind(kind.config_for("digits", {"epochs": epochs}), (1, 8, 8), Streams((3,), CPU))


def test_models_are_the_registered_ones() -> None:
    assert {name: load_model(name) for name in MODELS} == dict(MODELS)
    assert set(TINY.others) | {ADVERSARIAL_NETS} == set(MODELS) <= set(REGISTRY)


def test_no_look_is_taken_before_every_layer_has_been_trained() -> None:
    three = STUBS.model_copy(update={"looks": 3, "chain_looks": 5})
    assert look_epochs(model(ADVERSARIAL_NETS, 90), three) == [30, 60, 90]
    assert look_epochs(model("dbn", 90), three) == [54, 63, 72, 81, 90]
    assert look_epochs(model("stacked_cae", 2), three) == [2]
    assert look_epochs(model("dbn", 3), three) == [2, 3]


def test_a_look_takes_the_bandwidth_of_the_validation_images_and_the_best_one_counts() -> None:
    splits = small_digits()
    images, valid, test = (pixels(splits, split, CPU) for split in ("train", "valid", "test"))
    memory = Memory(ModelConfig(epochs=2), (1, 8, 8), Streams((3,), CPU))
    looks = train(memory, images, STUBS.model_copy(update={"looks": 2, "samples": 70}), valid, test)
    assert [taken.epoch for taken in looks] == [1, 2]
    for taken in looks:
        samples = memory.sample(70, taken.epoch)[0]
        values = {sigma: float(log_density(samples, valid, sigma).mean()) for sigma in SIGMAS}
        assert taken.sigma == max(values, key=lambda sigma: values[sigma])
        assert taken.validation == pytest.approx(
            values[taken.sigma], abs=1e-5
        )  # float32, in another order
        assert taken.test == pytest.approx(
            float(log_density(samples, test, taken.sigma).mean()), abs=1e-9
        )
    early, late = Look(1, 5.0, 4.0, 0.2), Look(2, 4.9, 8.0, 0.2)
    assert best([early, late]) is early
    assert best([early, late._replace(validation=5.0)]) is early
    assert best([early, late._replace(test=math.nan)]) is None


@pytest.mark.slow
def test_it_is_a_function_of_its_seeds_and_a_seed_is_the_same_in_company() -> None:
    splits = small_digits()
    together, again = (DataSize(models=QUICK).run(TINY, (100, 101), CPU, splits) for _ in range(2))
    assert together == again
    alone = DataSize(models=QUICK).run(TINY, (101,), CPU, splits)
    assert {
        name: [row[1:] for row in rows] for name, rows in together.series["test"].items()
    } == alone.series["test"]
    for check in CHECKS:
        both, one = together.checks["L2"][check], alone.checks["L2"][check]
        assert isinstance(both, list)
        assert both[1:] == one


def drawn(found: object, seeds: list[int]) -> str:
    result = json.loads(json.dumps({"seeds": seeds, "series": found}, allow_nan=False))
    (drawing,) = draw(result).values()
    checked_svg(drawing.svg)
    assert "nats" in drawing.caption
    return drawing.caption


def test_all_models_are_measured_and_the_figure_is_drawn_from_the_result_alone() -> None:
    found = DataSize(models=QUICK).run(TINY, (7,), CPU, small_digits())
    assert list(found.series["test"]) == [*TINY.others, ADVERSARIAL_NETS]
    test = found.series["test"]
    gain = {name: rows[1][0] - rows[0][0] for name, rows in test.items()}
    beyond = gain[ADVERSARIAL_NETS] - sum(gain[name] for name in TINY.others) / 3
    assert found.checks["L2"]["gain_of_adversarial_nets"] == pytest.approx([gain[ADVERSARIAL_NETS]])
    assert found.checks["L2"]["gain_beyond_the_mean_of_the_others"] == pytest.approx([beyond])
    caption = drawn(found.series, [7])
    assert "1 seeds" in caption
    assert "65 test images" in caption


def test_a_failed_seed_is_none_and_the_others_are_drawn() -> None:
    found = DataSize(models={"dbn": Fails, ADVERSARIAL_NETS: Memory}).run(
        STUBS, (100, 101), CPU, small_digits()
    )
    gain, beyond = found.checks["L2"].values()
    assert isinstance(gain, list)
    assert isinstance(beyond, list)
    assert None not in gain
    assert beyond[1] is None
    assert beyond[0] is not None
    drawn(found.series, [100, 101])


def test_what_it_cannot_run_on_is_refused() -> None:
    with pytest.raises(ReplicateError, match="ascending"):
        checked(DataSizeConfig, {"shares": [1.0, 0.5]}, "parameters")
    digits = small_digits()
    wide = Splits(digits.images, digits.labels, divisor=8.0, value_range=(0.0, 2.0))
    with pytest.raises(NotApplicable):
        EXPERIMENT.run(TINY, (1,), CPU, wide)


def test_a_step_of_more_images_than_there_are_is_refused_and_no_untrained_model_is_judged() -> None:
    steps = {}
    for name in ("dbn", ADVERSARIAL_NETS):
        model = QUICK[name](QUICK[name].config_for("digits", {}), (1, 8, 8), Streams((1,), CPU))
        steps[name] = model.config.batch_size * model.batches_per_step
    few = small_digits(train=max(steps.values()) - 1)
    with pytest.raises(NotApplicable, match="takes .* images, and the data set has"):
        EXPERIMENT.run(TINY.model_copy(update={"others": ("dbn",)}), (1,), CPU, few)


def test_subsets_of_as_many_images_tell_nothing_of_more() -> None:
    """They would be one subset, and every gain exactly 0."""
    config = TINY.model_copy(update={"shares": (0.0001, 0.0002)})
    with pytest.raises(NotApplicable, match="1 training images each"):
        EXPERIMENT.run(config, (1,), CPU, small_digits())
