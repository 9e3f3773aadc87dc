"""The documentation as a site: it builds strictly, looks at no other address, and a link that leads
nowhere fails it.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
#: What the texts are, and link to.
COPIED = (
    "CHANGELOG.md", "CITATION.cff", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "LICENSE", "README.md", "config",
    "conformance", "docs", "mkdocs.yml", "params.yaml", "protocol.yaml", "replicate/multiverse/choices.yaml",
    "results/reference", "tools/docs_site.py",
    "workflow",
)  # fmt: skip


class Loader(yaml.SafeLoader):
    """YAML with the function that names headings left out."""


Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, suffix, node: suffix)


def test_every_page_of_docs_is_in_the_navigation() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = set(
        re.findall(r"(docs/\S+\.md)", str(yaml.load(text, Loader)["nav"]).replace("'", " "))
    )
    assert pages == {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md")}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The texts in a folder that a test may change."""
    for name in COPIED:
        source, target = ROOT / name, tmp_path / "project" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy(source, target)
    return tmp_path / "project"


def build(project: Path) -> subprocess.CompletedProcess[str]:
    packages = os.environ.get("REPLICATE_TEST_MKDOCS")
    if not packages or not Path(packages, "mkdocs").is_dir():
        pytest.skip(
            "needs mkdocs: set REPLICATE_TEST_MKDOCS to a folder with requirements-docs.txt"
        )
    environment = {**os.environ, "PYTHONPATH": packages, "NO_MKDOCS_2_WARNING": "1"}
    words = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    return subprocess.run(
        words, cwd=project, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_the_site_has_the_files_of_the_repository_at_their_places(copy: Path) -> None:
    (copy / "report").mkdir()
    (copy / "report/index.html").write_text("<!doctype html><title>The report</title>")
    (copy / "report/play.html").write_text("<!doctype html><title>Move through z</title>")
    done = build(copy)
    assert done.returncode == 0, done.stderr
    site = copy / "site"
    for name in (
        "report/play.html",
        "protocol.yaml",
        "results/reference/mnist-500-epochs/table1.json",
        "report/index.html",
    ):
        assert (site / name).read_bytes() == (copy / name).read_bytes()
    # A folder that README links to lists its files.
    listed = (site / "results/reference/mnist-500-epochs/index.html").read_text(encoding="utf-8")
    assert 'href="adversarial_nets/samples.png"' in listed
    first = (site / "index.html").read_text(encoding="utf-8")
    assert 'href="report/index.html"' in first
    assert 'href="report/play.html"' in first
    # Lists stay in each other: between the words of an item and its list stands no end of an item.
    assert re.search(r"<li><strong>Not replicated</strong>[^<]*<ul>", first)
    assert not re.search(r'<(link|script|img)[^>]*(href|src)="(https?:)?//', first)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("link", "named"),
    [
        ("no-such-page.md", "no-such-page.md"),
        ("protocol.md#no-such-heading", "no-such-heading"),
        ("../results/reference/none", "../results/reference/none"),
    ],
)
def test_a_link_that_leads_nowhere_fails_the_build(copy: Path, link: str, named: str) -> None:
    page = copy / "docs/faq.md"
    page.write_text(page.read_text(encoding="utf-8") + f"\n[this]({link})\n", encoding="utf-8")
    done = build(copy)
    assert done.returncode == 1
    assert named in done.stderr
    assert "Traceback" not in done.stderr
