"""The page is valid HTML, by html-validate, and its tables have no holes, which that does not look
at.
"""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.report.page_helpers import parsed, words

BROKEN = {
    "no-dup-id": ('<h2 id="runs-title">', '<h2 id="table1-title">'),
    "close-order": ("</details>", ""),
    "element-permitted-content": ('<span class="claim">', '<span class="claim"><p>no</p>'),
    "attribute-allowed-values": ('<th scope="row">', '<th scope="line">'),
    "unrecognized-char-ref": ("<h1>", "<h1>&nothing;"),
}


def faults(html_validate: list[str], page: str, folder: Path) -> str:
    """What html-validate says of a page: a line for each fault, nothing of a valid page."""
    file = folder / "page.html"
    file.write_text(page, encoding="utf-8")
    done = subprocess.run([*html_validate, file], capture_output=True, text=True, cwd=folder)
    assert done.stderr == ""
    assert done.returncode == bool(done.stdout)
    return done.stdout


def test_the_page_is_valid(html_validate: list[str], full_html: str, tmp_path: Path) -> None:
    assert faults(html_validate, full_html, tmp_path) == ""


@pytest.mark.parametrize("rule", BROKEN)
def test_a_broken_page_is_not(
    html_validate: list[str], full_html: str, tmp_path: Path, rule: str
) -> None:
    right, wrong = BROKEN[rule]
    assert right in full_html
    assert f"[{rule}]" in faults(html_validate, full_html.replace(right, wrong, 1), tmp_path)


def widths(table: Any) -> list[int]:
    """How many columns each row of a table fills, cells that span rows counted in each of them."""
    found = []
    for group in table.xpath("./thead | ./tbody"):
        rows = group.findall("tr")
        filled = [0] * len(rows)
        for place, row in enumerate(rows):
            for cell in row:
                span = range(place, place + int(cell.get("rowspan", 1)))
                assert span[-1] < len(rows), "a cell reaches below its group of rows"
                for below in span:
                    filled[below] += int(cell.get("colspan", 1))
        found += filled
    return found


def test_every_row_fills_its_table(full_html: str) -> None:
    tables = parsed(full_html).xpath("//table")
    assert len(tables) > 15
    assert {
        words(table.find("caption")): widths(table)
        for table in tables
        if len(set(widths(table))) != 1
    } == {}
