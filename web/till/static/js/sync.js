// When the till calls the centre, in which order, and how it reports the result.
//
// One tab sends at a time. The contact comes first, because it brings recalls. Each part fails by
// itself: after a revoked key the till still sends the sales of an older enrolment.

import { call, Away, Refused, tokenOf } from "./api.js";
import { seen } from "./clock.js";
import { contact } from "./contact.js";
import { read, write } from "./db.js";
import { sending, writing } from "./locks.js";
import { settle, waiting } from "./returns.js";
import { now, refresh } from "./state.js";
import { holdReserve } from "./storage.js";
import { forgetContact, sendAgain, upload } from "./upload.js";

/** Milliseconds: between contacts when all is well, after a sale, after the first failure. */
const REGULAR = 60_000;
const SOON = 1_500;
const FIRST_PAUSE = 4_000;
const LONGEST_PAUSE = 5 * 60_000;
/** Milliseconds in which some services may not know a new key yet. */
const SETTLING = 60_000;
/** Returns in one call. */
const MOST_RETURNS = 100;

export const VERSION = document.documentElement.dataset.version;

let timer = null;
let failures = 0;
let running = null;
let asked = false;

/** Start syncing: by a timer, and whenever the clerk comes back to the page. */
export function begin() {
  for (const name of ["focus", "online", "pageshow"]) addEventListener(name, comeBack);
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") comeBack();
  });
  soon(0);
}

/** The clerk is back, perhaps at a place with a link: try now, even during a long pause. */
function comeBack() {
  if (Date.now() - (now().tried ?? 0) > FIRST_PAUSE) plan(0);
}

/** Try soon, unless a failure set a longer pause: then keep this pause. */
export function soon(delay = SOON) {
  // A running try may have missed the new entries, so another try follows it.
  if (running) asked = true;
  else if (failures === 0 || timer === null) plan(delay);
}

function plan(delay) {
  clearTimeout(timer);
  timer = setTimeout(() => run(), delay);
}

/** Reach the centre now; a second call while one runs waits for it. Returns whether all is well. */
export function run() {
  running ??= sending(once)
    .catch(fault)
    .then((well) => {
      // Another tab is syncing; the channel reports its changes.
      if (well === undefined) return plan(asked ? SOON : REGULAR);
      failures = well ? 0 : failures + 1;
      const next = asked ? SOON : REGULAR;
      asked = false;
      const pause = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (failures - 1));
      // Random, so that not all tills of a valley call at the moment when the link comes back.
      plan(well ? next : pause * (0.75 + Math.random() / 2));
      return well;
    })
    .finally(() => {
      running = null;
    });
  return running;
}

/** Reach the centre because the clerk asks; a try that is already running does not count. */
export async function runAgain() {
  await running;
  return run();
}

/** Show a fault of the till itself like any other trouble; the tries go on. */
async function fault(error) {
  console.error(error);
  await write(["meta"], (tx) =>
    tx.put("meta", { reason: "fault", detail: error.message }, "trouble"));
  await refresh();
  return false;
}

async function once() {
  await refresh(false);
  const { key, keys } = now();
  if (keys.length === 0) return true;
  const troubles = [];
  const part = async (work) => {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof Away || error instanceof Refused)) throw error;
      troubles.push(troubleOf(error));
      return null;
    }
  };
  await write(["meta"], async (tx) => {
    const clock = await tx.get("meta", "clock");
    await tx.put("meta", Date.now(), "tried");
    if (clock) await tx.put("meta", seen(clock, Date.now()), "clock");
  });
  const reached = await part(() => reach(key));
  // If nothing answers, the other calls would only time out one after another.
  if (!troubles[0]?.silent) {
    const returned = reached ? await part(() => giveBack(key)) : 0;
    let sent = 0;
    for (const one of keys) sent += (await part(() => upload(one, refresh))) ?? 0;
    if (reached) {
      await part(() => attend(key));
      await part(() => parcels(key));
      // The centre's books now include the entries and returns that were sent.
      if (sent + returned > 0) await part(() => reach(key));
    }
  }
  // There may be room again.
  await holdReserve();
  const trouble = troubles[0] ?? null;
  await write(["meta"], (tx) => tx.put("meta", trouble, "trouble"));
  await refresh();
  return trouble === null;
}

async function reach(key) {
  if (!(await contact(now(), VERSION))) throw new Refused(409, { type: "centre-older" });
  await refresh();
  return true;
}

async function giveBack(key) {
  const returns = await read(["returns"], (tx) => waiting(tx, MOST_RETURNS));
  if (returns.length === 0) return 0;
  const asked = returns.map(({ return_id, allotment_id, quantity }) => ({
    return_id,
    allotment_id,
    quantity,
  }));
  const answer = await call("POST", "/api/catalog/v1/till/returns", tokenOf(key), {
    returns: asked,
  });
  if (!Array.isArray(answer.answers)) throw new Away("not the centre's answer");
  await settle(returns, answer.answers);
  return returns.length;
}

/** Get the entries that were not accepted, and whether the centre has more than this till. */
async function attend(key) {
  const answer = await call("GET", "/api/orders/v1/till/attention", tokenOf(key));
  if (answer.device_id !== key.device_id || answer.epoch !== key.epoch) {
    throw new Away("not the centre's answer");
  }
  await write(["meta", "keys", "journal"], async (tx) => {
    await tx.put("meta", answer.items, "attention");
    for (const { kind, number, status } of answer.items) {
      if (kind !== "order" || status === "disputed") continue;
      const row = await tx.get("journal", [key.key_id, number]);
      if (!row || row.unsent !== undefined) continue;
      forgetContact(row);
      await tx.put("journal", row);
    }
    const { last_number: last } = await tx.get("keys", key.key_id);
    // The centre has numbers that are unknown here, so this is an old copy of the till.
    if (answer.highest > last) await tx.put("meta", answer.highest, "restored");
  });
  await sendAgain(key, answer.highest, answer.holes);
}

async function parcels(key) {
  const { items, stopped = [] } = await call("GET", "/api/logistics/v1/till/parcels", tokenOf(key));
  if (!Array.isArray(items) || !Array.isArray(stopped)) throw new Away("not the centre's answer");
  await writing(() =>
    write(["parcels"], async (tx) => {
      const kept = new Map((await tx.all("parcels")).map((one) => [one.shipment_id, one]));
      await tx.clear("parcels");
      for (const one of [...items, ...stopped]) {
        const own = kept.get(one.shipment_id);
        const mine = { tries: own?.tries ?? 0, handed: own?.handed ?? null };
        await tx.put("parcels", { ...one, ...mine });
      }
    }),
  );
}

function troubleOf(error) {
  if (error instanceof Away) {
    return { reason: "away", detail: error.message, silent: error.silent };
  }
  const { status, type, problem } = error;
  // The centre knows a revoked key; an unknown key may just be too new.
  const young = !problem.revoked && Date.now() - (now().key?.enrolled_at ?? 0) < SETTLING;
  let reason = "refused";
  if (status === 401) reason = young ? "settling" : "key_refused";
  else if (status === 403) reason = "key_replaced";
  else if (type === "centre-older") reason = "centre_older";
  return { reason, detail: error.message };
}
