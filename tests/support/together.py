"""Requests that wait at the same moment, so that they are one group; a deadlock in their way."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

from flask import Flask
from sqlalchemy import text

from shared.runtime.database import Database
from tests.support.servers import wait_until


def send_together(
    app: Flask,
    first: Callable[[], Any],
    others: Sequence[Callable[[], Any]],
    *,
    inside: Event,
    opened: Event,
) -> list[Any]:
    """Return the answers to `others`, which wait while `first` is at work, and are the next group.

    `first` sets `inside` in its transaction, and waits there for `opened`.
    """
    groups = app.extensions["farmgate"].groups

    def all_wait() -> bool:
        ended = sum(future.done() for future in futures)
        return ended + sum(group.waiting for group in groups.values()) == len(others)

    with ThreadPoolExecutor(len(others) + 1) as pool:
        held = pool.submit(first)
        try:
            assert inside.wait(10), "the first request is not at work"
            futures = [pool.submit(other) for other in others]
            wait_until(all_wait, 10, f"{len(others)} requests wait")
        finally:
            opened.set()
        held.result()
        return [future.result() for future in futures]


def deadlock_once(database: Database, condition: str = "TRUE") -> None:
    """Make the first insert of a thing that fulfils `condition` (SQL) fail as by a deadlock."""
    with database.sessions.begin() as session:
        session.execute(text("CREATE SEQUENCE tries"))
        session.execute(
            text(
                "CREATE FUNCTION fail_once() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                "IF nextval('tries') = 1 THEN RAISE EXCEPTION USING ERRCODE = '40P01'; END IF; "
                "RETURN NEW; END $$"
            )
        )
        session.execute(
            text(
                "CREATE TRIGGER fails BEFORE INSERT ON things FOR EACH ROW "
                f"WHEN ({condition}) EXECUTE FUNCTION fail_once()"
            )
        )
