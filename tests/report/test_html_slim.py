"""Indentation goes, and nothing that a browser shows."""

import re

from hypothesis import given
from hypothesis import strategies as st
from lxml import html

from replicate.report.html_slim import without_indentation


def test_lines_begin_at_the_left_but_where_spaces_are_content() -> None:
    page = "<p>\n    a\n\n  <b> c</b>\n<pre>\n    x\n</pre>\n  <script>\n  f()\n</script>\n  d"
    slim = "<p>\na\n<b> c</b>\n<pre>\n    x\n</pre>\n<script>\n  f()\n</script>\nd"
    assert without_indentation(page) == slim


def test_a_row_of_a_table_is_one_line() -> None:
    page = "<table>\n  <tr>\n    <th>a\n    <b>c</b>\n    </th>\n    <td>1</td>\n  </tr>\n</table>"
    assert without_indentation(page) == ("<table><tr><th>a\n<b>c</b></th><td>1</td></tr>\n</table>")


def shown(page: str) -> list[str]:
    """Tags and words as a browser lays them out, where runs of white space are one space."""
    tree = html.fromstring(f"<div>{page}</div>")
    texts = []
    for element in tree.iter():
        keeps = element.tag == "pre"
        for text in (element.text, element.tail):
            is_own = keeps and text is element.text
            texts.append(text if is_own else re.sub(r"\s+", " ", text or ""))
        texts.append(str(element.tag))
    return [str(text) for text in texts]


PIECES = st.sampled_from(
    ["<b>", "</b>", "word", " ", "\n", "\n   ", "\n\n", "<pre>\n  y</pre>", "<i>x</i>", "\t"]
)


@given(st.lists(PIECES, max_size=30))
def test_a_browser_shows_the_same(pieces: list[str]) -> None:
    page = "".join(pieces)
    assert shown(without_indentation(page)) == shown(page)
