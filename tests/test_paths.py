"""Outputs replace plain files only, links keep their place, and home folders are found."""

import argparse
import importlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from replicate.__main__ import SECOND_FILES, STAGES, TOOLS, WRITE_FOLDERS, main
from replicate.datasets import data_folder
from replicate.errors import ReplicateError
from replicate.storage.files import atomic_write, read_json, write_json
from replicate.storage.paths import check_output, home_path


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


#: What stands at a path -> how it is made, and a word of the refusal.
IN_THE_WAY: dict[str, tuple[Callable[[Path], object], str]] = {
    "folder": (Path.mkdir, "it is a folder"),
    "pipe": (os.mkfifo, "it is a pipe"),
    "socket": (_socket, "it is a socket"),
    "link to a device": (lambda path: path.symlink_to("/dev/null"), "it is a device"),
    "link to nothing": (lambda path: path.symlink_to("/mnt/usb/data"), "not mounted"),
    "link to itself": (lambda path: path.symlink_to(path), "is a link to"),
}


@pytest.mark.parametrize("kind", IN_THE_WAY)
def test_what_is_no_plain_file_is_never_replaced(tmp_path: Path, kind: str) -> None:
    make, word = IN_THE_WAY[kind]
    path = tmp_path / "x.json"
    make(path)
    before = path.lstat()
    with pytest.raises(ReplicateError, match=word):
        write_json(path, 1)
    assert path.lstat().st_mode == before.st_mode
    assert path.lstat().st_ino == before.st_ino
    assert [found.name for found in tmp_path.iterdir()] == ["x.json"]


def test_a_link_to_a_plain_file_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    target, link, second = (
        tmp_path / "disk" / "target.json",
        tmp_path / "link.json",
        tmp_path / "second.json",
    )
    write_json(target, "old")
    link.symlink_to("disk/target.json")
    second.symlink_to(link)
    write_json(second, "new")
    assert link.is_symlink()
    assert second.is_symlink()
    assert read_json(target) == "new"
    assert [path.name for path in target.parent.iterdir()] == ["target.json"]


def test_a_link_into_a_store_that_nobody_may_write_is_replaced_and_the_store_stays(
    tmp_path: Path,
) -> None:
    """As `dvc checkout` makes them with `cache.type symlink`: other checkouts lead to the same
    bytes.
    """
    stored, link = tmp_path / "store.json", tmp_path / "x.json"
    write_json(stored, "stored")
    stored.chmod(0o444)
    link.symlink_to(stored)
    write_json(link, "new")
    assert not link.is_symlink()
    assert read_json(link) == "new"
    assert read_json(stored) == "stored"


@pytest.mark.parametrize("name", ["x.json", "x.run.json", "x.csv", "x.safetensors"])
def test_what_stands_where_a_file_beside_the_output_belongs_is_found_before_the_work(
    tmp_path: Path, name: str
) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(ReplicateError, match=name):
        check_output(tmp_path / "x.json")


def needed(name: str) -> list[str] | None:
    """The words that a command needs besides --out; None if it has no --out."""
    parser = argparse.ArgumentParser()
    importlib.import_module(f"replicate.stages.{name}").add_arguments(parser)
    words = []
    for action in parser._actions:
        if action.required and action.dest != "out":
            words += [*action.option_strings[:1], str(next(iter(action.choices or "0")))]
    return words if "--out" in parser._option_string_actions else None


WITH_OUTPUT = {name: words for name in [*STAGES, *TOOLS] if (words := needed(name)) is not None}


def test_most_commands_have_an_output() -> None:
    assert WITH_OUTPUT.keys() >= STAGES.keys()
    assert WITH_OUTPUT.keys() >= {"tune", "preset", "export"} | WRITE_FOLDERS


@pytest.mark.parametrize("name", sorted(WITH_OUTPUT))
def test_every_command_refuses_a_pipe_before_it_reads_anything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    pipe = tmp_path / "out.json"
    os.mkfifo(pipe)
    assert main([name, *WITH_OUTPUT[name], "--out", str(pipe)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"replicate {name}: cannot write {pipe}: it is ")
    assert ("no folder" if name in WRITE_FOLDERS else "a pipe") in said
    assert pipe.is_fifo()


@pytest.mark.parametrize("name", SECOND_FILES)
def test_a_name_for_two_files_is_refused_before_anything_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """`train --out w.json` wrote its weights there, and then its result in their place."""
    ending, _ = SECOND_FILES[name]
    out = tmp_path / f"x{ending}"
    assert main([name, *WITH_OUTPUT[name], "--out", str(out)]) == 2
    assert "the name must end in" in capsys.readouterr().err
    assert not out.exists()


#: Command -> its words, each of which would replace a file that the command reads.
REPLACING = {
    "evaluate": "--samples a.safetensors --bandwidth b.json --data d.safetensors --out a.json",
    "prepare": "--dataset digits --manifest a.json --out a.safetensors",
    "export": "--weights a.safetensors --seed 0 --out ./a.safetensors",
    "measures": "--weights w.safetensors --data d.safetensors --samples s.safetensors"
    " --classifier a.safetensors --out a.json",
    "ranks": "--out a.run.json b.json a.run.json",
    "sample": "--params a.json --weights w.safetensors --out a.json",
    "table": "--params {} --published a.csv --out a.json",
}


@pytest.mark.parametrize("name", REPLACING)
def test_what_a_command_reads_is_never_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([name, *REPLACING[name].split()]) == 2
    assert "is read, and --out " in capsys.readouterr().err


def test_a_fault_in_a_later_command_of_a_line_names_that_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch = ["fetch", "--dataset", "digits", "--out", str(tmp_path / "m.json")]
    prepare = ["prepare", "--dataset", "digits", "--manifest", "m.json", "--out", "/dev/null"]
    assert main([*fetch, "then", *prepare]) == 2
    assert capsys.readouterr().err.startswith("replicate prepare: cannot write /dev/null")


def test_one_file_is_never_written_twice_at_once(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "x")
    (tmp_path / "x").touch()
    with (
        pytest.raises(ReplicateError, match="would be written twice"),
        atomic_write(tmp_path / "x", tmp_path / "link"),
    ):
        pass


@pytest.mark.parametrize(
    ("name", "word"),
    [
        (os.fsdecode(b"caf\xe9.json"), "is not UTF-8"),
        ("x" * 400, "longer than 240 bytes"),
        ("x" * 232 + ".json", "longer than 240 bytes"),  # with the run record beside it
        (".", "it is a folder"),
        ("/", "it is a folder"),
        ("..", "it is a folder"),
        ("gone/x.json", "gone is a link to /mnt/usb"),
    ],
)
def test_names_that_no_output_can_have_are_refused_before_the_work(
    tmp_path: Path, name: str, word: str
) -> None:
    (tmp_path / "gone").symlink_to("/mnt/usb")
    with pytest.raises(ReplicateError, match=word):
        check_output(Path(name) if name in ("/", ".", "..") else tmp_path / name)
    if name == "x" * 400:
        with pytest.raises(ReplicateError, match="File name too long"):
            write_json(tmp_path / name / "x.json", 1)


def test_home_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("REPLICATE_DATA", "~/my data")
    assert data_folder() == Path("/home/somebody/my data")
    assert home_path("a~/~b") == Path("a~/~b")
    monkeypatch.setenv("REPLICATE_DATA", "~nosuchuser/x")
    with pytest.raises(
        ReplicateError, match="REPLICATE_DATA '~nosuchuser/x' names a home folder that is not known"
    ):
        data_folder()


def test_a_link_to_a_disk_that_is_not_mounted_is_named_wherever_it_stands(tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to("/mnt/usb/data")
    with pytest.raises(
        ReplicateError, match=r"/data is a link to /mnt/usb/data, which is not there"
    ):
        write_json(tmp_path / "data" / "mnist" / "x.json", 1)
