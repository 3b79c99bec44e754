// Voids a sale, or takes its goods back line by line, never more than the sale sold.

import { t } from "../i18n.js";
import { returnable, takeBack, voidSale } from "../journal.js";
import { parseWeight, refundOf, yuan } from "../money.js";
import { refresh } from "../state.js";
import { soon } from "../sync.js";
import { ask, choice, field, figures, form, h, newDraft } from "./dom.js";
import { amount, title } from "./words.js";

const REASONS = ["entered_wrongly", "changed_mind", "quality", "other"];

function reasons() {
  return h("select", REASONS.map((code) => h("option", { value: code }, t(`reason.${code}`))));
}

function payments(sale) {
  const paid = sale.entry.payment;
  const hint = h("p.alert.alert-warning.mt-2.mb-0", { hidden: true }, t("refund.differs"));
  const how = choice(t("refund.how"), [["cash", t("pay.cash")], ["mobile", t("pay.mobile")]], paid,
    (to) => {
      hint.hidden = to === paid;
    });
  how.append(hint);
  return how;
}

async function shown(row) {
  if (!row) return;
  await refresh();
  soon();
  location.hash = `#/receipt/${row.key_id}/${row.number}`;
}

/** Void a whole sale. */
export async function askVoid(sale) {
  const draft = newDraft();
  const row = await ask(t("void"), (close) => {
    const reason = reasons();
    const how = payments(sale);
    return form(
      async () => close(await voidSale(draft, sale.key_id, sale.number, reason.value,
        how.value())),
      h("p.fs-5", t("void.sure", { amount: yuan(sale.entry.total_fen) })),
      h("p.text-body-secondary", t(sale.state === "new" ? "void.at_once" : "void.later")),
      field(t("reason"), reason), how,
      h("button.btn.btn-danger.btn-lg.w-100", { type: "submit" }, t("void.do")),
    );
  });
  await shown(row);
}

/** Take some or all of a sale's goods back. */
export async function askReturn(sale) {
  const draft = newDraft();
  const free = returnable(sale);
  const row = await ask(t("return"), (close) => {
    const reason = reasons();
    reason.value = "quality";
    const how = payments(sale);
    const total = h("p.till-total", yuan(0));
    const done = h("button.btn.btn-danger.btn-lg.w-100", { type: "submit", disabled: true },
      t("return.do"));
    const inputs = sale.entry.lines.filter((line) => free[line.line_no] > 0).map((line) => {
      const { unit } = sale.shown[line.line_no - 1];
      const input = figures("0", { maxLength: 9 });
      const restock = choice(t("return.what"), [["yes", t("return.restock")],
        ["no", t("return.spoiled")]], "yes");
      const all = h("button.btn.btn-outline-primary.btn-lg", { type: "button", onclick: () => {
        input.value = String(free[line.line_no]);
        look();
      } }, t("return.all"));
      input.addEventListener("input", () => look());
      return { line, input, restock, unit, all };
    });
    const goods = () => inputs.map(({ line, input, restock }) => ({
      line_no: line.line_no,
      quantity: parseWeight(input.value || "0", "g"),
      restock: restock.value() === "yes",
    }));
    const look = () => {
      const asked = goods();
      const right = asked.every(({ line_no, quantity }) =>
        quantity !== null && quantity <= free[line_no]);
      const some = asked.filter(({ quantity }) => quantity > 0);
      done.disabled = !right || some.length === 0;
      total.textContent = right
        ? yuan(some.reduce((sum, { line_no, quantity }) => sum + refundOf(
          sale.entry.lines[line_no - 1], sale.back[line_no] ?? 0, quantity), 0))
        : t("return.too_much");
    };
    return form(
      async () => close(await takeBack(draft, sale.key_id, sale.number,
        goods().filter(({ quantity }) => quantity > 0), reason.value, how.value())),
      inputs.map(({ line, input, restock, unit, all }) => h("fieldset.till-back",
        h("legend.h5", title(sale.shown[line.line_no - 1])),
        h("div.d-flex.gap-2.align-items-end",
          h("div.flex-fill", field(t(unit === "g" ? "return.grams" : "return.pieces",
            { amount: amount(free[line.line_no], unit) }), input)),
          h("div.mb-3", all)),
        restock)),
      field(t("reason"), reason), how, total, done,
    );
  });
  await shown(row);
}
