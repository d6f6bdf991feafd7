// Check boxes choose rows of leaderboards and runs; a bar at the bottom of the page links to their comparison.
"use strict";
{
  const MOST = 6;
  const boxes = []; // each with its results and its name
  let chosen = []; // results of rows, in the order in which they were chosen
  const bar = document.createElement("aside"), said = document.createElement("span"), link = document.createElement("a");
  const clear = document.createElement("button");
  bar.className = "chosen";
  bar.setAttribute("aria-label", "Chosen runs");
  said.setAttribute("aria-live", "polite");
  clear.type = "button";
  clear.append("Clear");
  bar.append(said, link, clear);

  function choose(some) {
    chosen = some.filter((results) => boxes.some((one) => one.results === results));
    for (const { box, results } of boxes) box.checked = chosen.includes(results); // a run may be in two tables
    const names = chosen.map((results, at) => `${"ABCDEF"[at]} ${boxes.find((one) => one.results === results).name}`);
    bar.hidden = !chosen.length;
    link.hidden = chosen.length < 2 || chosen.length > MOST;
    said.textContent = chosen.length > MOST ? `${chosen.length} chosen: at most ${MOST} can be compared.`
      : `${names.join(", ")}${chosen.length < 2 ? ": choose another to compare it with." : ""}`;
    link.textContent = `Compare ${chosen.length} chosen`;
    const sides = chosen.map((results, at) => `${"abcdef"[at]}=${results.split(" ").map(encodeURIComponent).join(",")}`);
    link.href = new URL(`compare.html#${sides.join("&")}`, weakloc.root);
  }

  function chooseAndKeep(some) {
    choose(some);
    address.set("chosen", chosen.join("|") || null);
  }

  for (const row of document.querySelectorAll("tr[data-results]")) {
    const box = document.createElement("input"), name = (row.cells[0].querySelector("a") ?? row.cells[0]).textContent.trim(), { results } = row.dataset;
    box.type = "checkbox";
    box.autocomplete = "off"; // the address holds the choice
    box.setAttribute("aria-label", `Choose ${name} to compare`);
    box.addEventListener("change", () => chooseAndKeep(box.checked ? [...chosen, results] : chosen.filter((one) => one !== results)));
    row.cells[0].prepend(box, " ");
    boxes.push({ box, name, results });
  }

  clear.addEventListener("click", () => chooseAndKeep([]));
  document.querySelector("main").append(bar);
  restores.push((kept) => choose((kept.get("chosen") ?? "").split("|")));
  restore();
}
