"""What an estimate stands beside: the published values, and the rows without training."""

from collections.abc import Sequence
from pathlib import Path

from replicate.records.frame import is_result_of, read_result
from replicate.records.kept_runs import LIST, check_kept
from replicate.records.schema import DrawEvaluation, Evaluation, ScoreNeighbour
from replicate.storage.files import read_json
from replicate.storage.paths import package_root
from replicate.verdicts.published import read_published

PUBLISHED = Path("results/published/table1.csv")
KEPT_RUNS = Path("results/reference")
#: Rows that train nothing -> how they are called.
CONTROLS = {"true_distribution": "True distribution", "k_means": "k-means"}


def neighbours(dataset: str | None, dimension: int) -> list[ScoreNeighbour]:
    """The published values of Table 1 on a data set, and what kept runs measured of the controls.

    None for images of one's own, and none where nothing was published or kept.

    Args:
        dataset: its name.
        dimension: of an image.
    """
    if dataset is None:
        return []
    rows: list[ScoreNeighbour] = []
    for (_, name), row in read_published(package_root() / PUBLISHED).items():
        if name == dataset:
            rows.append(
                {
                    "title": row["title"],
                    "kind": "published",
                    "log_likelihood": row["log_likelihood"],
                    "standard_error": row["standard_error"],
                    "samples": row["samples"],
                    "source": row["source"],
                }
            )
    for model, title in CONTROLS.items():
        control = _control(dataset, model, title, dimension)
        if control is not None:
            rows.append(control)
    return sorted(rows, key=lambda row: row["log_likelihood"])


def _control(dataset: str, model: str, title: str, dimension: int) -> ScoreNeighbour | None:
    """What the kept run with the most seeds measured of a control; None where none did."""
    best: tuple[int, Path, Evaluation] | None = None
    for path in sorted((package_root() / KEPT_RUNS).rglob("evaluation.json")):
        # A kept run has the model's folder, or below it one of each block of seeds.
        if path.parent.name != model and path.parent.parent.name != model:
            continue
        # Only the kind here: `read_result` would refuse the whole score for a file of another one.
        if not is_result_of(read_json(path), "evaluate"):
            continue
        evaluation = read_result(path, Evaluation)
        subject = (evaluation["dataset"], evaluation["model"], evaluation["dimension"])
        if subject != (dataset, model, dimension):
            continue
        count = sum(seed["log_likelihood"] is not None for seed in evaluation["per_seed"])
        if count and (best is None or count > best[0]):
            best = (count, path, evaluation)
    if best is None:
        return None
    count, path, evaluation = best
    for folder in path.parents:
        if (folder / LIST).is_file():
            # A kept run that was edited by hand is no measure for anybody.
            check_kept(folder)
            break
    sound = [seed for seed in evaluation["per_seed"] if seed["log_likelihood"] is not None]
    errors = [_standard_error(seed["draws"]) for seed in sound]
    return {
        "title": title,
        "kind": "measured",
        "log_likelihood": sum(seed["log_likelihood"] or 0.0 for seed in sound) / count,
        "standard_error": sum(errors) / count,
        "samples": evaluation["n_samples"],
        "source": path.relative_to(package_root()).as_posix(),
    }


def _standard_error(draws: Sequence[DrawEvaluation]) -> float:
    """The mean over draws of the error that Table 1 prints: over folds where there are some, else
    over test images.
    """
    errors = []
    for draw in draws:
        over_folds = draw["standard_error_folds"]
        errors.append(draw["standard_error"] if over_folds is None else over_folds)
    return sum(errors) / len(errors)


def standing(value: float, rows: Sequence[ScoreNeighbour]) -> str | None:
    """Where an estimate lies among others, in words; None where there are none."""
    below = [row for row in rows if row["log_likelihood"] <= value]
    above = [row for row in rows if row["log_likelihood"] > value]
    if not rows:
        return None
    if not below:
        return f"below all of them, the lowest being {_named(above[0])}"
    if not above:
        return f"above all of them, the highest being {_named(below[-1])}"
    return f"between {_named(below[-1])} and {_named(above[0])}"


def _named(row: ScoreNeighbour) -> str:
    return f"{row['title']} ({row['log_likelihood']:.0f})"
