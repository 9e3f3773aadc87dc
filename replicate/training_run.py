"""One training job as the page shows it: its results, its pictures and what it cost."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from markupsafe import Markup

from replicate.embedded import embedded_png, embedded_svg
from replicate.traced import ResultFolder, Traced, plain


@dataclass(frozen=True)
class Run:
    """One training job: a model on a data set for a block of seeds, with its results, pictures and run records.

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
        draws = (draw for entry in self.evaluation["per_seed"] for draw in entry["draws"])
        known = [draw["effective_samples"] for draw in draws if draw["effective_samples"] is not None]
        return min(known, key=plain, default=None)

    def recognised(self, what: str) -> list[Traced]:
        """The least and the largest over seeds of a number of the stage `recognise`; none where no seed has it."""
        known = [entry[what] for entry in self.recognition["per_seed"] if entry[what] is not None]
        return [min(known, key=plain), max(known, key=plain)] if known else []

    @property
    def anchor(self) -> str:
        """Id of the run's section."""
        return f"run-{self.dataset}-{self.model}-{self.block}"


def run_of(results: ResultFolder, dataset: str, model: str, block: str) -> Run:
    """All results of one training job."""
    stem, panels = f"{dataset}/{model}/{block}", f"panels/{dataset}/{model}/{block}"
    folder = results.folder / panels
    grids = [name for name in ("samples", "interpolation") if (folder / f"{name}.png").exists()]
    pictures = {name: embedded_png(folder / f"{name}.png") for name in grids}
    pictures |= {name: embedded_svg(folder / f"{name}.svg") for name in ("learning", "bandwidth")}
    return Run(
        dataset,
        model,
        block,
        training=results.read(f"train/{stem}.json"),
        evaluation=results.read(f"evaluation/{stem}.json"),
        bandwidth=results.read(f"bandwidth/{stem}.json"),
        panels=results.read(f"{panels}/panels.json"),
        recognition=results.read(f"recognition/{stem}.json"),
        pictures=pictures,
        costs={
            kind: results.read(f"{kind}/{stem}.run.json")
            for kind in ("train", "samples")
            if (results.folder / f"{kind}/{stem}.run.json").exists()
        },
    )
