"""`Prefer: wait=N`: answer a placement with the decided order, if it is decided soon enough.

Source: RFC 7240, section 4.3. It is a preference: a client that cannot be served gets the 202.
"""

import json
import re
import threading
import time
from collections.abc import Callable
from functools import wraps
from typing import Any
from uuid import UUID

from flask import Response, make_response, request

from services.orders.models import Order
from services.orders.rules.order_status import OrderState
from services.orders.schemas.orders import OrderResponse
from shared import web

LONGEST_WAIT = 30
#: Seconds between two looks at the order.
LOOK = 0.05
_WAIT = re.compile(r'(?:^|,)\s*wait\s*=\s*"?(\d{1,4})"?\s*(?=[;,]|$)', re.IGNORECASE)

# Each waiting client holds a thread. While the worker is down, more of them than this would leave
# no thread for other requests.
_seats = threading.BoundedSemaphore(6)


def preferred_wait(header: str | None) -> int:
    """Return how many seconds a `Prefer` header wants to wait, 0 to `LONGEST_WAIT`."""
    match = _WAIT.search(header or "")
    return min(int(match[1]), LONGEST_WAIT) if match else 0


def wait_if_preferred(view: Callable[..., Any]) -> Callable[..., Any]:
    """Replace a placement's 202 by a 200 with the decided order, if the client prefers to wait.

    Put it outside of the transaction: the wait begins when the order is committed.
    """

    @wraps(view)
    def waiting(*args: Any, **kwargs: Any) -> Response:
        answer = make_response(view(*args, **kwargs))
        seconds = preferred_wait(request.headers.get("Prefer"))
        if answer.status_code != 202 or not seconds or not _seats.acquire(blocking=False):
            return answer
        try:
            placed = json.loads(answer.get_data())
            # An operator takes longer than any client waits.
            if placed["awaits_approval"]:
                return answer
            order = _decided(UUID(placed["order_id"]), seconds)
        finally:
            _seats.release()
        answer.headers["Preference-Applied"] = f"wait={seconds}"
        if order is not None:
            answer.set_data(json.dumps(placed | OrderResponse().dump(order), ensure_ascii=False))
            answer.status_code = 200
        return answer

    return waiting


def _decided(order_id: UUID, seconds: int) -> Order | None:
    """Return the order once catalog has answered; None when it takes longer than `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(LOOK)
        with web.reading() as session:
            order = session.get(Order, order_id)
            if order is not None and order.state != OrderState.PLACED:
                return order
    return None
