// The till starts here: with the database, the worker, the language, then the screens.

import * as db from "./db.js";
import { preferred, use } from "./i18n.js";
import { now, refresh } from "./state.js";
import { askToKeep, holdReserve } from "./storage.js";
import { begin } from "./sync.js";
import { fail, start } from "./ui/frame.js";
import { register } from "./update.js";

use(preferred());
db.whenLost((how) => fail(`lost.${how}`));
try {
  await db.open();
  await holdReserve();
  await refresh(false);
} catch (error) {
  // A till that cannot store sales must not start: no page is better than one that forgets them.
  console.error(error);
  fail("lost.refused");
  throw error;
}
if (now().language) use(now().language);
start();
begin();
register();
await askToKeep();
