// The state of the connection: which entries are unsent, since when, why, and what to do.

import { atCentre, moment, ranBackwards } from "../clock.js";
import { t } from "../i18n.js";
import { nameOf } from "../journal.js";
import { now } from "../state.js";
import { askToKeep, report } from "../storage.js";
import { runAgain, VERSION } from "../sync.js";
import { isKept } from "../update.js";
import { action, h } from "./dom.js";
import { save } from "./export.js";
import { known, why } from "./words.js";

export function screen(main) {
  const place = h("div");
  const keep = action("button.btn.btn-outline-primary.btn-lg", t("status.persist"), async () => {
    await askToKeep();
    await update();
  });
  const update = () => fill(place, keep);
  // The buttons are not redrawn with the rest: a button whose work runs must stay disabled.
  main.append(h("div.till-narrow",
    h("h1.h3", t("nav.status")),
    h("div.till-actions.mb-3",
      action("button.btn.btn-primary.btn-lg", t("status.sync"), runAgain),
      action("button.btn.btn-outline-primary.btn-lg", t("status.export"), save),
      keep),
    place));
  update();
  return { update };
}

async function fill(place, keep) {
  const [storage, kept] = [await report(), await isKept()];
  const { key, unsent, oldest, contact, clock, trouble, attention, returns, tried } = now();
  const rows = [
    ["status.unsent", h("strong", { id: "status-unsent" }, String(unsent)), unsent > 0],
    ["status.oldest", oldest === null ? "—" : moment(oldest), false],
    ["status.contact", contact ? moment(atCentre(clock, contact.at)) : t("never"), !contact],
    ["status.tried", tried ? moment(tried) : "—", false],
    ["status.trouble", trouble ? t(`trouble.${trouble.reason}`, trouble) : t("status.well"),
      Boolean(trouble)],
    ["status.lease", contact ? moment(Date.parse(contact.lease_until)) : "—", false],
    ["status.clock", clockText(clock), clock !== null && (ranBackwards(clock, Date.now())
      || Math.abs(clock.offset) > 5 * 60_000)],
    ["status.offline", t(kept ? "yes" : "status.not_offline"), !kept],
    ["status.persisted", t({ true: "yes", false: "status.not_persisted",
      null: "status.persist_unknown" }[storage.persisted]), storage.persisted !== true],
    ["status.room", storage.quota === null ? "—" : t("status.room_of", {
      used: (storage.usage / 1e6).toFixed(1), quota: (storage.quota / 1e6).toFixed(0) }), false],
    ["status.device", `${nameOf(key, key.last_number)} · ${key.device_name} · ${VERSION}`, false],
  ];
  const asked = attention.filter((item) => item.status === "disputed");
  const refused = returns.filter((one) => one.state === "disputed");
  keep.hidden = storage.persisted !== false;
  place.replaceChildren(
    h("dl.card.card-body.mb-3", rows.map(([name, value, bad]) => h("div.till-pair",
      h("dt.fw-normal.text-body-secondary", t(name)),
      h(`dd.mb-0.text-end${bad ? ".text-danger-emphasis.fw-bold" : ""}`, value)))),
    h("h2.h5", t("attention")),
    asked.length + refused.length === 0 ? h("p.text-body-secondary", t("attention.none"))
      : h("p", t("attention.lead")),
    h("ul.list-group", asked.map((item) => h("li.list-group-item",
      h("a", { href: `#/receipt/${key.key_id}/${item.number}` }, nameOf(key, item.number)),
      ` · ${t(`receipt.${item.kind}`)}`, h("div.text-danger-emphasis", why(item.reason)),
      item.detail && !known(item.reason) ? h("div.small.text-body-secondary", item.detail) : null)),
    refused.map((one) => h("li.list-group-item", `${t("stock.returns")} · ${one.lot_code}`,
      h("div.text-danger-emphasis", why(one.reason))))),
  );
}

function clockText(clock) {
  if (!clock) return "—";
  if (ranBackwards(clock, Date.now())) return t("refusal.clock");
  const minutes = Math.round(clock.offset / 60_000);
  if (minutes === 0) return t("status.clock_right");
  return t(minutes > 0 ? "status.clock_slow" : "status.clock_fast", { n: Math.abs(minutes) });
}
