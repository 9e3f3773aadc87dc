"""The page on paper: whole, with every fold open and in light colours, with and without
JavaScript.
"""

import re
import shutil
import subprocess
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.report.page_helpers import parsed, without, words

PDFTOTEXT = shutil.which("pdftotext")
#: CSS pixels between the margins of A4, of 1 cm each.
A4_WIDTH = 718
FOLDED_TABLES = (
    "details:not([open]) table:not(#made table, .how table, .behind-numbers table, "
    ".every-stage table, .analyst table, .trials table, .own-run.reduced table)"
)
#: What is for copying or for a press, and would fill more pages than all the rest: commands, the
#: numbers behind a plot or a sum, links from a row, trials, what other analyses would say, and the
#: reduced form beside a full one.
LEFT_OUT = (
    "//section[@id='made']",
    "//details[@class='how']",
    "//*[contains(@class, 'behind-numbers')]",
    "//*[@class='behind']",
    "//details[@class='every-stage']",
    "//p[@class='commands']",
    "//details[@class='analyst']",
    "//details[@class='trials']",
    "//details[@class='own-run reduced']",
)


@pytest.fixture
def shown(full_html: str) -> str:
    return full_html


def squeezed(text: str) -> str:
    """The text in small letters without white space, hyphens and ligatures, for lines break
    elsewhere on paper.
    """
    return "".join(unicodedata.normalize("NFKC", text).lower().replace("-", "").split())


def on_paper(document: Any) -> Any:
    """The page without what is for the screen, words that are not seen, and code, which breaks
    anywhere.
    """
    screen = (
        "//head",
        "//nav",
        "//button",
        "//footer",
        "//script",
        "//label",
        "//a[@class='skip']",
        *LEFT_OUT,
        "//div[@class='live']",
    )
    return without(
        document, *screen, "//*[local-name()='svg']", "//code", "//*[@class='visually-hidden']"
    )


@pytest.mark.parametrize(
    "javascript",
    [
        pytest.param(True, id="javascript"),
        pytest.param(False, id="no-javascript", marks=pytest.mark.slow),
    ],
)
def test_every_title_and_fold_is_printed(
    opened: Callable[..., Any], full_html: str, tmp_path: Path, javascript: bool
) -> None:
    if PDFTOTEXT is None:
        pytest.skip("no pdftotext on PATH (Debian: poppler-utils)")
    page, file = opened(java_script_enabled=javascript, color_scheme="dark"), tmp_path / "page.pdf"
    page.pdf(
        path=file, format="A4", margin=dict.fromkeys(("top", "right", "bottom", "left"), "1cm")
    )
    read = subprocess.run([PDFTOTEXT, file, "-"], check=True, capture_output=True, text=True).stdout
    document, printed = parsed(full_html), squeezed(read)
    shown = without(parsed(full_html), *LEFT_OUT)
    titles = [words(title) for title in shown.xpath("//h1 | //h2[not(@class)] | //h3")]
    assert len(titles) > 12
    assert [title for title in titles if squeezed(title) not in printed] == []
    assert read.count("Every seed and every draw of samples") == 3
    wanted = Counter(re.findall(r"[a-z]{4,}", " ".join(on_paper(document).itertext()).lower()))
    assert {word: count for word, count in wanted.items() if printed.count(word) < count} == {}


@pytest.mark.parametrize(
    "javascript",
    [
        pytest.param(True, id="javascript", marks=pytest.mark.slow),
        pytest.param(False, id="no-javascript"),
    ],
)
def test_folds_are_open_on_paper_only(opened: Callable[..., Any], javascript: bool) -> None:
    page = opened(java_script_enabled=javascript)
    folded = page.locator(FOLDED_TABLES)
    assert folded.count() > 5
    assert not any(table.is_visible() for table in folded.all())
    page.emulate_media(media="print")
    assert all(table.is_visible() for table in folded.all())


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_paper_is_light(opened: Callable[..., Any], theme: str) -> None:
    page = opened(color_scheme="dark")
    page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
    page.emulate_media(media="print", color_scheme="dark")
    look = "selector => { const look = getComputedStyle(document.querySelector(selector)); return %s; }"
    assert page.evaluate(look % "[look.color, look.backgroundColor]", "body") == [
        "rgb(27, 31, 36)",
        "rgb(255, 255, 255)",
    ]
    assert page.evaluate(look % "look.fill", "svg.plot text") == "rgb(27, 31, 36)"
    assert page.evaluate(look % "look.fill", ".fill-series-0") == "rgb(1, 115, 178)"


def test_no_table_is_wider_than_the_paper(opened: Callable[..., Any]) -> None:
    page = opened(viewport={"width": A4_WIDTH, "height": 1000})
    page.emulate_media(media="print")
    wide = "[...document.querySelectorAll('table, figure')].filter(e => e.getBoundingClientRect().right > innerWidth + 1)"
    assert page.evaluate(f"{wide}.map(e => e.textContent.trim().slice(0, 80))") == []
