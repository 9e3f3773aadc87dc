"""The manifest of a pack: its parts, the files in them with their SHA-256, and their blocks."""

from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import Field, ValidationError, field_validator

from replicate.errors import ReplicateError
from replicate.params import Section
from replicate.reference_runs.plan import Options
from replicate.storage.files import read_json

#: The name of its file, beside the parts.
NAME = "reference.json"
#: Folders in the archive: committed results, weights by digest, and the work on blocks.
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
        parts = path.parts
        # A pack may come from anywhere: no name in it may lead to another place of the disk.
        is_inside = bool(parts) and parts[0] in ROOTS and ".." not in parts
        if not is_inside or path.as_posix() != name:
            raise ValueError("a path of a pack leads out of it")
        return name


class Origin(Section):
    """Code: its commit, None where it is unknown, and the SHA-256 of its modules."""

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
    """The content of `reference.json`.

    Attributes:
        source: the code that made the pack; a copy of that code without git learns its commit here.
        entries: name -> parameters, of the plan of that time.
    """

    pack: Literal[1]
    source: Origin
    entries: dict[str, Options]
    blocks: tuple[PackedBlock, ...]
    members: tuple[Member, ...]
    parts: tuple[Part, ...]


def read_manifest(folder: Path) -> Manifest:
    """Reads the manifest of the pack in a folder.

    Raises:
        ReplicateError: there is none, or it is damaged.
    """
    path = folder / NAME
    if not path.is_file():
        raise ReplicateError(f"{folder} holds no pack: there is no {NAME} in it.")
    try:
        return Manifest.model_validate(read_json(path))
    # One sentence for all faults: whatever is wrong with it, the remedy is another copy.
    except (ValidationError, ReplicateError):
        raise ReplicateError(
            f"{path} is damaged, or is not a pack's; copy the pack here once more."
        ) from None
