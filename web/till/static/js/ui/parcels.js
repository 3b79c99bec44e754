// Parcels that wait at this site: each is handed out by its code, or without a code by a name.

import { t } from "../i18n.js";
import { handOver } from "../journal.js";
import { parseYuan, yuan } from "../money.js";
import { TRIES, tryCode } from "../parcels.js";
import { now, refresh } from "../state.js";
import { soon } from "../sync.js";
import { ask, choice, field, figures, form, h, newDraft, tell, typed } from "./dom.js";
import { moment } from "../clock.js";

export function screen(main) {
  const list = h("div");
  main.append(h("div.till-narrow", h("h1.h3", t("nav.parcels")), list));
  const update = () => fill(list);
  update();
  return { update };
}

function fill(place) {
  const { parcels, shift } = now();
  const waiting = parcels.filter((one) => !one.handed);
  if (waiting.length === 0) {
    place.replaceChildren(h("p.till-empty.fs-5", t("parcels.none")));
    return;
  }
  place.replaceChildren(
    shift ? "" : h("p.alert.alert-warning", t("refusal.no_shift")),
    h("div.list-group", waiting.map((parcel) => parcel.stopped ? stopped(parcel) : h(
      "button.list-group-item.list-group-item-action.till-row", { type: "button",
        onclick: () => give(parcel) },
      h("div", h("strong", parcel.shipment_ref),
        h("div.small.text-body-secondary", [parcel.order_ref, parcel.arrived_at
          && t("parcels.since", { time: moment(Date.parse(parcel.arrived_at)) })]
          .filter(Boolean).join(" · "))),
      h("div.text-end", parcel.due_fen ? h("strong", t("parcels.due",
        { amount: yuan(parcel.due_fen) })) : h("span.text-body-secondary", t("parcels.paid")))))),
  );
}

/** A parcel that the clerk must not hand out: one of its lots is held or recalled. */
function stopped(parcel) {
  const lots = parcel.lots.join(", ");
  return h("div.list-group-item.till-row",
    h("div", h("strong", parcel.shipment_ref),
      h("div.small.text-body-secondary", parcel.order_ref)),
    h("div.text-danger", t(parcel.stopped === "held" ? "parcels.held" : "parcels.recalled",
      { lots })));
}

async function give(parcel) {
  const draft = newDraft();
  const row = await ask(`${t("parcels.give")} ${parcel.shipment_ref}`, (close) => {
    // Without a secure context browsers cannot compute a digest: then the name alone decides.
    const codes = Boolean(parcel.code_digest && window.crypto.subtle) && parcel.tries < TRIES
      && !parcel.code_locked;
    let how = codes ? "code" : "name";
    const code = h("input", { type: "text", inputMode: "numeric", maxLength: 6,
      autocomplete: "off", autofocus: true });
    // A Chinese keyboard may write full-width digits.
    const shown = () => typed(code).normalize("NFKC");
    const name = h("input", { type: "text", maxLength: 100 });
    const taken = figures((parcel.due_fen / 100).toFixed(2), { maxLength: 10 });
    const why = h("input", { type: "text", maxLength: 200 });
    const byCode = field(t("parcels.code"), code, t("parcels.code_hint"));
    const byName = field(t("parcels.name"), name, t("parcels.name_hint"));
    const whyField = field(t("parcels.difference"), why);
    const money = choice(t("pay.how"), [["cash", t("pay.cash")], ["mobile", t("pay.mobile")]],
      "cash");
    const look = () => {
      byCode.hidden = how !== "code";
      byName.hidden = how !== "name";
      whyField.hidden = parseYuan(taken.value) === parcel.due_fen;
    };
    taken.addEventListener("input", look);
    look();
    return form(
      async () => {
        const collected = parseYuan(taken.value);
        if (collected === null) return tell(t("amount.wrong"), "danger");
        if (collected !== parcel.due_fen && !typed(why)) return why.focus();
        if (how === "name" && !typed(name)) return name.focus();
        if (how === "code") {
          if (!/^\d{6}$/.test(shown())) return tell(t("parcels.six"), "danger");
          const left = await tryCode(parcel.shipment_id, shown());
          if (left !== null) {
            await refresh();
            code.value = "";
            return tell(left ? t("parcels.wrong", { n: left }) : t("parcels.locked"), "danger");
          }
        }
        close(await handOver(draft, parcel, {
          code: how === "code" ? shown() : null,
          received_by: how === "name" ? typed(name) : null,
          collected_fen: collected,
          payment: money.value(),
          difference_reason: collected === parcel.due_fen ? null : typed(why),
        }));
      },
      choice(t("parcels.shown"), [["code", t("parcels.by_code"), !codes],
        ["name", t("parcels.by_name")]], how, (to) => {
        how = to;
        look();
      }),
      codes ? null : h("p.alert.alert-warning", t("parcels.locked")),
      byCode, byName,
      h("p.fs-5", parcel.due_fen ? t("parcels.due", { amount: yuan(parcel.due_fen) })
        : t("parcels.paid")),
      parcel.due_fen ? [field(t("parcels.taken"), taken), whyField, money] : null,
      h("button.btn.btn-success.btn-lg.w-100", { type: "submit" }, t("parcels.give")),
    );
  });
  if (!row) return;
  await refresh();
  soon();
  location.hash = `#/receipt/${row.key_id}/${row.number}`;
}
