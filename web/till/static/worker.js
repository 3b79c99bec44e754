// The till's service worker: it keeps one whole version of the page and answers from it, so that
// the till opens with the network gone. Requests to the API are never touched.
//
// VERSION and FILES (address → SHA-256 in base64) are written before this text by the server.

const CACHE = `till-${VERSION}`;
const PAGE = "/till/";

self.addEventListener("install", (event) => {
  // Calls to the API need not even wake the worker, where the browser knows such routes. A worker
  // that rests can also be replaced at once.
  event.addRoutes?.({ condition: { urlPattern: { pathname: "/api/*" } }, source: "network" });
  event.waitUntil(keep());
});

// Not by itself: a page that is selling must not change under the clerk's hands. The page says
// when (nothing unsent, or just loaded).
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

/** Fetch every file and keep it; one that is not what the server wrote fails the whole. */
async function keep() {
  const cache = await caches.open(CACHE);
  await Promise.all(
    Object.entries(FILES).map(async ([address, digest]) => {
      const answer = await fetch(address, { cache: "reload" });
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
