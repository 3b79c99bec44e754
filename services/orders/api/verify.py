"""Orders' routes for `farmgate verify`."""

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

    The comparison reads all rows from one snapshot. An open dispute is a difference; the holes of a
    journal are notes. At most 200 differences of each check are listed.
    """
    with reading() as session:
        return verify.compare(session)


@blp.get("/facts")
@scope("operate")
@blp.arguments(facts_request(verify.FACTS), location="query")
@blp.response(200, FactPage)
def list_facts(query: dict[str, Any]) -> Page[Fact]:
    """List the state of `orders` or `station_sales`, by id, to compare with other services.

    `orders`: each has `state`, and `lots`, the quantity set aside of each lot. `station_sales`:
    each sale, void and return has `kind`, `status`, `lots`, and `voided` if it never counted.
    """
    with reading() as session:
        return page_of_facts(session, verify.FACTS, **query)
