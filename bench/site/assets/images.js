// Draws what runs predicted for images. For other pages, after data.js:
//
//   const split = await weakloc.load(PATH);          what `bench.site.images.find_data(material.pages, result)` returns
//   const at = split.rows.indexOf(ROW);              ROW as in the outcomes' column `image`; -1: no page
//   const image = await weakloc.load(split.images[at]);
//   element.append(weakloc.drawTruth(image), weakloc.drawSaid(image, ADDRESS, LABEL));    and a link to image.page
//
// Both return a <div class="said"> of SVG pictures. Those of drawSaid are the photograph with boxes, points or mask,
// then each map. weakloc.isDrawn(image, ADDRESS) returns whether there is anything to draw.
//
// The data of an image: { id, page, picture ("" where there is no photograph), width, height, radius (of points' marks),
// classes: [NAME], truth: [[CLASS, DIFFICULT, x1, y1, x2, y2]], mask: CELL (the true one),
// layers: { masks: {file, width, height}, maps },
// runs: { ADDRESS: { value, hits: {CLASS: true}, boxes: [[CLASS, x1, y1, x2, y2]], best first in each class,
// points: [[CLASS, x, y]], scores: [[NAME, SCORE]], mask: CELL, maps: [[CLASS, CELL]] } } }. CLASS is an index into
// `classes`; -1: of no class. A layer is a file of vertically stacked cells, and CELL an index into it.
"use strict";

{
  const markup = document.createElement("template");
  markup.innerHTML = "<svg></svg>";
  const NAMESPACE = markup.content.firstChild.namespaceURI;

  function make(name, attributes, ...children) {
    const element = document.createElementNS(NAMESPACE, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  }

  function box([x1, y1, x2, y2], kind, label = "") {
    const made = make("rect", { x: x1, y: y1, width: Math.max(0, x2 - x1), height: Math.max(0, y2 - y1), class: kind });
    if (label) made.append(make("title", {}, label));
    return made;
  }

  function point(image, [x, y], kind) {
    return make("circle", { cx: x + 0.5, cy: y + 0.5, r: image.radius, class: kind }); // at the centre of its pixel
  }

  function layer(image, kind, cell) {
    const { file, width, height } = image.layers[kind];
    const whole = make("image", { href: new URL(file, weakloc.root), width, height: height * (cell + 1) });
    whole.setAttribute("preserveAspectRatio", "xMinYMin slice");
    return make("svg", {
      x: 0, y: 0, width: image.width, height: image.height, viewBox: `0 ${height * cell} ${width} ${height}`,
      preserveAspectRatio: "none", class: kind,
    }, whole);
  }

  function picture(image, label, ...over) {
    const { width, height } = image;
    const ground = image.picture
      ? make("image", { href: new URL(image.picture, weakloc.root), width, height, preserveAspectRatio: "none" })
      : make("rect", { width, height, class: "absent" });
    return make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label, class: "photo" }, ground, ...over);
  }

  function truths(image) {
    return image.truth.map(([at, difficult, ...corners]) =>
      box(corners, difficult ? "true difficult" : "true", `${image.classes[at]}${difficult ? " (difficult)" : ""}`));
  }

  function verdict(said, at) {
    const hit = said.hits?.[at];
    return hit === undefined ? "other" : hit ? "hit" : "miss";
  }

  // The best box of each class stands out and lies on top.
  function marks(image, said) {
    const first = new Set(), best = [], rest = [];
    for (const [at, ...corners] of said.boxes ?? []) {
      const name = image.classes[at];
      if (first.has(at)) rest.push(box(corners, "rest", `another box of ${name}`));
      else best.push(box(corners, verdict(said, at), `the best box of ${name}: ${verdict(said, at)}`));
      first.add(at);
    }
    const points = (said.points ?? []).map(([at, ...place]) => point(image, place, verdict(said, at)));
    return [...rest.reverse(), ...best, ...points];
  }

  function describe(image, said) {
    const parts = Object.entries(said.hits ?? {}).map(([at, hit]) => `${image.classes[at]} ${hit ? "hit" : "miss"}`);
    if (!parts.length && said.value !== undefined) parts.push(`${(100 * said.value).toFixed(1)} %`);
    if (said.scores) parts.push(said.scores.map(([name, score]) => `${name} ${score}`).join(", "));
    return parts.join(", ");
  }

  function pictures(...drawn) {
    const made = document.createElement("div");
    made.className = "said";
    made.append(...drawn);
    return made;
  }

  weakloc.drawTruth = (image) => {
    const mask = image.mask === undefined ? [] : [layer(image, "masks", image.mask)];
    return pictures(picture(image, `${image.id}: the truth, ${image.classes.join(", ")}`, ...mask, ...truths(image)));
  };

  weakloc.drawSaid = (image, address, label) => {
    const said = image.runs[address] ?? {};
    const mask = said.mask === undefined ? [] : [layer(image, "masks", said.mask)];
    const maps = (said.maps ?? []).map(([at, cell]) => {
      const name = at < 0 ? "objectness" : `map of ${image.classes[at]}`;
      return picture(image, `${label}: ${name}`, make("title", {}, name), layer(image, "maps", cell), ...truths(image), ...marks(image, said));
    });
    const whole = picture(image, `${label}: ${describe(image, said)}`, ...mask, ...truths(image), ...marks(image, said));
    return pictures(whole, ...maps);
  };

  // Whether what a run predicted for an image can be drawn.
  weakloc.isDrawn = (image, address) => ["boxes", "points", "mask", "maps"].some((kind) => kind in (image.runs[address] ?? {}));

  // The page of an image: each run's card is drawn when it nears the window.

  const nav = document.querySelector("nav.walk");

  function getHash() {
    return new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
  }

  function drawCards(image) {
    const cards = [...document.querySelectorAll(".cards li")];
    const draw = (card) => {
      const address = card.dataset.run, said = image.runs[address];
      if (weakloc.isDrawn(image, address)) card.append(weakloc.drawSaid(image, address, card.querySelector("a").textContent));
      else if (said && !said.scores) card.append(Object.assign(document.createElement("p"), { textContent: "Its predictions are not on this site." }));
    };
    const observer = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        if (!isIntersecting) continue;
        observer.unobserve(target);
        draw(target);
      }
    }, { rootMargin: "400px" });
    if (image.mask !== undefined) document.querySelector(".truth").replaceChildren(weakloc.drawTruth(image));
    cards.forEach((card) => observer.observe(card));
  }

  // If the address names `runs`, only these are shown, and larger.
  function showRuns() {
    const runs = getHash().get("runs")?.split(",").filter(Boolean) ?? [];
    const cards = [...document.querySelectorAll(".cards li")];
    const found = cards.filter((card) => runs.includes(card.dataset.run));
    for (const card of cards) card.classList.toggle("aside", found.length > 0 && !found.includes(card));
    for (const list of document.querySelectorAll(".cards")) {
      list.classList.toggle("few", found.length > 0);
      list.hidden = list.previousElementSibling.hidden = [...list.children].every((card) => card.matches(".aside"));
    }
    const all = document.querySelector(".all");
    const rest = getHash();
    rest.delete("runs");
    all.hidden = !found.length;
    all.querySelector("a").href = `#${rest.size ? rest : "walk=hardest"}`;
  }

  // A walk is one of the split's, by name, or the rows of a comparison in its order.
  function findWalk(split, kept) {
    const asked = kept.get("walk") ?? "";
    if (Object.hasOwn(split.walks, asked)) return split.walks[asked];
    const images = asked.split(".").map((row) => (row ? split.rows.indexOf(Number(row)) : -1)).filter((place) => place >= 0);
    return { title: "comparison", page: `compare.html#${kept.get("back") ?? ""}`, images };
  }

  // The address holds the walk, and passes it on from image to image.
  async function showWalk() {
    const kept = getHash(), split = await weakloc.load(nav.dataset.split);
    const image = Number(nav.dataset.image), asked = findWalk(split, kept);
    const walk = asked.images.includes(image) ? asked : split.walks[nav.dataset.walk];
    const at = walk.images.indexOf(image), hash = `${kept}` && `#${kept}`;
    nav.querySelector(".place").textContent = `${at + 1} of ${walk.images.length}`;
    const list = nav.querySelector(".list");
    list.textContent = walk.title;
    list.href = new URL(walk.page, weakloc.root);
    for (const [rel, step] of [["prev", -1], ["next", 1]]) {
      const link = nav.querySelector(`[rel=${rel}]`), next = walk.images[at + step];
      link.hidden = next === undefined;
      if (!link.hidden) link.href = `${new URL(split.pages[next], weakloc.root)}${hash}`;
    }
  }

  let walked; // resolves once the links follow the address's walk

  function showAddress() {
    showRuns();
    walked = showWalk();
    return walked;
  }

  async function openImage() {
    await showAddress();
    drawCards(await weakloc.load(nav.dataset.data));
  }

  if (nav) {
    openImage();
    addEventListener("hashchange", showAddress);
    document.addEventListener("keydown", async (event) => {
      const rel = { ArrowLeft: "prev", ArrowRight: "next" }[event.key];
      const other = event.altKey || event.ctrlKey || event.metaKey || event.shiftKey;
      if (!rel || other || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
      event.preventDefault();
      await walked;
      const link = nav.querySelector(`[rel=${rel}]`);
      if (!link.hidden) link.click();
    });
  }
}
