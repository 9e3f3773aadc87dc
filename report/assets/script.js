"use strict";
(() => {
  // The page is whole without this script. It adds the theme switch, sorting and downloads, and opens folds for
  // printing and for a link that leads into one.
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const label = () => { button.textContent = dark() ? "Light theme" : "Dark theme"; };
  button.hidden = false;
  button.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; label(); });
  system.addEventListener("change", label);
  label();

  let opened = [];
  window.addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    opened.forEach((one) => { one.open = true; });
  });
  window.addEventListener("afterprint", () => { opened.forEach((one) => { one.open = false; }); opened = []; });

  // A link into a fold opens it: not every browser does so by itself.
  const reveal = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const folds = [];
    for (let fold = target?.closest("details"); fold; fold = fold.parentElement.closest("details")) folds.push(fold);
    const inside = target?.querySelector(":scope > details:first-child");
    if (inside) folds.push(inside);
    if (folds.some((fold) => !fold.open)) {
      folds.forEach((fold) => { fold.open = true; });
      target.scrollIntoView();
    }
  };
  window.addEventListener("hashchange", reveal);
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='#']");
    if (link && link.hash === location.hash) reveal(); // followed again after the fold was closed
  });
  reveal();

  // Long tables name their file once: here each number gets its whole source back.
  document.querySelectorAll("[data-source]").forEach((part) => {
    part.querySelectorAll("[title^='#']").forEach((one) => { one.title = part.dataset.source + one.title; });
  });

  // A press on a number shows its source, to read and to copy: a touch screen shows no title.
  const origin = document.createElement("output");
  origin.className = "origin";
  origin.hidden = true;
  document.body.append(origin);
  document.addEventListener("click", (event) => {
    const number = event.target.closest("data[title]");
    if (event.target !== origin) origin.hidden = !number;
    if (number) origin.textContent = `${number.value} from ${number.title}`;
  });

  const button_of = (text, name) => {
    const made = document.createElement("button");
    made.type = "button";
    made.className = name;
    made.append(text);
    return made;
  };

  // A press on a heading sorts by its column, up, down, and back to the paper's order; rows without a value stay last.
  const value = (row, column, kind) => {
    let place = 0;
    for (const cell of row.cells) {
      if (place === column && cell.colSpan === 1) {
        if (kind === "text") return cell.textContent.trim();
        if (kind === "rank") return cell.dataset.rank === undefined ? null : Number(cell.dataset.rank);
        const number = (cell.querySelector(".ours") ?? cell).querySelector("data");
        return number ? Number(number.value) : null;
      }
      place += cell.colSpan;
    }
    return null;
  };
  const compare = (one, other) => (typeof one === "string" ? one.localeCompare(other, "en") : one - other);
  document.querySelectorAll("table").forEach((table) => {
    const heads = [...table.querySelectorAll("th[data-column]")];
    if (!heads.length) return;
    const bodies = [...table.tBodies].map((body) => [body, [...body.rows]]);
    const back = button_of("Back to the paper's order", "back");
    const sort = (head, direction) => {
      heads.forEach((other) => { other.removeAttribute("aria-sort"); });
      if (direction) head.setAttribute("aria-sort", direction);
      back.hidden = !direction;
      const sign = direction === "descending" ? -1 : 1;
      const { column, kind } = head.dataset;
      bodies.forEach(([body, rows]) => {
        const keyed = rows.map((row) => [row, value(row, Number(column), kind)]);
        if (direction) {
          keyed.sort(([, one], [, other]) => {
            if (one === null || other === null) return (one === null) - (other === null);
            return sign * compare(one, other);
          });
        }
        body.append(...keyed.map(([row]) => row));
      });
    };
    const next = { ascending: "descending", descending: null };
    heads.forEach((head) => {
      const made = button_of("", "sort");
      made.append(...head.childNodes);
      made.addEventListener("click", () => {
        const now = head.getAttribute("aria-sort");
        sort(head, now ? next[now] : "ascending");
      });
      head.append(made);
    });
    back.hidden = true;
    back.addEventListener("click", () => { sort(heads[0], null); heads[0].firstElementChild.focus(); });
    table.closest(".scroll").before(back);
  });

  // The data that the page holds, as a file of the same content.
  document.querySelectorAll("[data-download]").forEach((place) => {
    const data = document.getElementById(place.dataset.download);
    if (!data) return;
    const made = button_of("Download the data", "download");
    made.addEventListener("click", async () => {
      const packed = Uint8Array.from(atob(JSON.parse(data.textContent)), (one) => one.charCodeAt(0));
      const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([await new Response(stream).text()], { type: "application/json" }));
      link.download = place.dataset.name;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    });
    place.append(" ", made);
  });
})();
