// What this device may still sell, or why it must not. Rules: values in, values out.
//
// The device sells only the stock that the centre has set aside for it (its allotments). So it need
// not ask anybody at the counter, and nothing is sold twice.

import { atCentre, day, ranBackwards } from "./clock.js";

/**
 * How much of an allotment the device may still sell, in grams or pieces.
 *
 * `taken` is what this device sold, sent or not; `sold` is what the centre knows. If the centre
 * knows of more (this device was restored from an old copy), the centre is right. `returning` is
 * the quantity of returns that the centre has not answered yet.
 */
export function remaining(allotment) {
  const { granted, returned, written_off: off, sold, taken, returning } = allotment;
  return Math.max(0, granted - returned - off - Math.max(taken, sold) - returning);
}

/** Why the device must sell nothing now: a reason's name, or null. */
export function whyClosed({ key, clock, contact, restored }, now) {
  if (!key || !contact || !clock) return "no_contact";
  if (restored) return "restored";
  if (ranBackwards(clock, now)) return "clock";
  if (atCentre(clock, now) >= Date.parse(contact.lease_until)) return "lease";
  return null;
}

/** Why the device must not sell from this allotment now: a reason's name, or null. */
export function whyStopped(allotment, clock, now) {
  if (!allotment.open) return "closed";
  if (allotment.status !== "active") return allotment.status;
  const centre = atCentre(clock, now);
  if (allotment.lease_until && centre >= Date.parse(allotment.lease_until)) return "lot_lease";
  if (allotment.sell_by && day(centre) > allotment.sell_by) return "sell_by";
  return remaining(allotment) === 0 ? "sold_out" : null;
}

/** Allotments of a variant, first to expire first; allotments without a date last. */
export function inOrder(allotments, variantId) {
  const never = "9999-12-31";
  return allotments
    .filter((a) => a.variant_id === variantId && a.open)
    .sort(
      (a, b) =>
        (a.best_before ?? never).localeCompare(b.best_before ?? never) ||
        a.lot_code.localeCompare(b.lot_code),
    );
}

/**
 * Divide a quantity over allotments in their order: [{allotment, quantity}].
 *
 * `held` says how much of each is already in the cart. Null if there is too little.
 */
export function divide(allotments, quantity, held = {}) {
  const parts = [];
  let left = quantity;
  for (const allotment of allotments) {
    const free = remaining(allotment) - (held[allotment.allotment_id] ?? 0);
    const part = Math.min(left, Math.max(0, free));
    if (part > 0) parts.push({ allotment, quantity: part });
    left -= part;
  }
  return left === 0 ? parts : null;
}

/**
 * The present price: {price_fen, price_unit}, or null if the centre set none.
 *
 * `prices` are spans that do not overlap. If the last contact was with an older version of the
 * centre, the till has the present price and the next one instead.
 */
export function priceOf(variant, clock, now) {
  const centre = atCentre(clock, now);
  const { price_fen, next_price: next } = variant;
  const older = [next, price_fen === null ? null : variant].filter(Boolean);
  const holds = ({ valid_from: from, valid_to: to }) =>
    (!from || centre >= Date.parse(from)) && (!to || centre < Date.parse(to));
  return (variant.prices ?? older).find(holds) ?? null;
}
