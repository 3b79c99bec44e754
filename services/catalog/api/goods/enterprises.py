"""Routes for enterprises, which bring lots, and for their members."""

from typing import Any
from uuid import UUID

from services.catalog.batch import CatalogBatch
from services.catalog.models import Enterprise, Membership
from services.catalog.schemas.goods import enterprises as schemas
from services.catalog.use_cases.goods import enterprises
from shared.runtime.paging import Page, page
from shared.web import Blueprint, idempotent, reading, scope, transaction
from shared.web.paging import page_arguments, page_of

blp = Blueprint(
    "enterprises",
    __name__,
    url_prefix="/api/catalog/v1",
    description="Farmers, cooperatives and companies that bring lots.",
)


@blp.post("/enterprises")
@scope("catalog:write")
@idempotent
@blp.arguments(schemas.RegisterEnterpriseRequest, example=schemas.ENTERPRISE_EXAMPLE)
@blp.response(201, schemas.EnterpriseResponse)
def register_enterprise(enterprise_in: dict[str, Any]) -> Enterprise:
    """Register a farmer, cooperative or company.

    Catalog passes the contact on to notifications and does not store it. If an enterprise with
    equal content exists, the answer is that enterprise.
    """
    with transaction(CatalogBatch) as batch:
        return enterprises.register_enterprise(batch, **enterprise_in)


@blp.get("/enterprises")
@scope("stock:read")
@blp.arguments(schemas.ListEnterprisesRequest, location="query")
@blp.response(200, page_of(schemas.EnterpriseResponse))
def list_enterprises(query: dict[str, Any]) -> Page:
    """List enterprises, in the order in which they were registered."""
    arguments = page_arguments(query)
    with reading() as session:
        return page(session, enterprises.select_enterprises(**query), Enterprise.id, **arguments)


@blp.get("/enterprises/<uuid:enterprise_id>")
@scope("stock:read")
@blp.response(200, schemas.EnterpriseResponse)
def show_enterprise(enterprise_id: UUID) -> Enterprise:
    """Show an enterprise with its members."""
    with reading() as session:
        return enterprises.get_enterprise(session, enterprise_id)


@blp.post("/enterprises/<uuid:enterprise_id>/memberships")
@scope("catalog:write")
@idempotent
@blp.arguments(schemas.AddMemberRequest)
@blp.response(201, schemas.MembershipResponse)
def add_member(member_in: dict[str, Any], enterprise_id: UUID) -> Membership:
    """Add a producer to a cooperative, with a share of its earnings."""
    with transaction(CatalogBatch) as batch:
        return enterprises.add_member(batch, enterprise_id, **member_in)


@blp.put("/enterprises/<uuid:enterprise_id>/contact")
@scope("catalog:write")
@blp.arguments(schemas.ContactRequest)
@blp.response(204)
def give_contact(contact_in: dict[str, Any], enterprise_id: UUID) -> None:
    """Set the contact of an enterprise.

    Catalog passes it on to notifications and does not store it.
    """
    with transaction(CatalogBatch) as batch:
        enterprises.give_contact(batch, enterprise_id, **contact_in)
