// What the screens show: a snapshot of the database, taken again after every change.

import { read } from "./db.js";
import { factsIn } from "./journal.js";

const STORES = ["meta", "keys", "journal", "allotments", "variants", "parcels", "returns"];
const listeners = new Set();
// Tells the other tabs; a tab does not hear itself.
const channel = new BroadcastChannel("farmgate-till");
channel.onmessage = () => refresh(false);

let picture = null;

/** The present snapshot. */
export function now() {
  return picture;
}

/** Call `listener` after each change; returns a function that ends it. */
export function listen(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Take a new snapshot and call all listeners. */
export async function refresh(tell = true) {
  picture = await read(STORES, async (tx) => {
    const facts = await factsIn(tx);
    const [keys, allotments, variants, parcels, returns] = await Promise.all(
      ["keys", "allotments", "variants", "parcels", "returns"].map((store) => tx.all(store)),
    );
    const [language, trouble, attention, tried] = await Promise.all(
      ["language", "trouble", "attention", "tried"].map((name) => tx.get("meta", name)),
    );
    let unsent = 0;
    let oldest = null;
    for (const { key_id: id } of keys) {
      const range = IDBKeyRange.bound([id, 0], [id, Infinity]);
      unsent += await tx.count("journal", "unsent", range);
      const [first] = await tx.by("journal", "unsent", range, 1);
      if (first && (oldest === null || first.at < oldest)) oldest = first.at;
    }
    return {
      ...facts, keys, allotments, parcels, unsent, oldest,
      variants: new Map(variants.map((variant) => [variant.variant_id, variant])),
      returns: returns.filter((one) => one.state !== "done"),
      language: language ?? null,
      trouble: trouble ?? null,
      attention: attention ?? [],
      tried: tried ?? null,
    };
  });
  for (const listener of listeners) listener(picture);
  if (tell) channel.postMessage("changed");
}

/** Rows of a shift, in order. */
export function rowsOfShift(shift) {
  return read(["journal"], (tx) => tx.by("journal", "shift", [shift.key_id, shift.number]));
}

/** Rows of a day, in order. */
export function rowsOfDay(day) {
  return read(["journal"], (tx) => tx.by("journal", "day", day));
}

/** One row. */
export function rowOf(keyId, number) {
  return read(["journal"], (tx) => tx.get("journal", [keyId, number]));
}
