// Compares the runs that the page's address names, from their data files, as `python -m bench compare` does.
"use strict";
{
  const LETTERS = "ABCDEF";
  const HINT = "Choose two runs of a leaderboard, or more: the first is compared with each of the others.";
  const ROUNDING = 1e-12, SAME = 1e-4, LEVEL = 0.95, FEW = 10, WALK = 200;
  const [picker, verdict, found] = ["#picker", "#verdict", "#comparison"].map((name) => document.querySelector(name));

  // Numbers, packed as in bench/site/compare_page.py and treated as in bench/core/bootstrap.py.

  function decode(text, Kind) {
    return new Kind(Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0)).buffer);
  }

  function unpack(text) {
    return Float64Array.from(decode(text, Uint16Array), (step) => (step === 65535 ? Number.NaN : step / 65534));
  }

  function mean(values) {
    return values.every((value) => value !== null) ? values.reduce((sum, value) => sum + value, 0) / values.length : null;
  }

  function averageSeeds(replicates, drawn) {
    if (replicates.length === 1) return replicates[0];
    const count = Math.min(...replicates.map((one) => one.length)), seeds = drawn[`${replicates.length},${count}`];
    if (!seeds) return null;
    const which = decode(seeds, Uint8Array), times = replicates.length - 1;
    return Float64Array.from({ length: count }, (_, at) => {
      let sum = 0;
      for (let time = 0; time < times; time += 1) sum += replicates[which[time * count + at]][at];
      return sum / times;
    });
  }

  function quantile(sorted, share) { // as numpy's method "weibull"
    const place = Math.min(Math.max(share * (sorted.length + 1) - 1, 0), sorted.length - 1), low = Math.floor(place);
    return sorted[low] + (place - low) * (sorted[Math.min(low + 1, sorted.length - 1)] - sorted[low]);
  }

  function compareValues(a, b, ours, theirs) {
    if (a === null || b === null) return { a, b, difference: null };
    const difference = a - b;
    if (!ours || !theirs) return { a, b, difference };
    const count = Math.min(ours.length, theirs.length);
    const apart = [...ours.subarray(0, count)].map((value, at) => value - theirs[at]).filter((value) => !Number.isNaN(value));
    if (!apart.length) return { a, b, difference };
    const shift = difference - apart.reduce((sum, value) => sum + value, 0) / apart.length;
    const shifted = Float64Array.from(apart, (value) => (Math.abs(value) <= ROUNDING ? 0 : value + shift)).sort();
    const below = shifted.filter((value) => value <= ROUNDING).length, above = shifted.filter((value) => value >= -ROUNDING).length;
    return {
      a, b, difference, p: Math.min(1, 2 * (Math.min(below, above) + 1) / (apart.length + 1)),
      low: Math.max(quantile(shifted, (1 - LEVEL) / 2), -1), high: Math.min(quantile(shifted, (1 + LEVEL) / 2), 1),
    };
  }

  // Text.

  function percent(value) {
    return value === null || value === undefined ? "" : (100 * value).toFixed(1).replace(/^-(0\.0)$/, "$1");
  }

  function signed(value) {
    if (value === null) return "";
    const text = percent(value);
    return Number(text) > 0 ? `+${text}` : Number(text) === 0 ? text.replace("-", "") : text;
  }

  function bounds({ low, high }) {
    return low === undefined ? "" : `[${percent(low)}, ${percent(high)}]`;
  }

  function count(number, noun, plural = `${noun}s`) {
    return `${number} ${number === 1 ? noun : plural}`;
  }

  // Elements: every text becomes a text node.

  function make(tag, properties = {}, ...children) {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  }

  function makeTable(title, columns, rows, words = []) {
    const kind = (at) => (words.includes(at) ? "word" : "");
    const head = make("tr", {}, ...columns.map((name, at) => make("th", { scope: "col", className: kind(at) }, name)));
    const body = rows.map(([first, ...others]) => make("tr", {}, make("th", { scope: "row" }, first),
      ...others.map((cell, at) => make("td", { className: kind(at + 1) }, cell))));
    const table = make("table", {}, make("caption", {}, title), make("thead", {}, head), make("tbody", {}, ...body));
    sortable(table, title);
    return make("div", { className: "table", tabIndex: 0 }, table);
  }

  // Sides: each is the results of one or more seeds, whose mean is compared.

  function readNames() { // addresses of each side's results, `a` first
    const kept = new URLSearchParams(location.hash.slice(1));
    return [...LETTERS.toLowerCase()].map((letter) => kept.get(letter)).filter((addresses) => addresses?.replaceAll(",", ""));
  }

  function findUnknown({ boards }) { // the first address without a result on this site
    const known = new Set(boards.flatMap(({ rows }) => rows.flatMap(([, results]) => results.map(([address]) => address))));
    return readNames().flatMap((addresses) => addresses.split(",")).filter(Boolean).find((address) => !known.has(address));
  }

  async function readSides({ boards }) {
    const labels = new Map(boards.flatMap(({ rows }) => rows.flatMap(([label, results]) => results.map(([address]) => [address, label]))));
    const named = readNames();
    return Promise.all(named.map(async (addresses, at) => {
      const runs = await Promise.all(addresses.split(",").filter(Boolean).map((address) => weakloc.load(locate(address))));
      const full = labels.get(runs[0].address) ?? runs[0].label; // a method, with the settings that tell its rows apart
      return { runs, letter: LETTERS[at], full, label: full.split(" [")[0], first: runs[0] };
    }));
  }

  function locate(address) { // as bench/site/paths.py does
    return `data/${[...address].map((sign) => (/[\w-]/.test(sign) ? sign : `.${sign.codePointAt(0).toString(16)}.`)).join("")}.js`;
  }

  function nameSide({ letter, label, runs }) {
    if (runs.length === 1) return `${letter}: ${label}${runs[0].seed === null ? "" : `, seed ${runs[0].seed}`}`;
    return `${letter}: ${label}, mean of ${runs.length} seeds`;
  }

  function listUnlike(one, other) {
    const unlike = [];
    if (one.protocol !== other.protocol) unlike.push(`protocol ${other.protocol}, not ${one.protocol}`);
    else if (one.digests.conventions !== other.digests.conventions) unlike.push(nameConventions(one, other));
    if (one.dataset !== other.dataset) unlike.push(`dataset ${other.dataset}, not ${one.dataset}`);
    else if (one.digests.ids !== other.digests.ids) {
      const [there, here] = [other, one].map((each) => `${each.split}, ${count(each.count, "image")}`);
      unlike.push(`other images: ${there}, not ${here}`);
    } else if (one.digests.truth !== other.digests.truth) unlike.push("the same images with other annotations");
    return unlike;
  }

  function nameConventions(one, other) {
    const ours = new Map(one.conventions), theirs = new Map(other.conventions);
    const moved = [...new Set([...ours.keys(), ...theirs.keys()])].filter((name) => ours.get(name) !== theirs.get(name));
    if (!moved.length) return "other conventions: another version of the scoring, or other classes";
    return `other conventions: ${moved.map((name) => `${name} ${theirs.get(name) ?? "none"}, not ${ours.get(name) ?? "none"}`).join(", ")}`;
  }

  // The parts of a comparison.

  function compareMetrics(one, other, seeds) {
    const values = (side, name) => side.runs.map((run) => run.metrics.find((metric) => metric[0] === name)?.[1] ?? null);
    const drawn = (side, name) => {
      const each = side.runs.map((run) => run.replicates?.of.find((metric) => metric[0] === name)?.[1]);
      return each.every(Boolean) ? averageSeeds(each.map(unpack), seeds) : null;
    };
    const same = new Set([...one.runs, ...other.runs].map((run) => run.replicates?.draws)).size === 1;
    return one.first.metrics.filter(([name]) => other.first.metrics.some((metric) => metric[0] === name)).map(([name, , higher]) => ({
      name, higher,
      ...compareValues(mean(values(one, name)), mean(values(other, name)), same && drawn(one, name), same && drawn(other, name)),
    }));
  }

  function compareClasses(one, other, seeds) {
    const parts = [one, other].map((side) => side.runs.map((run) => run.classes));
    const metric = parts[0][0]?.metric;
    if (!parts.flat().every((part) => part && part.metric === metric)) return null;
    const names = parts[0][0].values.map(([name]) => name);
    if (!parts.flat().every((part) => part.values.length === names.length && part.values.every(([name], at) => name === names[at]))) return null;
    return {
      metric,
      rows: names.map((name, at) => {
        const [ours, theirs] = parts.map((each) => (each.every((part) => part.draws) ? averageSeeds(each.map((part) => unpack(part.draws[at])), seeds) : null));
        return { name, ...compareValues(...parts.map((each) => mean(each.map((part) => part.values[at][1]))), ours, theirs) };
      }),
    };
  }

  function describeVerdict(one, other, { name, higher, difference, p }) {
    const [a, b] = one.label === other.label ? [one.letter, other.letter] : [one.label, other.label];
    if (difference === null) return `no verdict, as ${name} is not defined for both`;
    if (p === undefined) return `no verdict, as ${a} and ${b} have no replicates of the same draws: choose all seeds of each, or one, or score one of them again`;
    if (p >= 1 - LEVEL) return `no difference between ${a} and ${b} is shown in ${name} (p = ${p.toFixed(3)})`;
    const points = `${(100 * Math.abs(difference)).toFixed(1)} points of ${name}`;
    return `${a} is ${difference > 0 === higher ? "better" : "worse"} than ${b} by ${points} (p = ${p.toFixed(3)})`;
  }

  function showSides(sides) {
    return make("ul", {}, ...sides.map((side) => make("li", {}, make("strong", {}, nameSide({ ...side, label: side.full })), " · ",
      ...side.runs.flatMap((run, at) => [at ? ", " : "", make("a", { href: run.page }, `result ${run.address}`)]),
      ...listCaveats(side).flatMap((caveat) => [make("br"), `${caveat}.`]))));
  }

  function listCaveats({ runs }) {
    const caveats = runs.flatMap((run) => run.caveats).filter(([ofOneSeed]) => !ofOneSeed || runs.length === 1);
    return [...new Set(caveats.map(([, caveat]) => caveat[0].toUpperCase() + caveat.slice(1)))];
  }

  function showMetrics(one, others, compared) {
    const several = others.length > 1;
    const rows = others.flatMap((other, at) => compared[at].map((line) => [
      several ? `${line.name}, ${one.letter} and ${other.letter}` : line.name, percent(line.a), percent(line.b),
      signed(line.difference), bounds(line), line.p === undefined ? "" : line.p.toFixed(3),
    ]));
    const { protocol, dataset, split, count: images, synthetic } = one.first;
    const title = `${protocol} on ${dataset}${synthetic ? " (synthetic)" : ""} ${split}, ${count(images, "image")}, per cent`;
    const letter = several ? "other" : others[0].letter;
    const columns = ["metric", one.letter, letter, `${one.letter} − ${letter}`, "95 % interval", "p"];
    const lower = one.first.metrics.filter(([, , higher]) => !higher).map(([name]) => name);
    return [makeTable(title, columns, rows), ...(lower.length ? [make("p", {}, `Lower is better: ${lower.join(", ")}.`)] : [])];
  }

  function byDifference(a, b) {
    return b.difference - a.difference;
  }

  function showClasses(one, others, compared) {
    const known = others.map((other, at) => ({ other, ...compared[at] })).filter(({ rows }) => rows);
    if (!known.length) return [];
    const metric = known[0].metric, several = known.length > 1;
    const points = known.flatMap(({ other, rows }) => rows.filter(({ difference }) => difference !== null).sort(byDifference).map((row) => ({
      name: row.name, series: several ? `${one.letter} − ${other.letter}` : "", value: 100 * row.difference,
      low: row.low === undefined ? null : 100 * row.low, high: row.high === undefined ? null : 100 * row.high,
    })));
    const label = `${one.letter} − ${several ? "other" : known[0].other.letter}, points of ${metric}`;
    const title = `${metric} by class: where ${one.letter} is ahead or behind`;
    const summary = `Differences in ${metric} of ${count(known[0].rows.length, "class", "classes")}, with 95 % intervals; the table has the numbers.`;
    const columns = ["class", one.letter, ...known.flatMap(({ other: { letter } }) => [letter, `${one.letter} − ${letter}`, "95 % interval"])];
    const rows = known[0].rows.map((row, at) => [row.name, percent(row.a),
      ...known.flatMap(({ rows: lines }) => [percent(lines[at].b), signed(lines[at].difference), bounds(lines[at])])]);
    const drawn = known.every(({ rows: lines }) => lines.every(({ difference, low }) => difference === null || low !== undefined));
    return [
      make("h2", {}, "By class"),
      ...(points.length ? [addPlot("differences", title, summary, { label, points })] : []),
      ...(drawn ? [] : [make("p", {}, "Without intervals where a result has no outcomes of images beside it: large ones stay in the runs folder.")]),
      makeTable(`${metric} by class, per cent`, columns, rows),
    ];
  }

  // Images: the value of each by itself.

  function readImages(side) {
    if (!side.runs.every((run) => run.images)) return null;
    return side.runs.map(({ images }) => ({
      image: decode(images.image, Uint32Array), label: images.label && decode(images.label, Uint16Array), value: unpack(images.value),
    }));
  }

  function evaluateImages(runs, label) { // the mean over rows of each image, then over seeds
    const values = new Map();
    for (const run of runs) {
      const sums = new Map();
      run.image.forEach((image, at) => {
        if (Number.isNaN(run.value[at]) || (label !== null && run.label[at] !== label)) return;
        const [sum, rows] = sums.get(image) ?? [0, 0];
        sums.set(image, [sum + run.value[at], rows + 1]);
      });
      for (const [image, [sum, rows]] of sums) values.set(image, [...(values.get(image) ?? []), sum / rows]);
    }
    return new Map([...values].filter(([, each]) => each.length === runs.length).map(([image, each]) => [image, mean(each)]));
  }

  function showImages(sides, split) {
    const read = sides.map(readImages);
    const title = make("h2", { id: "images" }, "Images on which they differ most");
    if (!read.every(Boolean)) {
      return [title, make("p", {}, "Unavailable: a result has no outcomes by image beside it, or its metric is computed over all images together, as MaxBoxAcc and PxAP are.")];
    }
    const names = read.flat().every((run) => run.label) ? sides[0].first.images.classes : [];
    const select = make("select", { ariaLabel: "class" }, new Option("all", ""), ...names.map((name, at) => new Option(name, at)));
    const against = make("select", { ariaLabel: `${sides[0].letter} against` }, ...sides.slice(1).map((side, at) => new Option(nameSide(side), at + 1)));
    const shown = make("div");
    const show = () => {
      const label = select.value === "" ? null : Number(select.value), pair = [0, Number(against.value)];
      shown.replaceChildren(...listImages(pair.map((at) => sides[at]), pair.map((at) => evaluateImages(read[at], label)), split));
    };
    select.addEventListener("change", show);
    against.addEventListener("change", show);
    show();
    const colours = [["true", "truth, dashed"], ["hit", "hit"], ["miss", "miss, dotted"], ["other", "other boxes"]];
    const key = make("p", { className: "key" }, ...colours.flatMap(([kind, name]) => [make("span", { className: kind }, name), " "]));
    const { measure } = sides[0].first.images;
    return [title, ...(measure ? [make("p", {}, measure)] : []), ...(split ? [key] : []), make("div", { className: "filters" }, ...(names.length ? [make("label", {}, "class ", select)] : []),
      ...(sides.length > 2 ? [make("label", {}, `${sides[0].letter} against `, against)] : [])), shown];
  }

  function listImages(pair, values, split) {
    const both = [...values[0]].filter(([image]) => values[1].has(image)).map(([image, value]) => ({
      image, place: split ? split.rows.indexOf(image) : -1, values: [value, values[1].get(image)], difference: value - values[1].get(image),
    }));
    const [a, b] = pair.map(({ letter }) => letter);
    // Among images with equal differences, those with pictures come first.
    const order = (sign) => (x, y) => sign * (y.difference - x.difference) || (y.place >= 0) - (x.place >= 0) || x.image - y.image;
    const better = both.filter(({ difference }) => difference > SAME).sort(order(1));
    const worse = both.filter(({ difference }) => difference < -SAME).sort(order(-1));
    const alike = both.length - better.length - worse.length;
    return [
      make("p", {}, `${a} is better on ${count(better.length, "image")}, ${b} on ${worse.length}, and both are alike on ${alike}. An image counts once here; a metric that is a mean over classes counts it by its classes.`),
      ...[[`${a} better than ${b}`, better], [`${b} better than ${a}`, worse]]
        .flatMap(([name, images]) => (images.length ? [listSome(name, images, pair, split)] : [])),
    ];
  }

  function listSome(title, images, pair, split) {
    const pictured = images.filter(({ place }) => place >= 0);
    const columns = ["image", ...pair.map(({ letter }) => letter), `${pair[0].letter} − ${pair[1].letter}`];
    const link = (one) => nameImage(one, pair, split, pictured);
    const row = (one) => [link(one), ...one.values.map(percent), signed(one.difference)];
    const part = make("section", {}, make("h3", {}, title));
    if (split && pictured.length < images.length) part.append(make("p", {}, `${pictured.length} of ${count(images.length, "image")} have pages here.`));
    const list = make("div"), drawn = make("div");
    const grow = (room, number, some, show) => {
      const more = make("button", { type: "button" }, `Show more of ${some.length}`);
      more.addEventListener("click", () => grow(room, 4 * number, some, show));
      room.replaceChildren(show(some.slice(0, number)), ...(some.length > number ? [more] : []));
    };
    grow(list, FEW, images, (some) => makeTable(`${title}, per cent`, columns, some.map(row)));
    if (pictured.length) grow(drawn, 3, pictured, (some) => make("div", {}, ...some.map((one) => drawPair(one, pair, split, link(one)))));
    part.append(drawn, list);
    return part;
  }

  // The page of an image walks along the list that links to it, and links back to this page.
  function nameImage(one, pair, split, pictured) {
    const { image, place } = one, at = pictured.indexOf(one);
    if (place < 0) return `image ${image + 1}`;
    const walk = pictured.slice(at - (at % WALK), at - (at % WALK) + WALK).map((other) => other.image).join(".");
    const kept = new URLSearchParams({ runs: pair.map(({ first }) => first.address).join(","), walk, back: location.hash.slice(1) });
    const link = make("a", { href: `${split.pages[place]}#${kept}` }, `image ${image + 1}`);
    weakloc.load(split.images[place]).then(({ id }) => link.replaceChildren(id));
    return link;
  }

  function nameDrawn({ letter, label, runs, first }, value) {
    const seed = first.seed === null ? "" : `, seed ${first.seed}`;
    return `${letter}: ${label}${seed}${runs.length > 1 ? `; mean of ${runs.length} seeds` : ""}: ${percent(value)}`;
  }

  function drawPair(one, pair, split, link) {
    const room = make("div", { className: "sides" });
    weakloc.load(split.images[one.place]).then((image) => room.append(
      make("figure", {}, make("figcaption", {}, "truth"), weakloc.drawTruth(image)),
      ...pair.map((side, at) => make("figure", {}, make("figcaption", {}, nameDrawn(side, one.values[at])),
        weakloc.isDrawn(image, side.first.address) ? weakloc.drawSaid(image, side.first.address, nameSide(side)) : "Its predictions are not on this site.")),
    ));
    return make("article", {}, make("h4", {}, link), room);
  }

  function showErrors(sides) {
    const known = sides.filter(({ first }) => first.errors);
    if (!known.length) return [];
    const { cost, kinds } = known[0].first.errors;
    const title = cost ? `Kinds of errors: points of ${cost} that each costs` : "Kinds of errors: shares, per cent";
    const bars = known.flatMap((side) => side.first.errors.kinds.map(([kind, , value]) => ({ name: side.letter, kind, value: Math.max(0, 100 * (value ?? 0)) })));
    const rows = kinds.map(([kind], at) => [kind, ...known.flatMap(({ first: { errors: { kinds: each } } }) => {
      const [, number, value, interval] = each[at] ?? [];
      return [String(number ?? ""), percent(value), interval ? bounds({ low: interval[0], high: interval[1] }) : ""];
    })]);
    return [
      make("h2", {}, "Kinds of errors"),
      addPlot("errors", title, `${title}; the table has the numbers.`, { label: cost ?? "share", bars }),
      makeTable(title, ["kind", ...known.flatMap(({ letter }) => [`count, ${letter}`, letter, "95 % interval"])], rows),
      ...(sides.some(({ runs }) => runs.length > 1) ? [make("p", {}, "Of several seeds, those of the first.")] : []),
    ];
  }

  function showSettings(sides) {
    const each = sides.map(({ first }) => new Map(first.settings));
    const names = [...new Set(each.flatMap((settings) => [...settings.keys()]))];
    const differing = names.filter((name) => new Set(each.map((settings) => settings.get(name))).size > 1);
    const shared = differing.filter((name) => each.every((settings) => settings.has(name)));
    const own = differing.filter((name) => !shared.includes(name));
    const columns = ["setting", ...sides.map(({ letter }) => letter)], words = sides.map((_, at) => at + 1);
    const table = (title, some) => makeTable(title, columns, some.map((name) => [name, ...each.map((settings) => settings.get(name) ?? "")]), words);
    return [
      make("h2", {}, "Settings"),
      shared.length ? table("Settings in which they differ", shared) : make("p", {}, "No setting that all have differs."),
      ...(own.length ? [make("details", {}, make("summary", {}, `Settings that only some runs have: ${own.length}`), table("Settings that only some runs have", own))] : []),
    ];
  }

  function showCosts(sides) {
    const each = sides.map(({ runs }) => runs.map(({ costs }) => new Map(costs)));
    const names = [...new Set(each.flat().flatMap((costs) => [...costs.keys()]))];
    const average = (runs, name) => mean(runs.map((costs) => costs.get(name) ?? null));
    const text = (value) => (value === null ? "" : value >= 100 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(3))));
    const rows = names.map((name) => {
      const values = each.map((runs) => average(runs, name));
      const times = sides.length === 2 && values.every(Boolean) ? `${Number((values[0] / values[1]).toPrecision(2))} ×` : "";
      return [name, ...values.map(text), ...(sides.length === 2 ? [times] : [])];
    });
    if (!rows.length) return [];
    const columns = ["what", ...sides.map(({ letter }) => letter), ...(sides.length === 2 ? [`${sides[0].letter} / ${sides[1].letter}`] : [])];
    return [make("h2", {}, "Cost"), makeTable("Time and size, the less the better; machines, and what else ran on them, may differ", columns, rows)];
  }

  function explainMixture({ letter, runs: [first, ...others] }) { // only seeds of one row can be averaged
    const settings = (run) => JSON.stringify([run.label, run.settings]);
    const mixed = others.some((run) => settings(run) !== settings(first) || listUnlike(first, run).length)
      || new Set([first, ...others].map((run) => run.seed)).size <= others.length;
    return mixed ? [make("p", { className: "verdict" }, `${letter} is not one method under one protocol with several seeds, so it has no mean.`)] : [];
  }

  function showComparison(sides, { seeds }, split) {
    const mixtures = sides.flatMap(explainMixture);
    if (mixtures.length) return { verdicts: mixtures, parts: [] };
    const [one, ...rest] = sides;
    const unlike = rest.map((other) => listUnlike(one.first, other.first));
    const others = rest.filter((_, at) => !unlike[at].length), alike = [one, ...others];
    const refused = rest.flatMap((other, at) => (unlike[at].length
      ? [make("p", { className: "verdict" }, `${nameSide(other)} was not evaluated like ${nameSide(one)}, and is not compared: ${unlike[at].join("; ")}.`)] : []));
    if (!others.length) return { verdicts: refused, parts: [showSides(sides)] };
    const metrics = others.map((other) => compareMetrics(one, other, seeds));
    const said = others.map((other, at) => make("p", { className: "verdict" }, metrics[at].length
      ? `${sides.length > 2 ? `${one.letter} and ${other.letter}: ` : "Verdict: "}${describeVerdict(one, other, metrics[at][0])}.`
      : `${nameSide(one)} and ${nameSide(other)} have no metric in common.`));
    const single = alike.length === 2 && alike.every(({ runs }) => runs.length === 1);
    const parts = [
      showSides(sides), ...showMetrics(one, others, metrics),
      ...showClasses(one, others, others.map((other) => compareClasses(one, other, seeds))),
      ...showImages(alike, split), ...showErrors(alike), ...showSettings(alike), ...showCosts(alike),
      ...(single ? [make("p", {}, "The same on the command line: ", make("code", {}, `python -m bench compare ${alike.map(({ first }) => first.address).join(" ")} --per-class`))] : []),
    ];
    return { verdicts: [...said, ...refused], parts };
  }

  // Choosing: a leaderboard, and rows or runs of it.

  let said = null; // the address as the picker set it

  function listChoices(board) {
    return board.rows.flatMap(([label, results]) => {
      const seed = ([, number]) => (number === null ? "" : `, seed ${number}`);
      if (results.length === 1) return [{ text: `${label}${seed(results[0])}`, value: results[0][0] }];
      const all = { text: `${label}, mean of ${results.length} seeds`, value: results.map(([address]) => address).join(",") };
      return [all, ...results.map((result) => ({ text: `${label}${seed(result)}`, value: result[0] }))];
    });
  }

  function makePicker({ boards }) {
    if (!boards.length) return make("p", {}, "There are no results yet.");
    const named = readNames();
    const choices = boards.map(listChoices);
    const holds = (at, value) => choices[at].some((choice) => choice.value === value);
    const start = Math.max(0, named.length ? choices.findIndex((_, at) => holds(at, named[0])) : choices.findIndex((some) => some.length > 1));
    const board = make("select", {}, ...boards.map(({ protocol, dataset, rows }, at) => new Option(`${protocol} on ${dataset} (${rows.length})`, at)));
    const search = make("input", { type: "search", placeholder: "part of a name" });
    const chosen = make("span", { className: "filters" });
    board.value = start;

    const options = (value) => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      return choices[board.value].filter((choice) => choice.value === value || words.every((word) => choice.text.toLowerCase().includes(word)));
    };
    const fill = (select) => {
      const { value } = select, own = value && !holds(board.value, value) ? [new Option(`result ${value}`, value)] : [];
      select.replaceChildren(new Option("choose a run", ""), ...own, ...options(value).map((choice) => new Option(choice.text, choice.value)));
      select.value = value;
    };
    const selects = () => [...chosen.querySelectorAll("select")];
    const say = () => {
      const values = selects().map((select) => select.value).filter(Boolean);
      said = `#${values.map((value, at) => `${LETTERS[at].toLowerCase()}=${encodeURIComponent(value).replaceAll("%2C", ",")}`).join("&")}`;
      location.hash = said;
      said = location.hash;
    };
    const add = (value) => {
      const select = make("select", {}, new Option("", value));
      select.value = value;
      fill(select);
      select.addEventListener("change", say);
      chosen.append(make("label", {}, `${LETTERS[chosen.children.length]} `, select));
      more.hidden = chosen.children.length === LETTERS.length;
    };
    const more = make("button", { type: "button" }, "Add a run");
    more.addEventListener("click", () => add(""));
    search.addEventListener("input", () => selects().forEach(fill));
    board.addEventListener("change", () => {
      chosen.replaceChildren();
      add("");
      add("");
    });
    [...named, "", ""].slice(0, Math.max(2, named.length)).forEach(add);
    return make("div", { className: "picker", role: "group", ariaLabel: "Runs to compare" },
      make("div", { className: "filters" }, make("label", {}, "leaderboard ", board), make("label", {}, "show only runs with ", search)), chosen, more);
  }

  let latest = 0;

  async function show() {
    const mine = latest += 1;
    const index = await weakloc.load("data/compare.js");
    if (location.hash !== said || !picker.children.length) picker.replaceChildren(makePicker(index));
    try {
      restores.length = 0; // the previous tables are gone
      const unknown = findUnknown(index);
      if (unknown !== undefined) throw new Error(`There is no result ${unknown.length > 40 ? `${unknown.slice(0, 40)}…` : unknown} on this site.`);
      const sides = await readSides(index);
      const own = sides.find(({ first }) => first.pages && !listUnlike(sides[0].first, first).length), split = own && await weakloc.load(own.first.pages);
      if (mine !== latest) return;
      const { verdicts, parts } = sides.length < 2 ? { verdicts: [make("p", {}, HINT)], parts: [] } : showComparison(sides, index, split);
      verdict.replaceChildren(...verdicts);
      found.replaceChildren(...parts);
      rows = undefined; // so that the search lists the new rows
      restore();
    } catch (error) {
      if (mine !== latest) return;
      verdict.replaceChildren(make("p", { className: "verdict" }, error.message));
      found.replaceChildren();
    }
  }

  addEventListener("hashchange", show);
  show();
}
