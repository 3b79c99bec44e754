// The entries of a day, newest first.

import { atCentre, day, time } from "../clock.js";
import { t } from "../i18n.js";
import { drawerOf, nameOf } from "../journal.js";
import { yuan } from "../money.js";
import { now, rowsOfDay } from "../state.js";
import { h } from "./dom.js";
import { fenOf, standing } from "./words.js";

let chosen = null;

export function screen(main) {
  const today = () => {
    const { clock } = now();
    return day(clock ? atCentre(clock, Date.now()) : Date.now());
  };
  const date = h("input.form-control.form-control-lg", { type: "date", value: chosen ?? today(),
    "aria-label": t("journal.day") });
  const list = h("div");
  const update = async () => fill(list, await rowsOfDay(date.value));
  const move = (days) => {
    date.value = day(Date.parse(date.value) + days * 24 * 3600_000);
    changed();
  };
  const changed = () => {
    // "Today" follows the clock past midnight.
    chosen = date.value === today() ? null : date.value;
    return update();
  };
  date.addEventListener("change", changed);
  main.append(h("div.till-narrow",
    h("h1.h3", t("nav.journal")),
    h("div.input-group.mb-3",
      h("button.btn.btn-outline-secondary.till-big", { type: "button",
        "aria-label": t("journal.before"), onclick: () => move(-1) }, "‹"),
      date,
      h("button.btn.btn-outline-secondary.till-big", { type: "button",
        "aria-label": t("journal.after"), onclick: () => move(1) }, "›")),
    list));
  update();
  return { update };
}

function fill(place, rows) {
  if (rows.length === 0) {
    place.replaceChildren(h("p.till-empty.fs-5", t("journal.empty")));
    return;
  }
  const { keys, attention, clock } = now();
  const { cash, mobile } = drawerOf(rows);
  const byId = new Map(keys.map((key) => [key.key_id, key]));
  place.replaceChildren(
    h("p.fs-5", t("journal.sum", { cash: yuan(cash), mobile: yuan(mobile) })),
    h("div.list-group", rows.reverse().map((row) => {
      const key = byId.get(row.key_id);
      const [kind, state] = standing(row, key.current ? attention : []);
      const fen = fenOf(row);
      return h("a.list-group-item.list-group-item-action.till-row", {
        href: `#/receipt/${row.key_id}/${row.number}`,
      },
        h("div", h("div", h("strong", t(`receipt.${row.entry.kind}`)),
          row.voided_by ? h("span.badge.text-bg-secondary.ms-2", t("receipt.voided")) : null),
        h("small.text-body-secondary", `${time(clock ? atCentre(clock, row.at) : row.at)} · ${
          nameOf(key, row.number)}`)),
        h("div.text-end", fen === undefined ? null
          : h(row.voided_by ? "s" : "strong", yuan(fen)),
        h("div", h(`span.badge.text-bg-${kind}.text-wrap`, state))));
    })),
  );
}
