"""Routes by which an operator compares what the services hold: orders' part."""

from typing import Any

from services.orders.use_cases import verify
from shared.runtime.paging import Page
from shared.runtime.verify import Fact, Report, page_of_facts
from shared.web import Blueprint, reading, scope
from shared.web.verify import FactPage, VerifyResponse, facts_request

blp = Blueprint(
    "verify",
    __name__,
    url_prefix="/api/orders/v1/verify",
    description="Whether orders' rows agree, and what they hold of each order and station sale.",
)


@blp.get("")
@scope("operate")
@blp.response(200, VerifyResponse)
def compare_orders() -> Report:
    """Compare orders' rows with each other: totals, refunds, tills' journals, and cash.

    Reads them all, at one moment. An open dispute is a difference; a journal's holes are notes.
    """
    with reading() as session:
        return verify.compare(session)


@blp.get("/facts")
@scope("operate")
@blp.arguments(facts_request(verify.FACTS), location="query")
@blp.response(200, FactPage)
def list_facts(query: dict[str, Any]) -> Page[Fact]:
    """List in few words what orders holds, by id.

    `orders`: each has `state`, and `lots`, how much was set aside of each lot. `station_sales`:
    each sale, void and return has `kind`, `status`, `lots`, and `voided` if it never counted.
    """
    with reading() as session:
        return page_of_facts(session, verify.FACTS, **query)
