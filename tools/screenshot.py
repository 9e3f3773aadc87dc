"""Takes the picture of the report that the README shows: its first screen, in light colours.

python tools/screenshot.py [--page report/index.html] [--out docs/report.png]
"""

import argparse
import shutil
import signal
import sys
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
#: CSS pixels of the window, each one pixel of the picture.
SIZE = {"width": 1280, "height": 900}
#: The last two: the edges of round corners come out alike every time.
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-partial-raster", "--num-raster-threads=1")


def take(browser: str, page: Path, out: Path) -> None:
    """Opens the page offline, without motion, and writes what the window shows as a PNG file."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=FLAGS)
        context = chromium.new_context(
            viewport=SIZE,
            device_scale_factor=1,
            color_scheme="light",
            reduced_motion="reduce",
            offline=True,
        )
        tab = context.new_page()
        tab.goto(page.resolve().as_uri())
        tab.screenshot(path=out)
        chromium.close()


def main() -> None:
    """Checks the options, and takes the picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--page", type=Path, default=Path("report/index.html"), help="the report")
    parser.add_argument(
        "--out", type=Path, default=Path("docs/report.png"), help="the picture, a PNG file"
    )
    arguments = parser.parse_args()
    if arguments.out.suffix != ".png":
        parser.error(f"--out is a PNG file, and {arguments.out} does not end in .png")
    if not arguments.page.is_file():
        sys.exit(f"{arguments.page} does not exist; run `make report` first.")
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        sys.exit(
            f"There is no Chromium on PATH (looked for {', '.join(BROWSERS)}); Debian has it as "
            "`chromium`."
        )
    try:
        take(browser, arguments.page, arguments.out)
    except ImportError:
        sys.exit("playwright is missing; `make test` installs it into .venv.")
    print(arguments.out)


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `... | head -1` ends it quietly
    main()
