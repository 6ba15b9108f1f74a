// Plots of rates: a line, and a text that says the same.

import { count, say } from "./text.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 600;
const HEIGHT = 100;
/** The least milliseconds from the left to the right. */
const LEAST = 60_000;

function part(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

/** Rates between looks that follow each other: `[time, rate]`. */
export function rates(looks, key) {
  const points = [];
  for (let at = 1; at < looks.length; at += 1) {
    const [before, now] = [looks[at - 1], looks[at]];
    const seconds = (now.time_ms - before.time_ms) / 1000;
    if (seconds > 0) points.push([now.time_ms, Math.max(0, now[key] - before[key]) / seconds]);
  }
  return points;
}

const rate = (value) => `${count(value < 10 ? Number(value.toFixed(1)) : Math.round(value))} a second`;

/** Draws the points into an SVG, and says them in a text. */
export function plot(svg, text, points) {
  const most = points.reduce((most, [, value]) => Math.max(most, value), 0);
  const last = points.length ? points[points.length - 1] : [0, 0];
  const span = points.length ? Math.max(LEAST, last[0] - points[0][0]) : LEAST;
  const x = (time) => WIDTH - ((last[0] - time) / span) * WIDTH;
  const y = (value) => HEIGHT - 2 - (most ? (value / most) * (HEIGHT - 8) : 0);
  const line = points.map(([time, value]) => `${x(time).toFixed(1)},${y(value).toFixed(1)}`);
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("preserveAspectRatio", "none");
  const parts = [part("line", { class: "axis", x1: 0, y1: HEIGHT - 1, x2: WIDTH, y2: HEIGHT - 1 })];
  if (line.length) {
    const first = x(points[0][0]).toFixed(1);
    const area = `${first},${HEIGHT} ${line.join(" ")} ${WIDTH},${HEIGHT}`;
    parts.push(part("polygon", { class: "area", points: area }));
    parts.push(part("polyline", { class: "line", points: line.join(" ") }));
  }
  svg.replaceChildren(...parts);
  say(text, `Now ${rate(last[1])}, at most ${rate(most)}.`);
}
