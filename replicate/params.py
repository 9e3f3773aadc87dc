"""The parameters of a run: types, defaults with their sources, and sentences for what is wrong.

These types are the one source of `workflow/schema/params.schema.json`, which Snakemake and editors use.
A model's own parameters are typed in its file (`replicate/models/`), a data set's in its (`replicate/datasets/`).
"""

import itertools
import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from replicate.document import dotted, read_json_text, read_yaml
from replicate.errors import ReplicateError
from replicate.wording import joined, of_types, quoted, unknown_key

RELEASED = "goodfeli/adversarial@1720041"
OURS = "not in the paper: our choice"
#: Source of a recipe that was chosen by validation images (docs/protocol.md, section 2).
TUNED = "ours: the best of eight trials (tuning/digits.yaml)"
#: Seeds of one block. They are trained side by side in memory, so that thousands are a slip of the pen; a run may have
#: any number of blocks.
MAX_BLOCK = 1000

#: No number of a run lies beyond it. As a count (epochs, updates, images, units) it would take years or terabytes; as a
#: rate, a width or a factor its square already uses up half of float32's exponents.
LARGEST = 10**9
#: A rate, a width or a factor that must be above 0 and is below this changes no float32 number of the size of 1e-5.
SMALLEST = 1e-12

T = TypeVar("T", bound=BaseModel)


def setting(default: Any, description: str, source: str, **constraints: Any) -> Any:
    """A parameter with its default, its meaning and where the default comes from."""
    return Field(default, description=description, json_schema_extra={"source": source}, **constraints)


class Section(BaseModel):
    """A group of parameters: unknown keys, wrong types, NaN and infinities are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Settings(Section):
    """Settings of a run: numbers stay in reach, also where they have no bounds of their own."""

    @field_validator("*")
    @classmethod
    def _in_reach(cls, value: Any, info: ValidationInfo) -> Any:
        bounds = cls.model_fields[str(info.field_name)].metadata
        above_zero = any(getattr(bound, "gt", None) == 0 for bound in bounds)
        for number in _numbers(value):
            if isinstance(number, float) and above_zero and number < SMALLEST:
                raise ValueError(f"input should be greater than or equal to {SMALLEST}")
            if not any(hasattr(bound, "le") or hasattr(bound, "lt") for bound in bounds) and number > LARGEST:
                raise ValueError(f"input should be less than or equal to {LARGEST}")
            if number < -LARGEST:
                raise ValueError(f"input should be greater than or equal to {-LARGEST}")
        return value


def _numbers(value: Any) -> list[int | float]:
    """The numbers in a value: itself, or those of a list."""
    if isinstance(value, tuple | list):
        return [number for entry in value for number in _numbers(entry)]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []


def _ends_of(block: str) -> tuple[int, int]:
    """The first and the last seed of a block; ValueError as `seeds_of`."""
    match = re.fullmatch(r"([0-9]{1,9})(?:-([0-9]{1,9}))?", block)
    if match is None:
        dash = " (the dash is a hyphen)" if re.search(r"[\u2010-\u2015\u2212]", block) else ""
        raise ValueError(f'a block of seeds is written as "7" or "0-2", not {quoted(block)}{dash}')
    first, last = int(match[1]), int(match[2] or match[1])
    if last < first:
        raise ValueError(f"the block {block!r} runs backwards")
    if last - first >= MAX_BLOCK:
        raise ValueError(
            f"the block {block!r} has {last - first + 1} seeds, which are trained side by side in memory; "
            f"write blocks of at most {MAX_BLOCK}"
        )
    return first, last


def seeds_of(block: str) -> tuple[int, ...]:
    """The seeds of a block: `"0-2"` is (0, 1, 2), `"7"` is (7,).

    Raises ValueError if the text is neither a seed nor an ascending range of at most `MAX_BLOCK`.
    """
    first, last = _ends_of(block)
    return tuple(range(first, last + 1))


def _distinct_seeds(blocks: tuple[str, ...]) -> tuple[str, ...]:
    ends = sorted(_ends_of(block) for block in blocks)
    for (_, last), (first, _) in itertools.pairwise(ends):
        if first <= last:
            raise ValueError(f"seed {first} stands in more than one block")
    return blocks


def _ascending(values: tuple[float, ...]) -> tuple[float, ...]:
    if list(values) != sorted(set(values)):
        raise ValueError("the bandwidths must be distinct and in ascending order")
    return values


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _empty_if_none(value: Any) -> Any:
    return {} if value is None else value


Block = Annotated[str, BeforeValidator(_as_text)]
Options = Annotated[dict[str, Any], BeforeValidator(_empty_if_none)]


#: A bandwidth in pixel values. Below 1e-4 a window holds no sample but its own, whatever the images; above 1e4 it is
#: flat over every value range. Far outside, float32 has neither 1 / sigma^2 nor the exponents.
Sigma = Annotated[float, Field(ge=1e-4, le=1e4)]


Precision = Literal["float32", "bfloat16"]


class Compute(Settings):
    """Where the numbers are computed. Recorded in every result; bits are the same only for the same choice."""

    device: Literal["auto", "cpu", "cuda"] = setting(
        "auto", "auto takes a CUDA GPU where there is one, else the CPU", OURS
    )
    threads: int = setting(
        1,
        "CPU threads of one job; part of what decides the last bits, so never taken from --cores",
        OURS,
        ge=1,
        le=1024,
    )
    precision: Precision = setting(
        "float32",
        "of the factors of matrix products while models train, on a CPU; sums, weights and evaluation stay float32",
        OURS,
    )


class Likelihood(Settings):
    """The Parzen-window protocol (paper section 5; released `parzen_ll.py`)."""

    samples: int = setting(
        10_000, "generated images that the window is fitted to", f"{RELEASED} parzen_ll.py --num_samples", ge=2
    )
    draws: int = setting(2, "independent sets of samples per seed, for the spread over sample draws", OURS, ge=1)
    sigmas: Annotated[tuple[Sigma, ...], AfterValidator(_ascending)] = setting(
        tuple(round(10 ** (-1 + k / 9), 12) for k in range(10)),
        "bandwidths tried on validation images, ascending",
        f"{RELEASED} parzen_ll.py: logspace(-1, 0, 10)",
        min_length=1,
    )
    validation_limit: int = setting(
        1000,
        "the first images of the validation set that choose the bandwidth",
        f"{RELEASED} parzen_ll.py --limit",
        ge=2,
    )


class Selection(Settings):
    """How the epoch is chosen (docs/protocol.md): highest validation log-likelihood, ties to the earliest.

    The released recipe names no stopping epoch, so this rule is ours, fixed before the runs.
    """

    every: int = setting(10, "epochs between two looks at the validation log-likelihood", OURS, ge=1)
    samples: int = setting(10_000, "generated images for each look", OURS, ge=2)


class Params(Section):
    """A whole run: which data sets, which models on them, which seeds, and the protocol's settings."""

    _where: str = PrivateAttr("parameters")

    preset: str = setting("custom", "the name that the report shows for this run", OURS, pattern=r"^[\w.-]{1,40}$")
    seeds: Annotated[tuple[Block, ...], AfterValidator(_distinct_seeds)] = setting(
        ("0-2",),
        "blocks of seeds; a block is trained together in one job and never changes members: "
        'add seeds as new blocks ("3" or "3-9")',
        "the paper reports one run; 10 seeds are the protocol's (docs/protocol.md)",
        min_length=1,
    )
    compute: Compute = Compute()
    likelihood: Likelihood = Likelihood()
    selection: Selection = Selection()
    datasets: dict[str, Options] = setting({}, "data sets of the run, each with its own options", OURS)
    models: dict[str, dict[str, Options]] = setting(
        {}, "models of the run: model -> data set -> changes to that model's recipe for that data set", OURS
    )

    samplers: dict[str, dict[str, Options]] = setting(
        {}, "samplers of Markov chains that are compared: model -> data set -> which, from the same weights", OURS
    )

    experiments: dict[str, Options] = setting(
        {}, "experiments of the run, each with changes to its settings: what the paper states beside Table 1", OURS
    )

    @property
    def where(self) -> str:
        """What messages call the parameters: their file, or what they came from."""
        return self._where

    @property
    def runs(self) -> list[tuple[str, str, str]]:
        """Every training job as (data set, model, block of seeds), in the file's order."""
        return [
            (dataset, model, block)
            for model, recipes in self.models.items()
            for dataset in recipes
            for block in self.seeds
        ]

    @classmethod
    def parse(cls, raw: Any, where: str) -> Self:
        """Validates a parsed document; every fault is named with its path in `where`."""
        params = checked(cls, mapping_of(raw, where), where)
        params._where = where
        _check_seeds(params, where)
        for model, recipes in params.models.items():
            for dataset in recipes:
                if dataset not in params.datasets:
                    raise ReplicateError(
                        f"{where}: models.{model}.{dataset}: the data set {dataset!r} is not among `datasets` of "
                        "this run; add it there or remove it here."
                    )
        return params


def _check_seeds(params: Params, where: str) -> None:
    """Refuses seeds of an experiment that are no block; its other settings are its module's to check."""
    for name, options in params.experiments.items():
        seeds = _as_text(options.get("seeds"))
        if not isinstance(seeds, str):
            continue
        try:
            _ends_of(seeds)
        except ValueError as error:
            raise ReplicateError(f"{where}: experiments.{name}.seeds: {error}.") from None


def _fields(kind: Any, path: Sequence[str | int]) -> Collection[str]:
    """The names of the settings at `path` below the type `kind`; none where it is no group of settings."""
    for part in path:
        fields = getattr(kind, "model_fields", {})
        if part in fields:
            kind = fields[part].annotation
        else:  # a place in a list, or a name in a mapping
            kind = next((inner for inner in get_args(kind) if hasattr(inner, "model_fields")), None)
    return getattr(kind, "model_fields", {}).keys()


def _sentence(error: Mapping[str, Any], kind: type[BaseModel], prefix: str) -> str:
    place = error["loc"]
    below = dotted(place)
    path = f"{prefix}{'' if below.startswith('[') else '.'}{below}" if prefix and below else prefix or below
    if error["type"] == "extra_forbidden":
        return f"{path}: {unknown_key(str(place[-1]), _fields(kind, place[:-1]))}"
    return f"{path}: {of_types(error)}" if path else of_types(error)


def mapping_of(raw: Any, where: str) -> Mapping[str, Any]:
    """The document `raw`, which must be a mapping."""
    if not isinstance(raw, Mapping):
        raise ReplicateError(f"{where}: the parameters must be a mapping of names to values.")
    return raw


def _plain(section: Section) -> dict[str, Any]:
    """A group of settings inside a recipe, which is Python, as JSON would have it."""
    return section.model_dump(mode="json")


def checked(kind: type[T], raw: Mapping[str, Any], where: str, prefix: str = "") -> T:
    """`kind` built from `raw`; faults become one `ReplicateError` that names each path below `prefix`.

    The values are taken as JSON has them: a list will do for a tuple, text is never a number, and 4.0 no whole one.
    """
    text = json.dumps(dict(raw), default=_plain)
    try:
        return kind.model_validate_json(text, strict=True)
    except ValidationError as error:
        faults = [_sentence(fault, kind, prefix) for fault in _own_faults(error)]
        raise ReplicateError(f"{where}: {joined(faults)}.") from None


def _own_faults(error: ValidationError) -> list[Any]:
    """The faults without those that only follow: a list is not too short because an entry of it is wrong."""
    faults = error.errors()

    def follows(fault: Any) -> bool:
        place = fault["loc"]
        below = any(len(other["loc"]) > len(place) and other["loc"][: len(place)] == place for other in faults)
        return fault["type"] in ("too_short", "too_long") and below

    return [fault for fault in faults if not follows(fault)]


def read_document(text_or_path: str) -> tuple[Any, str]:
    """The values of a YAML file, or of an inline JSON object, with the name to use in messages."""
    if text_or_path.lstrip().startswith("{"):
        return read_json_text(text_or_path, "parameters"), "parameters"
    return read_yaml(Path(text_or_path)), text_or_path


def load_params(text_or_path: str) -> Params:
    """Parameters from a YAML file, or from an inline JSON object as the workflow passes them."""
    raw, where = read_document(text_or_path)
    return Params.parse(raw, where)


def training_parameters(params: Params, config: BaseModel, dataset: str, model: str, block: str) -> dict[str, Any]:
    """Everything of the parameters that decides a training job: what its result records, defaults filled in."""
    return {
        "dataset": dataset, "model": model, "block": block, "config": config.model_dump(mode="json"),
        "compute": params.compute.model_dump(mode="json"), "selection": params.selection.model_dump(mode="json"),
        "sigmas": list(params.likelihood.sigmas), "validation_limit": params.likelihood.validation_limit,
    }  # fmt: skip
