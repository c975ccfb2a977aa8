(() => {
  const PAGE = 100;
  const known = JSON.parse(document.getElementById("rows").textContent);
  const table = document.getElementById("customers"), body = table.tBodies[0];
  const heads = Array.from(table.tHead.rows[0].cells);
  const [search, manager, choice, count, none, pages] = ["search", "manager", "sort", "count", "none", "pages"].map(id => document.getElementById(id));
  const [back, forth, where] = ["back", "forth", "where"].map(id => document.getElementById(id));
  const plain = text => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
  for (const row of known) row.text = plain(row.cells.map(cell => cell.text).join(" "));
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
    const more = row.links.length ? [make("small", {}, ...row.links.flatMap(([name, href], at) => at ? [" · ", link(href, name)] : [link(href, name)]))] : [];
    return make("th", { scope: "row", ...attributes }, row.href ? link(row.href, one.text) : make("bdi", {}, one.text), ...more);
  };

  const show = () => {
    const part = shown.slice(first, first + PAGE);
    body.replaceChildren(...part.map(row => make("tr", {}, ...row.cells.map((one, place) => cell(row, one, place)))));
    const size = shown.length.toLocaleString("en"), all = known.length.toLocaleString("en");
    count.textContent = shown.length === known.length ? `${all} customers` : `${size} of ${all} customers`;
    none.hidden = shown.length > 0;
    pages.hidden = shown.length <= PAGE;
    where.textContent = `${(first + 1).toLocaleString("en")} to ${Math.min(first + PAGE, shown.length).toLocaleString("en")} of ${size}`;
    back.disabled = first === 0;
    forth.disabled = first + PAGE >= shown.length;
  };
  const filter = () => {
    const words = plain(search.value).split(/\s+/).filter(Boolean);
    shown = order.filter(row => words.every(word => row.text.includes(word)) && (!manager.value || row.manager === manager.value));
    first = 0;
    show();
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
  search.addEventListener("input", filter);
  manager.addEventListener("change", filter);
  search.form.addEventListener("submit", event => event.preventDefault());
  back.addEventListener("click", () => { first -= PAGE; show(); table.scrollIntoView(); });
  forth.addEventListener("click", () => { first += PAGE; show(); table.scrollIntoView(); });
  if (known.length > PAGE) show();
})();
