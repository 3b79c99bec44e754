"""Routes for CSV: an export is what the import takes."""

from typing import Any

from flask import Response

from services.logistics.schemas import spreadsheets as schemas
from services.logistics.use_cases import site_sheet
from shared.spreadsheets import Outcome
from shared.web import Blueprint, idempotent, reading, scope, transaction
from shared.web.spreadsheets import (
    GUIDE,
    ImportRequest,
    ImportResponse,
    answer,
    file,
    takes_file,
)
from shared.web.spreadsheets import sheet as sheet_of

blp = Blueprint(
    "spreadsheets",
    __name__,
    url_prefix="/api/logistics/v1",
    description=f"Sites as {GUIDE}",
)

SITES = file(
    ",".join(schemas.SITES),
    "540421103,township,540421,巴河镇,,Bahe Town,29.87,93.66,09:00-18:00",
)


@blp.post("/imports/sites")
@scope("sites:write")
@takes_file
@idempotent
@blp.arguments(ImportRequest, location="query")
@blp.response(200, ImportResponse)
@blp.doc(requestBody=SITES)
def import_sites(import_in: dict[str, Any]) -> Outcome:
    """Open the sites of a file, or change those that are open.

    Parents may be in the same file, in any order. An import neither moves nor closes a site.
    """
    dry_run = import_in.pop("dry_run")
    sheet = sheet_of(schemas.SITES, **import_in)
    with transaction() as session:
        return site_sheet.import_sites(session, sheet, dry_run)


@blp.get("/exports/sites.csv")
@scope("sites:write")
@blp.response(200, content_type="text/csv", schema={"type": "string"})
def export_sites() -> Response:
    """Export the open sites as `imports/sites` takes them."""
    with reading() as session:
        return answer(schemas.SITES, site_sheet.export_sites(session), "sites")
