"""The conformance set: its files, the command that checks an output, the table, and our own
estimate on it.
"""

import importlib.util
import math
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from scipy.stats import norm

from replicate.likelihood.parzen import log_densities

FOLDER = Path(__file__).resolve().parents[2] / "conformance"
NAMES = sorted(path.name for path in (FOLDER / "cases").iterdir())


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


reference = script("reference")
check = script("check")
table = script("table")


def read(case: str, name: str) -> np.ndarray:
    return np.loadtxt(FOLDER / "cases" / case / f"{name}.csv", delimiter=",", ndmin=2)


def test_the_files_are_what_the_independent_script_makes() -> None:
    texts = reference.files()
    paths = {path for path in (FOLDER / "cases").rglob("*") if path.is_file()}
    assert paths == set(texts)
    differing = [path for path, text in texts.items() if path.read_text() != text]
    assert not differing


def test_the_script_imports_nothing_of_the_project() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys; import reference, check; "
         "sys.exit(any(m.split('.')[0] in ('replicate', 'torch', 'scipy') for m in sys.modules))"],
        cwd=FOLDER, env={"PYTHONPATH": str(FOLDER)}, check=False,
    )  # fmt: skip
    assert done.returncode == 0


@pytest.mark.parametrize("case", NAMES)
def test_the_expected_values_are_those_of_a_mixture_of_normal_distributions(case: str) -> None:
    """By scipy's normal distribution, and a sum in another order."""
    samples, rows, sigmas = (read(case, name) for name in ("samples", "rows", "sigmas"))
    expected = read(case, "expected")
    for sigma, correct in zip(sigmas[:, 0], expected, strict=True):
        by_sample = [norm.logpdf(rows, loc=mean, scale=sigma).sum(1) for mean in samples]
        values = np.logaddexp.reduce(np.array(by_sample), axis=0) - math.log(len(samples))
        np.testing.assert_allclose(values, correct, rtol=1e-11, atol=1e-9)


def output(folder: Path, dtype: torch.dtype) -> Path:
    """Our estimate of every case, as a user would write it."""
    for case in NAMES:
        samples, rows, sigmas = (
            torch.from_numpy(read(case, name)) for name in ("samples", "rows", "sigmas")
        )
        values = log_densities(samples.to(dtype), rows.to(dtype), sigmas[:, 0].tolist())
        np.savetxt(folder / f"{case}.csv", values.numpy(), delimiter=",")
    return folder


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_our_estimate_agrees(
    dtype: torch.dtype, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check.main([str(output(tmp_path, dtype))]) == 0
    assert f"{len(NAMES)} of {len(NAMES)} cases agree" in capsys.readouterr().out


def test_a_wrong_a_missing_and_an_unreadable_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output(tmp_path, torch.float64)
    wrong = read("images", "expected")
    wrong[0, 0] += 0.01
    np.savetxt(tmp_path / "images.csv", wrong, delimiter=",")
    (tmp_path / "many.csv").unlink()
    assert check.main([str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("images") and "DIFFERS" in line for line in lines)
    assert any(line.startswith("many") and "missing" in line for line in lines)
    (tmp_path / "many.csv").write_text("nan,1\n")
    assert check.main([str(tmp_path)]) == 2
    assert "5 numbers are needed" in capsys.readouterr().err
    (tmp_path / "many.csv").write_text("a,b\n")
    assert check.main([str(tmp_path)]) == 2
    # More digits than the module `csv` takes for one number.
    (tmp_path / "many.csv").write_text("1" * 200_000)
    assert check.main([str(tmp_path)]) == 2


def test_not_a_number_never_agrees() -> None:
    assert not check.agrees([[math.nan]], [[1.0]])
    assert not check.agrees([[-math.inf]], [[1.0]])
    assert math.isinf(check.largest_error([[math.nan]], [[1.0]]))


def test_the_table_of_the_page_is_what_the_command_makes() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    renewed = table.with_table(text)
    assert table.is_same(text, renewed)
    assert not table.is_same(text, renewed.replace("| agrees", "| differs", 1))


def test_the_page_names_every_case() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    for name, case in reference.cases().items():
        assert f"| {name} | {case.about} |" in text
