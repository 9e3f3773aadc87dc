"""A clone has the same bytes whatever git is told to do with line ends."""

import subprocess

import pytest

from tests.workflow.conftest import ROOT

pytestmark = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs a git checkout")


@pytest.mark.parametrize(
    "settings", [("core.autocrlf=true",), ("core.eol=crlf", "core.autocrlf=input")]
)
def test_a_clone_has_lf_where_git_would_write_crlf(tmp_path, settings):
    words = [word for setting in settings for word in ("-c", setting)]
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", "--shared", *words, ROOT, clone], check=True)
    told = subprocess.run(
        ["git", "-C", clone, "ls-files", "--eol"], check=True, capture_output=True, text=True
    ).stdout
    lines = [line.split() for line in told.splitlines()]
    text = [line for line in lines if line[0] != "i/-text"]
    assert len(text) > 500
    assert {tuple(line[:2]) for line in text} <= {("i/lf", "w/lf"), ("i/none", "w/none")}
    assert {line[-1].rpartition(".")[2] for line in lines if line[0] == "i/-text"} <= {
        "png",
        "safetensors",
    }
    assert (
        subprocess.run(
            ["git", "-C", clone, "status", "--porcelain"], capture_output=True, check=True
        ).stdout
        == b""
    )
