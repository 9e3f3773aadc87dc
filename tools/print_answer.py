"""Prints what the page found, in the sentences of its first screen.

python tools/print_answer.py
"""

import argparse
import sys
import textwrap
from html.parser import HTMLParser
from pathlib import Path

PAGE = Path("report/index.html")
COLUMNS = 100
#: Elements without an end.
VOID = frozenset({"br", "img", "input", "wbr"})


class Sentences(HTMLParser):
    """The paragraphs of the part of the page that answers first (report/templates/answer.html.j2).

    Attributes:
        paragraphs: their texts.
    """

    def __init__(self) -> None:
        super().__init__()
        self.paragraphs: list[str] = []
        #: How many elements are open within that part; 0 outside of it.
        self._depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element begins."""
        classes = (dict(attrs).get("class") or "").split()
        if self._depth and tag not in VOID:
            self._depth += 1
        elif "sentences" in classes:
            self._depth = 1
        if self._depth and tag == "p":
            self.paragraphs.append("")

    def handle_endtag(self, tag: str) -> None:
        """An element ends."""
        if self._depth:
            self._depth -= 1

    def handle_data(self, data: str) -> None:
        """Text, inside of an element."""
        if self._depth and self.paragraphs:
            self.paragraphs[-1] += data


def sentences(page: str) -> list[str]:
    """The paragraphs of a page's answer, as plain text; none where the page has no answer."""
    parser = Sentences()
    parser.feed(page)
    return [" ".join(paragraph.split()) for paragraph in parser.paragraphs]


def main() -> None:
    """Prints them, wrapped."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("page", type=Path, nargs="?", default=PAGE, help="a finished report")
    path = parser.parse_args().page
    if not path.is_file():
        sys.exit(f"{path} does not exist; run `make report` first.")
    for sentence in sentences(path.read_text(encoding="utf-8")):
        print(textwrap.fill(sentence, COLUMNS, subsequent_indent="  "))


if __name__ == "__main__":
    main()
