"""Reading signed news: the errors, and the types of fields that every provider has."""

import re
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from services.orders.rules.prices import MOST_TOTAL_FEN
from shared.runtime.errors import BadRequest, Unauthorized, Unprocessable

T = TypeVar("T")

#: Seconds by which the moment of a signature may differ from now; older news is a replay.
TOLERANCE_SECONDS = 300
#: Seconds to connect to a provider, and to wait for each part of its answer. Together less than
#: `FARMGATE_HANG_SECONDS`.
TIMEOUT = (5.0, 10.0)

#: A provider's name for something.
Ref = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._:-]{1,100}\Z")]
#: An amount in the smallest unit of its currency.
Amount = Annotated[int, Meta(ge=1, le=MOST_TOTAL_FEN)]


class InvalidSignature(Unauthorized):
    """Raised when a callback was not signed by the provider, or too long ago."""


class UnreadableNews(BadRequest):
    """Raised when a signed callback is not as the provider's documents say."""


class WrongCurrency(Unprocessable):
    """Raised when news is about money in another currency than CNY: orders have no price in it."""


def read_json(body: bytes | str, kind: type[T]) -> T:
    """Return `kind` from JSON; fields that it does not have are ignored.

    Raises:
        UnreadableNews: the JSON is malformed, or a field is missing or invalid.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableNews(f"The signed body cannot be read: {error}.") from error


def check_currency(currency: str) -> None:
    """Refuse another currency than CNY.

    Raises:
        WrongCurrency
    """
    if currency.upper() != "CNY":
        raise WrongCurrency(
            f"The payment is in {currency[:10]!r}, and orders are priced in CNY; it is not booked. "
            "Refund it at the provider, and let the shop ask for CNY."
        )


def code_of(text: Any, default: str = "not_given") -> str:
    """Return a provider's word for a reason as a code, since it is published.

    With seven digits it could be a telephone number, so it is `default`.
    """
    code = re.sub("[^a-z0-9]+", "_", str(text or "").lower()).strip("_")[:40]
    return code if re.fullmatch("[a-z]([a-z_]*[0-9]){0,6}[a-z_]*", code) else default
