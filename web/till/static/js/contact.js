// A contact: the device reports its state, the centre says what the device may sell, and the lease
// begins again. A contact never changes the device's own entries: only the answer to an upload
// does.

import { call, Away, tokenOf } from "./api.js";
import { fromContact } from "./clock.js";
import { write } from "./db.js";
import { writing } from "./locks.js";
import { remaining } from "./stock.js";

/** Milliseconds by which the centre may set its own clock back. */
const CORRECTION = 2 * 60_000;
/** Milliseconds until the centre's answer must begin; the contact also serves as the ping. */
const PATIENCE = 10_000;

/** Reach the centre and store its answer. */
export async function contact(picture, version) {
  const { key, allotments, unsent, oldest, contact: last } = picture;
  const left = {};
  for (const one of allotments) {
    if (one.open) left[one.lot_id] = (left[one.lot_id] ?? 0) + remaining(one);
  }
  const sent = Date.now();
  const answer = await call(
    "POST",
    "/api/catalog/v1/till/contact",
    tokenOf(key),
    {
      seen_revision: last?.revision ?? 0,
      unsynced: unsent,
      oldest_unsynced_at: oldest === null ? null : new Date(oldest).toISOString(),
      last_number: key.last_number,
      device_time: new Date(sent).toISOString(),
      app_version: version,
      remaining: left,
    },
    PATIENCE,
  );
  const received = Date.now();
  if (answer.device?.device_id !== key.device_id || answer.device?.epoch !== key.epoch) {
    throw new Away("not the centre's answer");
  }
  return keep(key, answer, fromContact(answer.server_time, sent, received));
}

/** Store an answer; false if the till already knows a newer one. */
function keep(key, answer, clock) {
  return writing(() =>
    write(["meta", "keys", "allotments", "variants"], async (tx) => {
      const known = await tx.get("meta", "contact");
      // An older answer (from a proxy's cache, or from a restored centre) would turn back the
      // lease's clock and forget later recalls.
      if (
        known?.key_id === key.key_id &&
        (answer.revision < known.revision ||
          Date.parse(answer.server_time) < Date.parse(known.server_time) - CORRECTION)
      ) {
        return false;
      }
      const present = await tx.get("keys", key.key_id);
      const { device_code, device_name, site } = answer.device;
      await tx.put("keys", { ...present, device_code, device_name, site });
      await tx.put("meta", clock, "clock");
      await tx.put(
        "meta",
        {
          key_id: key.key_id,
          at: clock.contact,
          server_time: answer.server_time,
          lease_until: answer.lease_until,
          revision: answer.revision,
        },
        "contact",
      );
      await keepAllotments(tx, answer.allotments);
      await tx.clear("variants");
      for (const variant of answer.variants) await tx.put("variants", variant);
      return true;
    }),
  );
}

async function keepAllotments(tx, told) {
  const kept = new Map((await tx.all("allotments")).map((one) => [one.allotment_id, one]));
  for (const one of told) {
    const own = kept.get(one.allotment_id);
    // `taken` and `returning` belong to the device; the centre cannot know them.
    const mine = { taken: own?.taken ?? 0, returning: own?.returning ?? 0 };
    await tx.put("allotments", { ...one, ...mine, open: true });
    kept.delete(one.allotment_id);
  }
  // The centre names only open allotments: the till must not sell from the others any more.
  for (const one of kept.values()) await tx.put("allotments", { ...one, open: false });
}
