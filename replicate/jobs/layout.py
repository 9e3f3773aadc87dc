"""The layout of a run: how every stage is called, and which files every rule reads and makes.

The one table of these things. Snakemake's rules take their files and commands from it, the page the
commands that it prints, the plan the parameters that a job depends on, and reference runs
(`replicate/reference_runs/`) the words of the same commands for files of their own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

#: What a job is about: `digits`, or `digits/vae/0-2`, or an experiment, or nothing.
DATASET = ("dataset",)
RUN = ("dataset", "model", "block")
EXPERIMENT = ("experiment",)

#: Every file of a run, relative to the project's folder, by the name that commands and rules use.
FILES: dict[str, str] = {
    "protocol": "protocol.yaml",
    "published": "results/published/table1.csv",
    "context": "results/published/context.csv",
    "trials": "results/tuning/{dataset}.json",
    "manifest": "results/data/{dataset}.sources.json",
    "data": "results/data/{dataset}.safetensors",
    "summary": "results/data/{dataset}.json",
    "classifier": "results/classifier/{dataset}.safetensors",
    "accuracy": "results/classifier/{dataset}.json",
    "weights": "results/train/{dataset}/{model}/{block}.safetensors",
    "training": "results/train/{dataset}/{model}/{block}.json",
    "samples": "results/samples/{dataset}/{model}/{block}.safetensors",
    "bandwidth": "results/bandwidth/{dataset}/{model}/{block}.json",
    "evaluation": "results/evaluation/{dataset}/{model}/{block}.json",
    "log_likelihoods": "results/evaluation/{dataset}/{model}/{block}.safetensors",
    "samplers": "results/samplers/{dataset}/{model}/{block}.json",
    "recognition": "results/recognition/{dataset}/{model}/{block}.json",
    "measures": "results/measures/{dataset}/{model}/{block}.json",
    "controls": "results/controls/{dataset}.json",
    "ranks": "results/ranks.json",
    "panels_folder": "results/panels/{dataset}/{model}/{block}",
    "panels": "results/panels/{dataset}/{model}/{block}/panels.json",
    "samples_panel": "results/panels/{dataset}/{model}/{block}/samples.png",
    "learning_panel": "results/panels/{dataset}/{model}/{block}/learning.svg",
    "bandwidth_panel": "results/panels/{dataset}/{model}/{block}/bandwidth.svg",
    "result": "results/experiments/{experiment}.json",
    "figures_folder": "results/figures/{experiment}",
    "figures": "results/figures/{experiment}/figures.json",
    "statements": "results/statements.json",
    "table": "results/table1.json",
    "table_csv": "results/table1.csv",
    "metrics": "results/metrics.json",
    "curves_folder": "results/curves",
    "learning_csv": "results/curves/learning.csv",
    "bandwidth_csv": "results/curves/bandwidth.csv",
    "results_folder": "results",
    "page": "report/index.html",
    "play_page": "report/play.html",
}
#: The record of a stage that makes several files of equal rank; `x.json` else has `x.run.json`.
RECORDS = {"learning_csv": "results/curves/curves.run.json"}
#: All files of one kind: of every block of seeds, data set or experiment of the run.
EVERY: dict[str, str] = {
    "summaries": "summary",
    "accuracies": "accuracy",
    "trainings": "training",
    "bandwidths": "bandwidth",
    "evaluations": "evaluation",
    "compared": "samplers",
    "all_panels": "panels",
    "recognitions": "recognition",
    "all_measures": "measures",
    "all_controls": "controls",
    "all_results": "result",
    "all_figures": "figures",
}

PlugIn = Literal["dataset", "model", "experiment", "drawing"]


@dataclass(frozen=True)
class Stage:
    """A command `python -m replicate NAME` of the pipeline.

    Attributes:
        options: its words. In braces: a name of `FILES` or of many files, `params`, `absent`, or a
            part of what the job is about. An option whose files are none is left out.
        makes: the file by which it is known: its result where it has one.
        sections: sections of the parameters that it depends on; `models`, `datasets`, `samplers`
            and `experiments` are cut down to the job's own entry.
        unused: settings of these sections that it does not read.
        plug_in: whose module it runs beside its own.
    """

    options: str
    makes: str
    sections: tuple[str, ...] = ()
    unused: frozenset[str] = frozenset()
    plug_in: PlugIn | None = None

    @property
    def names(self) -> list[str]:
        """The names in braces."""
        names = []
        for word in self.options.split():
            if word.startswith("{"):
                name = word[1:-1]
                names.append(name)
        return names

    def words(self, values: Mapping[str, str | Sequence[str]]) -> list[str]:
        """The words of the command, without its name.

        Args:
            values: what stands for every name in braces, a word or several.
        """
        words: list[str] = []
        for word in self.options.split():
            if not word.startswith("{"):
                words.append(word)
                continue
            value = values[word[1:-1]]
            replacement = [value] if isinstance(value, str) else list(value)
            follows_option = bool(words) and words[-1].startswith("--")
            # argparse refuses `--data` without a word, and some experiments read no images.
            if not replacement and follows_option:
                words.pop()
            words += replacement
        return words


#: The stages in the order of the pipeline.
STAGES: dict[str, Stage] = {
    "fetch": Stage(
        "--params {params} --dataset {dataset} --out {manifest}",
        makes="manifest",
        sections=("datasets",),
        plug_in="dataset",
    ),
    "prepare": Stage(
        "--params {params} --dataset {dataset} --manifest {manifest} --out {data}",
        makes="summary",
        sections=("datasets",),
        plug_in="dataset",
    ),
    "classifier": Stage(
        "--params {params} --data {data} --out {classifier}",
        makes="accuracy",
        sections=("compute",),
    ),
    "train": Stage(
        "--params {params} --dataset {dataset} --model {model} --block {block}"
        " --data {data} --out {weights}",
        makes="training",
        sections=("compute", "likelihood", "selection", "datasets", "models"),
        unused=frozenset({"likelihood.samples", "likelihood.draws"}),
        plug_in="model",
    ),
    "sample": Stage(
        "--params {params} --weights {weights} --data {data} --out {samples}",
        makes="samples",
        sections=("compute", "likelihood"),
        unused=frozenset({"likelihood.sigmas", "likelihood.validation_limit"}),
        plug_in="model",
    ),
    "bandwidth": Stage(
        "--params {params} --samples {samples} --data {data} --out {bandwidth}",
        makes="bandwidth",
        sections=("compute", "likelihood"),
        unused=frozenset({"likelihood.samples", "likelihood.draws"}),
    ),
    "evaluate": Stage(
        "--params {params} --samples {samples} --bandwidth {bandwidth} --data {data}"
        " --out {evaluation}",
        makes="evaluation",
        sections=("compute",),
    ),
    "samplers": Stage(
        "--params {params} --weights {weights} --data {data} --out {samplers}",
        makes="samplers",
        sections=("compute", "likelihood", "samplers"),
        unused=frozenset({"likelihood.draws"}),
        plug_in="model",
    ),
    "recognise": Stage(
        "--params {params} --data {data} --samples {samples} --classifier {classifier}"
        " --out {recognition}",
        makes="recognition",
        sections=("compute",),
    ),
    "measures": Stage(
        "--params {params} --weights {weights} --data {data} --samples {samples}"
        " --classifier {classifier} --out {measures}",
        makes="measures",
        sections=("compute", "likelihood", "measures"),
        unused=frozenset({"likelihood.samples", "likelihood.draws"}),
        plug_in="model",
    ),
    "controls": Stage(
        "--params {params} --dataset {dataset} --data {data} --classifier {classifier}"
        " --out {controls}",
        makes="controls",
        sections=("compute", "likelihood", "measures"),
        unused=frozenset({"likelihood.draws"}),
    ),
    "ranks": Stage("--out {ranks} {all_measures} {all_controls}", makes="ranks"),
    # No parameters: a panel shows what was trained and chosen, whatever the parameters say now.
    "panels": Stage(
        "--weights {weights} --training {training} --bandwidth {bandwidth} --data {data}"
        " --out {panels_folder}",
        makes="panels",
        plug_in="model",
    ),
    "experiment": Stage(
        "--params {params} --name {experiment} --data {images} --samples {samples_of_images}"
        " --trials {trials_of_images} --measures {measures_of_images} --out {result}",
        makes="result",
        sections=("compute", "experiments"),
        plug_in="experiment",
    ),
    "draw": Stage(
        "--result {result} --out {figures_folder}",
        makes="figures",
        plug_in="drawing",
    ),
    "statements": Stage(
        "--params {params} --protocol {protocol} --out {statements} {all_results}",
        makes="statements",
        sections=("preset", "experiments"),
    ),
    "table": Stage(
        "--params {params} --protocol {protocol} --absent {absent} --published {published}"
        " --context {context} --out {table} {evaluations} {compared} {trainings}",
        makes="table",
        sections=("preset", "seeds", "datasets", "models"),
    ),
    "metrics": Stage("--table {table} --out {metrics}", makes="metrics"),
    "curves": Stage("--out {curves_folder} {trainings} {bandwidths}", makes="learning_csv"),
    "report": Stage(
        "--params {params} --table {table} --results {results_folder} --out {page}"
        " --play {play_page}",
        makes="page",
        # Those that it shows itself, and those in the commands that it prints.
        sections=(
            "preset",
            "seeds",
            "compute",
            "likelihood",
            "selection",
            "datasets",
            "models",
            "samplers",
            "experiments",
            "measures",
        ),
    ),
}


@dataclass(frozen=True)
class Rule:
    """A rule of the workflow: the job of one or several stages, which share a process.

    Attributes:
        about: what distinguishes its jobs: the names of their wildcards.
        stages: its commands, one after the other.
        reads, makes: names of files, as rules and commands call them.
        folder: the name of a folder in which all files are the job's own, also those that only some
            jobs make.
    """

    about: tuple[str, ...]
    stages: tuple[str, ...]
    reads: tuple[str, ...]
    makes: tuple[str, ...]
    folder: str | None = None

    @property
    def outputs(self) -> dict[str, str]:
        """Name -> file with its wildcards; `record`, which seals the job, comes first.

        A job of several stages has a record of each; that of its last stage seals it.
        """
        results = [STAGES[stage].makes for stage in self.stages]
        *earlier, last = results
        outputs = {"record": record_of(last)}
        # Declared too, so that a record that is lost or changed by hand is noticed.
        for name in earlier:
            record = record_of(name)
            outputs[f"{name}_record"] = record
        for name in self.makes:
            outputs[name] = FILES[name]
        return outputs


def record_of(name: str) -> str:
    """The run record that a stage writes beside the file `name`, with its wildcards."""
    if name in RECORDS:
        return RECORDS[name]
    # As `records/run_record.py` names them; here for files that do not exist yet.
    stem, _, _ = FILES[name].rpartition(".")
    return f"{stem}.run.json"


#: The rules in an order in which they can run.
RULES: dict[str, Rule] = {
    # The raw files themselves are no output: a download that was broken off is to be resumed.
    "fetch": Rule(DATASET, ("fetch",), reads=(), makes=("manifest",)),
    "prepare": Rule(DATASET, ("prepare",), reads=("manifest",), makes=("data", "summary")),
    "classifier": Rule(DATASET, ("classifier",), reads=("data",), makes=("classifier", "accuracy")),
    "train": Rule(RUN, ("train",), reads=("data",), makes=("weights", "training")),
    # Three stages in one job: each takes a second or two where the models are small, which is what
    # a start of Python and torch takes too.
    "measure": Rule(
        RUN,
        ("sample", "bandwidth", "evaluate"),
        reads=("weights", "data"),
        makes=("samples", "bandwidth", "evaluation", "log_likelihoods"),
    ),
    # Only for the rows that the parameters name under `samplers`.
    "samplers": Rule(RUN, ("samplers",), reads=("weights", "data"), makes=("samplers",)),
    # A model without a latent space has no interpolation.png (panels.json says so).
    "inspect": Rule(
        RUN,
        ("recognise", "panels"),
        reads=("data", "samples", "classifier", "accuracy", "weights", "training", "bandwidth"),
        makes=("recognition", "panels", "samples_panel", "learning_panel", "bandwidth_panel"),
        folder="panels_folder",
    ),
    # A measure takes longer than a start of Python, and memory of its own.
    "measures": Rule(
        RUN,
        ("measures",),
        reads=("weights", "data", "samples", "classifier", "accuracy"),
        makes=("measures",),
    ),
    "controls": Rule(
        DATASET, ("controls",), reads=("data", "classifier", "accuracy"), makes=("controls",)
    ),
    "ranks": Rule((), ("ranks",), reads=("all_measures", "all_controls"), makes=("ranks",)),
    "experiment": Rule(
        EXPERIMENT,
        ("experiment",),
        reads=("images", "samples_of_images", "trials_of_images", "measures_of_images"),
        makes=("result",),
    ),
    # figures.json names the figures that there are.
    "draw": Rule(
        EXPERIMENT, ("draw",), reads=("result",), makes=("figures",), folder="figures_folder"
    ),
    "statements": Rule(
        (), ("statements",), reads=("protocol", "all_results"), makes=("statements",)
    ),
    "table": Rule(
        (),
        ("table",),
        reads=("evaluations", "trainings", "compared", "protocol", "published", "context"),
        makes=("table", "table_csv"),
    ),
    # What `dvc metrics` compares: numbers without the table around them.
    "metrics": Rule((), ("metrics",), reads=("table",), makes=("metrics",)),
    # What `dvc plots` shows: every curve as rows of one table.
    "curves": Rule(
        (), ("curves",), reads=("trainings", "bandwidths"), makes=("learning_csv", "bandwidth_csv")
    ),
    "report": Rule(
        (),
        ("report",),
        reads=(
            "table",
            "summaries",
            "trainings",
            "evaluations",
            "compared",
            "bandwidths",
            "all_panels",
            "statements",
            "all_figures",
            "recognitions",
            "ranks",
            "generators",
            "kept_runs",
            "templates",
        ),
        makes=("page", "play_page"),
    ),
}
