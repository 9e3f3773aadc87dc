"""Table 1 sorted by its headings: by keyboard, up, down and back to the paper's order; without
JavaScript, headings.
"""

from collections.abc import Callable
from typing import Any

import pytest

PAPER = ["DBN", "Stacked CAE", "Deep GSN", "Adversarial nets"]
TABLE = "[aria-label='Table 1, published and measured']"
NUMBERS = "[aria-label='Measured on Digits']"


def order(page: Any, region: str = TABLE) -> list[str]:
    return [
        text.strip() for text in page.locator(f"{region} tbody:first-of-type th").all_inner_texts()
    ]


def heading(page: Any, place: int, region: str = TABLE) -> Any:
    return page.locator(f"{region} th[data-column='{place}']")


def press(page: Any, place: int, key: str, region: str = TABLE) -> None:
    heading(page, place, region).locator("button").focus()
    page.keyboard.press(key)


def test_keys_sort_up_down_and_back(opened: Callable[..., Any]) -> None:
    """By the published numbers of MNIST: 138, 121, 214, 225."""
    page = opened()
    press(page, 1, "Enter")
    assert order(page) == ["Stacked CAE", "DBN", "Deep GSN", "Adversarial nets"]
    assert heading(page, 1).get_attribute("aria-sort") == "ascending"
    press(page, 1, "Space")
    assert order(page) == ["Adversarial nets", "Deep GSN", "DBN", "Stacked CAE"]
    assert heading(page, 1).get_attribute("aria-sort") == "descending"
    press(page, 1, "Enter")
    assert order(page) == PAPER
    assert page.locator(f"{TABLE} [aria-sort]").count() == 0


def test_a_browser_without_has_sorts_and_offers_downloads(opened: Callable[..., Any]) -> None:
    """Such a browser throws at the selector, and what stands after it in the script would not
    run.
    """
    page = opened()
    page.add_init_script(
        """const all = Document.prototype.querySelectorAll;
        Document.prototype.querySelectorAll = function (selector) {
          if (selector.includes(":has(")) throw new SyntaxError(selector);
          return all.call(this, selector);
        };"""
    )
    page.reload()
    press(page, 1, "Enter")
    assert order(page) == ["Stacked CAE", "DBN", "Deep GSN", "Adversarial nets"]
    assert page.locator("button.download").count() > 0


def test_one_column_sorts_at_a_time_and_a_button_brings_the_papers_order_back(
    opened: Callable[..., Any],
) -> None:
    """TFD's published numbers: 1909, 2110, 1890, 2057."""
    page = opened()
    back = page.get_by_role("button", name="Back to the paper's order")
    assert back.count() == 0
    press(page, 4, "Enter")
    assert order(page) == ["Deep GSN", "DBN", "Adversarial nets", "Stacked CAE"]
    press(page, 0, "Enter")
    assert order(page) == sorted(PAPER)
    assert page.locator(f"{TABLE} [aria-sort]").count() == 1
    back.focus()
    page.keyboard.press("Enter")
    assert order(page) == PAPER
    assert not back.is_visible()
    assert page.evaluate("document.activeElement.matches('th[data-column] > button')")


@pytest.mark.parametrize(
    ("column", "first"), [(2, "Adversarial nets"), (3, None)], ids=["ours", "verdict"]
)
def test_rows_without_a_value_stay_last_either_way(
    opened: Callable[..., Any], column: int, first: str | None
) -> None:
    """Adversarial nets alone were measured; their verdict comes before "not attempted" in the order
    of verdicts.
    """
    page = opened()
    press(page, column, "Enter")
    assert order(page)[0] == "Adversarial nets"
    press(page, column, "Enter")
    assert (order(page)[0] == "Adversarial nets") == (first is not None)


def test_reference_rows_stay_apart(opened: Callable[..., Any]) -> None:
    page = opened()
    press(page, 1, "Enter", NUMBERS)
    press(page, 1, "Enter", NUMBERS)
    assert order(page, NUMBERS) == ["Adversarial nets"]
    assert page.locator(f"{NUMBERS} tbody.reference th").all_inner_texts() == ["True distribution"]


def test_every_heading_of_a_label_or_a_number_in_table_1_is_a_button_with_its_words(
    opened: Callable[..., Any],
) -> None:
    page = opened()
    names = page.locator(f"{TABLE} thead button").all_inner_texts()
    assert [name.split("\n")[0] for name in names] == [
        "Model",
        *["Published", "Ours", "Verdict"] * 2,
    ]
    assert page.locator(f"{TABLE} thead button").count() == 7
    sizes = [button.bounding_box() for button in page.locator(f"{TABLE} thead button").all()]
    assert min(min(size["width"], size["height"]) for size in sizes) >= 24  # WCAG 2.5.8


def test_without_javascript_there_is_the_papers_order_and_no_button(
    opened: Callable[..., Any],
) -> None:
    page = opened(java_script_enabled=False)
    assert order(page) == PAPER
    assert not any(button.is_visible() for button in page.locator("main button").all())


@pytest.mark.parametrize("javascript", [True, False], ids=["javascript", "no-javascript"])
def test_a_link_of_the_row_opens_the_fold_of_its_curve(
    opened: Callable[..., Any], javascript: bool
) -> None:
    page = opened(java_script_enabled=javascript)
    figure = page.locator("#run-tfd-adversarial_nets-0-2-bandwidth")
    assert not figure.is_visible()
    page.locator(f"{TABLE} a", has_text="bandwidth").nth(1).click()
    assert figure.is_visible()
    assert (
        figure.locator("svg.plot title").text_content()
        == "Bandwidth curves: Adversarial nets on Toronto Face Database"
    )


@pytest.mark.parametrize("name", ["variances", "cost"])
def test_variances_and_cost_of_the_row_are_one_click_away(
    opened: Callable[..., Any], name: str
) -> None:
    page = opened()
    page.locator(f"{TABLE} a", has_text=name).first.click()
    target = page.locator(":target")
    assert target.is_visible()
    assert target.locator("th").inner_text() == "Adversarial nets"


@pytest.mark.slow
def test_a_fold_that_was_closed_again_opens_again(opened: Callable[..., Any]) -> None:
    page = opened()
    figure, link = (
        page.locator("#run-tfd-adversarial_nets-0-2-bandwidth"),
        page.locator(f"{TABLE} a[href*=tfd]").first,
    )
    for _ in range(2):
        link.click()
        assert figure.is_visible()
        page.locator("#run-tfd-adversarial_nets-0-2 > details > summary").click()
        assert not figure.is_visible()
