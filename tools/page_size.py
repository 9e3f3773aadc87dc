"""Says how long the report is, in pixels at a width of 1440 with its folds closed, and on A4.

python tools/page_size.py [--page report/index.html] [--height 15000] [--sheets 40]

Fails where it is longer than it may be.
"""

import argparse
import re
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
#: CSS pixels of the window.
WINDOW = {"width": 1440, "height": 900}
MARGINS = dict.fromkeys(("top", "right", "bottom", "left"), "1cm")
#: A page of a PDF file; `/Pages` is their list.
SHEET = re.compile(rb"/Type\s*/Page\b(?!s)")


class Length(NamedTuple):
    """Of a page: its height in CSS pixels, and its sheets of A4 with margins of 1 cm."""

    height: int
    sheets: int


def length(browser: str, page: Path) -> Length:
    """Opens the page offline, without motion, and measures it on the screen and on paper."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=browser, args=["--no-sandbox", "--disable-gpu"]
        )
        context = chromium.new_context(viewport=WINDOW, reduced_motion="reduce", offline=True)
        tab = context.new_page()
        tab.goto(page.resolve().as_uri())
        height = tab.evaluate("document.documentElement.scrollHeight")
        printed = tab.pdf(format="A4", margin=MARGINS)
        chromium.close()
    return Length(height, len(SHEET.findall(printed)))


def main() -> None:
    """Checks the options, measures, and compares."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--page", type=Path, default=Path("report/index.html"), help="the report")
    parser.add_argument("--height", type=int, default=15000, help="most pixels that it may have")
    parser.add_argument("--sheets", type=int, default=40, help="most sheets that it may have")
    arguments = parser.parse_args()
    if not arguments.page.is_file():
        sys.exit(f"{arguments.page} does not exist; run `make report` first.")
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        sys.exit(
            f"There is no Chromium on PATH (looked for {', '.join(BROWSERS)}); Debian has it as "
            "`chromium`."
        )
    try:
        measured = length(browser, arguments.page)
    except ImportError:
        sys.exit("playwright is missing; `make test` installs it into .venv.")
    print(
        f"{arguments.page} is {measured.height} pixels high at a width of {WINDOW['width']}, at "
        f"most {arguments.height}, and has {measured.sheets} sheets of A4, at most "
        f"{arguments.sheets}"
    )
    if measured.height > arguments.height or measured.sheets > arguments.sheets:
        sys.exit("It is too long.")


if __name__ == "__main__":
    main()
