"""The JSON schema of the parameter file: built from the types, read by Snakemake and by editors."""

import functools
import json
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from replicate import datasets, experiments, models
from replicate.errors import ReplicateError
from replicate.models.parts.samplers import Compared
from replicate.params import LARGEST, SMALLEST, Params
from replicate.storage.documents import dotted
from replicate.storage.files import canonical_json
from replicate.storage.paths import package_root
from replicate.wording import of_schema, unknown_key

if TYPE_CHECKING:  # it loads torch, which `--help` can do without
    from replicate.models.base import GenerativeModel

#: A JSON schema, or a part of one, as JSON has it.
Schema = dict[str, Any]
NULLABLE = ["object", "null"]
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema_path() -> Path:
    """The committed schema."""
    return package_root() / "workflow" / "schema" / "params.schema.json"


def _with_recipe(
    definition: Schema, recipe: BaseModel, source: str, changed: Collection[str]
) -> Schema:
    """A model's options with the defaults that hold for one data set.

    Args:
        definition: of the model's options.
        recipe: the model's settings on the data set.
        source: of what the recipe changes.
        changed: names of these settings.
    """
    values = recipe.model_dump(mode="json")
    properties = {}
    for name, entry in definition["properties"].items():
        with_default = entry | {"default": values[name]}
        # Of the other settings the source is that of the model's own default.
        if name in changed:
            with_default["source"] = source
        properties[name] = with_default
    return {**definition, "type": NULLABLE, "properties": properties}


def _bound(node: object) -> None:
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
        # What stands there are values of settings and no schemas, whatever they look like.
        if name not in ("default", "enum", "const"):
            _bound(entry)


def _closed(description: str, entries: Mapping[str, Schema]) -> Schema:
    """The schema of a mapping that has no other names than these."""
    return {
        "type": "object",
        "description": description,
        "additionalProperties": False,
        "properties": dict(entries),
    }


class _Definitions:
    """The schemas of types, which may refer to each other."""

    def __init__(self, kinds: Sequence[type[BaseModel]]) -> None:
        modes: list[tuple[type[BaseModel], Literal["validation"]]]
        modes = [(kind, "validation") for kind in kinds]
        references, shared = models_json_schema(modes)
        self._references = references
        self.by_name: dict[str, Schema] = shared["$defs"]

    def of(self, kind: type[BaseModel]) -> Schema:
        """The schema of a type."""
        schema = self._references[kind, "validation"]
        reference: str = schema["$ref"]
        name = reference.removeprefix("#/$defs/")
        return self.by_name[name]

    def nullable(self, kind: type[BaseModel]) -> Schema:
        """The schema of a section that may be left empty."""
        return {**self.of(kind), "type": NULLABLE}

    def used_by(self, properties: Schema) -> dict[str, Schema]:
        """The schemas that others refer to by name, and those that these refer to."""
        used: dict[str, Schema] = {}
        text = json.dumps(properties)
        while True:
            new: dict[str, Schema] = {}
            for name, schema in self.by_name.items():
                # With its quotation marks, since one name may be the beginning of another.
                reference = f'"#/$defs/{name}"'
                if name not in used and reference in text:
                    new[name] = schema
            if not new:
                return used
            # Only the new ones are searched next: what older ones refer to is known.
            used |= new
            text = json.dumps(new)


def build_schema() -> str:
    """The schema of a whole parameter file as canonical JSON, every registered model and data set
    included.
    """
    model_kinds = {name: models.load_model(name) for name in models.REGISTRY}
    sets = {name: datasets.load_dataset(name) for name in datasets.REGISTRY}
    studies = {name: experiments.load_experiment(name) for name in experiments.REGISTRY}
    configs: list[type[BaseModel]] = [Params, Compared]
    configs += [kind.Config for kind in model_kinds.values()]
    configs += [dataset.Config for dataset in sets.values()]
    configs += [study.Config for study in studies.values()]
    definitions = _Definitions(configs)

    top = definitions.of(Params)
    properties = dict(top["properties"])

    def close(section: str, entries: Mapping[str, Schema]) -> None:
        description = properties[section]["description"]
        properties[section] = _closed(description, entries)

    # YAML reads a block of one seed as a number.
    properties["seeds"] = {**properties["seeds"], "items": {"type": ["string", "integer"]}}
    close("datasets", {name: definitions.nullable(kind.Config) for name, kind in sets.items()})
    recipes = {}
    for name, kind in model_kinds.items():
        title = models.REGISTRY[name][0]
        recipes[name] = _recipes(title, kind, definitions)
    close("models", recipes)
    samplers = {}
    options = definitions.nullable(Compared)
    for name in sorted(models.CHAINS):
        title = models.REGISTRY[name][0]
        by_dataset = dict.fromkeys(sets, options)
        samplers[name] = _closed(f"{title}: data set -> which samplers", by_dataset)
    close("samplers", samplers)
    close(
        "experiments",
        {name: definitions.nullable(study.Config) for name, study in studies.items()},
    )
    closed = _closed(str(top["description"]), properties)
    _bound({"properties": properties, "$defs": definitions.by_name})
    # pydantic also names the models' configs, which have been written out above.
    used = definitions.used_by(properties)
    return canonical_json({"$schema": DIALECT, "title": "params.yaml", **closed, "$defs": used})


def _recipes(title: str, kind: "type[GenerativeModel]", definitions: _Definitions) -> Schema:
    """The options of a model for every data set."""
    entries = {}
    for dataset in datasets.REGISTRY:
        changes, source = kind.recipes.get(dataset, ({}, ""))
        changed = changes.keys()
        recipe = kind.config_for(dataset, {})
        definition = definitions.of(kind.Config)
        entries[dataset] = _with_recipe(definition, recipe, source, changed)
    return _closed(f"{title}: data set -> changes to its recipe", entries)


@functools.cache
# The file and not the types, which load torch: every command that plans a run asks for it.
def _committed() -> Schema:
    path = schema_path()
    try:
        text = path.read_text(encoding="utf-8")
        content: Schema = json.loads(text)
    except (OSError, ValueError) as error:
        raise ReplicateError(
            f"cannot read {path} ({error}); bring it back, or write it anew by "
            "`python -m replicate params --write-schema`."
        ) from None
    return content


# jsonschema types what it reports more loosely than it is: errors are `Any` here.
def _unknown_keys(error: Any) -> str:
    properties = error.schema.get("properties", {})
    known = list(properties)
    unknown = set(error.instance) - set(known)
    clauses = []
    for key in sorted(unknown):
        keys = [*error.absolute_path, key]
        path = dotted(keys)
        clause = unknown_key(key, known)
        clauses.append(f"{path}: {clause}")
    return "; ".join(clauses)


def _fault(error: Any) -> str:
    while error.context:  # the branch of an `anyOf` that came furthest
        error = max(error.context, key=lambda inner: len(inner.absolute_path))
    if error.validator == "additionalProperties":
        return _unknown_keys(error)
    path = dotted(error.absolute_path)
    clause = of_schema(error)
    return f"{path}: {clause}"


def model_defaults(model: str, dataset: str) -> Schema:
    """The settings of a model on a data set before any change, from the committed schema."""
    sections = _committed()["properties"]
    by_dataset = sections["models"]["properties"][model]["properties"]
    properties = by_dataset[dataset]["properties"]
    return {name: entry.get("default") for name, entry in properties.items()}


def filled(where: Sequence[str], given: object) -> Any:
    """What is given of a section, with the defaults where nothing is, and 1.0 as 1: equal settings
    are equal values.

    Args:
        where: names that lead to the section, such as `("models", "vae", "mnist")`.
        given: its values, valid; None as for an empty section.
    """
    node = _committed()
    for name in where:
        node = node["properties"][name]
    return _filled(node, {} if given is None else given)


def _filled(node: Schema, given: object) -> object:
    if "$ref" in node:
        name = node["$ref"].removeprefix("#/$defs/")
        node = _committed()["$defs"][name]
    if isinstance(given, Mapping):
        entries = node.get("properties", {})
        values = {name: entry["default"] for name, entry in entries.items() if "default" in entry}
        values |= given
        return {name: _filled(entries.get(name, {}), value) for name, value in values.items()}
    if isinstance(given, list | tuple):
        items = node.get("items", {})
        return [_filled(items, value) for value in given]
    # 1 and 1.0 are one setting, however it is written.
    if isinstance(given, float) and given.is_integer():
        return int(given)
    return given


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


def schema_faults(raw: Mapping[str, object]) -> list[str]:
    """What is wrong with a parsed parameter file, one clause per fault, each with its path; empty
    if nothing is.
    """
    # As JSON has them: the schema knows lists, and no tuples.
    plain = json.loads(json.dumps(raw))
    errors = _validator().iter_errors(plain)
    return [_fault(error) for error in errors if not _follows(error)]


def _follows(error: Any) -> bool:
    """Whether a number is also below a nearer bound, above 0, of which its own fault tells."""
    if error.validator != "minimum":
        return False
    nearer_bound = error.schema.get("exclusiveMinimum", -math.inf)
    return bool(error.instance <= nearer_bound)
