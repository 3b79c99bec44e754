// For a station that gets no link: unsent entries as a file, which the centre can import.

import { day } from "../clock.js";
import { t } from "../i18n.js";
import { refresh } from "../state.js";
import { exported } from "../upload.js";
import { h, tell } from "./dom.js";

/** Save unsent entries as files. They stay unsent until the centre answers. */
export async function save() {
  const files = await exported();
  if (files.length === 0) return tell(t("export.none"));
  for (const { key, first, content } of files) {
    const blob = new Blob([JSON.stringify(content, null, 1)], { type: "application/json" });
    const href = URL.createObjectURL(blob);
    const name = `till-${key.device_code}-${key.epoch}-${first}-${day(Date.now())}.json`;
    h("a", { href, download: name }).click();
    // By then the browser has its own copy.
    setTimeout(() => URL.revokeObjectURL(href), 60_000);
  }
  await refresh();
  return tell(t("export.done"));
}
