"""Packs what is finished into as few files as possible, none above a size.

A pack is one plain tar archive cut into parts, and `reference.json`, which names every part and
every file in them with its SHA-256. `cat reference-*.tar.* | tar x` unpacks it too. Packing the
same twice gives the same bytes.
"""

import hashlib
import io
import re
import sys
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from replicate.errors import ReplicateError
from replicate.reference_runs.blocks import Block, Folders, blocks_of
from replicate.reference_runs.keeping import WEIGHTS
from replicate.reference_runs.manifest import (
    NAME,
    Manifest,
    Member,
    Origin,
    PackedBlock,
    Part,
    read_manifest,
)
from replicate.reference_runs.plan import ReferencePlan
from replicate.reference_runs.sources import present, read_origin, source_of
from replicate.storage.files import (
    canonical_json,
    read_json,
    sha256_file,
    sha256_json,
    write_error,
    write_json,
)
from replicate.storage.filesystem import flush

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

#: The least size of the files of a pack: its manifest must fit into one.
SMALLEST = 64 * 1024
#: Bytes that are read or written at once.
_PIECE = 1 << 20


def size_of(text: str) -> int:
    """Bytes of a size such as 16M, 500K or 2G.

    Raises:
        ReplicateError: it is none, or too small for a pack.
    """
    normalised = text.strip().upper()
    match = re.fullmatch(r"(\d{1,12})([KMG]?)", normalised)
    if match is None:
        raise ReplicateError(f"--largest {text}: a size such as 16M, 500K or 2G is needed.")
    number, unit = match.groups()
    bytes_of_unit = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    size = int(number) * bytes_of_unit[unit]
    if size < SMALLEST:
        kibibytes = SMALLEST // 1024
        raise ReplicateError(f"--largest {text}: at least {kibibytes}K are needed.")
    return size


@dataclass
class _Contents:
    """What goes into a pack.

    Attributes:
        files: path in the archive -> file here.
        blocks: the blocks that these files are of.
    """

    files: dict[str, Path] = field(default_factory=dict)
    blocks: list[PackedBlock] = field(default_factory=list)

    def add(self, root: str, base: Path, *paths: Path) -> None:
        """Adds files below `base` to a folder of the archive; leaves out those that are missing."""
        for path in paths:
            if path.is_file():
                relative = path.relative_to(base).as_posix()
                self.files[f"{root}/{relative}"] = path


def pack(plan: ReferencePlan, folders: Folders, folder: Path, largest: int, states: bool) -> None:
    """Writes a pack of all finished blocks, with `states` also of last states; replaces an old one.

    Raises:
        ReplicateError: the folder cannot be written, or the list of contents alone is above the
            size.
    """
    contents = _contents(plan, folders, states)
    members = []
    for name, path in sorted(contents.files.items()):
        # Digests before the archive is written: they are what its name is made of.
        member = Member(name=name, size=path.stat().st_size, sha256=sha256_file(path))
        members.append(member)
    source = present(folders)
    manifest = Manifest(
        pack=1,
        source=Origin(commit=source.commit, package=source.package),
        entries={entry.name: plan.params_of(entry) for entry in plan.entries},
        blocks=tuple(contents.blocks),
        members=tuple(members),
        parts=(),
    )
    refuse_long_lists(manifest, largest)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        parts = _write_parts(folder, manifest, contents.files, largest)
        # The parts are known only now: their digests are those of the written bytes.
        complete = manifest.model_copy(update={"parts": parts})
        # After the new parts, before old ones go: a kill leaves a manifest whose parts are there.
        write_json(folder / NAME, complete.model_dump(mode="json"))
        _remove_earlier_parts(folder, {part.name for part in parts})
    except OSError as error:
        raise write_error(folder, error) from error
    megabytes = sum(part.size for part in parts) / 1e6
    finished = sum(block.epochs > 0 for block in contents.blocks)
    print(
        f"pack: {finished} finished blocks, {len(contents.blocks) - finished} states alone, "
        f"{megabytes:.1f} MB in {len(parts)} file(s) and {NAME} -> {folder}"
    )


def _contents(plan: ReferencePlan, folders: Folders, states: bool) -> _Contents:
    contents = _Contents()
    for block in blocks_of(plan, folders):
        epochs = block.published_epochs()
        if epochs:
            _add_results(contents, block)
        has_state = states and _add_states(contents, block)
        if epochs or has_state:
            packed = PackedBlock(
                entry=block.entry.name,
                model=block.model,
                dataset=block.dataset,
                seeds=block.seeds,
                epochs=epochs,
                origin=_origin(block, folders),
            )
            contents.blocks.append(packed)
    return contents


def _origin(block: Block, folders: Folders) -> Origin:
    """The code of a block, by its note, or by its training's record where only results are here."""
    if not block.origin_file.is_file() and block.states():
        # A training that was started by hand has checkpoints and no note.
        source_of(block, folders)  # writes the note
    if block.origin_file.is_file():
        origin = read_origin(block.origin_file)
        return Origin(commit=origin["commit"], package=origin["package"])
    record = read_json(block.results_folder / "train.run.json")
    return Origin(commit=record["source"]["commit"], package=sha256_json(None))


def _add_results(contents: _Contents, block: Block) -> None:
    folders = block.folders
    names = [*block.result_files, WEIGHTS]
    results = [block.results_folder / name for name in names]
    contents.add("results", folders.results, *results)
    likelihoods = block.measures / "evaluation.safetensors"
    # Likelihoods of single images are not committed, so a pack is the only way that they travel.
    contents.add("blocks", folders.blocks, block.origin_file, likelihoods)
    note = block.results_folder / WEIGHTS
    if note.is_file():
        weights = read_json(note)
        for epoch in ("chosen", "last"):
            # The last epoch is not kept everywhere.
            if weights[epoch]:
                digest = weights[epoch]["sha256"]
                path = folders.weights / f"{digest}.safetensors"
                contents.add("weights", folders.weights, path)


def _add_states(contents: _Contents, block: Block) -> bool:
    """Adds the newest state of each training of a block; whether there was one.

    Nothing is added of a running block, whose states change.
    """
    if not block.states():
        return False
    if block.is_locked():
        print(
            f"note: {block.label} is running, and its state is not packed; stop it first.",
            file=sys.stderr,
        )
        return False
    paths = [block.origin_file]
    for folder, _ in block.states():
        # Names have their step with leading zeros, so that the last one by name is the newest.
        newest = max(folder.glob("step-*.json"))
        paths += [folder / "run.json", folder / "attempts.json"]
        paths += [newest, newest.with_suffix(".safetensors")]
    contents.add("blocks", block.folders.blocks, *paths)
    return True


def refuse_long_lists(manifest: Manifest, largest: int) -> None:
    """Refuses a size that the manifest, a file of the pack too, would be above.

    Its parts are not known yet; each takes about 200 bytes of it.

    Raises:
        ReplicateError: it would be.
    """
    total = sum(member.size for member in manifest.members)
    most_parts = total // largest + 2
    content = manifest.model_dump(mode="json")
    text = canonical_json(content)
    # The parts, which are not in it yet, take a line of at most 200 bytes each.
    length = len(text) + 200 * most_parts
    if length > largest:
        kibibytes = length // 1024 + 1
        raise ReplicateError(
            f"--largest: the list of contents alone takes {kibibytes}K; choose more."
        )


class _PartWriter(io.RawIOBase):
    """A stream that is cut into files of at most `largest` bytes, which appear complete."""

    def __init__(self, folder: Path, stem: str, largest: int) -> None:
        self.parts: list[Part] = []
        self._folder = folder
        self._stem = stem
        self._largest = largest
        self._stream: BinaryIO | None = None
        self._size = 0
        self._digest = hashlib.sha256()

    def writable(self) -> bool:
        """It is written."""
        return True

    def write(self, content: "ReadableBuffer", /) -> int:
        """Takes as many bytes as fit into the present part; returns how many."""
        if self._stream is None:
            self._stream = self._path(".part").open("wb")
        # A buffered writer calls again with what did not fit, into the next part.
        room = self._largest - self._size
        piece = bytes(memoryview(content)[:room])
        count = len(piece)
        self._stream.write(piece)
        self._digest.update(piece)
        self._size += count
        if self._size == self._largest:
            self.end_part()
        return count

    def end_part(self) -> None:
        """Completes the present part and gives it its name."""
        if self._stream is None:
            return
        self._stream.flush()
        flush(self._stream.fileno(), self._folder)
        self._stream.close()
        path = self._path()
        self._path(".part").replace(path)
        part = Part(name=path.name, size=self._size, sha256=self._digest.hexdigest())
        self.parts.append(part)
        self._stream = None
        self._size = 0
        self._digest = hashlib.sha256()

    def _path(self, suffix: str = "") -> Path:
        number = len(self.parts) + 1
        name = f"{self._stem}.{number:04d}"
        # Hidden until it is complete.
        if suffix:
            name = f".{name}{suffix}"
        return self._folder / name


def _write_parts(
    folder: Path, manifest: Manifest, files: Mapping[str, Path], largest: int
) -> tuple[Part, ...]:
    # The same contents and size give the same names, so that packing again changes no file.
    identity: list[list[object]] = [[largest]]
    identity += [[member.name, member.sha256] for member in manifest.members]
    digest = sha256_json(identity)[:12]
    writer = _PartWriter(folder, f"reference-{digest}.tar", largest)
    with (
        io.BufferedWriter(writer, _PIECE) as stream,
        # "w|" never goes back: a part that is full is closed for good.
        tarfile.open(fileobj=stream, mode="w|", format=tarfile.GNU_FORMAT) as archive,
    ):
        for member in manifest.members:
            _add(archive, member, files[member.name])
    # The last part is seldom full.
    writer.end_part()
    return tuple(writer.parts)


def _add(archive: tarfile.TarFile, member: Member, path: Path) -> None:
    """Adds a file with nothing of this machine: no owner, no time."""
    header = tarfile.TarInfo(member.name)
    header.size = member.size
    header.mode = 0o644
    with path.open("rb") as stream:
        archive.addfile(header, stream)
    # A block may have ended in between, and written its files anew.
    if sha256_file(path) != member.sha256:
        raise ReplicateError(f"{path} changed while it was packed; run the same command again.")


def _remove_earlier_parts(folder: Path, names: set[str]) -> None:
    """Removes parts of earlier packs, and what a kill left of them."""
    pattern = re.compile(r"\.?reference-[0-9a-f]{12}\.tar\.\d{4}(\.part)?")
    for path in list(folder.iterdir()):
        is_part = pattern.fullmatch(path.name)
        if is_part and path.name not in names:
            path.unlink()


def check_parts(folder: Path) -> Manifest:
    """Reads the manifest of a pack, and checks that its parts are there and undamaged.

    Raises:
        ReplicateError: a part is missing or damaged.
    """
    manifest = read_manifest(folder)
    for part in manifest.parts:
        path = folder / part.name
        if not path.is_file():
            raise ReplicateError(f"{path} is missing; copy the pack here once more.")
        if path.stat().st_size != part.size or sha256_file(path) != part.sha256:
            raise ReplicateError(
                f"{path} is damaged (its SHA-256 is another); copy the pack here once more."
            )
    return manifest


def joined(folder: Path, parts: Sequence[Part]) -> Iterator[bytes]:
    """The archive's bytes, piece by piece."""
    for part in parts:
        with (folder / part.name).open("rb") as stream:
            while piece := stream.read(_PIECE):
                yield piece
