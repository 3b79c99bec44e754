"""What a person wishes: language, quiet hours, channels, how many messages a day."""

from sqlalchemy.orm import Session

from services.notifications.models import Preference
from services.notifications.rules import Wishes
from shared.messaging.rows import locked, remember


def wishes_of(preference: Preference | None) -> Wishes:
    """Return a stored preference as a value; the defaults where there is none."""
    if preference is None:
        return Wishes()
    return Wishes(
        language=preference.language,
        quiet_from=preference.quiet_from,
        quiet_to=preference.quiet_to,
        channels=tuple(preference.channels),
        daily_cap=preference.daily_cap,
    )


def read_preferences(session: Session, person: str) -> Wishes:
    """Return what a person wishes; nobody needs to be known to have the defaults."""
    return wishes_of(session.get(Preference, person))


def set_preferences(session: Session, person: str, wishes: Wishes) -> Wishes:
    """Replace what a person wishes; it holds for messages that are still waiting, too."""
    preference: Preference | None = locked(session, Preference.person, person)
    if preference is None:
        preference = Preference(person=person)
        remember(session, Preference.person, preference)
    preference.language = wishes.language
    preference.quiet_from, preference.quiet_to = wishes.quiet_from, wishes.quiet_to
    preference.channels = list(wishes.channels)
    preference.daily_cap = wishes.daily_cap
    return wishes
