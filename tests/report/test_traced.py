"""Values that know their source: numbers are never printed without it, and what is not a number never at all."""

import json
import math
from html import unescape
from pathlib import Path

import pytest
from jinja2 import Environment, StrictUndefined

from replicate.errors import ReplicateError
from replicate.traced import (
    Traced,
    as_json,
    gathered,
    leaves,
    named_once,
    number,
    part,
    plain,
    seed_list,
    setting,
    text,
    traced,
    where,
)  # fmt: skip


def place(value: object, pointer: str = "/a") -> Traced:
    return Traced("results/x.json", pointer, value)


def test_a_number_carries_file_pointer_and_exact_value() -> None:
    assert number(place(-1234.5678), 1) == (
        '<data value="-1234.5678" title="results/x.json#/a">\N{MINUS SIGN}1\N{NARROW NO-BREAK SPACE}234.6</data>'
    )
    assert number(place(225.0)) == '<data value="225.0" title="results/x.json#/a">225</data>'
    assert number(place(0)) == '<data value="0" title="results/x.json#/a">0</data>'
    assert number(place(-0.0004), 3) == '<data value="-0.0004" title="results/x.json#/a">0.000</data>'


def test_pointers_follow_rfc_6901() -> None:
    root = place({"a/b": {"~": [1, [2]]}}, "")
    assert 'title="results/x.json#/a~1b/~0/1/0"' in number(root["a/b"]["~"][1][0])
    assert 'title="results/x.json#/a~1b/~0/0"' in number(root["a/b"]["~"][-2])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), True, "225", [1]])
def test_what_is_not_a_finite_number_is_refused(value: object) -> None:
    with pytest.raises(ReplicateError, match=r"results/x\.json#/a"):
        number(place(value))


@pytest.mark.parametrize("value", [1.5, 3, None, "3"])
def test_a_number_from_nowhere_is_refused(value: object) -> None:
    with pytest.raises(ReplicateError, match="result file"):
        number(value)


def test_a_template_cannot_print_a_number_without_the_filter() -> None:
    jinja = Environment(autoescape=True, undefined=StrictUndefined)
    for template in ("{{ x.a }}", "{{ x.a ~ '' }}", "{{ x }}", "{{ x.a|string }}"):
        with pytest.raises(
            ReplicateError, match=r"not text \(which a template prints as it is, a number by the filter"
        ):
            jinja.from_string(template).render(x=place({"a": 1}))


def test_text_is_escaped_and_isolated() -> None:
    hostile = '"><script>alert(1)</script>\u202e'
    assert text(place({"reason": hostile}), "reason") == (
        '<bdi class="text" title="results/x.json#/a/reason">&#34;&gt;&lt;script&gt;alert(1)&lt;/script&gt;\u202e</bdi>'
    )


def test_json_is_quoted_exactly() -> None:
    quoted = as_json(place({"b": [1, "</script>"], "a": 0.1}))
    assert "</script>" not in quoted
    assert json.loads(unescape(quoted.split(">", 1)[1].rsplit("<", 1)[0])) == {"a": 0.1, "b": [1, "</script>"]}


@pytest.mark.parametrize(
    ("seeds", "shown"), [([7], "7"), ([0, 1, 2], "0, 1, 2"), ([0, 1, 2, 3], "0 to 3"), ([0, 2, 4, 6], "0, 2, 4, 6")]
)
def test_seeds_are_listed(seeds: list[int], shown: str) -> None:
    assert seed_list(place(seeds)).striptags() == shown


def test_leaves_carry_their_path_and_their_place() -> None:
    found = leaves(place({"config": {"a/b": 1, "on": True, "sizes": [8, 8]}, "name": None}, "/parameters"))
    assert {name: (plain(leaf), where(leaf)) for name, leaf in found.items()} == {
        "config.a/b": (1, "results/x.json#/parameters/config/a~1b"),
        "config.on": (True, "results/x.json#/parameters/config/on"),
        "config.sizes": ([8, 8], "results/x.json#/parameters/config/sizes"),
        "name": (None, "results/x.json#/parameters/name"),
    }


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.5, '<data value="0.5" title="results/x.json#/a">0.5</data>'),
        ("a<b", '<code><bdi class="text" title="results/x.json#/a">a&lt;b</bdi></code>'),
        ("", '<code class="json" title="results/x.json#/a">&#34;&#34;</code>'),
        (True, '<code class="json" title="results/x.json#/a">true</code>'),
        (None, '<code class="json" title="results/x.json#/a">null</code>'),
        ([], '<code class="json" title="results/x.json#/a">[]</code>'),
    ],
)
def test_settings_of_any_kind_carry_their_source(value: object, shown: str) -> None:
    assert setting(part(place({"a": value}, ""), "a")) == shown


def test_entries_of_lists_and_objects() -> None:
    root = place({"list": [1, "x", None, False], "empty": [], "zero": 0}, "")
    assert [plain(entry) for entry in root["list"]] == [1, "x", None, False]
    assert "list" in root
    assert "other" not in root
    assert not root["empty"]
    assert root["zero"]
    assert len(root["list"]) == 4
    with pytest.raises(KeyError):
        root["other"]
    with pytest.raises(IndexError):
        root["list"][4]


def test_a_file_with_nan_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"a": NaN}')
    with pytest.raises(ReplicateError, match="not finite"):
        traced("results/x.json", tmp_path / "x.json")


def test_a_number_of_many_files_says_how_and_of_which() -> None:
    places = [Traced(f"results/{name}.run.json", "/wall_seconds", value) for name, value in (("a", 0.1), ("b", 0.2))]
    files = "results/*.run.json with the stage train"
    shown = [plain(gathered(how, places, files)) for how in ("sum", "largest", "number")]
    assert shown == [math.fsum([0.1, 0.2]), 0.2, 2]
    assert where(gathered("sum", places, files)) == f"sum of {files}#/wall_seconds"


def test_a_long_table_names_its_file_once() -> None:
    one, other = number(place(1.5)), number(Traced("results/y.json", "/b", 2))
    assert named_once(one + other, place({}, "")) == (
        '<div data-source="results/x.json"><data value="1.5" title="#/a">1.5</data>'
        '<data value="2" title="results/y.json#/b">2</data></div>'
    )
