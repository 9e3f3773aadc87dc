// A button beside each command, and beside BibTeX, that copies it.
(() => {
  const COPIED = {
    "code.bibtex": "BibTeX",
    ".next li > code, .how dd:first-of-type > code, .steps dd:first-of-type > code": "command",
  };
  const told = document.createElement("output");
  told.className = "visually-hidden";
  document.body.append(told);
  const select = (code) => {
    const range = document.createRange();
    range.selectNodeContents(code);
    const selection = getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
  };
  for (const [places, name] of Object.entries(COPIED)) {
    document.querySelectorAll(places).forEach((code) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "copy";
      button.textContent = "Copy";
      button.setAttribute("aria-label", `Copy the ${name}`);
      const tell = (shown, spoken) => {
        button.textContent = shown;
        told.textContent = spoken;
        setTimeout(() => { button.textContent = "Copy"; told.textContent = ""; }, 3000);
      };
      button.addEventListener("click", async () => {
        try {
          await navigator.clipboard.writeText(code.textContent);
          tell("Copied", `The ${name} is copied.`);
        } catch { // the browser does not let a page write: what is selected can be copied by hand
          select(code);
          tell("Selected", `The ${name} is selected; copy it with your keyboard.`);
        }
      });
      code.after(" ", button);
    });
  }
})();
