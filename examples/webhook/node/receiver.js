// Receive Farmgate's webhooks, each event once, into a file with one event a line.
//
// Use this as the start of your own program: replace `keep` by a transaction of your database that
// stores the event's id and does your work. README.md says how to run it.

import { closeSync, existsSync, fsyncSync, openSync, readFileSync, writeSync } from "node:fs";
import { createServer } from "node:http";
import { Webhook } from "standardwebhooks";

const secret = process.env.FARMGATE_WEBHOOK_SECRET;
if (!secret) {
  console.error("Set FARMGATE_WEBHOOK_SECRET to the secret of your endpoint, whsec_…");
  process.exit(2);
}
const path = process.env.EVENTS_FILE ?? "events.ndjson";
const port = Number(process.env.PORT ?? 5005);
const LARGEST = 1_000_000;

const known = new Set();
if (existsSync(path)) {
  for (const line of readFileSync(path, "utf8").split("\n")) {
    try {
      if (line) known.add(JSON.parse(line).id);
    } catch {
      // A line that was cut when the program died: its event was not acknowledged and comes again.
    }
  }
}
const file = openSync(path, "a");
writeSync(file, known.size ? "\n" : "");

// Store an event durably; return false if its id is already stored.
function keep(event, body) {
  if (known.has(event.id)) return false;
  writeSync(file, `${body.replaceAll("\n", " ")}\n`);
  fsyncSync(file);
  known.add(event.id);
  return true;
}

function read(request) {
  return new Promise((resolve, reject) => {
    const parts = [];
    let size = 0;
    request.on("data", (part) => {
      size += part.length;
      if (size > LARGEST) reject(new Error("too large"));
      else parts.push(part);
    });
    request.on("end", () => resolve(Buffer.concat(parts).toString("utf8")));
    request.on("error", reject);
  });
}

const server = createServer(async (request, response) => {
  if (request.method !== "POST" || request.url !== "/webhook") {
    response.writeHead(404).end();
    return;
  }
  let event;
  let body;
  try {
    body = await read(request); // the bytes as they came: the signature covers them
    event = new Webhook(secret).verify(body, request.headers);
  } catch {
    response.writeHead(401).end("bad signature");
    return;
  }
  try {
    const isNew = keep(event, body);
    console.log(isNew ? "new   " : "double", event.type, event.subject);
    response.writeHead(204).end(); // only after the event is stored
  } catch (error) {
    console.error(error);
    response.writeHead(500).end(); // Farmgate sends it again
  }
});

server.listen(port, "127.0.0.1", () => {
  console.log(JSON.stringify({ listening: `http://127.0.0.1:${port}/webhook` }));
});

for (const signal of ["SIGTERM", "SIGINT"]) {
  process.on(signal, () => {
    server.close();
    closeSync(file);
    process.exit(0);
  });
}
