"""The play page: its generator is the trained one within the stated distance, the browser computes
what Python does, everyone can use it, and it says what it is.
"""

import argparse
import base64
import hashlib
import io
import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from replicate.__main__ import main
from replicate.params import Params
from replicate.records.kept_runs import LIST
from replicate.report.generator_layers import Layer
from replicate.report.play_page import generator_of, play_page
from replicate.report.rounded_generator import LIMIT, find_kept_generator, rounded_layer
from replicate.report.seeded_codes import codes_of_seed, uniform_numbers
from replicate.stages import report
from replicate.storage.files import read_json, read_tensors, write_json, write_tensors
from replicate.storage.paths import package_root
from tests.report.fabricated import Job, write_generator, write_job
from tests.report.page_helpers import calling, parsed, words
from tests.report.test_accessibility import CONTRASTS, TAGS, violations
from tests.report.test_html import faults

SEED = 1
JOB = Job("digits", 48.0)
#: Of the training, beside the model's own settings.
PARAMETERS = {
    "dataset": JOB.dataset,
    "model": JOB.model,
    "block": JOB.block,
    "compute": {"device": "cpu", "threads": 1},
    "selection": {"every": 10, "samples": 100},
    "sigmas": [0.1, 0.2],
    "validation_limit": 100,
}
#: How far a pixel that the browser computes may be from Python's, of 0 (black) to 1.
PIXEL = 1e-5
#: Of a window; the one in the middle is tried by the longer checks.
WIDTHS = [360, pytest.param(768, marks=pytest.mark.slow), 1440]
#: Bytes that the demo's page may grow by.
GROWTH = 1000


def write_trained(folder: Path, **config: Any) -> Path:
    """Weights of a small generator beside the result and the record of their training."""
    write_job(folder, JOB)
    weights = folder / f"train/{JOB.stem}.safetensors"
    write_generator(weights, JOB, **config)
    tensors, metadata = read_tensors(weights)
    about = json.loads(metadata["about"])
    about["parameters"] = PARAMETERS | about["parameters"]
    write_tensors(weights, tensors, {"about": json.dumps(about)})
    training = weights.with_suffix(".json")
    write_json(training, read_json(training) | {"parameters": about["parameters"]})
    return weights


def run_round(weights: Path, out: Path, *more: object) -> int:
    words_of_command = ["--weights", weights, "--seed", SEED, "--out", out, *more]
    return main(["round", *map(str, words_of_command)])


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights, not to be changed."""
    return write_trained(tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="session")
def kept(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of results with the rounded generator in a kept run, not to be changed."""
    results = tmp_path_factory.mktemp("kept") / "results"
    block = results / f"reference/small/{JOB.model}/{SEED}"
    block.mkdir(parents=True)
    assert run_round(trained, block / "rounded.json") == 0
    return results


@pytest.fixture
def rounded(kept: Path) -> Path:
    found = find_kept_generator(kept)
    assert found is not None
    return found


@pytest.fixture(scope="session")
def play_html(kept: Path) -> str:
    return play_page(generator_of(kept))


@pytest.fixture
def shown(play_html: str) -> str:
    return play_html


@pytest.fixture(scope="module")
def computed(browser: Any) -> Iterator[Callable[..., Any]]:
    with calling(browser, ("network.js", "generator.js", "rounded.js")) as call:
        yield call


def mulberry32(seed: int) -> Iterator[float]:
    """One number after the other, by whole numbers of Python."""
    state = seed
    while True:
        state = (state + 0x6D2B79F5) % 2**32
        bits = ((state ^ state >> 15) * (state | 1)) % 2**32
        bits = (bits + (bits ^ bits >> 7) * (bits | 61)) % 2**32 ^ bits
        yield (bits ^ bits >> 14) / 2**32


def drawn(seed: int, count: int, length: int) -> np.ndarray:
    """z as the released recipe draws them, from the numbers above."""
    numbers = mulberry32(seed)
    flat = [math.sqrt(3) * (2 * next(numbers) - 1) for _ in range(count * length)]
    return np.array(flat).reshape(count, length)


def forward(parts: list[tuple[np.ndarray, np.ndarray]], codes: np.ndarray) -> np.ndarray:
    """Figure by figure what the recipe says: rectified linear layers, then sigmoid pixels."""
    values = codes
    for number, (weight, bias) in enumerate(parts):
        sums = np.einsum("ni,io->no", values, weight.astype(np.float64)) + bias.astype(np.float64)
        is_last = number == len(parts) - 1
        values = 1 / (1 + np.exp(-sums)) if is_last else np.where(sums > 0, sums, 0)
    return values


def exact_parts(weights: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    tensors, _ = read_tensors(weights)
    names = [f"generator.{number}" for number in range(3)]
    return [(tensors[f"{n}.weight"][SEED], tensors[f"{n}.bias"][SEED, 0]) for n in names]


def rounded_parts(rounded: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weights out of the kept file, a step times a scale each."""
    tensors, _ = read_tensors(rounded.with_suffix(".safetensors"))
    parts = []
    for number in range(len(tensors) // 3):
        steps, scale = tensors[f"rounded.{number}.steps"], tensors[f"rounded.{number}.scale"]
        assert steps.dtype == np.int8
        weight = np.empty(steps.shape)
        for unit, size in enumerate(scale):
            weight[:, unit] = steps[:, unit] * float(size)
        parts.append((weight, tensors[f"rounded.{number}.bias"]))
    return parts


@pytest.mark.parametrize("seed", [0, 1, 77, 2**31, 2**32 - 1])
def test_a_seed_draws_the_same_numbers_everywhere(computed: Callable[..., Any], seed: int) -> None:
    numbers = mulberry32(seed)
    expected = [next(numbers) for _ in range(500)]
    assert uniform_numbers(seed, 500).tolist() == expected
    in_the_browser = computed(
        "seed => { const r = new Random(seed); return Array.from({length: 500}, () => r.uniform()); }",
        seed,
    )
    assert in_the_browser == expected
    assert np.array_equal(codes_of_seed(seed, 5, 100), drawn(seed, 5, 100))


def test_a_weight_moves_by_half_a_step_at_most_and_the_largest_by_none() -> None:
    weight = np.random.default_rng(0).normal(0, 1, (300, 40)).astype(np.float32)
    weight[:, 7] = 0
    weight[3, 8] = -50
    bias = np.arange(40, dtype=np.float32)
    layer = rounded_layer(Layer(weight, bias, "rectified"))
    largest = np.abs(weight).max(axis=0)
    away = np.abs(layer.layer().weight - weight)
    assert np.all(away <= largest / 254 * 1.0001)
    assert (layer.steps[:, 7] == 0).all()
    assert layer.steps[3, 8] == -127
    units = np.arange(40) != 7
    assert np.array_equal(np.abs(layer.steps).max(axis=0)[units], np.full(39, 127))
    assert np.array_equal(layer.bias, bias)


def test_the_stated_distance_is_that_of_the_images(trained: Path, rounded: Path) -> None:
    """By a forward pass of both in float64 that shares no code with the project."""
    stated = read_json(rounded)["rounded"]
    codes = drawn(0, stated["images"], 20)
    exact, of_rounded = (
        forward(parts, codes) for parts in (exact_parts(trained), rounded_parts(rounded))
    )
    away = np.abs(exact - of_rounded)
    assert exact.std() > 0.05
    assert stated["mean_difference"] == pytest.approx(away.mean(), rel=1e-9)
    assert stated["root_mean_square"] == pytest.approx(np.sqrt((away**2).mean()), rel=1e-9)
    assert stated["largest_difference"] == pytest.approx(away.max(), rel=1e-9)
    assert 0 < stated["root_mean_square"] < LIMIT
    other = forward([(w[:, ::-1], b) for w, b in exact_parts(trained)], codes)
    assert np.sqrt(np.square(other - exact).mean()) > LIMIT, "another generator would be noticed"


def test_it_says_where_it_comes_from(trained: Path, rounded: Path) -> None:
    content = read_json(rounded)
    file = rounded.with_name(content["file"]["name"])
    assert content["inputs"]["weights"] == hashlib.sha256(trained.read_bytes()).hexdigest()
    assert content["file"]["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert content["file"]["size"] == file.stat().st_size
    training = read_json(trained.with_suffix(".json"))
    record = read_json(trained.with_suffix(".run.json"))
    assert (content["seed"], content["epochs"]) == (SEED, training["epochs"])
    assert content["chosen_epoch"] == training["chosen_epoch"][SEED]
    assert content["commit"] == record["source"]["commit"]
    assert content["command"] == (
        f"python -m replicate round --weights {trained} --seed {SEED} --out {rounded}"
    )


def test_the_same_weights_give_the_same_bytes(trained: Path, rounded: Path, tmp_path: Path) -> None:
    assert run_round(trained, tmp_path / "rounded.json") == 0
    again = tmp_path / "rounded.safetensors"
    assert again.read_bytes() == rounded.with_suffix(".safetensors").read_bytes()


def test_an_exported_generator_is_rounded_too(trained: Path, tmp_path: Path) -> None:
    """With the training named, which does not lie beside it."""
    exported = tmp_path / "generator.safetensors"
    command = ["export", "--weights", trained, "--seed", SEED, "--out", exported]
    assert main([*map(str, command)]) == 0
    training = trained.with_suffix(".json")
    assert run_round(exported, tmp_path / "rounded.json", "--training", training) == 0
    assert read_json(tmp_path / "rounded.json")["epochs"] == 400


def complaint(capsys: pytest.CaptureFixture[str], *words_of_command: object) -> str:
    assert main([str(word) for word in words_of_command]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    return error


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"noise": "gaussian"}, "draws no uniform z, or ends in no sigmoid pixels"),
        ({"output": "linear"}, "draws no uniform z, or ends in no sigmoid pixels"),
    ],
)
def test_what_the_page_cannot_show_is_not_rounded(
    tmp_path: Path, capsys: Any, config: dict[str, Any], said: str
) -> None:
    weights = write_trained(tmp_path, **config)
    out = tmp_path / "rounded.json"
    assert said in complaint(capsys, "round", "--weights", weights, "--seed", 0, "--out", out)
    assert not out.exists()


def test_wrong_weights_are_refused(trained: Path, tmp_path: Path, capsys: Any) -> None:
    tensors, metadata = read_tensors(trained)
    about = json.loads(metadata["about"])
    changed, out = tmp_path / "w.safetensors", tmp_path / "rounded.json"

    def refused(seed: int = 0, training: Path | None = None, **of: Any) -> str:
        write_tensors(changed, tensors, {"about": json.dumps(about | of)})
        result = training or trained.with_suffix(".json")
        given = ["--weights", changed, "--training", result, "--seed", seed, "--out", out]
        return complaint(capsys, "round", *given)

    assert "has no seed 7; its seeds are 0, 1, 2" in refused(seed=7)
    assert "failed in epoch 2; take another one" in refused(
        failed={"0": {"epoch": 2, "reason": "x"}}
    )
    assert "is of vae, not of adversarial_nets" in refused(model="vae")
    assert "makes no grey images" in refused(shape=[3, 4, 4])
    longer = about["parameters"] | {"validation_limit": 99}
    assert "is not of the training that made" in refused(parameters=longer)
    assert "does not exist" in refused(training=tmp_path / "none.json")
    rough = np.random.default_rng(0).standard_cauchy(tensors["generator.1.weight"].shape)
    tensors["generator.1.weight"] = (1e3 * rough).astype(np.float32)
    assert "the page promises 0.02 at most; round another seed" in refused()
    tensors["generator.1.weight"][0, 0, 0] = np.inf
    assert not out.exists()


def test_files_that_are_not_of_one_another_are_refused(
    rounded: Path, tmp_path: Path, capsys: Any
) -> None:
    for file in rounded.parent.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    there, weights = tmp_path / "rounded.json", tmp_path / "rounded.safetensors"
    words_of_command = ["play", "--generator", there, "--out", tmp_path / "play.html"]
    tensors, metadata = read_tensors(weights)
    tensors["rounded.0.steps"][0, 0] += 1
    write_tensors(weights, tensors, metadata)
    assert "is not the file that" in complaint(capsys, *words_of_command)
    weights.write_bytes(weights.read_bytes()[:-3])
    assert "is not a whole safetensors file" in complaint(capsys, *words_of_command)
    weights.unlink()
    assert "does not exist" in complaint(capsys, *words_of_command)
    there.write_text("{}")
    assert "is not a result of the stage 'round'" in complaint(capsys, *words_of_command)
    assert not (tmp_path / "play.html").exists()


def test_no_model_takes_it_for_its_weights(rounded: Path, tmp_path: Path, capsys: Any) -> None:
    """Whole numbers without their scales would make other images, and no error."""
    weights = rounded.with_suffix(".safetensors")
    out = tmp_path / "samples.safetensors"
    assert main(["sample", "--weights", str(weights), "--out", str(out)]) == 2
    assert "is not of 1 seeds" in capsys.readouterr().err
    assert not out.exists()


DECODED = """async ([text, codes]) => {
  const element = document.createElement("script");
  element.type = "application/json";
  element.textContent = text;
  const generator = await RoundedGenerator.unpacked(element);
  return codes.map((z) => [...generator.image(Float64Array.from(z))]);
}"""


def test_the_browsers_images_are_pythons(
    computed: Callable[..., Any], play_html: str, rounded: Path
) -> None:
    text = parsed(play_html).get_element_by_id("play-weights").text
    codes = drawn(5, 20, 20)
    shown = np.array(computed(DECODED, [text, codes.tolist()]))
    expected = forward(rounded_parts(rounded), codes)
    assert np.abs(shown - expected).max() < PIXEL


#: The greys of a canvas, row by row.
GREYS = """canvas => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return [...data].filter((_, place) => place % 4 === 0);
}"""


def until_live(page: Any) -> Any:
    """The page once its generator is unpacked."""
    for _ in range(1000):
        if page.locator("#play.is-live").count():
            return page
    raise AssertionError("the generator was not unpacked")


def test_the_page_begins_with_the_digits_that_stand_without_javascript(
    opened: Callable[..., Any], rounded: Path
) -> None:
    page = until_live(opened())
    canvases = page.locator("#play-digits canvas").all()
    codes = drawn(1, 24, 20)
    expected = forward(rounded_parts(rounded), codes)
    shown = np.array([canvas.evaluate(GREYS) for canvas in canvases])
    assert np.abs(shown / 255 - expected).max() <= 0.5 / 255 + PIXEL
    address = page.locator(".still img").first.get_attribute("src")
    with Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))) as picture:
        grid = np.asarray(picture.convert("RGB"))[:, :, 0]
    for place in range(24):
        top, left = 9 * (place // 6) + 1, 9 * (place % 6) + 1
        still = grid[top : top + 8, left : left + 8].reshape(-1)
        # A grid has 254 greys.
        assert np.abs(still / 255 - expected[place]).max() <= 1.1 / 255


def test_without_javascript_pictures_stand_in(opened: Callable[..., Any]) -> None:
    page = opened(java_script_enabled=False)
    assert page.locator(".still img").count() == 2
    assert page.locator(".still img").evaluate_all("all => all.every(e => e.checkVisibility())")
    assert page.locator(".live").evaluate_all("all => all.every(e => !e.checkVisibility())")


def image(page: Any, name: str) -> str:
    """What a canvas shows, as an address."""
    return str(page.locator(f"#play-{name}").evaluate("canvas => canvas.toDataURL()"))


def test_a_seed_draws_anew_and_the_same_again(opened: Callable[..., Any]) -> None:
    page = until_live(opened())
    first = image(page, "image")
    page.locator("#play-next").click()
    assert page.locator("#play-seed").input_value() == "2"
    assert image(page, "image") != first
    for typed, shown in (("1", "1"), ("-4", "0"), ("1e30", "4294967295"), ("", "0")):
        page.locator("#play-seed").fill(typed)
        page.locator("#play-seed").press("Enter")
        assert page.locator("#play-seed").input_value() == shown
        assert (image(page, "image") == first) == (shown == "1")


def test_the_keyboard_moves_z_and_walks(opened: Callable[..., Any]) -> None:
    page = until_live(opened(reduced_motion="no-preference"))
    press = page.keyboard.press
    first = image(page, "image")
    page.locator("#play-digits input").first.focus()
    press("ArrowRight")
    second = image(page, "image")
    assert second != first
    page.locator("#play-sliders input").first.focus()
    press("End")
    assert image(page, "image") != second
    page.locator("#play-ten").select_option("10")
    assert page.locator("#play-sliders sub").all_inner_texts() == [str(n) for n in range(11, 21)]
    page.locator("#play-back").focus()
    press("Enter")
    assert image(page, "image") == second
    page.locator("#play-step").press("Enter")
    step = image(page, "image")
    assert step != second
    page.locator("#play-to").press("Enter")
    page.locator("#play-share").focus()
    press("End")
    assert page.locator("#play-share-shown").inner_text() == "1.00"
    assert image(page, "between") == step
    press("Home")
    assert image(page, "between") == first
    page.locator("#play-pair").press("Enter")
    assert image(page, "between") != first


def test_a_walk_plays_and_stops(opened: Callable[..., Any]) -> None:
    page = until_live(opened(reduced_motion="no-preference"))
    go, share = page.locator("#play-go"), page.locator("#play-share")
    go.click()
    assert go.inner_text() == "Pause"
    for _ in range(1000):
        if float(share.input_value()) > 52:
            break
    assert float(share.input_value()) > 52
    go.click()
    stopped = share.input_value()
    page.wait_for_timeout(200)
    assert share.input_value() == stopped
    assert go.inner_text() == "Play the walk"


def test_where_motion_is_not_wanted_a_press_is_a_step(opened: Callable[..., Any]) -> None:
    page = until_live(opened(reduced_motion="reduce"))
    go, share = page.locator("#play-go"), page.locator("#play-share")
    assert go.inner_text() == "One step along"
    go.click()
    assert share.input_value() == "62.5"
    page.wait_for_timeout(200)
    assert share.input_value() == "62.5"
    for _ in range(4):
        go.click()
    assert share.input_value() == "0"


def assert_readable(page: Any, width: int) -> None:
    """Words have contrast, nothing is cut off, and the page does not scroll sideways."""
    contrasts = page.evaluate(CONTRASTS)
    assert len(contrasts) > 15
    assert [one for one in contrasts if one[2] < 4.5] == []
    cut = "e => e.checkVisibility() && e.getBoundingClientRect().right > innerWidth + 1"
    cut_elements = f"[...document.querySelectorAll('body *')].filter({cut}).map(e => e.outerHTML)"
    assert page.evaluate(cut_elements) == []
    assert page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_for_everyone(axe: str, opened: Callable[..., Any], scheme: str, width: int) -> None:
    page = until_live(opened(color_scheme=scheme, viewport={"width": width, "height": 900}))
    assert violations(page, axe, [*TAGS, "best-practice"]) == []


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_at_every_width(opened: Callable[..., Any], scheme: str, width: int) -> None:
    page = until_live(opened(color_scheme=scheme, viewport={"width": width, "height": 900}))
    assert_readable(page, width)


@pytest.mark.slow
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_without_javascript(
    opened: Callable[..., Any], scheme: str, width: int
) -> None:
    viewport = {"width": width, "height": 900}
    page = opened(color_scheme=scheme, viewport=viewport, java_script_enabled=False)
    assert_readable(page, width)


def test_tab_reaches_every_control_with_an_outline(opened: Callable[..., Any]) -> None:
    """The digits are one stop; arrows choose among them."""
    page = until_live(opened(reduced_motion="reduce"))
    seen = []
    look = """() => {
      const one = document.activeElement;
      const shown = one.closest("#play-digits label") ?? one;
      return [one.id || one.closest("fieldset")?.id || one.className, getComputedStyle(shown).outlineStyle];
    }"""
    for _ in range(23):
        page.keyboard.press("Tab")
        seen.append(tuple(page.evaluate(look)))
    assert {style for _, style in seen} <= {"solid", "auto"}
    names = [name for name, _ in seen]
    controls = ["seed", "next", "digits", "ten", *["sliders"] * 10]
    controls += ["step", "back", "from", "to", "share", "go", "pair"]
    assert names == ["skip", "theme", *[f"play-{name}" for name in controls]]


def test_it_is_valid_html(html_validate: list[str], play_html: str, tmp_path: Path) -> None:
    assert faults(html_validate, play_html, tmp_path) == ""
    assert faults(html_validate, play_page(None), tmp_path) == ""


def test_it_is_one_file_that_runs_only_its_own_script(play_html: str) -> None:
    document = parsed(play_html)
    policy = document.xpath("//meta[@http-equiv]/@content")[0]
    assert policy.startswith("default-src 'none'; ")
    (script,) = document.xpath("//script[not(@type)]")
    (style,) = document.xpath("//style")
    for element in (script, style):
        digest = base64.b64encode(hashlib.sha256(element.text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    sources = document.xpath("//@src | //link/@href")
    assert all(source.startswith("data:") for source in sources)
    assert "http" not in re.sub(r"http-equiv", "", play_html)
    assert not document.xpath("//@style")


def test_it_says_what_it_is_and_every_number_its_source(play_html: str, rounded: Path) -> None:
    document = parsed(play_html)
    said = words(document.get_element_by_id("main"))
    for claim in ("live, not a result", "rounded", "never evaluated", "Live, not a result"):
        assert claim in said
    content = read_json(rounded)
    assert content["command"] in said
    assert content["inputs"]["weights"] in said
    sources = {
        element.get("title").split("#")[1]: float(element.get("value"))
        for element in document.xpath("//data")
    }
    assert sources["/rounded/root_mean_square"] == content["rounded"]["root_mean_square"]
    for pointer, value in sources.items():
        found: Any = content
        for step in pointer.split("/")[1:]:
            found = found[step]
        assert found == value
    files = {element.get("title").split("#")[0] for element in document.xpath("//data")}
    assert files == {f"results/reference/small/{JOB.model}/{SEED}/rounded.json"}


def test_built_twice_it_has_the_same_bytes(kept: Path, play_html: str, tmp_path: Path) -> None:
    out = tmp_path / "play.html"
    assert main(["play", "--results", str(kept), "--out", str(out)]) == 0
    assert out.read_text(encoding="utf-8") == play_html


def test_without_a_generator_it_says_so(tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "play.html"
    assert main(["play", "--results", str(tmp_path), "--out", str(out)]) == 0
    assert "no rounded generator is there" in capsys.readouterr().out
    document = parsed(out.read_text(encoding="utf-8"))
    (sentence,) = document.xpath("//main/p")
    assert "This copy has no rounded generator among its kept runs" in words(sentence)
    assert not document.xpath("//*[@id='play']")


def render(params: Params, results: Path, out: Path, play: Path | None) -> str:
    """The report by its stage."""
    given = argparse.Namespace(
        params=json.dumps(params.model_dump(mode="json")),
        table=results / "table1.json",
        results=results,
        out=out,
        compare=None,
        play=play,
    )
    report.run(given)
    return out.read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_report_links_to_it_where_it_is(
    params: Params, results: Path, kept: Path, play_html: str, tmp_path: Path
) -> None:
    out, play = tmp_path / "report/index.html", tmp_path / "report/play.html"
    plain = render(params, results, out, None)
    assert not parsed(plain).xpath("//*[@id='play-page']")
    missing = render(params, results, out, play)
    sentence = words(parsed(missing).get_element_by_id("play-page"))
    assert sentence.startswith("No generator of a reference run on MNIST was kept in rounded form")
    assert not parsed(missing).xpath("//a[contains(@href, 'play.html')]")
    (results / "reference").mkdir(exist_ok=True)
    (kept / "reference/small").rename(results / "reference/small")
    try:
        linked = render(params, results, out, play)
    finally:
        (results / "reference/small").rename(kept / "reference/small")
    paragraph = parsed(linked).get_element_by_id("play-page")
    assert paragraph.xpath("./a/@href") == ["play.html"]
    assert (out.parent / "play.html").read_text(encoding="utf-8") == play_html
    for element in paragraph.xpath("./data"):
        assert "rounded.json#/" in element.get("title")
    assert len(linked.encode()) - len(plain.encode()) < GROWTH


KEPT = find_kept_generator(package_root() / "results")


@pytest.mark.skipif(KEPT is None, reason="no rounded generator is kept in results/reference")
def test_the_kept_generator_is_as_it_says(computed: Callable[..., Any]) -> None:
    assert KEPT is not None
    content = read_json(KEPT)
    weights = KEPT.with_name(content["file"]["name"])
    assert weights.stat().st_size == content["file"]["size"] <= 3e6
    assert content["file"]["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert (content["dataset"], content["shape"]) == ("mnist", [1, 28, 28])
    parts = rounded_parts(KEPT)
    assert [weight.shape for weight, _ in parts] == [(100, 1200), (1200, 1200), (1200, 784)]
    assert content["rounded"]["root_mean_square"] < LIMIT
    assert not Path(content["command"].split("--weights ")[1].split()[0]).is_absolute()
    run = next(folder for folder in KEPT.parents if (folder / LIST).is_file())
    assert f"{KEPT.relative_to(run).as_posix()}\n" in (run / LIST).read_text(encoding="utf-8")
    training = [path for path in run.rglob("train.json") if path.parent in KEPT.parents]
    epochs = [read_json(path)["epochs"] for path in training]
    assert epochs == [content["epochs"]]
    page = play_page(generator_of(package_root() / "results"))
    assert len(page.encode()) <= 3e6
    text = parsed(page).get_element_by_id("play-weights").text
    codes = drawn(5, 10, 100)
    shown = np.array(computed(DECODED, [text, codes.tolist()]))
    assert np.abs(shown - forward(parts, codes)).max() < PIXEL
