"""Packs what is finished into as few files as can be, none above a size.

A pack is one plain tar archive cut into parts, and `reference.json`, which names every part and every file in them with
its SHA-256. `cat reference-*.tar.* | tar x` unpacks it too. Packing the same twice gives the same bytes.
"""

import hashlib
import io
import re
import sys
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from replicate.errors import ReplicateError
from replicate.files import canonical_json, read_json, sha256_file, sha256_json, write_error, write_json
from replicate.filesystem import flush
from replicate.reference.blocks import Block, Folders, blocks_of
from replicate.reference.keeping import WEIGHTS
from replicate.reference.manifest import NAME, Manifest, Member, Origin, PackedBlock, Part, read_manifest
from replicate.reference.plan import ReferencePlan
from replicate.reference.sources import present, source_of

#: A file of less than this is too small to hold a manifest.
SMALLEST = 64 * 1024


def size_of(text: str) -> int:
    """Bytes of a size such as 16M, 500K or 2G.

    Raises:
        ReplicateError: it is none, or too small for a pack.
    """
    match = re.fullmatch(r"(\d{1,12})([KMG]?)", text.strip().upper())
    if match is None:
        raise ReplicateError(f"--largest {text}: a size such as 16M, 500K or 2G is needed.")
    size = int(match[1]) * {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}[match[2]]
    if size < SMALLEST:
        raise ReplicateError(f"--largest {text}: at least {SMALLEST // 1024}K are needed.")
    return size


@dataclass
class _Contents:
    """What goes into a pack: path there -> file here; and the blocks that it is of."""

    files: dict[str, Path] = field(default_factory=dict)
    blocks: list[PackedBlock] = field(default_factory=list)

    def add(self, root: str, base: Path, *paths: Path) -> None:
        """Adds those of the files below `base` that are there."""
        for path in paths:
            if path.is_file():
                self.files[f"{root}/{path.relative_to(base).as_posix()}"] = path


def pack(plan: ReferencePlan, folders: Folders, folder: Path, largest: int, states: bool) -> None:
    """Writes a pack of all that is finished, and with `states` of the last states; replaces the pack there.

    Raises:
        ReplicateError: the folder cannot be written, or the list of contents alone is above the size.
    """
    contents = _contents(plan, folders, states)
    members = tuple(
        Member(name=name, size=path.stat().st_size, sha256=sha256_file(path))
        for name, path in sorted(contents.files.items())
    )
    source = present(folders)
    manifest = Manifest(
        pack=1, source=Origin(commit=source.commit, package=source.package),
        entries={entry.name: plan.params_of(entry) for entry in plan.entries},
        blocks=tuple(contents.blocks), members=members, parts=(),
    )  # fmt: skip
    refuse_long_lists(manifest, largest)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        parts = _write_parts(folder, manifest, contents.files, largest)
        write_json(folder / NAME, manifest.model_copy(update={"parts": parts}).model_dump(mode="json"))
        _remove_others(folder, {part.name for part in parts})
    except OSError as error:
        raise write_error(folder, error) from error
    size = sum(part.size for part in parts)
    finished = sum(block.epochs > 0 for block in contents.blocks)
    print(f"pack: {finished} finished blocks, {len(contents.blocks) - finished} states alone, "
          f"{size / 1e6:.1f} MB in {len(parts)} file(s) and {NAME} -> {folder}")  # fmt: skip


def _contents(plan: ReferencePlan, folders: Folders, states: bool) -> _Contents:
    contents = _Contents()
    for block in blocks_of(plan, folders):
        epochs = block.kept_epochs()
        if epochs:
            _add_results(contents, block)
        stated = states and _add_states(contents, block)
        if not epochs and not stated:
            continue
        contents.blocks.append(
            PackedBlock(
                entry=block.entry.name, model=block.model, dataset=block.dataset, seeds=block.seeds, epochs=epochs,
                origin=_origin(block, folders),
            )
        )  # fmt: skip
    return contents


def _origin(block: Block, folders: Folders) -> Origin:
    """The code of a block: by its note, or where only its results are here by the record of its training."""
    if not block.note.is_file() and block.states():
        source_of(block, folders)  # notes it
    if block.note.is_file():
        note = read_json(block.note)
        return Origin(commit=note["commit"], package=note["package"])
    record = read_json(block.kept / "train.run.json")
    return Origin(commit=record["source"]["commit"], package=sha256_json(None))


def _add_results(contents: _Contents, block: Block) -> None:
    names = [f"{name}{suffix}" for name in block.results for suffix in (".json", ".run.json")]
    contents.add("results", block.folders.results, *(block.kept / name for name in (*names, WEIGHTS)))
    beside = block.measured / "evaluation.safetensors"
    contents.add("blocks", block.folders.work / "blocks", block.note, beside)
    if (block.kept / WEIGHTS).is_file():
        named = read_json(block.kept / WEIGHTS)
        found = [named[which]["sha256"] for which in ("chosen", "last") if named[which]]
        weights = [block.folders.weights / f"{digest}.safetensors" for digest in found]
        contents.add("weights", block.folders.weights, *weights)


def _add_states(contents: _Contents, block: Block) -> bool:
    """Adds the newest state of each of its trainings; whether there was one. Those of a running block change."""
    if not block.states():
        return False
    if block.is_held():
        print(f"note: {block.label} is running, and its state is not packed; stop it first.", file=sys.stderr)
        return False
    base = block.folders.work / "blocks"
    for folder, _ in block.states():
        newest = max(folder.glob("step-*.json"))
        beside = [folder / "run.json", folder / "attempts.json"]
        contents.add("blocks", base, *beside, newest, newest.with_suffix(".safetensors"))
    contents.add("blocks", base, block.note)
    return True


def refuse_long_lists(manifest: Manifest, largest: int) -> None:
    """Refuses a size that the manifest, a file of the pack too, would be above.

    Its parts are not known yet, but about how long their names are.

    Raises:
        ReplicateError: it would be.
    """
    total = sum(member.size for member in manifest.members)
    length = len(canonical_json(manifest.model_dump(mode="json"))) + 200 * (total // largest + 2)
    if length > largest:
        raise ReplicateError(f"--largest: the list of contents alone takes {length // 1024 + 1}K; choose more.")


class _Parts(io.RawIOBase):
    """A stream that is cut into files of at most `largest` bytes, which appear whole."""

    def __init__(self, folder: Path, stem: str, largest: int) -> None:
        self.found: list[Part] = []
        self._folder, self._stem, self._largest = folder, stem, largest
        self._stream: BinaryIO | None = None
        self._size, self._digest = 0, hashlib.sha256()

    def writable(self) -> bool:
        """It is written."""
        return True

    def write(self, content: Any) -> int:
        """Takes as many bytes as the part that is written still holds; says how many."""
        if self._stream is None:
            self._stream = self._path(".part").open("wb")
        piece = bytes(content[: self._largest - self._size])
        self._stream.write(piece)
        self._digest.update(piece)
        self._size += len(piece)
        if self._size == self._largest:
            self.end_part()
        return len(piece)

    def end_part(self) -> None:
        """Puts the part that is written in its place."""
        if self._stream is None:
            return
        self._stream.flush()
        flush(self._stream.fileno(), self._path().parent)
        self._stream.close()
        path = self._path()
        self._path(".part").replace(path)
        self.found.append(Part(name=path.name, size=self._size, sha256=self._digest.hexdigest()))
        self._stream, self._size, self._digest = None, 0, hashlib.sha256()

    def _path(self, suffix: str = "") -> Path:
        name = f"{self._stem}.{len(self.found) + 1:04d}"
        return self._folder / (f".{name}{suffix}" if suffix else name)


def _write_parts(folder: Path, manifest: Manifest, files: dict[str, Path], largest: int) -> tuple[Part, ...]:
    digest = sha256_json([[largest], *([member.name, member.sha256] for member in manifest.members)])
    parts = _Parts(folder, f"reference-{digest[:12]}.tar", largest)
    with (
        io.BufferedWriter(parts, 1 << 20) as stream,
        tarfile.open(fileobj=stream, mode="w|", format=tarfile.GNU_FORMAT) as archive,
    ):
        for member in manifest.members:
            _add(archive, member, files[member.name])
    parts.end_part()
    return tuple(parts.found)


def _add(archive: tarfile.TarFile, member: Member, path: Path) -> None:
    """Adds a file with nothing of this machine: no owner, no time."""
    about = tarfile.TarInfo(member.name)
    about.size, about.mode = member.size, 0o644
    with path.open("rb") as stream:
        archive.addfile(about, stream)
    if sha256_file(path) != member.sha256:
        raise ReplicateError(f"{path} changed while it was packed; run the same command again.")


def _remove_others(folder: Path, names: set[str]) -> None:
    """Removes the parts of earlier packs, and what a kill left of them."""
    for path in _of_packs(folder):
        if path.name not in names:
            path.unlink()


def _of_packs(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if re.fullmatch(r"\.?reference-[0-9a-f]{12}\.tar\.\d{4}(\.part)?", path.name):
            yield path


def check_parts(folder: Path) -> Manifest:
    """The manifest of a pack whose parts are all there and whole.

    Raises:
        ReplicateError: one is not.
    """
    manifest = read_manifest(folder)
    for part in manifest.parts:
        path = folder / part.name
        if not path.is_file():
            raise ReplicateError(f"{path} is missing; copy the pack here once more.")
        if path.stat().st_size != part.size or sha256_file(path) != part.sha256:
            raise ReplicateError(f"{path} is damaged (its SHA-256 is another); copy the pack here once more.")
    return manifest


def joined(folder: Path, parts: Sequence[Part]) -> Iterator[bytes]:
    """The archive's bytes, piece by piece."""
    for part in parts:
        with (folder / part.name).open("rb") as stream:
            while piece := stream.read(1 << 20):
                yield piece
