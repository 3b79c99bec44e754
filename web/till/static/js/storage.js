// How much the browser lets the till keep, and whether it promised to keep it.
//
// Chromium does not say how much room is really left (its `quota` is always far away). So the till
// keeps a reserve of some megabytes in its own database. The first write that finds no room fails
// as a whole. Then the till deletes the reserve, so that voids, returns, the close of the shift and
// the centre's answers still fit, and selling stops until the reserve is back.

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

/** Whether another sale surely fits; called before the sale. */
export async function hasRoom() {
  const { usage, quota } = await report();
  if (usage !== null && quota - usage < RESERVE) return false;
  return (await read(["reserve"], (tx) => tx.count("reserve"))) > 0;
}

/** Write the reserve if it is missing and there is room; returns whether it exists. */
export async function holdReserve() {
  if ((await read(["reserve"], (tx) => tx.count("reserve"))) > 0) return true;
  const bytes = new Uint8Array(RESERVE);
  // Random, so that no compression makes it smaller than its size.
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

/** Ask the browser never to delete the till's data by itself; returns whether it promised. */
export async function askToKeep() {
  return (await navigator.storage?.persist?.()) ?? false;
}
