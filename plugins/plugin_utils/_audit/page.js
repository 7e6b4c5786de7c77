/*
 * Copyright (c) 2026, ipsec.manual contributors
 * GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */

/* Sorts and filters the findings, and leads from the picture to a section. The page can be read without it. */
"use strict";

(() => {
  const picture = document.querySelector(".picture");
  picture.classList.add("live");
  picture.addEventListener("click", (event) => {
    if (event.target.dataset.to) location.hash = event.target.dataset.to;
  });

  const table = document.querySelector("#findings table");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const severities = ["high", "medium", "low", "info"];

  const compare = new Intl.Collator("en", { numeric: true }).compare;
  const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  const places = new Map(rows.map((row, index) => [row, index]));

  function asButton(cell) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...cell.childNodes);
    cell.append(button);
    return button;
  }

  function key(row, column) {
    return column ? row.cells[column].textContent : String(severities.indexOf(row.dataset.severity));
  }

  function sort(column, direction) {
    const keys = new Map(rows.map((row) => [row, key(row, column)]));
    const sign = direction === "ascending" ? 1 : -1;
    const sorted = [...rows].sort(
      (one, other) => sign * compare(keys.get(one), keys.get(other)) || places.get(one) - places.get(other),
    );
    body.append(...sorted);
  }

  const headers = [...table.tHead.rows[0].cells];
  headers.slice(0, 4).forEach((header, column) => {
    asButton(header).addEventListener("click", () => {
      const direction = header.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
      headers.forEach((other) => other.removeAttribute("aria-sort"));
      header.setAttribute("aria-sort", direction);
      sort(column, direction);
    });
  });
  // The rows arrive with the worst first.
  headers[0].setAttribute("aria-sort", "ascending");

  const form = document.getElementById("filters");
  const words = document.getElementById("words");
  const onlyNew = document.getElementById("only-new");
  const count = document.getElementById("count");

  function filter() {
    const wanted = words.value.toLowerCase().split(/\s+/);
    const levels = new Set([...form.querySelectorAll("fieldset input:checked")].map((box) => box.value));
    let shown = 0;
    for (const row of rows) {
      const isShown =
        levels.has(row.dataset.severity) &&
        (!onlyNew?.checked || "new" in row.dataset) &&
        wanted.every((word) => texts.get(row).includes(word));
      row.hidden = !isShown;
      shown += isShown;
    }
    count.value = shown === rows.length ? `${rows.length} shown` : `${shown} of ${rows.length} shown`;
  }

  // A kind of findings shows all of them.
  for (const kind of document.querySelectorAll(".kinds th")) {
    asButton(kind).addEventListener("click", () => {
      form.reset();
      words.value = kind.textContent;
      filter();
      location.hash = "findings";
    });
  }

  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  // A link to a finding that is filtered out shows it.
  window.addEventListener("hashchange", () => {
    const row = document.getElementById(location.hash.slice(1));
    if (row?.hidden && rows.includes(row)) {
      form.reset();
      filter();
      row.scrollIntoView();
    }
  });
  form.hidden = false;
  filter();
})();
