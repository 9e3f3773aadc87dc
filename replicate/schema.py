"""The JSON schema of the parameter file: built from the types, read by Snakemake and by editors."""

import functools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from replicate import datasets, experiments, models
from replicate.codedigest import package_root
from replicate.document import dotted
from replicate.files import canonical_json
from replicate.params import LARGEST, SMALLEST, Params
from replicate.sampling.settings import Compared
from replicate.wording import of_schema, unknown_key

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema_path() -> Path:
    """The committed schema."""
    return package_root() / "workflow" / "schema" / "params.schema.json"


def _with_recipe(definition: Mapping[str, Any], recipe: BaseModel, source: str, changed: set[str]) -> dict[str, Any]:
    """A model's options with the defaults, and their source, that hold for one data set."""
    values = recipe.model_dump(mode="json")
    properties = {
        name: {**entry, "default": values[name], **({"source": source} if name in changed else {})}
        for name, entry in definition["properties"].items()
    }
    return {**definition, "type": ["object", "null"], "properties": properties}


def _bound(node: Any) -> None:
    """Gives every number below a part of the schema the bounds that `Settings` holds it to."""
    if isinstance(node, list):
        for entry in node:
            _bound(entry)
    if not isinstance(node, dict):
        return
    if node.get("type") in ("integer", "number"):
        if not {"maximum", "exclusiveMaximum"} & node.keys():
            node["maximum"] = LARGEST
        if not {"minimum", "exclusiveMinimum"} & node.keys():
            node["minimum"] = -LARGEST
        if node["type"] == "number" and node.get("exclusiveMinimum") == 0:
            node["minimum"] = SMALLEST
    for name, entry in node.items():
        if name not in ("default", "enum", "const"):
            _bound(entry)


def _closed(description: str, entries: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "description": description, "additionalProperties": False, "properties": dict(entries)}


def build_schema() -> str:
    """The schema of a whole parameter file as canonical JSON, every registered model and data set included."""
    loaded = {name: models.load_model(name) for name in models.REGISTRY}
    sets = {name: datasets.load_dataset(name) for name in datasets.REGISTRY}
    measured = {name: experiments.load_experiment(name) for name in experiments.REGISTRY}
    kinds: list[type[BaseModel]] = [Params, *(m.Config for m in loaded.values()), *(d.Config for d in sets.values())]
    kinds += [Compared, *(experiment.Config for experiment in measured.values())]
    references, shared = models_json_schema([(kind, "validation") for kind in kinds])
    definitions = shared["$defs"]

    def definition(kind: type[BaseModel]) -> dict[str, Any]:
        reference: str = references[kind, "validation"]["$ref"]
        found: dict[str, Any] = definitions[reference.removeprefix("#/$defs/")]
        return found

    properties = dict(definition(Params)["properties"])
    # YAML reads a block of one seed as a number.
    properties["seeds"] = {**properties["seeds"], "items": {"type": ["string", "integer"]}}
    properties["datasets"] = _closed(
        properties["datasets"]["description"],
        {name: {**definition(one.Config), "type": ["object", "null"]} for name, one in sets.items()},
    )
    recipes = {}
    for name, model in loaded.items():
        entries = {}
        for dataset in sets:
            changes, source = model.recipes.get(dataset, ({}, ""))
            recipe = model.config_for(dataset, {})
            entries[dataset] = _with_recipe(definition(model.Config), recipe, source, set(changes))
        recipes[name] = _closed(f"{models.REGISTRY[name][0]}: data set -> changes to its recipe", entries)
    properties["models"] = _closed(properties["models"]["description"], recipes)
    options = {**definition(Compared), "type": ["object", "null"]}
    properties["samplers"] = _closed(
        properties["samplers"]["description"],
        {
            name: _closed(f"{models.REGISTRY[name][0]}: data set -> which samplers", dict.fromkeys(sets, options))
            for name in sorted(models.CHAINS)
        },
    )
    properties["experiments"] = _closed(
        properties["experiments"]["description"],
        {name: {**definition(one.Config), "type": ["object", "null"]} for name, one in measured.items()},
    )
    top = _closed(str(definition(Params)["description"]), properties)
    _bound({"properties": properties, "$defs": definitions})
    used = {name: entry for name, entry in definitions.items() if f'"#/$defs/{name}"' in json.dumps(properties)}
    return canonical_json({"$schema": DIALECT, "title": "params.yaml", **top, "$defs": used})


@functools.cache
def _committed() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(schema_path().read_text(encoding="utf-8"))
    return content


def _unknown_keys(error: Any) -> str:
    known = list(error.schema.get("properties", {}))
    unknown = sorted(set(error.instance) - set(known))
    return "; ".join(f"{dotted([*error.absolute_path, key])}: {unknown_key(key, known)}" for key in unknown)


def _fault(error: Any) -> str:
    while error.context:  # the branch of an `anyOf` that came furthest
        error = max(error.context, key=lambda inner: len(inner.absolute_path))
    if error.validator == "additionalProperties":
        return _unknown_keys(error)
    return f"{dotted(error.absolute_path)}: {of_schema(error)}"


def model_defaults(model: str, dataset: str) -> dict[str, Any]:
    """The settings of a model on a data set before any change, from the committed schema."""
    recipe = _committed()["properties"]["models"]["properties"][model]["properties"][dataset]
    return {name: entry.get("default") for name, entry in recipe["properties"].items()}


def filled(where: Sequence[str], given: Any) -> Any:
    """What is given of a section, with the defaults where nothing is, and 1.0 as 1: equal settings are equal values.

    Args:
        where: names that lead to the section, such as `("models", "vae", "mnist")`.
        given: its values, valid; None as for an empty section.
    """
    node = _committed()
    for name in where:
        node = node["properties"][name]
    return _filled(node, {} if given is None else given)


def _filled(node: Mapping[str, Any], given: Any) -> Any:
    if "$ref" in node:
        node = _committed()["$defs"][node["$ref"].removeprefix("#/$defs/")]
    if isinstance(given, Mapping):
        entries = node.get("properties", {})
        names = {**{name: entry["default"] for name, entry in entries.items() if "default" in entry}, **given}
        return {name: _filled(entries.get(name, {}), value) for name, value in names.items()}
    if isinstance(given, list | tuple):
        return [_filled(node.get("items", {}), value) for value in given]
    return int(given) if isinstance(given, float) and given.is_integer() else given


@functools.cache
def _validator() -> Any:
    """Of the committed schema; `4.0` is no whole number, as for the types."""
    from jsonschema import Draft202012Validator  # here, so that `--help` stays quick
    from jsonschema.validators import extend

    whole = Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    )
    kind = extend(Draft202012Validator, type_checker=whole)  # type: ignore[no-untyped-call]
    return kind(_committed())


def schema_faults(raw: Mapping[str, Any]) -> list[str]:
    """What is wrong with a parsed parameter file, one clause per fault, each with its path; empty if nothing is."""
    plain = json.loads(json.dumps(raw))
    return [_fault(error) for error in _validator().iter_errors(plain) if not _follows(error)]


def _follows(error: Any) -> bool:
    """Whether a number is also below a nearer bound, above 0, of which its own fault tells."""
    return bool(error.validator == "minimum" and error.instance <= error.schema.get("exclusiveMinimum", -math.inf))
