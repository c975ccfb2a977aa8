(() => {
  const table = document.getElementById("customers"), body = table.tBodies[0], rows = Array.from(body.rows);
  const heads = Array.from(table.tHead.rows[0].cells);
  const search = document.getElementById("search"), manager = document.getElementById("manager"), choice = document.getElementById("sort");
  const plain = text => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
  const texts = new Map(rows.map(row => [row, plain(row.textContent)]));

  const filter = () => {
    const words = plain(search.value).split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const fits = words.every(word => texts.get(row).includes(word)) && (!manager.value || row.dataset.manager === manager.value);
      row.hidden = !fits;
      shown += fits;
    }
    document.getElementById("count").textContent = shown === rows.length ? `${shown} customers` : `${shown} of ${rows.length} customers`;
    document.getElementById("none").hidden = shown > 0;
  };

  const sort = (place, descending) => {
    const numeric = heads[place].classList.contains("hs-num");
    const value = row => row.cells[place].dataset.sort;
    const order = (a, b) => {
      if (value(a) === "" || value(b) === "") return (value(a) === "") - (value(b) === "");
      const less = numeric ? Number(value(a)) - Number(value(b)) : value(a).localeCompare(value(b));
      return descending ? -less : less;
    };
    body.append(...rows.sort(order));
    heads.forEach((head, at) => at === place ? head.setAttribute("aria-sort", descending ? "descending" : "ascending") : head.removeAttribute("aria-sort"));
    choice.value = String(place);
  };

  heads.forEach((head, place) => head.firstElementChild.addEventListener("click", () => {
    const before = head.getAttribute("aria-sort");
    sort(place, before ? before === "ascending" : head.classList.contains("hs-num"));
  }));
  choice.addEventListener("change", () => sort(Number(choice.value), heads[Number(choice.value)].classList.contains("hs-num")));
  search.addEventListener("input", filter);
  manager.addEventListener("change", filter);
  search.form.addEventListener("submit", event => event.preventDefault());
})();
