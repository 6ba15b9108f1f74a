// Rates of the last minutes, and totals.

import { at, restarted } from "./ask.js";
import { plot, rates } from "./plot.js";
import { fill } from "./table.js";
import { bytes, count, span } from "./text.js";

let looks = [];
restarted.push(() => {
  looks = [];
});

/** Draws the rates, and shows the totals. */
export function showRates(state) {
  const last = lastLook();
  looks.push(...state.looks.filter((look) => look.number > last));
  looks = looks.slice(-600);
  for (const key of ["events", "lost", "alerts"]) {
    const of = key === "events" ? "captured" : key;
    plot(at(`plot-${key}`), at(`plot-${key}-text`), rates(looks, of));
  }
  const { events, usage } = state;
  const lost = Object.values(events.lost).reduce((sum, value) => sum + value, 0);
  at("plot-lost").classList.toggle("loss", lost > 0);
  const totals = [
    ["Up for", span(state.seconds)],
    ["Events captured", count(events.captured)],
    ["Events lost", count(lost)],
    ...Object.entries(events.lost).filter(([, value]) => value).map(([cause, value]) => [`lost: ${cause}`, count(value)]),
    ["Malformed events", count(events.malformed)],
    ["Processes followed", count(events.processes_living)],
    ["Reloads, and failed ones", `${count(state.reloads)}, ${count(state.reloads_failed)}`],
  ];
  if (events.buffer_size) {
    totals.push(["Driver's buffers", `${bytes(events.buffer_used)} of ${bytes(events.buffer_size)}`]);
  }
  if (usage) {
    totals.push(["lanner's CPU time", `${usage.cpu_seconds.toFixed(1)} s`]);
    totals.push(["lanner's memory", bytes(usage.resident_bytes)]);
  }
  const rows = totals.map(([name, text]) => ({ key: name, cells: [{ text: name }, { text, kind: "n" }] }));
  fill(at("totals"), rows);
}

/** The number of the last look that the page has. */
export const lastLook = () => (looks.length ? looks[looks.length - 1].number : 0);
