"""Enterprises as CSV."""

from collections.abc import Callable
from typing import Any

from tests.catalog.spreadsheets.rows import Recorded, counts, mistakes

ENTERPRISES = "enterprise,name_zh,name_bo,roles,region_code,licence_no,phone,language\r\n"


def test_enterprises_are_registered_from_a_file_and_can_be_reached(
    send: Any, recorded_events: Recorded, get: Any
) -> None:
    rows = (
        "P-1,扎西,བཀྲ་ཤིས,producer,540421103,,138 0013 8001,bo\r\n"
        "C-1,合作社,,cooperative producer,,L-9,,\r\n"
    )

    answer = send("enterprises", ENTERPRISES + rows)

    assert counts(answer) == (2, 0, 0)
    ((kind, contact),) = recorded_events()
    assert kind == "catalog.enterprise_contact_given.v1"
    assert (contact["phone"], contact["language"]) == ("+8613800138001", "bo")
    shown = get("/enterprises", code="C-1").json["items"][0]
    assert (shown["roles"], shown["licence_no"]) == (["cooperative", "producer"], "L-9")


def test_exported_enterprises_can_be_imported_and_change_nothing(
    shop: Any, send: Any, fetch: Callable[[str], str], recorded_events: Recorded
) -> None:
    before = recorded_events()

    answer = send("enterprises", fetch("enterprises"))

    assert (counts(answer), recorded_events()) == ((0, 0, 1), before)


def test_an_enterprise_is_changed_where_the_file_has_a_column(send: Any, get: Any) -> None:
    send("enterprises", ENTERPRISES + "P-1,扎西,བཀྲ་ཤིས,producer,540421103,L-1,,\r\n")

    answer = send(
        "enterprises", "enterprise,name_zh,roles,licence_no\r\nP-1,扎西,producer company,\r\n"
    )

    shown = get("/enterprises", code="P-1").json["items"][0]
    assert counts(answer) == (0, 1, 0)
    assert shown["names"] == {"zh": "扎西", "bo": "བཀྲ་ཤིས"}
    assert (shown["region_code"], shown["licence_no"]) == ("540421103", None)
    assert shown["roles"] == ["company", "producer"]


def test_mistakes_in_enterprises_are_named(shop: Any, send: Any, get: Any) -> None:
    rows = (
        "P-001,扎西,,company,,,,\r\n"
        "P-2,扎西,,farmer,,,,\r\n"
        "P-3,扎西,,producer,,,1-800-FLOWERS,zh\r\n"
        "P-4,扎西,,producer,,,138 0013 8001,\r\n"
        "P-5,扎西,,producer,,,,xx\r\n"
        "P-6,扎西,,producer,,,,\r\nP-6,扎西,,producer,,,,\r\n"
    )

    answer = send("enterprises", ENTERPRISES + rows)

    assert mistakes(answer) == [
        (2, "roles"),
        (3, "roles"),
        (4, "phone"),
        (5, "language"),
        (6, "language"),
        (8, "enterprise"),
    ]
    assert len(get("/enterprises").json["items"]) == 1
