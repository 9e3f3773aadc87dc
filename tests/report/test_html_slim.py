"""Indentation and needless quotation marks go, and nothing that a browser shows."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import html
from markupsafe import Markup

from replicate.report.html_slim import without_layout


def test_lines_begin_at_the_left_but_where_spaces_are_content() -> None:
    page = "<p>\n    a\n\n  <b> c</b>\n<pre>\n    x\n</pre>\n  <script>\n  f()\n</script>\n  d"
    slim = "<p>\na\n<b> c</b>\n<pre>\n    x\n</pre>\n<script>\n  f()\n</script>\nd"
    assert without_layout(page) == slim


def test_a_row_of_a_table_is_one_line() -> None:
    page = "<table>\n  <tr>\n    <th>a\n    <b>c</b>\n    </th>\n    <td>1</td>\n  </tr>\n</table>"
    assert without_layout(page) == ("<table><tr><th>a\n<b>c</b></th><td>1</td></tr>\n</table>")


@pytest.mark.parametrize(
    ("markup", "slim"),
    [
        ('<data value="-1.5" title="#/a/0">x</data>', "<data value=-1.5 title=#/a/0>x</data>"),
        ('<td class="numeric" rowspan="2">1</td>', "<td class=numeric rowspan=2>1</td>"),
        ('<td class="numeric ours">1</td>', '<td class="numeric ours">1</td>'),
        (
            '<data value="1" title="sum of x#/a">1</data>',
            '<data value=1 title="sum of x#/a">1</data>',
        ),
        ('<bdi title="">x</bdi>', '<bdi title="">x</bdi>'),
        ('<bdi title="x#/">x</bdi>', '<bdi title="x#/">x</bdi>'),
        ('<bdi title="a&quot;b">x</bdi>', "<bdi title=a&quot;b>x</bdi>"),
        ('<b title="a">say "x"="y"</b>', '<b title="a">say "x"="y"</b>'),
        ('<code><data value="1">1</data></code>', '<code><data value="1">1</data></code>'),
    ],
)
def test_plain_values_of_numbers_stand_without_quotation_marks(markup: str, slim: str) -> None:
    assert without_layout(markup) == slim


VALUES = st.text(alphabet="a1/#.~'\"=`&; <>\u00e9", max_size=12)


@given(VALUES, VALUES)
def test_a_browser_reads_the_same_values(value: str, title: str) -> None:
    """As Jinja escapes them, read by the parser of the standard library."""
    element = Markup('<data value="{}" title="{}">1</data>').format(value, title)
    found: list[tuple[str, str | None]] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: found.extend(attributes)  # type: ignore[method-assign]
    parser.feed(without_layout(str(element)))
    assert found == [("value", value), ("title", title)]


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
    assert shown(without_layout(page)) == shown(page)
