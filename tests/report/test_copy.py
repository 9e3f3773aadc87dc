"""Buttons that copy commands and BibTeX, and words that are explained where they are used."""

from collections.abc import Callable
from typing import Any

import pytest

from replicate.report.glossary import Glossary
from replicate.storage.paths import package_root
from tests.report.page_helpers import parsed, words

OPEN = "document.querySelectorAll('details').forEach(one => { one.open = true; })"
WORDS = package_root() / "report/templates/words.yaml"
#: Keeps what is written to the clipboard, or refuses it, as a browser may.
CLIPBOARD = """kind => { window.copied = [];
  const writeText = text => kind === "refuses" ? Promise.reject(new Error("no")) : (window.copied.push(text), Promise.resolve());
  Object.defineProperty(navigator, "clipboard", { value: { writeText }, configurable: true }); }"""


@pytest.fixture
def shown(full_html: str) -> str:
    return full_html


@pytest.fixture
def page(opened: Callable[..., Any]) -> Any:
    page = opened(reduced_motion="reduce")
    page.evaluate(OPEN)
    return page


def test_every_command_has_a_button_that_copies_it(page: Any, full_html: str) -> None:
    page.evaluate(CLIPBOARD, "keeps")
    places = "//section[@id='made']//dd[1]/code | //details[@class='how']//dd[1]/code"
    commands = ["".join(code.itertext()) for code in parsed(full_html).xpath(places)]
    buttons = page.locator("button.copy[aria-label='Copy the command']")
    assert buttons.count() == len(commands) + 3  # what to do next has three
    assert all("python -m replicate" in command for command in commands)
    page.evaluate("document.querySelectorAll('.steps button.copy').forEach(b => b.click())")
    page.wait_for_timeout(50)
    copied = page.evaluate("window.copied")
    assert len(copied) > 10
    assert set(copied) <= set(commands)


def test_bibtex_is_copied_by_the_keyboard_and_that_is_said(page: Any) -> None:
    page.evaluate(CLIPBOARD, "keeps")
    button = page.locator("button.copy[aria-label='Copy the BibTeX']")
    button.focus()
    page.keyboard.press("Enter")
    page.wait_for_timeout(50)
    [copied] = page.evaluate("window.copied")
    assert copied == page.locator("code.bibtex").text_content()
    assert copied.startswith("@inproceedings{goodfellow2014generative,")
    assert button.inner_text() == "Copied"
    assert page.get_by_text("The BibTeX is copied.").count() == 1


def test_what_a_browser_does_not_let_copy_is_selected(page: Any) -> None:
    page.evaluate(CLIPBOARD, "refuses")
    page.locator("button.copy[aria-label='Copy the BibTeX']").click()
    page.wait_for_timeout(50)
    assert "@software{replicate," in page.evaluate("String(getSelection())")
    assert page.get_by_text("The BibTeX is selected; copy it with your keyboard.").count() == 1


def test_without_javascript_and_on_paper_there_is_no_button(
    page: Any, opened: Callable[..., Any]
) -> None:
    assert opened(java_script_enabled=False).locator("button.copy").count() == 0
    page.emulate_media(media="print")
    assert not page.locator("button.copy").first.is_visible()


def test_a_word_is_explained_beside_it(page: Any, full_html: str) -> None:
    word = page.locator("a.word").first
    word.focus()
    anchor = word.get_attribute("href").removeprefix("#")
    term = parsed(full_html).get_element_by_id(anchor)
    assert page.locator("output.hint").inner_text() == words(term.getnext())
    page.locator("h1").click()
    assert not page.locator("output.hint").is_visible()


def test_the_first_use_of_a_word_in_a_part_leads_to_the_list() -> None:
    glossary = Glossary.read(WORDS)
    assert glossary.linked("<p>Modes: two modes, a Markov chain, a chain.</p>") == (
        '<p>Modes: two <a class="word" href="#word-mode">modes</a>, a '
        '<a class="word" href="#word-chain">Markov chain</a>, a chain.</p>'
    )


@pytest.mark.parametrize(
    "content",
    [
        "<code>JSD</code>",
        '<a href="#x">JSD <b>KL divergence</b></a>',
        '<b title="JSD">x</b>',
        "JSDs",
    ],
)
def test_what_is_no_sentence_stays_as_it_is(content: str) -> None:
    assert Glossary.read(WORDS).linked(content) == content


def test_every_word_has_its_place_on_the_page(full_html: str) -> None:
    document = parsed(full_html)
    listed = {term.get("id") for term in document.xpath("//section[@id='words']//dt")}
    assert {f"#{name}" for name in listed} >= set(document.xpath("//a[@class='word']/@href"))
    assert listed == {word.anchor for word in Glossary.read(WORDS).words}
