"""The cards of models and data sets: whole, and those of the registries."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from replicate import datasets, models
from replicate.datasets.base import PinnedDataset
from tools import cards

ROOT = Path(__file__).resolve().parents[1]
HEADING = re.compile(r"^## (.+)$", re.MULTILINE)
ROW = re.compile(r"^\| `(\w+)` \| (.*) \| (.*) \| (.*) \|$", re.MULTILINE)


def sections(kind: str) -> dict[str, str]:
    """Heading of a card -> its text, of the committed page."""
    text = (ROOT / cards.PAGES[kind]).read_text(encoding="utf-8")
    _, *parts = HEADING.split(text)
    return dict(zip(parts[::2], parts[1::2], strict=True))


@pytest.mark.slow
def test_the_committed_pages_are_those_of_the_registries(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    command = [sys.executable, str(ROOT / "tools/cards.py"), "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # A page of another text is noticed.
    page = tmp_path / "models.md"
    page.write_text(
        (ROOT / "docs/models.md").read_text(encoding="utf-8").replace("0.05", "0.06", 1)
    )
    monkeypatch.setitem(cards.PAGES, "models", page)
    monkeypatch.setattr(sys, "argv", ["cards.py", "--check"])
    with pytest.raises(SystemExit, match="is not what the registries say"):
        cards.main()


def test_every_model_has_a_card_with_all_its_settings_and_recipes() -> None:
    pages = sections("models")
    assert list(pages) == [title for title, _ in models.REGISTRY.values()]
    for name, (title, _) in models.REGISTRY.items():
        model = models.load_model(name)
        rows = {row[0]: row[1:] for row in ROW.findall(pages[title])}
        assert rows.keys() == model.Config.model_fields.keys()
        assert all(description and source for _, description, source in rows.values()), name
        # The class's own defaults, and not what a page remembers of them.
        defaults = model.Config()
        for setting, (shown, _, _) in rows.items():
            value = getattr(defaults, setting)
            if isinstance(value, bool | int | float):
                assert type(value)(eval(shown.strip("`"), {"true": True, "false": False})) == value
        for dataset, recipe in model.recipes.items():
            (line,) = re.findall(
                rf"^On {re.escape(datasets.REGISTRY[dataset][0])}: .*$", pages[title], re.M
            )
            assert all(f"`{setting}` = " in line for setting in recipe.changes)
            assert recipe.source in line


def test_every_data_set_has_a_card_with_the_digests_of_its_files() -> None:
    pages = sections("datasets")
    assert list(pages) == [title for title, _ in datasets.REGISTRY.values()]
    for name, (title, _) in datasets.REGISTRY.items():
        dataset = datasets.load_dataset(name)
        shown = re.findall(r"\| `([0-9a-f]{64})` \|", pages[title])
        pinned = dataset.sources if isinstance(dataset, PinnedDataset) else ()
        assert shown == [source.sha256 for source in pinned]


def test_bars_in_a_cell_are_escaped() -> None:
    assert cards.as_text("p(x|z)") == "p(x\\|z)"
    assert cards.as_code(["a|b", 1]) == '`["a\\|b", 1]`'
