// Payment at the counter: cash with its change, or mobile payment.

import { t } from "../i18n.js";
import { parseYuan, yuan } from "../money.js";
import { ask, choice, figures, form, h, keypad } from "./dom.js";

/** Notes that buyers hand over, in fen. */
const NOTES = [1000, 2000, 5000, 10000];

/**
 * Ask how the buyer pays `due` fen and run `work`; {done, given}, or undefined if cancelled.
 *
 * The dialog stays open when `work(payment)` is refused, so nothing that the clerk typed is lost.
 */
export function askPayment(title, due, work) {
  return ask(title, (close) => {
    let payment = "cash";
    const given = figures("", { maxLength: 10, "aria-label": t("pay.given"),
      className: "form-control form-control-lg text-end fs-3", placeholder: yuan(due) });
    const change = h("p.fs-4.till-said", { role: "status" });
    const done = h("button.btn.btn-success.btn-lg.w-100", { type: "submit", autofocus: true },
      t("pay.done"));
    const amount = () => (given.value.trim() ? parseYuan(given.value) : due);
    const look = () => {
      const cash = payment === "cash";
      entry.hidden = !cash;
      mobile.hidden = cash;
      const fen = amount();
      const enough = !cash || (fen !== null && fen >= due);
      done.disabled = !enough;
      change.classList.toggle("text-danger", !enough);
      if (fen === null) change.textContent = t("amount.wrong");
      else if (fen < due) change.textContent = t("pay.short", { amount: yuan(due - fen) });
      else change.textContent = t("pay.change", { amount: yuan(fen - due) });
    };
    given.addEventListener("input", look);
    const round = NOTES.map((note) => Math.ceil(due / note) * note);
    const quick = [...new Set([due, ...round])].map((fen) => h(
      "button.btn.btn-outline-primary.btn-lg", { type: "button", onclick: () => {
        given.value = (fen / 100).toFixed(2);
        look();
      } }, yuan(fen)));
    const entry = h("div.till-entry",
      h("div", h("label.form-label.w-100", t("pay.given"), given), change,
        h("div.till-choice.mb-3", quick)),
      keypad(given));
    const mobile = h("p.alert.alert-info.fs-5", t("pay.mobile_check"));
    look();
    return form(
      async () => {
        const result = await work(payment);
        close({ done: result, given: payment === "cash" && given.value ? amount() : null });
      },
      h("p.till-total", yuan(due)),
      choice(t("pay.how"), [["cash", t("pay.cash")], ["mobile", t("pay.mobile")]], payment,
        (to) => {
          payment = to;
          look();
        }),
      entry, mobile, done,
    );
  });
}
