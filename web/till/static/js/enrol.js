// Making this browser a till: a code given by the centre, used once, becomes a key.

import { call, newSecret } from "./api.js";
import { read, write } from "./db.js";
import { refresh } from "./state.js";

const STORES = ["meta", "keys", "allotments", "variants", "parcels", "returns"];

/**
 * Use an enrolment code.
 *
 * The secret is on disk before it is sent, so that a lost answer can be asked for again with the
 * same code and the same secret. An older enrolment's journal stays and is still sent under its
 * own key; what it had left to sell is counted by the centre.
 */
export async function enrol(code) {
  const normal = code.toUpperCase().replace(/[^A-Z0-9]/g, "");
  const secret = await write(["meta"], async (tx) => {
    const begun = await tx.get("meta", "enrolling");
    if (begun?.code === normal) return begun.secret;
    const made = newSecret();
    await tx.put("meta", { code: normal, secret: made }, "enrolling");
    return made;
  });
  const answer = await call("POST", "/api/catalog/v1/till/enrol", null, { code: normal, secret });
  await write(STORES, async (tx) => {
    for (const old of await tx.all("keys")) await tx.put("keys", { ...old, current: false });
    for (const store of ["allotments", "variants", "parcels", "returns"]) await tx.clear(store);
    for (const name of ["enrolling", "shift", "contact", "clock", "restored", "attention"]) {
      await tx.delete("meta", name);
    }
    const { key_id, device_id, device_code, device_name, epoch, site } = answer;
    const known = await tx.get("keys", key_id);
    await tx.put("keys", {
      key_id, secret, device_id, device_code, device_name, epoch, site,
      current: true,
      last_number: known?.last_number ?? 0,
      enrolled_at: Date.now(),
    });
  });
  await refresh();
}

/** Whether the clerk may sign out, and why not: "unsent", "shift" or null. */
export async function whyNotSignOut() {
  return read(["meta", "keys", "journal", "returns"], async (tx) => {
    for (const { key_id: id } of await tx.all("keys")) {
      const range = IDBKeyRange.bound([id, 0], [id, Infinity]);
      if ((await tx.count("journal", "unsent", range)) > 0) return "unsent";
    }
    if ((await tx.all("returns")).some((one) => one.state === "new")) return "unsent";
    return (await tx.get("meta", "shift")) ? "shift" : null;
  });
}
