// Tables that sort by any column, and show the less important columns.
featx.compare = (a, b) => {
  if (a === b) return 0;
  // What is missing comes last, whichever way the rest goes: the caller keeps it there.
  const x = Number(a), y = Number(b);
  if (!Number.isNaN(x) && !Number.isNaN(y)) return x - y;
  return a < b ? -1 : 1;
};

featx.sortBy = (table, column, descends) => {
  const key = (row) => row.cells[column].dataset.key;
  const rows = [...table.tBodies[0].rows];
  const known = rows.filter((row) => key(row) !== "");
  known.sort((a, b) => (descends ? -1 : 1) * featx.compare(key(a), key(b)));
  table.tBodies[0].append(...known, ...rows.filter((row) => key(row) === ""));
  [...table.tHead.rows[0].cells].forEach((head, i) => {
    head.setAttribute("aria-sort", i !== column ? "none" : descends ? "descending" : "ascending");
  });
};

featx.enableTable = (table) => {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const order = head.getAttribute("aria-sort");
      const first = head.classList.contains("number");
      featx.sortBy(table, column, order === "none" ? first : order === "ascending");
    });
    if (!head.classList.contains("more")) return;
    for (const row of table.tBodies[0].rows) row.cells[column].classList.add("more");
  });
  const more = table.parentElement.nextElementSibling?.querySelector("[data-more]");
  more?.addEventListener("change", () => table.classList.toggle("every", more.checked));
};
