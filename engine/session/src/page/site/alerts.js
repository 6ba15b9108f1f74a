// Alerts as they come, and their filter.

import { ask, at, failed, note, restarted, sleep } from "./ask.js";
import { rowOf } from "./table.js";
import { count, make, say, shown, terms } from "./text.js";

/** Alerts that the page keeps, and those of them that it shows. */
const KEPT = 1000;
const SHOWN = 200;
/** Milliseconds between questions. */
const PAUSE = 250;
const AFTER_FAILURE = 3000;

let alerts = [];
let missed = 0;
let dropped = 0;
let total = 0;
/** The alerts when the list was paused. */
let held = null;
let since = 0;
let unsaid = 0;
let worst = null;

const filter = () => ({
  rule: at("f-rule").value.trim().toLowerCase(),
  severity: Number(at("f-priority").value),
  container: at("f-container").value.trim().toLowerCase(),
  process: at("f-process").value.trim().toLowerCase(),
});

/** Whether a text has a part, in whatever case. */
export const has = (text, part) => part === "" || String(text ?? "").toLowerCase().includes(part);

function fits(alert, wanted) {
  const container = `${alert.container ?? ""} ${alert.container_name ?? ""}`;
  return (
    alert.severity <= wanted.severity &&
    has(alert.rule, wanted.rule) &&
    has(container, wanted.container) &&
    has(`${alert.process ?? ""} ${alert.pid ?? ""}`, wanted.process)
  );
}

const clock = (time) => {
  const date = new Date(time);
  const two = (value) => String(value).padStart(2, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
};

function alertRow(alert) {
  const when = make("td", clock(alert.time), "short");
  when.title = alert.time;
  const container = alert.container_name ?? alert.container ?? "";
  const process = alert.pid && alert.process ? `${alert.process} ${alert.pid}` : alert.process ?? "";
  const cells = [
    ["Priority", make("td", alert.priority, "priority short")],
    ["Rule", make("td", alert.rule)],
    ["Process", make("td", process)],
    ["Container", make("td", container)],
  ];
  const what = make("td");
  const details = make("details");
  details.append(make("summary", alert.text));
  details.addEventListener("toggle", () => {
    if (details.open && details.childElementCount === 1) details.append(alertFields(alert));
  });
  what.append(details);
  for (const [name, cell] of cells) cell.dataset.name = name;
  const row = rowOf([when, ...cells.map(([, cell]) => cell), what]);
  if (alert.severity <= 3) row.className = "severe";
  else if (alert.severity === 4) row.className = "warning";
  return row;
}

function alertFields(alert) {
  const pairs = [["time", alert.time], ["source", alert.source]];
  if (alert.tags.length) pairs.push(["tags", alert.tags.join(", ")]);
  if (alert.container) pairs.push(["container", alert.container]);
  for (const [name, value] of Object.entries(alert.fields)) pairs.push([name, shown(value)]);
  return terms(pairs);
}

function showCounts(fitting) {
  const parts = [
    `${count(Math.min(fitting, SHOWN))} shown of ${count(fitting)} that fit and ${count(alerts.length)} on this page`,
    `${count(Math.max(total, alerts.length))} since lanner started`,
  ];
  if (missed) parts.push(`${count(missed)} missed, as they came faster than this page reads`);
  if (dropped) parts.push(`${count(dropped)} older ones left this page`);
  if (held) parts.push(`paused, with ${count(since)} new ones behind`);
  say(at("counts"), `${parts.join("; ")}.`);
  at("no-alerts").hidden = fitting > 0;
  say(at("no-alerts"), alerts.length ? "No alert fits." : "No alert yet.");
  at("alert-table").hidden = fitting === 0;
}

/** The row of an alert. It stays open, if it was opened, whatever the filter does. */
const shownRow = (alert) => (alert.row ??= alertRow(alert));

/** Shows all alerts again: the filter has changed. */
function showAlerts() {
  const wanted = filter();
  const fitting = (held ?? alerts).filter((alert) => fits(alert, wanted));
  const rows = fitting.slice(-SHOWN).reverse().map(shownRow);
  at("alert-rows").replaceChildren(...rows);
  showCounts(fitting.length);
}

/** Adds new alerts on top. Rows that are open, or have the focus, stay as they are. */
function addAlerts(fresh) {
  alerts.push(...fresh);
  if (alerts.length > KEPT) {
    dropped += alerts.length - KEPT;
    alerts = alerts.slice(-KEPT);
  }
  for (const alert of fresh) {
    if (worst === null || alert.severity < worst.severity) worst = alert;
  }
  unsaid += fresh.length;
  since += fresh.length;
  const wanted = filter();
  if (held) {
    showCounts(held.filter((alert) => fits(alert, wanted)).length);
    return;
  }
  const body = at("alert-rows");
  const rows = fresh.filter((alert) => fits(alert, wanted)).slice(-SHOWN).reverse().map(shownRow);
  body.prepend(...rows);
  while (body.childElementCount > SHOWN) body.lastElementChild.remove();
  showCounts(alerts.filter((alert) => fits(alert, wanted)).length);
}

function forgetAlerts() {
  alerts = [];
  missed = 0;
  dropped = 0;
  since = 0;
  if (held) held = [];
  showAlerts();
}

restarted.push(forgetAlerts);

/** Shows alerts as they come. */
export async function followAlerts() {
  let after = null;
  let of = null;
  for (;;) {
    try {
      const answer = await ask(after === null ? "/page/alerts" : `/page/alerts?after=${after}`);
      note(answer);
      if (after !== null && of !== answer.session) {
        after = null;
        continue;
      }
      after = answer.last;
      of = answer.session;
      missed += answer.missed;
      if (answer.alerts.length || answer.missed) addAlerts(answer.alerts);
      await sleep(PAUSE);
    } catch (error) {
      failed(error);
      await sleep(AFTER_FAILURE);
    }
  }
}

/** Says now and then, for screen readers, that there are new alerts. */
export function sayNews() {
  if (unsaid && worst) {
    const what = unsaid === 1 ? `1 new alert: ${worst.priority}, ${worst.rule}` : `${count(unsaid)} new alerts, the worst: ${worst.priority}, ${worst.rule}`;
    say(at("news"), what);
  }
  unsaid = 0;
  worst = null;
}

for (const event of ["input", "change"]) at("filter").addEventListener(event, showAlerts);
at("filter").addEventListener("submit", (event) => event.preventDefault());
at("pause").addEventListener("click", () => {
  held = held ? null : [...alerts];
  since = 0;
  at("pause").setAttribute("aria-pressed", String(held !== null));
  showAlerts();
});
at("clear").addEventListener("click", forgetAlerts);

/** How many alerts there were since lanner started. */
export function setTotal(value) {
  total = value;
}
