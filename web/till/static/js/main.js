// The till starts here: the database, the worker, the language, then the screens.

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
  // Without a place to keep sales there is no till: better no page than one that forgets.
  console.error(error);
  fail("lost.refused");
  throw error;
}
if (now().language) use(now().language);
start();
begin();
register();
await askToKeep();
