"""The digest of logic: blind to comments, docstrings and formatting, awake to everything a job
runs.
"""

from pathlib import Path

import pytest

from replicate.jobs.code_digest import code_digest

MODEL = '''"""A model."""

from replicate.maths import square


def step(x: int) -> int:
    """Moves."""
    return square(x) + 1
'''

#: What Pythons dump differently: functions and classes, empty lists, f-strings, text beyond ASCII.
GOLDEN = r'''"""Docstring."""

import math


class Scale:
    """Only a docstring."""


async def scaled(x: float, /, *rest, width=8, unit=None, **more) -> str:
    """Docstring."""
    values = [abs(y) for y in (x, *rest) if y is not None and -1e-3 < y]
    match values:
        case [first, *_] if (half := first / 2):
            return f"{half!r:>{width}} {x=} {math.pi:.2f}{{}}" u" \u00b5\U0001fae9" + "é"
        case _:
            return lambda: {**more, "unit": unit}[values[1:, ...]]
'''


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    package = tmp_path / "replicate"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "models" / "__init__.py").write_text("REGISTRY = {'a': 'replicate.models.a'}\n")
    (package / "models" / "a.py").write_text(MODEL)
    (package / "models" / "b.py").write_text("from replicate.models import REGISTRY\n\nX = 1\n")
    (package / "maths.py").write_text("def square(x):\n    return x * x\n")
    return tmp_path


def digest(tree: Path) -> str:
    return code_digest(["replicate.models.a"], tree)


@pytest.mark.parametrize(
    "text",
    [
        MODEL.replace("Moves.", "Moves a lot, in other words."),
        MODEL.replace('    """Moves."""\n', ""),
        MODEL.replace(
            "return square(x) + 1", "return (\n        square(x)\n        + 1  # why not\n    )"
        ),
        "# a comment\n" + MODEL,
        MODEL.replace('"""A model."""\n', ""),
    ],
)
def test_writing_does_not_count(tree: Path, text: str) -> None:
    before = digest(tree)
    (tree / "replicate/models/a.py").write_text(text)
    assert digest(tree) == before


@pytest.mark.parametrize(
    "text",
    [
        MODEL.replace("+ 1", "+ 2"),
        MODEL.replace("x: int", "y: int").replace("square(x)", "square(y)"),
        MODEL.replace("return square(x) + 1", 'return "Moves."'),
    ],
)
def test_logic_counts(tree: Path, text: str) -> None:
    before = digest(tree)
    (tree / "replicate/models/a.py").write_text(text)
    assert digest(tree) != before


def test_what_a_module_imports_counts_and_what_it_does_not_is_nothing_to_it(tree: Path) -> None:
    before = digest(tree)
    (tree / "replicate/models/b.py").write_text("X = 2\n")
    (tree / "replicate/models/__init__.py").write_text(
        "REGISTRY = {'a': 'replicate.models.a', 'c': 'new'}\n"
    )
    assert digest(tree) == before
    (tree / "replicate/maths.py").write_text("def square(x):\n    return x ** 2\n")
    assert digest(tree) != before


def test_imports_inside_functions_count(tree: Path) -> None:
    (tree / "replicate/models/a.py").write_text(
        "def f():\n    from replicate import maths\n    return maths\n"
    )
    before = digest(tree)
    (tree / "replicate/maths.py").write_text("Y = 1\n")
    assert digest(tree) != before


@pytest.mark.parametrize(
    "text",
    [
        "from ..maths import square",
        "from .. import maths",
        "def f():\n    from .near import g\n    return g",
        "from . import near",
        "from .parts import PART",
        "from .parts.deep import DEEP",
    ],
)
def test_relative_imports_count(tree: Path, text: str) -> None:
    folder = tree / "replicate/models"
    (folder / "parts").mkdir()
    (folder / "near.py").write_text("def g():\n    from ..maths import square\n    return square\n")
    (folder / "parts/__init__.py").write_text(
        "from ..near import g\n\nPART = g\n"
    )  # counted from itself, not above
    (folder / "parts/deep.py").write_text("from ...maths import square\n\nDEEP = square(2)\n")
    (folder / "a.py").write_text(text)
    before = digest(tree)
    (tree / "replicate/maths.py").write_text("def square(x):\n    return x ** 2\n")
    assert digest(tree) != before


def test_the_digest_is_the_same_on_every_python(tree: Path) -> None:
    """The literal must not change with the Python version; where it does, `_dumped` lets a
    difference through.

    It changes with the way of digesting alone, and then every result and checkpoint counts as made
    by other code.
    """
    (tree / "replicate/models/a.py").write_text(GOLDEN, encoding="utf-8")
    assert digest(tree) == "1a6053a1feb6ab24"


def test_an_unknown_module_is_refused(tree: Path) -> None:
    with pytest.raises(LookupError, match=r"no module replicate\.nothing"):
        code_digest(["replicate.nothing"], tree)


def test_a_models_digest_covers_what_decides_its_numbers() -> None:
    """The closure of a training job holds the sweep, the estimator that selects epochs, and the
    streams.
    """
    from replicate.jobs import code_digest as codedigest

    root = codedigest.package_root()
    seen, pending = set(), {"replicate.stages.train", "replicate.models.adversarial_nets"}
    while pending:
        name = pending.pop()
        path = codedigest._source(name, root)
        if path and name not in seen and name not in codedigest.REGISTRIES:
            seen.add(name)
            pending |= codedigest._module(name, path, (0, 0))[1]
    assert {
        "replicate.training.sweep",
        "replicate.likelihood.parzen",
        "replicate.training.streams",
    } <= seen
    assert (
        not {"replicate.report.page", "replicate.verdicts.table1", "replicate.stages.evaluate"}
        & seen
    )
