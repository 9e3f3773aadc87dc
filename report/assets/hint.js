// A note beside what the pointer or the focus is at; the same for values of plots and for words.
const hint = (() => {
  const note = document.createElement("output");
  note.className = "hint";
  note.hidden = true;
  document.body.append(note);
  const hide = () => { note.hidden = true; };
  // Shows a text above a place of the window, or below it where there is no room.
  const show = (text, x, y) => {
    note.hidden = false;
    note.textContent = text;
    const { width, height } = note.getBoundingClientRect();
    const left = Math.min(Math.max(8, x - width / 2), document.documentElement.clientWidth - width - 8);
    note.style.left = `${left}px`;
    note.style.top = `${y - height - 14 < 0 ? y + 18 : y - height - 14}px`;
  };
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
  window.addEventListener("scroll", hide, { passive: true });

  // Words that the page explains: their explanation stands once, in the list of words.
  document.querySelectorAll("a.word").forEach((word) => {
    const explain = () => {
      const term = document.getElementById(word.hash.slice(1));
      const { left, right, top } = word.getBoundingClientRect();
      show(term.nextElementSibling.textContent.replace(/\s+/g, " ").trim(), (left + right) / 2, top + 6);
    };
    word.addEventListener("pointerenter", explain);
    word.addEventListener("focus", explain);
    word.addEventListener("pointerleave", hide);
    word.addEventListener("blur", hide);
  });
  return { show, hide };
})();
