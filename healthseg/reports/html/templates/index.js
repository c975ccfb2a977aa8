(() => {
  const PAGE = 25;
  const { rows: known, renewals, expected } = JSON.parse(document.getElementById("rows").textContent);
  const table = document.getElementById("customers"), body = table.tBodies[0];
  const heads = Array.from(table.tHead.rows[0].cells);
  const [search, choice, count, none, pages, clear, card] = ["search", "sort", "count", "none", "pages", "clear", "card"].map(id => document.getElementById(id));
  const filters = Array.from(document.querySelectorAll("[data-filter]"));
  const [back, forth, where] = ["back", "forth", "where"].map(id => document.getElementById(id));
  const plain = text => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
  for (const row of known) row.text = plain([row.id, ...row.cells.map(cell => cell.text)].join(" "));
  let order = known.slice(), shown = order, first = 0;

  const make = (tag, attributes, ...parts) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) if (value) element.setAttribute(name, value);
    element.append(...parts);
    return element;
  };
  const link = (href, text) => make("a", { href }, make("bdi", {}, text));
  const cell = (row, one, place) => {
    const made = filled(row, one, place);
    made.dataset.sort = one.sort;
    return made;
  };
  const filled = (row, one, place) => {
    const attributes = { "data-label": one.label, class: one.numeric ? "hs-num" : one.tight ? "tight" : "" };
    if (place) {
      const dot = one.dot ? [make("span", { class: `hs-dot hs-is-${one.dot}`, title: one.dot.replace("_", " ") })] : [];
      return make("td", attributes, ...dot, make("bdi", {}, one.text));
    }
    return make("th", { scope: "row", ...attributes }, row.href ? link(row.href, one.text) : make("bdi", {}, one.text));
  };

  // Sums by currency, as 1.23M or 45.6k.
  const brief = value => {
    const [size, unit] = [[1e9, "B"], [1e6, "M"], [1e3, "k"]].find(([least]) => Math.abs(value) >= least) || [1, ""];
    return `${Number((value / size).toPrecision(3)).toLocaleString("en")}${unit}`;
  };
  const sum = name => {
    const totals = new Map();
    for (const row of shown) if (row[name] !== undefined) totals.set(row.currency, (totals.get(row.currency) || 0) + row[name]);
    return Array.from(totals, ([currency, total]) => `${currency} ${brief(total)}`.trim()).join(" + ");
  };
  const show = () => {
    const part = shown.slice(first, first + PAGE);
    body.replaceChildren(...part.map(row => make("tr", {}, ...row.cells.map((one, place) => cell(row, one, place)))));
    const size = shown.length.toLocaleString("en"), all = known.length.toLocaleString("en");
    const sums = [["ARR", sum("arr")], [expected, sum("at_stake")]].filter(([, text]) => text).map(([name, text]) => `${name} ${text}`);
    count.textContent = [shown.length === known.length ? `${all} customers` : `${size} of ${all} customers`, ...sums].join(" · ");
    none.hidden = shown.length > 0;
    pages.hidden = shown.length <= PAGE;
    where.textContent = `${(first + 1).toLocaleString("en")} to ${Math.min(first + PAGE, shown.length).toLocaleString("en")} of ${size}`;
    back.disabled = first === 0;
    forth.disabled = first + PAGE >= shown.length;
  };
  const holds = (row, name, value) => {
    if (!value) return true;
    if (name !== "renewal") return Array.isArray(row.by[name]) ? row.by[name].includes(value) : row.by[name] === value;
    const [, from, to] = renewals.find(([label]) => label === value) || [];
    return row.renewal !== null && (from === null || row.renewal >= from) && row.renewal <= to;
  };
  const filter = () => {
    const words = plain(search.value).split(/\s+/).filter(Boolean);
    shown = order.filter(row => words.every(word => row.text.includes(word)) && filters.every(one => holds(row, one.dataset.filter, one.value)));
    first = 0;
    clear.hidden = !words.length && filters.every(one => !one.value) && card.hidden;
    show();
  };
  // What is selected is in the address, which can be shared.
  const remember = () => {
    const state = new URLSearchParams();
    if (search.value) state.set("search", search.value);
    for (const one of filters) if (one.value) state.set(one.dataset.filter, one.value);
    history.replaceState(null, "", `#${state}`);
    filter();
  };
  const recall = () => {
    const state = new URLSearchParams(location.hash.slice(1)), row = known.find(one => one.id === state.get("customer"));
    search.value = state.get("search") || "";
    for (const one of filters) one.value = state.get(one.dataset.filter) || "";
    card.hidden = !row;
    if (row) {
      const facts = row.cells.slice(1).map((cell, at) => make("div", {}, make("dt", {}, heads[at + 1].textContent), make("dd", {}, make("bdi", {}, cell.text))));
      const ways = row.links.flatMap(([name, href], at) => at ? [" · ", link(href, name)] : [link(href, name)]);
      card.replaceChildren(make("h3", {}, make("bdi", {}, row.cells[0].text)), make("dl", { class: "hs-facts" }, ...facts), make("p", {}, ...(ways.length ? ways : ["No report of this customer was made in this run."])));
    }
    filter();
    if (row) card.scrollIntoView();
  };
  const sort = (place, descending) => {
    const numeric = heads[place].classList.contains("hs-num"), value = row => row.cells[place].sort;
    order = known.slice().sort((a, b) => {
      if (value(a) === "" || value(b) === "") return (value(a) === "") - (value(b) === "");
      const less = numeric ? Number(value(a)) - Number(value(b)) : value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0;
      return descending ? -less : less;
    });
    heads.forEach((head, at) => at === place ? head.setAttribute("aria-sort", descending ? "descending" : "ascending") : head.removeAttribute("aria-sort"));
    choice.value = String(place);
    filter();
  };

  heads.forEach((head, place) => head.firstElementChild.addEventListener("click", () => {
    const before = head.getAttribute("aria-sort");
    sort(place, before ? before === "ascending" : head.classList.contains("hs-num"));
  }));
  choice.addEventListener("change", () => sort(Number(choice.value), heads[Number(choice.value)].classList.contains("hs-num")));
  search.addEventListener("input", remember);
  filters.forEach(one => one.addEventListener("change", remember));
  clear.addEventListener("click", () => { search.value = ""; filters.forEach(one => { one.value = ""; }); card.hidden = true; remember(); });
  addEventListener("hashchange", recall);
  search.form.addEventListener("submit", event => event.preventDefault());
  back.addEventListener("click", () => { first -= PAGE; show(); table.scrollIntoView(); });
  forth.addEventListener("click", () => { first += PAGE; show(); table.scrollIntoView(); });
  recall();
})();
