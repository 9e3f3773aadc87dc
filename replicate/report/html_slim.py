"""HTML without what no reader sees and every copy carries: the indentation of its templates, and
quotation marks that the standard does not ask for, around the thousands of numbers.
"""

import re

#: Elements whose white space is content.
_KEPT = re.compile(r"(<(?P<tag>pre|code|script|style|svg|textarea)\b.*?</(?P=tag)>)", re.DOTALL)
#: Spaces at the beginning of a line, and lines without anything.
_INDENTATION = re.compile(r"\n\s+")
#: Line breaks between the cells and rows of a table, where no text may stand.
_BETWEEN_CELLS = re.compile(r"\n(?=</?t[dhr]\b)")
#: Beginnings of the elements that numbers and words of result files stand in, and their cells.
_OF_RESULTS = re.compile(r"<(?:data|bdi|td) [^<>]*>")
#: An attribute whose value may stand without quotation marks: HTML ends it at a space or a `>`, and
#: some parsers at a slash before that.
_PLAIN = re.compile(r'="([^\s"\'=<>`]*[^\s"\'=<>`/])"')


def _slim(markup: str) -> str:
    lines = _INDENTATION.sub("\n", markup)
    rows = _BETWEEN_CELLS.sub("", lines)
    return _OF_RESULTS.sub(_without_quotes, rows)


def _without_quotes(tag: re.Match[str]) -> str:
    return _PLAIN.sub(r"=\1", tag[0])


def without_layout(page: str) -> str:
    """The page with lines that begin at the left, table rows in one line, and no quotation marks
    about plain values; elements that keep their spaces stay as they are.
    """
    slim = []
    end = 0
    for kept in _KEPT.finditer(page):
        slim.append(_slim(page[end : kept.start()]))
        slim.append(kept[0])
        end = kept.end()
    slim.append(_slim(page[end:]))
    return "".join(slim)
