// Draws the plots of a page from the data beside them, with Observable Plot (plot.js); tables have the same numbers.
"use strict";

const SHORT = 34, LONG = 160;

function shorten(name, most = SHORT) {
  return name.length > most ? `${name.slice(0, most - 1)}…` : name;
}

function whole(name) { // as a tooltip shows it
  return shorten(name, LONG);
}

function isNarrow(width) {
  return width < 560;
}

function fit(name, width) { // a label beside a plot
  return shorten(name, isNarrow(width) ? 15 : SHORT);
}

function margin(names, width) {
  return Math.min(250, 20 + 7 * Math.max(...names.map((name) => fit(name, width).length)));
}

function nameAxis(data) { // of the metric
  return `${data.metric}, per cent${data.higher ? "" : " (lower is better)"}`;
}

const COLOURS = { method: "var(--c0)", floor: "var(--soft)", ceiling: "var(--c4)", "tuned on what is evaluated": "var(--c4)" };

function describe(row) {
  const interval = row.low === null ? "" : ` [${row.low.toFixed(1)}, ${row.high.toFixed(1)}]`;
  const rank = row.rank ? `, rank ${row.rank}` : "";
  const role = row.role === "method" ? "" : ` (${row.role})`;
  return [`${whole(row.name)}${role}`, `${row.value.toFixed(1)}${interval}${rank}`, ...(row.notes ?? []).map(whole)].join("\n");
}

// A row's name is beside it or, if that leaves no room, above it: then marks are this much below the row's middle.
function lower(width) {
  return isNarrow(width) ? 9 : 0;
}

function frame(rows, width) {
  return {
    width, marginLeft: isNarrow(width) ? 8 : margin(rows.map((row) => row.name), width), marginRight: 16, marginTop: 8, marginBottom: 40,
    height: 54 + (isNarrow(width) ? 38 : 20) * rows.length, y: { domain: rows.map((row) => row.key), axis: null },
  };
}

function labels(rows, x, width, said = describe) {
  const place = isNarrow(width) ? { textAnchor: "start", dy: -8, fontSize: 14, stroke: "var(--page)", strokeWidth: 3 } : { textAnchor: "end", dx: -8 };
  return Plot.text(rows, {
    y: "key", x: () => x, text: (row) => (isNarrow(width) ? shorten(row.name, 40) : fit(row.name, width)), ...place,
    fill: "currentColor", href: rows.some((row) => row.link) ? "link" : undefined, ariaLabel: said,
  });
}

function intervals(data, width) {
  const rows = data.rows.map((row, at) => ({ ...row, key: `${row.name}\u0000${at}` }));
  const ends = rows.flatMap((row) => [row.value, row.low ?? row.value, row.high ?? row.value]);
  const low = Math.max(0, Math.min(...ends) - 2), high = Math.min(100, Math.max(...ends) + 2);
  const ranks = [...new Set(rows.map((row) => row.rank))], dy = lower(width);
  return Plot.plot({
    ...frame(rows, width),
    x: {
      domain: [low, high], grid: true, labelAnchor: "center",
      label: nameAxis(data),
    },
    marks: [
      Plot.barX(rows.filter((row) => row.rank && ranks.indexOf(row.rank) % 2 === 0), {
        y: "key", x1: low, x2: high, fill: "var(--band)", insetTop: -0.5, insetBottom: -0.5,
      }),
      Plot.ruleX(rows.filter((row) => row.role === "floor" || row.role === "ceiling"), {
        x: "value", stroke: (row) => COLOURS[row.role], strokeDasharray: "3,3", strokeOpacity: 0.7,
      }),
      Plot.link(rows.filter((row) => row.low !== null), {
        x1: "low", x2: "high", y1: "key", y2: "key", stroke: (row) => COLOURS[row.role], strokeWidth: dy ? 3 : 2, dy,
      }),
      Plot.dot(rows, {
        x: "value", y: "key", r: dy ? 5.5 : 4.5, fill: (row) => COLOURS[row.role], title: describe, tip: true, dy,
        href: rows.some((row) => row.link) ? "link" : undefined,
      }),
      labels(rows, low, width),
    ],
  });
}

function classes(data, width) {
  const names = [...new Set(data.cells.map((cell) => cell.name))], count = new Set(data.cells.map((cell) => cell.class)).size;
  const values = data.cells.map((cell) => cell.value), least = Math.min(...values), span = Math.max(...values) - least || 1;
  const strength = (c) => 0.04 + (0.96 * (c.value - least)) / span;
  const left = margin(names, width);
  return Plot.plot({
    width: Math.max(width, left + 24 * count + 20), marginLeft: left, marginTop: 90, marginBottom: 8, height: 100 + 20 * names.length,
    x: { axis: "top", tickRotate: -60, label: null, tickSize: 0, tickFormat: (name) => shorten(name, 16) }, padding: 0,
    y: { domain: names, label: null, tickSize: 0, tickFormat: (name) => fit(name, width) },
    opacity: { domain: [0, 1], range: [0, 1] },
    marks: [
      Plot.cell(data.cells, {
        x: "class", y: "name", fill: "var(--c0)", fillOpacity: strength, inset: 0.5, tip: true,
        title: (c) => `${whole(c.name)}, ${whole(c.class)}: ${c.value.toFixed(1)}`,
      }),
      Plot.text(data.cells, {
        x: "class", y: "name", text: (c) => c.value.toFixed(0), fontSize: 9, pointerEvents: "none",
        fill: (c) => (strength(c) > 0.6 ? "var(--page)" : "var(--ink)"),
      }),
    ],
  });
}

function compact(number) {
  return number.toLocaleString("en", { notation: "compact" });
}

function costs(data, width) {
  const better = data.higher ? 1 : -1;
  const sorted = [...data.points].sort((a, b) => a.cost - b.cost || better * (b.value - a.value));
  const frontier = sorted.filter((point, at) => sorted.slice(0, at).every((other) => better * (point.value - other.value) > 0));
  const describeCost = (p) => `${whole(p.name)}\n${p.value.toFixed(1)} for ${p.cost.toLocaleString("en")} ${data.label}`;
  return Plot.plot({
    width: Math.min(width, 720), height: 340, marginLeft: 50, marginRight: 90, marginTop: 28,
    x: { type: "log", label: data.label, grid: true, ticks: 5, tickFormat: compact },
    y: { label: nameAxis(data), grid: true, nice: true },
    marks: [
      Plot.line(frontier, { x: "cost", y: "value", stroke: "var(--c1)", strokeDasharray: "4,3", curve: "step-after" }),
      Plot.dot(data.points, {
        x: "cost", y: "value", r: 4.5, fill: "var(--c0)", href: "link",
        title: describeCost, ariaLabel: describeCost, tip: true,
      }),
      Plot.text(frontier, { x: "cost", y: "value", text: (p) => shorten(p.name), textAnchor: "start", dx: 8, dy: -6 }),
    ],
  });
}

const SERIES = ["var(--c0)", "var(--c1)", "var(--c2)", "var(--c3)", "var(--c4)", "var(--c5)"];

function lines(data, width) {
  const many = data.series.length > 1, named = data.series.slice(0, SERIES.length);
  const points = data.series.flatMap(({ name, points }) => points.map(([x, y]) => ({ name, x, y })));
  const colour = new Map(named.map(({ name }, at) => [name, SERIES[at]]));
  const isNamed = (p) => colour.has(p.name), parts = [points.filter((p) => !isNamed(p)), points.filter(isNamed)];
  const drawn = Plot.plot({
    width: Math.min(width, data.small ? 260 : 560), height: data.small ? 142 : 252, marginTop: 24, marginBottom: 34,
    marginLeft: 40, marginRight: 16,
    x: { label: data.x, domain: data.unit ? [0, 1] : undefined, ticks: data.small ? 3 : 6, labelAnchor: "center" },
    y: { label: data.y, domain: data.unit ? [0, 1] : undefined, zero: true, ticks: data.small ? 3 : 5, grid: true },
    marks: [
      data.mark === null ? null : Plot.ruleX([data.mark], { stroke: "var(--soft)", strokeDasharray: "3,3" }),
      ...parts.map((some) => Plot.line(some, {
        x: "x", y: "y", z: "name", stroke: (p) => colour.get(p.name) ?? "var(--line)", strokeWidth: 1.8,
      })),
      Plot.dot(points, { x: "x", y: "y", r: 6, fill: "transparent", title: (p) => `${whole(p.name)}\n${p.x}: ${p.y}`, tip: !data.small }),
    ],
  });
  if (many) drawn.key = named.map(({ name }) => ["━", colour.get(name), shorten(name)]);
  if (data.series.length > named.length) drawn.key.push(["━", "var(--line)", "others"]);
  return drawn;
}

function trend(data, width) {
  const shown = data.points.filter((point) => point.value !== null);
  const describePoint = (p) => [
    `${p.date}, ${p.revision}`, `${data.metric} ${p.value.toFixed(1)}`, p.moved ? `changed: ${whole(p.moved)}` : "",
    p.gate ? `gate: ${p.gate}` : "",
  ].filter(Boolean).join("\n");
  return Plot.plot({
    width: Math.min(width, 560), height: 240, marginLeft: 44, marginBottom: 44, marginTop: 12,
    x: {
      type: "point", domain: data.points.map((p) => p.number), label: null,
      tickFormat: (n) => (data.points.length > 8 && n % Math.ceil(data.points.length / 8) ? "" : `${data.points[n].date}\n${data.points[n].revision}`),
    },
    y: { label: nameAxis(data), grid: true, nice: true },
    marks: [
      Plot.link(shown.filter((p) => p.low !== null), {
        x1: "number", x2: "number", y1: "low", y2: "high", stroke: (p) => SERIES[p.part % SERIES.length], strokeWidth: 2,
      }),
      Plot.line(shown, { x: "number", y: "value", z: "part", stroke: (p) => SERIES[p.part % SERIES.length] }),
      Plot.dot(shown, {
        x: "number", y: "value", r: 4, fill: (p) => SERIES[p.part % SERIES.length], title: describePoint, tip: true,
      }),
      Plot.text(shown.filter((p) => ["improved", "regressed"].includes(p.gate)), { x: "number", y: "value", text: "gate", dx: 8, textAnchor: "start" }),
    ],
  });
}

function differences(data, width) {
  const names = [...new Set(data.points.map((point) => point.name))], series = [...new Set(data.points.map((point) => point.series))];
  const step = 12 / series.length;
  const describeDifference = (p) => [
    whole(p.name), whole(p.series), `${p.value > 0 ? "+" : ""}${p.value.toFixed(1)}${p.low === null ? "" : ` [${p.low.toFixed(1)}, ${p.high.toFixed(1)}]`}`,
  ].filter(Boolean).join("\n");
  const isClear = (p) => p.low > 0 || p.high < 0;
  const drawn = Plot.plot({
    width, marginLeft: margin(names, width), marginTop: 8, marginRight: 16, marginBottom: 40, height: 54 + (14 + 8 * series.length) * names.length,
    x: { label: data.label, labelAnchor: "center", grid: true, nice: true },
    y: { domain: names, label: null, tickSize: 0, tickFormat: (name) => fit(name, width) },
    marks: [
      Plot.ruleX([0], { stroke: "currentColor" }),
      ...series.flatMap((name, at) => {
        const points = data.points.filter((point) => point.series === name), dy = (at - (series.length - 1) / 2) * step;
        const colour = SERIES[at % SERIES.length];
        return [
          Plot.link(points.filter((p) => p.low !== null), { x1: "low", x2: "high", y1: "name", y2: "name", stroke: colour, strokeWidth: 2, dy }),
          Plot.dot(points, {
            x: "value", y: "name", r: 4, stroke: colour, fill: (p) => (isClear(p) ? colour : "var(--page)"), dy,
            title: describeDifference, tip: true,
          }),
        ];
      }),
    ],
  });
  if (series.length > 1) drawn.key = series.map((name, at) => ["■", SERIES[at % SERIES.length], shorten(name)]);
  return drawn;
}

const KINDS = {
  correct: "var(--c0)", "wrong class": "var(--c1)", group: "var(--c3)", part: "var(--c2)", context: "var(--c4)",
  missed: "var(--soft)", loose: "var(--c5)", classification: "var(--c1)", localization: "var(--c0)", both: "var(--c3)",
  duplicate: "var(--c2)", background: "var(--c4)",
};

function legend(entries) { // of [mark, colour, words]
  const made = document.createElement("p");
  made.className = "legend";
  for (const [mark, colour, words] of entries) {
    const sign = document.createElement("span"), entry = document.createElement("span");
    sign.style.color = colour;
    sign.setAttribute("aria-hidden", "true");
    sign.append(mark);
    entry.append(sign, ` ${words}`);
    made.append(entry);
  }
  return made;
}

function errors(data, width) {
  const names = [...new Set(data.bars.map((bar) => bar.name))];
  const kinds = [...new Set(data.bars.filter((bar) => bar.value > 0).map((bar) => bar.kind))];
  const drawn = Plot.plot({
    width, marginLeft: margin(names, width), marginTop: 8, marginBottom: 40, height: 54 + 22 * names.length,
    x: { label: `${data.label}, per cent`, labelAnchor: "center", grid: true },
    y: { domain: names, label: null, tickSize: 0, tickFormat: (name) => fit(name, width) },
    marks: [
      Plot.barX(data.bars.filter((bar) => bar.value > 0), {
        x: "value", y: "name", fill: (bar) => KINDS[bar.kind], inset: 0.5, order: kinds, z: "kind", tip: true,
        title: (bar) => `${whole(bar.name)}\n${bar.kind}: ${bar.value.toFixed(1)}`,
      }),
    ],
  });
  drawn.key = kinds.map((kind) => ["■", KINDS[kind], kind]);
  return drawn;
}

const PRINTED = "var(--c1)", MEASURED = "var(--c0)", UNLIKE = "var(--soft)";

// Printed numbers, each with its measured number; those that are not comparable are hollow.
function printed(data, width) {
  const rows = data.rows.map((row, at) => ({ ...row, key: `${row.name}\u0000${at}` }));
  const measured = rows.filter((row) => row.value !== null);
  const ends = rows.flatMap((row) => [row.printed, row.value ?? row.printed, row.low ?? row.printed, row.high ?? row.printed]);
  const low = Math.max(0, Math.min(...ends) - 2), colour = (row) => (row.reasons ? UNLIKE : MEASURED);
  const bounds = (row) => (row.low === null ? "" : ` [${row.low.toFixed(1)}, ${row.high.toFixed(1)}]`);
  const describeRow = (row) => [`${whole(row.name)}: printed ${row.printed}`,
    row.value === null ? "not measured" : `measured ${row.value.toFixed(1)}${bounds(row)}, ${whole(row.by)}`,
    row.reasons ? `not comparable: ${whole(row.reasons)}` : ""].filter(Boolean).join("\n");
  const dy = lower(width);
  const drawn = Plot.plot({
    ...frame(rows, width),
    x: { domain: [low, Math.min(100, Math.max(...ends) + 2)], grid: true, label: "per cent", labelAnchor: "center" },
    marks: [
      Plot.link(measured, { x1: "printed", x2: "value", y1: "key", y2: "key", stroke: "var(--line)", strokeWidth: 1.5, dy }),
      Plot.link(measured.filter((row) => row.low !== null), {
        x1: "low", x2: "high", y1: "key", y2: "key", stroke: colour, strokeWidth: 2, dy,
      }),
      Plot.dot(rows, {
        x: "printed", y: "key", symbol: "diamond", r: 4.5, stroke: PRINTED, strokeWidth: 2, fill: "var(--page)", dy,
      }),
      Plot.dot(measured, {
        x: "value", y: "key", r: 4.5, stroke: colour, strokeWidth: 2, href: "link", dy,
        fill: (row) => (row.reasons ? "var(--page)" : MEASURED),
      }),
      Plot.dot(rows, { x: (row) => row.value ?? row.printed, y: "key", r: 6, fill: "transparent", title: describeRow, tip: true, pointerEvents: "none", dy }),
      labels(rows, low, width, describeRow),
    ],
  });
  drawn.key = [["◇", PRINTED, "printed"], ["●", MEASURED, "measured, with its 95 % interval"], ["○", UNLIKE, "measured, not comparable"]];
  return drawn;
}

const DRAW = { printed, differences, errors, lines, trend, intervals, classes, costs };

// Labels a plot and its links for screen readers; they skip a link that repeats another, as a dot repeats its label's.
function nameDrawing(svg, summary) {
  const links = [...svg.querySelectorAll("a")];
  svg.setAttribute("role", links.length ? "group" : "img");
  svg.setAttribute("aria-label", summary);
  for (const link of links) {
    const said = link.querySelector("[aria-label]")?.getAttribute("aria-label") ?? link.textContent;
    link.setAttribute(...(said ? ["aria-label", said] : ["aria-hidden", "true"]));
    if (!said) link.setAttribute("tabindex", "-1");
  }
  for (const part of svg.querySelectorAll(":not(a)[aria-label]")) part.removeAttribute("aria-label");
}

function draw(figure) {
  const data = JSON.parse(figure.querySelector("script").textContent);
  const drawn = DRAW[data.kind](data, Math.max(280, figure.clientWidth));
  nameDrawing(drawn, figure.dataset.summary);
  if (!figure.querySelector(".save")) offerSaving(figure);
  const room = figure.querySelector(".drawn"), isWide = Number(drawn.getAttribute("width")) > Math.max(280, figure.clientWidth);
  room.classList.toggle("scrolls", isWide);
  if (isWide) room.tabIndex = 0; // so that the keyboard can scroll it
  else room.removeAttribute("tabindex");
  room.replaceChildren(...(drawn.key ? [legend(drawn.key)] : []), drawn);
}

// A plot is drawn when it nears the window, so that a long page is readable at once, and again if the width changes.
const drawn = new Set();
const observer = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting || drawn.has(target)) continue;
    drawn.add(target);
    draw(target);
  }
}, { rootMargin: "300px" });
for (const figure of document.querySelectorAll("figure.plot")) {
  figure.hidden = false;
  observer.observe(figure);
}
let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth === width) return;
  width = innerWidth;
  requestAnimationFrame(() => drawn.forEach(draw));
});
addEventListener("beforeprint", () => document.querySelectorAll("figure.plot").forEach(draw));

// Makes a figure for scripts to add to a page, with the markup of templates/parts.html.
function addPlot(kind, title, summary, data) {
  const figure = document.createElement("figure"), said = document.createElement("figcaption");
  const room = document.createElement("div"), held = document.createElement("script");
  figure.className = "plot";
  figure.dataset.summary = summary;
  said.append(title);
  room.className = "drawn";
  held.type = "application/json";
  held.textContent = JSON.stringify({ kind, ...data });
  figure.append(said, room, held);
  observer.observe(figure);
  return figure;
}
