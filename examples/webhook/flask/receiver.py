"""Receive Farmgate's webhooks, each event once, into an SQLite file.

Use this as the start of your own program: write what you do with an event into `keep`, in the
transaction that stores its id. README.md says how to run it.
"""

import json
import os
import sqlite3

from flask import Flask, request
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

SECRET = os.environ["FARMGATE_WEBHOOK_SECRET"]
DATABASE = os.environ.get("EVENTS_DATABASE", "events.db")

app = Flask(__name__)


def connect() -> sqlite3.Connection:
    connection = sqlite3.connect(DATABASE, timeout=10)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(
        "CREATE TABLE IF NOT EXISTS events (event_id TEXT PRIMARY KEY,"
        " type TEXT, subject TEXT, cursor TEXT, body TEXT NOT NULL)"
    )
    return connection


def keep(event: dict, cursor: str, body: str) -> bool:
    """Store an event durably; return False if its id is already stored."""
    row = (event["id"], event["type"], event["subject"], cursor, body)
    connection = connect()
    try:
        with connection:  # one transaction: the id, and what you do with the event
            done = connection.execute(
                "INSERT INTO events VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", row
            )
        return done.rowcount == 1
    finally:
        connection.close()


@app.post("/webhook")
def webhook() -> tuple[str, int]:
    body = request.get_data(as_text=True)  # the bytes as they came: the signature covers them
    try:
        event = Webhook(SECRET).verify(body, dict(request.headers))
    except (WebhookVerificationError, ValueError):
        return "bad signature", 401
    new = keep(event, request.headers.get("farmgate-cursor", ""), body)
    print("new   " if new else "double", event["type"], event["subject"], flush=True)
    # 2xx only after the event is stored: anything else, and Farmgate sends it again.
    return "", 204


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "5005"))
    print(json.dumps({"listening": f"http://127.0.0.1:{port}/webhook"}), flush=True)
    app.run("127.0.0.1", port)
