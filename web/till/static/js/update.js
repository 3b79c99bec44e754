// A newer till: it takes over only while nothing is unsent and nothing is being done, or when the
// page has just been loaded. Until then the old one goes on, whole.

import { listen, now } from "./state.js";
import { isIdle } from "./ui/frame.js";

/** Milliseconds between looks for a newer till. */
const LOOK = 30 * 60_000;

/** Milliseconds until a newer till is asked once more to take over. */
const AGAIN = 10_000;

let registration = null;
let again = null;

/** Register the worker that lets the till open without a network. */
export async function register() {
  // Absent on plain http and where the browser stores nothing; the banner says so.
  if (!navigator.serviceWorker) return;
  let controlled = Boolean(navigator.serviceWorker.controller);
  navigator.serviceWorker.addEventListener("controllerchange", () => {
    // The first worker takes over what it is already: nothing changes. A newer one does.
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
  // Just loaded: nothing is being done yet, whatever is unsent.
  registration.waiting?.postMessage("take-over");
  registration.addEventListener("updatefound", () => {
    registration.installing?.addEventListener("statechange", offer);
  });
  listen(offer);
  setInterval(() => registration.update().catch(() => {}), LOOK);
}

/** Whether the till would open now with the network gone. */
export async function isKept() {
  return Boolean((await navigator.serviceWorker?.getRegistration("/till/"))?.active);
}

function offer() {
  if (!registration?.waiting || now().unsent > 0 || !isIdle()) return;
  registration.waiting.postMessage("take-over");
  // The browser waits until the old worker rests, half a minute at most.
  clearTimeout(again);
  again = setTimeout(offer, AGAIN);
}
