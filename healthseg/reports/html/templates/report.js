(() => {
  const PAGE = 100, FIRST = 12, FEW = 6;
  const make = (tag, attributes, ...parts) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...parts);
    return element;
  };

  // Tables: headings sort, long ones are paged.
  const value = (cell, numeric) => {
    if (!cell) return "";
    if (cell.dataset.sort !== undefined) return numeric ? Number(cell.dataset.sort) : cell.dataset.sort;
    const text = cell.textContent.trim();
    if (!numeric) return text === "–" ? "" : text.toLowerCase();
    const number = Number(text.replace(/\u2212/g, "-").replace(/[^\d.+-]/g, ""));
    return /\d/.test(text) && !Number.isNaN(number) ? number : "";
  };
  const compared = (a, b) => a === "" || b === "" ? (a === "") - (b === "") : a < b ? -1 : a > b ? 1 : 0;

  const sortable = box => {
    const table = box.querySelector("table"), body = table && table.tBodies[0];
    if (!table || !table.tHead || !body || body.rows.length < 2) return;
    const heads = Array.from(table.tHead.rows[0].cells), more = box.querySelector(".hs-more input");
    let rows = Array.from(body.rows), first = 0;
    const paged = rows.length > PAGE;
    const back = make("button", { type: "button" }, "‹ Previous"), forth = make("button", { type: "button" }, "Next ›");
    const where = make("span", {}), pager = make("p", { class: "hs-pager" }, back, where, forth);
    const show = () => {
      const open = !more || more.checked;
      rows.forEach((row, at) => {
        row.classList.toggle("hs-later", at >= FIRST);
        row.hidden = open && paged && (at < first || at >= first + PAGE);
      });
      pager.hidden = !(paged && open);
      where.textContent = `${first + 1} to ${Math.min(first + PAGE, rows.length)} of ${rows.length}`;
      back.disabled = first === 0;
      forth.disabled = first + PAGE >= rows.length;
    };
    const sort = (place, descending) => {
      const numeric = heads[place].classList.contains("hs-num");
      const keyed = rows.map((row, at) => [value(row.cells[place], numeric), at, row]);
      keyed.sort(([a, i], [b, j]) => {
        const order = compared(a, b);
        return (a === "" || b === "" || !descending ? order : -order) || i - j;
      });
      rows = keyed.map(([, , row]) => row);
      body.append(...rows);
      heads.forEach((head, at) => at === place ? head.setAttribute("aria-sort", descending ? "descending" : "ascending") : head.removeAttribute("aria-sort"));
      first = 0;
      show();
    };
    const choice = make("select", {}, make("option", { value: "" }, "as given"), ...heads.map((head, at) => make("option", { value: at }, head.textContent)));
    heads.forEach((head, place) => {
      const button = make("button", { type: "button" }, ...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const before = head.getAttribute("aria-sort");
        sort(place, before ? before === "ascending" : head.classList.contains("hs-num"));
        choice.value = String(place);
      });
    });
    choice.addEventListener("change", () => choice.value && sort(Number(choice.value), heads[Number(choice.value)].classList.contains("hs-num")));
    if (rows.length > FEW) box.prepend(make("label", { class: "hs-sortby" }, "Sort by ", choice));
    back.addEventListener("click", () => { first -= PAGE; show(); });
    forth.addEventListener("click", () => { first += PAGE; show(); });
    if (more) more.addEventListener("change", show);
    box.append(pager);
    show();
  };
  document.querySelectorAll(".hs-table").forEach(sortable);

  // What if the weights were others: the score of health.py, from the components' points.
  const score = (customer, weights, least) => {
    let total = 0, sum = 0, coverage = 0, all = 0;
    weights.forEach((weight, at) => {
      all += weight;
      coverage += weight * customer.known[at];
      if (customer.points[at] === null) return;
      total += weight;
      sum += weight * customer.points[at];
    });
    const used = customer.known[0] + customer.known[1] > 0;
    if (!(total > 0) || !used || Math.round(coverage / all * 1e12) / 1e12 < least) return null;
    const raw = Math.min(Math.round(sum / total * 1e9) / 1e9, customer.cap === null ? 100 : customer.cap);
    return Math.floor(Math.round(raw * 1e9) / 1e9 + .5);
  };
  const band = (shown, edges) => shown === null ? edges.length + 1 : edges.filter(edge => shown >= edge).length;

  const whatIf = box => {
    const given = JSON.parse(box.querySelector("script").textContent), names = [...given.bands, "unknown"];
    const sliders = Array.from(box.querySelectorAll("input[type=range]")), told = box.querySelector(".hs-whatif-result");
    const usual = sliders.map(slider => slider.value);
    const scores = weights => given.customers.map(customer => score(customer, weights, given.least));
    const mean = shown => { const known = shown.filter(one => one !== null); return known.length ? known.reduce((a, b) => a + b, 0) / known.length : NaN; };
    const row = (tag, cells, heads = []) => make("tr", {}, ...cells.map((text, at) => make(at ? tag : "th", { ...(tag === "th" ? { scope: "col" } : at ? {} : { scope: "row" }), ...(at ? { class: "hs-num" } : {}), ...(heads[at] ? { "data-label": heads[at] } : {}) }, at ? text : make("bdi", {}, text))));
    const table = (head, lines) => make("table", {}, make("thead", {}, row("th", head)), make("tbody", {}, ...lines.map(line => row("td", line, head))));
    const show = () => {
      const weights = sliders.map(slider => Number(slider.value)), sum = weights.reduce((a, b) => a + b, 0);
      const same = sliders.every((slider, at) => slider.value === usual[at]);
      sliders.forEach((slider, at) => { slider.parentElement.querySelector("output").textContent = sum ? `${Math.round(100 * weights[at] / sum)}%` : "–"; });
      if (!sum) { told.replaceChildren(make("p", {}, "At least one weight must be above 0.")); return; }
      const was = given.customers.map(customer => customer.shown), now = same ? was : scores(weights);
      const count = shown => names.map((_, at) => shown.filter(one => band(one, given.edges) === at).length);
      const [before, after] = [count(was), count(now)];
      const moved = given.customers.map((customer, at) => [customer.name, was[at], now[at]])
        .filter(([, from, to]) => band(from, given.edges) !== band(to, given.edges))
        .sort((a, b) => Math.abs((b[2] ?? 0) - (b[1] ?? 0)) - Math.abs((a[2] ?? 0) - (a[1] ?? 0)));
      const below = shown => shown.filter(one => one !== null && one < given.threshold).length;
      const words = one => one === null ? "–" : String(one);
      told.replaceChildren(
        make("p", {}, `Average score ${mean(was).toFixed(1)}, with these weights ${mean(now).toFixed(1)}. Below ${given.threshold}: ${below(was)} customers, with these weights ${below(now)}. ${moved.length} change${moved.length === 1 ? "s" : ""} band.`),
        table(["Band", "Customers", "With these weights"], names.map((name, at) => [name.replace("_", " "), String(before[at]), String(after[at])]).filter(line => line[1] !== "0" || line[2] !== "0")),
        ...(moved.length ? [make("h3", {}, "Who changes band, most points first"), table(["Customer", "Score", "With these weights"], moved.slice(0, FIRST).map(([name, from, to]) => [name, words(from), words(to)]))] : []));
    };
    sliders.forEach(slider => { slider.disabled = false; slider.addEventListener("input", show); });
    const reset = box.querySelector("button");
    reset.hidden = false;
    reset.addEventListener("click", () => { sliders.forEach((slider, at) => { slider.value = usual[at]; }); show(); });
    box.scores = scores;
    show();
  };
  document.querySelectorAll(".hs-whatif").forEach(whatIf);
})();
