"""Messages that do not get out are found, and those that wait for the morning are not."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from services.notifications.models import Message
from services.notifications.use_cases.late import LATE
from shared.runtime import clock
from shared.runtime.database import Database
from shared.runtime.late import find, limits_of

LONG_AGO = clock.now() - timedelta(hours=1)


@pytest.fixture
def late(database: Database) -> Callable[[], dict[str, int]]:
    """Count the messages that are late, by kind; kinds without any are left out."""

    def look() -> dict[str, int]:
        with database.readers() as session:
            found = find(session, LATE, limits_of(LATE, {}))
        return {kind: len(cases) for kind, cases in found.items() if cases}

    return look


@pytest.fixture
def change(database: Database) -> Callable[..., None]:
    """Change all open messages behind the service's back."""

    def do(**values: Any) -> None:
        with database.sessions.begin() as session:
            session.execute(update(Message).where(Message.due_at.is_not(None)).values(values))

    return do


def test_messages_that_no_sender_looks_at_are_late(
    confirmed: Any, messages: Any, late: Any, change: Any
) -> None:
    queued = sum(message.due_at is not None for message in messages())
    assert queued > 0
    assert late() == {}

    change(due_at=LONG_AGO)

    assert late() == {"unsent": queued}


def test_a_message_is_late_through_all_its_tries_and_not_in_quiet_hours(
    confirmed: Any, messages: Any, late: Any, change: Any
) -> None:
    queued = sum(message.due_at is not None for message in messages())
    soon = clock.now() + timedelta(hours=1)
    change(happened_at=LONG_AGO, due_at=soon, status="retrying", reason="quiet_hours", attempts=1)
    assert late() == {}

    change(reason="refused for now")
    assert late() == {"retrying": queued}
    change(status="sending", reason=None, attempts=2)
    assert late() == {"retrying": queued}
