"""What re-runs: exactly the jobs that depend on a change."""

import pytest

EVALUATION = ("measure", "curves", "inspect", "measures", "ranks")
PAGES = ("table", "metrics", "report")
TRAINED = ("train", *EVALUATION, *PAGES)
#: More changes of inputs, of the kind that the quick test has.
CHANGES_TOO = [
    (
        "params.yaml",
        "digits: {}",
        "digits: {split_seed: 1}",
        ("prepare", "classifier", "controls", *TRAINED),
    ),
    ("params.yaml", "draws: .*", "draws: 2", (*EVALUATION, *PAGES)),
    ("params.yaml", "preset: smoke", "preset: other", ("statements", *PAGES)),
    ("params.yaml", "every: .*", "every: 1", TRAINED),
    ("report/templates/page.html.j2", "</html>", "<!-- changed --></html>", ("report",)),
]


def test_a_second_run_does_nothing_and_is_quick(finished):
    before = finished.records()
    answer, seconds = finished.cost("snakemake", "--cores", "2")
    assert seconds < finished.quick()
    assert "Nothing to be done" in answer
    assert finished.records() == before


@pytest.mark.parametrize(
    ("file", "old", "new", "rules"),
    [
        ("params.yaml", "learning_rate: .*", "learning_rate: 0.05", TRAINED),
        ("protocol.yaml", "version 3: 5", "version 3: 6", ("statements", *PAGES)),
        (
            "params.yaml",
            "updates: .*, d",
            "updates: 60, d",
            ("experiment", "draw", "statements", "report"),
        ),
        *(pytest.param(*change, marks=pytest.mark.slow) for change in CHANGES_TOO),
    ],
)
def test_a_change_of_an_input_runs_what_depends_on_it(finished, file, old, new, rules):
    finished.edit(file, old, new)
    assert finished.planned() == dict.fromkeys(rules, 1)


@pytest.mark.slow
def test_a_default_that_is_written_out_runs_nothing(finished):
    finished.edit("params.yaml", "digits: {}", "digits: {split_seed: 0}")
    finished.edit("params.yaml", "batch_size: 64", "batch_size: 64\n      discriminator_steps: 1")
    finished.edit("params.yaml", "draws: .*", "draws: 1\n  validation_limit: 1000")
    assert finished.planned() == {}


@pytest.mark.slow
def test_another_block_of_seeds_leaves_the_first_alone(finished):
    finished.edit("params.yaml", r'seeds: \["0-1"\]', 'seeds: ["0-1", "2"]')
    assert finished.planned() == dict.fromkeys(TRAINED, 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("MODEL = AdversarialNets", "# a comment\nMODEL   =   AdversarialNets"),
        (
            '"""A block of seeds of G and D."""',
            '"""Another docstring,\n\n    over several lines.\n    """',
        ),
    ],
)
def test_comments_docstrings_and_layout_run_nothing(finished, old, new):
    finished.edit("replicate/models/adversarial_nets.py", old, new)
    assert finished.planned() == {}


def test_a_change_of_a_models_logic_runs_that_model(finished):
    finished.edit(
        "replicate/models/adversarial_nets.py",
        r"slopes = c\.discriminator_weight \*",
        "slopes = 2 * c.discriminator_weight *",
    )
    assert finished.planned() == dict.fromkeys(TRAINED, 1)


@pytest.mark.parametrize(
    ("stage", "rules"),
    [
        ("sample", (*EVALUATION, *PAGES)),
        pytest.param("panels", ("inspect", "report"), marks=pytest.mark.slow),
        pytest.param("bandwidth", (*EVALUATION, *PAGES), marks=pytest.mark.slow),
        pytest.param("evaluate", (*EVALUATION, *PAGES), marks=pytest.mark.slow),
        pytest.param("recognise", ("inspect", "report"), marks=pytest.mark.slow),
        pytest.param("measures", ("measures", "ranks", "report"), marks=pytest.mark.slow),
        pytest.param("controls", ("controls", "ranks", "report"), marks=pytest.mark.slow),
    ],
)
def test_a_change_of_any_stage_of_a_job_runs_the_job(finished, stage, rules):
    with (finished / f"replicate/stages/{stage}.py").open("a", encoding="utf-8") as stream:
        stream.write("\nX = 1\n")
    assert finished.planned() == dict.fromkeys(rules, 1)


@pytest.mark.slow
def test_a_change_of_an_experiments_logic_runs_that_experiment(finished):
    finished.edit(
        "replicate/experiments/theory.py",
        "return log_data - log_generated",
        "return log_generated - log_data",
    )
    assert finished.planned() == dict.fromkeys(("experiment", "draw", "statements", "report"), 1)


@pytest.mark.slow
def test_a_change_of_a_drawing_computes_nothing(finished):
    finished.edit("replicate/figures/experiments/theory.py", r"C\(G\) \(nats\)", "C (nats)")
    assert finished.planned() == dict.fromkeys(("draw", "report"), 1)


@pytest.mark.slow
def test_a_change_of_one_data_set_leaves_the_others_alone(finished):
    finished.edit("replicate/datasets/mnist.py", "SIDE = 28", "SIDE = 29")
    assert finished.planned() == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("registry", "old", "new", "rules"),
    [
        ("models", '"Adversarial nets"', '"Other nets"', ("inspect", *PAGES)),
        ("datasets", '"Digits"', '"Small digits"', ("inspect", *PAGES)),
        ("datasets", '"MNIST"', '"Large digits"', PAGES),
        (
            "models",
            '    "adversarial_nets": ',
            '    "new": ("New", "replicate.models.new"),\n    "adversarial_nets": ',
            PAGES,
        ),
    ],
)
def test_a_title_or_a_new_entry_draws_and_tabulates_again_and_trains_nothing(
    finished, registry, old, new, rules
):
    finished.edit(f"replicate/{registry}/__init__.py", old, new)
    assert finished.planned() == dict.fromkeys(rules, 1)


@pytest.mark.slow
def test_a_results_run_record_and_raw_files_are_not_inputs(finished):
    (finished / "results/train/digits/adversarial_nets/0-1.run.json").touch()
    assert finished.planned() == {}
