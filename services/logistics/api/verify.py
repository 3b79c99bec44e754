"""Logistics' routes for `farmgate verify`."""

from typing import Any

from services.logistics.use_cases import verify
from shared.runtime.paging import Page
from shared.runtime.verify import Fact, Report, page_of_facts
from shared.web import Blueprint, reading, scope
from shared.web.verify import FactPage, VerifyResponse, facts_request

blp = Blueprint(
    "verify",
    __name__,
    url_prefix="/api/logistics/v1/verify",
    description="Whether logistics' rows agree, and what it holds of each order; for operators.",
)


@blp.get("")
@scope("operate")
@blp.response(200, VerifyResponse)
def compare_shipments() -> Report:
    """Compare the rows about every shipment with each other.

    The comparison reads all rows from one snapshot. At most 200 differences of each check are
    listed.
    """
    with reading() as session:
        return verify.compare(session)


@blp.get("/facts")
@scope("operate")
@blp.arguments(facts_request(verify.FACTS), location="query")
@blp.response(200, FactPage)
def list_facts(query: dict[str, Any]) -> Page[Fact]:
    """List the state of logistics' shipments, by order id, to compare with other services.

    `shipments`: each has `state`, and `lots`, the quantity that it carries of each lot.
    """
    with reading() as session:
        return page_of_facts(session, verify.FACTS, **query)
