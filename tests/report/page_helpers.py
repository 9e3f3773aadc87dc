"""What the page's tests share: reading the page, and finding a value by its pointer."""

import json
from pathlib import Path
from typing import Any

from lxml import etree, html

Element = Any


def parsed(page: str) -> Element:
    return html.document_fromstring(page.removeprefix("<!DOCTYPE html>"), parser=html.HTMLParser(encoding="utf-8"))


def resolve(results: Path, source: str) -> Any:
    """The value at `results/x.json#/pointer`, found without the project's own code; other folders lie beside that."""
    file, pointer = source.split("#", 1)
    value = json.loads((results.parent / file).read_text())
    for step in pointer.split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        value = value[int(step)] if isinstance(value, list) else value[step]
    return value


def words(element: Element) -> str:
    return " ".join("".join(element.itertext()).split())


def without(page: Element, *paths: str) -> Element:
    """A copy of the page without the elements at `paths`."""
    copy = etree.fromstring(etree.tostring(page))
    for path in paths:
        for element in copy.xpath(path):
            tail = element.tail or ""
            parent, before = element.getparent(), element.getprevious()
            if before is not None:
                before.tail = (before.tail or "") + tail
            else:
                parent.text = (parent.text or "") + tail
            parent.remove(element)
    return copy
