"""One wording for a wrong value of a parameter, whoever notices it: the types (pydantic) or the
schema (jsonschema).
"""

import difflib
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

#: Characters of a wrong value that a message shows.
SHOWN = 60
#: Faults of one document that a message names.
MOST_FAULTS = 8

_WHOLE, _NUMBER = "a whole number is needed", "a number is needed"
_BOOLEAN, _TEXT, _LIST = "true or false is needed", "text is needed", "a list is needed"
_MAPPING = "a mapping of names to values is needed"
#: JSON type -> what to say where a value of another type stands.
_BY_TYPE = {
    "integer": _WHOLE,
    "number": _NUMBER,
    "boolean": _BOOLEAN,
    "string": _TEXT,
    "array": _LIST,
    "object": _MAPPING,
}
#: The same by pydantic's names of faults.
_BY_FAULT = {
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_from_float": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": "a finite number is needed",
    "bool_type": _BOOLEAN,
    "bool_parsing": _BOOLEAN,
    "string_type": _TEXT,
    "tuple_type": _LIST,
    "list_type": _LIST,
    "dict_type": _MAPPING,
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
}
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
    text = "; ".join(faults[:MOST_FAULTS])
    left_out = len(faults) - MOST_FAULTS
    if left_out > 0:
        text += f"; and {left_out} more"
    return text


def quoted(value: Any) -> str:
    """A value as messages show it: its beginning where it is long."""
    # Null and truth values are written as in YAML and JSON, not as in Python.
    if value is None or isinstance(value, bool):
        text = json.dumps(value)
    else:
        text = repr(value)
    if len(text) > SHOWN:
        return f"{text[:SHOWN]}..."
    return text


def _refused(words: str, value: Any) -> str:
    """The clause `words`, with the value unless it is a list or a mapping, and with a remedy where
    it is plain.
    """
    if isinstance(value, dict | list | tuple):
        if words not in _BY_TYPE.values():
            return words
        kind = "mapping" if isinstance(value, dict) else "list"
        return f"{words}, not a {kind}"
    hint = ""
    is_scalar = isinstance(value, str | int | float) and not isinstance(value, bool)
    if words in (_WHOLE, _NUMBER) and _is_number(value):
        hint = " (it is text; take the quotes away)"
    elif words == _LIST and is_scalar:
        hint = f" (write [{json.dumps(value)}])"
    return f"{words}, not {quoted(value)}{hint}"


def unknown_key(key: str, known: Collection[str]) -> str:
    """What is said of a key that is none of the known ones."""
    if not known:
        return "unknown key"
    # One guess, or none: a list of guesses would leave the choice where it was.
    near = difflib.get_close_matches(key, known, n=1)
    if near:
        return f"unknown key (did you mean {near[0]}?)"
    names = ", ".join(sorted(known))
    return f"unknown key (the known ones are {names})"


def _length(least: int | None, most: int | None, value: Any) -> str:
    """The clause of a list that is too short or too long."""
    count = len(value)
    limit = f"at most {most}"
    if least is not None and count < least:
        limit = f"at least {least}"
    return f"{limit} entries are needed, not {count}"


def of_types(fault: Mapping[str, Any]) -> str:
    """The clause of a fault that pydantic found; unknown keys aside."""
    kind = fault["type"]
    value = fault.get("input")
    context = fault.get("ctx", {})
    if kind in ("too_short", "too_long") and isinstance(value, list | tuple):
        return _length(context.get("min_length"), context.get("max_length"), value)
    # The values were valid JSON but for halves of characters.
    if kind == "json_invalid":
        return "a text among the values is not UTF-8; write it as UTF-8"
    # Both libraries word these in their own way; the same fault is to read the same.
    if kind in _BY_FAULT:
        return _refused(_BY_FAULT[kind], value)
    # Clauses begin after a path and a colon, so with a small letter.
    text = fault["msg"].removeprefix("Value error, ")
    clause = f"{text[0].lower()}{text[1:]}"
    return _refused(clause, value)


def of_schema(error: Any) -> str:
    """The clause of a fault that jsonschema found; unknown keys aside."""
    kind, bound, value = error.validator, error.validator_value, error.instance
    if kind == "type":
        types = [bound] if isinstance(bound, str) else bound
        # A setting that may be null is asked for by its other type.
        return _refused(_BY_TYPE[types[0]], value)
    if kind in _BOUNDS:
        return _refused(f"{_BOUNDS[kind]} {bound}", value)
    if kind == "enum":
        *choices, last = [repr(choice) for choice in bound]
        words = f"input should be {last}"
        if choices:
            words = f"input should be {', '.join(choices)} or {last}"
        return _refused(words, value)
    if kind == "const":
        return _refused(f"input should be {bound!r}", value)
    if kind in ("minItems", "maxItems"):
        return _length(error.schema.get("minItems"), error.schema.get("maxItems"), value)
    if kind == "pattern":
        return _refused(f"string should match pattern {bound!r}", value)
    return str(error.message)
