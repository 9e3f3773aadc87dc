"""Links of the project's texts lead somewhere: to a file, a heading, or a place in a JSON file."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("", "docs", "config", "results/reference", ".github", ".github/ISSUE_TEMPLATE")
TEXTS = sorted(path for folder in FOLDERS for path in (ROOT / folder).glob("*.md"))
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"\]\(([^()\s]+)(?: \"[^\"]*\")?\)")
DEFINED = re.compile(r"^\[[^\]]+\]: (\S+)", re.MULTILINE)


def links(text: str) -> list[str]:
    """The relative links of a Markdown text, those of its definitions included."""
    prose = FENCE.sub("", text)
    found = INLINE.findall(prose) + DEFINED.findall(prose)
    return [link for link in found if not re.match(r"[a-z]+:", link)]


def anchors(text: str) -> set[str]:
    """The names that GitHub gives to the headings of a text."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    kept = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.replace(" ", "-") for heading in kept}


def is_in(path: Path, pointer: str) -> bool:
    """Whether a JSON file has something at this pointer."""
    item = json.loads(path.read_text(encoding="utf-8"))
    for token in pointer.split("/")[1:]:
        try:
            item = item[int(token)] if isinstance(item, list) else item[token]
        except (KeyError, IndexError, TypeError, ValueError):
            return False
    return True


def leads_somewhere(text: Path, link: str) -> bool:
    file, _, place = link.partition("#")
    path = (text.parent / file).resolve() if file else text
    if not path.exists() or not path.is_relative_to(ROOT):
        return False
    if not place:
        return True
    if path.suffix == ".json":
        return is_in(path, place)
    return place in anchors(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("text", TEXTS, ids=[path.relative_to(ROOT).as_posix() for path in TEXTS])
def test_links_lead_somewhere(text: Path) -> None:
    found = links(text.read_text(encoding="utf-8"))
    assert [link for link in found if not leads_somewhere(text, link)] == []


def test_a_link_that_leads_nowhere_is_noticed(tmp_path: Path) -> None:
    page = ROOT / "docs" / "faq.md"
    for link in (
        "no-such-page.md",
        "protocol.md#no-such-heading",
        "../results/reference/mnist-1-seed/table1.json#/rows/99",
        "../../outside.md",
    ):
        assert links(f"see [this]({link})") == [link]
        assert not leads_somewhere(page, link)
    assert leads_somewhere(page, "protocol.md#1-the-log-likelihood")
