"""The page for everyone: WCAG 2.2 AA as far as axe-core tells, by keyboard alone, enlarged, and its
plots' contrast.
"""

import time
from collections.abc import Callable
from typing import Any

import pytest

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
WIDE = {"width": 1280, "height": 900}
NARROW = {"width": 320, "height": 800}
#: What is folded is tried unfolded too, by the longer checks.
FOLDED_OR_NOT = [
    pytest.param(False, id="folded"),
    pytest.param(True, id="unfolded", marks=pytest.mark.slow),
]
#: Opens or closes every fold.
FOLDS = "open => document.querySelectorAll('details').forEach(one => { one.open = open; })"
#: Every element that Tab must reach, in the order of the page.
STOPS = """() => [...document.querySelectorAll("a, button, summary, input, select, [tabindex='0']")]
  .filter(element => element.checkVisibility())"""
#: Number of the element in focus among them, whether an outline shows it, and whether any of it is
#: in view.
FOCUS = f"""() => {{
  const focused = document.activeElement, look = getComputedStyle(focused), box = focused.getBoundingClientRect();
  return [({STOPS})().indexOf(focused), look.outlineStyle !== "none" && parseFloat(look.outlineWidth) >= 2,
          box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth];
}}"""
#: Kind, class and contrast of every element with words, and of every mark and line of a plot, with
#: what lies behind it.
CONTRASTS = """() => {
  const level = colour => {
    const parts = colour.match(/[\\d.]+/g).slice(0, 3).map(part => part / 255);
    const linear = parts.map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const painted = element => getComputedStyle(element).backgroundColor !== "rgba(0, 0, 0, 0)";
  const judged = (kind, element, name) => {
    let behind = element;
    while (!painted(behind)) behind = behind.parentElement;
    const levels = [getComputedStyle(element)[name], getComputedStyle(behind).backgroundColor].map(level);
    const contrast = (Math.max(...levels) + 0.05) / (Math.min(...levels) + 0.05);
    return [kind, element.tagName + "." + element.classList.value, contrast];
  };
  const speaks = element => [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
  const words = [...document.querySelectorAll("body :not(script, title, desc)")].filter(speaks);
  const marks = name => [...document.querySelectorAll(`svg.plot [class*=${name}-]`)].filter(e => e.tagName !== "text");
  return [
    ...words.map(element => judged("words", element, element.closest("svg") ? "fill" : "color")),
    ...["fill", "stroke"].flatMap(name => marks(name).map(element => judged("mark", element, name))),
  ];
}"""


@pytest.fixture
def shown(full_html: str) -> str:
    return full_html


def violations(page: Any, axe: str, tags: list[str]) -> list[str]:
    """What axe finds; its source is evaluated by the debugger, which the page's policy does not
    bind.
    """
    page.evaluate(axe)
    result = page.evaluate(
        "tags => axe.run(document, {runOnly: tags, resultTypes: ['violations']})", tags
    )
    return [
        f"{one['id']} ({one['impact']}): {node['target']} {node['failureSummary']}"
        for one in result["violations"]
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("unfolded", FOLDED_OR_NOT)
@pytest.mark.parametrize("viewport", [WIDE, NARROW], ids=["1280", "320"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(
    axe: str, opened: Callable[..., Any], scheme: str, viewport: dict[str, int], unfolded: bool
) -> None:
    page = opened(color_scheme=scheme, viewport=viewport)
    page.evaluate(FOLDS, unfolded)
    assert violations(page, axe, [*TAGS, "best-practice"]) == []


def test_axe_does_find_violations(axe: str, opened: Callable[..., Any]) -> None:
    page = opened()
    page.evaluate(FOLDS, True)
    page.evaluate("[...document.images].find(i => i.offsetParent).removeAttribute('alt')")
    page.evaluate("document.querySelector('h1').style.color = '#eee'")
    assert {one.split()[0] for one in violations(page, axe, TAGS)} == {
        "image-alt",
        "color-contrast",
    }


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_and_plots_have_contrast(opened: Callable[..., Any], scheme: str) -> None:
    """Words 4.5 to 1 (WCAG 1.4.3), marks and lines 3 to 1 (1.4.11): axe judges no plot, and no word
    that is cut off.
    """
    page = opened(color_scheme=scheme)
    page.evaluate(FOLDS, True)
    contrasts = page.evaluate(CONTRASTS)
    assert {kind for kind, _, _ in contrasts} == {"words", "mark"}
    assert [one for one in contrasts if one[2] < (4.5 if one[0] == "words" else 3.0)] == []


@pytest.mark.parametrize(
    "viewport",
    [pytest.param(WIDE, id="1280", marks=pytest.mark.slow), pytest.param(NARROW, id="320")],
)
@pytest.mark.parametrize("unfolded", FOLDED_OR_NOT)
def test_tab_reaches_everything_in_order(
    opened: Callable[..., Any], viewport: dict[str, int], unfolded: bool
) -> None:
    page = opened(viewport=viewport, reduced_motion="reduce")
    page.evaluate(FOLDS, unfolded)
    count = page.evaluate(f"({STOPS})().length")
    reached = []
    for _ in range(count):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(FOCUS))
    assert reached == [[place, True, True] for place in range(count)]


def test_every_region_that_scrolls_is_a_stop_and_arrows_scroll_it(
    opened: Callable[..., Any],
) -> None:
    page = opened(viewport=NARROW, reduced_motion="reduce")
    page.evaluate(FOLDS, True)
    scrolls = "e => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX === 'auto'"
    scrolling = f"[...document.querySelectorAll('body *')].filter({scrolls})"
    assert page.evaluate(f"{scrolling}.length") > 5
    assert page.evaluate(
        f"{scrolling}.every(e => e.tabIndex === 0 && e.getAttribute('aria-label'))"
    )
    page.evaluate(f"{scrolling}[0].focus()")
    page.keyboard.press("ArrowRight")
    # Asked again and again from here: the browser's own waiting compiles text, which the page's
    # policy forbids.
    until = time.monotonic() + 10
    while not page.evaluate("document.activeElement.scrollLeft > 0"):
        assert time.monotonic() < until, "the arrow key scrolled nothing for ten seconds"


def test_keys_work_every_control(opened: Callable[..., Any]) -> None:
    page = opened(color_scheme="light", viewport=WIDE)
    page.locator("#theme").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    fold = page.locator("details:not([open]) > summary").first.element_handle()
    fold.focus()
    page.keyboard.press("Space")
    assert fold.evaluate("e => e.parentElement.open")
    pause = page.locator(".pause input").first
    pause.focus()
    page.keyboard.press("Space")
    assert pause.is_checked()
    assert (
        page.evaluate("getComputedStyle(document.querySelector('.frame')).animationPlayState")
        == "paused"
    )


@pytest.mark.parametrize(
    ("width", "scale"),
    [
        (320, 4),
        pytest.param(640, 2, marks=pytest.mark.slow),
        pytest.param(320, 1, marks=pytest.mark.slow),
    ],
)
def test_only_tables_scroll_sideways(opened: Callable[..., Any], width: int, scale: int) -> None:
    """Zoomed to 200 % and 400 % of a window of 1280 pixels (WCAG 1.4.4 and 1.4.10), with every fold
    open.
    """
    page = opened(viewport={"width": width, "height": 800}, device_scale_factor=scale)
    page.evaluate(FOLDS, True)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    cut = "e => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.scroll, .visually-hidden, svg')"
    assert (
        page.evaluate(
            f"[...document.querySelectorAll('body *')].filter({cut}).map(e => e.outerHTML)"
        )
        == []
    )
