"use strict";

// The play page: digits of a seed, one of them under sliders of z, and the walk between two z of figure 3.
(async () => {
  const panel = document.getElementById("play");
  if (!panel) return;
  const element = (name) => document.getElementById(`play-${name}`);
  const still = window.matchMedia("(prefers-reduced-motion: reduce)");

  /** z of a seed that are shown, sliders at a time, and images on the walk, both ends among them. */
  const DIGITS = 24;
  const SLIDERS = 10;
  const STEPS = 9;
  /** How far a small step turns z to another one, as an angle: z keeps its length, so that it stays a z as in training. */
  const ANGLE = 0.35;
  /** How far along the walk one frame leads, in hundredths. */
  const PACE = 0.6;

  const generator = await RoundedGenerator.unpacked(element("weights"));
  const steps = new Random(0);
  let codes = [];
  let chosen = 0;
  let z = null;
  let ends = [];
  let direction = 0;

  // Ten sliders, for the ten numbers of z that are chosen above them.
  const first = () => Number(element("ten").value);
  const sliders = Array.from({ length: SLIDERS }, (_, place) => {
    const slider = document.createElement("input");
    slider.type = "range";
    slider.min = -generator.reach;
    slider.max = generator.reach;
    slider.step = "any";
    slider.addEventListener("input", () => {
      z[first() + place] = Number(slider.value);
      generator.paint(element("image"), [generator.image(z)]);
    });
    const name = document.createElement("label");
    const symbol = document.createElement("span");
    const index = document.createElement("sub");
    symbol.append("z", index);
    name.append(symbol, slider);
    element("sliders").append(name);
    return { slider, index, name };
  });

  const showCode = () => {
    sliders.forEach(({ slider, index, name }, place) => {
      const number = first() + place;
      name.hidden = number >= z.length;
      index.textContent = number + 1;
      if (!name.hidden) slider.value = z[number];
    });
    generator.paint(element("image"), [generator.image(z)]);
  };

  const choose = (place) => {
    chosen = place;
    z = Float64Array.from(codes[place]);
    showCode();
  };

  const digits = Array.from({ length: DIGITS }, (_, place) => {
    const choice = document.createElement("input");
    choice.type = "radio";
    choice.name = "digit";
    choice.setAttribute("aria-label", `z number ${place + 1}`);
    choice.addEventListener("change", () => choose(place));
    const canvas = document.createElement("canvas");
    const label = document.createElement("label");
    label.append(choice, canvas);
    element("digits").append(label);
    return { choice, canvas };
  });

  const showShare = () => {
    const share = Number(element("share").value) / 100;
    element("share-shown").textContent = share.toFixed(2);
    generator.paint(element("between"), [generator.image(between(...ends, share))]);
  };

  const walk = (from, to) => {
    ends = [from, to];
    const shares = Array.from({ length: STEPS }, (_, step) => step / (STEPS - 1));
    generator.paint(element("walk"), shares.map((share) => generator.image(between(...ends, share))));
    showShare();
  };

  const label = () => {
    if (still.matches) element("go").textContent = "One step along";
    else element("go").textContent = direction ? "Pause" : "Play the walk";
  };
  const pause = () => {
    direction = 0;
    label();
  };

  /** Goes on along the walk by hundredths; turns back at its ends. */
  const move = (hundredths) => {
    const share = element("share");
    const next = Number(share.value) + hundredths;
    if (next > 100 || next < 0) direction = -direction;
    share.value = next;
    showShare();
  };
  const frame = () => {
    if (!direction) return;
    move(direction * PACE);
    requestAnimationFrame(frame);
  };
  const go = () => {
    const share = element("share");
    const isAtEnd = Number(share.value) >= 100;
    if (still.matches) {
      share.value = isAtEnd ? 0 : Number(share.value) + 100 / (STEPS - 1);
      showShare();
      return;
    }
    direction = isAtEnd ? -1 : 1;
    label();
    requestAnimationFrame(frame);
  };

  // A number field may hold anything: what is no seed becomes the nearest one.
  const drawSeed = (seed) => {
    const field = element("seed");
    const whole = Math.round(seed) || 0;
    field.value = Math.min(Math.max(whole, Number(field.min)), Number(field.max));
    const random = new Random(Number(field.value));
    codes = digits.map(() => generator.draw(random));
    digits.forEach(({ canvas }, place) => generator.paint(canvas, [generator.image(codes[place])]));
    digits[0].choice.checked = true;
    choose(0);
    walk(codes[0], codes[1]);
  };

  element("seed").addEventListener("change", () => drawSeed(Number(element("seed").value)));
  element("next").addEventListener("click", () => drawSeed(Number(element("seed").value) + 1));
  element("ten").addEventListener("change", showCode);
  element("back").addEventListener("click", () => choose(chosen));
  element("step").addEventListener("click", () => {
    const other = generator.draw(steps);
    const turned = z.map((number, i) => Math.cos(ANGLE) * number + Math.sin(ANGLE) * other[i]);
    z = turned.map((number) => Math.min(Math.max(number, -generator.reach), generator.reach));
    showCode();
  });
  element("from").addEventListener("click", () => walk(Float64Array.from(z), ends[1]));
  element("to").addEventListener("click", () => walk(ends[0], Float64Array.from(z)));
  element("share").addEventListener("input", () => { pause(); showShare(); });
  element("go").addEventListener("click", () => { (direction ? pause : go)(); });
  element("pair").addEventListener("click", () => walk(generator.draw(steps), generator.draw(steps)));
  still.addEventListener("change", pause);

  label();
  drawSeed(Number(element("seed").value));
  panel.classList.add("is-live");
})();
