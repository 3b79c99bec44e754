// A newer version of the till takes over only while nothing is unsent and the clerk is doing
// nothing, or when the page has just been loaded. Until then the complete old version goes on.

import { listen, now } from "./state.js";
import { isIdle } from "./ui/frame.js";

/** Milliseconds between checks for a newer version. */
const LOOK = 30 * 60_000;

/** Milliseconds until the page asks a newer version again to take over. */
const AGAIN = 10_000;

let registration = null;
let again = null;

/** Register the worker that lets the till open without a network. */
export async function register() {
  // Missing on plain http, and in browsers that store nothing; the banner says so.
  if (!navigator.serviceWorker) return;
  let controlled = Boolean(navigator.serviceWorker.controller);
  navigator.serviceWorker.addEventListener("controllerchange", () => {
    // The first worker has the same version as the page: nothing changes. A newer one changes it.
    if (controlled) location.reload();
    controlled = true;
  });
  try {
    registration = await navigator.serviceWorker.register("/till/sw.js", {
      scope: "/till/",
      updateViaCache: "none",
    });
  } catch (error) {
    console.warn("no worker", error);
    return;
  }
  // The page was just loaded: the clerk is doing nothing yet, even if entries are unsent.
  registration.waiting?.postMessage("take-over");
  registration.addEventListener("updatefound", () => {
    registration.installing?.addEventListener("statechange", offer);
  });
  listen(offer);
  setInterval(() => registration.update().catch(() => {}), LOOK);
}

/** Whether the till would open now without a network. */
export async function isKept() {
  return Boolean((await navigator.serviceWorker?.getRegistration("/till/"))?.active);
}

function offer() {
  if (!registration?.waiting || now().unsent > 0 || !isIdle()) return;
  registration.waiting.postMessage("take-over");
  // The browser waits until the old worker is idle, half a minute at most.
  clearTimeout(again);
  again = setTimeout(offer, AGAIN);
}
