"""The words that the page explains: a list of them, and links to it from where they are used."""

import re
from dataclasses import dataclass
from pathlib import Path

import yaml
from markupsafe import Markup

#: Elements whose words are no sentence, or lead elsewhere already.
_OPAQUE = frozenset({"a", "code", "svg", "summary", "data", "button", "script"})
_TAG = re.compile(r"(<[^>]+>)")


@dataclass(frozen=True)
class Word:
    """An entry: its id on the page, its title, what the text calls it, and what it means."""

    anchor: str
    title: str
    uses: tuple[str, ...]
    means: str


class Glossary:
    """The words of the page, in the order of their list."""

    def __init__(self, words: list[Word]) -> None:
        self.words = words
        self._anchors: dict[str, str] = {}
        for word in words:
            self._anchors |= dict.fromkeys(word.uses, word.anchor)
        # The longest first: "Markov chain" is more than a chain.
        uses = sorted(self._anchors, key=len, reverse=True)
        alternatives = "|".join(re.escape(use) for use in uses)
        self._pattern = re.compile(rf"(?<![\w-])(?:{alternatives})(?![\w-])")

    @classmethod
    def read(cls, path: Path) -> "Glossary":
        """The list in a file, by anchor: `title`, `uses`, `means`."""
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
        words = []
        for name, entry in entries.items():
            words.append(Word(f"word-{name}", entry["title"], tuple(entry["uses"]), entry["means"]))
        return cls(words)

    def linked(self, content: str) -> Markup:
        """A part of the page in which the first use of each word leads to its explanation.

        Args:
            content: HTML. What stands in links, code, numbers and pictures stays as it is.
        """
        explained: set[str] = set()
        opaque: list[str] = []
        pieces = _TAG.split(content)
        for k, piece in enumerate(pieces):
            is_tag = k % 2 == 1
            if is_tag:
                _follow(piece, opaque)
            elif not opaque:
                pieces[k] = self._pattern.sub(lambda use: self._link(use[0], explained), piece)
        return Markup("".join(pieces))

    def _link(self, use: str, explained: set[str]) -> str:
        anchor = self._anchors[use]
        if anchor in explained:
            return use
        explained.add(anchor)
        return f'<a class="word" href="#{anchor}">{use}</a>'


def _follow(tag: str, opaque: list[str]) -> None:
    """Notes which opaque elements a place lies in, tag by tag."""
    match = re.match(r"<(/?)(\w+)", tag)
    if match is None or match[2] not in _OPAQUE or tag.endswith("/>"):
        return
    is_end = bool(match[1])
    if not is_end:
        opaque.append(match[2])
    elif opaque:
        opaque.pop()
