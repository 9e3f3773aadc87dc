"""What a tensor file says of its model, in its metadata `about`, checked before anything relies on it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError

from replicate.errors import ReplicateError
from replicate.files import check_plain


class Failed(BaseModel):
    """Where and why a seed failed."""

    model_config = ConfigDict(strict=True)
    epoch: NonNegativeInt
    reason: str


class Rounded(BaseModel):
    """What the rounding of exported weights does."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)
    to: str
    largest_difference: float
    images: PositiveInt


class About(BaseModel):
    """Of samples and of the weights that they were drawn with; what else stands there is kept."""

    model_config = ConfigDict(strict=True, extra="ignore")
    dataset: str
    model: str
    block: str
    seeds: list[NonNegativeInt]
    failed: dict[str, Failed]
    rounded: Rounded | None = None


class AboutWeights(About):
    """Of a weights file: also what the model is built from."""

    shape: Annotated[list[PositiveInt], Field(min_length=3, max_length=3)]
    parameters: dict[str, Any]


class AboutSamples(About):
    """Of samples: also the shape of an image, and the chains that they come from."""

    shape: list[PositiveInt] | None = None

    chains: PositiveInt | None


def read_about(kind: type[About], path: Path, metadata: Mapping[str, str], again: str) -> dict[str, Any]:
    """The metadata `about` of a tensor file, as it stands there.

    Args:
        kind: what is expected of it.
        path: of the file.
        metadata: of the file.
        again: the stage that makes it.

    Raises:
        ReplicateError: there is none, or not what the stage writes.
    """
    try:
        about: dict[str, Any] = json.loads(metadata["about"])
        check_plain(about)
        checked = kind.model_validate(about)
        if not checked.seeds or len(set(checked.seeds)) != len(checked.seeds):
            raise ValueError("its seeds are not distinct")
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        fault = f"{'.'.join(map(str, ('about', *first['loc'])))}: {first['msg'].lower()}"
    except KeyError:
        fault = "it says nothing of a model"
    except (ValueError, RecursionError) as error:
        fault = str(error)
    else:
        return about
    what = "weights" if kind is AboutWeights else "samples"
    raise ReplicateError(f"{path} is not a {what} file of this project ({fault}); run `{again}` again.")
