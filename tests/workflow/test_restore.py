"""`make restore`: what comes back is judged by its records, and nothing is marked as current by hand."""

import pytest

#: A dvc that says what remotes there are, and brings nothing or breaks off.
DVC = """#!/bin/sh
case "$1" in remote) exit 0 ;; esac
exit {status}
"""


def restored(project, tmp_path, status=0):
    """`tools/restore.py` in a finished project, with a stand-in for DVC."""
    (project / ".git").mkdir()
    (project / "dvc.lock").touch()
    bins = tmp_path / "bin"
    bins.mkdir()
    (bins / "dvc").write_text(DVC.format(status=status))
    (bins / "dvc").chmod(0o755)
    return project.run("python", "tools/restore.py", path=bins)


def test_a_whole_run_is_current(finished, tmp_path):
    done = restored(finished, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "the results are back and current" in done.stdout


@pytest.mark.parametrize(
    ("file", "first"),
    [
        ("replicate/datasets/digits.py", "fetch digits"),
        ("replicate/stages/evaluate.py", "measure digits/adversarial_nets/0-1"),
        ("replicate/experiments/theory.py", "experiment theory"),
    ],
)
def test_what_other_code_made_is_named(finished, tmp_path, file, first):
    with (finished / file).open("a", encoding="utf-8") as stream:
        stream.write("\nX = 1\n")
    done = restored(finished, tmp_path)
    assert done.returncode == 1
    assert f"first {first}: its code has changed; `snakemake --cores all` makes" in done.stderr


def test_what_dvc_cannot_bring_is_no_good_news(finished, tmp_path):
    done = restored(finished, tmp_path, status=1)
    assert done.returncode == 1
    assert "DVC could not bring back every file" in done.stderr
    assert "current; `snakemake -n`" not in done.stdout
