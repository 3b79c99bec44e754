// Telephone numbers: turns what people write into E.164, or refuses it with the reason. The centre
// has the same rule in `shared/runtime/phones.py`; tests run both with the same table of cases.

import { PLAN } from "./numbering.js";
import { normalised } from "./text.js";

const HOME = "86";
const TIBETAN = "༠༡༢༣༤༥༦༧༨༩";
const BETWEEN = "[ ().·\\-\\u2010-\\u2015\\u2212\\u30fc]";
const EXTENSION = /\d[ ;,(]*(?:ext|extn|extension|x|[#,;*]|转|轉|分机|分機|内线|內線)[ .:=]*\d+\D*$/i;
/** A Chinese subscriber's number with more digits after it: `010-65529988-801`. */
const DASHED = new RegExp(`(?:^|\\D)\\d{7,8}${BETWEEN}+\\d{1,6}${BETWEEN}*$`);
/** The North American form `1-800-356-9377`, which would be somebody's Chinese mobile number. */
const AMERICAN = new RegExp(`^1${BETWEEN}+\\d{3}${BETWEEN}+\\d{3}${BETWEEN}+\\d{4}$`);

/** Read a number: {phone}, or {problem}, which is "letters", "extension" or "unknown". */
export function readPhone(text) {
  const plain = normalised(normalised(text).normalize("NFKC"))
    .replace(/[༠-༩]/g, (figure) => TIBETAN.indexOf(figure));
  if (EXTENSION.test(plain)) return { problem: "extension" };
  const figures = plain.replace(new RegExp(BETWEEN, "g"), "");
  if (!/^\+?\d+$/.test(figures)) return { problem: "letters" };
  const phone = /^(\+|00)/.test(figures) ? abroad(figures.replace(/^\+?(00)?/, ""))
    : atHome(figures, plain);
  const home = !phone || phone.startsWith(`+${HOME}`);
  if (home && DASHED.test(plain) && !/^\+861[3-9]\d{9}$/.test(phone)) {
    return { problem: "extension" };
  }
  return phone ? { phone } : { problem: "unknown" };
}

function atHome(figures, plain) {
  if (AMERICAN.test(plain)) return null;
  return valid(HOME, figures) ?? valid(HOME, figures.replace(/^86/, ""));
}

function abroad(figures) {
  const code = [1, 2, 3].map((length) => figures.slice(0, length)).find((one) => PLAN[one]);
  return code ? valid(code, figures.slice(code.length)) : null;
}

/** The number in E.164 if it can exist, with or without the `0` for national calls. */
function valid(code, national) {
  const plan = new RegExp(`^(?:${PLAN[code]})$`);
  const digits = [national, national.replace(/^0/, "")].find((one) => plan.test(one));
  return digits === undefined ? null : `+${code}${digits}`;
}
