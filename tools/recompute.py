"""Recomputes Table 1 from the log-likelihood of every test image, and the statements from the
numbers of every experiment, and compares both with what the run says.

python tools/recompute.py [--table results/table1.json] [--protocol protocol.yaml]
                          [--published results/published/table1.csv]

The statements are those of `statements.json` beside the table, if it is there.

A second opinion: it imports nothing of the package, reads the kept log-likelihoods, the protocol
and the published values itself, and writes the formulas of docs/protocol.md down again. Means,
errors, intervals, variances and verdicts must agree to 1e-9 (of the larger of 1 and the number).
Left out is what test images do not tell: the fine bandwidth, the effective samples, and the hashes.
Runs of other lengths are kept without test images: their seeds are taken from the table.
"""

import argparse
import csv
import json
import math
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scipy import stats

TOLERANCE = 1e-9
DTYPES = {"F32": "<f4", "F64": "<f8"}


def tensors(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file: 8 bytes of header length, a JSON header, the values."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header.pop("__metadata__", None)
    return {
        name: np.frombuffer(
            content[start + entry["data_offsets"][0] : start + entry["data_offsets"][1]],
            DTYPES[entry["dtype"]],
        ).reshape(entry["shape"])
        for name, entry in header.items()
    }


class Cell:
    """The seeds of one model on one data set, from the kept log-likelihoods.

    `draws[i]` is (draws, folds): the mean over the test images of each fold; `errors[i]` their
    standard errors.
    """

    def __init__(self, files: list[str]) -> None:
        self.seeds: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self.failed: list[int] = []
        self.evaluations = [json.loads(Path(file).read_text(encoding="utf-8")) for file in files]
        for file, evaluation in zip(files, self.evaluations, strict=True):
            kept = tensors(Path(file).with_suffix(".safetensors"))
            folds = [kept[f"fold{k}"].astype(np.float64) for k in range(len(kept))]
            for place, entry in enumerate(evaluation["per_seed"]):
                if entry["failed"]:
                    self.failed.append(entry["seed"])
                    continue
                mean = np.stack([fold[place].sum(1) / fold.shape[2] for fold in folds], axis=1)
                variance = np.stack([fold[place].var(1) for fold in folds], axis=1)
                self.seeds[entry["seed"]] = (
                    mean,
                    np.sqrt(variance / [fold.shape[2] for fold in folds]),
                )

    @property
    def values(self) -> np.ndarray:
        """The log-likelihood of every seed that did not fail, in their order."""
        return np.array([self.seeds[seed][0].mean() for seed in sorted(self.seeds)])

    def numbers(self, together: int) -> dict[str, Any]:
        """What `measured` must say; `together`: models of the column that the simultaneous interval
        covers.
        """
        values, ordered = self.values, [self.seeds[seed] for seed in sorted(self.seeds)]
        if not len(values):
            return {"mean": None, "sd_over_seeds": None, "interval": None, "per_seed": []}
        per_seed = [
            {
                "seed": seed,
                "log_likelihood": means.mean(),
                "standard_error": errors.mean(),
                "standard_error_folds": folds,
            }
            for seed, (means, errors) in sorted(self.seeds.items())
            for folds in [float(stats.sem(means, axis=1).mean()) if means.shape[1] > 1 else None]
        ]
        k, cut = len(values), len(values) // 4
        found = {
            "mean": values.sum() / k,
            "standard_error_test": np.mean([entry["standard_error"] for entry in per_seed]),
            "standard_error_folds": np.mean([entry["standard_error_folds"] for entry in per_seed])
            if per_seed[0]["standard_error_folds"] is not None
            else None,
            "interquartile_mean": np.sort(values)[cut : k - cut].mean(),
            "variances": variances(ordered),
            "per_seed": per_seed,
            "seeds": sorted([*self.seeds, *self.failed]),
        }
        if k > 1:
            resampled = np.sort(
                values[np.random.default_rng(2014).integers(0, k, (10_000, k))], axis=1
            )
            found |= {
                "sd_over_seeds": math.sqrt(((values - values.mean()) ** 2).sum() / (k - 1)),
                "interval": t_interval(values.mean(), stats.sem(values), k - 1, 0.95),
                "interval_simultaneous": t_interval(
                    values.mean(), stats.sem(values), k - 1, 1 - 0.05 / together
                ),
                "interquartile_interval": np.percentile(
                    resampled[:, cut : k - cut].mean(1), [2.5, 97.5]
                ).tolist(),
            }
        return found

    def obstacle(
        self, rule: dict[str, Any], estimate: dict[str, Any], sampler: dict[str, Any] | None = None
    ) -> str | None:
        """The state that no test may change, or None; `sampler` is the protocol's for a row of
        Markov chains.
        """
        for one in self.evaluations:
            if sampler is not None and one.get("sampler") != sampler:
                return "withheld"
            validation = [
                estimate["validation"] or available for available in one["validation_available"]
            ]
            given = (one["n_samples"], len(one["n_test"]), one["n_validation"], one["sigmas"])
            if given != (estimate["samples"], estimate["folds"], validation, estimate["sigmas"]):
                return "withheld"
        if self.failed:
            return "inconclusive"
        return "withheld" if len(self.seeds) < rule["minimum_seeds"] else None


def blocks_of(shown: dict[str, Any]) -> list[dict[str, Any]]:
    """The results that an entry of the table names."""
    return [json.loads(Path(file).read_text(encoding="utf-8")) for file in shown["files"]]


def rise(blocks: list[dict[str, Any]], rules: dict[str, Any]) -> float | None:
    """Section 8: nats that the mean curve of all blocks rose at its end; None without looks."""
    looks: dict[int, list[float]] = {}
    for block in blocks:
        for epoch, values in zip(
            block["curve"]["epoch"], block["curve"]["log_likelihood"], strict=True
        ):
            good = [
                v
                for seed, v in zip(block["seeds"], values, strict=True)
                if str(seed) not in block["failed"] and v is not None
            ]
            looks.setdefault(epoch, []).extend(good)
    seeds = max((len(values) for values in looks.values()), default=0)
    # Where no images choose the epoch (TFD) there is no curve, which shows nothing.
    if not seeds:
        return None
    epochs = np.array(sorted(epoch for epoch, values in looks.items() if len(values) == seeds))
    means = np.array([np.mean(looks[epoch]) for epoch in epochs])
    end = epochs.max()
    width, early = rules["smoothed_over"] * end, (1 - rules["over"]) * end
    last, before = (
        means[epochs > end - width],
        means[(epochs > early - width) & (epochs <= early + 1e-6)],
    )
    return float(last.mean() - before.mean()) if len(before) else None


def still_rising(
    shown: dict[str, Any] | None,
    rules: dict[str, Any],
    dataset: str,
    model: str,
    published_error: float,
) -> bool:
    """Section 8: whether the training of a row had not ended, from the curves of its results."""
    if shown is None:
        return True
    blocks = blocks_of(shown)
    fixed = rules["ends"].get(dataset, {}).get(model)
    epochs_trained = min(block["epochs"] for block in blocks)
    if fixed is not None and epochs_trained <= fixed["epochs"]:
        return bool(epochs_trained < fixed["epochs"])
    rose = rise(blocks, rules)
    return rose is None or rose > published_error


def went_on_beyond(shown: dict[str, Any] | None, rules: dict[str, Any], end: int) -> bool:
    """Section 8: whether a row's training passed its recipe's end, with looks at its own end."""
    if shown is None:
        return False
    blocks = blocks_of(shown)
    return rise(blocks, rules) is not None and min(block["epochs"] for block in blocks) > end


def speaks(shown: dict[str, Any] | None, model: str, rules: dict[str, Any], margin: float) -> bool:
    """Section 7: whether a row of Markov chains tells something of its model, by its samplers."""
    if shown is None:
        return False
    blocks = [json.loads(Path(file).read_text(encoding="utf-8")) for file in shown["files"]]
    mixed, longer = rules["beside"], rules["longer"]
    for name in (rules["decides"], mixed, longer):
        seeds = draws_by(blocks, name, "log_likelihood")
        if sum(map(len, seeds)) < rules["draws"]:
            return False
        ran = [block["samplers"][name]["settings"] for block in blocks]
        if any(settings != rules["rows"][model][name] for settings in ran):
            return False
    start = independent(draws_by(blocks, mixed, "remembered_start"))
    upper = t_interval(start.mean(), stats.sem(start), len(start) - 1, 0.95)[1]
    value = independent(draws_by(blocks, mixed, "log_likelihood")).mean()
    longer_value = independent(draws_by(blocks, longer, "log_likelihood")).mean()
    floor = np.mean([block["independent_pixels"] for block in blocks])
    forgets = upper <= rules["remembered_start"]
    return bool(forgets and abs(longer_value - value) <= margin and value > floor)


def draws_by(blocks: list[dict[str, Any]], sampler: str, measure: str) -> list[np.ndarray]:
    """What every draw by a sampler measured: an array for each seed that did not fail."""
    seeds: list[Any] = []
    for block in blocks:
        seeds += block["samplers"].get(sampler, {}).get("per_seed", [])
    sound = [draws for draws in seeds if draws is not None]
    return [np.array([draw[measure] for draw in draws]) for draws in sound]


def independent(seeds: list[np.ndarray]) -> np.ndarray:
    """Values that are independent of each other: the seeds' means, or the draws of one seed."""
    if len(seeds) == 1:
        return seeds[0]
    return np.array([draws.mean() for draws in seeds])


def by_model(cell: Cell, shown: dict[str, Any] | None, rules: dict[str, Any]) -> np.ndarray:
    """The values of a row's seeds that speak of its model: by the mixed sampler where chains sample
    it.
    """
    seeds: dict[int, float] = {}
    for file in shown["files"] if shown else ():
        block = json.loads(Path(file).read_text(encoding="utf-8"))
        found = block["samplers"].get(rules["beside"], {}).get("per_seed", [])
        for seed, draws in zip(block["seeds"], found, strict=False):
            if draws is not None:
                seeds[seed] = float(np.mean([draw["log_likelihood"] for draw in draws]))
    return np.array([seeds[seed] for seed in sorted(seeds)]) if seeds else cell.values


def variances(seeds: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, Any]:
    """Training seed, sample draw and test images, by a one-way analysis of variance."""
    draws = [means.mean(1) for means, _ in seeds]
    freedom = sum(len(values) - 1 for values in draws)
    within = (
        sum(((values - values.mean()) ** 2).sum() for values in draws) / freedom
        if freedom
        else None
    )
    between = None
    if within is not None and len(draws) > 1:
        means = np.array([values.mean() for values in draws])
        between = means.var(ddof=1) - within * np.mean([1 / len(values) for values in draws])
    images = np.mean([errors.mean() ** 2 for _, errors in seeds])
    return {
        name: {"variance": value}
        for name, value in (("seed", between), ("draw", within), ("test_images", images))
    }


def t_interval(centre: float, error: float, degrees: float, level: float) -> list[float]:
    """The two-sided t interval, by scipy's own."""
    if error == 0:
        return [centre, centre]
    frozen = stats.norm(centre, error) if math.isinf(degrees) else stats.t(degrees, centre, error)
    return [float(bound) for bound in frozen.interval(level)]


def satterthwaite(*terms: tuple[float, float]) -> tuple[float, float]:
    """Standard error and degrees of freedom of a sum of (variance, degrees of freedom)."""
    total = sum(variance for variance, _ in terms)
    below = sum(variance * variance / degrees for variance, degrees in terms)
    return math.sqrt(total), total * total / below if below else math.inf


def equivalence_state(narrow: list[float], wide: list[float], margin: float) -> str:
    """Section 3 of docs/protocol.md, top to bottom."""
    if abs(narrow[0]) < margin and abs(narrow[1]) < margin:
        return "replicated"
    if min(narrow) > 0:
        return "exceeds"
    if min(narrow) > -margin:
        return "not inferior"
    return "not replicated" if max(wide) < -margin else "inconclusive"


def enough(
    centre: float, variance: float, k: int, published: tuple[float, float], margin: float
) -> int | None:
    """The fewest seeds, k + 1 to 1,000, whose interval would clear the margin on one side or the
    other.
    """
    counts = np.arange(k + 1, 1001)
    ours, (theirs, degrees) = variance / counts, published
    nu = (ours + theirs) ** 2 / (ours**2 / (counts - 1) + theirs**2 / degrees)
    above = centre - stats.t.ppf(0.95, nu) * np.sqrt(ours + theirs) > -margin
    below = centre + stats.t.ppf(0.975, nu) * np.sqrt(ours + theirs) < -margin
    return int(counts[above | below][0]) if (above | below).any() else None


def equivalence(
    cell: Cell,
    published: dict[str, str],
    rule: dict[str, Any],
    protocol: dict[str, Any],
    claims: int,
    shown: dict[str, Any],
) -> dict[str, Any]:
    """What the verdict on a published value must say."""
    values, theta, error = (
        cell.values,
        float(published["log_likelihood"]),
        float(published["standard_error"]),
    )
    estimate, samplers = protocol["estimates"][rule["dataset"]], protocol["samplers"]
    sampler = samplers["rows"].get(published["model"], {}).get(samplers["decides"])
    k, obstacle = len(values), cell.obstacle(rule, estimate, sampler)
    if k < 2:
        return {"state": obstacle or "withheld"}
    variance, degrees = values.var(ddof=1), rule["original_df"] or math.inf
    centre = values.mean() - theta

    spread = satterthwaite((variance / k, k - 1), (error**2, degrees))
    levels = (0.9, 0.95, 1 - 0.1 / claims, 1 - 0.05 / claims)
    narrow, wide, narrow_all, wide_all = (t_interval(centre, *spread, level) for level in levels)
    predicted = t_interval(values.mean(), math.sqrt(variance * (1 + 1 / k) + error**2), k - 1, 0.95)
    found = {
        "difference": centre,
        "ci90": narrow,
        "ci95": wide,
        "ci90_simultaneous": narrow_all,
        "ci95_simultaneous": wide_all,
        "naive_z": centre / math.sqrt(variance / k + error**2),
        "prediction_interval": predicted,
        "compatible": predicted[0] <= theta <= predicted[1],
        "state": obstacle,
    }
    if obstacle is None:
        found["state"] = found["claim_state"] = equivalence_state(
            narrow, wide, rule["claim_margin"]
        )
        found["number_state"] = equivalence_state(narrow, wide, rule["number_margin"])
        lengths = other_lengths(shown, published["model"], rule, protocol)
        if lengths:
            number = (theta, error, degrees)
            withheld = depends_on_length(values, lengths, number, rule["claim_margin"])
        else:
            withheld = still_rising(
                shown["ending"], protocol["rising"], rule["dataset"], published["model"], error
            )
            # Section 8: "exceeds" may stand, but not of a run that is shorter than its recipe.
            fixed = protocol["rising"]["ends"].get(rule["dataset"], {}).get(published["model"])
            stands = fixed is None or went_on_beyond(
                shown["ending"], protocol["rising"], fixed["epochs"]
            )
            withheld = withheld and (found["state"] != "exceeds" or not stands)
        if withheld:
            found["state"] = "withheld"
        if found["state"] == "inconclusive":
            found["seeds_needed"] = enough(
                centre, variance, k, (error**2, degrees), rule["claim_margin"]
            )
    return found


def other_lengths(
    shown: dict[str, Any], model: str, rule: dict[str, Any], protocol: dict[str, Any]
) -> list[np.ndarray]:
    """Section 8, by whole runs: the seeds of half and of twice the epochs; none unless both speak.

    They are kept runs of others, without test images, so that their seeds are read in the table.
    """
    if shown["ending"] is None or model not in protocol["rising"]["whole_runs"]:
        return []
    estimate, samplers = protocol["estimates"][rule["dataset"]], protocol["samplers"]
    found = {}
    for run in shown.get("whole_runs", []):
        measured = run["measured"]
        # What is asked of the seeds and of the estimate of a row, asked of those of another run.
        cell = Cell([])
        cell.evaluations, cell.failed = [measured], measured["failed"]
        for entry in measured["per_seed"]:
            value = np.array([[entry["log_likelihood"]]])
            cell.seeds[entry["seed"]] = (value, np.zeros_like(value))
        if cell.obstacle(rule, estimate, samplers["rows"][model][samplers["decides"]]) is None:
            found[run["epochs"]] = cell.values
    epochs = shown["ending"]["epochs"]
    return [found[epochs / 2], found[2 * epochs]] if {epochs / 2, 2 * epochs} == {*found} else []


def depends_on_length(
    values: np.ndarray,
    lengths: list[np.ndarray],
    number: tuple[float, float, float],
    margin: float,
) -> bool:
    """Section 8, by whole runs: whether half, twice or four times the epochs have another verdict.

    `number` is the published value, its standard error and the degrees of freedom of that.
    """
    theta, error, degrees = number
    states = []
    for seeds in (values, *lengths):
        k = len(seeds)
        spread = satterthwaite((seeds.var(ddof=1) / k, k - 1), (error**2, degrees))
        intervals = [t_interval(seeds.mean() - theta, *spread, level) for level in (0.9, 0.95)]
        states.append(equivalence_state(*intervals, margin))
    if len(set(states)) > 1:
        return True
    longest = lengths[-1]
    gain = stats.ttest_ind(longest, values, equal_var=False).confidence_interval(0.9).high
    reached = longest.mean() + max(gain, 0.0)
    return states[0] == "not replicated" and bool(reached >= theta - margin)


def comparison(ours: np.ndarray, theirs: np.ndarray, ahead: bool, rivals: int) -> dict[str, Any]:
    """What the comparison of two models must say."""
    welch = stats.ttest_ind(ours, theirs, equal_var=False)
    narrow, wide, all_wide = (
        list(welch.confidence_interval(level)) for level in (0.9, 0.95, 1 - 0.05 / rivals)
    )
    sign = 1 if ahead else -1
    forth, back = (sorted(sign * bound for bound in interval) for interval in (narrow, all_wide))
    state = "replicated" if forth[0] > 0 else "not replicated" if back[1] < 0 else "inconclusive"
    u = stats.mannwhitneyu(ours, theirs).statistic
    return {
        "difference": ours.mean() - theirs.mean(),
        "ci90": narrow,
        "ci95": wide,
        "ci95_simultaneous": all_wide,
        "state": state,
        "probability_of_improvement": u / (len(ours) * len(theirs)),
    }


def ordering(
    cells: dict[str, Cell],
    shown: dict[str, dict[str, Any]],
    published: dict[str, dict[str, str]],
    rule: dict[str, Any],
    protocol: dict[str, Any],
) -> dict[str, Any]:
    """What the verdict on a published ordering must say."""
    rivals, samplers = [*rule["ahead_of"], *rule["behind"]], protocol["samplers"]
    as_published = {
        model: cells[model].values if model in cells else np.empty(0)
        for model in (rule["model"], *rivals)
    }
    values = {
        model: by_model(cells[model], shown[model]["samplers"], samplers)
        if model in cells
        else np.empty(0)
        for model in as_published
    }
    ours, comparisons = values[rule["model"]], []
    for rival in rivals:
        theta = float(published[rival]["log_likelihood"])
        found: dict[str, Any] = {
            "rival": rival,
            "seeds": len(ours),
            "seeds_ahead": int((ours > theta).sum()),
        }
        if len(ours):
            share = stats.binomtest(found["seeds_ahead"], len(ours)).proportion_ci(
                0.95, method="wilson"
            )
            found |= {
                "share_ahead": (ours > theta).mean(),
                "share_interval": [share.low, share.high],
            }
        if min(len(ours), len(values[rival])) > 1:
            found |= comparison(ours, values[rival], rival in rule["ahead_of"], len(rivals))
        if len(ours) and len(values[rival]):
            gaps = (
                ours.mean() - values[rival].mean(),
                as_published[rule["model"]].mean() - as_published[rival].mean(),
            )
            found["published_sampler_agrees"] = bool(gaps[0] * gaps[1] > 0)
        comparisons.append(found)
    states = {found.get("state") for found in comparisons}
    if any(model not in cells for model in values):
        state = "not attempted"
    elif rule.get("awaits"):
        state = "withheld"
    elif found_state := _ordering_obstacle(cells, shown, published, rule, protocol):
        state = found_state
    elif any(found.get("published_sampler_agrees") is False for found in comparisons):
        state = "withheld"
    elif "not replicated" in states:
        state = "not replicated"
    else:
        state = "replicated" if states == {"replicated"} else "inconclusive"
    return {"comparisons": comparisons, "verdict": {"state": state}}


def _ordering_obstacle(
    cells: dict[str, Cell],
    shown: dict[str, dict[str, Any]],
    published: dict[str, dict[str, str]],
    rule: dict[str, Any],
    protocol: dict[str, Any],
) -> str | None:
    """The state of the first row of an ordering that says nothing of its model; None where all
    do.
    """
    samplers = protocol["samplers"]
    for model in (rule["model"], *rule["ahead_of"], *rule["behind"]):
        rows, error = samplers["rows"].get(model), float(published[model]["standard_error"])
        sampler = rows[samplers["decides"]] if rows else None
        if obstacle := cells[model].obstacle(rule, protocol["estimates"][rule["dataset"]], sampler):
            return obstacle
        if still_rising(shown[model]["ending"], protocol["rising"], rule["dataset"], model, error):
            return "withheld"
        margin = protocol["claims"][published[model]["claim"]]["claim_margin"]
        if rows and not speaks(shown[model]["samplers"], model, samplers, margin):
            return "withheld"
        seeds = len(by_model(cells[model], shown[model]["samplers"], samplers))
        if rows and seeds < max(rule["minimum_seeds"], 2):
            return "withheld"
    return None


def differences(place: str, expected: Any, found: Any) -> Iterator[tuple[float, str]]:
    """How far each value lies from the table's, with its place; infinity where they are of
    different kinds.
    """
    if isinstance(expected, dict):
        for key, value in expected.items():
            yield from differences(
                f"{place}/{key}", value, found.get(key) if isinstance(found, dict) else None
            )
    elif isinstance(expected, list):
        same = isinstance(found, list) and len(found) == len(expected)
        for k, value in enumerate(expected):
            yield from differences(f"{place}/{k}", value, found[k] if same else None)
    elif expected is None or isinstance(expected, str | bool | np.bool_):
        yield (0.0 if expected == found else math.inf), place
    elif isinstance(found, int | float) and not isinstance(found, bool):
        yield abs(float(expected) - found) / max(1.0, abs(found)), place
    else:
        yield math.inf, place


def recomputed(
    table: dict[str, Any], protocol: dict[str, Any], rows: list[dict[str, str]]
) -> Iterator[tuple[float, str]]:
    """Every value of the table that test images tell, compared."""
    published = {(row["dataset"], row["model"]): row for row in rows}
    kinds = {row["model"]: row["kind"] for row in table["rows"]}
    places = {
        (name, row["model"]): cell for row in table["rows"] for name, cell in row["cells"].items()
    }
    cells = {
        key: Cell(cell["measured"]["files"]) for key, cell in places.items() if cell["measured"]
    }
    sound = [key for key, cell in cells.items() if cell.seeds]
    for (name, model), shown in places.items():
        place = f"{name}/{model}"
        if (cell := cells.get((name, model))) is None:
            yield (
                (
                    0.0
                    if shown["verdict"]["state"] in ("not attempted", "not applicable")
                    else math.inf
                ),
                place,
            )
            continue
        together = sum(kinds[other] == "model" for data, other in sound if data == name)
        yield from differences(
            f"{place}/measured", cell.numbers(max(together, 1)), shown["measured"]
        )
        if row := published.get((name, model)):
            rule, claims = (
                protocol["claims"][row["claim"]],
                sum(key in published and key[0] == name for key in sound),
            )
            verdict = equivalence(cell, row, rule, protocol, claims, shown["measured"])
        else:
            verdict = {"state": "no published value"}
        yield from differences(f"{place}/verdict", verdict, shown["verdict"])
    shown_orderings = {entry["claim"]: entry for entry in table["orderings"]}
    for claim, rule in protocol["claims"].items():
        if rule["kind"] == "directional":
            name = rule["dataset"]
            of_set = {model: cell for (data, model), cell in cells.items() if data == name}
            of_paper = {model: row for (data, model), row in published.items() if data == name}
            measured = {model: places[name, model]["measured"] for model in of_set}
            expected = ordering(of_set, measured, of_paper, rule, protocol)
            yield from differences(claim, expected, shown_orderings.get(claim))


def check_verdict(
    rule: dict[str, Any], measured: Any, tested: int, one_is_enough: bool = False
) -> dict[str, Any]:
    """What the verdict on one check of a statement must say (section 6); `tested`: checks of the
    statement that have a number for each seed.
    """
    threshold, sign = (rule["below"], -1) if "below" in rule else (rule["above"], 1)
    if rule.get("exact"):
        if measured is None:
            return {"value": None, "state": None}
        holds = sign * (measured - threshold) > 0
        return {"value": measured, "state": "replicated" if holds else "not replicated"}
    values = np.array([value for value in measured if value is not None], float)
    k = len(values)
    if k < 2:
        return {"per_seed": measured, "value": values.mean() if k else None, "state": None}
    levels = (0.9, 0.95, 1 - 0.05 / tested)
    mean, spread = values.mean(), values.std(ddof=1)
    if np.ptp(values) == 0:  # which rounding would make another number, with a spread
        mean, spread = values[0], 0.0
    narrow, wide, all_wide = (
        t_interval(mean, spread / math.sqrt(k), k - 1, level) for level in levels
    )
    # Distances beyond the threshold: above 0 is where the statement wants them.
    forth, back = (
        sorted(sign * (bound - threshold) for bound in interval) for interval in (narrow, all_wide)
    )
    if one_is_enough:
        forth, back = back, forth
    state = "replicated" if forth[0] > 0 else "not replicated" if back[1] < 0 else "inconclusive"
    needed = None
    if state == "inconclusive":
        counts = np.arange(k + 1, 1001)
        errors, centre = spread / np.sqrt(counts), sign * (mean - threshold)
        tails = (0.95, 1 - 0.025 / tested)
        up, down = reversed(tails) if one_is_enough else tails
        above = centre - stats.t.ppf(up, counts - 1) * errors > 0
        below = centre + stats.t.ppf(down, counts - 1) * errors < 0
        needed = int(counts[above | below][0]) if (above | below).any() else None
    return {
        "per_seed": measured,
        "value": mean,
        "sd_over_seeds": spread,
        "ci90": narrow,
        "ci95": wide,
        "ci95_simultaneous": all_wide,
        "state": state,
        "seeds_needed": needed,
    }


def decided(
    rule: dict[str, Any], measured: dict[str, Any], verdicts: list[tuple[str, dict[str, Any]]]
) -> dict[str, Any]:
    """The verdict on a statement from those on its checks, top to bottom of section 6."""
    exact = [verdict for name, verdict in verdicts if rule["checks"][name].get("exact")]
    tested = [(name, verdict) for name, verdict in verdicts if verdict not in exact]
    states = [verdict["state"] for _, verdict in tested]
    has_failed = any(None in measured[name] for name, _ in tested)
    # Without a number where all seeds failed that it is of.
    has_failed |= any(verdict["state"] is None for verdict in exact)
    if any(verdict["state"] == "not replicated" for verdict in exact):
        state = "not replicated"
    elif has_failed:
        state = "inconclusive"
    elif tested and len(measured[tested[0][0]]) < rule.get("minimum_seeds", 6):
        state = "withheld"
    elif rule.get("asks_for") == "any" and "replicated" in states:
        state = "replicated"
    elif rule.get("asks_for") != "any" and "not replicated" in states:
        state = "not replicated"
    elif "inconclusive" in states:
        counts = [verdict["seeds_needed"] for _, verdict in tested]
        open_ones = [n for n, of in zip(counts, states, strict=True) if of == "inconclusive"]
        needed = None if None in open_ones else max(open_ones)
        # Alone decides what affirms where one is enough, and what denies where all must hold.
        alone = [
            verdict["seeds_needed"]
            for name, verdict in tested
            if verdict["state"] == "inconclusive"
            and verdict["seeds_needed"] is not None
            and on_its_side(rule["checks"][name], verdict["value"])
            == (rule.get("asks_for") == "any")
        ]
        needed = min(alone, default=needed)
        return {"state": "inconclusive", "seeds_needed": needed}
    else:
        state = "not replicated" if rule.get("asks_for") == "any" else "replicated"
    return {"state": state, "seeds_needed": None}


def on_its_side(rule: dict[str, Any], value: float) -> bool:
    """Whether a mean lies on the wanted side of the threshold."""
    return value < rule["below"] if "below" in rule else value > rule["above"]


def statement(rule: dict[str, Any], file: str | None, name: str) -> dict[str, Any]:
    """What the verdict on a statement must say (section 6); `file`: the result that decides it."""
    if file is None:
        return {"state": "not attempted", "checks": []}
    result = json.loads(Path(file).read_text(encoding="utf-8"))
    if result["not_applicable"]:
        return {"state": "not applicable", "checks": []}
    measured, checks = result["checks"][name], rule["checks"]
    tested = sum(not check.get("exact") for check in checks.values())
    verdicts = [
        (label, check_verdict(check, measured[label], tested, rule.get("asks_for") == "any"))
        for label, check in checks.items()
    ]
    checked = [verdict for _, verdict in verdicts]
    return {**decided(rule, measured, verdicts), "checks": checked}


def recomputed_statements(
    shown: dict[str, Any], protocol: dict[str, Any]
) -> Iterator[tuple[float, str]]:
    """Every value and verdict of the statements, compared."""
    entries = {entry["statement"]: entry for entry in shown["statements"]}
    for name, rule in protocol["statements"].items():
        entry = entries.get(name)
        expected = statement(rule, entry["result"], name) if entry else {"state": "not attempted"}
        yield from differences(name, expected, entry)


def main(words: list[str] | None = None) -> None:
    """Prints the largest difference; exits with 1 where one exceeds the tolerance."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", type=Path, default=Path("results/table1.json"))
    parser.add_argument("--protocol", type=Path, default=Path("protocol.yaml"))
    parser.add_argument("--published", type=Path, default=Path("results/published/table1.csv"))
    arguments = parser.parse_args(words)
    table = json.loads(arguments.table.read_text(encoding="utf-8"))
    protocol = yaml.safe_load(arguments.protocol.read_text(encoding="utf-8"))
    with arguments.published.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    found = list(recomputed(table, protocol, rows))
    files = str(arguments.table)
    statements = arguments.table.with_name("statements.json")
    if statements.is_file():
        shown = json.loads(statements.read_text(encoding="utf-8"))
        found += recomputed_statements(shown, protocol)
        files += f" and {statements}"
    wrong = [(size, place) for size, place in found if not size <= TOLERANCE]
    largest, place = max(found)
    print(
        f"recompute: {len(found)} values of {files}; the largest difference is "
        f"{largest:.1e}, at {place}"
    )
    if wrong:
        sys.exit(
            f"{len(wrong)} values differ by more than {TOLERANCE:.0e}: "
            f"{', '.join(place for _, place in wrong[:10])}"
        )


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `... | head -1` ends it quietly
    try:
        main()
    except FileNotFoundError as error:
        print(
            f"{error.filename} is missing. This needs the log-likelihood of every test image, "
            "which a complete run and its crate have; kept runs are without.",
            file=sys.stderr,
        )
        sys.exit(2)
