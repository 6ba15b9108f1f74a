// Questions to lanner, and the token that they show.

import { say } from "./text.js";

export const at = (id) => document.getElementById(id);
export const sleep = (time) => new Promise((done) => setTimeout(done, time));

let token = "";
try {
  token = sessionStorage.getItem("token") ?? "";
} catch {
  // the browser keeps nothing for this page
}
const given = /^#token=(.+)$/.exec(location.hash);
if (given) {
  keep(given[1]);
  // the token does not stay in the address and in the history
  history.replaceState(null, "", location.pathname);
}

function keep(value) {
  // a token has no other characters, and a header cannot have them
  token = value.replace(/[^\x21-\x7e]/g, "");
  try {
    sessionStorage.setItem("token", token);
  } catch {
    // it is asked for again
  }
}

/** Calls of those who wait for another token. */
const entered = [];

/** lanner answers, but not with what was asked for. */
export class Refused extends Error {}

/** Asks lanner for JSON. Waits for a token where lanner wants one. */
export async function ask(path) {
  for (;;) {
    const used = token;
    const answer = await fetch(path, {
      headers: used ? { Authorization: `Bearer ${used}` } : {},
      cache: "no-store",
      redirect: "error",
    });
    if (answer.ok) return answer.json();
    if (answer.status !== 401) throw new Refused((await answer.text()).trim());
    if (used === token) await login(used !== "");
  }
}

function login(wrong) {
  if (at("login").hidden) {
    at("login").hidden = false;
    at("content").hidden = true;
    summary("The page needs its token.", true);
    at("token").focus();
  }
  if (wrong) say(at("login-error"), "This token is not the right one.");
  return new Promise((done) => entered.push(done));
}

at("login-form").addEventListener("submit", (event) => {
  event.preventDefault();
  keep(at("token").value);
  say(at("login-error"), "");
  at("token").value = "";
  at("login").hidden = true;
  at("content").hidden = false;
  for (const done of entered.splice(0)) done();
});

/** How lanner is, in one sentence. */
export function summary(text, bad) {
  say(at("summary"), text);
  at("summary").className = bad ? "bad" : "";
}

/** The run of lanner that answers. Another run counts from the beginning. */
export let session = null;
/** What forgets the facts of an earlier run. */
export const restarted = [];

/** Notes which run an answer is from. */
export function note(answer) {
  if (session !== null && session !== answer.session) restarted.forEach((forget) => forget());
  session = answer.session;
}

/** Shows that a question failed. */
export function failed(error) {
  summary(error instanceof Refused ? error.message : "lanner does not answer.", true);
}
