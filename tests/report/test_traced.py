"""Values that know their source: numbers are never printed without it, and what is not a number
never at all.
"""

import json
import math
from html import unescape
from pathlib import Path

import pytest
from jinja2 import Environment, StrictUndefined

from replicate.errors import ReplicateError
from replicate.records.sourced import (
    SHOWN,
    ResultFolder,
    Traced,
    as_json,
    child,
    gathered,
    leaves,
    named_once,
    number,
    seed_list,
    setting,
    source_of,
    text,
    traced,
    traced_content,
    value_of,
)  # fmt: skip


def place(value: object, pointer: str = "/a") -> Traced:
    return Traced("results/x.json", pointer, value)


def test_a_number_carries_file_pointer_and_exact_value() -> None:
    assert number(place(-1234.5678), 1) == (
        '<data value="-1234.5678" title="results/x.json#/a">\N{MINUS SIGN}1\N{NARROW NO-BREAK SPACE}234.6</data>'
    )
    assert number(place(225.0)) == '<data value="225.0" title="results/x.json#/a">225</data>'
    assert number(place(0)) == '<data value="0" title="results/x.json#/a">0</data>'
    assert (
        number(place(-0.0004), 3) == '<data value="-0.0004" title="results/x.json#/a">0.000</data>'
    )


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
            ReplicateError,
            match=r"not text \(which a template prints as it is, a number by the filter",
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
    assert json.loads(unescape(quoted.split(">", 1)[1].rsplit("<", 1)[0])) == {
        "a": 0.1,
        "b": [1, "</script>"],
    }


@pytest.mark.parametrize(
    ("seeds", "shown"),
    [
        ([7], "7"),
        ([0, 1, 2], "0, 1, 2"),
        ([0, 1, 2, 3], "0 to 3"),
        ([5, 6, 7, 8], "5 to 8"),
        ([0, 2, 4, 6], "0, 2, 4, 6"),
    ],
)
def test_seeds_are_listed(seeds: list[int], shown: str) -> None:
    assert seed_list(place(seeds)).striptags() == shown


def test_leaves_carry_their_path_and_their_place() -> None:
    found = leaves(
        place({"config": {"a/b": 1, "on": True, "sizes": [8, 8]}, "name": None}, "/parameters")
    )
    assert {name: (value_of(leaf), source_of(leaf)) for name, leaf in found.items()} == {
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
        ("", '<code class="json" title="results/x.json#/a">""</code>'),
        (True, '<code class="json" title="results/x.json#/a">true</code>'),
        (None, '<code class="json" title="results/x.json#/a">null</code>'),
        ([], '<code class="json" title="results/x.json#/a">[]</code>'),
    ],
)
def test_settings_of_any_kind_carry_their_source(value: object, shown: str) -> None:
    assert setting(child(place({"a": value}, ""), "a")) == shown


def test_entries_of_lists_and_objects() -> None:
    root = place({"list": [1, "x", None, False], "empty": [], "zero": 0}, "")
    assert [value_of(entry) for entry in root["list"]] == [1, "x", None, False]
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
    places = [
        Traced(f"results/{name}.run.json", "/wall_seconds", value)
        for name, value in (("a", 0.1), ("b", 0.2))
    ]
    files = "results/*.run.json with the stage train"
    shown = [value_of(gathered(how, places, files)) for how in ("sum", "largest", "number")]
    assert shown == [math.fsum([0.1, 0.2]), 0.2, 2]
    assert source_of(gathered("sum", places, files)) == f"sum of {files}#/wall_seconds"


def test_a_long_table_names_its_file_once() -> None:
    one, other = number(place(1.5)), number(Traced("results/y.json", "/b", 2))
    assert named_once(one + other, place({}, "")) == (
        '<div data-source="results/x.json"><data value="1.5" title="#/a">1.5</data>'
        '<data value="2" title="results/y.json#/b">2</data></div>'
    )


@pytest.mark.parametrize("plain", ["x", "", True, False, None])
def test_text_truth_values_and_null_come_out_plain(plain: object) -> None:
    below = place({"a": plain})["a"]
    assert type(below) is type(plain)
    assert below == plain
    assert isinstance(place({"a": 0})["a"], Traced)
    assert isinstance(place({"a": {}})["a"], Traced)


def test_an_object_is_walked_by_its_sorted_keys_and_a_list_holds_no_keys() -> None:
    assert list(place({"b": 1, "a": 2})) == ["a", "b"]
    assert "a" not in place(["a"])
    assert place({"a": 1})
    assert not place({})


@pytest.mark.parametrize(("value", "key"), [(["x"], "0"), ({"0": "x"}, 0), ("text", 0), (3, "a")])
def test_keys_are_of_objects_and_indices_of_lists(value: object, key: str | int) -> None:
    with pytest.raises(KeyError):
        child(place(value), key)


def test_leaves_of_several_groups() -> None:
    by_path = leaves(place({"a": {"x": 1}, "b": 2, "c": {"d": {"y": 3}, "e": {"z": 4}}}))
    assert {path: value_of(leaf) for path, leaf in by_path.items()} == {
        "a.x": 1, "b": 2, "c.d.y": 3, "c.e.z": 4,
    }  # fmt: skip


@pytest.mark.parametrize("length", [SHOWN - 3, SHOWN - 2, SHOWN - 1, 3 * SHOWN])
def test_a_message_shows_the_beginning_of_a_long_value(length: int) -> None:
    text_of_value = repr("x" * length)
    shown = text_of_value if length + 2 <= SHOWN else text_of_value[:SHOWN] + "..."
    with pytest.raises(ReplicateError) as refusal:
        number(place("x" * length))
    assert f"results/x.json#/a is {shown}, not a finite number" in str(refusal.value)


def test_a_number_from_nowhere_is_shown_in_the_message() -> None:
    with pytest.raises(ReplicateError, match=r"^'2\.75' would be shown as a number"):
        number(2.75)


@pytest.mark.parametrize(
    ("folder", "name"),
    [(ResultFolder, "results"), (lambda path: ResultFolder(path, "kept"), "kept")],
)
def test_a_file_of_a_folder_keeps_its_name_there(tmp_path: Path, folder: object, name: str) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "x.json").write_text('{"a": [1.5]}')
    root = folder(tmp_path).read("train/x.json")  # type: ignore[operator]
    assert value_of(root) == {"a": [1.5]}
    assert source_of(root) == f"{name}/train/x.json#"
    assert source_of(root["a"][0]) == f"{name}/train/x.json#/a/0"


def test_content_that_is_not_finite_is_refused_by_the_path_of_its_file() -> None:
    with pytest.raises(ReplicateError, match=r"^there/x\.json holds a number that is not finite"):
        traced_content("results/x.json", Path("there/x.json"), {"a": math.inf})


@pytest.mark.parametrize(
    ("value", "digits", "shown"),
    [(12345.678, 3, "1.23e+04"), (0.00012345, 2, "0.00012"), (-2.5, 1, "\N{MINUS SIGN}2")],
)
def test_significant_digits(value: float, digits: int, shown: str) -> None:
    assert number(place(value), digits=digits).striptags() == shown


def test_a_single_file_is_gathered_too() -> None:
    assert source_of(gathered("largest", [place(3)], "results/x.json")) == (
        "largest of results/x.json#/a"
    )
