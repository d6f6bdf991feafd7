// Saves a plot as a self-contained file: drawn anew at a fixed width, in light colours on white, with its title.
"use strict";

const SAVED_WIDTH = 800, SCALE = 2;

// Replaces variables by the colours of the light page.
function resolveColours(text) {
  const probe = document.createElement("span");
  probe.style.colorScheme = "light";
  document.body.append(probe);
  const resolved = text.replace(/var\((--[\w-]+)\)/g, (_, name) => {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  });
  probe.remove();
  return resolved;
}

function makePicture(figure) {
  const data = JSON.parse(figure.querySelector("script").textContent);
  const drawn = DRAW[data.kind]({ ...data, small: false }, SAVED_WIDTH);
  const make = (tag, attributes, text = "") => {
    const made = document.createElementNS(drawn.namespaceURI, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.textContent = text;
    return made;
  };
  const top = drawn.key ? 52 : 30;
  const width = Number(drawn.getAttribute("width")) + 16, height = Number(drawn.getAttribute("height")) + top + 8;
  const outer = make("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "font-family": "system-ui, sans-serif", "font-size": 12 });
  const ink = { fill: "var(--ink)" }, title = figure.querySelector("figcaption").textContent.trim();
  outer.append(make("rect", { width: "100%", height: "100%", fill: "#ffffff" }));
  outer.append(make("text", { ...ink, x: 8, y: 20, "font-size": 14, "font-weight": 600 }, shorten(title, Math.floor(width / 8))));
  let x = 8;
  for (const [mark, colour, words] of drawn.key ?? []) {
    outer.append(make("text", { x, y: 42, fill: colour }, mark), make("text", { ...ink, x: x + 16, y: 42 }, words));
    x += 36 + 6.5 * words.length;
  }
  drawn.querySelector("style").remove(); // for a plot on a page
  for (const link of drawn.querySelectorAll("a")) link.replaceWith(...link.childNodes);
  for (const [name, value] of Object.entries({ x: 8, y: top, overflow: "visible", color: "var(--ink)", "font-size": 12 })) {
    drawn.setAttribute(name, value);
  }
  outer.append(drawn);
  const text = resolveColours(new XMLSerializer().serializeToString(outer));
  // XML allows no control characters.
  return { title, width, height, text: text.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, "\ufffd") };
}

async function rasterize({ text, width, height }) {
  const image = new Image(width, height), canvas = document.createElement("canvas");
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  await image.decode();
  canvas.width = SCALE * width;
  canvas.height = SCALE * height;
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve));
}

async function save(figure, format) {
  const picture = makePicture(figure), link = document.createElement("a");
  const content = format === "SVG" ? new Blob([picture.text], { type: "image/svg+xml" }) : await rasterize(picture);
  link.href = URL.createObjectURL(content);
  link.download = `${picture.title.replace(/[^\w.-]+/g, "-").slice(0, 80)}.${format.toLowerCase()}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function offerSaving(figure) {
  const bar = document.createElement("div"), title = figure.querySelector("figcaption").textContent.trim();
  bar.className = "save";
  for (const format of ["SVG", "PNG"]) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(format);
    button.setAttribute("aria-label", `Save as ${format}: ${shorten(title, 80)}`);
    button.addEventListener("click", () => save(figure, format));
    bar.append(button);
  }
  figure.prepend(bar);
}
