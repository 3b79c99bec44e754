// Parcels that wait for their buyers: their codes are checked here, with nobody to ask.

import { write } from "./db.js";
import { checkWaits } from "./journal.js";
import { writing } from "./locks.js";

/** Wrong tries after which a parcel is given out by name only, as at the centre. */
export const TRIES = 5;

/**
 * Check a code of 6 digits against what the centre gave us of it (salted SHA-256).
 *
 * Returns how many tries are left; null when the code is right. A wrong try is on disk before it
 * is told.
 */
export async function tryCode(shipmentId, code) {
  return writing(async () => {
    const parcel = await write(["parcels"], async (tx) => {
      const kept = await tx.get("parcels", shipmentId);
      checkWaits(kept);
      if (kept.tries >= TRIES) return kept;
      // Counted before it is checked: a till switched off in between gives no try for nothing.
      await tx.put("parcels", { ...kept, tries: kept.tries + 1 });
      return kept;
    });
    if (parcel.tries >= TRIES) return 0;
    if ((await digest(parcel.code_salt, code)) !== parcel.code_digest) {
      return TRIES - parcel.tries - 1;
    }
    await write(["parcels"], (tx) => tx.put("parcels", parcel));
    return null;
  });
}

async function digest(salt, code) {
  const bytes = Uint8Array.from(salt.match(/../g) ?? [], (pair) => parseInt(pair, 16));
  const text = new TextEncoder().encode(code);
  const whole = new Uint8Array(bytes.length + text.length);
  whole.set(bytes);
  whole.set(text, bytes.length);
  const made = new Uint8Array(await crypto.subtle.digest("SHA-256", whole));
  return [...made].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
