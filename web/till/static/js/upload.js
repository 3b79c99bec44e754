// Sending the journal: in pieces, as often as needed. Every entry has a name (device, epoch,
// number), so the centre counts it once. The till marks an entry as sent only when the answer
// repeats this name: a "200" of a captive portal or a proxy does not count.

import { call, Away, Refused, tokenOf } from "./api.js";
import { read, write } from "./db.js";
import { writing } from "./locks.js";

/** The format of entries; the centre accepts older formats for a stated time. */
export const FORMAT = 1;
/** Entries and bytes of one piece: the centre accepts 500 entries, and bodies of a megabyte. */
const MOST = 500;
const MOST_BYTES = 400_000;
/** Entries of a piece on a bad link. */
const LEAST = 10;
/** Milliseconds that a piece may take: long, so that a slow link can deliver it. */
const PATIENCE = 60_000;

/** Entries of the next piece: fewer after a failure, so that a bad link delivers at least some. */
let size = MOST;

/** Send all unsent entries of a key; returns how many entries were answered. */
export async function upload(key, progress) {
  let after = 0;
  let answered = 0;
  for (;;) {
    const rows = await attempt(key, after, size);
    if (rows.length === 0) return answered;
    let answer;
    try {
      const piece = { format: FORMAT, entries: rows.map((row) => row.entry) };
      answer = await call("POST", "/api/orders/v1/till/entries", tokenOf(key), piece, PATIENCE);
    } catch (error) {
      const tooLarge = error instanceof Refused && error.status === 413 && rows.length > 1;
      if (tooLarge) size = Math.ceil(rows.length / 2);
      else if (error instanceof Away) size = Math.max(LEAST, Math.ceil(size / 4));
      if (!tooLarge) throw error;
      continue;
    }
    if (answer.device_id !== key.device_id || answer.epoch !== key.epoch) {
      throw new Away("not the centre's answer");
    }
    answered += await acknowledge(key, rows, answer.answers);
    size = Math.min(MOST, size * 2);
    after = rows.at(-1).number;
    await progress();
  }
}

/**
 * Return the next piece, marked as attempted on disk *before* it is sent.
 *
 * From then on the centre may have its entries, whatever answer arrives. So their content must not
 * change any more, and a void of such an entry gives no quota back here.
 */
function attempt(key, after, most, exporting = false) {
  return writing(() =>
    write(["journal"], async (tx) => {
      const range = IDBKeyRange.bound([key.key_id, after + 1], [key.key_id, Infinity]);
      const piece = [];
      let bytes = 0;
      for (const row of await tx.by("journal", "unsent", range, most)) {
        // Chinese characters are three bytes each in the request's body.
        bytes += new Blob([JSON.stringify(row.entry)]).size;
        if (piece.length > 0 && bytes > MOST_BYTES) break;
        if (row.state === "new" || exporting) {
          if (row.state === "new") row.state = "attempted";
          if (exporting) row.exported = true;
          await tx.put("journal", row);
        }
        piece.push(row);
      }
      return piece;
    }),
  );
}

/** Store the centre's answers; returns how many entries need not be sent again. */
function acknowledge(key, rows, answers) {
  if (!Array.isArray(answers)) throw new Away("not the centre's answer");
  return writing(() =>
    write(["journal", "meta"], async (tx) => {
      let done = 0;
      for (const { index, number, status, reason, detail } of answers) {
        if (rows[index]?.number !== number) continue;
        const row = await tx.get("journal", [key.key_id, number]);
        if (row?.unsent === undefined) continue;
        row.answer = { status, reason: reason ?? null, detail: detail ?? null };
        if (["accepted", "duplicate", "disputed"].includes(status)) {
          row.state = "done";
          delete row.unsent;
          // If the centre could not read an order, the clerk must know and call the buyer.
          if (status !== "disputed") forgetContact(row);
          // Another entry has this number, so there are two copies of this till.
          if (reason === "other_content" && key.current) await tx.put("meta", number, "restored");
          done += 1;
        } else {
          row.state = "refused";
        }
        await tx.put("journal", row);
      }
      return done;
    }),
  );
}

/** Delete a buyer's name, phone and address from the device as soon as the centre has them. */
export function forgetContact(row) {
  const contact = row.entry.order?.contact;
  if (contact?.phone) row.entry.order.contact = { masked: `…${contact.phone.slice(-2)}` };
}

/**
 * Send again the entries that the centre lost: it once accepted them, and was restored from a copy.
 *
 * Only complete entries can be sent again: an order's contact is no longer on the device.
 */
export function sendAgain(key, highest, holes) {
  return writing(() =>
    write(["journal"], async (tx) => {
      const above = IDBKeyRange.bound([key.key_id, highest + 1], [key.key_id, Infinity]);
      const rows = await tx.within("journal", above);
      for (const number of holes) rows.push(await tx.get("journal", [key.key_id, number]));
      for (const row of rows) {
        if (!row || row.unsent !== undefined || row.entry.kind === "order") continue;
        await tx.put("journal", { ...row, unsent: key.key_id, state: "attempted" });
      }
    }),
  );
}

/** Entries of one file: as many as the centre imports at once. */
const MOST_IN_FILE = 1000;

/** All unsent entries, as the contents of files; from now on they count as attempted. */
export async function exported() {
  const keys = await read(["keys"], (tx) => tx.all("keys"));
  const files = [];
  for (const key of keys) {
    let after = 0;
    for (;;) {
      const rows = await attempt(key, after, MOST_IN_FILE, true);
      if (rows.length === 0) break;
      const entries = rows.map((row) => row.entry);
      const { device_id, epoch } = key;
      files.push({ key, first: rows[0].number, content: { device_id, epoch, format: FORMAT,
        entries } });
      after = rows.at(-1).number;
    }
  }
  return files;
}
