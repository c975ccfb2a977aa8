(() => {
  // Each chart is there as a picture; on a screen wide enough it is drawn again, with the figures under the pointer.
  const names = /*names*/{};
  const screen = matchMedia("(min-width:641px)"), dark = matchMedia("(prefers-color-scheme:dark)");
  const painted = (value, style) => {
    if (Array.isArray(value)) return value.map(one => painted(one, style));
    if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, painted(one, style)]));
    const name = typeof value === "string" && names[value.toLowerCase()];
    return name ? style.getPropertyValue(`--hs-${name}`).trim() || value : value;
  };
  const note = document.createElement("div");
  note.className = "hs-note-at";
  note.hidden = true;
  document.body.append(note);
  const plain = value => value === null || value === undefined ? "–" : typeof value === "object" ? JSON.stringify(value) : String(value);
  const tooltip = (_, event, __, value) => {
    if (value === null || value === undefined || value === "") { note.hidden = true; return; }
    const lines = typeof value === "object" ? Object.entries(value).map(([key, one]) => `${key}: ${plain(one)}`) : [plain(value)];
    note.replaceChildren(...lines.slice(0, 12).map(line => { const part = document.createElement("div"); part.textContent = line; return part; }));
    note.hidden = false;
    note.style.left = `${Math.max(8, Math.min(event.clientX + 14, innerWidth - note.offsetWidth - 8))}px`;
    note.style.top = `${event.clientY + 18 + note.offsetHeight > innerHeight ? event.clientY - note.offsetHeight - 12 : event.clientY + 18}px`;
  };
  const loader = { load: () => Promise.reject(new Error("nothing is loaded")), sanitize: uri => /^(\.\.\/|[\w~%-]+\.html)/.test(uri) ? Promise.resolve({ href: uri }) : Promise.reject(new Error("nothing is loaded")) };
  const views = new Map();
  const draw = async script => {
    const figure = script.closest("figure"), wide = figure.querySelector(".hs-drawn");
    const spec = painted(JSON.parse(script.textContent), getComputedStyle(figure));
    const place = document.createElement("div");
    const label = wide.querySelector("svg") && wide.querySelector("svg").getAttribute("aria-label");
    const drawn = await vegaEmbed(place, spec, { mode: "vega-lite", renderer: "svg", actions: false, defaultStyle: false, hover: true, loader, tooltip, logLevel: 1 });
    const svg = place.querySelector("svg");
    if (!svg) return;
    for (const part of svg.querySelectorAll("[role],[aria-label],[aria-roledescription]")) for (const name of ["role", "aria-label", "aria-roledescription", "aria-hidden"]) part.removeAttribute(name);
    for (const link of svg.querySelectorAll("a")) {
      link.tabIndex = -1;
      link.setAttribute("aria-label", String(((link.firstElementChild || {}).__data__ || {}).tooltip || "customer"));
    }
    svg.setAttribute("role", svg.querySelector("a") ? "group" : "img");
    svg.setAttribute("aria-label", label || "chart");
    if (views.has(script)) views.get(script).finalize();
    views.set(script, drawn);
    wide.replaceChildren(place);
    figure.dataset.drawn = "again";
  };
  const drawAll = () => { if (screen.matches) document.querySelectorAll("script.hs-spec").forEach(script => draw(script).catch(() => {})); };
  dark.addEventListener("change", drawAll);
  screen.addEventListener("change", drawAll);
  drawAll();
})();
