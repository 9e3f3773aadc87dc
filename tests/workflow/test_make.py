"""`make clean` takes away what runs made, and nothing else."""

import shutil
import subprocess

from tests.workflow.conftest import ROOT

KEPT = {
    "data/digits.bin", "params.yaml", ".replicate/reference/blocks/log",
    "report/assets/style.css", "report/templates/page.html.j2",
    "results/published/table1.yaml", "results/reference/mnist.json", "results/tuning/digits.json",
}  # fmt: skip
MADE = {
    "report/index.html", "report/compared.html", "report/compared.comparison.json", "report.zip",
    "dvc_plots/index.html", "logs/train/a.log", ".replicate/progress/a.json", ".snakemake/log/a.log",
    "results/table1.json", "results/train/digits/a.json",
}  # fmt: skip


def test_clean(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in KEPT | MADE:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    subprocess.run(["make", "clean"], cwd=tmp_path, check=True, capture_output=True)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == KEPT | {"Makefile"}
