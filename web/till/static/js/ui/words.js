// Quantities, prices and states as texts.

import { atCentre, moment } from "../clock.js";
import { gradeOf, has, nameOf, t } from "../i18n.js";
import { thousandths, yuan } from "../money.js";

/** 1250 g → "1.25 kg", below a kilogram "750 g", pieces "10 pieces". */
export function amount(quantity, unit) {
  if (unit !== "g") return t("pieces", { n: quantity });
  return quantity < 1000 ? `${quantity} g` : `${thousandths(quantity)} kg`;
}

/** A weight in all its units: "1250 g = 1.25 kg = 2.5 jin". */
export function weights(grams) {
  const jin = t("jin", { n: thousandths(grams * 2) });
  return `${grams} g = ${thousandths(grams)} kg = ${jin}`;
}

/** "¥136.00 / 500 g". */
export function price({ price_fen, price_unit }, unit) {
  return `${yuan(price_fen)} / ${amount(price_unit, unit)}`;
}

/** The name of a variant or of a line, in one line of text. */
export function title({ names, grade }) {
  return [nameOf(names), grade && gradeOf(grade)].filter(Boolean).join(" · ");
}

/** Time by the centre's clock, as far as the device can tell. */
export function when(ms, clock) {
  return moment(clock ? atCentre(clock, ms) : ms);
}

/** What became of an entry: [kind of badge, text]. */
export function standing(row, attention = []) {
  const told = attention.find((item) => item.number === row.number);
  const status = told?.status ?? row.answer?.status;
  const reason = told?.reason ?? row.answer?.reason;
  if (row.state === "new" || row.state === "attempted") return ["warning", t("state.unsent")];
  if (row.state === "refused") return ["danger", t("state.refused")];
  if (status === "disputed") return ["danger", `${t("state.disputed")}: ${why(reason)}`];
  if (status === "settled" || status === "acknowledged") return ["secondary", `${t("state.settled")}: ${why(reason)}`];
  return ["success", t("state.sent")];
}

const textOf = (reason) => `reason.${String(reason).replaceAll("-", "_")}`;

/** Whether there is a text for a reason that the centre gave. */
export function known(reason) {
  return Boolean(reason) && has(textOf(reason));
}

/** The text of a reason that the centre gave; without a text, the reason itself. */
export function why(reason) {
  return known(reason) ? t(textOf(reason)) : String(reason ?? "");
}

/** An entry's amount, in fen; a refund is negative. */
export function fenOf({ entry }) {
  return {
    sale: entry.total_fen,
    void: -entry.refund_fen,
    return: -entry.refund_fen,
    hand_over: entry.collected_fen,
    shift_open: entry.float_fen,
    shift_close: entry.counted_fen,
  }[entry.kind];
}
