"""Presets, the parameter file and the schema."""

import re

import pytest

from replicate.jobs.parameter_schema import build_schema, schema_path
from replicate.stages.params import checked_file

PRESETS = ("demo", "mnist", "mnist-short", "paper", "smoke")
#: Their dry runs differ from those of the others in size alone.
LONGER = ("demo", "mnist", "mnist-short", "paper")
STAMP = re.compile(r"^\[.*\]$|^(Using workflow specific profile|Migrati).*\n?", re.MULTILINE)


def test_params_yaml_is_the_demo(fresh):
    assert (fresh / "params.yaml").read_bytes() == (fresh / "presets/demo.yaml").read_bytes()
    assert sorted(path.stem for path in (fresh / "presets").iterdir()) == list(PRESETS)


@pytest.mark.parametrize(
    "preset",
    ["smoke", *(pytest.param(name, marks=pytest.mark.slow) for name in LONGER)],
)
def test_a_preset_is_valid_and_its_dry_run_starts_nothing(fresh, preset):
    file = f"presets/{preset}.yaml"
    plan = checked_file(str(fresh / file))
    assert plan.params.preset == preset
    assert fresh.planned("--configfile", file)["train"] == len(plan.params.runs)
    assert not (fresh / "results/data").exists()
    assert not (fresh / "data").exists()


def _jobs(shown: str) -> list[str]:
    """The jobs of a dry run, each with its files and its command; Snakemake lists and numbers them
    in any order.
    """
    return sorted(
        re.sub(r"jobid: \d+", "", job).strip() for job in STAMP.sub("", shown).split("\n\n")
    )


@pytest.mark.slow
def test_a_preset_replaces_params_yaml_either_way(fresh):
    """Given to Snakemake or copied to params.yaml: the same jobs with the same commands."""
    show = ("snakemake", "-n", "-p", "--cores", "2", "--quiet", "host", "reason")
    given = fresh.good(*show, "--configfile", "presets/smoke.yaml")
    assert "/0-2.json" not in given
    assert "then train --params" in given
    fresh.good("python", "-m", "replicate", "preset", "smoke")
    assert _jobs(fresh.good(*show)) == _jobs(given)


@pytest.mark.slow
def test_preset_keeps_a_changed_file_aside(fresh):
    fresh.edit("params.yaml", "preset: demo", "preset: mine")
    mine = (fresh / "params.yaml").read_bytes()
    fresh.good("python", "-m", "replicate", "preset", "smoke")
    (kept,) = fresh.folder.glob("params.yaml.bak-*")
    assert kept.read_bytes() == mine
    fresh.good("python", "-m", "replicate", "preset", "demo")
    assert len(list(fresh.folder.glob("params.yaml.bak-*"))) == 1
    assert (fresh / "params.yaml").read_bytes() == (fresh / "presets/demo.yaml").read_bytes()


def test_the_schema_agrees_with_the_types():
    assert schema_path().read_text(encoding="utf-8") == build_schema()


#: What is replaced in the smallest preset, by what, and the sentence that names it.
WRONG = [
    (
        "learning_rate:",
        "learning_rat:",
        "models.adversarial_nets.digits.learning_rat: unknown key (did you mean learning_rate?)",
    ),
    (
        "  adversarial_nets:",
        "  k_means: {}\n  k_means:",
        "models.k_means: it stands there twice (lines 39 and 40)",
    ),
]
#: More of the kind; they take longer together than they teach.
WRONG_TOO = [
    (
        "learning_rate: .*",
        "learning_rate: .nan",
        "learning_rate: a finite number is needed, not nan",
    ),
    ("seeds: \\[.*", "seeds: [3-1]", "the block '3-1' runs backwards"),
    (
        "learning_rate: .*",
        'learning_rate: "1e-3"',
        "a number is needed, not '1e-3' (it is text; take the quotes",
    ),
    (
        " epochs: .*",
        " epochs: four",
        "models.adversarial_nets.digits.epochs: a whole number is needed, not 'four'",
    ),
    (
        "learning_rate: .*",
        "learning_rate: 2026-11-28",
        "learning_rate: 2026-11-28 is a date or time",
    ),
    (
        "experiments:",
        "experiments:\n  game: {seeds: 0\u20135}",
        "experiments.game.seeds: a block of seeds is written",
    ),
    ("  adversarial_nets:", "  nets:", "there is no model 'nets'; the registered ones are dbn"),
    (
        "  digits: {}",
        "  digit: {}",
        "models.adversarial_nets.digits: the data set 'digits' is not among",
    ),
    (
        "  digits: {}",
        "  digits: {}\n  svhn: {}",
        "there is no data set 'svhn'; the registered ones are digits",
    ),
    (
        "draws: .*",
        "sigmas: [-0.1, 0.2]",
        "likelihood.sigmas[0]: input should be greater than or equal to 0.0001, not -0.1",
    ),
]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [*WRONG, *(pytest.param(*case, marks=pytest.mark.slow) for case in WRONG_TOO)],
)
def test_a_wrong_parameter_is_one_sentence_with_its_path(fresh, old, new, sentence):
    (fresh / "params.yaml").write_bytes((fresh / "presets/smoke.yaml").read_bytes())
    fresh.edit("params.yaml", old, new)
    done = fresh.run("snakemake", "--cores", "1")
    lines = [
        line
        for line in done.stderr.splitlines()
        if line and not line.startswith("Using workflow specific profile")
    ]
    assert done.returncode == 1
    assert len(lines) == 1
    assert lines[0].startswith("params.yaml: ")
    assert sentence in lines[0]
    assert not (fresh / "results/data").exists()


def test_values_of_config_are_numbers_where_yaml_says_so(fresh):
    """Snakemake makes text of every number inside a mapping, and it was refused as text."""
    (fresh / "params.yaml").write_bytes((fresh / "presets/smoke.yaml").read_bytes())
    planned = ("snakemake", "-n", "--cores", "1", "--config")
    fresh.good(*planned, 'likelihood={"draws": 2, "sigmas": [1e-1, 0.2]}')
    done = fresh.run(*planned, 'likelihood={"draws": .inf}')
    assert done.returncode == 1
    assert "--config: a finite number is needed, not inf." in done.stdout + done.stderr
