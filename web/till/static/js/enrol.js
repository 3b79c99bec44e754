// Making this browser a till: the till exchanges a one-time code of the centre for a key.

import { call, newSecret } from "./api.js";
import { read, write } from "./db.js";
import { refresh } from "./state.js";

const STORES = ["meta", "keys", "allotments", "variants", "parcels", "returns"];

/**
 * Use an enrolment code.
 *
 * The secret is on disk before it is sent, so the till can repeat the request with the same code
 * and the same secret when the answer is lost. The journal of an older enrolment stays, and the
 * till still sends it under its own key; the centre counts the stock that was left.
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

/**
 * Why the clerk may not sign out: "unsent", "shift", or null.
 *
 * "exported": the till's key was revoked, so the centre takes nothing from it any more, and all
 * entries are in a file; only the clerk can say whether the centre has the file.
 */
export async function whyNotSignOut() {
  return read(["meta", "keys", "journal", "returns"], async (tx) => {
    const trouble = await tx.get("meta", "trouble");
    let unsent = (await tx.all("returns")).filter((one) => one.state === "new").length;
    let exported = 0;
    for (const { key_id: id } of await tx.all("keys")) {
      const range = IDBKeyRange.bound([id, 0], [id, Infinity]);
      for (const row of await tx.by("journal", "unsent", range)) {
        unsent += 1;
        if (row.exported) exported += 1;
      }
    }
    const lost = trouble?.reason === "key_refused" && exported === unsent;
    if (unsent > 0 && !lost) return "unsent";
    // An old copy of the till cannot close its shift: the copy that is in use does.
    const shift = (await tx.get("meta", "shift")) && !(await tx.get("meta", "restored"));
    if (shift) return "shift";
    return unsent > 0 ? "exported" : null;
  });
}
