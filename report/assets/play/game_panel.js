"use strict";

// The game of figure 1 in the page: its controls, its picture, its numbers.
(() => {
  const panel = document.getElementById("play-game");
  if (!panel) return;
  const element = (name) => document.getElementById(`game-${name}`);
  const still = window.matchMedia("(prefers-reduced-motion: reduce)");

  /** The seed of every game: who starts again sees the same game. With it the first settings work on either data. */
  const SEED = 3;
  /** Rounds in a frame, and at a press where motion is not wanted. */
  const ROUNDS_OF_FRAME = 2;
  const ROUNDS_OF_PRESS = 100;
  /** The Helvetica scenario: G moves so often that D, at one update a round, cannot follow. */
  const HELVETICA = { k: 1, generator: 20, objective: "non-saturating", data: "two" };
  /** Heights in the picture, from its top: of the line of x, of that of z, and how far 1 lies above x. */
  const HEIGHT = { x: 70, z: 98, one: 64 };
  const LINES = 25;

  let game = null;
  let playing = false;
  let nextFrame = 0;
  let inView = true;

  // A number field may hold anything: what is no count becomes the nearest one.
  const count = (field) => {
    const whole = Math.round(Number(field.value));
    return Math.min(Math.max(whole, Number(field.min)), Number(field.max));
  };
  const settings = () => ({
    k: count(element("k")),
    generatorUpdates: count(element("generator")),
    objective: element("objective").value,
  });

  const curve = (values) => {
    const height = (value) => HEIGHT.x - HEIGHT.one * Math.min(value, 1.08);
    const points = [...values].map((value, cell) => `${cell + 0.5},${height(value).toFixed(2)}`);
    return `M${points.join("L")}`;
  };

  // From evenly spaced z at the bottom to x = G(z): where lines crowd together, p_g is high.
  const moves = () => {
    const z = Float64Array.from({ length: LINES }, (_, i) => -1 + (2 * i) / (LINES - 1));
    const images = [...game.generator.outputs(z)].map((x) => (x - LINE.from) / LINE.width);
    const starts = [...z].map((number) => LINE.cells * (0.5 + 0.4 * number));
    return images.map((x, i) => `M${starts[i].toFixed(2)},${HEIGHT.z}L${x.toFixed(2)},${HEIGHT.x + 3}`).join("");
  };

  const draw = () => {
    const measured = game.measure();
    for (const name of ["data", "generated", "discriminator", "best"]) {
      element(`line-${name}`).setAttribute("d", curve(measured[name]));
    }
    element("line-moves").setAttribute("d", moves());
    element("rounds").textContent = game.rounds;
    element("jsd").textContent = measured.jsd.toFixed(3);
    element("distance").textContent = measured.distance.toFixed(3);
    element("breadth").textContent = measured.breadth.toFixed(2);
    element("gradient").textContent = game.gradient.toPrecision(2);
  };

  const label = () => {
    if (still.matches) element("play").textContent = `Play ${ROUNDS_OF_PRESS} rounds`;
    else element("play").textContent = playing ? "Pause" : "Play";
  };

  const play = (rounds) => {
    for (let round = 0; round < rounds; round++) game.playRound(settings());
    draw();
  };

  const frame = () => {
    if (!playing) return;
    // Nobody looks: the game waits.
    if (inView) play(ROUNDS_OF_FRAME);
    nextFrame = requestAnimationFrame(frame);
  };

  const pause = () => {
    playing = false;
    // A frame still to come would play on beside those of the next game.
    cancelAnimationFrame(nextFrame);
    label();
  };

  const go = () => {
    if (still.matches) {
      play(ROUNDS_OF_PRESS);
      return;
    }
    playing = true;
    label();
    nextFrame = requestAnimationFrame(frame);
  };

  const restart = () => {
    pause();
    game = new LineGame(HILLS[element("data").value], SEED);
    draw();
  };

  element("play").addEventListener("click", () => { (playing ? pause : go)(); });
  element("round").addEventListener("click", () => { pause(); play(1); });
  element("again").addEventListener("click", restart);
  element("data").addEventListener("change", restart);
  element("helvetica").addEventListener("click", () => {
    Object.entries(HELVETICA).forEach(([name, value]) => { element(name).value = value; });
    restart();
    go();
  });
  still.addEventListener("change", pause);
  new IntersectionObserver(([seen]) => { inView = seen.isIntersecting; }).observe(element("picture"));

  restart();
  panel.classList.add("is-live");
})();
