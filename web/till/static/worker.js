// The till's service worker. It keeps one complete version of the page and answers from it, so that
// the till opens without a network. It never touches requests to the API.
//
// The server writes VERSION and FILES (address → SHA-256 in base64) before this text.

const CACHE = `till-${VERSION}`;
const PAGE = "/till/";

self.addEventListener("install", (event) => {
  // Where the browser supports static routes, calls to the API do not wake the worker. An idle
  // worker can also be replaced at once.
  event.addRoutes?.({ condition: { urlPattern: { pathname: "/api/*" } }, source: "network" });
  event.waitUntil(keep());
});

// The worker does not take over by itself: a page must not change while the clerk is selling. The
// page decides when (nothing is unsent, or it was just loaded).
self.addEventListener("message", (event) => {
  if (event.data === "take-over") self.skipWaiting();
});

self.addEventListener("activate", (event) => {
  event.waitUntil(
    (async () => {
      for (const name of await caches.keys()) {
        if (name.startsWith("till-") && name !== CACHE) await caches.delete(name);
      }
      await self.clients.claim();
    })(),
  );
});

self.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== "GET" || url.origin !== self.location.origin) return;
  const page = event.request.mode === "navigate" && url.pathname.startsWith("/till");
  const address = page ? PAGE : url.pathname;
  if (!(address in FILES)) return;
  event.respondWith(
    (async () => {
      const kept = await (await caches.open(CACHE)).match(address);
      return kept ?? fetch(event.request);
    })(),
  );
});

/**
 * Fetch every file and keep it. One file with a wrong digest makes the whole update fail.
 *
 * The browser asks the centre about each file that it has already, and does not load it again.
 */
async function keep() {
  const cache = await caches.open(CACHE);
  await Promise.all(
    Object.entries(FILES).map(async ([address, digest]) => {
      const answer = await fetch(address, { cache: "no-cache" });
      const content = await answer.clone().arrayBuffer();
      if (!answer.ok || (await digestOf(content)) !== digest) {
        throw new Error(`${address} is not what it should be`);
      }
      await cache.put(address, answer);
    }),
  );
}

async function digestOf(content) {
  const bytes = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  return btoa(String.fromCharCode(...bytes));
}
