// Drivers and their gaps.

import { ask, at } from "./ask.js";
import { make, say, terms } from "./text.js";

/** The driver that captures, and its gaps. */
export function showDriver({ driver }) {
  say(at("driver-reason"), driver.reason || driver.name);
  const gaps = driver.gaps.length ? driver.gaps : ["none"];
  const list = at("gaps");
  if (list.shownGaps === gaps.join("\n")) return;
  list.shownGaps = gaps.join("\n");
  list.replaceChildren(...gaps.map((gap) => make("li", gap)));
}

function gapList(title, gaps) {
  const parts = [];
  for (const gap of gaps) {
    const pairs = [[title, gap.what], ["why", gap.why]];
    if (gap.remedy) pairs.push(["remedy", gap.remedy]);
    for (const way of gap.fix) pairs.push([way.effect, way.commands.join("\n"), true]);
    parts.push(terms(pairs));
  }
  return parts;
}

/** What each driver could do on this host when lanner started. */
export async function showDrivers() {
  const { drivers } = await ask("/page/drivers");
  const parts = drivers.map((driver) => {
    const details = make("details");
    const verdict = (one) => (one.usable ? "usable" : "not usable");
    details.append(make("summary", `${driver.name}: ${verdict(driver)}`));
    const names = { host: "the whole host", command: "a command", pids: "running processes" };
    const served = Object.keys(names).filter((key) => driver.serves[key]).map((key) => names[key]);
    details.append(make("p", driver.description), make("p", `Captures ${served.join(", ")}.`));
    details.append(...gapList(driver.usable ? "gap" : "missing", driver.gaps));
    for (const mode of driver.modes) {
      details.append(make("p", `Mode ${mode.name}: ${verdict(mode)}.`));
      if (!mode.usable) details.append(...gapList("missing", mode.gaps));
    }
    return details;
  });
  at("drivers").replaceChildren(...parts);
}
