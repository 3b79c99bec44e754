// Stock that goes back to the centre. It leaves the device's quota when the clerk confirms, and the
// centre's answer only acknowledges it. A return that is sent twice counts once (`return_id` is the
// draft's id).

import { write } from "./db.js";
import { Refusal } from "./journal.js";
import { writing } from "./locks.js";
import { remaining } from "./stock.js";

/** Set `quantity` of an allotment aside for its return to the centre. */
export function giveBack(draft, allotmentId, quantity) {
  return writing(() =>
    write(["allotments", "returns"], async (tx) => {
      const known = await tx.get("returns", draft);
      if (known) return known;
      const allotment = await tx.get("allotments", allotmentId);
      if (!allotment?.open) throw new Refusal("closed");
      if (remaining(allotment) < quantity) throw new Refusal("short", allotment);
      allotment.returning += quantity;
      await tx.put("allotments", allotment);
      const made = {
        return_id: draft,
        allotment_id: allotmentId,
        lot_code: allotment.lot_code,
        variant_id: allotment.variant_id,
        quantity,
        at: Date.now(),
        state: "new",
        reason: null,
      };
      await tx.put("returns", made);
      return made;
    }),
  );
}

/** Up to `most` returns that the centre has not answered. */
export async function waiting(tx, most) {
  return (await tx.all("returns")).filter((one) => one.state === "new").slice(0, most);
}

/** Store the centre's answers; an answer counts only if it names a return that this till sent. */
export function settle(sent, answers) {
  const names = new Set(sent.map((one) => one.return_id));
  return writing(() =>
    write(["allotments", "returns"], async (tx) => {
      for (const { return_id: id, status, reason } of answers) {
        const made = names.has(id) ? await tx.get("returns", id) : null;
        if (made?.state !== "new") continue;
        const allotment = await tx.get("allotments", made.allotment_id);
        if (allotment) {
          allotment.returning -= made.quantity;
          // Counted until the next contact confirms it: the quota must not come back in between.
          if (status !== "disputed") allotment.returned += made.quantity;
          await tx.put("allotments", allotment);
        }
        const state = status === "disputed" ? "disputed" : "done";
        await tx.put("returns", { ...made, state, reason: reason ?? null });
      }
    }),
  );
}
