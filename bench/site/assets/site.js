// Sorts tables by their column heads, searches rows from the page's header, and filters leaderboards by column.
"use strict";

const NUMBER = /^[-+]?\d+(\.\d+)?(?=$|[\s[(])/;

// The page's address holds what is searched, filtered, sorted and chosen, so that a link to it restores the same.
const address = {
  kept: new URLSearchParams(),
  read() { // a hash without "=" is a place on the page
    if (location.hash.includes("=")) address.kept = new URLSearchParams(location.hash.slice(1));
    return address.kept;
  },
  set(key, value) {
    const kept = address.read();
    if (value === null) kept.delete(key);
    else kept.set(key, value);
    history.replaceState(null, "", `#${kept}`);
  },
};

function sort(table, head, column, up) {
  for (const other of table.tHead.querySelectorAll("th")) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  for (const body of table.tBodies) {
    const rows = [...body.rows].filter((row) => row.cells.length > 1).map((row) => {
      const text = row.cells[column].textContent.trim();
      return { row, text, number: NUMBER.test(text) ? Number.parseFloat(text) : Number.NaN };
    });
    rows.sort((a, b) => {
      if (!a.text || !b.text) return !a.text - !b.text; // empty cells come last, whichever way
      const numbers = !Number.isNaN(a.number) && !Number.isNaN(b.number);
      const order = numbers ? a.number - b.number : a.text < b.text ? -1 : a.text > b.text ? 1 : 0;
      return up ? order : -order;
    });
    body.append(...rows.map(({ row }) => row));
  }
}

const restores = []; // functions that restore a part of the page from the address

function sortable(table, number) {
  if (table.querySelector("tr.measured")) return; // the rows beneath a row belong to it
  const key = `${number}.sort`;
  [...table.tHead.rows[table.tHead.rows.length - 1].cells].forEach((head, column) => {
    if ("fixed" in head.dataset) return;
    const name = head.textContent.trim();
    const words = head.classList.contains("word") || column === 0 || name === "rank";
    const button = document.createElement("button");
    button.append(...head.childNodes);
    button.addEventListener("click", () => {
      const before = head.getAttribute("aria-sort");
      const up = before ? before === "descending" : words;
      sort(table, head, column, up);
      address.set(key, up ? name : `-${name}`);
    });
    head.append(button);
    restores.push((kept) => {
      if ([name, `-${name}`].includes(kept.get(key))) sort(table, head, column, kept.get(key) === name);
    });
  });
}

const chosen = new Map(); // by select: the column that it filters, and the text to show

function filterable(table) {
  const bar = document.createElement("div"), number = tables.indexOf(table) + 1;
  bar.className = "filters";
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const name = head.textContent.trim(), key = `${number}.${name}`;
    const texts = [...new Set([...table.tBodies[0].rows].map((row) => row.cells[column].textContent.trim()))].sort();
    if (!head.classList.contains("word") || texts.length < 2 || texts.length > 30) return;
    const select = document.createElement("select");
    select.setAttribute("aria-label", name);
    select.autocomplete = "off"; // the address holds the choice
    select.append(new Option("all", ""), ...texts.map((text) => new Option(text.slice(0, 60) || "none", `=${text}`)));
    select.addEventListener("change", () => {
      chosen.set(select, { table, column, text: select.value });
      address.set(key, select.value ? select.value.slice(1) : null);
      show();
    });
    restores.push((kept) => {
      select.value = kept.has(key) && texts.includes(kept.get(key)) ? `=${kept.get(key)}` : "";
      chosen.set(select, { table, column, text: select.value });
    });
    const label = document.createElement("label");
    label.append(`${name} `, select);
    bar.append(label);
  });
  table.parentElement.before(bar);
}

const field = document.querySelector("header input");
const status = document.querySelector("[role=status]");
const tables = [...document.querySelectorAll("main table")];
let rows;

function show() {
  const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
  const filters = [...chosen.values()].filter(({ text }) => text);
  if (!rows && !words.length && !filters.length) return; // as the page was loaded
  rows ??= [...document.querySelectorAll("main li:not(.strip li), main tbody tr")].map((row) => [row, row.textContent.toLowerCase()]);
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

function restore() {
  const kept = address.read();
  field.value = kept.get("search") ?? "";
  for (const each of restores) each(kept);
  show();
}

tables.forEach((table, at) => sortable(table, at + 1));
document.querySelectorAll(".board table").forEach(filterable);
document.querySelector("search").hidden = false;
field.autocomplete = "off";
field.addEventListener("input", () => {
  address.set("search", field.value || null);
  show();
});
restore();
addEventListener("hashchange", restore);
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
  event.preventDefault();
  field.focus();
});
