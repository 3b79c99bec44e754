// What is left of each lot, until when the till may sell it, and what the centre wants back.

import { moment } from "../clock.js";
import { gradeOf, t } from "../i18n.js";
import { parseWeight } from "../money.js";
import { giveBack } from "../returns.js";
import { now, refresh } from "../state.js";
import { remaining, whyStopped } from "../stock.js";
import { soon } from "../sync.js";
import { ask, field, figures, form, h, named, newDraft } from "./dom.js";
import { colourOf, signOf } from "./category.js";
import { amount, why } from "./words.js";

export function screen(main) {
  const list = h("div");
  main.append(h("div.till-narrow", h("h1.h3", t("nav.stock")), list));
  const update = () => fill(list);
  update();
  return { update };
}

function fill(place) {
  const { allotments, variants, returns, clock } = now();
  const open = allotments
    .filter((one) => one.open && variants.has(one.variant_id))
    .sort((a, b) => a.variant_id.localeCompare(b.variant_id)
      || a.lot_code.localeCompare(b.lot_code));
  place.replaceChildren(
    h("div.list-group.mb-3", open.map((one) => row(one, variants.get(one.variant_id), clock))),
    open.length ? "" : h("p.till-empty.fs-5", t("stock.none")),
    returns.length ? h("section", h("h2.h5", t("stock.returns")),
      h("ul.list-group", returns.map((one) => h("li.list-group-item",
        `${one.lot_code} · ${amount(one.quantity, variants.get(one.variant_id)?.unit ?? "g")} · `,
        h(`span.badge.text-wrap.text-bg-${one.state === "disputed" ? "danger" : "warning"}`,
          one.state === "disputed" ? `${t("state.disputed")}: ${why(one.reason)}`
            : t("state.unsent")))))) : "",
  );
}

function row(allotment, variant, clock) {
  const stopped = clock ? whyStopped(allotment, clock, Date.now()) : "no_contact";
  const left = remaining(allotment);
  const dates = [
    allotment.best_before && t("best_before", { date: allotment.best_before }),
    allotment.sell_by && t("sell_by", { date: allotment.sell_by }),
    allotment.lease_until && t("stock.lease",
      { time: moment(Date.parse(allotment.lease_until)) }),
  ].filter(Boolean);
  return h("div.list-group-item",
    h("div.till-row",
      h("div.d-flex.gap-2.align-items-center",
        h(`span.till-sign.till-sign-small.${colourOf(variant.category)}`,
          { "aria-hidden": "true", lang: "zh" }, signOf(variant)),
        h("div", h("strong", named(variant.names), variant.grade
          ? ` · ${gradeOf(variant.grade)}` : ""), h("div.small", allotment.lot_code))),
      h("div.text-end", h("strong.fs-4", amount(left, variant.unit)),
        h("div.small.text-body-secondary", t("stock.of",
          { amount: amount(allotment.granted - allotment.returned - allotment.written_off,
            variant.unit) })))),
    h("p.small.text-body-secondary.mb-2", dates.join(" · ")),
    stopped && stopped !== "sold_out" ? h("p.alert.alert-danger.py-2", t(`stopped.${stopped}`),
      allotment.reason ? ` (${why(allotment.reason)})` : "") : null,
    allotment.proposed_return ? h("p.alert.alert-warning.py-2", t("stock.proposed",
      { amount: amount(allotment.proposed_return, variant.unit) })) : null,
    left > 0 ? h("button.btn.btn-outline-primary.till-big", { type: "button",
      onclick: () => back(allotment, variant) }, t("stock.give_back")) : null);
}

async function back(allotment, variant) {
  const left = remaining(allotment);
  const draft = newDraft();
  const done = await ask(t("stock.give_back"), (close) => {
    const input = figures(String(Math.min(left, allotment.proposed_return || left)),
      { maxLength: 9, autofocus: true });
    const sure = h("button.btn.btn-danger.btn-lg.w-100", { type: "submit" },
      t("stock.give_back"));
    const look = () => {
      const q = parseWeight(input.value, "g");
      sure.disabled = !q || q > left;
    };
    input.addEventListener("input", look);
    look();
    return form(
      async () => close(await giveBack(draft, allotment.allotment_id,
        parseWeight(input.value, "g"))),
      h("p.fs-5", t("stock.give_back_sure")),
      field(t(variant.unit === "g" ? "return.grams" : "return.pieces",
        { amount: amount(left, variant.unit) }), input),
      sure,
    );
  });
  if (!done) return;
  await refresh();
  soon();
}
