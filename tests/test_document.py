"""YAML files and inline JSON: numbers as DVC reads them, and what has no plain meaning in one
sentence.
"""

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.serialize import parse_yaml

from replicate.errors import ReplicateError
from replicate.jobs.precheck import checked_plan
from replicate.params import Params, read_document
from replicate.stages.train import model_parameters
from replicate.storage.documents import (
    MAX_BYTES,
    MAX_DEPTH,
    dotted,
    read_json_text,
    read_values,
    read_yaml,
)
from replicate.storage.paths import package_root


def read(folder: Path, content: str | bytes) -> Any:
    path = folder / "p.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_yaml(path)


def refusal(folder: Path, content: str | bytes) -> str:
    with pytest.raises(ReplicateError) as caught:
        read(folder, content)
    message = str(caught.value)
    assert message.startswith(str(folder / "p.yaml"))
    assert len(message.splitlines()) == 1
    return message.removeprefix(str(folder / "p.yaml"))


#: What YAML 1.1 and 1.2 or two of their readers take differently, and what YAML 1.2's core schema
#: says of it.
SCALARS = {
    "1e-05": 1e-05,
    "1e5": 1e5,
    "1.0e+3": 1000.0,
    ".5": 0.5,
    "-0.25": -0.25,
    "+1": 1,
    "010": 10,
    "08": 8,
    "0o10": 8,
    "0x1F": 31,
    "1:30": "1:30",
    "190:20:30": "190:20:30",
    "yes": "yes",
    "No": "No",
    "on": "on",
    "off": "off",
    "y": "y",
    "true": True,
    "FALSE": False,
    "~": None,
    "null": None,
    '"010"': "010",
    "'1e-05'": "1e-05",
    "0-9": "0-9",
}


@pytest.mark.parametrize("text", SCALARS)
def test_a_value_means_what_yaml_1_2_and_dvc_say(tmp_path: Path, text: str) -> None:
    found = read(tmp_path, f"a: {text}\n")
    assert found == {"a": SCALARS[text]} == parse_yaml(f"a: {text}\n", "p.yaml")
    assert type(found["a"]) is type(SCALARS[text])


@pytest.mark.parametrize(
    "file", ["params.yaml", "protocol.yaml", "tuning/digits.yaml", "presets/paper.yaml"]
)
def test_the_committed_files_mean_the_same_to_dvc(file: str) -> None:
    path = package_root() / file
    assert read_yaml(path) == parse_yaml(path.read_text(encoding="utf-8"), file)


REFUSED = {
    "a: 1\nb: 2\na: 3": ": a: it stands there twice (lines 1 and 3); keep one of them.",
    "a:\n  - {b: {c: 1,\n  c: 2}}": (
        ": a[0].b.c: it stands there twice (lines 2 and 3); keep one of them."
    ),
    "a: 1\n'a': 2": ": a: it stands there twice (lines 1 and 2); keep one of them.",
    "a: [2026-11-28]": (
        ": a[0]: 2026-11-28 is a date or time, which no parameter is; "
        "put it in quotes if it is text."
    ),
    "a: .inf": ": a: a finite number is needed, not inf.",
    "a: -.INF": ": a: a finite number is needed, not -inf.",
    "a: {b: .nan}": ": a.b: a finite number is needed, not nan.",
    "a: 1e999": ": a: a finite number is needed, not inf.",
    f"a: {'9' * 5000}": ": a: the whole number is beyond 64 bits; write a smaller one.",
    f"a: -{2**63}": ": a: the whole number is beyond 64 bits; write a smaller one.",
    "1: a": ": the name 1 in line 1 is no text; put it in quotes.",
    "a:\n  null: 1": ": a: the name null in line 2 is no text; put it in quotes.",
    "? [a]\n: b": ": the name in line 1 is no text; put it in quotes.",
    "a: &x {b: 1}\nc:\n  <<: *x": (
        ": c: line 3 is a merge (<<), which is not read here; write the values out."
    ),
    "a: =": ": a: = is no value; put it in quotes if it is text.",
    "a: !!set {b}": ": a: !set marks a kind of value that no parameter has; remove the mark.",
    "a: !!binary aGk=": (
        ": a: !binary marks a kind of value that no parameter has; remove the mark."
    ),
    "a: !!python/object/apply:os.system [x]": (
        ": a: !python/object/apply:os.system marks a kind of value that no parameter has; "
        "remove the mark."
    ),
    "a: !!int x": ": a: 'x' is no value of the kind !!int; remove the mark.",
    'a: "\\0"': ": a: the text has the character U+0000, which nobody can see; remove it.",
    '"a\\nb": 1': r": the name 'a\nb' has a character that nobody can see; remove it.",
    'a: "\\ud800"': ": a: the text has the character U+D800, which nobody can see; remove it.",
    "a: &a [*a]": f": lists and mappings lie more than {MAX_DEPTH} deep, which no parameter does.",
    f"a: {'[' * 900}{']' * 900}": (
        f": lists and mappings lie more than {MAX_DEPTH} deep, which no parameter does."
    ),
    "a: 1\n---\nb: 2": (
        " is not valid YAML: expected a single document in the stream, but found another document "
        "in line 2."
    ),
    "a: 1\nb: c: d": " is not valid YAML: mapping values are not allowed here in line 2.",
    "a: &x 1\nb: &x 2": " is not valid YAML: found duplicate anchor 'x'.",
    "a: 1\nb: \x00": " is not valid YAML: the character U+0000 in line 2 may not stand there.",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_has_no_plain_meaning_is_refused_with_its_place(tmp_path: Path, text: str) -> None:
    assert refusal(tmp_path, text) == REFUSED[text]


def test_encodings_and_line_ends(tmp_path: Path) -> None:
    assert read(tmp_path, b"\xef\xbb\xbfa: 1\r\nb: gr\xc3\xb6\xc3\x9fer\r\n") == {
        "a": 1,
        "b": "gr\u00f6\u00dfer",
    }
    assert (
        refusal(tmp_path, b"a: 1\nb: gr\xf6er")
        == " is not UTF-8 text (byte 0xf6 in line 2); save it as UTF-8."
    )
    assert " is not UTF-8 text" in refusal(tmp_path, "a: 1".encode("utf-16"))
    assert " bytes, which no parameter file has" in refusal(tmp_path, b"#" * (MAX_BYTES + 1))
    assert read(tmp_path, "# nothing\n") is None


def test_a_few_lines_that_stand_for_millions_of_values_are_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]" for k in range(1, 9)]
    assert "there are more than 500000 values" in refusal(tmp_path, "\n".join(lines))


def test_what_stands_there_by_an_alias_is_read(tmp_path: Path) -> None:
    assert read(tmp_path, "a: &x [1, {b: 2}]\nc: *x") == {"a": [1, {"b": 2}], "c": [1, {"b": 2}]}


JSON = {
    '{"a": 1, "a": 2}': "a: it stands there twice; keep one of them.",
    '{"a": {"b": [{"c": 1, "c": 1}]}}': "a.b[0].c: it stands there twice; keep one of them.",
    '{"a": NaN}': "a: a finite number is needed, not nan.",
    '{"a": -Infinity}': "a: a finite number is needed, not -inf.",
    '{"a": 1e999}': "a: a finite number is needed, not inf.",
    f'{{"a": {"9" * 5000}}}': "a: the whole number is beyond 64 bits; write a smaller one.",
    '{"a": "\\ud800"}': "a: the text has the character U+D800, which nobody can see; remove it.",
    '{"a": '
    + "[" * 100_000: f"lists and mappings lie more than {MAX_DEPTH} deep, which no parameter does.",
    '{"a": '
    + "[" * 50
    + "]" * 50
    + "}": f"lists and mappings lie more than {MAX_DEPTH} deep, which no parameter does.",
}


@pytest.mark.parametrize("text", JSON, ids=lambda text: text[:20])
def test_inline_json_has_the_same_faults_in_the_same_words(text: str) -> None:
    with pytest.raises(ReplicateError) as caught:
        read_json_text(text)
    assert str(caught.value) == f"parameters: {JSON[text]}"
    assert read_json_text('{"a": [1, 2.5, null, true, "x", {}]}') == {
        "a": [1, 2.5, None, True, "x", {}]
    }


#: Faults in the frame of the parameters; the sentence hangs neither on the form of the file nor on
#: who reads it.
FAULTS: dict[str, Any] = {
    "seeds: a list is needed, not '0-9' (write [\"0-9\"])": {"seeds": "0-9"},
    "compute.threads: a whole number is needed, not '4' (it is text; take the quotes away)": {
        "compute": {"threads": "4"}
    },
    "compute.threads: a whole number is needed, not 4.0": {"compute": {"threads": 4.0}},
    "compute.threads: a whole number is needed, not true": {"compute": {"threads": True}},
    "compute.thread: unknown key (did you mean threads?)": {"compute": {"thread": 1}},
    "likelihood: a mapping of names to values is needed, not 3": {"likelihood": 3},
    "likelihood.sigmas[1]: a number is needed, not null": {"likelihood": {"sigmas": [0.1, None]}},
    "likelihood.sigmas: at least 1 entries are needed, not 0": {"likelihood": {"sigmas": []}},
    "preset: text is needed, not 3": {"preset": 3},
    "preset: text is needed, not a list": {"preset": ["a"]},
    "compute.threads: a whole number is needed, not a mapping": {"compute": {"threads": {}}},
    (
        'experiments.theory.seeds: a block of seeds is written as "7" or "0-2", not \'0\u20135\' '
        "(the dash is a hyphen)"
    ): {"experiments": {"theory": {"seeds": "0\u20135"}}},
    "experiments.theory.seeds: the block '5-0' runs backwards": {
        "experiments": {"theory": {"seeds": "5-0"}}
    },
}


@pytest.mark.parametrize("sentence", FAULTS)
def test_every_entry_says_the_same_of_the_same_fault(tmp_path: Path, sentence: str) -> None:
    path, text = tmp_path / "p.yaml", json.dumps(FAULTS[sentence])
    path.write_text(text, encoding="utf-8")
    for entry in (str(path), text):
        raw, where = read_document(entry)
        with pytest.raises(ReplicateError) as caught:
            Params.parse(raw, where)
        assert str(caught.value) == f"{where}: {sentence}."


#: Settings of a model: the schema finds the fault when a run is planned, the model's own types in
#: its job.
SETTINGS: dict[str, Any] = {
    "epochs: a whole number is needed, not 'four'": {"epochs": "four"},
    "epochs: a whole number is needed, not 2.5": {"epochs": 2.5},
    "epochs: a whole number is needed, not null": {"epochs": None},
    "epochs: input should be greater than or equal to 1, not 0": {"epochs": 0},
    "learning_rate: a number is needed, not '1e-3' (it is text; take the quotes away)": {
        "learning_rate": "1e-3"
    },
    "learning_rate: input should be greater than 0, not -0.1": {"learning_rate": -0.1},
    "max_norm: a number is needed, not 'x'": {"max_norm": "x"},
    "generator_hidden: a list is needed, not 64 (write [64])": {"generator_hidden": 64},
    "generator_hidden[1]: a whole number is needed, not true": {"generator_hidden": [8, True]},
    "schedule: input should be 'simultaneous' or 'alternating', not 'both'": {"schedule": "both"},
    "learning_rat: unknown key (did you mean learning_rate?)": {"learning_rat": 1.0},
}


@pytest.mark.parametrize("sentence", SETTINGS)
def test_a_plan_and_a_job_say_the_same_of_a_models_setting(sentence: str) -> None:
    raw = {
        "datasets": {"digits": {}},
        "models": {"adversarial_nets": {"digits": SETTINGS[sentence]}},
    }
    expected = f"p.yaml: models.adversarial_nets.digits.{sentence}."
    with pytest.raises(ReplicateError) as planned:
        checked_plan(raw, "p.yaml")
    assert str(planned.value) == expected
    with pytest.raises(ReplicateError) as trained:
        model_parameters(Params.parse(raw, "p.yaml"), "digits", "adversarial_nets")
    assert str(trained.value) == expected


def test_paths_are_shown_as_they_are_written() -> None:
    assert dotted(["models", "vae", "hidden", 0, "a", 12]) == "models.vae.hidden[0].a[12]"
    assert dotted([]) == ""


PIECES = [
    "a",
    "b",
    "models",
    ":",
    ": ",
    "\n",
    "\n  ",
    "\n- ",
    "- ",
    "? ",
    "[",
    "]",
    "{",
    "}",
    ", ",
    "&x ",
    "*x",
    "!!int ",
    "!t ",
    "<<: ",
    "|\n  ",
    ">\n ",
    '"',
    "'",
    "\\",
    "#",
    " #",
    "%YAML 1.1\n---\n",
    "---\n",
    "...\n",
    "010",
    "1e-05",
    "0o7",
    "1:30",
    "yes",
    "~",
    ".nan",
    ".inf",
    "2026-11-28",
    "1_0",
    "=",
    "@",
    "`",
    "\t",
    "\x00",
    "\r\n",
    "\ufeff",
    "\u2028",
    "\u00e9",
    "-",
]


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(name, str) and _is_plain(inner) for name, inner in value.items())
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return (
        value is None
        or isinstance(value, str | int)
        or (isinstance(value, float) and math.isfinite(value))
    )


def _taken(path: Path, seed: int, count: int) -> int:
    """How many of `count` random documents are read, each as DVC reads it; the others end in one
    sentence.
    """
    generator, taken = random.Random(seed), 0
    for _ in range(count):
        text = "".join(generator.choice(PIECES) for _ in range(generator.randrange(1, 12)))
        path.write_text(text, encoding="utf-8", newline="")
        try:
            found, refused = read_yaml(path), ""
        except ReplicateError as error:
            found, refused = None, str(error)
        assert len(refused.splitlines()) <= 1, text
        if not refused:
            taken += 1
            assert _is_plain(found), text
            assert (found or {}) == parse_yaml(text, "p.yaml"), text
    return taken


def test_random_documents_are_read_as_dvc_reads_them_or_refused_in_one_sentence(
    tmp_path: Path,
) -> None:
    assert _taken(tmp_path / "p.yaml", 14, 150) > 15


@pytest.mark.slow
def test_many_random_documents(tmp_path: Path) -> None:
    assert _taken(tmp_path / "p.yaml", 15, 10_000) > 1000


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ({"draws": "2", "sigmas": ["1e-1", "0.5"]}, {"draws": 2, "sigmas": [0.1, 0.5]}),
        (
            {"a": {"b": ["true", "null", "text", "1:30", "010"]}},
            {"a": {"b": [True, None, "text", "1:30", 10]}},
        ),
        (
            {"a": "[1, 2]", "b": "x: y", "c": "'", "d": ""},
            {"a": "[1, 2]", "b": "x: y", "c": "'", "d": ""},
        ),
        ("2", "2"),
        (3, 3),
    ],
)
def test_text_inside_a_value_is_read_as_yaml_reads_it(given: object, read: object) -> None:
    assert read_values(given, "--config") == read


@pytest.mark.parametrize("text", [".inf", "2024-01-01", "9" * 30])
def test_text_without_a_plain_meaning_is_refused(text: str) -> None:
    with pytest.raises(ReplicateError, match="^--config: "):
        read_values({"draws": text}, "--config")
