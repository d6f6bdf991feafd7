// Rows of leaderboards and of runs are chosen by check boxes; a bar at the page's foot leads to their comparison.
"use strict";
{
  const MOST = 6;
  const chosen = new Map(); // row to its name
  const bar = document.createElement("aside"), said = document.createElement("span"), link = document.createElement("a");
  const clear = document.createElement("button");
  bar.className = "chosen";
  bar.hidden = true;
  bar.setAttribute("aria-label", "Chosen runs");
  said.setAttribute("aria-live", "polite");
  clear.type = "button";
  clear.append("Clear");
  bar.append(said, link, clear);

  function show() {
    bar.hidden = !chosen.size;
    link.hidden = chosen.size < 2 || chosen.size > MOST;
    said.textContent = chosen.size > MOST ? `${chosen.size} chosen: at most ${MOST} can be compared.`
      : `${[...chosen.values()].map((name, at) => `${"ABCDEF"[at]} ${name}`).join(", ")}${chosen.size < 2 ? ": choose another to compare it with." : ""}`;
    link.textContent = `Compare ${chosen.size} chosen`;
    const sides = [...chosen.keys()].map((row, at) => `${"abcdef"[at]}=${row.dataset.results.split(" ").map(encodeURIComponent).join(",")}`);
    link.href = new URL(`compare.html#${sides.join("&")}`, weakloc.root);
  }

  for (const row of document.querySelectorAll("tr[data-results]")) {
    const box = document.createElement("input"), name = row.cells[0].textContent.trim();
    box.type = "checkbox";
    box.autocomplete = "off";
    box.setAttribute("aria-label", `Choose ${name} to compare`);
    box.addEventListener("change", () => {
      if (box.checked) chosen.set(row, name);
      else chosen.delete(row);
      show();
    });
    row.cells[0].prepend(box, " ");
  }

  clear.addEventListener("click", () => {
    for (const row of chosen.keys()) row.cells[0].querySelector("input").checked = false;
    chosen.clear();
    show();
  });
  document.querySelector("main").append(bar);
}
