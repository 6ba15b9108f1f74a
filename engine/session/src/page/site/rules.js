// Rules with their counts, and what a rule amounts to.

import { has } from "./alerts.js";
import { Refused, ask, at } from "./ask.js";
import { fill, number, rowOf } from "./table.js";
import { count, make, say, terms, visible } from "./text.js";

let rules = [];

function ruleButton(row, name) {
  const button = make("button", "Explain");
  button.append(make("span", ` ${name}`, "heard"));
  button.type = "button";
  button.setAttribute("aria-expanded", "false");
  button.addEventListener("click", () => explain(row, name, button));
  row.lastElementChild.append(button);
}

async function explain(row, name, button) {
  const open = button.getAttribute("aria-expanded") === "true";
  button.setAttribute("aria-expanded", String(!open));
  row.more?.remove();
  row.more = null;
  if (open) return;
  const more = rowOf([make("td")]);
  const cell = more.firstElementChild;
  cell.colSpan = 5;
  const said = make("p", "Loading.");
  said.setAttribute("role", "status");
  cell.append(said);
  row.more = more;
  row.after(more);
  try {
    const rule = await ask(`/page/rule?name=${encodeURIComponent(name)}`);
    const pairs = [["description", rule.description], ["condition", rule.condition, true]];
    if (rule.tags.length) pairs.push(["tags", rule.tags.join(", ")]);
    const types = rule.event_types === "all" ? "all" : rule.event_types.join(", ") || "none: it never matches";
    pairs.push(["event types", types]);
    for (const [call, limit] of Object.entries(rule.captured)) pairs.push([`captured of ${call}`, limit, true]);
    pairs.push(["fields", rule.fields.join(", ")]);
    if (rule.parts.length) pairs.push(["made from", rule.parts.join(", ")]);
    pairs.push(["output", rule.output, true]);
    say(said, "");
    cell.append(terms(pairs));
  } catch (error) {
    say(said, error instanceof Refused ? error.message : "lanner does not answer.");
  }
}

function showFitting() {
  const part = at("r-name").value.trim().toLowerCase();
  const matched = at("r-matched").checked;
  const fitting = rules.filter((rule) => (!matched || rule.matches > 0) && (has(rule.name, part) || rule.tags.some((tag) => has(tag, part))));
  fitting.sort((a, b) => b.matches - a.matches || a.severity - b.severity || (a.name < b.name ? -1 : 1));
  const body = at("rule-rows");
  const rows = fitting.map((rule) => ({
    key: rule.name,
    cells: [
      { text: rule.name },
      { text: rule.priority, name: "Priority" },
      number(rule.matches, "Matches"),
      number(rule.limited + rule.duplicates, "Left out"),
      {},
    ],
  }));
  fill(body, rows, ruleButton);
  // rows do not move under the hands of a user
  if (!body.contains(document.activeElement)) {
    const places = new Map(fitting.map((rule, place) => [rule.name, place]));
    const own = [...body.children].filter((row) => row.rowKey !== undefined);
    const sorted = [...own].sort((a, b) => places.get(a.rowKey) - places.get(b.rowKey));
    if (sorted.some((row, place) => row !== own[place])) {
      body.append(...sorted.flatMap((row) => (row.more ? [row, row.more] : [row])));
    }
  }
  const all = rules.reduce((sum, rule) => sum + rule.matches, 0);
  say(at("rule-counts"), `${count(fitting.length)} shown of ${count(rules.length)} rules; ${count(all)} matches.`);
}

function showPlugins({ rule_plugins: plugins }) {
  at("plugin-table").hidden = plugins.length === 0;
  const rows = plugins.map((plugin) => {
    const state = plugin.is_off ? "switched off" : plugin.is_hanging ? "hangs" : "works";
    const cells = [
      { text: plugin.name },
      { text: state, kind: state === "works" ? "" : "bad" },
      number(plugin.waiting),
      number(plugin.lost),
      number(plugin.timeouts),
    ];
    return { key: plugin.name, cells };
  });
  fill(at("plugin-rows"), rows);
}

function nameRules() {
  const names = rules.map((rule) => rule.name);
  const list = at("rule-names");
  if (list.shownNames === names.join("\n")) return;
  list.shownNames = names.join("\n");
  const option = (name) => {
    const option = make("option");
    option.value = visible(name);
    return option;
  };
  list.replaceChildren(...names.map(option));
}

for (const event of ["input", "change"]) at("rule-filter").addEventListener(event, showFitting);
at("rule-filter").addEventListener("submit", (event) => event.preventDefault());

/** Rules with their counts, and rule plugins. */
export function showRules(state) {
  rules = state.rules;
  nameRules();
  showFitting();
  showPlugins(state);
}
