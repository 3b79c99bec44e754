"""How the tests of logistics' API write sites and routes, and read what was told."""

from collections.abc import Callable
from typing import Any

Headers = Callable[..., dict[str, str]]
Recorded = Callable[[], list[tuple[str, dict[str, Any]]]]
Act = Callable[..., Any]
BASE = "/api/logistics/v1"


def a_site(**changes: Any) -> dict[str, Any]:
    return {"code": "C", "level": "centre", "names": {"zh": "中心", "en": "Centre"}} | changes


def a_route(**changes: Any) -> dict[str, Any]:
    return {"from_code": "C", "to_code": "K", "hours": 6, "days": [1, 3, 5]} | changes


def facts(recorded_events: Recorded) -> list[str]:
    """The facts recorded so far, without their service and version."""
    return [type_.split(".")[1] for type_, _ in recorded_events()]


def shipment_facts(recorded_events: Recorded) -> list[str]:
    return [fact for fact in facts(recorded_events) if fact != "site_opened"]
