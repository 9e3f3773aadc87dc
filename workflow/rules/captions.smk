"""What `snakemake --report` shows, with which labels, and how the captions in workflow/report read results. No rules here."""

import json
import math
import re

from jinja2.defaults import DEFAULT_FILTERS

from replicate import datasets, models


class Result(dict):
    """An object of a result file. Jinja prints nothing where a plain one lacks a key; this one says so."""

    def __missing__(self, key):
        raise ReplicateError(
            f"a caption asks for {key!r}, which its result file does not hold."
        )


def read_result_file(path):
    """Caption filter: the content of a result file."""
    return json.loads(Path(path).read_text(encoding="utf-8"), object_hook=Result)


def number(value, decimals):
    """Caption filter: a number of a result file; `none` for null, which it holds where nothing could be measured."""
    if value is None:
        return "none"
    if not math.isfinite(value):
        raise ReplicateError(f"a caption shows {value}, which is not finite.")
    return f"{value:.{decimals}f}"


def whole(value):
    """Caption filter: a whole number of a result file."""
    return format(value, "d")


def seed_names(seeds):
    """Caption filter: `2 seeds (0, 1)`."""
    named = ", ".join(map(whole, seeds))
    return f"{len(seeds)} seed{'' if len(seeds) == 1 else 's'} ({named})"


def as_rst(text):
    """Caption filter: words as they are, with no mark that reStructuredText would read."""
    return re.sub(r"([^\w\s])", r"\\\1", text)


# Snakemake builds the Jinja environment of captions itself, from these.
DEFAULT_FILTERS.update(
    result=read_result_file, number=number, whole=whole, seeds=seed_names, rst=as_rst
)


def run_labels(figure):
    """Labels of a figure of a training job."""

    def given(wildcards):
        return {
            "data set": datasets.REGISTRY[wildcards.dataset][0],
            "model": models.REGISTRY[wildcards.model][0],
            "seeds": wildcards.block,
            "figure": figure,
        }

    return given


def walks():
    """The walks through a latent space, which are no rule's outputs: not every model has one (panels.json says so)."""
    folders = [
        f"{{dataset,{dataset}}}/{{model,{model}}}/{{block,{block}}}"
        for dataset, model, block in PLAN.params.runs
        if Path("results/panels", dataset, model, block, "interpolation.png").exists()
    ]
    return shown_below(
        "results/panels",
        [f"{folder}/interpolation.png" for folder in folders],
        caption="workflow/report/interpolation.rst",
        category="Runs",
        labels=run_labels("interpolation"),
    )


def figures_of(name):
    """The names of an experiment's figures; none where figures.json is missing or damaged, and so is made anew."""
    try:
        listed = read_result_file(Path("results/figures", name, "figures.json"))
        return [figure["name"] for figure in listed["figures"]]
    except (OSError, ValueError, TypeError, ReplicateError):
        return []


def experiment_figures():
    """The figures of the experiments, which are no rule's outputs: figures.json names those that there are."""
    patterns = [
        f"{{experiment,{name}}}/{{figure,{figure}}}.svg"
        for name in PLAN.params.experiments
        for figure in figures_of(name)
    ]
    return shown_below(
        "results/figures",
        patterns,
        caption="workflow/report/figure.rst",
        category="Experiments",
        labels=lambda wildcards: {
            "experiment": wildcards.experiment,
            "figure": wildcards.figure,
        },
    )


def shown_below(folder, patterns, **how):
    """An input of `all` with no effect but in the report: the files below a folder that fit the patterns.

    The caption's path is relative to the Snakefile, where `all` stands.
    """
    if MIRROR is not None or not patterns:
        return []
    return [report(folder, patterns=patterns, **how)]
