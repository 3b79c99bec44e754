// The few elements of which all screens consist. Text is inserted as text, never as markup.

import { Refusal } from "../journal.js";
import { Away, Refused, newId } from "../api.js";
import { has, languageOf, nameOf, t } from "../i18n.js";
import { normalised } from "../text.js";

/** Make an element: `h("button.btn", {onclick}, "text", child)`; null children are left out. */
export function h(what, ...rest) {
  const [tag, ...classes] = what.split(".");
  const element = document.createElement(tag);
  if (classes.length) element.className = classes.join(" ");
  const given = rest[0];
  const plain = given && Object.getPrototypeOf(given) === Object.prototype;
  if (plain) {
    for (const [name, value] of Object.entries(rest.shift())) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (name in element && name !== "list") element[name] = value;
      else element.setAttribute(name, value === true ? "" : value);
    }
  }
  element.append(...rest.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

/** Replace the content of `place`; an element that is in the new content, too, keeps the focus. */
export function refill(place, ...children) {
  const focused = place.contains(document.activeElement) ? document.activeElement.id : "";
  place.replaceChildren(...children);
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
}

/** A product's name, marked with the language it is in. */
export function named(names) {
  return h("span", { lang: languageOf(names) }, nameOf(names));
}

/** A button whose second click is harmless: it is disabled while its work runs. */
export function action(what, label, work, more = {}) {
  const button = h(what, { type: "button", ...more, onclick: () => busy(button, work) }, label);
  return button;
}

/** Run `work` with `button` disabled; show a refusal together with what to do next. */
export async function busy(button, work) {
  if (button.disabled) return;
  button.disabled = true;
  try {
    await work();
  } catch (error) {
    await tell(explain(error), "danger");
  } finally {
    button.disabled = false;
  }
}

/** Why an action was refused, and what to do next. */
export function explain(error) {
  if (error instanceof Refusal) {
    const { names, grade, lot_code } = error.facts;
    const what = [names && nameOf(names), grade, lot_code].filter(Boolean).join(" ");
    return `${what && `${what}: `}${t(`refusal.${error.reason}`)}`;
  }
  if (error instanceof Away) return t("error.away");
  if (error instanceof Refused) {
    const known = `problem.${error.type}`;
    return has(known) ? t(known) : t("error.refused", { detail: error.message });
  }
  console.error(error);
  return t("error.other", { detail: error.message });
}

/**
 * Ask a question in a dialog; the promise resolves to the value given to `close(value)`, or
 * undefined.
 *
 * `fill(close)` returns the content. Escape and the cross close the dialog without a change.
 */
export function ask(title, fill) {
  return new Promise((resolve) => {
    let value;
    const close = (given) => {
      value = given;
      box.close();
    };
    const box = h(
      "dialog.till-dialog",
      { "aria-label": title },
      h("div.d-flex.justify-content-between.align-items-center.mb-3",
        h("h2.h4.mb-0", title),
        h("button.btn.btn-outline-secondary.till-big", { type: "button", "aria-label": t("close"),
          onclick: () => close() }, "✕")),
    );
    box.addEventListener("close", () => {
      box.remove();
      resolve(value);
    });
    box.append(...[fill(close)].flat());
    document.body.append(box);
    box.showModal();
    box.querySelector("[autofocus]")?.focus();
  });
}

/** Show a message that the clerk must read. */
export function tell(text, kind = "secondary") {
  return ask(t(kind === "danger" ? "told.refused" : "told.notice"), (close) => [
    h(`p.alert.alert-${kind}.fs-5`, { role: "alert" }, text),
    h("button.btn.btn-primary.btn-lg.w-100", { type: "button", autofocus: true,
      onclick: () => close() }, t("ok")),
  ]);
}

/** Ask before an action that cannot be undone. */
export function confirmed(title, text, yes) {
  return ask(title, (close) => [
    h("p.fs-5", text),
    h("div.d-flex.gap-2",
      h("button.btn.btn-outline-secondary.btn-lg.flex-fill", { type: "button", autofocus: true,
        onclick: () => close(false) }, t("cancel")),
      h("button.btn.btn-danger.btn-lg.flex-fill", { type: "button",
        onclick: () => close(true) }, yes)),
  ]);
}

/** A form whose Enter key does the same as its button. */
export function form(submit, ...children) {
  const made = h("form", { noValidate: true, autocomplete: "off" }, ...children);
  made.addEventListener("submit", (event) => {
    event.preventDefault();
    const button = made.querySelector("button[type=submit]");
    if (button) busy(button, submit);
  });
  return made;
}

let fields = 0;

/** A labelled field. */
export function field(label, input, hint = null) {
  fields += 1;
  input.id = `field-${fields}`;
  input.classList.add(input.tagName === "SELECT" ? "form-select" : "form-control");
  input.classList.add(input.tagName === "SELECT" ? "form-select-lg" : "form-control-lg");
  return h("div.mb-3", h("label.form-label", { htmlFor: input.id }, label), input,
    hint && h("div.form-text", hint));
}

/** A choice of a few values, as large buttons; `value()` returns the chosen one. */
export function choice(label, options, chosen, changed = () => {}) {
  fields += 1;
  const name = `choice-${fields}`;
  const group = h("fieldset.mb-3", h("legend.form-label.fs-6", label));
  const row = h("div.till-choice");
  for (const [value, text, off] of options) {
    const id = `${name}-${value}`;
    row.append(
      h("input.btn-check", { type: "radio", name, id, value, checked: value === chosen,
        disabled: Boolean(off), onchange: () => changed(value) }),
      h("label.btn.btn-outline-primary.btn-lg", { htmlFor: id }, text),
    );
  }
  group.append(row);
  group.value = () => row.querySelector("input:checked")?.value;
  return group;
}

/** A keypad of digits for a touch screen; it writes into `input` as a keyboard would. */
export function keypad(input, point = true) {
  const press = (key) => {
    if (key === "⌫") input.value = input.value.slice(0, -1);
    else if (key !== "." || !input.value.includes(".")) input.value += key;
    input.dispatchEvent(new Event("input"));
  };
  const keys = [..."123456789", point ? "." : "", "0", "⌫"];
  return h("div.till-keypad", keys.map((key) => h("button.btn.btn-light.border.fs-4", {
    type: "button", disabled: key === "", tabIndex: -1, onclick: () => press(key),
    "aria-label": key === "⌫" ? t("delete_figure") : key }, key)));
}

/** An input for digits. On a touch screen the keypad replaces the system's keyboard. */
export function figures(value = "", more = {}) {
  const touch = matchMedia("(pointer: coarse)").matches;
  return h("input", { type: "text", inputMode: touch ? "none" : "decimal", value, ...more });
}

/** The text of an input in its stored form; "" if nothing is visible. */
export const typed = (input) => normalised(input.value);

/** An id for one action of the clerk: the same action twice is written once. */
export const newDraft = newId;
