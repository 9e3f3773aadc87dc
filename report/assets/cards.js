// A narrow window shows a card for each row of a table; here each cell gets the heading that it then carries. Two kinds
// of tables scroll instead: the seeds of a run, whose cells span rows, and the numbers behind a plot.
(() => {
  const words = (element) => element.textContent.replace(/\s+/g, " ").trim();
  const headingsOf = (head) => {
    const headings = [];
    const above = []; // rows that a heading still spans, by column
    for (const row of head.rows) {
      let column = 0;
      for (const cell of row.cells) {
        while (above[column] > 0) above[column++] -= 1;
        for (let k = 0; k < cell.colSpan; k += 1, column += 1) {
          headings[column] = [...(headings[column] ?? []), words(cell)];
          above[column] = cell.rowSpan - 1;
        }
      }
    }
    return headings.map((texts) => texts.join(", "));
  };
  document.querySelectorAll(".scroll > table").forEach((table) => {
    if (table.matches(".standing") || table.closest(".behind-numbers") || table.querySelector("tbody [rowspan]")) return;
    const headings = headingsOf(table.tHead);
    table.classList.add("as-cards");
    for (const body of table.tBodies) {
      for (const row of body.rows) {
        let column = 0;
        for (const cell of row.cells) {
          if (cell.tagName === "TD" && cell.colSpan === 1) cell.dataset.label = headings[column];
          column += cell.colSpan;
        }
      }
    }
  });
})();
