// How much the browser lets the till keep, and whether it promised to keep it.
//
// Chromium does not say truly how much room is left (its `quota` is always far away), so the till
// holds room itself: a reserve of some megabytes in its own database. The first write that finds
// no room fails as a whole; then the reserve is given up, so that what must always fit still does
// (voids, returns, the shift's close, the centre's answers), and selling stops until it is back.

import { read, write } from "./db.js";

/** Bytes of the reserve: some thousand entries. */
const RESERVE = 4 * 1024 * 1024;

/** {usage, quota, persisted}: bytes, and the browser's promise; null where it does not say. */
export async function report() {
  if (!navigator.storage?.estimate) return { usage: null, quota: null, persisted: null };
  const { usage, quota } = await navigator.storage.estimate();
  const persisted = (await navigator.storage.persisted?.()) ?? null;
  return { usage, quota, persisted };
}

/** Whether another sale surely fits; asked before it, not after. */
export async function hasRoom() {
  const { usage, quota } = await report();
  if (usage !== null && quota - usage < RESERVE) return false;
  return (await read(["reserve"], (tx) => tx.count("reserve"))) > 0;
}

/** Take the reserve where there is none and the room is there; tells whether it is held. */
export async function holdReserve() {
  if ((await read(["reserve"], (tx) => tx.count("reserve"))) > 0) return true;
  const bytes = new Uint8Array(RESERVE);
  // Random, so that no compression makes it smaller than what it stands for.
  for (let at = 0; at < RESERVE; at += 65_536) {
    crypto.getRandomValues(bytes.subarray(at, at + 65_536));
  }
  try {
    await write(["reserve"], (tx) => tx.put("reserve", bytes, "reserve"));
    return true;
  } catch (error) {
    if (error.name !== "QuotaExceededError") throw error;
    return false;
  }
}

/** Ask the browser never to clear the till's data by itself; tells whether it promised. */
export async function askToKeep() {
  return (await navigator.storage?.persist?.()) ?? false;
}
