"""Downloads against a real server on this machine, healthy and broken."""

import io
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from replicate.datasets.sources import download, transfer
from replicate.datasets.sources.download import fetch
from replicate.errors import ReplicateError
from tests.datasets.data_helpers import (
    QUICK,
    Mirror,
    Toy,
    clean_environment,
    noise,
    serving,
    source_of,
)

CONTENT = noise(300_000)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    clean_environment(monkeypatch)


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    with serving(Mirror({"a": CONTENT})) as running:
        yield running


@pytest.fixture
def other() -> Iterator[Mirror]:
    with serving(Mirror({"a": CONTENT})) as running:
        yield running


def get(folder: Path, *mirrors: Mirror | str, offline: bool = False) -> bytes:
    bases = [entry if isinstance(entry, str) else entry.address for entry in mirrors]
    return fetch(Toy(a=CONTENT), folder, bases, offline, QUICK)["a"].read_bytes()


def refusal(folder: Path, *mirrors: Mirror | str, offline: bool = False) -> str:
    with pytest.raises(ReplicateError) as caught:
        get(folder, *mirrors, offline=offline)
    return str(caught.value)


def ranges(mirror: Mirror) -> list[str | None]:
    return [asked for _, asked in mirror.requests]


def test_downloads_and_leaves_only_the_file_and_the_lock(tmp_path: Path, mirror: Mirror) -> None:
    assert get(tmp_path / "toy", mirror) == CONTENT
    assert sorted(path.name for path in (tmp_path / "toy").iterdir()) == [".lock", "a"]
    assert mirror.requests == [("/a", None)]


def test_a_verified_file_is_not_asked_for_again_and_nothing_is_written(
    tmp_path: Path, mirror: Mirror
) -> None:
    (tmp_path / "a").write_bytes(CONTENT)
    assert get(tmp_path, mirror) == CONTENT
    assert mirror.requests == []
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_file_mirror(tmp_path: Path) -> None:
    source = tmp_path / "with space"
    source.mkdir()
    (source / "a").write_bytes(CONTENT)
    assert get(tmp_path / "toy", source.as_uri()) == CONTENT


def test_resumes_by_range(tmp_path: Path, mirror: Mirror) -> None:
    (tmp_path / "a.part").write_bytes(CONTENT[:200_000])
    assert get(tmp_path, mirror) == CONTENT
    assert ranges(mirror) == ["bytes=200000-"]
    assert mirror.sent == 100_000


def test_resumes_from_a_file_mirror(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(CONTENT)
    part, seen = tmp_path / "a.part", []
    part.write_bytes(CONTENT[:200_000])
    transfer.transfer((tmp_path / "a").as_uri(), part, len(CONTENT), QUICK, 0.0, seen.append)
    assert part.read_bytes() == CONTENT
    assert seen[0] > 200_000


def test_starts_again_where_range_is_ignored(tmp_path: Path, mirror: Mirror) -> None:
    mirror.ranges = False
    (tmp_path / "a.part").write_bytes(CONTENT[:200_000])
    assert get(tmp_path, mirror) == CONTENT
    assert ranges(mirror) == ["bytes=200000-"]
    assert mirror.sent == len(CONTENT)


def test_a_wrong_part_is_dropped_and_fetched_from_the_start(tmp_path: Path, mirror: Mirror) -> None:
    (tmp_path / "a.part").write_bytes(bytes(200_000))
    assert get(tmp_path, mirror) == CONTENT
    assert ranges(mirror) == ["bytes=200000-", None]


def test_a_part_longer_than_the_file_is_dropped(tmp_path: Path, mirror: Mirror) -> None:
    (tmp_path / "a.part").write_bytes(CONTENT + b"x")
    assert get(tmp_path, mirror) == CONTENT
    assert ranges(mirror) == [None]


def test_a_whole_part_is_used_without_a_request(tmp_path: Path, mirror: Mirror) -> None:
    (tmp_path / "a.part").write_bytes(CONTENT)
    assert get(tmp_path, mirror) == CONTENT
    assert mirror.requests == []
    assert not (tmp_path / "a.part").exists()


def test_a_connection_that_ends_early_is_continued(tmp_path: Path, mirror: Mirror) -> None:
    mirror.cut = 120_000
    assert get(tmp_path, mirror) == CONTENT
    assert ranges(mirror) == [None, "bytes=120000-", "bytes=240000-"]


def test_a_connection_that_always_ends_early_is_given_up_and_its_bytes_are_kept(
    tmp_path: Path, mirror: Mirror
) -> None:
    mirror.cut = 10_000
    assert "the connection ended after 50000 of 300000 bytes" in refusal(tmp_path, mirror)
    assert len(mirror.requests) == QUICK.tries
    assert (tmp_path / "a.part").read_bytes() == CONTENT[:50_000]
    assert not (tmp_path / "a").exists()


def test_the_next_mirror_continues_what_the_first_began(
    tmp_path: Path, mirror: Mirror, other: Mirror
) -> None:
    mirror.cut, mirror.stall = 150_000, True
    assert get(tmp_path, mirror, other) == CONTENT
    assert ranges(other) == ["bytes=150000-"]


@pytest.mark.parametrize("status", [403, 404, 503])
def test_http_errors_go_on_to_the_next_mirror(
    tmp_path: Path, mirror: Mirror, other: Mirror, status: int
) -> None:
    mirror.status = status
    assert get(tmp_path, mirror, other) == CONTENT
    assert len(mirror.requests) == 1


def test_wrong_content_of_the_right_size_is_refused(
    tmp_path: Path, mirror: Mirror, other: Mirror
) -> None:
    mirror.files = {"a": CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])}
    message = refusal(tmp_path, mirror)
    assert f"{mirror.address}/a: it sent other content: sha256 " in message
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock"]
    assert get(tmp_path, mirror, other) == CONTENT


@pytest.mark.parametrize("offered", [b"<html>Service unavailable</html>", CONTENT + b"more"])
def test_an_answer_of_another_length_is_refused_before_a_byte_is_kept(
    tmp_path: Path, mirror: Mirror, offered: bytes
) -> None:
    mirror.files = {"a": offered}
    assert f"it offers {len(offered)} bytes instead of 300000" in refusal(tmp_path, mirror)
    assert not (tmp_path / "a.part").exists()


def test_never_writes_more_than_the_expected_size(tmp_path: Path, mirror: Mirror) -> None:
    """Without Content-Length the surplus shows only as it arrives; none of it may reach the
    disk.
    """
    mirror.files, mirror.length = {"a": noise(300_000, 1) + bytes(1_000_000)}, False
    part, largest = tmp_path / "a.part", 0

    def show(done: int) -> None:
        nonlocal largest
        largest = max(largest, done, part.stat().st_size)

    transfer.transfer(f"{mirror.address}/a", part, len(CONTENT), QUICK, 0.0, show)
    assert largest == len(CONTENT) == part.stat().st_size


def test_a_stalled_mirror_is_left(tmp_path: Path, mirror: Mirror) -> None:
    mirror.cut, mirror.stall = 1000, True
    assert "stalled: not a byte for 0.8 s" in refusal(tmp_path, mirror)


def test_a_silent_machine_is_asked_once_for_all_files(tmp_path: Path, mirror: Mirror) -> None:
    mirror.silent = True
    with pytest.raises(ReplicateError, match="2 files") as caught:
        fetch(Toy(a=CONTENT, b=b"other"), tmp_path, [mirror.address], limits=QUICK)
    assert str(caught.value).count("no answer within 0.8 s") == 2
    assert len(mirror.requests) == 1


def test_a_slow_mirror_is_left_for_a_fast_one(
    tmp_path: Path, mirror: Mirror, other: Mirror
) -> None:
    mirror.pause, mirror.piece = 0.05, 1000  # 20 kB/s under a limit of 100
    assert get(tmp_path, mirror, other) == CONTENT
    assert mirror.sent < 30_000
    assert ranges(other)[0] is not None, "the bytes of the slow mirror were thrown away"


def test_a_slow_mirror_is_used_if_there_is_no_other(
    tmp_path: Path, mirror: Mirror, capsys: pytest.CaptureFixture[str]
) -> None:
    mirror.pause, mirror.piece = 0.1, 8_000  # 80 kB/s
    mirror.files = {"a": CONTENT[:60_000]}
    fetch(Toy(a=CONTENT[:60_000]), tmp_path, [mirror.address], limits=QUICK)
    assert (tmp_path / "a").read_bytes() == CONTENT[:60_000]
    assert len(mirror.requests) == 2
    assert "too slow: " in capsys.readouterr().err


def test_mirrors_of_the_environment_come_after_those_of_the_caller(
    tmp_path: Path, mirror: Mirror, other: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPLICATE_MIRRORS", f" {other.address}/x/  {other.address}/y ")
    mirror.status = other.status = 404
    dataset = Toy(a=CONTENT)
    dataset.sources = (source_of("a", CONTENT, f"{mirror.address}/own/a"),)
    with pytest.raises(ReplicateError):
        fetch(dataset, tmp_path, [mirror.address], limits=QUICK)
    assert [path for path, _ in mirror.requests] == ["/a", "/own/a"]
    assert [path for path, _ in other.requests] == ["/x/a", "/y/a"]


def test_proxies_of_the_environment_are_used(
    tmp_path: Path, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", mirror.address)
    assert get(tmp_path, "http://mirror.invalid/data") == CONTENT
    assert mirror.requests == [("http://mirror.invalid/data/a", None)]


@pytest.mark.parametrize("address", ["/media/usb", "ftp://127.0.0.1/", "usb", "http://[half"])
def test_a_mirror_that_is_no_address_is_refused(tmp_path: Path, address: str) -> None:
    assert f"the mirror {address!r} is not an address" in refusal(tmp_path, address)


def test_the_refusal_says_all_that_is_needed(tmp_path: Path, mirror: Mirror) -> None:
    mirror.status = 404
    nowhere = (tmp_path / "nowhere").as_uri()
    message = refusal(tmp_path / "toy", mirror, nowhere)
    for part in (
        "1 file of the data set 'toy' could not be obtained",
        f"  {tmp_path}/toy/a\n",
        f"300000 bytes, sha256 {source_of('a', CONTENT).sha256}",
        f"{mirror.address}/a: HTTP 404 Not Found",
        f"{nowhere}/a: No such file or directory",
        "python -m replicate preset demo && snakemake --cores 8",
    ):
        assert part in message
    assert "there is no address for it" in refusal(tmp_path / "toy")


def test_one_missing_file_does_not_keep_the_others_away(tmp_path: Path, mirror: Mirror) -> None:
    with pytest.raises(ReplicateError, match="1 file of") as caught:
        fetch(Toy(b=b"not there", a=CONTENT), tmp_path, [mirror.address], limits=QUICK)
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert f"{tmp_path}/b" in str(caught.value)


@pytest.mark.parametrize("value", ["1", "true", "yes"])
def test_offline_by_environment(
    tmp_path: Path, mirror: Mirror, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("REPLICATE_OFFLINE", value)
    assert f"{mirror.address}/a: not tried: offline" in refusal(tmp_path, mirror)
    assert mirror.requests == []


@pytest.mark.parametrize("value", ["", "0", "false", "No"])
def test_not_offline(
    tmp_path: Path, mirror: Mirror, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("REPLICATE_OFFLINE", value)
    assert get(tmp_path, mirror) == CONTENT


def test_file_mirrors_count_offline(tmp_path: Path, mirror: Mirror) -> None:
    (tmp_path / "a").write_bytes(CONTENT)
    assert get(tmp_path / "toy", mirror, tmp_path.as_uri(), offline=True) == CONTENT
    assert mirror.requests == []


WATCHED = """
import json, sys, urllib.request
sockets = []
def watch(event, values):
    if event.startswith("socket."):
        sockets.append(event)
sys.addaudithook(watch)
from replicate.__main__ import main
folder, closed = sys.argv[1:]
words = ["fetch", "--dataset", "mnist", "--data-dir", folder, "--out", folder + "/m.json"]
status = main([*words, "--offline"])
offline = list(sockets)
try:  # the control: this hook does see a socket
    urllib.request.urlopen(closed)
except OSError:
    print(json.dumps([status, offline, sockets]))
"""


def test_offline_opens_no_socket(tmp_path: Path) -> None:
    """The interpreter itself reports sockets, torchvision's import and its mirrors included."""
    words = [sys.executable, "-c", WATCHED, str(tmp_path), "http://127.0.0.1:9"]
    answer = subprocess.run(words, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"})
    status, offline, control = json.loads(answer.stdout.splitlines()[-1])
    assert status == 2
    assert offline == []
    assert control != []
    assert answer.stderr.count("https://") >= 4, "the mirrors are named all the same"
    assert "not tried: offline" in answer.stderr


def test_progress_without_a_terminal_is_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(transfer, "REPORT_EVERY", 0.0)
    with transfer.progress("a", 2_000_000) as show:
        show(1_000_000)
    assert capsys.readouterr().err == "fetch: a: 1.0 of 2.0 MB\n"


def test_progress_without_a_terminal_is_quiet_at_first(capsys: pytest.CaptureFixture[str]) -> None:
    with transfer.progress("a", 2_000_000) as show:
        show(1_000_000)
    assert capsys.readouterr().err == ""


def test_progress_on_a_terminal_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    with transfer.progress("a.gz", 1000) as show:
        for done in (400, 100, 1000):  # 100: the server ignored Range and began again
            show(done)
            time.sleep(0.11)  # tqdm draws at most every 0.1 s
        drawn = sys.stderr.getvalue()
    assert "a.gz: 100%" in drawn
    assert "1.00k/1.00k" in drawn


def test_the_demo_command_names_an_existing_preset() -> None:
    name = download.DEMO.split()[4]
    assert name == "demo"
    assert (Path(__file__).parents[2] / "presets" / f"{name}.yaml").is_file()


@pytest.mark.parametrize(
    ("folder", "written"),
    [
        ("m #1 50%", "m #1 50%"),  # as the path is
        ("m #1 50%", "m%20%231%2050%25"),  # as a URL
        ("a?b", "a?b"),
        ("a%20b", "a%20b"),  # a folder that is called so
        ("ü", "%C3%BC"),
    ],
)
def test_a_mirror_on_disk_is_written_as_path_or_as_url(
    tmp_path: Path, folder: str, written: str
) -> None:
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "a").write_bytes(CONTENT)
    for begin in ("file://", "file://localhost", "FILE:"):
        got = get(tmp_path / f"to {len(begin)}", f"{begin}{tmp_path}/{written}", offline=True)
        assert got == CONTENT


@pytest.mark.parametrize(
    "address", ["file://server/share", "file:///a%00b", "file:///" + "x" * 5000]
)
def test_a_mirror_on_disk_that_names_no_path_is_one_reason(tmp_path: Path, address: str) -> None:
    with pytest.raises(
        ReplicateError, match=r"a file:// address names a path on this machine|null|name too long"
    ):
        get(tmp_path / "to", address, offline=True)


def test_a_data_folder_that_cannot_be_looked_at_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(
        ReplicateError, match=r"cannot look at .*: File name too long; name another data folder"
    ):
        get(tmp_path / ("x" * 300))
