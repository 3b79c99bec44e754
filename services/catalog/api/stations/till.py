"""Routes that a station's till calls, with the key of its device."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, cast
from uuid import UUID

from marshmallow import ValidationError

from services.catalog.batch import CatalogBatch
from services.catalog.schemas.stations import till as schemas
from services.catalog.use_cases.stations import contact, enrolment, till_returns
from shared.runtime import clock, devices
from shared.runtime.config import read_integer
from shared.web import Blueprint, caller, public, reading, scope, settings, transaction

blp = Blueprint(
    "till",
    __name__,
    url_prefix="/api/catalog/v1/till",
    description="What a station's till asks: who it is, what it may sell, and until when.",
)


def lease_seconds(environment: Mapping[str, str]) -> int:
    """Return how long a device may sell without contact: FARMGATE_CATALOG_LEASE_SECONDS.

    Raises:
        Misconfigured: it is not a whole number, or less than 60.
    """
    return read_integer(environment, "FARMGATE_CATALOG_LEASE_SECONDS", 259_200, least=60)


@blp.post("/enrol")
@public
@blp.arguments(schemas.EnrolRequest, example=schemas.ENROL_EXAMPLE)
@blp.response(200, schemas.EnrolResponse)
@blp.alt_response(404, "NOT_FOUND")
@blp.alt_response(422, "UNPROCESSABLE_ENTITY")
def enrol(enrolment_in: dict[str, Any]) -> dict[str, Any]:
    """Enrol for a device, with the one-time code that an operator gave.

    The till makes the secret of its key itself, keeps it, and calls with the bearer token
    `fgk_<key_id without dashes>_<secret>` from then on. A repeated call with the same code and
    secret gets the same answer.
    """
    with reading() as session:
        enrolment.check_code(session, enrolment_in["code"])
    with transaction(CatalogBatch) as batch:
        enrolled = enrolment.enrol(batch, **enrolment_in)
        return vars(enrolled) | {"server_time": clock.now()}


@blp.post("/contact")
@scope(devices.TILL)
@blp.arguments(schemas.TillContactRequest, example=schemas.CONTACT_EXAMPLE)
@blp.response(200, schemas.TillContactResponse)
@blp.alt_response(404, "NOT_FOUND")
@blp.alt_response(422, "UNPROCESSABLE_ENTITY")
def make_contact(contact_in: dict[str, Any]) -> dict[str, Any]:
    """Report the till's state, and learn what it may sell and until when.

    `revision` grows with every change of its allotments. Send the last stored one as
    `seen_revision`, so operators see which tills do not know of a recall yet.
    """
    device = devices.device_of(caller())
    seconds = lease_seconds(settings().environment)
    with transaction(CatalogBatch) as batch:
        heard = contact.contact(batch, device, contact.DeviceReport(**contact_in), seconds)
        return vars(heard) | {"itself": heard}


@blp.post("/returns")
@scope(devices.TILL)
@blp.arguments(schemas.ReturnsRequest)
@blp.response(200, schemas.ReturnsResponse)
@blp.alt_response(404, "NOT_FOUND")
@blp.alt_response(422, "UNPROCESSABLE_ENTITY")
def give_back(returns_in: dict[str, Any]) -> dict[str, Any]:
    """Give goods back to the free stock; each return counts once under its `return_id`.

    Subtract the goods in the till before you send this. A return that cannot be booked is stored,
    answered as `disputed`, and does not stop the others.
    """
    device = devices.device_of(caller())
    said = [_read_return(raw) for raw in returns_in["returns"]]
    with transaction(CatalogBatch) as batch:
        taken = iter(till_returns.take_returns(batch, device, list(filter(None, said))))
    answers = [
        next(taken) if one is not None else till_returns.unreadable(device, _name_of(raw))
        for one, raw in zip(said, returns_in["returns"], strict=True)
    ]
    return {"answers": [asdict(answer) for answer in answers]}


def _read_return(raw: Any) -> dict[str, Any] | None:
    """Parse one return of an upload; None if it is not one."""
    try:
        return cast(dict[str, Any], schemas.GivenBackRequest().load(raw))
    except ValidationError:
        return None


def _name_of(raw: Any) -> UUID | None:
    try:
        return UUID(raw["return_id"])
    except (TypeError, KeyError, ValueError, AttributeError):
        return None
