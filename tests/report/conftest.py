"""What the page's tests share: small runs, their pages, and a browser to open them in."""

import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import jinja2
import pytest

from replicate.comparison.beside import read_beside
from replicate.figures import curves, theme
from replicate.params import Params
from replicate.report.page import page
from replicate.report.svg_slim import slim
from replicate.storage.files import read_json, write_json
from tests.report.fabricated import MODEL, Job, jobs_of, write_run
from tests.report.once import ONCE

#: A page, and the folder `results` that it was made from.
Page = tuple[str, Path]
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
NODE = shutil.which("node")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
HERE = Path(__file__).parent
OWN_DATA = pytest.StashKey[Path | None]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, object, object]:
    """A machine that has the user's own data too, which a plan otherwise leaves out, and pages that
    do no work twice; for the tests of this folder and their fixtures, and not for others that run
    in the same process.
    """
    if HERE not in item.path.parents:  # pytest calls this hook for the tests of all folders
        return (yield)
    folder = item.config.stash.setdefault(OWN_DATA, None) or Path(tempfile.mkdtemp())
    item.config.stash[OWN_DATA] = folder
    faces = folder / "tfd/TFD_48x48.mat"
    faces.parent.mkdir(exist_ok=True)
    faces.touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REPLICATE_DATA", str(folder))
        for name, kept in ONCE.items():
            patch.setattr(name, kept)
        return (yield)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Removes what the hook above has made."""
    folder = config.stash.get(OWN_DATA, None)
    if folder:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def params() -> Params:
    return Params.parse(
        {
            "preset": "mnist",
            "datasets": dict.fromkeys(("mnist", "digits", "tfd")),
            "models": {MODEL: dict.fromkeys(("mnist", "digits", "tfd"))},
            "experiments": {"theory": {"seeds": "0-5"}},
        },
        "test",
    )


@pytest.fixture(scope="session")
def kept_results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder `results` of a run, not to be changed: digits and five folds went well, one seed
    failed on MNIST.
    """
    folder = tmp_path_factory.mktemp("run") / "results"
    failed = {"2": {"epoch": 200, "reason": "the loss is not a number"}}
    write_run(folder, [Job("digits", 48.0), Job("mnist", 221.0, failed), Job("tfd", 2050.0)])
    return folder


@pytest.fixture(scope="session")
def second_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project folder of another run, not to be changed: twice the learning rate, no faces, a
    claim that fails.
    """
    folder = tmp_path_factory.mktemp("other") / "second-run"
    write_run(
        folder / "results",
        [Job("digits", 45.0), Job("mnist", 221.0)],
        "smoke",
        rate=0.2,
        scale=10.0,
    )
    return folder


@pytest.fixture
def results(kept_results: Path, tmp_path: Path) -> Path:
    """A copy of the results that a test may change."""
    return Path(shutil.copytree(kept_results, tmp_path / "results"))


@pytest.fixture
def made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every page of the test compiles its templates and draws its plots itself."""
    monkeypatch.setattr("replicate.report.page.Environment", jinja2.Environment)
    monkeypatch.setattr("replicate.report.seed_plots.curves", curves)
    for module in ("seed_plots", "embedded"):
        monkeypatch.setattr(f"replicate.report.{module}.slim", slim)


@pytest.fixture(scope="session")
def html(params: Params, kept_results: Path) -> str:
    """The whole page."""
    return page(jobs_of(params), kept_results / "table1.json", kept_results)


@pytest.fixture(scope="session")
def compared(
    params: Params, kept_results: Path, second_run: Path, tmp_path_factory: pytest.TempPathFactory
) -> Page:
    """The page with another run beside this one; the files of both and of the comparison lie as the
    page names them.
    """
    root = tmp_path_factory.mktemp("compared")
    results = Path(shutil.copytree(kept_results, root / "results"))
    shutil.copytree(second_run, root / second_run.name)
    beside = read_beside(
        results / "table1.json", results, root / second_run.name, "index.comparison.json"
    )
    write_json(root / beside.file, beside.content)
    return page(jobs_of(params), results / "table1.json", results, beside=beside), results


@pytest.fixture(scope="session")
def full_html(
    params: Params, kept_results: Path, second_run: Path, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """The page with everything it can hold: also a trial's notice, reference runs, frames and
    another run beside it.
    """
    results = Path(shutil.copytree(kept_results, tmp_path_factory.mktemp("full") / "results"))
    for name, kept in (("table1.json", "one-seed"), ("statements.json", "statements/ten-seeds")):
        (results / "reference" / kept).mkdir(parents=True)
        shutil.copy(results / name, results / "reference" / kept / name)
    write_json(results / "table1.json", read_json(results / "table1.json") | {"preset": "demo"})
    with theme.canvas() as (figure, [axes]):
        for frame in range(3):
            axes.plot(
                [0, 1], [frame, 1], gid=f"{theme.FRAME}{frame}-line", color=theme.SERIES[frame]
            )
        (results / "figures/theory/curve.svg").write_bytes(
            theme.svg(figure, "theory/curve", "Frames", "Three lines.")
        )
    beside = read_beside(results / "table1.json", results, second_run, "full.comparison.json")
    return page(jobs_of(params), results / "table1.json", results, beside=beside)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium; tests that want it skip where playwright or Chromium is missing."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is missing: `pip install playwright`"
    )
    if CHROMIUM is None:
        pytest.skip("no Chromium on PATH")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core."""
    file = os.environ.get("REPLICATE_TEST_AXE")
    if not file or not Path(file).is_file():
        pytest.skip("needs axe-core: set REPLICATE_TEST_AXE to its axe.min.js")
    return Path(file).read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def html_validate() -> list[str]:
    """The command that validates a file by the rules of the standard."""
    folder = os.environ.get("REPLICATE_TEST_HTML_VALIDATE")
    script = Path(folder or "", "bin", "html-validate.mjs")
    if NODE is None or folder is None or not script.is_file():
        pytest.skip("needs node and html-validate: set REPLICATE_TEST_HTML_VALIDATE to its folder")
    return [NODE, str(script), "--preset", "standard", "--formatter", "text"]


@pytest.fixture
def shown(html: str) -> str:
    """The page that `opened` opens; a module may show another."""
    return html


@pytest.fixture
def opened(browser: Any, shown: str, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Opens the page offline with the context's options; at the end nothing may have been asked for
    or gone wrong.
    """
    file, wrong, contexts = tmp_path / "index.html", [], []
    file.write_text(shown, encoding="utf-8")

    def open_page(**options: Any) -> Any:
        context = browser.new_context(offline=True, **options)
        contexts.append(context)
        page = context.new_page()
        allowed = (file.resolve().as_uri(), "data:")
        page.on(
            "request",
            lambda r: None if r.url.startswith(allowed) else wrong.append(f"request {r.url}"),
        )
        page.on("requestfailed", lambda r: wrong.append(f"failed {r.url[:80]}"))
        page.on("console", lambda m: wrong.append(f"console {m.text}"))
        page.on("pageerror", lambda e: wrong.append(f"error {e}"))
        page.goto(file.resolve().as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []
