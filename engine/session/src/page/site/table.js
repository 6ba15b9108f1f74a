// Tables that change in place.

import { count, make, say } from "./text.js";

/** A row of these cells. The roles are said because a narrow window shows rows as blocks. */
export function rowOf(cells) {
  const row = make("tr");
  row.setAttribute("role", "row");
  for (const cell of cells) cell.setAttribute("role", "cell");
  row.append(...cells);
  return row;
}

/**
 * Sets the rows of a table: `{key, cells: [{text, kind, name}], kind}`. Rows that stay are changed in place, so that the focus
 * and a screen reader's place stay, too. `made` is called for a new row.
 */
export function fill(body, rows, made = () => {}) {
  const known = new Map([...body.children].filter((row) => row.rowKey !== undefined).map((row) => [row.rowKey, row]));
  for (const { key, cells, kind } of rows) {
    let row = known.get(key);
    if (row) {
      known.delete(key);
    } else {
      row = rowOf(cells.map(() => make("td")));
      row.rowKey = key;
      body.append(row);
      made(row, key);
    }
    row.className = kind ?? "";
    cells.forEach(({ text, kind, name }, at) => {
      const cell = row.children[at];
      if (text !== undefined) say(cell, text);
      cell.className = kind ?? "";
      if (name) cell.dataset.name = name;
    });
  }
  for (const row of known.values()) {
    row.more?.remove();
    row.remove();
  }
}

/** A cell with a number. */
export const number = (value, name) => ({ text: count(value), kind: "n", name });
