// Making this browser a till, with a code from the centre.

import { enrol } from "../enrol.js";
import { t } from "../i18n.js";
import { run } from "../sync.js";
import { field, form, h } from "./dom.js";
import { languages } from "./frame.js";

export function screen(main) {
  const code = h("input", { type: "text", autocomplete: "off", autocapitalize: "characters",
    spellcheck: false, maxLength: 20, placeholder: "ABCDE-FGHJK", autofocus: true });
  main.append(
    h("div.till-narrow.py-4",
      h("div.mb-4.text-end", languages()),
      h("h1.h2", t("title")),
      h("p.fs-5", t("enrol.lead")),
      form(
        async () => {
          if (!code.value.trim()) return code.focus();
          await enrol(code.value);
          location.hash = "#/shift";
          run();
        },
        field(t("enrol.code"), code, t("enrol.hint")),
        h("button.btn.btn-success.btn-lg.w-100", { type: "submit" }, t("enrol.do")),
      )),
  );
}
