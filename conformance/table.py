"""What implementations of the Parzen window give on the conformance set: the table of README.md.

  python conformance/table.py            # writes the table into conformance/README.md
  python conformance/table.py --check    # exits with 1 where the table is another one

Numbers are the largest difference of a case from what is expected, in nats. scikit-learn is the
installed one (1.9.1 for the table as committed).
"""

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent))
from check import ABSOLUTE, RELATIVE, agrees, largest_error
from reference import cases, expected

README = Path(__file__).resolve().parent / "README.md"
BEGIN, END = "<!-- table: made by table.py -->", "<!-- end of the table -->"

Array = NDArray[np.floating]
#: The log-density of every row (n, d) for samples (m, d) and a bandwidth, (n,).
Implementation = Callable[[Array, Array, float], Array]


def _exponents(samples: Array, rows: Array, sigma: float) -> Array:
    """-||x - mu||^2 / (2 sigma^2), (n, m)."""
    differences = (rows[:, None, :] - samples[None, :, :]) / sigma
    return -0.5 * (differences**2).sum(2)


def _log_volume(dimension: int, sigma: float) -> float:
    return dimension * math.log(sigma * math.sqrt(2 * math.pi))


def released(samples: Array, rows: Array, sigma: float) -> Array:
    """The algorithm of goodfeli/adversarial, parzen_ll.py: the largest exponent is taken out."""
    exponents = _exponents(samples, rows, sigma)
    largest = exponents.max(1)
    log_mean = largest + np.log(np.exp(exponents - largest[:, None]).mean(1))
    return log_mean - np.float64(_log_volume(samples.shape[1], sigma))


def released_float32(samples: Array, rows: Array, sigma: float) -> Array:
    """The same in float32, as Theano ran it on a GPU."""
    return released(samples.astype(np.float32), rows.astype(np.float32), np.float32(sigma))


def expanded_float32(samples: Array, rows: Array, sigma: float) -> Array:
    """Squared distances as |x|^2 - 2 x.mu + |mu|^2 in float32, as fast ports have them."""
    x, mu = rows.astype(np.float32), samples.astype(np.float32)
    squared = (x**2).sum(1)[:, None] - 2 * x @ mu.T + (mu**2).sum(1)
    exponents = -squared / np.float32(2 * sigma**2)
    largest = exponents.max(1)
    log_mean = largest + np.log(np.exp(exponents - largest[:, None]).mean(1))
    return log_mean.astype(np.float64) - _log_volume(samples.shape[1], sigma)


def scikit_learn(samples: Array, rows: Array, sigma: float) -> Array:
    """KernelDensity as most programs call it."""
    from sklearn.neighbors import KernelDensity

    return KernelDensity(kernel="gaussian", bandwidth=sigma).fit(samples).score_samples(rows)


def scikit_learn_exact(samples: Array, rows: Array, sigma: float) -> Array:
    """KernelDensity with one leaf that holds all samples."""
    from sklearn.neighbors import KernelDensity

    density = KernelDensity(kernel="gaussian", bandwidth=sigma, leaf_size=len(samples))
    return density.fit(samples).score_samples(rows)


def no_shift(samples: Array, rows: Array, sigma: float) -> Array:
    """A mistake: exp before the largest exponent is taken out, which gives log 0."""
    with np.errstate(divide="ignore"):
        log_mean = np.log(np.exp(_exponents(samples, rows, sigma)).mean(1))
    return log_mean - _log_volume(samples.shape[1], sigma)


def no_dimension(samples: Array, rows: Array, sigma: float) -> Array:
    """A mistake: log(sigma sqrt(2 pi)) once, and not for every pixel."""
    return released(samples, rows, sigma) + _log_volume(samples.shape[1] - 1, sigma)


def no_mean(samples: Array, rows: Array, sigma: float) -> Array:
    """A mistake: the sum over samples instead of their mean."""
    return released(samples, rows, sigma) + math.log(len(samples))


def squared_bandwidth(samples: Array, rows: Array, sigma: float) -> Array:
    """A mistake: exp(-||x - mu||^2 / sigma^2), without the 2."""
    narrower = sigma / math.sqrt(2)
    too_narrow = released(samples, rows, narrower) + _log_volume(samples.shape[1], narrower)
    return too_narrow - _log_volume(samples.shape[1], sigma)


def this_project(samples: Array, rows: Array, sigma: float) -> Array:
    """`replicate.likelihood.parzen` in float32, as the pipeline and `score` run it."""
    import torch

    from replicate.likelihood.parzen import log_density

    centres = torch.from_numpy(samples.astype(np.float32))
    x = torch.from_numpy(rows.astype(np.float32))
    return log_density(centres, x, sigma).numpy()


#: Words of the table -> implementation.
IMPLEMENTATIONS: dict[str, Implementation] = {
    "this project, float32": this_project,
    "released algorithm (our port), float64": released,
    "released algorithm (our port), float32": released_float32,
    "scikit-learn `KernelDensity`, defaults": scikit_learn,
    "scikit-learn `KernelDensity`, `leaf_size` = samples": scikit_learn_exact,
    "mistake: squared distances expanded in float32": expanded_float32,
    "mistake: exp before the maximum is taken out": no_shift,
    "mistake: log(sigma sqrt(2 pi)) once, not d times": no_dimension,
    "mistake: sum over samples, no mean": no_mean,
    "mistake: sigma² in place of 2 sigma²": squared_bandwidth,
}


def _cell(values: Array, correct: Array) -> str:
    """The largest difference in words."""
    error = largest_error(values.tolist(), correct.tolist())
    is_right = agrees(values.tolist(), correct.tolist())
    if is_right:
        return "agrees"
    return "not finite" if math.isinf(error) else f"{error:.1e}"


def table() -> str:
    """The table as Markdown."""
    correct = {name: expected(case) for name, case in cases().items()}
    lines = [
        f"| implementation | {' | '.join(correct)} |",
        f"|---|{'---|' * len(correct)}",
    ]
    for words, implementation in IMPLEMENTATIONS.items():
        cells = []
        for name, case in cases().items():
            values = [implementation(case.samples, case.rows, sigma) for sigma in case.sigmas]
            cells.append(_cell(np.array(values, dtype=np.float64), correct[name]))
        lines.append(f"| {words} | {' | '.join(cells)} |")
    lines.append("")
    lines.append(
        f"*agrees*: every value within {ABSOLUTE:g} nats, or within {RELATIVE:g} of its size."
    )
    return "\n".join(lines)


def _is_same(cell: str, renewed: str) -> bool:
    """Whether two cells say the same; the rounding that some differences consist of depends on the
    machine.
    """
    try:
        old, new = float(cell), float(renewed)
    except ValueError:
        return cell == renewed
    return 0.5 <= new / old <= 2


def is_same(text: str, renewed: str) -> bool:
    """Whether two pages have the same words, and numbers of the same size in their tables."""
    cells, renewed_cells = text.split("|"), renewed.split("|")
    if len(cells) != len(renewed_cells):
        return False
    return all(map(_is_same, cells, renewed_cells))


def with_table(text: str) -> str:
    """The page with the table as it is now."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def main() -> int:
    """Writes or compares the table; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true")
    text = README.read_text(encoding="utf-8")
    renewed = with_table(text)
    if parser.parse_args().check:
        is_current = is_same(text, renewed)
        if not is_current:
            print("the table of conformance/README.md is not what table.py makes")
        return int(not is_current)
    README.write_text(renewed, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
