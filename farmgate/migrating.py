"""A service's database brought to its newest revision, with errors that say what to do."""

from alembic.util import CommandError
from sqlalchemy.exc import OperationalError

from farmgate.failures import Failed, Unreachable
from shared.runtime import migrations
from shared.runtime.config import Settings


def migrate(settings: Settings) -> str | None:
    """Bring a service's database to its newest revision and return that.

    Raises:
        Failed: a newer version has migrated it.
        Unreachable: the database does not answer.
    """
    name = settings.service
    try:
        migrations.upgrade(name, settings.database_url)
        present, _ = migrations.revisions(name, settings.database_url)
    except CommandError as error:
        # All that stops Alembic here, our own histories being whole.
        raise Failed(
            f"The database of {name} is of another version of Farmgate: {error}. Run the newest "
            "version that used it, or restore a backup made before the upgrade."
        ) from error
    except OperationalError as error:
        raise Unreachable(
            f"The database of {name} cannot be used: {str(error.orig).strip()}\n"
            f"Check FARMGATE_{name.upper()}_DATABASE_URL."
        ) from error
    return present
