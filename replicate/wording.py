"""One wording for a wrong value of a parameter, whoever notices it: the types (pydantic) or the schema (jsonschema)."""

import difflib
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

#: Characters of a wrong value that a message shows.
SHOWN = 60
#: Faults of one document that a message tells.
TOLD = 8

_WHOLE, _NUMBER = "a whole number is needed", "a number is needed"
_BOOLEAN, _TEXT, _LIST = "true or false is needed", "text is needed", "a list is needed"
_MAPPING = "a mapping of names to values is needed"
#: JSON type -> what to say where a value of another type stands.
_BY_TYPE = {
    "integer": _WHOLE, "number": _NUMBER, "boolean": _BOOLEAN, "string": _TEXT, "array": _LIST, "object": _MAPPING,
}  # fmt: skip
#: The same by pydantic's names of faults.
_BY_FAULT = {
    "int_type": _WHOLE, "int_parsing": _WHOLE, "int_from_float": _WHOLE, "float_type": _NUMBER,
    "float_parsing": _NUMBER, "finite_number": "a finite number is needed", "bool_type": _BOOLEAN,
    "bool_parsing": _BOOLEAN, "string_type": _TEXT, "tuple_type": _LIST, "list_type": _LIST, "dict_type": _MAPPING,
    "model_type": _MAPPING, "model_attributes_type": _MAPPING,
}  # fmt: skip
#: Bounds by the schema's names of them, in pydantic's words.
_BOUNDS = {
    "minimum": "input should be greater than or equal to",
    "exclusiveMinimum": "input should be greater than",
    "maximum": "input should be less than or equal to",
    "exclusiveMaximum": "input should be less than",
}


def _is_number(text: Any) -> bool:
    try:
        float(text)
    except (TypeError, ValueError):
        return False
    return isinstance(text, str)


def joined(faults: Sequence[str]) -> str:
    """Several faults in one sentence, not more than anybody reads."""
    more = f"; and {len(faults) - TOLD} more" if len(faults) > TOLD else ""
    return "; ".join(faults[:TOLD]) + more


def quoted(value: Any) -> str:
    """A value as messages show it: its beginning where it is long."""
    text = json.dumps(value) if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _refused(words: str, value: Any) -> str:
    """The clause `words`, with the value unless it is a list or a mapping, and with a remedy where it is plain."""
    if isinstance(value, dict | list | tuple):
        wrong_type = words in _BY_TYPE.values()
        return f"{words}, not a {'mapping' if isinstance(value, dict) else 'list'}" if wrong_type else words
    hint = ""
    if words in (_WHOLE, _NUMBER) and _is_number(value):
        hint = " (it is text; take the quotes away)"
    elif words == _LIST and isinstance(value, str | int | float) and not isinstance(value, bool):
        hint = f" (write [{json.dumps(value)}])"
    return f"{words}, not {quoted(value)}{hint}"


def unknown_key(key: str, known: Collection[str]) -> str:
    """What is said of a key that is none of the known ones."""
    if not known:
        return "unknown key"
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"the known ones are {', '.join(sorted(known))}"
    return f"unknown key ({hint})"


def _length(least: int | None, most: int | None, value: Any) -> str:
    few = least is not None and len(value) < least
    return f"{f'at least {least}' if few else f'at most {most}'} entries are needed, not {len(value)}"


def of_types(fault: Mapping[str, Any]) -> str:
    """The clause of a fault that pydantic found; unknown keys aside."""
    kind, value, context = fault["type"], fault.get("input"), fault.get("ctx", {})
    if kind in ("too_short", "too_long") and isinstance(value, list | tuple):
        return _length(context.get("min_length"), context.get("max_length"), value)
    if kind == "json_invalid":  # the values were valid JSON but for halves of characters
        return "a text among the values is not UTF-8; write it as UTF-8"
    if kind in _BY_FAULT:
        return _refused(_BY_FAULT[kind], value)
    text = fault["msg"].removeprefix("Value error, ")
    return _refused(f"{text[0].lower()}{text[1:]}", value)


def of_schema(error: Any) -> str:
    """The clause of a fault that jsonschema found; unknown keys aside."""
    kind, bound, value = error.validator, error.validator_value, error.instance
    if kind == "type":
        wanted = [bound] if isinstance(bound, str) else bound
        return _refused(_BY_TYPE[wanted[0]], value)
    if kind in _BOUNDS:
        return _refused(f"{_BOUNDS[kind]} {bound}", value)
    if kind == "enum":
        *others, last = [repr(one) for one in bound]
        return _refused(
            f"input should be {', '.join(others)} or {last}" if others else f"input should be {last}", value
        )
    if kind == "const":
        return _refused(f"input should be {bound!r}", value)
    if kind in ("minItems", "maxItems"):
        return _length(error.schema.get("minItems"), error.schema.get("maxItems"), value)
    if kind == "pattern":
        return _refused(f"string should match pattern {bound!r}", value)
    return str(error.message)
