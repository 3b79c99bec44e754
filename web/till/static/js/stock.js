// What this device may still sell, and why it may not. Rules: values in, values out.
//
// The device sells only what the centre has set aside for it (its allotments), so nobody needs to
// be asked at the counter and nothing is sold twice.

import { atCentre, day, ranBackwards } from "./clock.js";

/**
 * How much of an allotment the device may still sell, in grams or pieces.
 *
 * `taken` is what it sold itself, sent or not; `sold` is what the centre has heard. Where the
 * centre knows of more (this device was restored from an old copy), the centre is right.
 * `returning` is asked to be given back and not answered yet.
 */
export function remaining(allotment) {
  const { granted, returned, written_off: off, sold, taken, returning } = allotment;
  return Math.max(0, granted - returned - off - Math.max(taken, sold) - returning);
}

/** Why nothing at all may be sold now: a reason's name, or null. */
export function whyClosed({ key, clock, contact, restored }, now) {
  if (!key || !contact || !clock) return "no_contact";
  if (restored) return "restored";
  if (ranBackwards(clock, now)) return "clock";
  if (atCentre(clock, now) >= Date.parse(contact.lease_until)) return "lease";
  return null;
}

/** Why nothing of this allotment may be sold now: a reason's name, or null. */
export function whyStopped(allotment, clock, now) {
  if (!allotment.open) return "closed";
  if (allotment.status !== "active") return allotment.status;
  const centre = atCentre(clock, now);
  if (allotment.lease_until && centre >= Date.parse(allotment.lease_until)) return "lot_lease";
  if (allotment.sell_by && day(centre) > allotment.sell_by) return "sell_by";
  return remaining(allotment) === 0 ? "sold_out" : null;
}

/** Allotments of a variant, first expired first; those without a date last. */
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
 * `held` says how much of each the cart has already. Null where it is not all there.
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
 * The price that holds now: {price_fen, price_unit}, or null where the centre set none.
 *
 * `prices` are spans without overlap. A till whose last contact was with an older centre has
 * the present price and the next one instead.
 */
export function priceOf(variant, clock, now) {
  const centre = atCentre(clock, now);
  const { price_fen, next_price: next } = variant;
  const older = [next, price_fen === null ? null : variant].filter(Boolean);
  const holds = ({ valid_from: from, valid_to: to }) =>
    (!from || centre >= Date.parse(from)) && (!to || centre < Date.parse(to));
  return (variant.prices ?? older).find(holds) ?? null;
}
