"""HTML without the indentation of its templates, which no reader sees and every copy carries."""

import re

#: Elements whose white space is content.
_KEPT = re.compile(r"(<(?P<tag>pre|code|script|style|svg|textarea)\b.*?</(?P=tag)>)", re.DOTALL)
#: Spaces at the beginning of a line, and lines without anything.
_INDENTATION = re.compile(r"\n\s+")
#: Line breaks between the cells and rows of a table, where no text may stand.
_BETWEEN_CELLS = re.compile(r"\n(?=</?t[dhr]\b)")


def _slim(markup: str) -> str:
    return _BETWEEN_CELLS.sub("", _INDENTATION.sub("\n", markup))


def without_indentation(page: str) -> str:
    """The page with lines that begin at the left and table rows in one line, but for elements that
    keep their spaces.
    """
    slim = []
    end = 0
    for kept in _KEPT.finditer(page):
        slim.append(_slim(page[end : kept.start()]))
        slim.append(kept[0])
        end = kept.end()
    slim.append(_slim(page[end:]))
    return "".join(slim)
