"""Absurd numbers in any setting of any section are refused with its path, in one sentence, before
any job.

The settings are those of the committed schema, so that a new one is tried without a word here.
"""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from replicate.errors import ReplicateError
from replicate.jobs.parameter_schema import schema_path
from replicate.jobs.precheck import checked_plan
from replicate.models import load_model
from replicate.params import LARGEST, Likelihood, checked, read_document

SCHEMA = json.loads(schema_path().read_text(encoding="utf-8"))
#: Numbers that no setting takes, as YAML and JSON write them; `NaN` and `Infinity` are Python's
#: JSON.
NEVER = ("1e300", "-1e300", "1000000000000", "-1000000000000", "Infinity", "-Infinity", "NaN")


class Setting(NamedTuple):
    """A number of the schema: where it lies, and what the schema says of it; `[]` stands for an
    entry of a list.
    """

    path: tuple[str, ...]
    node: dict[str, Any]


def numbers(node: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[Setting]:
    """Every number below a part of the schema."""
    if "$ref" in node:
        node = SCHEMA["$defs"][node["$ref"].removeprefix("#/$defs/")]
    for name, entry in node.get("properties", {}).items():
        yield from numbers(entry, (*path, name))
    for branch in node.get("anyOf", []):
        yield from numbers(branch, path)
    if "items" in node:
        yield from numbers(node["items"], (*path, "[]"))
    if node.get("type") in ("integer", "number"):
        yield Setting(path, node)


def of_digits(setting: Setting) -> bool:
    """Recipes differ in their defaults alone: those for digits stand for all."""
    return setting.path[0] not in ("models", "samplers") or setting.path[2] == "digits"


SETTINGS = [setting for setting in numbers(SCHEMA) if of_digits(setting)]


def below(setting: Setting) -> str | None:
    """A number below the setting's own bound; None where there is none but the common one."""
    node = setting.node
    least = node.get("exclusiveMinimum", node.get("minimum"))
    if least == -LARGEST:
        return None
    return repr(least) if "exclusiveMinimum" in node else repr(least - 1)


def sentence(setting: Setting, number: str) -> str:
    """What is said of a run that has `number` there, written as JSON; it must be refused."""
    value: Any = "@"
    for name in reversed(setting.path):
        value = [value] if name == "[]" else {name: value}
    raw = {"datasets": {"digits": {}}, "models": {"vae": {"digits": {}}}} | value
    raw["datasets"] = {"digits": {}} | raw["datasets"]
    if setting.path[0] == "samplers":
        raw["models"] = {setting.path[1]: {"digits": {}}}
    with pytest.raises(ReplicateError) as caught:
        checked_plan(*read_document(json.dumps(raw).replace('"@"', number)))
    return str(caught.value)


def check(setting: Setting, number: str) -> None:
    said = sentence(setting, number)
    assert (
        "".join(name if name == "[]" else f".{name}" for name in setting.path)[1:].replace(
            "[]", "[0]"
        )
        in said
    )
    assert said.endswith(".")
    assert len(said.splitlines()) == 1


@hypothesis_settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.sampled_from(SETTINGS),
    st.sampled_from((-1, 1)),
    st.integers(2**32, 10**25) | st.floats(2**32, allow_infinity=True),
)
def test_any_number_out_of_reach_is_refused_wherever_it_stands(
    setting: Setting, sign: int, size: float
) -> None:
    check(setting, json.dumps(sign * size))


def test_every_absurd_number_in_every_setting_is_refused() -> None:
    tried = 0
    for setting in SETTINGS:
        least = below(setting)
        tiny = (
            ["1e-13"]
            if setting.node.get("exclusiveMinimum") == 0 and setting.node["type"] == "number"
            else []
        )
        for number in (*NEVER, *([least] if least else []), *tiny):
            check(setting, number)
            tried += 1
    print(f"{tried} numbers in {len(SETTINGS)} settings")


def test_every_count_has_a_bound_below() -> None:
    """A number of units, images, epochs or steps is never negative."""
    free = {".".join(setting.path) for setting in SETTINGS if below(setting) is None}
    assert all(
        setting.node["type"] == "number" for setting in SETTINGS if ".".join(setting.path) in free
    )
    assert {path.rpartition(".")[2] for path in free} == {
        "generator_sigmoid_bias", "hidden_bias", "target",
    }  # fmt: skip


@pytest.mark.parametrize(
    "setting", [setting for setting in SETTINGS if setting.path[0] == "models"], ids=str
)
def test_the_types_refuse_what_the_schema_refuses(setting: Setting) -> None:
    """A stage by hand is checked by the types alone."""
    _, model, dataset, *path = setting.path
    if "layers" in path:
        return  # an entry of a list of layers is a group of its own, tried below
    for number in ("1e300", "1000000000000", below(setting)):
        if number is None:
            continue
        value: Any = json.loads(number)
        for name in reversed(path):
            value = [value] if name == "[]" else {name: value}
        with pytest.raises(ReplicateError, match=path[0]):
            load_model(model).config_for(dataset, value)


def test_a_fault_in_a_list_does_not_make_the_list_short() -> None:
    with pytest.raises(ReplicateError) as caught:
        checked(Likelihood, {"sigmas": [1e-200]}, "parameters", "likelihood")
    assert str(caught.value) == (
        "parameters: likelihood.sigmas[0]: input should be greater than or equal to 0.0001, not "
        "1e-200."
    )
