"""A partner's reader of its feed, which the tests kill: `feed_reader.py URL TOKEN DATABASE`.

It keeps events and cursor in one transaction, as docs/integrators.md tells partners to do.
"""

import json
import sqlite3
import sys
import time
import urllib.error
import urllib.parse
import urllib.request


def main(url: str, token: str, path: str) -> None:
    """Read until killed."""
    database = sqlite3.connect(path)
    database.execute(
        "CREATE TABLE IF NOT EXISTS events (position INTEGER PRIMARY KEY, event TEXT NOT NULL)"
    )
    database.execute(
        "CREATE TABLE IF NOT EXISTS place (one INTEGER PRIMARY KEY CHECK (one = 1), cursor TEXT)"
    )
    while True:
        row = database.execute("SELECT cursor FROM place").fetchone()
        query = {"limit": 50, "wait": 5} | ({"after": row[0]} if row else {})
        request = urllib.request.Request(
            f"{url}/api/events/v1/events?{urllib.parse.urlencode(query)}",
            headers={"Authorization": f"Bearer {token}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                part = json.load(answer)
        except (OSError, urllib.error.HTTPError):
            time.sleep(0.2)
            continue
        with database:
            for each in part["events"]:
                # A position that comes twice ends the reader, and the test with it.
                database.execute(
                    "INSERT INTO events VALUES (?, ?)",
                    (each["position"], json.dumps(each["event"])),
                )
            database.execute("INSERT OR REPLACE INTO place VALUES (1, ?)", (part["next"],))


if __name__ == "__main__":
    main(*sys.argv[1:])
