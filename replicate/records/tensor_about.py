"""The metadata `about` of weights and samples, checked before anything relies on it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError

from replicate.errors import ReplicateError
from replicate.records.schema import SamplesAbout, WeightsAbout
from replicate.storage.files import check_plain


class _Part(BaseModel):
    """A part of the metadata; what else stands there is that of another version."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


class _Failure(_Part):
    """Where and why a seed failed."""

    epoch: NonNegativeInt
    reason: str


class _Rounding(_Part):
    """What the rounding of exported weights does."""

    to: str
    largest_difference: float
    images: PositiveInt


class _Sampler(_Part):
    """How the chains ran that samples come from."""

    chains: PositiveInt
    burn_in: NonNegativeInt
    thinning: PositiveInt
    start: str
    pixels: str


class _About(_Part):
    """What weights and samples have in common."""

    dataset: str
    model: str
    block: str
    seeds: list[NonNegativeInt]
    failed: dict[str, _Failure]
    rounded: _Rounding | None = None


class _AboutWeights(_About):
    """Of a weights file: also what the model is built from."""

    shape: Annotated[list[PositiveInt], Field(min_length=3, max_length=3)]
    parameters: dict[str, Any]


class _AboutSamples(_About):
    """Of samples: also the shape of an image, and the chains that they come from."""

    # Samples that earlier versions wrote name neither shape nor parameters.
    shape: list[PositiveInt] | None = None
    parameters: dict[str, Any] = {}
    chains: PositiveInt | None
    sampler: _Sampler | None = None


def weights_about(path: Path, metadata: Mapping[str, str]) -> WeightsAbout:
    """The metadata `about` of a weights file, as it stands there.

    Raises:
        ReplicateError: there is none, or not what `train` or `export` writes.
    """
    about = _checked_about(_AboutWeights, path, metadata, "weights", "train")
    # What was validated is not returned: it lacks the fields that other versions added.
    return cast(WeightsAbout, about)


def about_one_seed(path: Path, about: WeightsAbout, seed: int) -> WeightsAbout:
    """What weights say of themselves, for one of their seeds alone.

    Args:
        path: of the weights, for messages.
        about: of all of their seeds.
        seed: one of them.

    Raises:
        ReplicateError: there is no such seed, or its training failed.
    """
    seeds = about["seeds"]
    if seed not in seeds:
        names = ", ".join(map(str, seeds))
        raise ReplicateError(f"{path} has no seed {seed}; its seeds are {names}.")
    failure = about["failed"].get(str(seed))
    if failure:
        raise ReplicateError(
            f"seed {seed} of {path} failed in epoch {failure['epoch']}; take another one."
        )
    # The failed seeds are others than this one, which would have been refused.
    return about | {"block": str(seed), "seeds": [seed], "failed": {}}


def samples_about(path: Path, metadata: Mapping[str, str]) -> SamplesAbout:
    """The metadata `about` of a file of samples, as it stands there.

    Raises:
        ReplicateError: there is none, or not what `sample` writes.
    """
    about = _checked_about(_AboutSamples, path, metadata, "samples", "sample")
    return cast(SamplesAbout, about)


def _checked_about(
    kind: type[_About],
    path: Path,
    metadata: Mapping[str, str],
    content: Literal["weights", "samples"],
    stage: str,
) -> object:
    try:
        about: object = json.loads(metadata["about"])
        # `json.loads` takes NaN and endless nesting, which no result holds.
        check_plain(about)
        seeds = kind.model_validate(about).seeds
        # Rows of tensors are found by the seed's place in this list.
        if not seeds or len(set(seeds)) != len(seeds):
            raise ValueError("its seeds are not distinct")
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(map(str, ("about", *first["loc"])))
        fault = f"{field}: {first['msg'].lower()}"
    except KeyError:
        fault = "it says nothing of a model"
    except (ValueError, RecursionError) as error:
        fault = str(error)
    else:
        return about
    remedy = f"run `{stage}` again"
    if content == "samples":
        remedy += ", or score samples of your own by `python -m replicate score`"
    raise ReplicateError(f"{path} is not a {content} file of this project ({fault}); {remedy}.")
