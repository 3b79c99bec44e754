"""The columns of CSV files, each the field of a request."""

from services.logistics.schemas.network import NamesRequest, OpenSiteRequest
from shared.runtime.spreadsheets import column

SITES = {
    "site": column(OpenSiteRequest, "code"),
    "level": column(OpenSiteRequest, "level"),
    "parent_code": column(OpenSiteRequest, "parent_code"),
    "name_zh": column(NamesRequest, "zh"),
    "name_bo": column(NamesRequest, "bo"),
    "name_en": column(NamesRequest, "en"),
    "latitude": column(OpenSiteRequest, "latitude"),
    "longitude": column(OpenSiteRequest, "longitude"),
    "opening_hours": column(OpenSiteRequest, "opening_hours"),
}
