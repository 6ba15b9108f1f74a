// Texts of programs, rules and plugins on the page. They become text nodes and nothing else. What a reader cannot see, or
// what would change the order of other characters, is shown as an escape.

const HIDDEN = /[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Cs}\p{Zl}\p{Zp}\u115f\u1160\u3164\uffa0\u2800]|[\p{Mn}\p{Me}]{5,}/gu;
const LONGEST = 16384;

const escaped = (character) => `\\u{${character.codePointAt(0).toString(16)}}`;

/** The text with every character visible. */
export function visible(value) {
  const text = String(value ?? "");
  const cut = text.length > LONGEST ? `${text.slice(0, LONGEST)} … (${text.length - LONGEST} more)` : text;
  return cut.replace(HIDDEN, (found) => [...found].map(escaped).join(""));
}

/** Sets the text of an element, if it is another one. */
export function say(element, value) {
  const text = visible(value);
  if (element.textContent !== text) element.textContent = text;
}

/** A new element with a text and a class. */
export function make(name, text = "", kind = "") {
  const element = document.createElement(name);
  if (text !== "") say(element, text);
  if (kind) element.className = kind;
  return element;
}

/** A list of terms and their values: `[term, value, isCode]`. */
export function terms(pairs) {
  const list = make("dl");
  for (const [term, value, isCode] of pairs) {
    list.append(make("dt", term), make("dd", value, isCode ? "code" : ""));
  }
  return list;
}

/** A value of JSON as text. */
export function shown(value) {
  if (value === null || value === undefined) return "<NA>";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

const NUMBER = new Intl.NumberFormat("en");
export const count = (value) => NUMBER.format(value);

/** Bytes in the unit that fits. */
export function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB"];
  let at = 0;
  while (value >= 1024 && at < units.length - 1) {
    value /= 1024;
    at += 1;
  }
  return `${at ? value.toFixed(1) : value} ${units[at]}`;
}

/** Seconds in two units. */
export function span(seconds) {
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const first = parts.findIndex(([size]) => seconds >= size);
  if (first < 0) return "0 s";
  const words = [];
  for (const [size, unit] of parts.slice(first, first + 2)) {
    const number = Math.floor(seconds / size);
    seconds %= size;
    if (number) words.push(`${number} ${unit}`);
  }
  return words.join(" ");
}
