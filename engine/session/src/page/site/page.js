// The page: asks lanner for its state again and again, and shows it. `alerts.js` asks for new alerts.

import { followAlerts, sayNews, setTotal } from "./alerts.js";
import { ask, failed, note, session, sleep, summary } from "./ask.js";
import { showDriver, showDrivers } from "./drivers.js";
import { showOutputs } from "./outputs.js";
import { lastLook, showRates } from "./rates.js";
import { showRules } from "./rules.js";

/** Milliseconds between questions. */
const STATE = 2000;
/** Milliseconds between words for screen readers. */
const NEWS = 5000;

async function followState() {
  let saidAt = 0;
  let drivers = null;
  for (;;) {
    try {
      const last = lastLook();
      const state = await ask(`/page/state?after=${last}`);
      note(state);
      // another run of lanner: ask for its first looks
      if (last > 0 && lastLook() === 0) continue;
      if (drivers !== session) {
        await showDrivers();
        drivers = session;
      }
      setTotal(state.alerts);
      const all = state.problem ? `Something is wrong: ${state.problem}.` : "All is well.";
      summary(`${all} Driver ${state.driver.name}, Linux ${state.kernel}, lanner ${state.version}.`, state.problem !== null);
      showRates(state);
      showDriver(state);
      showOutputs(state);
      showRules(state);
      if (Date.now() - saidAt > NEWS) {
        saidAt = Date.now();
        sayNews();
      }
    } catch (error) {
      failed(error);
    }
    await sleep(STATE);
  }
}

followState();
followAlerts();
