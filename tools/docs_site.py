"""A hook of mkdocs: the site's pages are the texts of the repository, at the places where they lie.

mkdocs build --strict     # into site/; needs requirements-docs.txt

Before the build the texts and every file that they link to are copied, in the same folders, to
where mkdocs looks; a folder that is linked to gets a page that lists its files. So a link is right
on GitHub and on the site, and nothing is rewritten. Pages that a run made (the report) come along
where they are. After the build every link of every page is followed; one that leads nowhere fails a
strict build.
"""

import logging
import re
import shutil
import tempfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from markdown import Extension, Markdown

ROOT = Path(__file__).resolve().parent.parent
TEXTS = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/*.md")
#: Page that a run or a tool makes -> how the navigation calls it.
MADE = {"report/index.html": "Report of the demo", "report/play.html": "Move through z"}
#: The page in the place of a folder.
LISTED = "index.md"
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^()\s]+)(?: \"[^\"]*\")?\)|^\[[^\]]+\]: (\S+)", re.MULTILINE)

log = logging.getLogger("mkdocs.hooks.docs_site")
#: Gone when the process ends.
STAGE = tempfile.TemporaryDirectory(prefix="docs-site-")


class AsOnGitHub(Extension):
    """Lists in each other are indented by two spaces, as the texts have them."""

    def extendMarkdown(self, md: Markdown) -> None:
        """Sets the indentation, which the parser has read already."""
        md.tab_length = 2
        md.build_parser()


def on_config(config: Any) -> Any:
    """Copies the texts, and puts mkdocs to them."""
    stage = Path(STAGE.name)
    for pattern in TEXTS:
        for text in sorted(ROOT.glob(pattern)):
            copy(text, stage)
    for page, title in MADE.items():
        if (ROOT / page).is_file():
            copy(ROOT / page, stage)
            config.nav.append({title: page})
    config.docs_dir = str(stage)
    # First: it builds the parser anew, without what other extensions put into it.
    config.markdown_extensions.insert(0, AsOnGitHub())
    return config


def copy(source: Path, stage: Path) -> None:
    """Copies a file, and of a text all that it links to; lists a folder."""
    target = stage / source.relative_to(ROOT)
    # A folder is there as soon as one of its files is; its list is not.
    if (target / LISTED).exists() or target.is_file():
        return
    if source.is_dir():
        list_folder(source, stage)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    if source.suffix == ".md":
        for linked in linked_files(source):
            copy(linked, stage)


def linked_files(text: Path) -> Iterator[Path]:
    """The files and folders of the repository that a text links to."""
    for inline, defined in LINK.findall(FENCE.sub("", text.read_text(encoding="utf-8"))):
        address = urlsplit(inline or defined)
        path = (text.parent / unquote(address.path)).resolve()
        # What is not there is noticed after the build, as every link that leads nowhere.
        if address.path and not address.scheme and path.is_relative_to(ROOT) and path.exists():
            yield path


def list_folder(folder: Path, stage: Path) -> None:
    """A page in the place of a folder, with its files."""
    name = folder.relative_to(ROOT).as_posix()
    lines = [f"# {name}", ""]
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        copy(path, stage)
        inner = path.relative_to(folder).as_posix()
        lines.append(f"- [{inner}]({inner})")
    page = stage / name / LISTED
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n".join([*lines, ""]), encoding="utf-8")


class Page(HTMLParser):
    """The links and the names of places of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.names: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notes what an element links to, and what it is called."""
        for name, value in attrs:
            if value and name in ("href", "src"):
                self.links.append(value)
            elif value and name in ("id", "name"):
                self.names.add(value)


def on_post_build(config: Any) -> None:
    """Follows every link of the built pages; each that leads nowhere is a warning."""
    site = Path(config.site_dir)
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    for path, page in pages.items():
        if path == site / "404.html":  # is shown at any address, and links from the top
            continue
        for link in page.links:
            if not leads_somewhere(path, link, pages):
                log.warning("%s: the link %s leads nowhere", path.relative_to(site), link)


def leads_somewhere(path: Path, link: str, pages: dict[Path, Page]) -> bool:
    """Whether a link of a page leads to a file of the site, and to a place in it; addresses
    elsewhere are taken on trust.
    """
    address = urlsplit(link)
    if address.scheme or address.netloc:
        return True
    target = (path.parent / unquote(address.path)).resolve() if address.path else path
    if target.is_dir():
        target /= "index.html"
    if not target.is_file():
        return False
    if not address.fragment or target not in pages:
        return True
    return unquote(address.fragment) in pages[target].names
