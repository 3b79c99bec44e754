"""Routes about the cash that stations' clerks hold."""

from typing import Any

from services.orders.batch import OrdersBatch
from services.orders.models import CashEntry, Custody, Remittance, Shift
from services.orders.schemas import stations as schemas
from services.orders.use_cases import cash, shifts
from shared.runtime.belonging import within
from shared.runtime.paging import Page, page
from shared.web import Blueprint, caller, idempotent, reading, scope, transaction
from shared.web.paging import page_arguments, page_of

blp = Blueprint(
    "cash",
    __name__,
    url_prefix="/api/orders/v1/cash",
    description="The cash that stations' clerks hold for the centre.",
)


@blp.get("/custody")
@scope("stations:read", by_site=True)
@blp.arguments(schemas.ListCustodyRequest, location="query")
@blp.response(200, page_of(schemas.CustodyResponse))
def list_custody(query: dict[str, Any]) -> Page[Custody]:
    """List the cash that each clerk of each site took, refunded and remitted, and so must hold."""
    arguments = page_arguments(query)
    with reading() as session:
        chosen = within(cash.select_custodies(**query), Custody.site_id, caller().sites)
        return page(session, chosen, Custody.id, **arguments)


@blp.get("/shifts")
@scope("stations:read", by_site=True)
@blp.arguments(schemas.ListShiftsRequest, location="query")
@blp.response(200, page_of(schemas.ShiftResponse))
def list_shifts(query: dict[str, Any]) -> Page[shifts.Balance]:
    """List shifts, the newest first, with the expected and the counted cash of the drawer.

    While entries of a shift are missing, the expected cash may still change.
    """
    arguments = page_arguments(query)
    with reading() as session:
        chosen = within(shifts.select_shifts(**query), Shift.site_id, caller().sites)
        found = page(session, chosen, Shift.id, descending=True, **arguments)
        return Page(shifts.balances(session, found.items), found.next)


@blp.post("/remittances")
@scope("stations:operate")
@idempotent
@blp.arguments(schemas.RemitCashRequest)
@blp.response(201, schemas.RemittanceResponse)
def remit_cash(remit_in: dict[str, Any]) -> Remittance:
    """Record cash that a clerk handed on to the centre, counted by both.

    A difference of the counts is written off from the clerk's custody, with its reason.
    """
    with transaction(OrdersBatch) as batch:
        return cash.remit(batch, **remit_in, by=caller().subject)


@blp.post("/write-offs")
@scope("stations:operate")
@idempotent
@blp.arguments(schemas.WriteOffCashRequest)
@blp.response(201, schemas.CashEntryResponse)
def write_off_cash(write_off_in: dict[str, Any]) -> CashEntry:
    """Write off cash that a clerk should hold but does not have, with a reason."""
    with transaction(OrdersBatch) as batch:
        return cash.write_off(batch, **write_off_in, by=caller().subject)
