"""What the page's tests share: reading the page, and finding a value by its pointer."""

import base64
import fnmatch
import json
import math
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lxml import etree, html

from replicate.storage.paths import package_root

#: What a browser computes with on the pages to play with.
SCRIPTS = package_root() / "report/assets/play"

Element = Any


@contextmanager
def calling(browser: Any, names: Sequence[str]) -> Iterator[Callable[..., Any]]:
    """Calls functions of some of these scripts, which know nothing of the page, in an empty one."""
    source = "\n".join((SCRIPTS / name).read_text(encoding="utf-8") for name in names)
    empty = browser.new_page()
    empty.add_script_tag(content=source)

    def call(function: str, argument: object = None) -> Any:
        return empty.evaluate(function, argument)

    yield call
    empty.close()


def parsed(page: str) -> Element:
    return html.document_fromstring(
        page.removeprefix("<!DOCTYPE html>"), parser=html.HTMLParser(encoding="utf-8")
    )


def source(element: Element) -> str:
    """File and pointer of a value on the page: a long table names its file once, around the
    pointers.
    """
    title = str(element.get("title"))
    return (
        str(element.xpath("string(ancestor::*[@data-source][1]/@data-source)")) + title
        if title[0] == "#"
        else title
    )


def resolve(results: Path, source: str) -> Any:
    """The value at `results/x.json#/pointer`, found without the project's own code; other folders
    lie beside that.
    """
    file, pointer = source.split("#", 1)
    value = json.loads((results.parent / file).read_text())
    for step in pointer.split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        value = value[int(step)] if isinstance(value, list) else value[step]
    return value


def gathered(results: Path, source: str, page: Element) -> Any:
    """What `sum of FILES with the stage NAME#/pointer` says, of the run records that the page
    lists.
    """
    if source.startswith("exp of "):
        return math.exp(resolve(results, source.removeprefix("exp of ")))
    told = re.fullmatch(r"(sum|largest|number) of (\S+)(?: with the stage (\w+))?#(/\w+)", source)
    assert told, source
    how, files, stage, pointer = told.groups()
    listed = [
        words(code) for code in page.xpath("//div[@aria-label='Costs of each stage']//td/code")
    ]
    files = [file for file in listed if fnmatch.fnmatch(file, files)]
    files = [file for file in files if stage in (None, resolve(results, f"{file}#/stage"))]
    assert files
    return {"sum": math.fsum, "largest": max, "number": len}[how](
        [resolve(results, f"{file}#{pointer}") for file in files]
    )


def unpacked(element: Element) -> Any:
    """The result file in a data element, found as a browser does."""
    return json.loads(zlib.decompress(base64.b64decode(json.loads(element.text))))


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
