"""One attempt of a delivery: the message, its signature, the request."""

from services.notifications.push import signing
from services.notifications.push.client import WebhookClient
from services.notifications.push.messages import message_of
from services.notifications.rules.webhooks import Answer
from services.notifications.use_cases.webhooks import DueDelivery
from shared.runtime import clock
from shared.runtime.config import Settings
from shared.runtime.logs import get

log = get(__name__)


class Deliverer:
    """Makes attempts; threads may share it."""

    def __init__(self, key: bytes, client: WebhookClient) -> None:
        self._key = key
        self._client = client

    @classmethod
    def of(cls, settings: Settings) -> "Deliverer":
        """Return the deliverer that the settings describe.

        Raises:
            Misconfigured: there is no key, or a setting of the client is malformed.
        """
        return cls(signing.key_of(settings), WebhookClient.of(settings))

    def deliver(self, each: DueDelivery) -> Answer | None:
        """Make one attempt and return its outcome; None: its event is gone. Raises nothing."""
        try:
            message = message_of(each)
            if message is None:
                return None
            headers, body = message
            numbers = [each.secret_number]
            moment = clock.now()
            if each.previous_until is not None and moment < each.previous_until:
                numbers.append(each.secret_number - 1)
            secrets = [signing.secret_of(self._key, each.endpoint_id, n) for n in numbers]
            signed = signing.headers_of(str(each.event_id), moment, body.decode(), secrets)
            return self._client.post(each.url, headers | signed, body)
        except Exception as error:
            # An attempt without a result would stay under way for ever.
            log.error("webhook failed", error=type(error).__name__)
            return Answer(None, "internal_error", 0)

    def cut_overdue(self) -> None:
        """End the attempts that take longer than they may."""
        self._client.cut_overdue()
