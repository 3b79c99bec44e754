"""What a transaction of notifications works on."""

from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from services.notifications.models import Contact, Message, Subscription, VerifiedPhone
from shared.messaging.batch import Batch, table_of
from shared.runtime.bulk import insert_rows, upsert_rows


class NotificationsBatch(Batch):
    """One transaction of notifications, with the rows that it inserts or replaces at its end.

    No transaction changes a message that it has queued, or a contact that it has kept. So these
    are rows and no objects.
    """

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        #: Messages to insert, each with a value for each column but those of its sending.
        self.messages: list[dict[str, Any]] = []
        #: By key: contacts to insert or replace.
        self.contacts: dict[str, dict[str, Any]] = {}
        #: By digest: phones that are verified now.
        self.verified: dict[bytes, dict[str, Any]] = {}
        #: By order id: the order's phone, if a channel took the message with its collection code.
        self.code_phones: dict[UUID, str | None] = {}
        #: By partner: its subscription, None if it has none.
        self.subscriptions: dict[str, Subscription | None] = {}
        #: Subscriptions that get others' events, too; None: not loaded yet.
        self.wide: list[Subscription] | None = None
        #: The epoch of the database, once subscriptions are loaded.
        self.epoch = 1

    def _write_rows(self) -> None:
        """Write messages, contacts and verified phones, too.

        A message with the cause, recipient and template of an earlier one is left out. Usually
        there is none, because the inbox handles an event once. But an event may outlive its inbox
        row (a backup is restored, the feed is replayed), and nobody may be notified twice.
        """
        super()._write_rows()
        connection = self.session.connection()
        contacts, self.contacts = self.contacts, {}
        upsert_rows(connection, table_of(Contact), [*contacts.values()])
        verified, self.verified = self.verified, {}
        upsert_rows(connection, table_of(VerifiedPhone), [*verified.values()])
        messages, self.messages = self.messages, []
        insert_rows(connection, table_of(Message), messages, ignore_conflicts=True)
