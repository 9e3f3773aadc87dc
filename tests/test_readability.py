"""The check of readable lines: what it counts, counted by hand."""

import ast
import re
from pathlib import Path

import pytest

from tools.readability import (
    Figures,
    is_nested,
    measure,
    nodes_a_line,
    nodes_a_statement,
    statements,
)


def figures_of(text: str) -> Figures:
    figures = Figures()
    measure(text, "m.py", figures)
    return figures


@pytest.mark.parametrize(
    ("text", "nested"),
    [
        ("[x for x in y]", False),
        ("[f(x) for x in [1, 2] if x]", False),
        ("[x for y in z for x in y]", True),
        ("[[x for x in y] for y in z]", True),
        ("{x: sum(a for a in x) for x in y}", True),
        ("sorted(x for x in y)", False),
    ],
)
def test_nested_comprehensions(text: str, nested: bool) -> None:
    outermost = next(node for node in ast.walk(ast.parse(text)) if hasattr(node, "generators"))
    assert is_nested(outermost) == nested


def test_nodes_a_line_and_a_statement_by_hand() -> None:
    """`x = 1`: Assign, Name, Store, Constant; `return x`: Return, Name, Load."""
    (function,) = ast.parse('def f():\n    """Words."""\n    x = 1\n    return x\n').body
    assert isinstance(function, ast.FunctionDef)
    body = statements(function)
    assert len(body) == 2
    assert nodes_a_line(body) == nodes_a_statement(body) == (4 + 3) / 2


def test_names_any_comments_and_long_lines_are_found_where_they_are() -> None:
    found = figures_of(
        "# why\n"
        "def f(given: Any, rate: 'dict[str, Any]') -> typing.Any:\n"
        "    other = rate\n" + f"    text = '{'x' * 95}'\n" + "    return other\n"
    )
    assert found.any_count == 3
    assert found.comments == 1
    assert found.weak == ["m.py:2 given", "m.py:3 other"]
    assert found.long_lines == ["m.py:4"]
    assert found.names == len(["f", "given", "rate", "other", "text"])


def test_a_module_above_a_limit_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tools import readability

    package = tmp_path / "replicate"
    package.mkdir()
    (package / "m.py").write_text("x = [[1 for _ in y] for y in z]\n")
    monkeypatch.setattr(readability, "PACKAGE", package)
    monkeypatch.setattr("sys.argv", ["readability.py"])
    with pytest.raises(SystemExit) as end:
        readability.main()
    assert end.value.code
    printed = capsys.readouterr().out
    assert "replicate/m.py:1" in printed
    assert re.search(r"nested comprehensions .*too many", printed)
    assert re.search(r"comments per 100 lines .*too few", printed)
