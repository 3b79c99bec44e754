"""Messages that do not get out are told of, once each."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from services.notifications.models import Message
from services.notifications.use_cases.stalled import LATE
from shared import clock, stalled
from shared.config import Settings
from shared.database import Database
from shared.events import MessageStalled, NotificationsRelayStalled

LONG_AGO = clock.now() - timedelta(hours=1)


@pytest.fixture
def told(
    database: Database,
    app_settings: Settings,
    recorded_events: Callable[[], list[tuple[str, dict[str, Any]]]],
) -> Callable[[], list[str]]:
    """Run the timer twice; return all that was told so far."""

    def look() -> list[str]:
        for _ in range(2):
            stalled.find(NotificationsRelayStalled, LATE, database, app_settings)
        wanted = MessageStalled.routing_key
        return [facts["kind"] for type_, facts in recorded_events() if type_ == wanted]

    return look


@pytest.fixture
def change(database: Database) -> Callable[..., None]:
    """Change all open messages behind the service's back."""

    def do(**values: Any) -> None:
        with database.sessions.begin() as session:
            session.execute(update(Message).where(Message.due_at.is_not(None)).values(values))

    return do


def test_messages_that_no_sender_looks_at_are_told_of_once(
    confirmed: Any, messages: Any, told: Any, change: Any
) -> None:
    queued = sum(message.due_at is not None for message in messages())
    assert queued > 0
    assert told() == []

    change(due_at=LONG_AGO)

    assert told() == ["unsent"] * queued


def test_a_message_is_one_case_through_all_its_tries_and_none_in_quiet_hours(
    confirmed: Any, messages: Any, told: Any, change: Any
) -> None:
    queued = sum(message.due_at is not None for message in messages())
    soon = clock.now() + timedelta(hours=1)
    change(happened_at=LONG_AGO, due_at=soon, status="retrying", reason="quiet_hours", attempts=1)
    assert told() == []

    change(reason="refused for now")
    assert told() == ["retrying"] * queued
    change(status="sending", reason=None, attempts=2)
    assert told() == ["retrying"] * queued
    change(status="retrying", reason="refused for now")
    assert told() == ["retrying"] * queued
