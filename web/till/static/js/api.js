// Calls to the centre's HTTP API, on the page's own origin. The till does not use
// `navigator.onLine`, which stays true when the server is down: only an answer proves a connection.

/** Milliseconds after which a call is aborted. */
const TIMEOUT = 20_000;

/**
 * Nothing answered (`silent`), or something else than the centre answered: a captive portal, or a
 * proxy whose service is down.
 */
export class Away extends Error {
  constructor(message, silent = false) {
    super(message);
    this.silent = silent;
  }
}

/** The centre refused the call: `status`, and the last word of the problem's `type`. */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail ?? problem.title ?? String(status));
    this.status = status;
    this.type = String(problem.type ?? "").split("/").pop();
    this.problem = problem;
  }
}

/** Call the centre; `token` is null before the enrolment. */
export async function call(method, path, token, body, timeout = TIMEOUT) {
  const headers = { Accept: "application/json" };
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  let text;
  try {
    answer = await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(timeout),
      cache: "no-store",
      credentials: "omit",
      // A portal redirects; the centre never does.
      redirect: "error",
    });
    text = await answer.text();
  } catch (error) {
    throw new Away(error.message, true);
  }
  const content = parsed(text);
  if (answer.ok && content !== null) return content;
  const problem = (answer.headers.get("Content-Type") ?? "").includes("problem+json");
  if (problem && content !== null && answer.status < 500 && answer.status !== 429) {
    throw new Refused(answer.status, content);
  }
  throw new Away(`${answer.status} ${answer.statusText}`.trim());
}

function parsed(text) {
  try {
    const content = JSON.parse(text);
    return typeof content === "object" ? content : null;
  } catch {
    return null;
  }
}

/** The bearer token of a key. */
export function tokenOf(key) {
  return `fgk_${key.key_id.replaceAll("-", "")}_${key.secret}`;
}

/** A secret of 256 random bits, 43 characters. */
export function newSecret() {
  const bytes = crypto.getRandomValues(new Uint8Array(32));
  return btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replace("=", "");
}

/** A UUIDv7. Not `crypto.randomUUID`, which browsers lack on plain http. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  let now = Date.now();
  for (let i = 5; i >= 0; i -= 1) {
    bytes[i] = now % 256;
    now = Math.floor(now / 256);
  }
  bytes[6] = (bytes[6] & 0x0f) | 0x70;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
