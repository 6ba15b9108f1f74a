// Outputs.

import { at } from "./ask.js";
import { fill, number } from "./table.js";
import { bytes, count } from "./text.js";

/** Outputs and their queues. */
export function showOutputs({ outputs }) {
  const rows = outputs.map((output) => {
    const causes = Object.entries(output.lost_by).filter(([, value]) => value);
    const lost = causes.map(([cause, value]) => `${count(value)} ${cause}`).join(", ");
    const disk = output.spooled ? `${count(output.spooled)} (${bytes(output.spool_bytes)})` : "";
    const bad = output.is_hanging || output.spool_errors > 0;
    const state = output.is_hanging ? "hangs" : output.spool_errors ? "its disk failed" : "works";
    const queue = `${count(output.waiting)} of ${count(output.capacity)}`;
    return {
      key: output.name,
      cells: [
        { text: output.name },
        { text: state, kind: bad ? "bad" : "", name: "State" },
        number(output.delivered, "Delivered"),
        { text: queue, kind: "n", name: "In the queue" },
        { text: disk, kind: "n", name: "On disk" },
        number(output.retries, "Retries"),
        number(output.limited, "Left out"),
        { text: lost || "0", kind: lost ? "bad" : "", name: "Lost" },
      ],
    };
  });
  fill(at("output-rows"), rows);
}
