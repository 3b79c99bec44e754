"""What a transaction of notifications works on."""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.notifications.models import Message
from shared.messaging.batch import Batch


class NotificationsBatch(Batch):
    """One transaction of notifications, with what is known of its events' messages."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        #: By event id: recipient and template of each message that the event has caused.
        self.messages: dict[UUID, set[tuple[str, str]]] = {}
        #: By order id: whether a channel took the message with the order's collection code.
        self.code_sent: dict[UUID, bool] = {}

    def load_messages(self, cause_ids: Iterable[UUID]) -> None:
        """Load, in one statement, which messages these events have caused already.

        Usually none: the inbox handles an event once. But an event may outlive its inbox row (a
        backup is restored, the feed is replayed), and nobody may be notified twice.
        """
        missing = set(cause_ids) - self.messages.keys()
        if not missing:
            return
        self.messages.update({cause_id: set() for cause_id in missing})
        statement = select(Message.cause_id, Message.recipient, Message.template)
        for cause_id, recipient, template in self.session.execute(
            statement.where(Message.cause_id.in_(missing))
        ):
            self.messages[cause_id].add((recipient, template))
