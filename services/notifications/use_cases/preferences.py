"""A person's preferences: language, quiet hours, channels, how many messages a day."""

from sqlalchemy.orm import Session

from services.notifications.batch import NotificationsBatch
from services.notifications.models import Preference
from services.notifications.rules.messages import Preferences


def preferences_of(row: Preference | None) -> Preferences:
    """Return a stored row as a value; the defaults where there is no row."""
    if row is None:
        return Preferences()
    return Preferences(
        language=row.language,
        quiet_from=row.quiet_from,
        quiet_to=row.quiet_to,
        channels=tuple(row.channels),
        daily_cap=row.daily_cap,
    )


def read_preferences(session: Session, person: str) -> Preferences:
    """Return a person's preferences: the defaults for a person who has set none."""
    return preferences_of(session.get(Preference, person))


def set_preferences(
    batch: NotificationsBatch, person: str, preferences: Preferences
) -> Preferences:
    """Replace a person's preferences, also for messages that are queued already."""
    row: Preference | None = batch.get_for_update(Preference.person, person)
    if row is None:
        row = Preference(person=person)
        batch.track(Preference.person, row)
    row.language = preferences.language
    row.quiet_from, row.quiet_to = preferences.quiet_from, preferences.quiet_to
    row.channels = list(preferences.channels)
    row.daily_cap = preferences.daily_cap
    return preferences
