"use strict";

// The trained generator in the page: sliders of z, and the walk between two z of figure 3.
(async () => {
  const panel = document.getElementById("play-generator");
  if (!panel) return;
  const element = (name) => document.getElementById(`generator-${name}`);

  /** Images on the walk, both ends among them. */
  const STEPS = 9;

  const generator = await Generator.unpacked(element("weights"));
  const random = new Random(1);
  let z = generator.draw(random);
  let ends = [generator.draw(random), generator.draw(random)];

  const sliders = [...z].map((_, place) => {
    const slider = document.createElement("input");
    slider.type = "range";
    slider.min = -generator.reach;
    slider.max = generator.reach;
    slider.step = "any";
    slider.addEventListener("input", () => {
      z[place] = Number(slider.value);
      generator.paint(element("image"), [generator.image(z)]);
    });
    const name = document.createElement("label");
    const index = document.createElement("sub");
    index.textContent = place + 1;
    name.append("z", index, slider);
    element("sliders").append(name);
    return slider;
  });

  const showCode = () => {
    sliders.forEach((slider, place) => { slider.value = z[place]; });
    generator.paint(element("image"), [generator.image(z)]);
  };

  const showShare = () => {
    const share = Number(element("share").value) / 100;
    element("share-shown").textContent = share.toFixed(2);
    generator.paint(element("between"), [generator.image(between(...ends, share))]);
  };

  const showWalk = () => {
    const shares = Array.from({ length: STEPS }, (_, step) => step / (STEPS - 1));
    generator.paint(element("walk"), shares.map((share) => generator.image(between(...ends, share))));
    showShare();
  };

  element("draw").addEventListener("click", () => { z = generator.draw(random); showCode(); });
  element("share").addEventListener("input", showShare);
  element("pair").addEventListener("click", () => {
    ends = [generator.draw(random), generator.draw(random)];
    showWalk();
  });
  element("take").addEventListener("click", () => {
    ends = [Float64Array.from(z), ends[1]];
    showWalk();
  });

  showCode();
  showWalk();
  panel.classList.add("is-live");
})();
