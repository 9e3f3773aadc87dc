"""The picture of the rooms: arrows by hand, and the committed picture against the imports."""

import subprocess
import sys

from replicate.storage.paths import package_root
from tools.rooms import depth, essential, grouped, rows_of


def test_an_arrow_that_follows_from_others_is_left_out() -> None:
    groups = grouped({"page": {"verdicts", "files"}, "verdicts": {"files"}, "files": set()})
    page, verdicts, files = ("page",), ("verdicts",), ("files",)
    assert essential(groups) == [(page, verdicts), (verdicts, files)]
    assert depth(groups, page) == 2
    assert rows_of(groups) == [[page], [verdicts], [files]]


def test_rooms_that_import_each_other_share_a_box() -> None:
    groups = grouped({"sweep": {"models"}, "models": {"sweep", "files"}, "files": set()})
    assert groups == {("models", "sweep"): {("files",)}, ("files",): set()}


def test_the_picture_is_that_of_the_imports() -> None:
    command = [sys.executable, str(package_root() / "tools/rooms.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
