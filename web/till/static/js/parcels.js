// Parcels that wait for their buyers: the till checks their codes by itself, without the centre.

import { write } from "./db.js";
import { checkWaits } from "./journal.js";
import { writing } from "./locks.js";

/** Wrong codes after which a clerk hands out a parcel by name only, as at the centre. */
export const TRIES = 5;

/**
 * Check a 6-digit code against the digest that the centre gave (salted SHA-256).
 *
 * Returns how many tries are left, or null if the code is right. A wrong try is on disk before the
 * result is returned.
 */
export async function tryCode(shipmentId, code) {
  return writing(async () => {
    const parcel = await write(["parcels"], async (tx) => {
      const kept = await tx.get("parcels", shipmentId);
      checkWaits(kept);
      if (kept.tries >= TRIES) return kept;
      // Counted before the check: switching the till off in between gains no extra try.
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
