"use strict";
// Tables sort by a column; the page says the same without this script.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const order = head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
      const sign = order === "ascending" ? 1 : -1;
      const text = row => row.cells[column].textContent.trim();
      const compare = (one, other) => {
        const [first, second] = [parseFloat(one), parseFloat(other)];
        return Number.isNaN(first) || Number.isNaN(second) ? one.localeCompare(other) : first - second;
      };
      body.append(...[...body.rows].sort((one, other) => sign * compare(text(one), text(other))));
      heads.forEach(each => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order);
    });
  });
}
// Older browsers do not open what a link leads into, and none prints what is closed.
const open = () => { for (let each = document.getElementById(decodeURIComponent(location.hash.slice(1))); each; each = each.parentElement) if (each.tagName === "DETAILS") each.open = true; };
addEventListener("hashchange", open);
open();
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach(each => { each.open = true; }));
