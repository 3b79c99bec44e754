"""Migrate a service's database to its newest revision; errors say what to do."""

import re

from alembic.util import CommandError
from sqlalchemy.exc import OperationalError

from farmgate.failures import Failed, database_unreachable
from farmgate.services import NAMES
from shared.runtime import migrations
from shared.runtime.config import Settings


def migrate(settings: Settings) -> str | None:
    """Migrate a service's database to its newest revision and return the revision.

    Raises:
        Failed: this version does not know the database's revision.
        Unreachable: the database does not answer.
    """
    name = settings.service
    try:
        migrations.upgrade(name, settings.database_url)
        present, _ = migrations.revisions(name, settings.database_url)
    except CommandError as error:
        # The only cause: our own histories have no gaps, so the database's revision is unknown.
        present, newest = migrations.revisions(name, settings.database_url)
        raise Failed(refusal(settings, f"{present}", f"{newest}")) from error
    except OperationalError as error:
        raise database_unreachable(name, error) from error
    return present


def refusal(settings: Settings, present: str, newest: str) -> str:
    """Explain why a database's revision is unknown here, and what to do."""
    name, variable = settings.service, f"FARMGATE_{settings.service.upper()}_DATABASE_URL"
    if re.fullmatch(r"\d{4}", present):
        if settings.database_url.startswith("sqlite"):
            anew = f"move the folder {settings.data} away (mv)"
        else:
            anew = "empty all four databases and the broker (docker-compose down --volumes)"
        return (
            f"The database of {name} was made before Farmgate 0.2.0 (revision {present}), and no "
            f"migration leads from there to this version. Begin anew: stop Farmgate, {anew}, and "
            "start again. Only the old version can read the old databases."
        )
    owner = present.rpartition("_")[0]
    if owner != name and owner in NAMES:
        return f"{variable} names the database of {owner} (revision {present}); use {name}'s own."
    return (
        f"The database of {name} is of another version of Farmgate: its revision is {present}, "
        f"and this version knows revisions up to {newest}. Run the newest version that used this "
        "database, or restore a backup made before the upgrade."
    )
