"""The files by which others find, cite and check the project say the same as the project."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from replicate.jobs.layout import FILES

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TEMPLATES = sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.md"))


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_the_citation_has_the_version_and_licence_of_the_package() -> None:
    citation = read("CITATION.cff")
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]


def test_the_citation_names_the_paper() -> None:
    (paper,) = read("CITATION.cff")["references"]
    assert paper["title"] == "Generative Adversarial Nets"
    assert paper["year"] == 2014
    assert paper["url"].endswith("1406.2661")
    assert len(paper["authors"]) == 8


def bibtex(entry: str) -> dict[str, str]:
    """The fields of an entry on the page, braces taken off."""
    text = (ROOT / "report/templates/cite.html.j2").read_text(encoding="utf-8")
    body = text.split(f"@{entry}{{")[1].split("\n}")[0]
    return {name: value.strip("{}") for name, value in re.findall(r"(\w+) = (\{.*\})", body)}


def test_the_bibtex_of_the_page_says_what_the_citation_says() -> None:
    citation = read("CITATION.cff")
    (paper,) = citation["references"]
    names = [f"{author['family-names']}, {author['given-names']}" for author in paper["authors"]]
    assert bibtex("inproceedings") == {
        "title": paper["title"],
        "author": " and ".join(names),
        "booktitle": paper["collection-title"],
        "year": str(paper["year"]),
        "eprint": paper["url"].rpartition("/")[2],
        "archiveprefix": "arXiv",
    }
    assert bibtex("software") == {
        "title": citation["title"],
        "author": citation["authors"][0]["name"],
        "year": citation["date-released"][:4],
        "version": citation["version"],
        "license": citation["license"],
    }


def test_what_codecheck_makes_anew_is_made_by_a_run() -> None:
    """Each file of the manifest is an output of the workflow."""
    made = set(FILES.values())
    files = [entry["file"] for entry in read("codecheck.yml")["manifest"]]
    assert [file for file in files if file not in made] == []
    assert (ROOT / "codecheck.yml").read_text(encoding="utf-8").startswith("%YAML 1.1\n---\n")


def test_the_workflow_catalog_finds_what_it_asks_for() -> None:
    """The rules of snakemake/snakemake-workflow-catalog, `source/docs/about/adding_workflows.md`."""
    assert "snakemake workflow" in (ROOT / "README.md").read_text(encoding="utf-8").lower()
    assert (ROOT / "workflow/Snakefile").is_file()
    assert list((ROOT / "workflow/rules").glob("*.smk"))
    assert (ROOT / "config/README.md").is_file()
    usage = read(".snakemake-workflow-catalog.yml")["usage"]
    assert usage["software-stack-deployment"]["conda"]
    assert usage["report"] == usage["software-stack-deployment"]["report"]


def test_every_section_of_the_parameters_is_in_the_configuration_page() -> None:
    page = (ROOT / "config/README.md").read_text(encoding="utf-8")
    rows = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    assert rows == set(read("params.yaml"))


@pytest.mark.parametrize("template", TEMPLATES, ids=[path.stem for path in TEMPLATES])
def test_an_issue_template_has_a_name_and_a_purpose(template: Path) -> None:
    head = template.read_text(encoding="utf-8").split("---\n")[1]
    fields = yaml.safe_load(head)
    assert fields["name"]
    assert fields["about"]
