"""Routes by which operators see what providers did about refunds, and decide about refused ones."""

from typing import Any
from uuid import UUID

from services.orders.batch import OrdersBatch
from services.orders.models import ProviderRefund
from services.orders.schemas import payments as schemas
from services.orders.use_cases import refund
from shared.runtime.paging import Page, page
from shared.web import Blueprint, caller, idempotent, reading, scope, transaction
from shared.web.paging import page_arguments, page_of

blp = Blueprint(
    "refunds",
    __name__,
    url_prefix="/api/orders/v1",
    description="Refunds that payment providers make.",
)


@blp.get("/refunds")
@scope("orders:operate")
@blp.arguments(schemas.ListRefundsRequest, location="query")
@blp.response(200, page_of(schemas.RefundResponse))
def list_refunds(query: dict[str, Any]) -> Page[Any]:
    """List the refunds that payment providers make or made, the newest first.

    A refund that the provider refused waits for an operator: retry it, or settle it.
    """
    arguments = page_arguments(query)
    with reading() as session:
        chosen = refund.select_refunds(**query)
        found = page(session, chosen, ProviderRefund.refund_id, descending=True, **arguments)
        return Page(refund.describe(session, found.items), found.next)


@blp.post("/refunds/<uuid:refund_id>/retry")
@scope("orders:operate")
@idempotent
@blp.response(200, schemas.RefundResponse)
def retry_refund(refund_id: UUID) -> Any:
    """Ask the provider again for a refund that it refused.

    The answer for a refund that is already due again is the refund itself.
    """
    with transaction(OrdersBatch) as batch:
        return refund.retry_refund(batch, refund_id)


@blp.post("/refunds/<uuid:refund_id>/settle")
@scope("orders:operate")
@idempotent
@blp.response(200, schemas.RefundResponse)
def settle_refund(refund_id: UUID) -> Any:
    """Record that the money of a refused refund went back outside of its provider.

    For a bank transfer or cash. A refund that was made in the provider's dashboard needs no
    settling: the provider reports it.
    """
    with transaction(OrdersBatch) as batch:
        return refund.settle_refund(batch, refund_id, caller().subject)
