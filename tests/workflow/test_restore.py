"""`make restore`: what comes back is judged by its records, and nothing is marked as current by
hand.
"""

import subprocess

import pytest

#: A dvc that says what remotes there are, and brings nothing or breaks off.
DVC = """#!/bin/sh
case "$1" in remote) exit 0 ;; esac
exit {status}
"""


def restored(project, tmp_path, status=0, repository=None):
    """`tools/restore.py` in a finished project with its git repository, or in a larger one, with a
    stand-in for DVC.
    """
    subprocess.run(["git", "init", "--quiet", str(repository or project.folder)], check=True)
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


def test_a_folder_of_a_larger_repository_is_a_checkout_and_one_of_none_is_not(finished, tmp_path):
    done = finished.run("python", "tools/restore.py")
    assert "this folder is no git checkout" in done.stderr
    assert restored(finished, tmp_path, repository=finished.folder.parent).returncode == 0


@pytest.mark.parametrize(
    ("file", "first"),
    [
        pytest.param("replicate/datasets/digits.py", "fetch digits", marks=pytest.mark.slow),
        ("replicate/stages/evaluate.py", "measure digits/adversarial_nets/0-1"),
        pytest.param(
            "replicate/experiments/theory.py", "experiment theory", marks=pytest.mark.slow
        ),
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
