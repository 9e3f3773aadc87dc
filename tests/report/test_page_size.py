"""The tool that says how long the page is, at two pages whose length is known."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from replicate.storage.paths import package_root
from tests.report.conftest import CHROMIUM

TOOL = package_root() / "tools/page_size.py"
#: Three sheets of A4, and 4000 pixels on a screen.
PAGE = """<!DOCTYPE html><title>x</title><style>
body { margin: 0 } div { height: 1000px }
@media print { div { height: 1px; break-after: page } div:nth-child(n + 4) { display: none } }
</style><div>1</div><div>2</div><div>3</div><div>4</div>"""


def told(*options: str, page: Path) -> Any:
    return subprocess.run(
        [sys.executable, TOOL, "--page", page, *options], capture_output=True, text=True
    )


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH")
def test_height_and_sheets_are_measured_and_compared(tmp_path: Path) -> None:
    pytest.importorskip("playwright")
    page = tmp_path / "x.html"
    page.write_text(PAGE)
    done = told("--height", "4000", "--sheets", "4", page=page)
    assert "is 4000 pixels high at a width of 1440, at most 4000" in done.stdout
    sheets = int(done.stdout.partition(" and has ")[2].split()[0])
    assert sheets in (3, 4)  # a break after the last element may begin a sheet
    assert done.returncode == 0
    for options in (("--height", "3999"), ("--sheets", str(sheets - 1))):
        done = told(*options, page=page)
        assert done.returncode == 1
        assert "It is too long." in done.stderr


def test_a_page_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = told(page=tmp_path / "none.html")
    assert done.returncode == 1
    assert "none.html does not exist; run `make report` first." in done.stderr
