"""Routes for CSV; an import accepts the file of an export."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy.orm import Session

from services.logistics.batch import LogisticsBatch
from services.logistics.schemas.spreadsheets import SITES
from services.logistics.use_cases import site_sheet
from shared.runtime.spreadsheets import Outcome, Sheet
from shared.web import Blueprint, transaction
from shared.web.spreadsheets import GUIDE, exporting, importing

blp = Blueprint(
    "spreadsheets",
    __name__,
    url_prefix="/api/logistics/v1",
    description=f"Sites as {GUIDE}",
)


@importing(
    blp,
    "sites",
    "sites:write",
    SITES,
    "540421103,township,540421,巴河镇,,Bahe Town,29.87,93.66,09:00-18:00",
)
def import_sites(sheet: Sheet, dry_run: bool) -> Outcome:
    """Open the sites of a file, or change open ones.

    Parents may be in the same file, in any order. An import neither moves nor closes a site.
    """
    with transaction(LogisticsBatch) as batch:
        return site_sheet.import_sites(batch, sheet, dry_run)


@exporting(blp, "sites", "sites:write", SITES)
def export_sites(session: Session) -> Iterable[Sequence[Any]]:
    """Export the open sites in the format of `imports/sites`."""
    return site_sheet.export_sites(session)
