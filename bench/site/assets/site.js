// Tables are sorted by their heads, rows are searched from the page's head, and leaderboards filtered by their columns.
"use strict";

const NUMBER = /^[-+]?\d+(\.\d+)?(?=$|[\s[(])/;

function sort(table, head, column) {
  const words = head.classList.contains("word") || column === 0 || head.textContent.trim() === "rank";
  const before = head.getAttribute("aria-sort");
  const up = before ? before === "descending" : words;
  for (const other of table.tHead.querySelectorAll("th")) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  for (const body of table.tBodies) {
    const rows = [...body.rows].filter((row) => row.cells.length > 1).map((row) => {
      const text = row.cells[column].textContent.trim();
      return { row, text, number: NUMBER.test(text) ? Number.parseFloat(text) : Number.NaN };
    });
    rows.sort((a, b) => {
      if (!a.text || !b.text) return !a.text - !b.text; // what nobody measured is last, whichever way
      const numbers = !Number.isNaN(a.number) && !Number.isNaN(b.number);
      const order = numbers ? a.number - b.number : a.text < b.text ? -1 : a.text > b.text ? 1 : 0;
      return up ? order : -order;
    });
    body.append(...rows.map(({ row }) => row));
  }
}

function sortable(table) {
  if (table.querySelector("tr.measured")) return; // what stands beneath a row belongs to it
  [...table.tHead.rows[table.tHead.rows.length - 1].cells].forEach((head, column) => {
    if ("fixed" in head.dataset) return;
    const button = document.createElement("button");
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(table, head, column));
    head.append(button);
  });
}

const chosen = new Map(); // column's cells by row, to the text that is asked for

function filterable(table) {
  const bar = document.createElement("div");
  bar.className = "filters";
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const name = head.textContent.trim();
    const texts = [...new Set([...table.tBodies[0].rows].map((row) => row.cells[column].textContent.trim()))].sort();
    if (!head.classList.contains("word") || texts.length < 2 || texts.length > 30) return;
    const select = document.createElement("select");
    select.setAttribute("aria-label", name);
    select.append(new Option("all", ""), ...texts.map((text) => new Option(text || "none", `=${text}`)));
    select.addEventListener("change", () => {
      chosen.set(select, { table, column, text: select.value });
      show();
    });
    const label = document.createElement("label");
    label.append(`${name} `, select);
    bar.append(label);
  });
  table.parentElement.before(bar);
}

const field = document.querySelector("header input");
const status = document.querySelector("[role=status]");
let rows;

function show() {
  rows ??= [...document.querySelectorAll("main li, main tbody tr")].map((row) => [row, row.textContent.toLowerCase()]);
  const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
  const filters = [...chosen.values()].filter(({ text }) => text);
  let shown = 0;
  for (const [row, text] of rows) {
    const table = row.closest("table");
    const hidden = !words.every((word) => text.includes(word)) || filters.some((one) =>
      one.table === table && `=${row.cells[one.column].textContent.trim()}` !== one.text);
    if (row.hidden !== hidden) row.hidden = hidden;
    shown += !hidden;
  }
  status.textContent = words.length || filters.length ? `${shown} of ${rows.length} rows` : "";
}

document.querySelectorAll("main table").forEach(sortable);
document.querySelectorAll(".board table").forEach(filterable);
document.querySelector("search").hidden = false;
field.addEventListener("input", show);
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
  event.preventDefault();
  field.focus();
});
