"""What must not happen to data: lost, mixed up, half-used. Real processes, real kills, real
damage.
"""

import hashlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from replicate.__main__ import main
from replicate.datasets import mnist
from replicate.datasets.sources.download import fetch
from replicate.datasets.sources.verify import fault
from replicate.errors import ReplicateError
from tests.datasets.data_helpers import (
    QUICK,
    Mirror,
    Toy,
    clean_environment,
    noise,
    serving,
    source_of,
    tiny_mnist,
    write_faces,
    write_images,
)

ROOT = Path(__file__).parents[2]
CONTENT = noise(1_000_000)
#: Fetches the file `a` of 1,000,000 bytes; arguments: folder, mirror. `limit` is the largest file
#: it may write.
FETCH = """
import resource, sys
from pathlib import Path
from replicate.datasets.sources.download import fetch
from replicate.errors import ReplicateError
from tests.datasets.data_helpers import Toy, noise
dataset = Toy(a=noise(1_000_000))
limit = int(sys.argv[3]) if len(sys.argv) > 3 else resource.RLIM_INFINITY
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
try:
    fetch(dataset, Path(sys.argv[1]), [sys.argv[2]])
except ReplicateError as error:
    sys.exit(str(error))
"""


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    clean_environment(monkeypatch)


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    with serving(Mirror({"a": CONTENT})) as running:
        yield running


def start(*words: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-c", FETCH, *map(str, words)]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(condition: object, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def test_kill_9_in_mid_download_then_resume(tmp_path: Path, mirror: Mirror) -> None:
    """Three kills at growing sizes; each run goes on where the killed one was, and the file is
    right at the end.
    """
    mirror.cut, mirror.stall = (
        200_000,
        True,
    )  # the server falls silent, so that the kill is in mid-download
    part, kept = tmp_path / "a.part", 0
    for _ in range(3):
        process = start(tmp_path, mirror.address)
        wait_for(lambda kept=kept: size(part) >= kept + 100_000)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert not (tmp_path / "a").exists()
        assert mirror.requests[-1] == ("/a", f"bytes={kept}-" if kept else None)
        kept = size(part)
        assert part.read_bytes() == CONTENT[:kept]
    with serving(Mirror({"a": CONTENT})) as healthy:
        assert (
            fetch(Toy(a=CONTENT), tmp_path, [healthy.address], limits=QUICK)["a"].read_bytes()
            == CONTENT
        )
        assert healthy.requests == [("/a", f"bytes={kept}-")]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "a"]


def test_killed_fetch_leaves_no_lock_behind(tmp_path: Path, mirror: Mirror) -> None:
    mirror.cut, mirror.stall = 100_000, True
    process = start(tmp_path, mirror.address)
    wait_for(lambda: size(tmp_path / "a.part") >= 65_536)
    process.kill()
    process.communicate()
    with serving(Mirror({"a": CONTENT})) as healthy:
        begun = time.monotonic()
        fetch(Toy(a=CONTENT), tmp_path, [healthy.address], limits=QUICK)
        assert time.monotonic() - begun < 2


def test_two_fetches_at_once_share_one_download(tmp_path: Path, mirror: Mirror) -> None:
    mirror.pause = 0.1  # the first is kept busy until the second waits
    first = start(tmp_path, mirror.address)
    wait_for(lambda: size(tmp_path / "a.part") > 0)
    second = start(tmp_path, mirror.address)
    assert second.stderr is not None
    waiting = second.stderr.readline()
    mirror.pause = 0
    answers = [process.communicate(timeout=20)[1] for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), answers
    assert mirror.requests == [("/a", None)]
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert answers == ["", ""]
    assert f"another fetch is at work in {tmp_path}; waiting until it is done" in waiting


def test_a_file_that_may_not_grow_is_an_error_to_act_on(tmp_path: Path, mirror: Mirror) -> None:
    """A limit on file size stands for a full disk: the write fails in the middle."""
    process = start(tmp_path, mirror.address, 300_000)
    _, message = process.communicate(timeout=20)
    assert process.returncode == 1
    assert message.startswith(f"cannot write {tmp_path}: the file would exceed the size")
    assert len(message.splitlines()) == 1
    assert size(tmp_path / "a.part") <= 300_000
    assert len(mirror.requests) == 1, "a full disk is no reason to ask again"
    assert (
        fetch(Toy(a=CONTENT), tmp_path, [mirror.address], limits=QUICK)["a"].read_bytes() == CONTENT
    )


def test_a_data_folder_that_cannot_be_made_is_an_error_to_act_on(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(ReplicateError, match=r"cannot write .*: part of the path is a file"):
        fetch(Toy(a=CONTENT), tmp_path / "data" / "toy", limits=QUICK)


DAMAGED = {
    "cut short": CONTENT[:-1],
    "too long": CONTENT + b"x",
    "empty": b"",
    "first bit": bytes([CONTENT[0] ^ 1]) + CONTENT[1:],
    "middle": CONTENT[:500_000] + bytes([CONTENT[500_000] ^ 128]) + CONTENT[500_001:],
    "last bit": CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]),
    "another file": noise(1_000_000, 1),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_wrong_file_is_kept_aside_and_fetched_anew(
    tmp_path: Path, mirror: Mirror, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / "a").write_bytes(DAMAGED[name])
    aside = tmp_path / f"a.rejected-{hashlib.sha256(DAMAGED[name]).hexdigest()[:8]}"
    assert (
        fetch(Toy(a=CONTENT), tmp_path, [mirror.address], limits=QUICK)["a"].read_bytes() == CONTENT
    )
    assert aside.read_bytes() == DAMAGED[name]
    told = capsys.readouterr().err
    assert f"it was kept as {aside.name}" in told
    length = len(DAMAGED[name])
    assert (f"has {length} bytes instead of 1000000" in told) is (length != 1_000_000)
    assert ("is cut short" in told) is (length < 1_000_000)


def test_a_wrong_file_is_kept_aside_even_if_there_is_no_other(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"mine")
    aside = tmp_path / f"a.rejected-{hashlib.sha256(b'mine').hexdigest()[:8]}"
    with pytest.raises(ReplicateError, match=f"it was kept as {aside.name}"):
        fetch(Toy(a=CONTENT), tmp_path, offline=True)
    assert aside.read_bytes() == b"mine"
    assert not (tmp_path / "a").exists()


def test_nothing_kept_aside_is_overwritten_by_other_content(tmp_path: Path, mirror: Mirror) -> None:
    digest = hashlib.sha256(b"mine").hexdigest()
    (tmp_path / f"a.rejected-{digest[:8]}").write_bytes(b"something else of the same name")
    (tmp_path / "a").write_bytes(b"mine")
    fetch(Toy(a=CONTENT), tmp_path, [mirror.address], limits=QUICK)
    assert (
        tmp_path / f"a.rejected-{digest[:8]}"
    ).read_bytes() == b"something else of the same name"
    assert (tmp_path / f"a.rejected-{digest}").read_bytes() == b"mine"


def test_two_swapped_files_are_both_refused(tmp_path: Path) -> None:
    one, two = noise(5000, 1), noise(5000, 2)
    with serving(Mirror({"one": one, "two": two})) as mirror:
        (tmp_path / "one").write_bytes(two)
        (tmp_path / "two").write_bytes(one)
        paths = fetch(Toy(one=one, two=two), tmp_path, [mirror.address], limits=QUICK)
    assert (paths["one"].read_bytes(), paths["two"].read_bytes()) == (one, two)
    assert len(list(tmp_path.glob("*.rejected-*"))) == 2


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path: Path, mirror: Mirror) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(ReplicateError, match="is a folder where a file should be"):
        fetch(Toy(a=CONTENT), tmp_path, [mirror.address], limits=QUICK)


def test_every_flipped_bit_is_seen(tmp_path: Path) -> None:
    content, path = noise(16), tmp_path / "a"
    source = source_of("a", content)
    path.write_bytes(content)
    assert fault(path, source) is None
    for place in range(len(content) * 8):
        path.write_bytes((int.from_bytes(content) ^ (1 << place)).to_bytes(len(content)))
        assert fault(path, source), place


def prepare(folder: Path) -> int:
    words = [
        "prepare",
        "--dataset",
        "mnist",
        "--data-dir",
        str(folder),
        "--manifest",
        str(folder / "m.json"),
    ]
    return main([*words, "--out", str(folder / "x.safetensors")])


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with an MNIST of a few images, fetched, from which `prepare` succeeds."""
    tiny_mnist(monkeypatch, tmp_path / "mnist")
    words = [
        "fetch",
        "--dataset",
        "mnist",
        "--data-dir",
        str(tmp_path),
        "--out",
        str(tmp_path / "m.json"),
    ]
    assert main(words) == 0
    assert prepare(tmp_path) == 0
    for path in tmp_path.glob("x*"):
        path.unlink()
    return tmp_path


@pytest.mark.parametrize("damage", ["flip", "cut", "swap", "delete"])
def test_a_source_that_changed_after_fetch_is_never_used(
    fetched: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    one, two = (fetched / "mnist" / mnist.DATASET.sources[k].name for k in (0, 2))
    content = one.read_bytes()
    if damage == "flip":
        one.write_bytes(content[:100] + bytes([content[100] ^ 4]) + content[101:])
    elif damage == "cut":
        one.write_bytes(content[:-1])
    elif damage == "delete":
        one.unlink()
    else:
        one.write_bytes(two.read_bytes())
        two.write_bytes(content)
    assert prepare(fetched) == 2
    message = capsys.readouterr().err
    assert str(one) in message
    assert "python -m replicate fetch --dataset mnist" in message
    assert (str(two) in message) is (damage == "swap")
    assert not list(fetched.glob("*x.*"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"sha256": "', '"sha256": "0'),
        ('"dataset": "mnist"', '"dataset": "digits"'),
        ('"schema": 1', '"schema": 2'),
    ],
)
def test_a_changed_manifest_is_refused(
    fetched: Path, capsys: pytest.CaptureFixture[str], old: str, new: str
) -> None:
    manifest = fetched / "m.json"
    text = manifest.read_text()
    assert old in text
    manifest.write_text(text.replace(old, new))
    assert prepare(fetched) == 2
    assert str(manifest) in capsys.readouterr().err
    assert not list(fetched.glob("*x.*"))


def test_a_manifest_cut_short_is_refused(fetched: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = fetched / "m.json"
    manifest.write_text(manifest.read_text()[:-20])
    assert prepare(fetched) == 2
    assert "is not valid JSON" in capsys.readouterr().err


def stage(name: str, folder: Path, dataset: str) -> int:
    """`fetch` or `prepare` of a data set that lies in `folder`."""
    words = [name, "--dataset", dataset, "--data-dir", str(folder)]
    if name == "fetch":
        return main([*words, "--out", str(folder / "m.json")])
    return main(
        [*words, "--manifest", str(folder / "m.json"), "--out", str(folder / "x.safetensors")]
    )


@pytest.mark.parametrize("damage", ["flip", "cut", "add", "delete", "rename"])
@pytest.mark.parametrize("dataset", ["tfd", "images"])
def test_users_data_that_changed_after_fetch_are_never_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], dataset: str, damage: str
) -> None:
    """Nothing is pinned, so the manifest alone says what was agreed on."""
    if dataset == "tfd":
        file = tmp_path / "tfd" / "TFD_48x48.mat"
        write_faces(file)
    else:
        write_images(tmp_path / "images", [f"{k}.png" for k in range(14)])
        file = tmp_path / "images" / "3.png"
    assert stage("fetch", tmp_path, dataset) == 0
    content = file.read_bytes()
    if damage == "flip":
        file.write_bytes(content[:-40] + bytes([content[-40] ^ 4]) + content[-39:])
    elif damage == "cut":
        file.write_bytes(content[:-1])
    elif damage == "add":
        file.write_bytes(content + b"x")
    elif damage == "delete":
        file.unlink()
    else:
        file.rename(file.with_name("renamed.png"))
    assert stage("prepare", tmp_path, dataset) == 2
    message = capsys.readouterr().err
    assert len(message.splitlines()) == 1
    gone = dataset == "tfd" and damage in ("delete", "rename")
    assert (
        "is missing; " if gone else "it changed since `fetch`; run `python -m replicate fetch"
    ) in message
    assert not list(tmp_path.glob("*x.*"))
    file.with_name("renamed.png").unlink(missing_ok=True)
    file.write_bytes(content)
    assert stage("prepare", tmp_path, dataset) == 0


@pytest.mark.parametrize("dataset", ["digits", "tfd"])
def test_the_manifest_of_another_data_set_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], dataset: str
) -> None:
    write_faces(tmp_path / "tfd" / "TFD_48x48.mat")
    assert stage("fetch", tmp_path, dataset) == 0
    other = "tfd" if dataset == "digits" else "digits"
    assert stage("prepare", tmp_path, other) == 2
    assert f"does not list the files of {other!r}" in capsys.readouterr().err


@pytest.mark.parametrize("stage_name", ["fetch", "prepare"])
def test_a_folder_in_the_place_of_a_users_file_is_an_error_to_act_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], stage_name: str
) -> None:
    write_faces(tmp_path / "tfd" / "TFD_48x48.mat")
    assert stage("fetch", tmp_path, "tfd") == 0
    (tmp_path / "tfd" / "TFD_48x48.mat").unlink()
    (tmp_path / "tfd" / "TFD_48x48.mat").mkdir()
    assert stage(stage_name, tmp_path, "tfd") == 2
    message = capsys.readouterr().err
    assert "TFD_48x48.mat: Is a directory; make it a readable file." in message
    assert len(message.splitlines()) == 1
