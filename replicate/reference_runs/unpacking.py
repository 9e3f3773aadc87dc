"""Takes in a pack: checks all of it first, then adds the results and weights that are not here."""

import io
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from replicate.errors import ReplicateError
from replicate.reference_runs.blocks import Block, Folders, blocks_of
from replicate.reference_runs.keeping import (
    report_replacement,
    sole_writer,
    with_commit,
    write_results,
)
from replicate.reference_runs.manifest import Manifest, PackedBlock
from replicate.reference_runs.packing import check_parts, joined
from replicate.reference_runs.plan import Options, ReferencePlan
from replicate.reference_runs.sources import (
    COMMIT,
    Source,
    has_commit,
    is_checkout,
    package_digest,
    present,
    read_origin,
)
from replicate.storage.files import canonical_json, read_json, sha256_file, write_error, write_json
from replicate.storage.paths import package_root

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


def unpack(plan: ReferencePlan, folders: Folders, folder: Path) -> None:
    """Takes in the pack of a folder.

    Raises:
        ReplicateError: it is damaged, or of another plan or commit; nothing has changed then.
    """
    manifest = check_parts(folder)
    blocks = _planned_blocks(manifest, plan, folders)
    here = _check_commits(manifest, folders)
    _unpack(manifest, blocks, folders, folder, here)
    _note_commit(manifest, folders)


def _unpack(
    manifest: Manifest,
    blocks: Sequence[tuple[PackedBlock, Block]],
    folders: Folders,
    folder: Path,
    here: Source,
) -> None:
    """Takes in what a checked pack holds; a second one waits, whose temporary folder would pass for
    that of a killed one.
    """
    with sole_writer(folders, "unpack.lock"):
        try:
            # What a kill left: a temporary folder goes only with its process's own ending.
            for leftover in folders.work.glob(".unpack-*"):
                shutil.rmtree(leftover)
            with tempfile.TemporaryDirectory(prefix=".unpack-", dir=folders.work) as name:
                scratch = Path(name)
                # All of it, aside: an archive that is damaged at its end changes nothing.
                _extract(manifest, folder, scratch)
                taken = [_take_block(block, packed, scratch, here) for packed, block in blocks]
                new_weights = _take_weights(folders, scratch)
        except OSError as error:
            raise write_error(folders.work, error) from error
    new_blocks = sum(taken)
    print(
        f"unpack: {new_blocks} of {len(blocks)} blocks are new here, and {new_weights} files of "
        "weights"
    )


def _planned_blocks(
    manifest: Manifest, plan: ReferencePlan, folders: Folders
) -> list[tuple[PackedBlock, Block]]:
    """The blocks of the pack, each with the plan's.

    Raises:
        ReplicateError: the plan lacks one, or has it with other settings.
    """
    planned = {block.relative_path: block for block in blocks_of(plan, folders)}
    pairs = []
    for packed in manifest.blocks:
        path = Path(packed.entry, packed.model, packed.dataset, packed.seeds)
        block = planned.get(path)
        if block is None:
            raise ReplicateError(
                f"the pack is of another plan: this one has no block {_label(packed)}."
            )
        params = manifest.entries.get(packed.entry, {})
        settings_of_pack = _settings(params, block)
        settings_here = _settings(block.params, block)
        if settings_of_pack != settings_here:
            raise ReplicateError(
                f"the pack is of another plan: the settings of {_label(packed)} are others than "
                "here."
            )
        pairs.append((packed, block))
    return pairs


def _settings(params: Options, block: Block) -> str:
    """The parameters that decide a block, but for its number of epochs."""
    recipes = params.get("models", {}).get(block.model, {})
    recipe = recipes.get(block.dataset, {})
    # A pack of fewer epochs than the plan asks for is what a longer training goes on from.
    settings: Options = {"recipe": {**recipe, "epochs": None}}
    for section in ("compute", "likelihood", "selection", "datasets"):
        settings[section] = params.get(section)
    return canonical_json(settings)


def _check_commits(manifest: Manifest, folders: Folders) -> Source:
    """Checks that the commits of the pack's blocks are known here; returns the code that is here.

    Raises:
        ReplicateError: a block belongs to a commit that this repository does not have; or, without
            git, the pack was made by other code.
    """
    root = package_root()
    if not is_checkout(root):
        here = present(folders)
        if manifest.source.package != here.package:
            raise ReplicateError(
                f"the pack was made by other code ({_commit_name(manifest.source.commit)}) than is "
                "here, and there is no git to tell them apart; unpack it in a checkout, or copy "
                "the code of that commit here."
            )
        return here
    for packed in manifest.blocks:
        commit = packed.origin.commit
        if commit is not None and not has_commit(root, commit):
            raise ReplicateError(
                f"the pack is of another commit: {_label(packed)} belongs to {commit[:12]}, which "
                "this repository does not have; fetch it first."
            )
    here = present(folders)  # makes a clone, so not before the checks
    for packed in manifest.blocks:
        if packed.origin.commit is None and packed.origin.package != here.package:
            raise ReplicateError(
                f"the pack is of another commit: {_label(packed)} names none, and its code is not "
                f"that of {_commit_name(here.commit)}."
            )
    return here


def _label(packed: PackedBlock) -> str:
    return f"{packed.entry} {packed.model} seeds {packed.seeds}"


def _commit_name(commit: str | None) -> str:
    if not commit:
        return "an unknown commit"
    return f"commit {commit[:12]}"


class _JoinedParts(io.RawIOBase):
    """The parts of an archive as one stream."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def readable(self) -> bool:
        """It is read."""
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """Fills the buffer with the next bytes; returns how many, 0 at the end."""
        if not self._rest:
            self._rest = next(self._pieces, b"")
        view = memoryview(buffer)
        count = min(len(view), len(self._rest))
        view[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def _extract(manifest: Manifest, folder: Path, scratch: Path) -> None:
    """Writes every file of the archive below `scratch`, and no other.

    Raises:
        ReplicateError: the archive holds other files than the manifest names.
    """
    damaged = ReplicateError(
        f"the pack in {folder} is damaged: its files are not those that it names."
    )
    # Each name is taken out as it comes, so that one that comes twice is refused as well.
    expected = {member.name: member for member in manifest.members}
    stream = io.BufferedReader(_JoinedParts(joined(folder, manifest.parts)))
    try:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for header in archive:
                member = expected.pop(header.name, None)
                # Regular files alone: a link could lead out of the folder.
                content = archive.extractfile(header) if header.isreg() else None
                if member is None or content is None or header.size != member.size:
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


def _take_block(block: Block, packed: PackedBlock, scratch: Path, here: Source) -> bool:
    """Takes the results and the state of a block; returns whether its results are new."""
    commit = packed.origin.commit or here.commit
    # A run that goes on writes the same folders.
    with block.locked() as handle:
        if handle is None:
            print(
                f"{block.label} is running here; what the pack has of it is left out.",
                file=sys.stderr,
            )
            return False
        new = packed.epochs > 0 and _take_results(block, packed, scratch, commit)
        _take_work(block, scratch / "blocks" / block.relative_path, commit)
    return new


def _take_results(block: Block, packed: PackedBlock, scratch: Path, commit: str | None) -> bool:
    """Takes the results of a block where they are of more epochs; returns whether they are."""
    folder = scratch / "results" / block.entry.name / block.model / block.seeds
    epochs_here = block.published_epochs()
    # A longer training is worth more, whichever of both is newer.
    if epochs_here >= packed.epochs:
        if epochs_here > packed.epochs or not _same_results(block, folder):
            print(
                f"{block.results_folder} has other results than the pack; those that are here "
                "stay.",
                file=sys.stderr,
            )
        return False
    if epochs_here:
        report_replacement(block, epochs_here, packed.epochs)
        # The likelihoods of single images there are those of the shorter training.
        shutil.rmtree(block.measures, ignore_errors=True)
    contents = {}
    for path in folder.iterdir():
        content = read_json(path)
        if path.name.endswith(".run.json"):
            content = with_commit(content, commit)
        contents[path.name] = content
    write_results(block, contents)
    return True


def _same_results(block: Block, folder: Path) -> bool:
    """Whether the training and the evaluation in a folder are those that are here."""
    for name in ("train.json", "evaluation.json"):
        packed = read_json(folder / name)
        present = read_json(block.results_folder / name)
        if packed != present:
            return False
    return True


def _take_work(block: Block, folder: Path, commit: str | None) -> None:
    """Takes a block's note, its likelihoods of every test image, and its states."""
    note = folder / "block.json"
    # Packed where only results were, and no work on the block.
    if not note.is_file():
        return
    origin = read_origin(note)
    # A machine without git could not name it; the manifest was held against the code that is here.
    origin["commit"] = origin["commit"] or commit
    if not block.origin_file.is_file():
        write_json(block.origin_file, origin)
    elif read_origin(block.origin_file) != origin:
        print(
            f"{block.folder} belongs to another commit or data than in the pack; it stays as it "
            "is.",
            file=sys.stderr,
        )
        return
    # Backwards by name: `step-N.safetensors` before `step-N.json`, which makes it a checkpoint.
    for path in sorted(folder.rglob("*"), reverse=True):
        target = block.folder / path.relative_to(folder)
        # What is here may be newer than the pack.
        if path.is_file() and path != note and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)


def _take_weights(folders: Folders, scratch: Path) -> int:
    """Moves weights that are not here yet; returns how many."""
    count = 0
    for path in sorted((scratch / "weights").glob("*.safetensors")):
        target = folders.weights / path.name
        # Weights are named by their content: another name is that of a damaged file.
        if sha256_file(path) == path.stem and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
            count += 1
    return count


def _note_commit(manifest: Manifest, folders: Folders) -> None:
    """Notes the commit of the code that is here where only the pack, of the same code, knows it."""
    root = package_root()
    if is_checkout(root) or manifest.source.commit is None:
        return
    if manifest.source.package != package_digest(root):
        return
    path = folders.work / COMMIT
    source = manifest.source.model_dump(mode="json")
    if not path.is_file() or read_json(path) != source:
        write_json(path, source)
