"""A partner's own number of an order: who may give one, and which requests mean the same order."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec

from services.orders.rules.callers import OWN_BUYERS, names_a_phone
from shared.runtime.errors import Forbidden, Unprocessable

#: Letters, digits and the signs of order numbers; no spaces or @, which names and addresses have.
PATTERN = "[A-Za-z0-9][A-Za-z0-9._:/#|-]{0,63}"


class NotAPartner(Forbidden):
    """Raised when a caller who is no partner gives an order an external_ref."""


class UnfitExternalRef(Unprocessable):
    """Raised when an external_ref is malformed or must not be published."""


def checked_ref(partner: str | None, external_ref: str | None) -> str | None:
    """Return the number that a partner gives an order; None: it gives none.

    Raises:
        NotAPartner: the caller is no partner.
        UnfitExternalRef: the number is malformed, or is a telephone number.
    """
    if external_ref is None:
        return None
    if partner is None:
        raise NotAPartner(
            "external_ref is a partner's own number of an order; leave it out, or use a token with "
            f"the scope {OWN_BUYERS} that is no operator's and not limited to sites."
        )
    if re.fullmatch(PATTERN, external_ref) is None:
        raise UnfitExternalRef(
            "An external_ref has 1 to 64 letters, digits or . _ : / # | - and begins with a letter "
            "or digit."
        )
    if names_a_phone(external_ref):
        raise UnfitExternalRef(
            "An external_ref is published with each event of its order, and this one is a "
            "telephone number; give the order a number that says nothing of its buyer."
        )
    return external_ref


def request_digest(order_id: UUID, request: Mapping[str, Any]) -> bytes:
    """Return the SHA-256 of what was ordered: requests with equal digests mean the same order.

    Fields that are None do not count, so that a new optional field changes no digest. The order's
    id is the salt: the contacts of two orders cannot be compared.
    """
    said = msgspec.json.encode(_given(request), order="deterministic")
    return hashlib.sha256(order_id.bytes + said).digest()


def _given(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _given(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list | tuple):
        return [_given(inner) for inner in value]
    return value
