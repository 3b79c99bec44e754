// Language, storage, a new enrolment, and signing out, which is refused while entries are unsent.

import { forget } from "../db.js";
import { enrol, whyNotSignOut } from "../enrol.js";
import { t } from "../i18n.js";
import { now, refresh } from "../state.js";
import { run } from "../sync.js";
import { action, ask, confirmed, field, form, h, tell } from "./dom.js";
import { save } from "./export.js";
import { languages } from "./frame.js";

export function screen(main) {
  const { key } = now();
  main.append(h("div.till-narrow",
    h("h1.h3", t("nav.settings")),
    section("language", languages()),
    section("status.export", h("p", t("export.lead")),
      action("button.btn.btn-outline-primary.btn-lg", t("status.export"), save)),
    section("renew", h("p", t("renew.lead")),
      action("button.btn.btn-outline-primary.btn-lg", t("renew"), renew)),
    section("sign_out", h("p", t("sign_out.lead", { device: key.device_name })),
      action("button.btn.btn-outline-danger.btn-lg", t("sign_out"), signOut))));
  return null;
}

function section(name, ...children) {
  return h("section.card.card-body.mb-3", h("h2.h5", t(name)), h("div", children));
}

async function renew() {
  const { shift, restored } = now();
  // An old copy must not write any more: the copy that is in use closes the shift.
  if (shift && !restored) return tell(t("sign_out.shift"), "danger");
  await ask(t("renew"), (close) => {
    const code = h("input", { type: "text", autocomplete: "off", maxLength: 20, autofocus: true,
      placeholder: "ABCDE-FGHJK" });
    return form(
      async () => {
        if (!code.value.trim()) return code.focus();
        await enrol(code.value);
        close(true);
        location.hash = "#/shift";
        run();
      },
      field(t("enrol.code"), code, t("renew.hint")),
      h("button.btn.btn-danger.btn-lg.w-100", { type: "submit" }, t("enrol.do")),
    );
  });
}

async function signOut() {
  const hindered = await whyNotSignOut();
  if (hindered && hindered !== "exported") return tell(t(`sign_out.${hindered}`), "danger");
  const sure = t(hindered ? "sign_out.exported" : "sign_out.sure");
  if (!(await confirmed(t("sign_out"), sure, t("sign_out")))) return;
  // Checked again: another tab may have sold meanwhile.
  if ((await whyNotSignOut()) !== hindered) return tell(t("sign_out.unsent"), "danger");
  await forget();
  await refresh();
  location.hash = "";
}
