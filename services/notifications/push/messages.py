"""The messages that endpoints get: an entry of the feed as it is, or a ping."""

import json

from services.notifications.use_cases.webhooks import DueDelivery
from services.notifications.use_cases.webhooks.resend import PING
from shared.messaging.envelope import CONTENT_TYPE
from shared.runtime import clock

#: The place of the event in the feed, and the cursor with which `GET /events` goes on behind it.
POSITION, CURSOR = "farmgate-position", "farmgate-cursor"


def message_of(each: DueDelivery) -> tuple[dict[str, str], bytes] | None:
    """Return headers and body, without the signature; None: the feed has the entry no more."""
    headers = {
        "content-type": CONTENT_TYPE,
        "user-agent": "Farmgate",
        "connection": "close",
        "farmgate-endpoint": str(each.endpoint_id),
    }
    if each.position is None:
        return headers, _ping(each)
    if each.body is None:
        return None
    headers[POSITION] = str(each.position)
    headers[CURSOR] = each.cursor
    return headers, each.body


def _ping(each: DueDelivery) -> bytes:
    """Return a CloudEvent that is in no feed."""
    return json.dumps(
        {
            "specversion": "1.0",
            "id": str(each.event_id),
            "source": "/farmgate/notifications",
            "type": PING,
            "subject": f"endpoint/{each.endpoint_id}",
            "time": clock.rfc3339(each.created_at),
            "datacontenttype": "application/json",
            "data": {"endpoint_id": str(each.endpoint_id)},
        },
        separators=(",", ":"),
    ).encode()
