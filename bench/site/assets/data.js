// Loads data files, which are scripts, by their paths from the site's root: `await weakloc.load("data/NAME.js")`.
"use strict";

const weakloc = { data: {}, root: new URL(".", document.currentScript.src), loading: new Map() };

weakloc.load = (path) => {
  if (!weakloc.loading.has(path)) {
    weakloc.loading.set(path, new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = new URL(path, weakloc.root);
      script.addEventListener("load", () => resolve(weakloc.data[path]));
      script.addEventListener("error", () => reject(new Error(`${path} is not there`)));
      document.head.append(script);
    }));
  }
  return weakloc.loading.get(path);
};
