// The frame around every screen: the site and the clerk, the state of the connection, and problems.

import { moment, time, atCentre, day } from "../clock.js";
import { t, nameOf, languageOf, use, LANGUAGES } from "../i18n.js";
import { write } from "../db.js";
import { listen, now, refresh } from "../state.js";
import { whyClosed } from "../stock.js";
import { hasRoom } from "../storage.js";
import { h } from "./dom.js";
import * as enrolment from "./enrolment.js";
import * as journal from "./journal.js";
import * as order from "./order.js";
import * as parcels from "./parcels.js";
import * as receipt from "./receipt.js";
import * as sell from "./sell.js";
import * as settings from "./settings.js";
import * as shift from "./shift.js";
import * as status from "./status.js";
import * as stock from "./stock.js";

/** Address after # → screen; screens with a text `nav.<name>` are in the bar at the bottom. */
const SCREENS = { sell, journal, parcels, order, stock, shift, status, settings, receipt };
const BAR = ["sell", "journal", "parcels", "order", "stock", "shift", "status", "settings"];

let shown = null;
let main = null;

/** Show the till. */
export function start() {
  addEventListener("hashchange", show);
  listen(update);
  // The lease can end and the day can change while nobody touches the till.
  setInterval(() => update(now()), 30_000);
  show();
}

/** Whether the clerk is doing nothing: no dialog is open, the cart is empty. */
export function isIdle() {
  return document.querySelector("dialog[open]") === null && sell.isEmpty();
}

/** Show only why the till cannot start, and what to do. */
export function fail(reason) {
  document.querySelector("#till").replaceChildren(
    h("main.container.py-5", h("div.alert.alert-danger", { role: "alert" },
      h("h1.h4", t("title")), h("p.fs-5.mb-3", t(reason)),
      h("button.btn.btn-danger.btn-lg", { type: "button", onclick: () => location.reload() },
        t("reload")))),
  );
}

/** Choose the language for this device. */
export async function speak(language) {
  use(language);
  await write(["meta"], (tx) => tx.put("meta", language, "language"));
  await refresh();
  show();
}

/** A button for each language, in this language. */
export function languages() {
  return h("div.btn-group", { role: "group", "aria-label": t("language") },
    Object.entries(LANGUAGES).map(([code, name]) =>
      h("button.btn.btn-outline-secondary.till-big", { type: "button", lang: code,
        "aria-pressed": document.documentElement.lang === code,
        className: `btn till-big ${document.documentElement.lang === code
          ? "btn-secondary" : "btn-outline-secondary"}`,
        onclick: () => speak(code) }, name)));
}

/** Draw the whole page for the present address. */
export function show() {
  const root = document.querySelector("#till");
  const [, name, ...parts] = location.hash.split("/");
  main = h("main.container-fluid.till-main");
  if (!now().key) {
    root.replaceChildren(notices(), main);
    shown = enrolment.screen(main) ?? null;
    notice();
    return;
  }
  const screen = name in SCREENS ? name : "sell";
  root.replaceChildren(head(), notices(), main, bar(screen));
  scrollTo(0, 0);
  shown = SCREENS[screen].screen(main, parts.map(decodeURIComponent)) ?? null;
  notice();
}

let enrolled = null;

/** Redraw what depends on the snapshot, except the field in which the clerk types. */
function update(picture) {
  const id = picture.key?.key_id ?? null;
  if (enrolled !== id) {
    enrolled = id;
    show();
    return;
  }
  document.querySelector("#head")?.replaceWith(head());
  redrawBar();
  shown?.update?.(picture);
  notice();
}

function head() {
  const { key, unsent, contact, clock, trouble, shift: open } = now();
  const away = trouble !== null;
  const last = contact
    ? day(contact.at) === day(Date.now()) && clock
      ? time(atCentre(clock, contact.at))
      : moment(contact.at)
    : t("never");
  return h("header.till-head", { id: "head" },
    h("div.till-who",
      h("strong", { lang: languageOf(key.site.names) }, nameOf(key.site.names)),
      h("span.small.text-nowrap", `${key.device_code}${open ? ` · ${open.clerk}` : ""}`)),
    h("a.till-link", { href: "#/status", title: t("nav.status") },
      h(`span.till-dot.${away ? "till-dot-away" : "till-dot-there"}`, { "aria-hidden": "true" }),
      h("span", t("head.contact", { time: last })),
      h(`strong.badge.${unsent ? "text-bg-warning" : "text-bg-light"}`, { id: "unsent" },
        t("head.unsent", { n: unsent }))));
}

function bar(screen) {
  const { attention, parcels: waiting } = now();
  const counts = {
    status: attention.filter((item) => item.status === "disputed").length,
    parcels: waiting.filter((one) => !one.handed && !one.stopped).length,
  };
  const made = h("nav.till-bar", { "aria-label": t("nav") }, BAR.map((name) =>
    h("a", { href: `#/${name}`, "aria-current": name === screen ? "page" : null },
      t(`nav.${name}`),
      counts[name] ? h("span.badge.text-bg-warning.ms-1", String(counts[name])) : null)));
  made.dataset.screen = screen;
  made.dataset.counts = JSON.stringify(counts);
  return made;
}

/** Show the counts; they are redrawn only when they change, so that the focus stays. */
function redrawBar() {
  const old = document.querySelector(".till-bar");
  const fresh = old && bar(old.dataset.screen);
  if (fresh && fresh.dataset.counts !== old.dataset.counts) old.replaceWith(fresh);
}

function notices() {
  return h("div", { id: "notices", "aria-live": "polite" });
}

/** Say at the top what stops the till from selling, or makes it unsafe. */
async function notice() {
  const lines = [];
  if (!window.isSecureContext) lines.push(["danger", t("insecure")]);
  const picture = now();
  if (picture.key) {
    const closed = whyClosed(picture, Date.now());
    if (closed) lines.push(["danger", t(`refusal.${closed}`)]);
    if (!(await hasRoom())) lines.push(["danger", t("refusal.storage")]);
    const reason = picture.trouble?.reason;
    if (["key_refused", "key_replaced", "centre_older"].includes(reason)) {
      lines.push(["warning", t(`trouble.${reason}`)]);
    }
    if (picture.oldest && Date.now() - picture.oldest > 24 * 3600_000) {
      lines.push(["warning", t("old_unsent", { time: moment(picture.oldest) })]);
    }
  }
  const place = document.querySelector("#notices");
  const text = JSON.stringify(lines);
  if (!place || place.dataset.text === text) return;
  place.dataset.text = text;
  place.replaceChildren(...lines.map(([kind, line]) =>
    h(`p.alert.alert-${kind}.till-notice`, { role: kind === "danger" ? "alert" : null }, line)));
}
