// The journal: everything that the till does is an entry, numbered 1, 2, 3, … without gaps.
//
// One durable transaction writes an entry, its number, and what it takes from an allotment, or
// nothing. The transaction repeats every check: between the clerk's two clicks another tab may have
// sold, or the lease may have ended. The till shows a receipt only afterwards.

import { atCentre, day, seen } from "./clock.js";
import { write } from "./db.js";
import { writing } from "./locks.js";
import { lineTotal, refundOf } from "./money.js";
import { remaining, whyClosed, whyStopped } from "./stock.js";
import { hasRoom, holdReserve } from "./storage.js";

/** The most lines of a sale, and the most grams or pieces of a line, that the centre accepts. */
const MOST_LINES = 50;
export const MOST_QUANTITY = 10_000_000;

/** The device refuses an action; `reason` names the text that says what to do next. */
export class Refusal extends Error {
  constructor(reason, facts = {}) {
    super(reason);
    this.reason = reason;
    this.facts = facts;
  }
}

const STORES = ["meta", "keys", "journal", "allotments", "parcels"];

/** Sell what is in the cart: [{variant_id, allotment_id, quantity, price_fen, price_unit, …}]. */
export function sell(draft, cart, payment) {
  return append(draft, { room: true, shift: true }, async (tx, facts) => {
    const closed = whyClosed(facts, facts.now);
    if (closed) throw new Refusal(closed);
    if (cart.length > MOST_LINES) throw new Refusal("too_many_lines");
    const lines = [];
    const takes = [];
    for (const item of cart) {
      const allotment = await tx.get("allotments", item.allotment_id);
      const stopped = allotment ? whyStopped(allotment, facts.clock, facts.now) : "closed";
      if (stopped) throw new Refusal(stopped, item);
      if (remaining(allotment) < item.quantity) throw new Refusal("short", item);
      allotment.taken += item.quantity;
      await tx.put("allotments", allotment);
      takes.push({ allotment_id: item.allotment_id, quantity: item.quantity });
      const { variant_id, quantity, price_fen, price_unit } = item;
      lines.push({
        line_no: lines.length + 1,
        variant_id,
        lot_id: allotment.lot_id,
        quantity,
        price_fen,
        price_unit,
        line_total_fen: lineTotal(quantity, price_fen, price_unit),
      });
    }
    const total_fen = lines.reduce((sum, line) => sum + line.line_total_fen, 0);
    return {
      entry: { kind: "sale", lines, total_fen, payment, voided: false },
      takes,
      back: {},
      shown: cart.map(({ names, grade, unit, lot_code }) => ({ names, grade, unit, lot_code })),
    };
  });
}

/** Void a whole sale. If it was never sent, the till can sell its goods again at once. */
export function voidSale(draft, keyId, number, reason, payment) {
  return append(draft, { shift: true }, async (tx, { key }) => {
    const sale = await ownSale(tx, key, keyId, number);
    if (Object.keys(sale.back).length > 0) throw new Refusal("has_returns");
    if (sale.state === "new") {
      sale.entry.voided = true;
      for (const take of sale.takes) {
        const allotment = await tx.get("allotments", take.allotment_id);
        allotment.taken -= take.quantity;
        await tx.put("allotments", allotment);
      }
    }
    sale.voided_by = key.last_number + 1;
    await tx.put("journal", sale);
    const entry = { kind: "void", of: number, refund_fen: sale.entry.total_fen, payment, reason };
    return { entry };
  });
}

/** Take goods of a sale back: [{line_no, quantity, restock}]. */
export function takeBack(draft, keyId, number, goods, reason, payment) {
  return append(draft, { shift: true }, async (tx, { key }) => {
    const sale = await ownSale(tx, key, keyId, number);
    const lines = goods.map(({ line_no, quantity, restock }) => {
      const line = sale.entry.lines.find((one) => one.line_no === line_no);
      const before = sale.back[line_no] ?? 0;
      if (before + quantity > line.quantity) throw new Refusal("beyond_sale");
      sale.back[line_no] = before + quantity;
      return { line_no, quantity, refund_fen: refundOf(line, before, quantity), restock };
    });
    await tx.put("journal", sale);
    const refund_fen = lines.reduce((sum, line) => sum + line.refund_fen, 0);
    const entry = { kind: "return", of: number, lines, refund_fen, payment, reason };
    return { entry, shown: lines.map(({ line_no }) => sale.shown[line_no - 1]) };
  });
}

/** Refuse a parcel that is gone, or that the centre stopped while the clerk typed its code. */
export function checkWaits(parcel) {
  if (!parcel || parcel.handed) throw new Refusal("parcel_gone");
  if (parcel.stopped) throw new Refusal("parcel_stopped");
}

/** Hand over a waiting parcel to its buyer. */
export function handOver(draft, parcel, proof) {
  return append(draft, { shift: true }, async (tx, { key }) => {
    const waiting = await tx.get("parcels", parcel.shipment_id);
    checkWaits(waiting);
    await tx.put("parcels", { ...waiting, handed: key.last_number + 1 });
    return {
      entry: { kind: "hand_over", shipment_id: parcel.shipment_id, ...proof },
      shown: [{ shipment_ref: parcel.shipment_ref, order_ref: parcel.order_ref }],
    };
  });
}

/** Take an order that the centre will deliver; `order` holds the buyer's contact. */
export function takeOrder(draft, order, shown) {
  return append(draft, { room: true, shift: true }, async () => ({
    entry: { kind: "order", order },
    shown,
  }));
}

/** Open a shift with the cash that lies in the drawer. */
export function openShift(draft, clerk, floatFen) {
  return append(draft, { room: true }, async (tx, { key, shift, now }) => {
    if (shift) throw new Refusal("shift_is_open");
    const number = key.last_number + 1;
    await tx.put("meta", { key_id: key.key_id, number, clerk, float_fen: floatFen, opened: now },
      "shift");
    return { entry: { kind: "shift_open", float_fen: floatFen }, clerk, of_shift: number };
  });
}

/** Close the shift with the cash that was counted. */
export function closeShift(draft, countedFen, note, expectedFen) {
  return append(draft, { shift: true }, async (tx) => {
    await tx.delete("meta", "shift");
    return {
      entry: { kind: "shift_close", counted_fen: countedFen, note },
      expected_fen: expectedFen,
    };
  });
}

/**
 * Write one entry. `make` gets the transaction and the facts, and returns the fields of this kind.
 *
 * A second call with the same draft returns the existing row, so a second click is harmless.
 */
async function append(draft, { room = false, shift: needed = false }, make) {
  if (room && !((await holdReserve()) && (await hasRoom()))) throw new Refusal("storage");
  const attempt = () =>
    writing(() =>
      write(STORES, async (tx) => {
        const [known] = await tx.by("journal", "draft", draft, 1);
        if (known) return known;
        const facts = await factsIn(tx);
        const { key, clock, shift, now } = facts;
        if (!key) throw new Refusal("no_contact");
        if (facts.restored) throw new Refusal("restored");
        if (needed && !shift) throw new Refusal("no_shift");
        const { entry, clerk, of_shift, ...rest } = await make(tx, facts);
        const number = key.last_number + 1;
        const row = {
          key_id: key.key_id,
          number,
          draft,
          day: day(clock ? atCentre(clock, now) : now),
          at: now,
          shift: of_shift ?? shift.number,
          entry: {
            number,
            device_time: new Date(now).toISOString(),
            clerk: clerk ?? shift.clerk,
            shift: of_shift ?? shift.number,
            ...entry,
          },
          state: "new",
          unsent: key.key_id,
          answer: null,
          ...rest,
        };
        await tx.put("journal", row);
        await tx.put("keys", { ...key, last_number: number });
        if (clock) await tx.put("meta", seen(clock, now), "clock");
        return row;
      }),
    );
  try {
    return await attempt();
  } catch (error) {
    if (error.name !== "QuotaExceededError" || room) throw stated(error);
  }
  // The reserve now has room for the entries that must always fit.
  return attempt().catch((error) => {
    throw stated(error);
  });
}

function stated(error) {
  return error.name === "QuotaExceededError" ? new Refusal("storage") : error;
}


/** The facts that decide whether an action is allowed now. */
export async function factsIn(tx) {
  const [keys, clock, contact, shift, restored] = await Promise.all([
    tx.all("keys"),
    tx.get("meta", "clock"),
    tx.get("meta", "contact"),
    tx.get("meta", "shift"),
    tx.get("meta", "restored"),
  ]);
  const key = keys.find((one) => one.current) ?? null;
  return { key, clock: clock ?? null, contact: contact ?? null, shift: shift ?? null,
    restored: Boolean(restored), now: Date.now() };
}

async function ownSale(tx, key, keyId, number) {
  // Only the enrolment that sold goods may take them back.
  if (keyId !== key.key_id) throw new Refusal("older_enrolment");
  const sale = await tx.get("journal", [keyId, number]);
  if (sale?.entry.kind !== "sale") throw new Refusal("no_such_sale");
  if (sale.voided_by) throw new Refusal("voided_before");
  return sale;
}

/** How much of each line of a sale can still come back, by line_no. */
export function returnable(sale) {
  return Object.fromEntries(
    sale.entry.lines.map((line) => [
      line.line_no,
      sale.voided_by ? 0 : line.quantity - (sale.back[line.line_no] ?? 0),
    ]),
  );
}

/** The cash effects of entries, in fen: {sales, refunds, collected, mobile, cash}. */
export function drawerOf(rows) {
  const sums = { sales: 0, refunds: 0, collected: 0, mobile: 0, cash: 0 };
  for (const { entry } of rows) {
    const amount = { sale: entry.total_fen, hand_over: entry.collected_fen,
      void: -entry.refund_fen, return: -entry.refund_fen }[entry.kind];
    if (!amount) continue;
    if (entry.payment !== "cash") sums.mobile += amount;
    else {
      sums.cash += amount;
      sums[{ sale: "sales", hand_over: "collected" }[entry.kind] ?? "refunds"] += amount;
    }
  }
  return sums;
}

/** The readable name of an entry: site-device-epoch-number. */
export function nameOf(key, number) {
  return `${key.device_code}-${key.epoch}-${number}`;
}
