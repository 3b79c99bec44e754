// Asks for a quantity and the lot: a weight in g, kg or jin, or pieces.

import { t } from "../i18n.js";
import { lineTotal, parseWeight, yuan } from "../money.js";
import { divide, remaining, whyStopped } from "../stock.js";
import { ask, choice, figures, form, h, keypad } from "./dom.js";
import { amount, price, title, weights } from "./words.js";

/**
 * Ask how much of a variant; the promise resolves to [{allotment, quantity}], or undefined.
 *
 * `lots` are in order of expiry; `held` is how much of each is already in the cart.
 */
export function askQuantity(variant, lots, held, cost, clock) {
  const free = (lot) => remaining(lot) - (held[lot.allotment_id] ?? 0);
  const open = lots.filter((lot) => whyStopped(lot, clock, Date.now()) === null && free(lot) > 0);
  return ask(title(variant), (close) => {
    const weighed = variant.unit === "g";
    let unit = "g";
    let from = "auto";
    const input = figures("", { autofocus: true, maxLength: 10,
      className: "form-control form-control-lg text-end fs-3", "aria-label": t("quantity") });
    const said = h("p.fs-5.mb-2.till-said", { role: "status" });
    const add = h("button.btn.btn-success.btn-lg.w-100", { type: "submit", disabled: true },
      t("sell.add"));
    const chosen = () => (from === "auto" ? open : open.filter((lot) => lot.lot_id === from));
    const quantity = () => (weighed
      ? parseWeight(input.value, unit)
      : parseWeight(input.value, "g"));
    const parts = () => (quantity() ? divide(chosen(), quantity(), held) : null);
    const look = () => {
      const q = quantity();
      const there = chosen().reduce((sum, lot) => sum + free(lot), 0);
      add.disabled = parts() === null;
      said.classList.toggle("text-danger", q !== null && q > there);
      if (q === null || q === 0) {
        said.textContent = input.value ? t("quantity.wrong") : t("sell.left",
          { amount: amount(there, variant.unit) });
      } else if (q > there) {
        said.textContent = t("quantity.more", { amount: amount(there, variant.unit) });
      } else {
        const total = yuan(lineTotal(q, cost.price_fen, cost.price_unit));
        said.textContent = `${weighed ? weights(q) : amount(q, variant.unit)} · ${total}`;
      }
    };
    input.addEventListener("input", look);
    const put = (q) => {
      input.value = weighed && unit !== "g" ? String(q / (unit === "kg" ? 1000 : 500)) : String(q);
      look();
    };
    const packs = [1, 2, 5, 10].map((n) => n * variant.pack_quantity);
    const units = weighed && choice(t("unit"), [["g", "g"], ["kg", "kg"], ["jin", t("unit.jin")]],
      unit, (to) => {
        unit = to;
        input.value = "";
        input.focus();
        look();
      });
    const lotChoice = choice(t("sell.lot"), [
      ["auto", t("sell.lot_first")],
      ...lots.map((lot) => [lot.lot_id, lotLabel(lot, free(lot), variant, clock),
        !open.includes(lot)]),
    ], "auto", (to) => {
      from = to;
      look();
    });
    look();
    return form(
      () => {
        const made = parts();
        if (made) close(made);
      },
      h("p.text-body-secondary.fs-5.mb-2", price(cost, variant.unit)),
      h("div.till-entry",
        h("div", input, said, units || null,
          h("div.till-choice.mb-3", packs.map((q) => h("button.btn.btn-outline-primary.btn-lg",
            { type: "button", onclick: () => put(q) }, amount(q, variant.unit)))),
          lots.length > 1 || open.length === 0 ? lotChoice : lotLine(lots[0], variant)),
        keypad(input, weighed)),
      add,
    );
  });
}

function lotLabel(lot, free, variant, clock) {
  const stopped = whyStopped(lot, clock, Date.now());
  const state = stopped ? t(`stopped.${stopped}`) : t("sell.left",
    { amount: amount(free, variant.unit) });
  return h("span", lot.lot_code, h("br"), h("small", [
    lot.best_before && t("best_before", { date: lot.best_before }), state,
  ].filter(Boolean).join(" · ")));
}

function lotLine(lot) {
  return h("p.text-body-secondary", [lot.lot_code, lot.best_before && t("best_before",
    { date: lot.best_before })].filter(Boolean).join(" · "));
}
