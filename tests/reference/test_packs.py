"""Packs of fabricated blocks: there and back, nothing twice, and every damage refused."""

import hashlib
import io
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from replicate.__main__ import main
from replicate.errors import ReplicateError
from replicate.records.kept_runs import read_sums, sums_of
from replicate.reference_runs import sources, unpacking
from replicate.reference_runs.blocks import Block, Folders, blocks_of
from replicate.reference_runs.manifest import Manifest, Member, Origin
from replicate.reference_runs.packing import SMALLEST, pack, refuse_long_lists, size_of
from replicate.reference_runs.plan import ReferencePlan, read_plan
from replicate.reference_runs.sources import package_digest, present
from replicate.reference_runs.unpacking import unpack
from replicate.storage.files import read_json, sha256_file, write_json, write_tensors
from tests.reference.project import plan_of, run_git

COMMIT = "c" * 40


class Place:
    """A machine: a folder with the project's code, the plan, and what was run there."""

    def __init__(self, root: Path, plan: dict[str, Any], code: str = "same") -> None:
        (root / "replicate").mkdir(parents=True)
        (root / "replicate/__init__.py").write_text(f'"""{code}"""\n')
        self.root, self.folders = root, Folders(root / "work", root / "results")
        (root / "plan.yaml").write_text(yaml.safe_dump(plan))

    @property
    def plan(self) -> ReferencePlan:
        return read_plan(self.root / "plan.yaml")

    @property
    def blocks(self) -> list[Block]:
        return blocks_of(self.plan, self.folders)

    def knows_its_commit(self, commit: str) -> None:
        """As after a pack of a checkout with the same code."""
        write_json(
            self.folders.work / "commit.json",
            {"commit": commit, "package": package_digest(self.root)},
        )

    def finish(
        self,
        block: Block,
        value: float = 1.0,
        commit: str | None = COMMIT,
        epochs: int | None = None,
    ) -> None:
        """What a finished block leaves."""
        epochs = epochs or block.epochs
        named = {}
        for number, which in enumerate(("chosen", "last")):
            path = block.folders.weights / "new.safetensors"
            write_tensors(
                path, {"w": np.random.default_rng(number + int(1000 * value)).random(20_000)}
            )
            digest = sha256_file(path)
            named[which] = {"sha256": digest, "size": path.stat().st_size, "epoch": epochs}
            path.rename(path.with_name(f"{digest}.safetensors"))
        record = {"source": {"commit": commit, "dirty": False if commit else None}, "stage": "any"}
        for stage in ("train", "bandwidth", "evaluation", "recognition"):
            content = {"stage": stage, "epochs": epochs, "value": value, "block": block.seeds}
            write_json(block.results_folder / f"{stage}.json", content)
            write_json(block.results_folder / f"{stage}.run.json", record)
        write_json(block.results_folder / "weights.json", {"epochs": epochs, **named})
        self.note(block, commit)
        write_tensors(
            block.measures / "evaluation.safetensors", {"fold0": np.full((1, 1, 9), value)}
        )

    def note(self, block: Block, commit: str | None = COMMIT) -> None:
        write_json(
            block.origin_file,
            {"commit": commit, "package": package_digest(self.root), "data": "d" * 64},
        )

    def leave_state(self, block: Block, step: int) -> None:
        """What an interrupted training leaves."""
        self.note(block)
        folder = block.state / "checkpoints" / f"digits-{block.model}-{block.seeds}-{'0' * 16}"
        write_json(folder / "run.json", {"config": {"epochs": block.epochs}, "code": "x"})
        write_json(folder / "attempts.json", {"starts": 1})
        write_tensors(folder / f"step-{step:012d}.safetensors", {"parameter/w": np.arange(9.0)})
        write_json(folder / f"step-{step:012d}.json", {"step": step})

    def files(self) -> dict[str, bytes]:
        """All that lies there, but for locks, which are empty."""
        found = [path for path in self.root.rglob("*") if path.is_file()]
        found = [path for path in found if not path.name.endswith("lock")]
        return {path.relative_to(self.root).as_posix(): path.read_bytes() for path in found}


Standing = Callable[..., Place]


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Standing:
    """Makes a machine, or goes to one that was made."""

    def place(name: str, plan: dict[str, Any] | None = None, **options: Any) -> Place:
        found = Place(tmp_path / name, plan or plan_of("vae", 5, "0", "1", "2"), **options)
        return go(found)

    def go(found: Place) -> Place:
        for module in (sources, unpacking):
            monkeypatch.setattr(module, "package_root", lambda: found.root)
        return found

    place.go = go  # type: ignore[attr-defined]
    return place


@pytest.fixture(scope="module")
def sender(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A machine with two finished blocks of three, and beside it their pack; not to be changed."""
    folder = tmp_path_factory.mktemp("sent")
    place = Place(folder / "sender", plan_of("vae", 5, "0", "1", "2"))
    with pytest.MonkeyPatch.context() as patch:
        for module in (sources, unpacking):
            patch.setattr(module, "package_root", lambda: place.root)
        place.knows_its_commit(COMMIT)
        for number, block in enumerate(place.blocks[:2]):
            place.finish(block, value=number + 0.5)
        pack(place.plan, place.folders, folder / "pack", 300_000, states=False)
    return folder


@pytest.fixture
def packed(at: Standing, sender: Path, tmp_path: Path) -> Path:
    """That machine and the pack, both to be changed; this is the machine in use."""
    at("sender")
    shutil.copytree(sender, tmp_path, dirs_exist_ok=True)
    return tmp_path / "pack"


def results(place: Place) -> dict[str, bytes]:
    return {
        name: content
        for name, content in place.files().items()
        if name.startswith(("results/first/vae", "work/w"))
    }


def test_there_and_back(
    at: Standing, packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sender = Place.__new__(Place)
    sender.root = tmp_path / "sender"
    receiver = at("receiver")
    unpack(receiver.plan, receiver.folders, packed)
    assert "2 of 2 blocks are new here, and 4 files of weights" in capsys.readouterr().out
    assert results(receiver) == results(sender)
    assert [block.is_finished() for block in receiver.blocks] == [True, True, False]
    assert read_sums(receiver.folders.results / "first") == sums_of(
        receiver.folders.results / "first"
    )
    params = yaml.safe_load((receiver.folders.results / "first/params.yaml").read_text())
    assert params == receiver.plan.params_of(receiver.plan.entries[0])
    for path in receiver.folders.weights.iterdir():
        assert sha256_file(path) == path.stem
    values = receiver.blocks[1].measures / "evaluation.safetensors"
    assert values.read_bytes() == (sender.root / values.relative_to(receiver.root)).read_bytes()


def test_as_few_files_as_can_be_and_none_above_the_size(packed: Path) -> None:
    parts = sorted(packed.glob("reference-*.tar.*"))
    sizes = [path.stat().st_size for path in parts]
    assert sizes[:-1] == [300_000] * (len(sizes) - 1)
    assert 0 < sizes[-1] <= 300_000
    assert len(list(packed.iterdir())) == len(parts) + 1
    content = b"".join(path.read_bytes() for path in parts)
    assert (
        len(content)
        < sum(member["size"] for member in read_json(packed / "reference.json")["members"]) + 60_000
    )
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:  # as `cat ... | tar x` reads it
        for member in read_json(packed / "reference.json")["members"]:
            stream = archive.extractfile(member["name"])
            assert stream is not None
            assert hashlib.sha256(stream.read()).hexdigest() == member["sha256"]


def test_packing_again_changes_nothing_and_more_results_replace_the_pack(
    at: Standing, packed: Path, tmp_path: Path
) -> None:
    before = {path.name: path.read_bytes() for path in packed.iterdir()}
    place = at("again", plan_of("vae", 5, "0", "1", "2"))
    shutil.rmtree(place.root)
    (tmp_path / "sender").rename(place.root)
    pack(place.plan, place.folders, packed, 300_000, states=False)
    assert {path.name: path.read_bytes() for path in packed.iterdir()} == before
    (packed / ".reference-0123456789ab.tar.0001.part").write_bytes(b"left by a kill")
    place.finish(place.blocks[2], value=7.0)
    pack(place.plan, place.folders, packed, 1 << 30, states=False)
    assert sorted(path.name[:10] for path in packed.iterdir()) == ["reference-", "reference."]


def test_unpacking_again_changes_nothing(
    at: Standing, packed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = at("receiver")
    unpack(place.plan, place.folders, packed)
    before = {path: path.stat().st_mtime_ns for path in place.root.rglob("*") if path.is_file()}
    capsys.readouterr()
    unpack(place.plan, place.folders, packed)
    said = capsys.readouterr()
    assert (said.out, said.err) == (
        "unpack: 0 of 2 blocks are new here, and 0 files of weights\n",
        "",
    )
    assert before == {
        path: path.stat().st_mtime_ns for path in place.root.rglob("*") if path.is_file()
    }


def test_a_copy_without_git_learns_its_commit(at: Standing, packed: Path) -> None:
    place = at("node")
    assert present(place.folders).commit is None
    unpack(place.plan, place.folders, packed)
    assert present(place.folders).commit == COMMIT
    (place.root / "replicate/__init__.py").write_text("edited = 1\n")
    assert present(place.folders).commit is None


def test_what_is_here_stays(at: Standing, packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = at("receiver")
    place.finish(place.blocks[0], value=9.0)
    before = {path.name: path.read_bytes() for path in place.blocks[0].results_folder.iterdir()}
    unpack(place.plan, place.folders, packed)
    assert {
        path.name: path.read_bytes() for path in place.blocks[0].results_folder.iterdir()
    } == before
    assert "has other results than the pack; those that are here stay" in capsys.readouterr().err
    assert place.blocks[1].is_finished()


def test_a_longer_training_takes_the_place_of_a_shorter_one(
    at: Standing, packed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = at("receiver")
    place.finish(place.blocks[0], value=9.0, epochs=3)
    unpack(place.plan, place.folders, packed)
    assert "the results of 3 epochs are replaced by those of 5" in capsys.readouterr().err
    assert read_json(place.blocks[0].results_folder / "train.json")["value"] == 0.5


def test_states_come_with_a_pack_where_they_are_asked_for(at: Standing, tmp_path: Path) -> None:
    sender = at("sender")
    sender.leave_state(sender.blocks[1], 7)
    pack(sender.plan, sender.folders, tmp_path / "without", 1 << 20, states=False)
    pack(sender.plan, sender.folders, tmp_path / "with", 1 << 20, states=True)
    place = at("receiver")
    unpack(place.plan, place.folders, tmp_path / "without")
    assert not place.blocks[1].states()
    unpack(place.plan, place.folders, tmp_path / "with")
    assert [settings["config"]["epochs"] for _, settings in place.blocks[1].states()] == [5]
    there = {
        path.relative_to(sender.root): path.read_bytes()
        for path in sender.blocks[1].state.rglob("*.*")
    }
    here = {
        path.relative_to(place.root): path.read_bytes()
        for path in place.blocks[1].state.rglob("*.*")
    }
    assert here == there


def test_a_running_block_is_left_alone(
    at: Standing, packed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = at("receiver")
    with place.blocks[0].locked() as handle:
        assert handle is not None
        unpack(place.plan, place.folders, packed)
    assert "is running here; what the pack has of it is left out" in capsys.readouterr().err
    assert [block.is_finished() for block in place.blocks] == [False, True, False]


def _parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("reference-*.tar.*"))


def _flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def _manifest(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        content = read_json(folder / "reference.json")
        change(content)
        write_json(folder / "reference.json", content)

    return damage


def _archive(change: Callable[[tarfile.TarInfo], None]) -> Callable[[Path], None]:
    """Writes the archive anew with its first file changed, and its digests right."""

    def damage(folder: Path) -> None:
        content = b"".join(path.read_bytes() for path in _parts(folder))
        made = io.BytesIO()
        with (
            tarfile.open(fileobj=io.BytesIO(content)) as old,
            tarfile.open(fileobj=made, mode="w") as new,
        ):
            for number, about in enumerate(old):
                stream = old.extractfile(about)
                if number == 0:
                    change(about)
                new.addfile(about, stream if about.isreg() else None)
        first, *others = _parts(folder)
        first.write_bytes(made.getvalue())
        for path in others:
            path.unlink()
        manifest = read_json(folder / "reference.json")
        part = {"name": first.name, "size": first.stat().st_size, "sha256": sha256_file(first)}
        write_json(folder / "reference.json", manifest | {"parts": [part]})

    return damage


def _outside(folder: Path) -> None:
    """Manifest and archive agree on a path that leads out of where a pack is taken in."""
    name = "results/../../../outside"
    _manifest(lambda content: content["members"][0].update(name=name))(folder)
    _archive(lambda about: setattr(about, "name", name))(folder)


def _swap_parts(folder: Path) -> None:
    first, second = (part["name"] for part in read_json(folder / "reference.json")["parts"][:2])
    (folder / first).rename(folder / "x")
    (folder / second).rename(folder / first)
    (folder / "x").rename(folder / second)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _of_manifest(key: str, **values: object) -> Callable[[Path], None]:
    """Changes the fourth of the manifest's members, or its first block or part."""
    number = 3 if key == "members" else 0
    return _manifest(lambda content: content[key][number].update(values))


def _name_in_manifest(name: str) -> Callable[[Path], None]:
    return _manifest(lambda content: content["members"][0].update(name=name))


def _name_in_archive(name: str) -> Callable[[Path], None]:
    return _archive(lambda header: setattr(header, "name", name))


def _into_link(header: tarfile.TarInfo) -> None:
    header.type = tarfile.SYMTYPE
    header.linkname = "/etc"


def _add_member(content: dict[str, Any]) -> None:
    content["members"].append({"name": "results/x", "size": 1, "sha256": "0" * 64})


def _change_recipe(content: dict[str, Any]) -> None:
    content["entries"]["first"]["models"]["vae"]["digits"].update(learning_rate=0.5)


def _change_protocol(content: dict[str, Any]) -> None:
    content["entries"]["first"]["likelihood"].update(samples=999)


Damage = Callable[[Path], object]
DAMAGES: dict[str, Damage] = {
    "a bit of the first part": lambda folder: _flip(_parts(folder)[0], 700),
    "a bit of the last part": lambda folder: _flip(_parts(folder)[-1], 100),
    "a part cut short": lambda folder: _cut(_parts(folder)[1]),
    "an empty part": lambda folder: _parts(folder)[0].write_bytes(b""),
    "two parts swapped": _swap_parts,
    "a manifest that is no JSON": lambda folder: (folder / "reference.json").write_text("{"),
    "a manifest of something else": lambda folder: write_json(folder / "reference.json", [1]),
    "a manifest of a later version": _manifest(lambda content: content.update(pack=2)),
    "a digest of a part": _of_manifest("parts", sha256="0" * 64),
    "a digest of a file": _of_manifest("members", sha256="0" * 64),
    "a size of a file": _of_manifest("members", size=1),
    "a file too many in the list": _manifest(_add_member),
    "a file too few in the list": _manifest(lambda content: content["members"].pop()),
    "a path that climbs": _name_in_manifest("results/../../outside"),
    "an absolute path": _name_in_manifest("/tmp/outside"),
    "a path elsewhere": _name_in_manifest("other/file"),
    "no path": _name_in_manifest("."),
    "a part elsewhere": _of_manifest("parts", name="../x"),
    "another name in the archive": _name_in_archive("results/other"),
    "a climbing name in the archive": _name_in_archive("../outside"),
    "a climbing name that both agree on": _outside,
    "a link in the archive": _archive(_into_link),
}
FAULTS: dict[str, tuple[Damage, str]] = {
    **{name: (damage, "is damaged") for name, damage in DAMAGES.items()},
    "a part missing": (lambda folder: _parts(folder)[1].unlink(), "is missing"),
    "no manifest": (lambda folder: (folder / "reference.json").unlink(), "holds no pack"),
    "no folder": (lambda folder: shutil.rmtree(folder), "holds no pack"),
    "a block of no entry": (_of_manifest("blocks", entry="other"), "of another plan"),
    "a block of other seeds": (_of_manifest("blocks", seeds="9"), "of another plan"),
    "other settings": (_manifest(_change_recipe), "of another plan"),
    "another protocol": (_manifest(_change_protocol), "of another plan"),
    "other code": (
        _manifest(lambda content: content["source"].update(package="0" * 64)),
        "made by other code",
    ),
}


@pytest.mark.parametrize("fault", list(FAULTS))
def test_a_pack_that_cannot_be_taken_in_changes_nothing(
    at: Standing,
    packed: Path,
    fault: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = at("receiver")
    place.finish(place.blocks[0], value=9.0)
    before = place.files()
    damage, sentence = FAULTS[fault]
    damage(packed)
    monkeypatch.chdir(place.root)
    words = ["--plan", "plan.yaml", "--folder", "work", "--results", "results"]
    with pytest.raises(SystemExit) as caught:
        main(["reference", *words, "--unpack", str(packed)])
    assert caught.value.code == 2
    message = capsys.readouterr().err
    assert sentence in message
    assert message.startswith("replicate reference: ")
    assert message.count("\n") == 1
    assert place.files() == before


def test_an_archive_written_anew_without_a_change_is_taken_in(at: Standing, packed: Path) -> None:
    """The control of the faults above: what writes the archive anew is not itself what is
    refused.
    """
    place = at("receiver")
    _archive(lambda about: None)(packed)
    unpack(place.plan, place.folders, packed)
    assert place.blocks[0].is_finished()


def _repository(root: Path) -> str:
    """Makes a repository of a folder; its commit."""
    (root / ".gitignore").write_text("work/\nresults/\n")
    run_git(root, "init", "--quiet")
    run_git(root, "add", "--all")
    run_git(root, "commit", "--quiet", "-m", "first")
    return run_git(root, "rev-parse", "HEAD")


def test_a_checkout_refuses_a_commit_that_it_does_not_have(at: Standing, packed: Path) -> None:
    place = at("checkout")
    _repository(place.root)
    with pytest.raises(
        ReplicateError, match=r"of another commit: first vae seeds 0 belongs to cccccccccccc, which"
    ):
        unpack(place.plan, place.folders, packed)
    assert not place.folders.results.exists()
    assert not place.folders.work.exists()


def test_from_a_checkout_to_a_node_without_git_and_back(at: Standing, tmp_path: Path) -> None:
    """The checkout's empty pack tells the node its commit; what the node finished comes back with
    it.
    """
    checkout = at("checkout")
    commit = _repository(checkout.root)
    pack(checkout.plan, checkout.folders, tmp_path / "there", 1 << 20, states=False)
    node = at("node")
    node.finish(node.blocks[0], commit=None)
    unpack(node.plan, node.folders, tmp_path / "there")
    pack(node.plan, node.folders, tmp_path / "back", 1 << 20, states=False)
    at.go(checkout)  # type: ignore[attr-defined]
    unpack(checkout.plan, checkout.folders, tmp_path / "back")
    assert read_json(checkout.blocks[0].results_folder / "train.run.json")["source"] == {
        "commit": commit,
        "dirty": False,
    }
    assert read_json(checkout.blocks[0].origin_file)["commit"] == commit


def test_a_checkout_refuses_unknown_code_of_no_commit(at: Standing, tmp_path: Path) -> None:
    node = at("node", code="edited")
    node.finish(node.blocks[0], commit=None)
    pack(node.plan, node.folders, tmp_path / "back", 1 << 20, states=False)
    checkout = at("checkout")
    _repository(checkout.root)
    with pytest.raises(ReplicateError, match="names none, and its code is not that of commit"):
        unpack(checkout.plan, checkout.folders, tmp_path / "back")


@pytest.mark.parametrize(
    ("text", "size"),
    [("16M", 16 << 20), ("500K", 500 << 10), ("2g", 2 << 30), ("65536", 65536), (" 1M ", 1 << 20)],
)
def test_sizes(text: str, size: int) -> None:
    assert size_of(text) == size


@pytest.mark.parametrize("text", ["", "16 M", "-1", "1.5M", "M", "16MB", "1T", str(SMALLEST - 1)])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ReplicateError, match="--largest"):
        size_of(text)


def test_a_list_that_is_above_the_size_is_refused() -> None:
    """The manifest is a file of the pack, too: some 150 bytes for each file in it."""

    def manifest(count: int) -> Manifest:
        members = tuple(Member(name=f"results/{k}", size=1, sha256="0" * 64) for k in range(count))
        source = Origin(commit=None, package="0" * 64)
        return Manifest(pack=1, source=source, entries={}, blocks=(), members=members, parts=())

    refuse_long_lists(manifest(400), SMALLEST)
    with pytest.raises(ReplicateError, match="the list of contents alone takes"):
        refuse_long_lists(manifest(600), SMALLEST)
