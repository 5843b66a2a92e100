"use strict";
// The comparison sorts by any header: first the one way, then the other, then as it was.

function setUpTable() {
  const table = document.getElementById("table");
  const body = table.tBodies[0];
  const original = [...body.rows];
  for (const button of table.querySelectorAll("button.sort")) {
    const head = button.closest("th");
    button.addEventListener("click", () => {
      const next = { ascending: "descending", descending: null }[head.getAttribute("aria-sort")];
      const order = next === undefined ? "ascending" : next;
      for (const other of table.querySelectorAll("th[aria-sort]")) other.removeAttribute("aria-sort");
      if (order) head.setAttribute("aria-sort", order);
      body.append(...sorted(original, head.cellIndex, order));
    });
  }
}

function sortTable() {
  const table = document.getElementById("table");
  const head = table.querySelector("th[aria-sort]");
  if (!head) return;
  const rows = [...table.tBodies[0].rows];
  table.tBodies[0].append(...sorted(rows, head.cellIndex, head.getAttribute("aria-sort")));
}

// Rows by the values of a column; what does not apply comes last either way.
function sorted(rows, column, order) {
  if (!order) return rows;
  const sign = order === "ascending" ? 1 : -1;
  const keyed = rows.map((row) => ({ row, key: keyOf(row.cells[column]) }));
  keyed.sort((a, b) => {
    if (a.key === null || b.key === null) return (a.key === null) - (b.key === null);
    return a.key < b.key ? -sign : a.key > b.key ? sign : 0;
  });
  return keyed.map(({ row }) => row);
}

function keyOf(cell) {
  if (cell.dataset.v) return numberAt(cell.dataset.v, reportOf(cell), state.computed);
  return cell.textContent === NOT_APPLICABLE ? null : cell.textContent;
}
