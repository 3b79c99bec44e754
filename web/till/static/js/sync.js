// When the till reaches out, in which order, and what it says about it.
//
// One tab sends at a time. Recalls are heard before anything else. Each part fails by itself: a
// revoked key does not keep an older enrolment's sales from being sent.

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
/** A key that was just given may not be known everywhere for so long. */
const SETTLING = 60_000;
/** Returns in one call. */
const MOST_RETURNS = 100;

export const VERSION = document.documentElement.dataset.version;

let timer = null;
let failures = 0;
let running = null;
let asked = false;

/** Begin: by timer, and whenever the clerk comes back to the page. */
export function begin() {
  for (const name of ["focus", "online", "pageshow"]) addEventListener(name, comeBack);
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") comeBack();
  });
  soon(0);
}

/** The clerk is back, perhaps where there is a link: try, however long the pause still is. */
function comeBack() {
  if (Date.now() - (now().tried ?? 0) > FIRST_PAUSE) plan(0);
}

/** Try soon, unless a failure asks for patience: then what was due stays due. */
export function soon(delay = SOON) {
  // A try that runs may have passed what there is to send: it is followed by another.
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
      // Another tab is at it; its changes are told by the channel.
      if (well === undefined) return plan(asked ? SOON : REGULAR);
      failures = well ? 0 : failures + 1;
      const next = asked ? SOON : REGULAR;
      asked = false;
      const pause = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (failures - 1));
      // Not all tills of a valley at the same moment, when the link comes back.
      plan(well ? next : pause * (0.75 + Math.random() / 2));
      return well;
    })
    .finally(() => {
      running = null;
    });
  return running;
}

/** Reach the centre because the clerk asks: not by a try that began before the link came back. */
export async function runAgain() {
  await running;
  return run();
}

/** A fault of our own is shown like any other trouble, and does not end the trying. */
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
  // With nobody there, the other calls would only wait for their time-outs, one after another.
  if (!troubles[0]?.silent) {
    const returned = reached ? await part(() => giveBack(key)) : 0;
    let sent = 0;
    for (const one of keys) sent += (await part(() => upload(one, refresh))) ?? 0;
    if (reached) {
      await part(() => attend(key));
      await part(() => parcels(key));
      // What was sent and given back is in the centre's books now.
      if (sent + returned > 0) await part(() => reach(key));
    }
  }
  // Room may have come back.
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

/** Hear what the centre could not accept, and whether it knows more of us than we do. */
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
    // Somebody used numbers that we have not: we are an old copy of this till.
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
  // A key that was revoked is known; one that is unknown may only be too new.
  const young = !problem.revoked && Date.now() - (now().key?.enrolled_at ?? 0) < SETTLING;
  let reason = "refused";
  if (status === 401) reason = young ? "settling" : "key_refused";
  else if (status === 403) reason = "key_replaced";
  else if (type === "centre-older") reason = "centre_older";
  return { reason, detail: error.message };
}
