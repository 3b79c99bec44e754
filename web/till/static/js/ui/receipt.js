// One entry on paper and on the screen, in Chinese and in the clerk's language.

import { current, gradeOf, languageOf, nameOf, t } from "../i18n.js";
import { nameOf as numberOf, returnable } from "../journal.js";
import { yuan } from "../money.js";
import { now, rowOf } from "../state.js";
import { h } from "./dom.js";
import { askReturn, askVoid } from "./back.js";
import { amount, price, standing, when, why } from "./words.js";

export function screen(main, [keyId, number, given]) {
  const place = h("div.till-narrow");
  main.append(place);
  const update = async () => {
    const row = await rowOf(keyId, Number(number));
    if (row) place.replaceChildren(...parts(row, given ? Number(given) : null));
    else location.hash = "#/journal";
  };
  update();
  return { update };
}

function parts(row, given) {
  const { keys, attention } = now();
  const of = keys.find((one) => one.key_id === row.key_id);
  const [kind, state] = standing(row, of.current ? attention : []);
  const sale = row.entry.kind === "sale" && of.current && !row.voided_by;
  const partly = sale && Object.keys(row.back).length > 0;
  const left = sale && Object.values(returnable(row)).some((quantity) => quantity > 0);
  return [
    h("div.till-actions.till-screen",
      h("a.btn.btn-success.btn-lg", { href: "#/sell" }, t("receipt.next")),
      h("button.btn.btn-primary.btn-lg", { type: "button", onclick: () => window.print() },
        t("receipt.print")),
      sale && !partly ? h("button.btn.btn-outline-danger.btn-lg", { type: "button",
        onclick: () => askVoid(row) }, t("void")) : null,
      left ? h("button.btn.btn-outline-danger.btn-lg", { type: "button",
        onclick: () => askReturn(row) }, t("return")) : null),
    paper(row, of, given),
    h(`p.alert.alert-${kind}.till-screen.mt-3`, { id: "receipt-state" }, state),
    row.entry.order?.contact?.phone ? h("p.till-screen", t("order.call", row.entry.order.contact))
      : "",
  ];
}

/** A label in Chinese, with the clerk's language under it. */
function both(name, facts) {
  const chinese = h("span", { lang: "zh" }, t(name, facts, "zh"));
  if (current() === "zh") return chinese;
  return h("span", chinese, h("small.till-second", { lang: current() }, t(name, facts)));
}

/** The name of a site, or of goods with their grade, in the same way. */
function bothNames({ names, grade }) {
  const line = (language) => [nameOf(names, language), grade && gradeOf(grade, language)]
    .filter(Boolean).join(" · ");
  const chinese = h("span", { lang: languageOf(names, "zh") }, line("zh"));
  if (current() === "zh") return chinese;
  return h("span", chinese,
    h("small.till-second", { lang: languageOf(names) }, line(current())));
}

function pair(name, value, strong = false) {
  return h("div.till-pair", both(name), h(strong ? "strong.fs-4" : "span", value));
}

function paper(row, key, given) {
  const { entry } = row;
  return h("article.till-receipt",
    h("h1.h5.text-center.mb-0", bothNames(key.site)),
    h("p.text-center.mb-2", both(`receipt.${entry.kind}`)),
    pair("receipt.number", h("span", { id: "receipt-number" }, numberOf(key, row.number))),
    pair("receipt.time", when(row.at, now().clock)),
    pair("receipt.clerk", entry.clerk),
    entry.of ? pair("receipt.of", numberOf(key, entry.of)) : null,
    h("hr"),
    body(row, given),
    row.voided_by ? h("p.till-stamp", both("receipt.voided")) : null,
    h("hr"),
    h("p.text-center.small.mb-0", both("receipt.thanks")));
}

function body(row, given) {
  const { entry, shown } = row;
  const paid = entry.payment && pair(entry.payment === "cash" ? "pay.cash" : "pay.mobile",
    yuan(given ?? entry.total_fen ?? entry.refund_fen ?? entry.collected_fen));
  switch (entry.kind) {
    case "sale":
      return [
        entry.lines.map((line, i) => goods(shown[i], h("span",
          `${amount(line.quantity, shown[i].unit)} × ${price(line, shown[i].unit)}`,
          h("br"), shown[i].lot_code), line.line_total_fen)),
        h("hr"), pair("receipt.total", yuan(entry.total_fen), true), paid,
        given === null ? null : pair("receipt.change", yuan(given - entry.total_fen)),
      ];
    case "return":
      return [
        entry.lines.map((line, i) => goods(shown[i], h("span",
          amount(line.quantity, shown[i].unit), " · ",
          both(line.restock ? "return.restock" : "return.spoiled")), -line.refund_fen)),
        h("hr"), pair("receipt.refund", yuan(entry.refund_fen), true), paid,
        pair("reason", why(entry.reason)),
      ];
    case "void":
      return [pair("receipt.refund", yuan(entry.refund_fen), true), paid,
        pair("reason", why(entry.reason))];
    case "hand_over":
      return [pair("parcel", shown[0].shipment_ref), pair("parcel.order", shown[0].order_ref),
        entry.received_by ? pair("parcel.to", entry.received_by) : null,
        pair("receipt.collected", yuan(entry.collected_fen), true), paid];
    case "order":
      return [
        entry.order.lines.map((line, i) => goods(shown[i],
          amount(line.quantity, shown[i].unit), shown[i].total_fen)),
        h("hr"), pair("receipt.total",
          yuan(shown.reduce((sum, line) => sum + line.total_fen, 0)), true),
        pair("order.how", both(entry.order.collect ? "order.collect" : "order.deliver")),
        h("p.small.mb-0", both("order.later")),
      ];
    case "shift_open":
      return pair("shift.float", yuan(entry.float_fen), true);
    default:
      return [pair("shift.expected", yuan(row.expected_fen)),
        pair("shift.counted", yuan(entry.counted_fen), true),
        pair("shift.difference", yuan(entry.counted_fen - row.expected_fen)),
        entry.note ? pair("shift.note", entry.note) : null];
  }
}

function goods(what, detail, fen) {
  return h("div.till-goods",
    h("div", bothNames(what), h("div.small", detail)),
    h("span.text-nowrap", yuan(fen)));
}
