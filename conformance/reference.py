"""Makes the conformance set: small seeded arrays, and the log-densities that any implementation of
the Gaussian Parzen window must give.

  python conformance/reference.py            # writes conformance/cases/
  python conformance/reference.py --check    # exits with 1 where the files are not what it writes

Every value is the definition itself, in float64 and from differences: for a row x of dimension d,
samples mu_1 ... mu_m and a bandwidth s,

    log p(x) = log (1/m) sum_j exp(-||x - mu_j||^2 / (2 s^2)) - d log(s sqrt(2 pi)),

where the largest exponent is taken out of the sum first, and all sums are exact to the last digit
(`math.fsum`). Nothing of the project `replicate` is imported, and nothing but numpy and Python.
"""

import argparse
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

CASES = Path(__file__).resolve().parent / "cases"
#: The released script's grid, logspace(-1, 0, 10), at which it looks.
RELEASED_GRID = tuple(10 ** (-1 + k / 9) for k in range(10))
#: Most values of pixels are multiples of this, so that their texts are short; float32 holds all
#: values of the set exactly.
STEP = 1 / 64


@dataclass(frozen=True)
class Case:
    """A case of the set.

    Attributes:
        samples: (m, d), the centres of the windows.
        rows: (n, d), where the density is asked for.
        sigmas: bandwidths.
        about: what it tries, for the page.
    """

    samples: np.ndarray
    rows: np.ndarray
    sigmas: tuple[float, ...]
    about: str


def _on_grid(values: np.ndarray) -> np.ndarray:
    """Values in [0, 1] as multiples of `STEP`."""
    return np.rint(np.clip(values, 0, 1) / STEP) * STEP


def _ink(generator: np.random.Generator, count: int, dimension: int) -> np.ndarray:
    """Rows like images of digits: four of five pixels are 0, the others mostly bright."""
    has_ink = generator.random((count, dimension)) < 0.2
    return _on_grid(has_ink * generator.beta(2.0, 0.8, (count, dimension)))


def cases() -> dict[str, Case]:
    """Name -> case, from fixed seeds."""
    generator = np.random.default_rng(2014)
    pixels = _ink(generator, 160, 784)
    near = _on_grid(pixels[:6] + generator.normal(0, 0.15, (6, 784)))
    # Bytes divided by 255, as float32 has them: products of these are rounded.
    stored = (np.rint(255 * pixels[:4]).astype(np.float32) / np.float32(255)).astype(np.float64)
    digits = _ink(generator, 200, 64)
    many = _on_grid(generator.random((3000, 4)))
    square = _on_grid(generator.random((5, 2)))
    return {
        "one-window": Case(
            np.array([[0.5]]),
            np.array([[0.5], [0.75], [-1.0]]),
            (0.25, 1.0),
            "one sample of one pixel: the density of a normal distribution",
        ),
        "square": Case(
            square,
            _on_grid(generator.random((4, 2))),
            (0.05, 0.2, 1.0),
            "five samples of two pixels, to follow by hand",
        ),
        "many": Case(
            many,
            _on_grid(generator.random((5, 4))),
            (0.05, 0.3),
            "3,000 samples of four pixels: many terms count",
        ),
        "digits": Case(
            digits,
            _ink(generator, 10, 64),
            (0.1, 0.25, 1.0),
            "200 samples of 64 pixels",
        ),
        "images": Case(
            pixels,
            np.concatenate([near, _ink(generator, 4, 784)]),
            RELEASED_GRID,
            "160 samples of 784 pixels at the released script's ten bandwidths: exponents below "
            "-1,000, which exp alone turns into 0",
        ),
        "far": Case(
            pixels[:20],
            np.concatenate([near[:2], np.full((1, 784), 255.0)]),
            (0.01, 0.2),
            "sigma 0.01, and a row in another range of pixels: hundreds of thousands and millions "
            "of nats below 0, yet finite",
        ),
        "equal": Case(
            np.repeat(stored[:3], 4, axis=0),
            stored[:4],
            (0.01, 0.1, 0.2),
            "samples that are equal, and rows that equal a sample: a distance of 0",
        ),
    }


def log_density(samples: np.ndarray, row: np.ndarray, sigma: float) -> float:
    """log p(row), in nats."""
    exponents = []
    for sample in samples:
        differences = row - sample
        squared_distance = math.fsum(differences * differences)
        exponents.append(-squared_distance / (2 * sigma**2))
    largest = max(exponents)
    terms = [math.exp(exponent - largest) for exponent in exponents]
    log_mean = largest + math.log(math.fsum(terms) / len(terms))
    return log_mean - samples.shape[1] * math.log(sigma * math.sqrt(2 * math.pi))


def expected(case: Case) -> np.ndarray:
    """The log-density of every row for every bandwidth, (sigmas, n), nats."""
    values = [[log_density(case.samples, row, sigma) for row in case.rows] for sigma in case.sigmas]
    return np.array(values)


def as_text(values: np.ndarray) -> str:
    """One row a line, with the shortest texts that give the same float64 back."""
    lines = []
    for row in np.atleast_2d(values):
        numbers = [repr(float(value)).removesuffix(".0") for value in row]
        lines.append(",".join(numbers))
    return "\n".join(lines) + "\n"


def files() -> dict[Path, str]:
    """Every file of the set, with its content."""
    texts = {}
    for name, case in cases().items():
        folder = CASES / name
        texts[folder / "samples.csv"] = as_text(case.samples)
        texts[folder / "rows.csv"] = as_text(case.rows)
        texts[folder / "sigmas.csv"] = as_text(np.array(case.sigmas)[:, None])
        texts[folder / "expected.csv"] = as_text(expected(case))
    return texts


def main() -> int:
    """Writes or compares the files; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    differing = []
    for path, text in files().items():
        if check:
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                differing.append(path)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for path in differing:
        print(f"{path} is not what reference.py makes")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
