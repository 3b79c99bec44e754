// How much the browser lets the till keep, and whether it promised to keep it.

/** Bytes kept free for what must always fit: voids, returns, the shift's close. */
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
  return usage === null || quota - usage > RESERVE;
}

/** Ask the browser never to clear the till's data by itself; tells whether it promised. */
export async function askToKeep() {
  return (await navigator.storage?.persist?.()) ?? false;
}
