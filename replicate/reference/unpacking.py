"""Takes in a pack: checks all of it first, then puts results and weights where they belong, and nothing twice."""

import io
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from replicate.codedigest import package_root
from replicate.errors import ReplicateError
from replicate.files import canonical_json, read_json, sha256_file, write_error, write_json
from replicate.reference.blocks import Block, Folders, blocks_of
from replicate.reference.keeping import put, with_commit
from replicate.reference.manifest import Manifest, PackedBlock
from replicate.reference.packing import check_parts, joined
from replicate.reference.plan import ReferencePlan
from replicate.reference.sources import COMMIT, Source, has_commit, is_checkout, package_digest, present


def unpack(plan: ReferencePlan, folders: Folders, folder: Path) -> None:
    """Takes in the pack of a folder.

    Raises:
        ReplicateError: it is damaged, or of another plan or commit; nothing has changed then.
    """
    manifest = check_parts(folder)
    blocks = _blocks(manifest, plan, folders)
    here = _check_commits(manifest, folders)
    try:
        folders.work.mkdir(parents=True, exist_ok=True)
        for old in folders.work.glob(".unpack-*"):
            shutil.rmtree(old)
        with tempfile.TemporaryDirectory(prefix=".unpack-", dir=folders.work) as scratch:
            _extract(manifest, folder, Path(scratch))
            counts = [_take_in(block, packed, Path(scratch), here) for packed, block in blocks]
            weights = _take_weights(folders, Path(scratch))
    except OSError as error:
        raise write_error(folders.work, error) from error
    _note_commit(manifest, folders)
    print(f"unpack: {sum(counts)} of {len(blocks)} blocks are new here, and {weights} files of weights")


def _blocks(manifest: Manifest, plan: ReferencePlan, folders: Folders) -> list[tuple[PackedBlock, Block]]:
    """The blocks of the pack, each with the plan's.

    Raises:
        ReplicateError: the plan has another one, or none.
    """
    known = {block.place: block for block in blocks_of(plan, folders)}
    found = []
    for packed in manifest.blocks:
        block = known.get(Path(packed.entry, packed.model, packed.dataset, packed.seeds))
        if block is None:
            raise ReplicateError(f"the pack is of another plan: this one has no block {_named(packed)}.")
        theirs = manifest.entries.get(packed.entry, {})
        if _asked(theirs, block) != _asked(block.params, block):
            raise ReplicateError(f"the pack is of another plan: the settings of {_named(packed)} are others than here.")
        found.append((packed, block))
    return found


def _asked(params: Any, block: Block) -> str:
    """The parameters that decide a block, but for its number of epochs."""
    recipe = params.get("models", {}).get(block.model, {}).get(block.dataset, {})
    shared = {name: params.get(name) for name in ("compute", "likelihood", "selection", "datasets")}
    return canonical_json({**shared, "recipe": {**recipe, "epochs": None}})


def _check_commits(manifest: Manifest, folders: Folders) -> Source:
    """The code that is here, which must know the pack's.

    Raises:
        ReplicateError: a block belongs to a commit that this repository does not have; or, without git, the pack was
            made by other code.
    """
    root = package_root()
    if not is_checkout(root):
        here = present(folders)
        if manifest.source.package != here.package:
            raise ReplicateError(
                f"the pack was made by other code ({_shown(manifest.source.commit)}) than is here, and there is no git "
                "to tell them apart; unpack it in a checkout, or copy the code of that commit here."
            )
        return here
    for packed in manifest.blocks:
        commit = packed.origin.commit
        if commit is not None and not has_commit(root, commit):
            raise ReplicateError(
                f"the pack is of another commit: {_named(packed)} belongs to {commit[:12]}, which this repository does "
                "not have; fetch it first."
            )
    here = present(folders)  # makes a clone, so only now
    for packed in manifest.blocks:
        if packed.origin.commit is None and packed.origin.package != here.package:
            raise ReplicateError(
                f"the pack is of another commit: {_named(packed)} names none, and its code is not that of "
                f"{_shown(here.commit)}."
            )
    return here


def _named(packed: PackedBlock) -> str:
    return f"{packed.entry} {packed.model} seeds {packed.seeds}"


def _shown(commit: str | None) -> str:
    return f"commit {commit[:12]}" if commit else "an unknown commit"


class _Joined(io.RawIOBase):
    """The parts of an archive as one stream."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._rest = pieces, b""

    def readable(self) -> bool:
        """It is read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills the buffer with what comes next."""
        if not self._rest:
            self._rest = next(self._pieces, b"")
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def _extract(manifest: Manifest, folder: Path, scratch: Path) -> None:
    """Writes every file of the archive below `scratch`, and no other.

    Raises:
        ReplicateError: it holds other files than the manifest says.
    """
    damaged = ReplicateError(f"the pack in {folder} is damaged: its files are not those that it names.")
    expected = {member.name: member for member in manifest.members}
    stream = io.BufferedReader(_Joined(joined(folder, manifest.parts)))
    try:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for about in archive:
                member = expected.pop(about.name, None)
                content = archive.extractfile(about) if about.isreg() else None
                if member is None or content is None or about.size != member.size:
                    raise damaged
                path = scratch / PurePosixPath(member.name)
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("wb") as target:
                    shutil.copyfileobj(content, target, 1 << 20)
                if sha256_file(path) != member.sha256:
                    raise damaged
    except tarfile.TarError:
        raise damaged from None
    if expected:
        raise damaged


def _take_in(block: Block, packed: PackedBlock, scratch: Path, here: Source) -> bool:
    """Puts the results and the state of a block where they belong; whether its results are new."""
    commit = packed.origin.commit or here.commit
    with block.held() as handle:
        if handle is None:
            print(f"{block.label} is running here; what the pack has of it is left out.", file=sys.stderr)
            return False
        new = packed.epochs > 0 and _take_results(block, packed, scratch, commit)
        _take_work(block, scratch / "blocks" / block.place, commit)
    return new


def _take_results(block: Block, packed: PackedBlock, scratch: Path, commit: str | None) -> bool:
    theirs = scratch / "results" / block.entry.name / block.model / block.seeds
    before = block.kept_epochs()
    if before >= packed.epochs:
        names = ("train.json", "evaluation.json")
        if before > packed.epochs or any(read_json(theirs / name) != read_json(block.kept / name) for name in names):
            print(f"{block.kept} has other results than the pack; those that are here stay.", file=sys.stderr)
        return False
    if before:
        print(
            f"{block.kept}: the results of {before} epochs are replaced by those of {packed.epochs}.", file=sys.stderr
        )
    contents = {path.name: read_json(path) for path in theirs.iterdir()}
    records = {name: with_commit(content, commit) for name, content in contents.items() if name.endswith(".run.json")}
    put(block, contents | records)
    return True


def _take_work(block: Block, theirs: Path, commit: str | None) -> None:
    """Puts a block's note, its values of every test image and its states into the ignored folder."""
    note = theirs / "block.json"
    if not note.is_file():
        return
    content = read_json(note)
    content["commit"] = content["commit"] or commit
    if not block.note.is_file():
        write_json(block.note, content)
    elif read_json(block.note) != content:
        print(f"{block.folder} belongs to another commit or data than in the pack; it stays as it is.", file=sys.stderr)
        return
    for path in sorted(theirs.rglob("*"), reverse=True):  # tensors before their notes
        target = block.folder / path.relative_to(theirs)
        if path.is_file() and path != note and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)


def _take_weights(folders: Folders, scratch: Path) -> int:
    """Moves weights that are not here yet; how many."""
    new = 0
    for path in sorted((scratch / "weights").glob("*.safetensors")):
        target = folders.weights / path.name
        if sha256_file(path) == path.stem and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
            new += 1
    return new


def _note_commit(manifest: Manifest, folders: Folders) -> None:
    """Where git cannot say which commit the code here is, and the pack is of the same code, it does."""
    root = package_root()
    if is_checkout(root) or manifest.source.commit is None or manifest.source.package != package_digest(root):
        return
    path, source = folders.work / COMMIT, manifest.source.model_dump(mode="json")
    if not path.is_file() or read_json(path) != source:
        write_json(path, source)
