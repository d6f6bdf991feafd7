// Tables are sorted by a click on a column's head, and rows without the words in the search field are hidden.
"use strict";

function value(row, column) {
  const text = row.cells[column].textContent.trim();
  const number = /^[-+]?\d+(\.\d+)?(?=$|[\s[(])/.test(text) ? Number.parseFloat(text) : Number.NaN;
  return { text, number, empty: text === "" };
}

function compare(a, b) {
  if (a.empty !== b.empty) return a.empty ? 1 : -1; // what nobody measured is last, whichever way
  if (Number.isNaN(a.number) || Number.isNaN(b.number)) return a.text.localeCompare(b.text);
  return a.number - b.number;
}

function sort(table, head, column) {
  const down = head.getAttribute("aria-sort") !== "descending";
  for (const other of table.tHead.querySelectorAll("th")) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  for (const body of table.tBodies) {
    const rows = [...body.rows].filter((row) => row.cells.length > 1);
    const sorted = rows.map((row) => [row, value(row, column)]).sort(([, a], [, b]) => {
      const order = compare(a, b);
      return down && a.empty === b.empty ? -order : order;
    });
    body.append(...sorted.map(([row]) => row));
  }
}

function sortable(table) {
  const measured = [...table.querySelectorAll("tbody th")].some((cell) => cell.textContent.startsWith("measured:"));
  if (measured) return; // what stands beneath a row belongs to it
  const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(table, head, column));
    head.append(button);
  });
}

document.querySelectorAll("table").forEach(sortable);

const field = document.querySelector("header input");
field.hidden = false;
field.addEventListener("input", () => {
  const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const row of document.querySelectorAll("main li, main tbody tr")) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
  }
});
