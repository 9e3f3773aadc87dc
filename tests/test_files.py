"""Files that appear whole or not at all; faults are real: a full file system, a kill, a folder in
the way.
"""

import hashlib
import json
import math
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from replicate.errors import ReplicateError
from replicate.storage.files import (
    CONTENT,
    atomic_write,
    canonical_json,
    content_digest,
    read_json,
    read_tensors,
    write_json,
    write_tensors,
)


def test_all_outputs_appear_together_or_none(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "sub" / "two"
    one.write_text("before")

    def break_off() -> None:
        with atomic_write(one, two) as (first, _):
            first.write_text("after")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        break_off()
    assert one.read_text() == "before"
    assert not two.exists()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["one", "sub"]
    with atomic_write(one, two) as (first, second):
        first.write_text("after")
        second.write_text("after")
    assert one.read_text() == two.read_text() == "after"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["one", "sub", "two"]


def test_a_kill_in_the_middle_of_a_write_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "result.json"
    write_json(target, {"old": 1})
    code = (
        "import os, signal, sys; from pathlib import Path; from replicate.storage.files "
        "import atomic_write\n"
        "with atomic_write(Path(sys.argv[1])) as (part,):\n"
        "    part.write_text('{\"new\":'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    process = subprocess.run([sys.executable, "-c", code, str(target)], check=False)
    assert process.returncode == -signal.SIGKILL
    assert read_json(target) == {"old": 1}


def test_a_file_that_cannot_be_read_meanwhile_is_named_and_not_the_target(tmp_path: Path) -> None:
    target, missing = tmp_path / "out.json", tmp_path / "in" / "missing.json"
    with (
        pytest.raises(ReplicateError, match=f"cannot use {missing}: No such file"),
        atomic_write(target) as (temporary,),
    ):
        shutil.copyfile(missing, temporary)
    assert list(tmp_path.iterdir()) == []


def test_what_a_kill_leaves_of_a_write_within_a_write_is_cleared(tmp_path: Path) -> None:
    """As of a data set, which writes its tensors atomically into a file that is not there yet."""
    target = tmp_path / "result.json"
    killed = (
        "import os, signal, sys; from pathlib import Path\n"
        "from replicate.storage.files import atomic_write\n"
        "with atomic_write(Path(sys.argv[1])) as (outer,), atomic_write(outer):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", killed, str(target)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 2
    write_json(target, {})
    assert list(tmp_path.iterdir()) == [target]


def test_what_a_killed_write_left_is_removed_by_the_next_but_never_what_is_being_written(
    tmp_path: Path,
) -> None:
    """Of the same target only; while another process writes there, whoever it is, nothing is
    removed.
    """
    target, stale = tmp_path / "result.json", tmp_path / ".result.json.a1b2c3d4.part"
    others = [tmp_path / ".other.json.a1b2c3d4.part", tmp_path / ".result.json.part"]
    for path in (stale, *others):
        path.write_text("x")
    code = (
        "import sys; from pathlib import Path; from replicate.storage.files import atomic_write\n"
        "with atomic_write(Path(sys.argv[1]) / 'other.json') as (part,): print(flush=True); "
        "input(); part.write_text('1')"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout is not None
    writer.stdout.readline()
    assert not others.pop(0).exists(), "the other writer clears its own target's"
    write_json(target, 1)
    assert stale.exists()
    assert len(list(tmp_path.glob(".other.json.*.part"))) == 1
    writer.communicate("\n")
    assert (tmp_path / "other.json").read_text() == "1"
    write_json(target, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".result.json.part",
        "other.json",
        "result.json",
    ]


def _limit_file_size() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))


def test_a_file_over_the_size_limit_is_one_sentence_and_nothing_is_lost(tmp_path: Path) -> None:
    target = tmp_path / "big.json"
    target.write_text("{}")
    code = (
        "import sys; from pathlib import Path; from replicate.storage.files import write_json\n"
        + (
            "from replicate.errors import ReplicateError\n"
            "try: write_json(Path(sys.argv[1]), list(range(10000)))\n"
            "except ReplicateError as error: print(error)"
        )
    )
    process = subprocess.run(
        [sys.executable, "-c", code, str(target)],
        preexec_fn=_limit_file_size,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "big.json: the file would exceed the size this process may write" in process.stdout
    assert target.read_text() == "{}"
    assert [path.name for path in tmp_path.iterdir()] == ["big.json"]


@pytest.fixture
def small_disk(tmp_path: Path) -> "os.PathLike[str]":
    """A file system of 256 KiB, mounted for the test; skips where this user may not mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("this user may not mount a small file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_one_sentence_and_nothing_is_lost(small_disk: Path) -> None:
    target = small_disk / "weights.safetensors"
    write_tensors(target, {"w": np.arange(1000.0)})
    before = target.read_bytes()
    with pytest.raises(
        ReplicateError, match=r"weights\.safetensors: .*(disk is full|No space left)"
    ):
        write_tensors(target, {"w": np.arange(100_000.0)})
    assert target.read_bytes() == before
    with pytest.raises(ReplicateError, match="the disk is full; free some space"):
        write_json(small_disk / "x.json", "x" * 1_000_000)
    assert [path.name for path in small_disk.iterdir()] == ["weights.safetensors"]


def test_a_read_only_folder_is_one_sentence(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(ReplicateError, match="the file system is read-only; choose another folder"):
        write_json(small_disk / "x.json", {})


def test_a_file_where_a_folder_should_be_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("")
    with pytest.raises(ReplicateError, match="move that file away"):
        write_json(tmp_path / "results" / "x.json", {})


def test_tensors_round_trip_and_equal_arrays_give_equal_bytes(tmp_path: Path) -> None:
    arrays = {
        "b": np.arange(6, dtype=np.int64).reshape(2, 3),
        "a": np.array([1.5, math.nan], dtype=np.float32),
    }
    about = {name: name * 3 for name in "zyxwvutsrq"}
    write_tensors(tmp_path / "1", arrays, about)
    write_tensors(tmp_path / "2", dict(reversed(arrays.items())), dict(reversed(about.items())))
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()
    found, metadata = read_tensors(tmp_path / "1")
    assert metadata == about
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def test_tensor_files_are_those_of_the_safetensors_library(tmp_path: Path) -> None:
    """Byte for byte, for every type and awkward names and shapes, with one word of metadata (it
    does not sort them).
    """
    chance = np.random.default_rng(0)
    arrays = {
        f'{name}/{kind} é"\\': chance.integers(0, 2, size=shape).astype(kind)
        for kind in (
            "float64",
            "float32",
            "float16",
            "int64",
            "int32",
            "int16",
            "int8",
            "uint8",
            "uint16",
            "bool",
        )
        for name, shape in (("b", (3, 2)), ("a", (2, 0)), ("c", (1,)))
    }
    for metadata in (None, {"about": 'ü"\n\x7f'}):
        write_tensors(tmp_path / "x", arrays, metadata, digest=False)
        assert (tmp_path / "x").read_bytes() == save(arrays, metadata)
    write_tensors(tmp_path / "x", arrays)
    assert (tmp_path / "x").read_bytes() == save(arrays, {CONTENT: content_digest(arrays, {})})
    with pytest.raises(ValueError, match="complex128"):
        write_tensors(tmp_path / "x", {"c": np.zeros(1, complex)})


#: What changes the content of a tensor file that stays whole: a bit of a tensor, its name, type or
#: shape, a word.
EDITS = {
    "bit": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
    "name": lambda content: content.replace(b'"w"', b'"v"'),
    "type": lambda content: content.replace(b"F64", b"I64"),
    "shape": lambda content: content.replace(b"[3,4]", b"[4,3]"),
    "metadata": lambda content: content.replace(b"of digits", b"of dagits"),
    "digest": lambda content: content.replace(
        b'"content_sha256":"', b'"content_sha256":"0', 1
    ).replace(b'"},"w', b'},"w'),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_tensor_file_whose_content_was_changed_is_refused(tmp_path: Path, edit: str) -> None:
    path = tmp_path / "x.safetensors"
    write_tensors(path, {"w": np.arange(12.0).reshape(3, 4)}, {"about": "of digits"})
    whole = path.read_bytes()
    path.write_bytes(EDITS[edit](whole))
    assert path.read_bytes() != whole
    with pytest.raises(ReplicateError, match="x.safetensors is not .*; run `sample` again"):
        read_tensors(path, "sample")


def test_a_tensor_file_of_an_earlier_version_has_no_digest_and_is_read(tmp_path: Path) -> None:
    write_tensors(tmp_path / "x", {"w": np.arange(3)}, {"about": "of digits"}, digest=False)
    tensors, metadata = read_tensors(tmp_path / "x")
    assert (tensors["w"].tolist(), metadata) == ([0, 1, 2], {"about": "of digits"})


def test_the_digest_is_of_names_types_shapes_bytes_and_words() -> None:
    """Against its definition, written out; equal in any order, of any memory layout."""
    arrays = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.array(True)}
    of_bytes = {
        "a": ["bool", [], hashlib.sha256(b"\1").hexdigest()],
        "b": ["float32", [2, 3], hashlib.sha256(struct.pack("<6f", *range(6))).hexdigest()],
    }
    text = (
        json.dumps({"metadata": {"x": "y"}, "tensors": of_bytes}, sort_keys=True, indent=1) + "\n"
    )
    assert content_digest(arrays, {"x": "y"}) == hashlib.sha256(text.encode()).hexdigest()
    turned = {"a": arrays["a"], "b": np.asfortranarray(arrays["b"])}
    assert content_digest(turned, {"x": "y"}) == content_digest(arrays, {"x": "y"})


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "noise"])
def test_damaged_tensor_files_are_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "x.safetensors"
    write_tensors(path, {"w": np.arange(1000.0)})
    content = {"empty": b"", "truncated": path.read_bytes()[:-100], "noise": os.urandom(500)}.get(
        damage
    )
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(
        ReplicateError, match=r"x\.safetensors (does not exist|is not a whole safetensors file)"
    ):
        read_tensors(path)


@pytest.mark.parametrize("damage", ["none", "truncated", "noise"])
def test_tensor_files_are_read_where_files_cannot_be_mapped_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    """A whole file was called damaged on such a file system (9p, some of FUSE)."""
    path = tmp_path / "x.safetensors"
    tensors = {"w": np.arange(1000.0), "b": np.arange(3, dtype=np.uint8)}
    write_tensors(path, tensors, {"about": "x"})
    if damage != "none":
        path.write_bytes(path.read_bytes()[:-100] if damage == "truncated" else os.urandom(500))

    def refused(*_: object, **__: object) -> None:
        raise OSError("No such device (os error 19)")

    monkeypatch.setattr("replicate.storage.files.safe_open", refused)
    if damage != "none":
        with pytest.raises(ReplicateError, match="is not a whole safetensors file"):
            read_tensors(path)
        return
    read, metadata = read_tensors(path)
    assert metadata == {"about": "x"}
    assert {name: array.tolist() for name, array in read.items()} == {
        name: array.tolist() for name, array in tensors.items()
    }


def test_a_file_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was read until memory ran out."""
    monkeypatch.setattr("replicate.storage.files.MAX_JSON_BYTES", 1000)
    with pytest.raises(ReplicateError, match="/dev/zero is not valid JSON .*more than 1000 bytes"):
        read_json(Path("/dev/zero"))


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(json_values)
def test_canonical_json_is_stable(value: object) -> None:
    import json

    text = canonical_json(value)
    assert json.loads(text) == value
    assert canonical_json(json.loads(text)) == text


def test_not_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json({"x": math.nan})
