"""`tools/screenshot.py`: what it refuses, and the size of its picture."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from replicate.storage.paths import package_root
from tests.report.conftest import CHROMIUM

TOOL = package_root() / "tools/screenshot.py"


def screenshot(
    folder: Path, *words: str, path: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs the tool in a folder, with another PATH if given."""
    environment = os.environ if path is None else os.environ | {"PATH": path}
    command = [sys.executable, str(TOOL), *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)


def test_without_a_report_it_says_what_to_run(tmp_path: Path) -> None:
    done = screenshot(tmp_path)
    assert done.returncode == 1
    assert done.stderr == "report/index.html does not exist; run `make report` first.\n"


def test_without_chromium_it_says_so(tmp_path: Path, full_html: str) -> None:
    (tmp_path / "page.html").write_text(full_html, encoding="utf-8")
    done = screenshot(tmp_path, "--page", "page.html", "--out", "page.png", path=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith("There is no Chromium on PATH")


def test_a_picture_is_a_png_file(tmp_path: Path) -> None:
    done = screenshot(tmp_path, "--out", "report.jpg")
    assert done.returncode == 2
    assert "report.jpg does not end in .png" in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH")
def test_the_same_page_gives_the_same_picture(tmp_path: Path, full_html: str) -> None:
    pytest.importorskip("playwright", reason="playwright is missing: `pip install playwright`")
    (tmp_path / "report").mkdir()
    (tmp_path / "docs").mkdir()
    (tmp_path / "report/index.html").write_text(full_html, encoding="utf-8")
    assert screenshot(tmp_path).stdout == "docs/report.png\n"
    first = shutil.move(tmp_path / "docs/report.png", tmp_path / "first.png")
    assert screenshot(tmp_path).returncode == 0
    with Image.open(first) as one, Image.open(tmp_path / "docs/report.png") as other:
        assert one.size == (1280, 900)
        assert one.tobytes() == other.tobytes()
