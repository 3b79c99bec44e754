"""Partners' feeds in notifications' database, for commands."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sqlalchemy.exc import SQLAlchemyError

from farmgate.broker_users import FEEDER
from farmgate.failures import Failed, database_unreachable
from services.notifications.batch import NotificationsBatch
from shared.messaging.batch import transaction
from shared.runtime.config import Settings
from shared.runtime.database import Database
from shared.runtime.errors import FarmgateError


@contextmanager
def opened(environment: Mapping[str, str]) -> Iterator[NotificationsBatch]:
    """Open a transaction on notifications' database, which knows the partners' feeds.

    Raises:
        Failed, Unreachable: notifications refused, or its database cannot be reached.
    """
    settings = Settings.from_environment(FEEDER, environment)
    database = Database(settings.database_url)
    try:
        with transaction(database, NotificationsBatch) as batch:
            yield batch
    except FarmgateError as error:
        raise Failed(error.detail) from error
    except SQLAlchemyError as error:
        raise database_unreachable(FEEDER, error, migrate=True) from error
    finally:
        database.close()
