"""The parameters of a run: types, defaults with their sources, and sentences for what is wrong.

These types are the one source of `workflow/schema/params.schema.json`, which Snakemake and editors
use. A model's own parameters are typed in its file (`replicate/models/`), a data set's in its
(`replicate/datasets/`).
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

from replicate.errors import ReplicateError
from replicate.storage.documents import dotted, read_json_text, read_yaml
from replicate.wording import joined, of_types, quoted, unknown_key

RELEASED = "goodfeli/adversarial@1720041"
OURS = "not in the paper: our choice"
#: Source of a recipe that was chosen by validation images (docs/protocol.md, section 2).
TUNED = "ours: the best of eight trials (tuning/digits.yaml)"
_WU = "Wu et al. 2017"
_MURRAY = "Salakhutdinov & Murray 2008: 100"
#: Seeds of one block. They are trained side by side in memory, so that thousands are a slip of the
#: pen; a run may have any number of blocks.
MAX_BLOCK = 1000

#: No number of a run lies beyond it. As a count (epochs, updates, images, units) it would take
#: years or terabytes; as a rate, a width or a factor its square already uses up half of float32's
#: exponents.
LARGEST = 10**9
#: A rate, a width or a factor that must be above 0 and is below this changes no float32 number of
#: the size of 1e-5.
SMALLEST = 1e-12

T = TypeVar("T", bound=BaseModel)


def setting(default: Any, description: str, source: str, **constraints: Any) -> Any:
    """A parameter with its default, its meaning and where the default comes from."""
    return Field(
        default, description=description, json_schema_extra={"source": source}, **constraints
    )


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
        has_limit = any(hasattr(bound, "le") or hasattr(bound, "lt") for bound in bounds)
        for number in _numbers(value):
            if isinstance(number, float) and above_zero and number < SMALLEST:
                raise ValueError(f"input should be greater than or equal to {SMALLEST}")
            if not has_limit and number > LARGEST:
                raise ValueError(f"input should be less than or equal to {LARGEST}")
            if number < -LARGEST:
                raise ValueError(f"input should be greater than or equal to {-LARGEST}")
        return value


def _numbers(value: Any) -> list[int | float]:
    """The numbers in a value: itself, or those of a list."""
    if isinstance(value, tuple | list):
        numbers = []
        for entry in value:
            numbers += _numbers(entry)
        return numbers
    # A truth value is an integer for Python.
    if isinstance(value, int | float) and not isinstance(value, bool):
        return [value]
    return []


def _ends_of(block: str) -> tuple[int, int]:
    """The first and the last seed of a block; ValueError as `seeds_of`."""
    match = re.fullmatch(r"([0-9]{1,9})(?:-([0-9]{1,9}))?", block)
    if match is None:
        hint = ""
        # Text editors like to make a longer dash of a hyphen, which looks nearly the same.
        if re.search(r"[\u2010-\u2015\u2212]", block):
            hint = " (the dash is a hyphen)"
        raise ValueError(f'a block of seeds is written as "7" or "0-2", not {quoted(block)}{hint}')
    first = int(match[1])
    last = int(match[2] or match[1])
    count = last - first + 1
    if count < 1:
        raise ValueError(f"the block {block!r} runs backwards")
    if count > MAX_BLOCK:
        raise ValueError(
            f"the block {block!r} has {count} seeds, which are trained side by side "
            "in memory; "
            f"write blocks of at most {MAX_BLOCK}"
        )
    return first, last


def seeds_of(block: str) -> tuple[int, ...]:
    """The seeds of a block: `"0-2"` is (0, 1, 2), `"7"` is (7,).

    Raises ValueError if the text is neither a seed nor an ascending range of at most `MAX_BLOCK`.
    """
    first, last = _ends_of(block)
    seeds = range(first, last + 1)
    return tuple(seeds)


def _distinct_seeds(blocks: tuple[str, ...]) -> tuple[str, ...]:
    # In ascending order two blocks that overlap are neighbours.
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
    """A seed without quotes, which YAML reads as a number, as text; anything else as it is."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value


def _empty_if_none(value: Any) -> Any:
    """A section whose name stands there alone, which YAML reads as null, as an empty one."""
    if value is None:
        return {}
    return value


Block = Annotated[str, BeforeValidator(_as_text)]
Options = Annotated[dict[str, Any], BeforeValidator(_empty_if_none)]


#: A bandwidth in pixel values. Below 1e-4 a window holds no sample but its own, whatever the
#: images; above 1e4 it is flat over every value range. Far outside, float32 has neither 1 / sigma^2
#: nor the exponents.
Sigma = Annotated[float, Field(ge=1e-4, le=1e4)]


Precision = Literal["float32", "bfloat16"]


class Compute(Settings):
    """Where the numbers are computed. Recorded in every result; bits are the same only for the same
    choice.
    """

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
        "of the factors of matrix products while models train, on a CPU; sums, weights and "
        "evaluation stay float32",
        OURS,
    )


class Likelihood(Settings):
    """The Parzen-window protocol (paper section 5; released `parzen_ll.py`)."""

    samples: int = setting(
        10_000,
        "generated images that the window is fitted to",
        f"{RELEASED} parzen_ll.py --num_samples",
        ge=2,
    )
    draws: int = setting(
        2, "independent sets of samples per seed, for the spread over sample draws", OURS, ge=1
    )
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
    """How the epoch is chosen (docs/protocol.md): highest validation log-likelihood, ties to the
    earliest.

    The released recipe names no stopping epoch, so this rule is ours, fixed before the runs.
    """

    every: int = setting(
        10, "epochs between two looks at the validation log-likelihood", OURS, ge=1
    )
    samples: int = setting(10_000, "generated images for each look", OURS, ge=2)


class AnnealingSettings(Settings):
    """Annealed importance sampling of the likelihood of decoders (Wu et al. 2017)."""

    images: int = setting(100, "test images", "ours; Wu et al. 2017: 1,000", ge=1)
    validation: int = setting(20, "validation images that choose the width", OURS, ge=1)
    simulated: int = setting(
        10, "images of the model's own, for the gap of both bounds", OURS, ge=1
    )
    chains: int = setting(16, "chains of an image", _WU, ge=1)
    temperatures: int = setting(
        1000, "transitions of a chain", "ours; Wu et al. 2017: 10,000", ge=2
    )
    leapfrogs: int = setting(10, "steps of a transition", _WU, ge=1)
    sigmas: Annotated[tuple[Sigma, ...], AfterValidator(_ascending)] = setting(
        (0.05, 0.075, 0.1, 0.125, 0.15, 0.175, 0.2, 0.25, 0.3, 0.4),
        "widths of p(x | z) tried on validation images, ascending",
        OURS,
        min_length=1,
    )


class MeasureSettings(Settings):
    """The measures beside the paper's own, on the same samples (docs/measures.md)."""

    images: int = setting(
        10_000,
        "samples, and as many test images, that are compared; at most as many as there are",
        "Kynkäänniemi et al. 2019 and Naeem et al. 2020: 50,000 and 10,000",
        ge=2,
    )
    resamples: int = setting(1000, "bootstrap samples of the intervals over images", OURS, ge=2)
    classifier_updates: int = setting(
        1000, "updates of the classifier that is to tell samples from images", OURS, ge=1
    )
    many_samples: int = setting(
        1_000_000,
        "samples of the second Parzen estimate, of models with a latent code; 0: none",
        "ours; published columns have 10,000,000",
        ge=0,
    )
    annealing: AnnealingSettings | None = setting(
        AnnealingSettings(), "of the likelihood of decoders; null: none", OURS
    )
    partition_chains: int = setting(
        100, "chains that estimate the partition function of a Boltzmann machine", _MURRAY, ge=2
    )
    partition_temperatures: int = setting(
        10_000, "their temperatures; 0: none", "Salakhutdinov & Murray 2008: 14,500", ge=0
    )


class Params(Section):
    """A whole run: which data sets, which models on them, which seeds, and the protocol's
    settings.
    """

    _where: str = PrivateAttr("parameters")

    preset: str = setting(
        "custom", "the name that the report shows for this run", OURS, pattern=r"^[\w.-]{1,40}$"
    )
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
    measures: MeasureSettings = MeasureSettings()
    datasets: dict[str, Options] = setting(
        {}, "data sets of the run, each with its own options", OURS
    )
    models: dict[str, dict[str, Options]] = setting(
        {},
        "models of the run: model -> data set -> changes to that model's recipe for that data set",
        OURS,
    )

    samplers: dict[str, dict[str, Options]] = setting(
        {},
        "samplers of Markov chains that are compared: model -> data set -> which, from the same "
        "weights",
        OURS,
    )

    experiments: dict[str, Options] = setting(
        {},
        "experiments of the run, each with changes to its settings: what the paper states beside "
        "Table 1",
        OURS,
    )

    @property
    def where(self) -> str:
        """What messages call the parameters: their file, or what they came from."""
        return self._where

    @property
    def runs(self) -> list[tuple[str, str, str]]:
        """Every training job as (data set, model, block of seeds), in the file's order."""
        runs = []
        for model, recipes in self.models.items():
            for dataset in recipes:
                runs += [(dataset, model, block) for block in self.seeds]
        return runs

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
                        f"{where}: models.{model}.{dataset}: the data set {dataset!r} is not "
                        "among `datasets` of "
                        "this run; add it there or remove it here."
                    )
        return params


def _check_seeds(params: Params, where: str) -> None:
    """Refuses seeds of an experiment that are no block; its other settings are its module's to
    check.
    """
    for name, options in params.experiments.items():
        seeds = _as_text(options.get("seeds"))
        if not isinstance(seeds, str):
            continue
        try:
            _ends_of(seeds)
        except ValueError as error:
            raise ReplicateError(f"{where}: experiments.{name}.seeds: {error}.") from None


def _fields(kind: Any, path: Sequence[str | int]) -> Collection[str]:
    """The names of the settings at `path` below the type `kind`; none where it is no group of
    settings.
    """
    for step in path:
        fields = getattr(kind, "model_fields", {})
        if step in fields:
            kind = fields[step].annotation
        else:
            # An index of a list, or a name in a mapping: what lies there is of the inner type.
            inner_types = [inner for inner in get_args(kind) if hasattr(inner, "model_fields")]
            kind = inner_types[0] if inner_types else None
    return getattr(kind, "model_fields", {}).keys()


def _sentence(error: Mapping[str, Any], kind: type[BaseModel], prefix: str) -> str:
    """A fault with its path."""
    location = error["loc"]
    path = _below(prefix, dotted(location))
    if error["type"] == "extra_forbidden":
        *group, key = location
        known = _fields(kind, group)
        return f"{path}: {unknown_key(str(key), known)}"
    if not path:
        return of_types(error)
    return f"{path}: {of_types(error)}"


def _below(prefix: str, path: str) -> str:
    """A path below a prefix; either may be empty."""
    if not prefix or not path or path.startswith("["):
        return prefix + path
    return f"{prefix}.{path}"


def mapping_of(raw: Any, where: str) -> Mapping[str, Any]:
    """The document `raw`, which must be a mapping."""
    if not isinstance(raw, Mapping):
        raise ReplicateError(f"{where}: the parameters must be a mapping of names to values.")
    return raw


def _plain(section: Section) -> dict[str, Any]:
    """A group of settings inside a recipe, which is Python, as JSON would have it."""
    return section.model_dump(mode="json")


def checked(kind: type[T], raw: Mapping[str, Any], where: str, prefix: str = "") -> T:
    """`kind` built from `raw`; faults become one `ReplicateError` that names each path below
    `prefix`.

    The values are taken as JSON has them: a list will do for a tuple, text is never a number, and
    4.0 no whole one.
    """
    text = json.dumps(dict(raw), default=_plain)
    try:
        return kind.model_validate_json(text, strict=True)
    except ValidationError as error:
        faults = [_sentence(fault, kind, prefix) for fault in _own_faults(error)]
        raise ReplicateError(f"{where}: {joined(faults)}.") from None


def _own_faults(error: ValidationError) -> list[Any]:
    """The faults without those that only follow: a list is not too short because an entry of it is
    wrong.
    """
    faults = error.errors()
    own = []
    for fault in faults:
        # pydantic drops an entry that is wrong, and then finds the list too short.
        is_of_length = fault["type"] in ("too_short", "too_long")
        if not is_of_length or not _has_fault_below(fault["loc"], faults):
            own.append(fault)
    return own


def _has_fault_below(location: tuple[int | str, ...], faults: Sequence[Any]) -> bool:
    """Whether some fault lies deeper in what a location leads to."""
    depth = len(location)
    for fault in faults:
        path = fault["loc"]
        if len(path) > depth and path[:depth] == location:
            return True
    return False


def read_document(text_or_path: str) -> tuple[Any, str]:
    """The values of a YAML file, or of an inline JSON object, with the name to use in messages."""
    if text_or_path.lstrip().startswith("{"):
        document = read_json_text(text_or_path, "parameters")
        return document, "parameters"
    document = read_yaml(Path(text_or_path))
    return document, text_or_path


def load_params(text_or_path: str) -> Params:
    """Parameters from a YAML file, or from an inline JSON object as the workflow passes them."""
    raw, where = read_document(text_or_path)
    return Params.parse(raw, where)
