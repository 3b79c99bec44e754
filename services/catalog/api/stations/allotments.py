"""Routes for allotments, which devices sell while cut off, and for standing rules."""

from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from services.catalog.batch import CatalogBatch
from services.catalog.models import Allotment, StandingRule
from services.catalog.schemas.stations import allotments as schemas
from services.catalog.schemas.stations import standing_rules as rule_schemas
from services.catalog.use_cases.stations import (
    allotment_grants,
    allotment_returns,
    allotment_suspensions,
    allotments,
    inquiries,
    standing_rules,
)
from shared.runtime.belonging import within
from shared.runtime.paging import Page, page
from shared.web import Blueprint, caller, idempotent, reading, scope, transaction
from shared.web.paging import page_arguments, page_of

blp = Blueprint(
    "allotments",
    __name__,
    url_prefix="/api/catalog/v1",
    description="Allotments: what a device may sell of a lot, out of everybody else's reach.",
)


def _shown(session: Session, allotment: Allotment) -> dict[str, Any]:
    session.flush()
    return inquiries.describe_allotments(session, [allotment])[0]


@blp.post("/allotments")
@scope("stations:operate")
@idempotent
@blp.arguments(schemas.GrantRequest, example=schemas.GRANT_EXAMPLE)
@blp.response(201, schemas.GrantedResponse)
@blp.alt_response(404, "NOT_FOUND")
def grant(grant_in: dict[str, Any]) -> dict[str, Any]:
    """Grant a device a quantity of a lot, or of a variant from the lots that expire first.

    The site's own free stock is taken first, then an open centre's. All of it is granted or
    nothing: with less free the answer is 409 and says how much there is.
    """
    with transaction(CatalogBatch) as batch:
        use = allotment_grants.grant_lot if "lot_id" in grant_in else allotment_grants.grant_variant
        granted = use(batch, actor=caller().subject, **grant_in)
        batch.session.flush()
        return {"items": inquiries.describe_allotments(batch.session, granted)}


@blp.get("/allotments")
@scope("stations:read", by_site=True)
@blp.arguments(schemas.ListAllotmentsRequest, location="query")
@blp.response(200, page_of(schemas.AllotmentResponse))
def list_allotments(query: dict[str, Any]) -> Page:
    """List allotments, the newest first."""
    arguments = page_arguments(query)
    with reading() as session:
        found = page(
            session,
            within(allotments.select_allotments(**query), Allotment.site_id, caller().sites),
            Allotment.id,
            descending=True,
            **arguments,
        )
        return Page(inquiries.describe_allotments(session, found.items), found.next)


@blp.post("/allotments/<uuid:allotment_id>/return")
@scope("stations:operate")
@idempotent
@blp.arguments(schemas.ReturnAllottedRequest)
@blp.response(200, schemas.AllotmentResponse)
def return_allotted(return_in: dict[str, Any], allotment_id: UUID) -> dict[str, Any]:
    """Return goods of an allotment, counted by an operator, to the free stock."""
    with transaction(CatalogBatch) as batch:
        return _shown(
            batch.session,
            allotment_returns.take_back(batch, allotment_id, actor=caller().subject, **return_in),
        )


@blp.post("/allotments/<uuid:allotment_id>/suspend")
@scope("stations:operate")
@idempotent
@blp.arguments(schemas.SuspendAllotmentRequest)
@blp.response(200, schemas.AllotmentResponse)
def suspend_allotment(suspension_in: dict[str, Any], allotment_id: UUID) -> dict[str, Any]:
    """Suspend an allotment: its device sells nothing more of it from its next contact on."""
    with transaction(CatalogBatch) as batch:
        return _shown(
            batch.session,
            allotment_suspensions.suspend(
                batch, allotment_id, actor=caller().subject, **suspension_in
            ),
        )


@blp.post("/allotments/<uuid:allotment_id>/resume")
@scope("stations:operate")
@idempotent
@blp.response(200, schemas.AllotmentResponse)
def resume_allotment(allotment_id: UUID) -> dict[str, Any]:
    """Resume a suspended allotment: its device sells again from its next contact on."""
    with transaction(CatalogBatch) as batch:
        return _shown(
            batch.session, allotment_suspensions.resume(batch, allotment_id, actor=caller().subject)
        )


@blp.post("/allotments/<uuid:allotment_id>/write-off")
@scope("stations:operate")
@idempotent
@blp.arguments(schemas.WriteOffRequest)
@blp.response(200, schemas.AllotmentResponse)
def write_off_allotment(count_in: dict[str, Any], allotment_id: UUID) -> dict[str, Any]:
    """Close an allotment after a count.

    The counted quantity is free again; the rest of `remaining` is lost. A sale from the allotment
    that is uploaded later is beyond the grant.
    """
    with transaction(CatalogBatch) as batch:
        return _shown(
            batch.session,
            allotment_returns.write_off(batch, allotment_id, actor=caller().subject, **count_in),
        )


@blp.post("/allotments/<uuid:allotment_id>/close")
@scope("stations:operate")
@idempotent
@blp.response(200, schemas.AllotmentResponse)
def close_allotment(allotment_id: UUID) -> dict[str, Any]:
    """Close an allotment of which nothing is left."""
    with transaction(CatalogBatch) as batch:
        return _shown(
            batch.session, allotment_returns.close(batch, allotment_id, actor=caller().subject)
        )


@blp.get("/lots/<uuid:lot_id>/devices")
@scope("stations:read")
@blp.response(200, schemas.HoldersResponse)
def list_holders(lot_id: UUID) -> dict[str, Any]:
    """List the devices that hold a lot, and whether each knows of its last change.

    After a hold or a recall, devices with `heard` false may still sell it.
    """
    with reading() as session:
        return {"items": inquiries.devices_with_lot(session, lot_id)}


@blp.put("/standing-rules/<uuid:site_id>/<uuid:variant_id>")
@scope("stations:operate")
@blp.arguments(rule_schemas.StandingRuleRequest)
@blp.response(200, rule_schemas.StandingRuleResponse)
@blp.alt_response(422, "UNPROCESSABLE_ENTITY")
def set_standing_rule(rule_in: dict[str, Any], site_id: UUID, variant_id: UUID) -> StandingRule:
    """Keep a quantity of a variant at a site while central stock lasts.

    Catalog grants the missing quantity within seconds, in whole packs. It grants of a perishable
    lot only as much as the site can sell in time. If the stock is too little for all sites, those
    whose stock lasts least are served first.
    """
    with transaction(CatalogBatch) as batch:
        return standing_rules.set_rule(
            batch, site_id, variant_id, actor=caller().subject, **rule_in
        )


@blp.get("/standing-rules")
@scope("stations:read")
@blp.arguments(rule_schemas.ListStandingRulesRequest, location="query")
@blp.response(200, page_of(rule_schemas.StandingRuleResponse))
def list_standing_rules(query: dict[str, Any]) -> Page:
    """List standing rules: the quantity of a variant that is kept at a site."""
    arguments = page_arguments(query)
    with reading() as session:
        return page(session, standing_rules.select_rules(**query), StandingRule.id, **arguments)


@blp.delete("/standing-rules/<uuid:site_id>/<uuid:variant_id>")
@scope("stations:operate")
@blp.response(204)
def drop_standing_rule(site_id: UUID, variant_id: UUID) -> None:
    """Remove the rule for a variant at a site; allotments there stay.

    If there is no such rule, nothing changes.
    """
    with transaction(CatalogBatch) as batch:
        standing_rules.drop_rule(batch, site_id, variant_id)
