"""Catalog's routes for `farmgate verify`."""

from typing import Any

from services.catalog.use_cases import verify
from shared.runtime.paging import Page
from shared.runtime.verify import Fact, Report, page_of_facts
from shared.web import Blueprint, reading, scope
from shared.web.verify import FactPage, VerifyResponse, facts_request

blp = Blueprint(
    "verify",
    __name__,
    url_prefix="/api/catalog/v1/verify",
    description="Whether catalog's rows agree, and what it holds of orders and station sales.",
)


@blp.get("")
@scope("operate")
@blp.response(200, VerifyResponse)
def compare_stock() -> Report:
    """Rebuild all balances from the ledger, and compare sales and allotments with it.

    The comparison reads all rows from one snapshot. A sale that nothing covers yet is a difference.
    At most 200 differences of each check are listed.
    """
    with reading() as session:
        return verify.compare(session)


@blp.get("/facts")
@scope("operate")
@blp.arguments(facts_request(verify.FACTS), location="query")
@blp.response(200, FactPage)
def list_facts(query: dict[str, Any]) -> Page[Fact]:
    """List the status of `reservations` or `station_sales`, to compare with other services.

    Each has `status` and `lots`: the quantity of each lot that is set aside, or was moved.
    """
    with reading() as session:
        return page_of_facts(session, verify.FACTS, **query)
