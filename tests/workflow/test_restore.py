"""What `make restore` takes as current: only what the code of this checkout would make again."""

import pytest

CHECKED = (
    "import sys; sys.path.insert(0, 'tools'); import restore; "
    "print(*restore.checked(restore.Plan(*restore.read_document('params.yaml'))))"
)
#: A dvc that finds everything, and then fails to say how it stands.
DVC = """#!/bin/sh
case "$1" in remote|checkout) exit 0 ;; esac
{status}
"""


def test_a_whole_run_is_current(finished):
    assert finished.good("python", "-c", CHECKED).strip() == ""


@pytest.mark.parametrize(
    ("file", "old", "new", "rules"),
    [
        ("replicate/models/__init__.py", '"Adversarial nets"', '"Other nets"', "inspect report"),
        ("replicate/figures/grids.py", "BORDER = ", "X = 1\nBORDER = ", "inspect report"),
        ("replicate/statistics.py", "MOST_SEEDS = 1000", "MOST_SEEDS = 999", "table metrics claims report"),
        ("tools/curves.py", '"seed", "epoch", "log_likelihood"', '"epoch", "seed", "log_likelihood"', "curves"),
        ("report/templates/page.html.j2", "</html>", "<!-- changed --></html>", "report"),
    ],
)
def test_what_takes_seconds_is_made_again_where_it_differs(finished, file, old, new, rules):
    finished.edit(file, old, new)
    assert finished.good("python", "-c", CHECKED).strip() == rules


@pytest.mark.parametrize(
    ("file", "stale"),
    [
        ("replicate/datasets/digits.py", "results/data/digits.sources.json and 1 more"),
        ("replicate/stages/fetch.py", "results/data/digits.sources.json"),
        ("replicate/stages/prepare.py", "results/data/digits.json"),
        ("replicate/stages/train.py", "results/train/digits/adversarial_nets/0-1.json"),
        ("replicate/stages/sample.py", "results/samples/digits/adversarial_nets/0-1.safetensors"),
        ("replicate/stages/bandwidth.py", "results/bandwidth/digits/adversarial_nets/0-1.json"),
        ("replicate/stages/evaluate.py", "results/evaluation/digits/adversarial_nets/0-1.json"),
        ("replicate/classifier.py", "results/classifier/digits.json and 1 more"),
        ("replicate/experiments/theory.py", "results/experiments/theory.json"),
    ],
)
def test_what_is_costly_must_have_been_made_by_this_code(finished, file, stale):
    with (finished / file).open("a", encoding="utf-8") as stream:
        stream.write("\nX = 1\n")
    done = finished.run("python", "-c", CHECKED)
    assert done.returncode == 1
    assert f"restore: the results were made by other code ({stale});" in done.stderr


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        ("echo 'ERROR: unexpected error' >&2; exit 255", "`dvc status --json` failed (ERROR: unexpected error)"),
        ("exit 0", "`dvc status --json` printed no JSON but ''"),
    ],
)
def test_a_status_that_dvc_does_not_tell_marks_nothing_as_current(finished, tmp_path, status, sentence):
    (finished / ".git").mkdir()
    (finished / "dvc.lock").touch()
    bins = tmp_path / "bin"
    bins.mkdir()
    (bins / "dvc").write_text(DVC.format(status=status))
    (bins / "dvc").chmod(0o755)
    done = finished.run("python", "tools/restore.py", path=bins)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "current; `snakemake -n`" not in done.stdout
