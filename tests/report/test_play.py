"""What a reader can play with: the game tells the truth of section 4.1, the generator in the page
is Python's, and nothing that they compute can be taken for a result.
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from replicate.models.parts.weights_file import read_model
from replicate.params import Params
from replicate.report.live_generator import live_generator, weights_element
from replicate.report.page import page
from replicate.storage.files import read_tensors
from tests.report.fabricated import MODEL, Job, jobs_of, write_generator
from tests.report.page_helpers import SCRIPTS, calling, parsed, words

WEIGHTS = f"train/digits/{MODEL}/0-2.safetensors"
#: How far a pixel of the page's generator may be from Python's as trained: 1 is from black to white.
PIXEL = 0.01
#: Plays a game and tells what stands on the line before it and after every so many rounds.
PLAYED = """({ data, seed, rounds, looks, settings, images }) => {
  const game = new LineGame(HILLS[data], seed);
  const told = [game.measure()];
  for (let look = 0; look < looks; look++) {
    for (let round = 0; round < rounds; round++) game.playRound(settings);
    told.push(game.measure());
  }
  const z = Float64Array.from({ length: images }, (_, i) => -1 + (2 * i) / (images - 1));
  const plain = (one) => Object.fromEntries(
    Object.entries(one).map(([name, value]) => [name, value.length ? [...value] : value]));
  return { told: told.map(plain), images: [...game.generator.outputs(z)], rounds: game.rounds };
}"""
NON_SATURATING = {"k": 5, "generatorUpdates": 1, "objective": "non-saturating"}


@pytest.fixture(scope="module")
def computed(browser: Any) -> Iterator[Callable[..., Any]]:
    with calling(browser, ("network.js", "game.js", "generator.js")) as call:
        yield call


def play(computed: Callable[..., Any], **changed: Any) -> Any:
    given = {"data": "one", "seed": 1, "rounds": 100, "looks": 1, "images": 11}
    return computed(PLAYED, given | {"settings": NON_SATURATING} | changed)


def density(data: str, x: np.ndarray) -> np.ndarray:
    """Of the data of the game."""
    means, deviation = ((0.0,), 1.0) if data == "one" else ((-1.6, 1.6), 0.45)
    hills = [np.exp(-(((x - mean) / deviation) ** 2) / 2) for mean in means]
    return np.asarray(sum(hills) / (len(means) * deviation * math.sqrt(2 * math.pi)))


@pytest.mark.slow
@pytest.mark.parametrize("data", ["one", "two"])
def test_what_is_shown_is_what_section_4_1_says(computed: Callable[..., Any], data: str) -> None:
    """Against numpy, which counts 200,001 images of evenly spaced z."""
    game = play(computed, data=data, images=200_001)
    shown = game["told"][-1]
    edges = np.linspace(-4, 4, 161)
    fine = (edges[:-1, None] + np.linspace(0, 0.05, 51)[None, :]).reshape(-1)
    real = density(data, fine).reshape(160, 51).mean(1) * 0.05
    images = np.array(game["images"])
    made = np.histogram(images, edges)[0] / len(images)
    assert np.allclose(shown["data"], real / 0.05, atol=2e-3)
    assert np.allclose(np.array(shown["generated"]) * 0.05, made, atol=1e-3)
    occupied = real + made > 1e-3
    best = (real / (real + made))[occupied]
    assert np.allclose(np.array(shown["best"])[occupied], best, atol=0.05)
    real, made = np.append(real, 1 - real.sum()), np.append(made, 1 - made.sum())
    middle = (real + made) / 2

    def relative_entropy(p: np.ndarray) -> float:
        some = p > 0
        return float((p[some] * np.log(p[some] / middle[some])).sum())

    jsd = (relative_entropy(real) + relative_entropy(made)) / 2
    assert shown["jsd"] == pytest.approx(jsd, abs=0.005)
    weights = (real + made)[:-1]
    away = np.abs(np.array(shown["discriminator"]) - np.array(shown["best"]))
    assert shown["distance"] == pytest.approx((weights * away).sum() / weights.sum(), abs=0.003)


def test_the_gradient_is_that_of_torch(computed: Callable[..., Any]) -> None:
    """Of a weighted sum of the outputs, by every weight, bias and input."""
    told = computed("""() => {
      const network = new Network([1, 5, 4, 1], 1, new Random(3));
      const numbers = Float64Array.from([-1.5, 0.25, 2]);
      const below = network.backpropagate(network.activations(numbers), Float64Array.from([1, -2, 0.5]));
      const parts = network.layers.map(({ inputs, outputs, weights, biases }) => ({
        inputs, outputs, weights: [...weights.values], biases: [...biases.values],
        slopes: [...weights.gradient, ...biases.gradient] }));
      return { parts, below: [...below], norm: network.gradientNorm() };
    }""")
    numbers = torch.tensor([[-1.5], [0.25], [2.0]], dtype=torch.float64, requires_grad=True)
    layers, hidden = [], numbers
    for place, part in enumerate(told["parts"]):
        weight = torch.tensor(part["weights"], dtype=torch.float64)
        weight = weight.reshape(part["inputs"], part["outputs"]).requires_grad_()
        bias = torch.tensor(part["biases"], dtype=torch.float64, requires_grad=True)
        hidden = hidden @ weight + bias
        hidden = hidden if place == 2 else hidden.tanh()
        layers.append((weight, bias))
    (hidden[:, 0] * torch.tensor([1.0, -2.0, 0.5])).sum().backward()
    assert numbers.grad is not None
    assert np.allclose(told["below"], numbers.grad[:, 0])
    squares = 0.0
    for (weight, bias), part in zip(layers, told["parts"], strict=True):
        assert weight.grad is not None
        assert bias.grad is not None
        slopes = torch.cat([weight.grad.reshape(-1), bias.grad])
        assert np.allclose(part["slopes"], slopes)
        squares += float((slopes**2).sum())
    assert told["norm"] == pytest.approx(math.sqrt(squares))


@pytest.mark.slow
def test_with_large_k_the_discriminator_tends_to_the_best_one(computed: Callable[..., Any]) -> None:
    still = {"k": 25, "generatorUpdates": 0, "objective": "non-saturating"}
    game = play(computed, rounds=15, looks=4, settings=still)
    distances = [look["distance"] for look in game["told"]]
    assert distances[0] > 0.2
    assert distances[-1] < 0.03
    assert game["told"][0]["generated"] == game["told"][-1]["generated"]


@pytest.mark.slow
def test_the_game_as_it_is_set_brings_the_distributions_together(
    computed: Callable[..., Any],
) -> None:
    game = play(computed, rounds=250, looks=4)
    jsd = [look["jsd"] for look in game["told"]]
    assert jsd[0] > 0.3
    assert max(jsd[-2:]) < 0.06
    assert 0.7 < game["told"][-1]["breadth"] < 1.2


def test_the_helvetica_scenario_is_one(computed: Callable[..., Any]) -> None:
    """Its settings are read from the script of the button."""
    panel = (SCRIPTS / "game_panel.js").read_text(encoding="utf-8")
    expression = panel.split("const HELVETICA = ")[1].split(";")[0]
    chosen = computed(f"() => ({expression})")
    settings = {
        "k": chosen["k"],
        "generatorUpdates": chosen["generator"],
        "objective": chosen["objective"],
    }
    game = play(computed, data=chosen["data"], rounds=20, looks=5, settings=settings)
    breadths = [look["breadth"] for look in game["told"][2:]]
    assert np.mean(breadths) < 0.15
    assert all(look["jsd"] > 0.3 for look in game["told"][1:])


def test_the_same_seed_plays_the_same_game(computed: Callable[..., Any]) -> None:
    first, again = play(computed, rounds=3), play(computed, rounds=3)
    assert first == again
    assert first["images"] != play(computed, rounds=3, seed=2)["images"]


def test_numbers_of_16_bits_are_those_of_numpy(computed: Callable[..., Any]) -> None:
    every = np.arange(0x10000, dtype=np.uint16)
    numbers = every.view(np.float16).astype(float)
    finite = np.isfinite(numbers)
    shown = computed("all => all.map(halfPrecision)", every[finite].tolist())
    assert shown == numbers[finite].tolist()


DECODED = """async ([text, codes]) => {
  const element = document.createElement("script");
  element.type = "application/json";
  element.textContent = text;
  const generator = await Generator.unpacked(element);
  return codes.map((z) => [...generator.image(Float64Array.from(z))]);
}"""


@pytest.mark.parametrize("hidden_sigmoid", [[], [1]])
@pytest.mark.parametrize("seed", [0, 2])
def test_its_images_are_those_of_pythons_generator(
    computed: Callable[..., Any], tmp_path: Path, seed: int, hidden_sigmoid: list[int]
) -> None:
    path = tmp_path / "weights.safetensors"
    write_generator(path, Job("digits", 48.0), generator_sigmoid=hidden_sigmoid)
    model, about = read_model(path, torch.device("cpu"), None)
    element = weights_element(read_tensors(path)[0], about, seed)
    assert element is not None
    codes = model.latent(20, draw=0)
    images = model.decode(codes)[seed]
    text = parsed(f"<html><body>{element}</body></html>").xpath("//script")[0].text
    shown = np.array(computed(DECODED, [text, codes[seed].tolist()]))
    assert images.std() > 0.05
    away = np.abs(shown - images.numpy())
    assert 0 < away.max() < PIXEL
    other = model.decode(codes)[1].numpy()
    assert np.abs(shown - other).max() > 10 * PIXEL, "another seed would be noticed"


@pytest.mark.parametrize(("setting", "value"), [("output", "linear"), ("output", "sigmoid")])
def test_a_generator_without_greys_is_not_shown(tmp_path: Path, setting: str, value: str) -> None:
    path = tmp_path / "weights.safetensors"
    write_generator(path, Job("digits", 48.0), **{setting: value})
    tensors, _ = read_tensors(path)
    _, about = read_model(path, torch.device("cpu"), None)
    assert (weights_element(tensors, about, 0) is None) == (value == "linear")
    tensors["generator.1.weight"][0, 0, 0] = 1e6  # more than 16 bits hold
    assert weights_element(tensors, about, 0) is None


def test_without_weights_the_page_says_so(params: Params, results: Path) -> None:
    whole = page(jobs_of(params), results / "table1.json", results)
    assert parsed(whole).xpath("//section[@id='play-generator']")
    (results / WEIGHTS).unlink()
    document = parsed(page(jobs_of(params), results / "table1.json", results))
    assert not document.xpath("//*[starts-with(@id, 'generator-')]")
    assert "This run has no generator that fits into the page" in words(
        document.get_element_by_id("play")
    )


def test_a_large_generator_stays_out_without_being_read(
    params: Params, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("replicate.report.live_generator.MOST_NUMBERS", 57263)
    (results / WEIGHTS).write_bytes(b"not to be read")
    whole = page(jobs_of(params), results / "table1.json", results)
    assert not parsed(whole).xpath("//section[@id='play-generator']")


def test_no_run_no_generator(results: Path) -> None:
    assert live_generator([], results) is None  # type: ignore[arg-type]


def test_the_page_of_the_demos_generator_stays_small(html: str) -> None:
    """The recipe for digits has 57,264 numbers: at most 16 bits each, and a third more in base64."""
    element = parsed(html).get_element_by_id("generator-weights")
    numbers = 20 * 48 + 48 + 48 * 32 + 32 + 32 * 64 + 64
    assert len(element.text) < numbers * 2 * 4 / 3 + 400


def test_every_live_number_stands_where_the_label_is(opened: Callable[..., Any]) -> None:
    """The numbers that the scripts add to the page are all inside `.live`, which says what they
    are, and none there looks like one with a file.
    """
    read = """() => {
      const copy = document.querySelector("main").cloneNode(true);
      copy.querySelectorAll(".live, script").forEach((one) => one.remove());
      return copy.textContent.match(/\\d[\\d.,]*/g);
    }"""
    running, without = opened(), opened(java_script_enabled=False)
    running.locator("#game-round").click()
    assert running.evaluate(read) == without.evaluate(read)
    for part in ("game", "generator"):
        live = running.locator(f"#play-{part} > .live")
        assert live.is_visible()
        assert live.locator(".live-label").inner_text() == "Live, not a result"
        assert live.locator("data").count() == 0
    assert running.locator("#game-rounds").inner_text() == "1"
    assert float(running.locator("#game-jsd").inner_text()) > 0


def test_without_javascript_still_pictures_stand_in(opened: Callable[..., Any]) -> None:
    page = opened(java_script_enabled=False)
    assert page.locator("#play-generator .still img").is_visible()
    assert page.locator("#play-game .still").is_visible()
    assert page.locator(".live").evaluate_all("all => all.every(e => !e.checkVisibility())")


def test_the_keyboard_plays(opened: Callable[..., Any]) -> None:
    page = opened(reduced_motion="no-preference")
    press = page.keyboard.press
    page.locator("#game-play").focus()
    press("Enter")
    assert page.locator("#game-play").inner_text() == "Pause"
    until(lambda: int(page.locator("#game-rounds").inner_text()) > 2)
    press("Enter")
    stopped = page.locator("#game-rounds").inner_text()
    press("Tab")
    press("Space")
    assert int(page.locator("#game-rounds").inner_text()) == int(stopped) + 1
    page.locator("#game-data").focus()
    press("ArrowDown")
    assert page.locator("#game-rounds").inner_text() == "0"
    picture = "document.getElementById('generator-image').toDataURL()"
    before = page.evaluate(picture)
    page.locator("#generator-sliders input").first.focus()
    press("End")
    assert page.evaluate(picture) != before
    page.locator("#generator-share").focus()
    press("Home")
    assert page.locator("#generator-share-shown").inner_text() == "0.00"


def test_a_game_begun_anew_while_one_plays_is_no_faster(opened: Callable[..., Any]) -> None:
    """Held to the frames that the browser draws: two rounds in each, whatever was pressed."""
    page = opened(reduced_motion="no-preference")
    page.locator("#game-picture").scroll_into_view_if_needed()
    per_frame = page.evaluate(
        """async () => {
          const rounds = () => Number(document.getElementById("game-rounds").textContent);
          const frame = () => new Promise((seen) => { requestAnimationFrame(seen); });
          document.getElementById("game-play").click();
          await frame();
          for (let press = 0; press < 3; press++) {
            document.getElementById("game-helvetica").click();
            await frame();
          }
          const before = rounds();
          for (let k = 0; k < 10; k++) await frame();
          const after = rounds();
          document.getElementById("game-play").click();
          return (after - before) / 10;
        }"""
    )
    assert per_frame == 2


@pytest.mark.slow
def test_where_motion_is_not_wanted_nothing_moves(opened: Callable[..., Any]) -> None:
    page = opened(reduced_motion="reduce")
    page.locator("#game-play").click()
    assert page.locator("#game-rounds").inner_text() == "100"
    page.wait_for_timeout(200)
    assert page.locator("#game-rounds").inner_text() == "100"
    page.locator("#game-helvetica").click()
    assert page.locator("#game-rounds").inner_text() == "100"
    assert page.locator("#game-generator").input_value() == "20"
    assert float(page.locator("#game-breadth").inner_text()) < 0.3


@pytest.mark.slow
@pytest.mark.parametrize("data", ["one", "two"])
def test_the_game_works_as_the_page_sets_it(opened: Callable[..., Any], data: str) -> None:
    """Whoever changes no number sees p_g come to p_data, and loses no hill."""
    page = opened(reduced_motion="reduce")
    page.locator("#game-data").select_option(data)
    for _ in range(8):
        page.locator("#game-play").click()
    assert page.locator("#game-rounds").inner_text() == "800"
    # A hill of two that is lost costs 0.216 nats: the JSD of the shares (1/2, 1/2) and (1, 0).
    assert float(page.locator("#game-jsd").inner_text()) < 0.1
    assert float(page.locator("#game-breadth").inner_text()) > 0.75


@pytest.mark.slow
def test_one_step_of_d_leaves_a_hill_out_for_long(opened: Callable[..., Any]) -> None:
    """What the page for students sends its readers to."""
    page = opened(reduced_motion="reduce")
    page.locator("#game-data").select_option("two")
    page.locator("#game-k").fill("1")
    for _ in range(8):
        page.locator("#game-play").click()
    assert float(page.locator("#game-breadth").inner_text()) < 0.6


def test_a_walk_begins_at_the_z_of_the_sliders(opened: Callable[..., Any]) -> None:
    page = opened()
    page.locator("#generator-take").click()
    page.locator("#generator-share").fill("0")
    image = "name => document.getElementById(`generator-${name}`).toDataURL()"
    assert page.evaluate(image, "between") == page.evaluate(image, "image")
    page.locator("#generator-draw").click()
    assert page.evaluate(image, "between") != page.evaluate(image, "image")


@pytest.mark.usefixtures("made_anew")
def test_the_same_results_give_the_same_bytes(
    params: Params, kept_results: Path, html: str
) -> None:
    assert page(jobs_of(params), kept_results / "table1.json", kept_results) == html


def until(condition: Callable[[], bool]) -> None:
    """Asked again and again from here: the browser's own waiting compiles text, which the page's
    policy forbids.
    """
    for _ in range(1000):
        if condition():
            return
    raise AssertionError("nothing happened")


def test_a_report_job_reads_the_weights(params: Params) -> None:
    job = jobs_of(params).all["report", ""]
    weights = [name for name in job.inputs if name.endswith(".safetensors")]
    assert f"results/{WEIGHTS}" in weights
    assert all(f"/{MODEL}/" in name for name in weights)
