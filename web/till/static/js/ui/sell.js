// The counter: what can be sold, the cart, and the payment.

import { gradeOf, t } from "../i18n.js";
import { sell } from "../journal.js";
import { lineTotal, yuan } from "../money.js";
import { now, refresh } from "../state.js";
import { inOrder, priceOf, remaining, whyStopped } from "../stock.js";
import { soon } from "../sync.js";
import { colourOf, signOf } from "./category.js";
import { confirmed, explain, h, named, newDraft, refill, tell } from "./dom.js";
import { askPayment } from "./payment.js";
import { askQuantity } from "./quantity.js";
import { amount, price, title } from "./words.js";

let cart = [];
let draft = null;
/** The enrolment whose allotments the cart takes from. */
let owner = null;

export function isEmpty() {
  return cart.length === 0;
}

export function screen(main) {
  const tiles = h("section.till-tiles", { "aria-label": t("nav.sell") });
  const basket = h("aside.till-cart", { "aria-label": t("cart") });
  const update = () => {
    const { key_id: id } = now().key;
    if (owner !== id) [owner, cart, draft] = [id, [], null];
    fillTiles(tiles);
    fillCart(basket);
  };
  const begun = h("div.till-sell", tiles, basket);
  main.append(begun);
  update();
  return { update };
}

function redraw() {
  fillTiles(document.querySelector(".till-tiles"));
  fillCart(document.querySelector(".till-cart"));
}

function held() {
  const sums = {};
  for (const item of cart) {
    sums[item.allotment_id] = (sums[item.allotment_id] ?? 0) + item.quantity;
  }
  return sums;
}

function fillTiles(place) {
  if (!place) return;
  const { variants, allotments, shift } = now();
  const mine = [...variants.values()]
    .map((variant) => [variant, inOrder(allotments, variant.variant_id)])
    .filter(([, lots]) => lots.length > 0)
    .sort(([a], [b]) => a.category.localeCompare(b.category)
      || a.product_code.localeCompare(b.product_code)
      || (a.grade ?? "").localeCompare(b.grade ?? ""));
  if (!shift) {
    place.replaceChildren(empty("sell.no_shift", "#/shift", "nav.shift"));
  } else if (mine.length === 0) {
    place.replaceChildren(empty("sell.nothing", "#/status", "nav.status"));
  } else {
    refill(place, ...mine.map(([variant, lots]) => tile(variant, lots)));
  }
}

function empty(text, href, label) {
  return h("div.till-empty", h("p.fs-5", t(text)),
    h("a.btn.btn-primary.btn-lg", { href }, t(label)));
}

function tile(variant, lots) {
  const { clock } = now();
  const moment = Date.now();
  const taken = held();
  const cost = clock && priceOf(variant, clock, moment);
  const stopped = lots.map((lot) => clock ? whyStopped(lot, clock, moment) : "no_contact");
  const left = lots.reduce((sum, lot, i) => stopped[i] ? sum
    : sum + remaining(lot) - (taken[lot.allotment_id] ?? 0), 0);
  const off = !cost ? t("sell.no_price") : left > 0 ? null
    : t(`stopped.${stopped.find((why) => why && why !== "sold_out") ?? "sold_out"}`);
  return h(`button.till-tile.${colourOf(variant.category)}`, {
    type: "button",
    id: `tile-${variant.variant_id}`,
    // Not disabled: a press says why the till cannot sell it.
    "aria-disabled": off ? "true" : null,
    onclick: () => (off ? tell(`${title(variant)}: ${off}`) : choose(variant, lots, cost)),
  },
    h("span.till-sign", { "aria-hidden": "true", lang: "zh" }, signOf(variant)),
    h("span.till-name", named(variant.names)),
    variant.grade ? h("span.till-grade", gradeOf(variant.grade)) : null,
    h("span.till-price", cost ? price(cost, variant.unit) : "—"),
    h("span.till-left", off ?? t("sell.left", { amount: amount(left, variant.unit) })));
}

async function choose(variant, lots, cost) {
  const parts = await askQuantity(variant, lots, held(), cost, now().clock);
  if (!parts) return;
  draft ??= newDraft();
  for (const { allotment, quantity } of parts) {
    const { allotment_id, lot_code, variant_id } = allotment;
    const same = cart.find((item) => item.allotment_id === allotment_id);
    if (same) same.quantity += quantity;
    else {
      const { names, grade, unit } = variant;
      const { price_fen, price_unit } = cost;
      cart.push({ variant_id, allotment_id, lot_code, quantity, price_fen, price_unit, names,
        grade, unit });
    }
  }
  redraw();
}

const totalOf = (item) => lineTotal(item.quantity, item.price_fen, item.price_unit);

function fillCart(place) {
  if (!place) return;
  place.hidden = cart.length === 0;
  if (place.hidden) return place.replaceChildren();
  const total = cart.reduce((sum, item) => sum + totalOf(item), 0);
  refill(place,
    h("div.d-flex.justify-content-between.align-items-center",
      h("h2.h5.mb-0", t("cart")),
      h("button.btn.btn-outline-danger.till-big", { type: "button", onclick: clear },
        t("cart.clear"))),
    h("ul.list-unstyled.till-items", cart.map((item) => h("li",
      h("div.flex-fill", h("div", title(item)),
        h("small.text-body-secondary", `${item.lot_code} · ${amount(item.quantity, item.unit)}`)),
      h("strong.text-nowrap", yuan(totalOf(item))),
      h("button.btn.btn-outline-secondary.till-big", { type: "button",
        id: `remove-${item.allotment_id}`, "aria-label": `${t("cart.remove")}: ${title(item)}`,
        onclick: () => {
          cart = cart.filter((other) => other !== item);
          redraw();
        } }, "✕")))),
    h("button.btn.btn-success.btn-lg.w-100.till-pay", { type: "button", id: "pay",
      onclick: () => pay(total) }, `${t("pay")} ${yuan(total)}`),
  );
}

async function clear() {
  if (!(await confirmed(t("cart.clear"), t("cart.clear_sure"), t("cart.clear")))) return;
  cart = [];
  draft = null;
  redraw();
}

async function pay(total) {
  const paid = await askPayment(t("pay"), total, async (payment) => {
    const row = await sell(draft, cart, payment);
    // The sale is on disk now, so the receipt may be shown.
    cart = [];
    draft = null;
    return row;
  });
  if (!paid) return;
  const { done: row, given } = paid;
  await refresh();
  soon();
  location.hash = `#/receipt/${row.key_id}/${row.number}/${given ?? ""}`;
}
