"""One training job as the page shows it: its results, its pictures and what it cost."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from markupsafe import Markup

from replicate.records.sourced import ResultFolder, Traced, value_of
from replicate.report.embedded import embedded_png, embedded_svg


@dataclass(frozen=True)
class TrainingJob:
    """A model on a data set for a block of seeds, with its results, pictures and run records.

    `costs` holds the records of its stages, by the folder of their results, where they were kept.
    """

    dataset: str
    model: str
    block: str
    training: Traced
    evaluation: Traced
    bandwidth: Traced
    panels: Traced
    recognition: Traced
    pictures: Mapping[str, Markup] = field(default_factory=dict)
    costs: Mapping[str, Traced] = field(default_factory=dict)

    @property
    def effective_samples(self) -> Traced | None:
        """The smallest effective sample size of any seed and draw."""
        sizes: list[Traced] = []
        for seed in self.evaluation["per_seed"]:
            for draw in seed["draws"]:
                size = draw["effective_samples"]
                if size is not None:
                    sizes.append(size)
        # The worst one, as in Table 1: a mean would hide a chain that stands still.
        return min(sizes, key=value_of, default=None)

    def recognised(self, measure: str) -> list[Traced]:
        """The least and the largest over seeds of a number of the stage `recognise`.

        Empty where no seed has it.
        """
        seeds = self.recognition["per_seed"]
        values = [seed[measure] for seed in seeds]
        known = [value for value in values if value is not None]
        if not known:
            return []
        least = min(known, key=value_of)
        largest = max(known, key=value_of)
        return [least, largest]

    @property
    def anchor(self) -> str:
        """Id of the job's section."""
        return f"run-{self.dataset}-{self.model}-{self.block}"


def read_training_job(results: ResultFolder, dataset: str, model: str, block: str) -> TrainingJob:
    """All results of one training job."""
    stem = f"{dataset}/{model}/{block}"
    panels = f"panels/{stem}"
    folder = results.folder / panels
    pictures = {}
    for name in ("samples", "interpolation"):
        # A model without a latent space has no walk through it.
        if (folder / f"{name}.png").exists():
            pictures[name] = embedded_png(folder / f"{name}.png")
    for name in ("learning", "bandwidth"):
        pictures[name] = embedded_svg(folder / f"{name}.svg")
    costs = {}
    for kind in ("train", "samples"):
        record = f"{kind}/{stem}.run.json"
        # A result that a cache brought back has no record.
        if (results.folder / record).exists():
            costs[kind] = results.read(record)
    return TrainingJob(
        dataset,
        model,
        block,
        training=results.read(f"train/{stem}.json"),
        evaluation=results.read(f"evaluation/{stem}.json"),
        bandwidth=results.read(f"bandwidth/{stem}.json"),
        panels=results.read(f"{panels}/panels.json"),
        recognition=results.read(f"recognition/{stem}.json"),
        pictures=pictures,
        costs=costs,
    )
