// An order for goods that are not on the shelf: the centre reserves and sends them.

import { current, gradeOf, LANGUAGES, t } from "../i18n.js";
import { takeOrder } from "../journal.js";
import { lineTotal, yuan } from "../money.js";
import { readPhone } from "../phones.js";
import { now, refresh } from "../state.js";
import { priceOf } from "../stock.js";
import { soon } from "../sync.js";
import { choice, field, form, h, named, newDraft, typed } from "./dom.js";
import { colourOf, signOf } from "./category.js";
import { amount, price, title } from "./words.js";

export function screen(main) {
  const { variants, clock, shift } = now();
  const offered = [...variants.values()]
    .map((variant) => [variant, clock && priceOf(variant, clock, Date.now())])
    .filter(([, cost]) => cost)
    .sort(([a], [b]) => a.category.localeCompare(b.category)
      || a.product_code.localeCompare(b.product_code));
  if (!shift || offered.length === 0) {
    main.append(h("div.till-narrow", h("h1.h3", t("nav.order")),
      h("p.till-empty.fs-5", t(shift ? "order.nothing" : "sell.no_shift"))));
    return null;
  }
  const draft = newDraft();
  const wanted = new Map();
  const total = h("p.till-total", yuan(0));
  const sum = () => [...wanted.values()].reduce((all, line) => all + line.total_fen, 0);
  const lines = h("div.list-group.mb-3", offered.map(([variant, cost]) => {
    const said = h("output.till-count", "0");
    const change = (packs) => {
      const before = wanted.get(variant.variant_id)?.packs ?? 0;
      const after = Math.max(0, before + packs);
      const quantity = after * variant.pack_quantity;
      if (after === 0) wanted.delete(variant.variant_id);
      else {
        wanted.set(variant.variant_id, { packs: after, quantity, variant,
          total_fen: lineTotal(quantity, cost.price_fen, cost.price_unit) });
      }
      said.textContent = after ? amount(quantity, variant.unit) : "0";
      total.textContent = yuan(sum());
    };
    const step = (packs, sign) => h("button.btn.btn-outline-primary.till-big", {
      type: "button", "aria-label": `${sign} ${title(variant)}`, onclick: () => change(packs),
    }, sign);
    return h("div.list-group-item.till-row.till-wrap",
      h("div.d-flex.gap-2.align-items-center",
        h(`span.till-sign.till-sign-small.${colourOf(variant.category)}`,
          { "aria-hidden": "true", lang: "zh" }, signOf(variant)),
        h("div", named(variant.names), variant.grade ? ` · ${gradeOf(variant.grade)}` : "",
          h("div.small.text-body-secondary", price(cost, variant.unit)))),
      h("div.till-step", step(-1, "−"), said, step(1, "+")));
  }));
  const name = h("input", { type: "text", maxLength: 100, autocomplete: "off" });
  const phone = h("input", { type: "tel", maxLength: 40, autocomplete: "off" });
  const address = h("textarea", { maxLength: 300, rows: 2, autocomplete: "off" });
  const language = h("select", Object.entries(LANGUAGES).map(([code, word]) =>
    h("option", { value: code, selected: code === current() }, word)));
  const addressField = field(t("order.address"), address);
  const payment = choice(t("pay.how"), [["cash_at_station", t("order.at_station")],
    ["cash_on_delivery", t("order.on_delivery")]], "cash_on_delivery");
  const how = choice(t("order.how"), [["deliver", t("order.deliver")],
    ["collect", t("order.collect")]], "deliver", (to) => {
    addressField.hidden = to === "collect";
  });
  const missing = h("p.text-danger", { role: "alert" });
  main.append(h("div.till-narrow", h("h1.h3", t("nav.order")), h("p", t("order.lead")),
    form(
      async () => {
        const deliver = how.value() === "deliver";
        const first = [name, phone, ...(deliver ? [address] : [])].find((one) =>
          !typed(one));
        const { problem } = readPhone(phone.value);
        if (wanted.size === 0) missing.textContent = t("order.none_chosen");
        else if (first) missing.textContent = t("order.missing");
        else if (problem) missing.textContent = t(`phone.${problem}`);
        else missing.textContent = "";
        if (missing.textContent) return (first ?? phone).focus();
        const chosen = [...wanted.values()];
        const row = await takeOrder(draft, {
          lines: chosen.map(({ variant, quantity }) => ({ variant_id: variant.variant_id,
            quantity })),
          collect: !deliver,
          payment_method: payment.value(),
          contact: {
            name: typed(name),
            phone: typed(phone),
            address: deliver ? typed(address) : null,
            language: language.value,
          },
        }, chosen.map(({ variant: { names, grade, unit }, total_fen }) => ({ names, grade, unit,
          total_fen })));
        await refresh();
        soon();
        location.hash = `#/receipt/${row.key_id}/${row.number}`;
      },
      lines, total, how, field(t("order.name"), name), field(t("order.phone"), phone),
      addressField, field(t("order.language"), language), payment,
      h("p.small.text-body-secondary", t("order.privacy")), missing,
      h("button.btn.btn-success.btn-lg.w-100", { type: "submit" }, t("order.do")),
    )));
  return null;
}
