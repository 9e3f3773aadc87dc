"""The parameters of a run: types, defaults with their sources, and sentences for what is wrong.

These types are the one source of `workflow/schema/params.schema.json`, which Snakemake and editors use.
A model's own parameters are typed in its file (`replicate/models/`), a data set's in its (`replicate/datasets/`).
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from replicate.errors import ReplicateError

RELEASED = "goodfeli/adversarial@1720041"
OURS = "not in the paper: our choice"
#: Source of a recipe that was chosen by validation images (docs/protocol.md, section 2).
TUNED = "ours: the best of eight trials (tuning/digits.yaml)"

T = TypeVar("T", bound=BaseModel)


def setting(default: Any, description: str, source: str, **constraints: Any) -> Any:
    """A parameter with its default, its meaning and where the default comes from."""
    return Field(default, description=description, json_schema_extra={"source": source}, **constraints)


class Section(BaseModel):
    """A group of parameters: unknown keys, wrong types, NaN and infinities are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_value_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation in (int, float):
            raise ValueError("a number is needed")  # pydantic would take true as 1
        return value


def seeds_of(block: str) -> tuple[int, ...]:
    """The seeds of a block: `"0-2"` is (0, 1, 2), `"7"` is (7,).

    Raises ValueError if the text is neither a seed nor an ascending range.
    """
    match = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", block)
    if match is None:
        raise ValueError(f'a block of seeds is written as "7" or "0-2", not {block!r}')
    first, last = int(match[1]), int(match[2] or match[1])
    if last < first:
        raise ValueError(f"the block {block!r} runs backwards")
    return tuple(range(first, last + 1))


def _distinct_seeds(blocks: tuple[str, ...]) -> tuple[str, ...]:
    seeds = [seed for block in blocks for seed in seeds_of(block)]
    repeated = sorted({seed for seed in seeds if seeds.count(seed) > 1})
    if repeated:
        raise ValueError(f"seed {repeated[0]} stands in more than one block")
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


class Compute(Section):
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


class Likelihood(Section):
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


class Selection(Section):
    """How the epoch is chosen (docs/protocol.md): highest validation log-likelihood, ties to the earliest.

    The released recipe names no stopping epoch, so this rule is ours, fixed before the runs.
    """

    every: int = setting(10, "epochs between two looks at the validation log-likelihood", OURS, ge=1)
    samples: int = setting(10_000, "generated images for each look", OURS, ge=2)


class Params(Section):
    """A whole run: which data sets, which models on them, which seeds, and the protocol's settings."""

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

    experiments: dict[str, Options] = setting(
        {}, "experiments of the run, each with changes to its settings: what the paper states beside Table 1", OURS
    )

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
        if not isinstance(raw, Mapping):
            raise ReplicateError(f"{where}: the parameters must be a mapping of names to values.")
        params = checked(cls, raw, where)
        for model, recipes in params.models.items():
            for dataset in recipes:
                if dataset not in params.datasets:
                    raise ReplicateError(
                        f"{where}: models.{model}.{dataset}: the data set {dataset!r} is not among `datasets` of "
                        "this run; add it there or remove it here."
                    )
        return params


def _sentence(error: Mapping[str, Any], prefix: str) -> str:
    path = ".".join(str(part) for part in error["loc"])
    path = re.sub(r"\.(\d+)(?=\.|$)", r"[\1]", ".".join(part for part in (prefix, path) if part))
    if error["type"] == "extra_forbidden":
        return f"{path}: unknown key"
    text = error["msg"].removeprefix("Value error, ")
    value = error.get("input")
    shown = "" if isinstance(value, dict | list) else f", not {value!r}"
    return f"{path}: {text[0].lower()}{text[1:]}{shown}"


def checked(kind: type[T], raw: Mapping[str, Any], where: str, prefix: str = "") -> T:
    """`kind` built from `raw`; faults become one `ReplicateError` that names each path below `prefix`."""
    try:
        return kind.model_validate(dict(raw))
    except ValidationError as error:
        faults = "; ".join(_sentence(fault, prefix) for fault in error.errors())
        raise ReplicateError(f"{where}: {faults}.") from None


def read_document(text_or_path: str) -> tuple[Any, str]:
    """The parsed YAML of a file, or of an inline JSON object, with the name to use in messages."""
    if text_or_path.lstrip().startswith("{"):
        try:
            return json.loads(text_or_path), "parameters"
        except ValueError as error:
            raise ReplicateError(f"the inline parameters are not valid JSON: {error}.") from None
    path = Path(text_or_path)
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8")), str(path)
    except FileNotFoundError:
        raise ReplicateError(
            f"{path} does not exist; presets are in presets/, the run's own file is params.yaml."
        ) from None
    except OSError as error:
        raise ReplicateError(f"cannot read {path}: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = " ".join(str(error).split())
        raise ReplicateError(f"{path} is not valid YAML: {where}.") from None


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
