// A shift: the clerk opens it with the cash in the drawer, and closes it with a count.

import { moment } from "../clock.js";
import { t } from "../i18n.js";
import { closeShift, drawerOf, openShift } from "../journal.js";
import { parseYuan, yuan } from "../money.js";
import { now, refresh, rowsOfShift } from "../state.js";
import { soon } from "../sync.js";
import { ask, field, figures, form, h, newDraft, typed } from "./dom.js";

/** Notes and coins, in fen. */
const CASH = [10000, 5000, 2000, 1000, 500, 100, 50, 10];

export function screen(main) {
  const place = h("div.till-narrow");
  main.append(place);
  let open = null;
  const update = async (picture = now()) => {
    // The form of a new shift is not redrawn while the clerk fills it in.
    if (open !== null && open === (picture.shift?.number ?? 0) && open === 0) return;
    open = picture.shift?.number ?? 0;
    await (picture.shift ? running(place, picture) : opening(place));
  };
  update();
  return { update };
}

function opening(place) {
  const draft = newDraft();
  const clerk = h("input", { type: "text", maxLength: 60, autocomplete: "off", autofocus: true });
  const cash = figures("0.00", { maxLength: 10 });
  const wrong = h("p.text-danger", { role: "alert" });
  place.replaceChildren(
    h("h1.h3", t("shift.open")),
    form(
      async () => {
        const fen = parseYuan(cash.value);
        wrong.textContent = fen === null ? t("amount.wrong") : "";
        if (!typed(clerk)) return clerk.focus();
        if (fen === null) return cash.focus();
        await openShift(draft, typed(clerk), fen);
        await refresh();
        soon();
        location.hash = "#/sell";
      },
      field(t("shift.clerk"), clerk, t("shift.clerk_hint")),
      field(t("shift.float"), cash, t("shift.float_hint")),
      wrong,
      h("button.btn.btn-success.btn-lg.w-100", { type: "submit" }, t("shift.open")),
    ));
}

function lines(sums, float) {
  return [
    ["shift.float", float],
    ["shift.sales", sums.sales],
    ["shift.collected", sums.collected],
    ["shift.refunds", sums.refunds],
  ].map(([name, fen]) => h("div.till-pair", h("span", t(name)), h("span", yuan(fen))));
}

async function running(place, { shift, unsent, clock }) {
  const rows = await rowsOfShift(shift);
  const sums = drawerOf(rows);
  const sales = rows.filter(({ entry }) => entry.kind === "sale" && !entry.voided).length;
  place.replaceChildren(
    h("h1.h3", t("shift.running", { clerk: shift.clerk })),
    h("p", t("shift.since", { time: moment(shift.opened + (clock?.offset ?? 0)) })),
    h("div.card.card-body.mb-3",
      lines(sums, shift.float_fen),
      h("hr"),
      h("div.till-pair", h("strong", t("shift.expected")),
        h("strong.fs-4", yuan(shift.float_fen + sums.cash))),
      h("div.till-pair", h("span", t("shift.mobile")), h("span", yuan(sums.mobile))),
      h("div.till-pair", h("span", t("shift.count")), h("span", String(sales))),
      h("div.till-pair", h("span", t("status.unsent")), h("span", String(unsent)))),
    h("button.btn.btn-primary.btn-lg.w-100", { type: "button",
      onclick: () => close(shift, unsent) }, t("shift.close")));
}

async function close(shift, unsent) {
  const draft = newDraft();
  const sums = drawerOf(await rowsOfShift(shift));
  const expected = shift.float_fen + sums.cash;
  const row = await ask(t("shift.close"), (done) => {
    const total = figures("", { maxLength: 12, autofocus: true });
    const note = h("input", { type: "text", maxLength: 200 });
    const said = h("p.fs-5.till-said", { role: "status" });
    const end = h("button.btn.btn-danger.btn-lg.w-100", { type: "submit", disabled: true },
      t("shift.close"));
    const look = () => {
      const fen = parseYuan(total.value);
      end.disabled = fen === null;
      if (fen === null) said.textContent = total.value ? t("amount.wrong") : "";
      else if (fen === expected) said.textContent = t("shift.agrees");
      else said.textContent = `${t("shift.difference")}: ${yuan(fen - expected)}`;
      said.classList.toggle("text-danger", fen !== null && fen !== expected);
    };
    const counts = CASH.map((fen) => {
      const input = h("input.form-control", { type: "text", inputMode: "numeric", maxLength: 5,
        "aria-label": `${t("shift.how_many")} ${yuan(fen)}` });
      input.addEventListener("input", () => {
        const sum = counts.reduce((all, one) => all + one.fen * (parseInt(one.input.value, 10)
          || 0), 0);
        total.value = (sum / 100).toFixed(2);
        look();
      });
      return { fen, input };
    });
    total.addEventListener("input", look);
    return form(
      async () => done(await closeShift(draft, parseYuan(total.value),
        typed(note) || null, expected)),
      h("div.till-pair.fs-5", h("span", t("shift.expected")), h("strong", yuan(expected))),
      h("details.mb-3", h("summary.btn.btn-outline-secondary.till-big", t("shift.by_notes")),
        h("div.till-notes.mt-2", counts.map(({ fen, input }) =>
          h("label", h("span", `${yuan(fen)} ×`), input)))),
      field(t("shift.counted"), total), said,
      field(t("shift.note"), note),
      unsent ? h("p.alert.alert-warning", t("shift.unsent", { n: unsent })) : null,
      end,
    );
  });
  if (!row) return;
  await refresh();
  soon();
  location.hash = `#/receipt/${row.key_id}/${row.number}`;
}
