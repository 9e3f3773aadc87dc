"""Published values under other analyses than the protocol's: each option against scipy or a closed form."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from replicate.multiverse.choices import Alternative, chosen_seeds
from replicate.multiverse.counting import counted, protocol_analysis
from replicate.multiverse.runs import _measured_values, nearest_value, pooled_variance
from replicate.multiverse.significance import sceptical_p
from tests.multiverse.judging import chosen, number_claim, option_names
from tests.test_table import build, compared, evaluation, training

NETS = ("adversarial_nets", "mnist")
VALUES = st.lists(st.floats(150.0, 300.0), min_size=2, max_size=12)


def table_of(values: list[Any], rise: float = 0.0) -> dict[str, Any]:
    """Table 1 of adversarial nets alone, trained until the curve rose by `rise`."""
    seeds = list(range(len(values)))
    return build({NETS: [evaluation(values)]}, trainings={NETS: [training(seeds, rise)]})


@settings(deadline=None)
@given(VALUES, st.sampled_from([0.0, 30.0]))
def test_the_protocols_own_analysis_gives_the_verdict_of_the_table(
    values: list[float], rise: float
) -> None:
    table = table_of(list(values), rise)
    (row,) = [row for row in table["rows"] if row["model"] == "adversarial_nets"]
    claim = number_claim(table)
    counts = counted(claim)
    assert counts["state"] == row["cells"]["mnist"]["verdict"]["state"]
    assert sum(counts["states"].values()) == counts["analyses"]
    assert counts["states"].get(counts["state"], 0) == counts["agreeing"] >= 1


def test_what_withholds_the_protocols_verdict_may_be_set_aside() -> None:
    few = number_claim(table_of([224.0, 226.0, 225.0]))
    assert few.state(protocol_analysis(few.alternatives)) == "withheld"
    assert few.state(chosen(few, minimum="any")) == "replicated"
    rising = number_claim(table_of([180.0, 181.0, 182.0, 183.0, 184.0, 185.0], rise=30.0))
    assert rising.state(protocol_analysis(rising.alternatives)) == "withheld"
    assert rising.state(chosen(rising, rising="judged")) == "not replicated"
    # A run that nothing withholds has no such choice.
    assert {"rising", "deviation", "minimum"}.isdisjoint(
        number_claim(table_of([225.0] * 6 + [226.0])).alternatives
    )


@pytest.mark.parametrize(("epochs", "state"), [(990, "withheld"), (1000, "exceeds")])
def test_a_run_shorter_than_its_recipe_does_not_exceed(epochs: int, state: str) -> None:
    key = ("deep_gsn", "mnist")
    values = [260.0, 261.0, 262.0, 263.0, 264.0, 265.0]
    table = build(
        {key: [evaluation(values, model="deep_gsn")]},
        trainings={key: [training(list(range(6)), epochs=epochs)]},
    )
    claim = number_claim(table, "deep_gsn")
    assert claim.state(protocol_analysis(claim.alternatives)) == state
    if epochs < 1000:
        assert claim.state(chosen(claim, rising="judged")) == "exceeds"


@pytest.mark.parametrize(("rate", "name"), [(0.05, "five"), (0.01, "one"), (0.1, "ten")])
@pytest.mark.parametrize("shift", [-9.0, -4.0, 0.0, 4.0, 9.0])
def test_intervals_are_scipys(rate: float, name: str, shift: float) -> None:
    values = np.random.default_rng(3).normal(225 + shift, 5.0, 8)
    claim = number_claim(table_of([float(value) for value in values]))
    own = stats.t.interval(1 - rate, 7, values.mean(), stats.sem(values))
    inside = own[0] <= 225 <= own[1]
    state = claim.state(chosen(claim, rule="confidence", error="ours_alone", level=name))
    assert (state == "replicated") == inside
    assert state == "replicated" or (state == "exceeds") == (values.mean() > 225)
    spread = np.sqrt(values.var(ddof=1) * (1 + 1 / 8) + 2.0**2)
    half = stats.t.ppf(1 - rate / 2, 7) * spread
    state = claim.state(chosen(claim, rule="prediction", level=name))
    assert (state == "replicated") == (abs(values.mean() - 225) <= half)


def test_the_error_is_that_between_seeds_pooled_ours_alone_or_over_images() -> None:
    """The equivalence test at the claim margin of 11 nats, by the error that is counted."""
    values = [205.0, 245.0, 204.0, 246.0, 203.0, 247.0, 224.0, 226.0]
    calm_row = [138.0 + 0.1 * k for k in range(40)]
    table = build(
        {
            NETS: [evaluation(list(values))],
            ("dbn", "mnist"): [evaluation(list(calm_row), model="dbn")],
        }
    )
    claim = number_claim(table)
    own_square, published_square = np.var(values, ddof=1) / 8, 2.0**2

    def half_width(square: float, degrees: float) -> float:
        """Of the 90 % interval."""
        return float(stats.t.ppf(0.95, degrees) * np.sqrt(square))

    welch = (own_square + published_square) ** 2 / (own_square**2 / 7)
    pooled_square = (7 * np.var(values, ddof=1) + 39 * np.var(calm_row, ddof=1)) / 46 / 8
    welch_pooled = (pooled_square + published_square) ** 2 / (pooled_square**2 / 46)
    widths = {
        "seeds": half_width(own_square + published_square, welch),
        "pooled": half_width(pooled_square + published_square, welch_pooled),
        "ours_alone": half_width(own_square, 7),
        "test_images": half_width(2.0**2 + published_square, np.inf),
    }
    assert widths["seeds"] > 11 > widths["pooled"] > widths["test_images"]
    for error, width in widths.items():
        state = "replicated" if width < 11 else "inconclusive"
        assert claim.state(chosen(claim, error=error)) == state, error
        # At three published errors, 6 nats.
        state = "replicated" if width < 6 else "inconclusive"
        assert claim.state(chosen(claim, error=error, margin="number")) == state, error


def test_more_seeds_do_not_lower_the_error_over_test_images_that_all_share() -> None:
    """Seven nats above with 2 nats of error each: 7 + 1.645 * sqrt(8) is above the margin of 11."""
    for count in (6, 12):
        claim = number_claim(table_of([232.0] * count))
        assert claim.state(chosen(claim, error="test_images")) == "exceeds"
        assert claim.state(chosen(claim, error="seeds")) == "replicated"


def test_of_a_value_alone_all_together_is_no_level_of_its_own() -> None:
    """With it a quarter of all analyses would be those at 5 % by another name."""
    table = table_of([225.0, 226.0, 224.0, 225.0, 226.0, 224.5])
    alone, of_three = (number_claim(table, together=count) for count in (1, 3))
    assert alone.state(chosen(alone, level="together")) is None
    assert of_three.state(chosen(of_three, level="together")) == "replicated"
    assert counted(alone)["analyses"] == counted(of_three)["analyses"] * 3 / 4


def test_margins_are_the_claims_its_half_and_three_published_errors() -> None:
    """A mean 5 nats above, with next to no spread: the 90 % interval is 5 +- 1.645 * 2."""
    claim = number_claim(table_of([230.0, 230.001] * 4))
    low, high = 5 - 1.645 * 2, 5 + 1.645 * 2
    assert 5.5 < high < 11
    assert low > 0
    assert claim.state(protocol_analysis(claim.alternatives)) == "replicated"
    assert claim.state(chosen(claim, margin="half")) == "exceeds"
    assert claim.state(chosen(claim, margin="number")) == "exceeds"
    assert claim.state(chosen(claim, rule="confidence")) == "exceeds"
    # Only the equivalence test has a margin, so another rule with another margin is no analysis.
    assert claim.state(chosen(claim, rule="confidence", margin="half")) is None
    assert claim.state(chosen(claim, rule="prediction", error="test_images")) is None


@pytest.mark.parametrize("mean", [190.0, 213.0, 216.0, 222.0, 240.0])
def test_the_sceptic_asks_for_the_gap_to_the_nearest_row(mean: float) -> None:
    values = mean + np.array([-6.0, -2.0, 0.0, 1.0, 3.0, 4.0])
    claim = number_claim(table_of([float(value) for value in values]))
    p = sceptical_p(225 - 214, 2.0, values.mean() - 214, float(stats.sem(values)))
    expected = "replicated" if p <= 0.05 else "not replicated" if p >= 0.975 else "inconclusive"
    assert claim.state(chosen(claim, rule="sceptical")) == expected


def test_seeds_are_left_out_one_by_one_and_halved() -> None:
    """Seven seeds at the published value and one far below."""
    values = [225.0, 225.5, 224.5, 225.0, 40.0, 225.5, 224.5, 225.0]
    claim = number_claim(table_of([float(value) for value in values]))
    assert claim.state(protocol_analysis(claim.alternatives)) == "inconclusive"
    assert claim.state(chosen(claim, seeds=4)) == "replicated"
    assert claim.state(chosen(claim, seeds=0)) == "inconclusive"
    assert claim.state(chosen(claim, seeds="first_half")) == "replicated"
    assert claim.state(chosen(claim, seeds="second_half")) == "inconclusive"
    titles = [option.title for option in claim.alternatives["seeds"]]
    assert "without seed 4" in titles


def test_epochs_bandwidths_and_samplers_are_those_that_are_kept() -> None:
    values = [225.0, 225.5, 224.5, 225.0, 225.5, 224.5]
    plain = number_claim(table_of([float(value) for value in values]))
    assert {"epoch", "bandwidth", "sampler"}.isdisjoint(plain.alternatives)
    _, evaluated = evaluation(list(values))
    _, trained = training(list(range(6)))
    # The chosen epochs lie 30 nats above the last look; the fine grid of `evaluation` gives 1 more.
    last = trained["curve"]["log_likelihood"][-1]
    trained["chosen_log_likelihood"] = [value + 30 for value in last]

    class Kept:
        def __init__(self, content: Any) -> None:
            self.content = content

    jobs = [{"evaluate": Kept(evaluated), "train": Kept(trained)}]
    claim = number_claim(table_of([float(value) for value in values]), jobs=jobs)
    assert option_names(claim, "epoch") == ["chosen", "last"]
    assert option_names(claim, "bandwidth") == ["coarse", "fine"]
    assert claim.state(chosen(claim, epoch="last")) == "not replicated"
    assert claim.state(chosen(claim, bandwidth="fine")) == "replicated"
    # Where every seed's chosen epoch is the last one there is nothing to choose.
    trained["chosen_log_likelihood"] = last
    assert (
        "epoch"
        not in number_claim(table_of([float(value) for value in values]), jobs=jobs).alternatives
    )


def test_a_chain_row_by_another_sampler() -> None:
    key = ("dbn", "mnist")
    table = build(
        {key: [evaluation([138.0, 138.5, 137.5, 138.0, 138.5, 137.5], model="dbn")]},
        trainings={key: [training(list(range(6)))]},
        samplers={key: [compared({"published": 138.0, "mixed": 240.0, "longer": 241.0})]},
    )
    claim = number_claim(table, "dbn")
    assert option_names(claim, "sampler") == ["published", "mixed", "longer"]
    assert claim.state(protocol_analysis(claim.alternatives)) == "replicated"
    assert claim.state(chosen(claim, sampler="mixed")) == "exceeds"


def test_the_error_over_test_images_is_chosen_only_where_the_paper_prints_it() -> None:
    """Of five folds a seed has the error of one fold's mean, and the paper that over folds."""
    key = ("adversarial_nets", "tfd")
    values = [2050.0, 2055.0, 2060.0, 2052.0, 2058.0, 2054.0]
    table = build({key: [evaluation(list(values), dataset="tfd")]})
    of_folds = number_claim(table, dataset="tfd")
    assert option_names(of_folds, "error") == ["seeds", "pooled", "ours_alone"]
    assert "test_images" in option_names(number_claim(table_of(list(values))), "error")


def test_a_failed_seed_leaves_every_analysis_undecided() -> None:
    table = table_of([225.0, 226.0, None, 224.0, 225.0, 226.0, 224.0])
    assert set(counted(number_claim(table))["states"]) == {"inconclusive"}


def test_a_block_that_failed_before_its_first_look_leaves_the_row_undecided() -> None:
    """Such a training has an empty curve, and so no last look."""
    sound, failed = evaluation([225.0, 226.0]), evaluation([None], first_seed=2)
    trained, stopped = training([0, 1]), training([2], epochs=0)
    for _, content in (trained, stopped):
        content["chosen_log_likelihood"] = [None] * len(content["seeds"])
    assert stopped[1]["curve"]["log_likelihood"] == []
    table: Any = build({NETS: [sound, failed]}, trainings={NETS: [trained, stopped]})
    jobs = []
    for (_, evaluated), (_, learnt) in ((sound, trained), (failed, stopped)):
        files = {"evaluate": evaluated, "train": learnt}
        jobs.append({stage: SimpleNamespace(content=content) for stage, content in files.items()})
    assert set(counted(number_claim(table, jobs=jobs))["states"]) == {"inconclusive"}


def test_all_together_are_the_values_that_the_table_counts() -> None:
    """A row of which every seed failed has no interval that could hold with the others."""
    blocks = {
        NETS: [evaluation([225.0, 226.0])],
        ("dbn", "mnist"): [evaluation([None, None], model="dbn")],
    }
    table: Any = build(blocks)
    verdict = table["rows"][3]["cells"]["mnist"]["verdict"]
    assert verdict["simultaneous_claims"] == 1
    assert _measured_values(table, "mnist") == 1


def test_rows_are_pooled_by_degrees_of_freedom_and_halves_are_halves() -> None:
    few, many = [1.0, 3.0], [100.0, 104.0, 108.0, 100.0]
    table: Any = build(
        {NETS: [evaluation(list(few))], ("dbn", "mnist"): [evaluation(list(many), model="dbn")]}
    )
    pooled = pooled_variance(table, "mnist")
    expected = (1 * np.var(few, ddof=1) + 3 * np.var(many, ddof=1)) / 4
    assert pooled == (pytest.approx(expected), 4)
    assert pooled_variance(build({NETS: [evaluation([1.0])]}), "mnist") is None
    # Table 1 on MNIST: 138, 121, 214, 225.
    assert nearest_value(table, "mnist", "dbn") == 121
    assert nearest_value(table, "mnist", "deep_gsn") == 225
    assert nearest_value(table, "mnist", "adversarial_nets") == 214
    assert chosen_seeds(many, Alternative("first_half", "")) == many[:2]
    assert chosen_seeds(many, Alternative("second_half", "")) == many[2:]
