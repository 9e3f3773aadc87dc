"""The end of `make report` tells what the page's first screen says."""

import subprocess
import sys
from pathlib import Path

from replicate.storage.paths import package_root
from tools.print_answer import sentences


def test_paragraphs_of_the_answer_alone_are_told_without_marks() -> None:
    page = (
        "<p>before</p><div class='a sentences'><p><b>Replicated:</b> x <a href='#x'>and y</a>"
        "<br>&amp; <img alt=''>z.</p>\n<p>Open:\n w</p></div><p>after</p>"
    )
    assert sentences(page) == ["Replicated: x and y& z.", "Open: w"]


def test_a_page_without_an_answer_has_none() -> None:
    assert sentences("<div><p>text</p></div>") == []


def test_it_prints_lines_that_fit_a_terminal(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<div class=sentences><p>" + "many words " * 40 + "</p></div>")
    command = [sys.executable, str(package_root() / "tools/print_answer.py"), str(page)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) > 1
    assert max(map(len, lines)) <= 100
    assert " ".join(done.stdout.split()) == ("many words " * 40).strip()


def test_a_page_that_is_missing_is_named(tmp_path: Path) -> None:
    command = [sys.executable, str(package_root() / "tools/print_answer.py"), "no-page.html"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == "no-page.html does not exist; run `make report` first.\n"
