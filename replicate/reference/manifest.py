"""What a pack says of itself: its parts, its contents, and what they are of, each with its SHA-256."""

from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator

from replicate.errors import ReplicateError
from replicate.files import read_json
from replicate.params import Section

#: The file of a pack that names all others.
NAME = "reference.json"
#: Folders of a pack: kept results, weights by digest, and what belongs to blocks.
ROOTS = ("results", "weights", "blocks")

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Part = Annotated[str, Field(pattern=r"^reference-[0-9a-f]{12}\.tar\.\d{4}$")]


class Stored(Section):
    """A file: its name, its bytes, and their digest."""

    name: str
    size: int = Field(ge=0)
    sha256: Digest


class Part(Stored):
    """A part of the archive."""

    name: _Part


class Member(Stored):
    """A file in the archive, with its path there."""

    @field_validator("name")
    @classmethod
    def _stays_inside(cls, name: str) -> str:
        path = PurePosixPath(name)
        if path.as_posix() != name or path.is_absolute() or ".." in path.parts or path.parts[0] not in ROOTS:
            raise ValueError("a path of a pack leads out of it")
        return name


class Origin(Section):
    """The code of the checkout that made a pack, or that a block belongs to."""

    commit: str | None
    package: Digest


class PackedBlock(Section):
    """A block of a pack.

    Attributes:
        epochs: of its results; 0 where only its state is packed.
    """

    entry: str
    model: str
    dataset: str
    seeds: str
    epochs: int = Field(ge=0)
    origin: Origin


class Manifest(Section):
    """The whole pack.

    Attributes:
        source: the code of whoever made it, so that a copy of it without git knows its commit.
        entries: name -> parameters, of the plan that it was made by.
    """

    pack: Literal[1]
    source: Origin
    entries: dict[str, dict[str, Any]]
    blocks: tuple[PackedBlock, ...]
    members: tuple[Member, ...]
    parts: tuple[Part, ...]


def read_manifest(folder: Path) -> Manifest:
    """The manifest of the pack in a folder.

    Raises:
        ReplicateError: there is none, or it is damaged.
    """
    path = folder / NAME
    if not path.is_file():
        raise ReplicateError(f"{folder} holds no pack: there is no {NAME} in it.")
    try:
        return Manifest.model_validate(read_json(path))
    except (ValidationError, ReplicateError):
        raise ReplicateError(f"{path} is damaged, or is not a pack's; copy the pack here once more.") from None
