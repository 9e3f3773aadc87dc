// Values of plots, on hover and by arrow keys. A plot tells in `data-axes` how places become values
// (replicate/figures/reading.py); a value is rounded to what the picture resolves.
(() => {
  const REACH = 50; // pixels between the pointer and the point that it reads
  const MARK = 12; // a filled part of a path that is wider is a bar or a band, and no mark
  const SIZES = { m: 2, l: 2, h: 1, v: 1, c: 6, q: 4 };

  // The corners of a path: a list of [x, y] for every part that begins with a move.
  const partsOf = (data) => {
    const parts = [];
    let [x, y] = [0, 0];
    for (const [, letter, text] of data.matchAll(/([a-z])([^a-z]*)/gi)) {
      const command = letter.toLowerCase();
      const numbers = (text.match(/-?(?:\d+\.?\d*|\.\d+)/g) ?? []).map(Number);
      if (command === "z") {
        [x, y] = parts.at(-1)[0];
        continue;
      }
      for (let k = 0; k < numbers.length; k += SIZES[command]) {
        const step = numbers.slice(k, k + SIZES[command]);
        if (letter === "M") [x, y] = [0, 0];
        if (command !== "v") x += command === "h" ? step[0] : step.at(-2);
        if (command !== "h") y += step.at(-1);
        if (command === "m" && k === 0) parts.push([]);
        parts.at(-1).push([x, y]);
      }
    }
    return parts;
  };

  const middle = (part) => {
    const [left, right] = [Math.min(...part.map(([x]) => x)), Math.max(...part.map(([x]) => x))];
    const [top, bottom] = [Math.min(...part.map(([, y]) => y)), Math.max(...part.map(([, y]) => y))];
    return right - left > MARK || bottom - top > MARK ? null : [(left + right) / 2, (top + bottom) / 2];
  };

  const placesOf = (shape, look) => {
    if (shape.tagName === "use") return [[Number(shape.getAttribute("x")), Number(shape.getAttribute("y"))]];
    const parts = partsOf(shape.getAttribute("d"));
    if (look.fill === "none") return parts.flat();
    return parts.length > 1 ? parts.map(middle).filter((place) => place) : [];
  };

  const styleOf = (look) => {
    const dashes = look.strokeDasharray === "none" ? [] : look.strokeDasharray.split(",").map(parseFloat);
    if (dashes.length !== 2) return dashes.length ? "-." : "";
    return dashes[0] > dashes[1] ? "--" : ":";
  };

  // Every point of a plot that has a value, in the order of its lines.
  const pointsOf = (svg, scales) => {
    const points = [];
    svg.querySelectorAll("path, use").forEach((shape) => {
      if (!shape.closest("[clip-path]") || shape.closest(".frame:not(.frame-0)")) return;
      const inked = shape.closest("[class*='series-'], [class*='published'], [class*='faint']");
      const colour = inked?.getAttribute("class").match(/series-\d+|published|faint/)[0] ?? "ink";
      if (colour === "faint") return;
      const look = getComputedStyle(shape);
      const style = styleOf(look);
      for (const [x, y] of placesOf(shape, look)) {
        const axes = scales.axes.find(([left, top, right, bottom]) => x >= left && x <= right && y >= top && y <= bottom);
        if (!axes) continue;
        const named = scales.names[colour + style] ?? scales.names[colour];
        points.push({ x, y, axes, line: shape, name: [named, axes[6][style || "-"]].filter((word) => word).join(", ") });
      }
    });
    return points;
  };

  const written = (value) => {
    const isTiny = value !== 0 && Math.abs(value) < 1e-4;
    const digits = isTiny ? value.toExponential(2) : value.toLocaleString("en", { maximumFractionDigits: 9 });
    return digits.replaceAll("-", "\u2212").replaceAll(",", "\u202f");
  };
  // A value with its axis; `share` says how far along the axis.
  const told = ([label, first, last, kind], share) => {
    if (kind === 1) return `${label} ${written(Number((first * (last / first) ** share).toPrecision(3)))}`;
    const value = first + share * (last - first);
    if (kind === 0) {
      const decimals = -Math.ceil(Math.log10(Math.abs(last - first) * 2e-4));
      const rounded = decimals > 0 ? value.toFixed(decimals) : Math.round(value * 10 ** decimals) / 10 ** decimals;
      return `${label} ${written(Number(rounded) + 0)}`; // + 0: no sign on what rounds to zero
    }
    const [, name] = kind.reduce((one, other) => (Math.abs(other[0] - value) < Math.abs(one[0] - value) ? other : one));
    return `${label} ${name}`;
  };

  const mark = document.createElementNS("http://www.w3.org/2000/svg", "circle");
  mark.setAttribute("class", "reading");
  mark.setAttribute("r", "5");
  document.querySelectorAll("svg.plot[data-axes]").forEach((svg) => {
    const swapped = svg.dataset.axes.replace(/["']/g, (mark) => (mark === '"' ? "'" : '"'));
    const scales = JSON.parse(swapped);
    let points = null;
    let chosen = 0;
    const inWindow = ({ x, y }) => new DOMPoint(x, y).matrixTransform(svg.getScreenCTM());
    const hide = () => { mark.remove(); hint.hide(); };
    const read = (number) => {
      chosen = number;
      const { x, y, axes, name } = points[number];
      const [left, top, right, bottom, across, up] = axes;
      const values = [told(across, (x - left) / (right - left)), told(up, (bottom - y) / (bottom - top))];
      mark.setAttribute("cx", x);
      mark.setAttribute("cy", y);
      svg.append(mark);
      const place = inWindow(points[number]);
      hint.show(`${name ? `${name}: ` : ""}${values.map((value) => value.trim()).join(", ")}`, place.x, place.y);
    };
    const ready = () => { points ??= pointsOf(svg, scales); return points.length > 0; };
    const point = (event) => {
      if (!ready()) return;
      const distances = points.map((each) => {
        const place = inWindow(each);
        return Math.hypot(place.x - event.clientX, place.y - event.clientY);
      });
      const nearest = distances.indexOf(Math.min(...distances));
      if (distances[nearest] <= REACH) read(nearest); else hide();
    };
    svg.addEventListener("pointermove", point);
    svg.addEventListener("pointerdown", point);
    svg.addEventListener("pointerleave", hide);

    // By keyboard: left and right along a line, up and down to the next line.
    svg.setAttribute("tabindex", "0");
    svg.addEventListener("focus", () => { if (ready() && svg.matches(":focus-visible")) read(chosen); });
    svg.addEventListener("blur", hide);
    svg.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
      if (!step || !ready()) return;
      event.preventDefault();
      let next = chosen + step;
      if (event.key === "ArrowUp" || event.key === "ArrowDown") {
        const { line } = points[chosen];
        while (points[next]?.line === line) next += step;
      }
      if (points[next]) read(next);
    });
  });
})();
