"""HTML without the indentation of its templates, which no reader sees and every copy carries."""

import re

#: Elements whose white space is content.
_KEPT = re.compile(r"(<(?P<tag>pre|code|script|style|textarea)\b.*?</(?P=tag)>)", re.DOTALL)
#: Spaces at the beginning of a line, and lines without anything.
_INDENTATION = re.compile(r"\n\s+")


def without_indentation(page: str) -> str:
    """The page with lines that begin at the left, but for elements that keep their spaces."""
    slim = []
    end = 0
    for kept in _KEPT.finditer(page):
        slim.append(_INDENTATION.sub("\n", page[end : kept.start()]))
        slim.append(kept[0])
        end = kept.end()
    slim.append(_INDENTATION.sub("\n", page[end:]))
    return "".join(slim)
