"""Each field of each request of the four services: what no field of its kind may let through."""

from collections.abc import Iterator
from typing import Any

import pytest
from marshmallow import ValidationError, fields
from marshmallow.validate import Length

from farmgate.services import NAMES, application_of
from shared.runtime.clock import in_calendar
from shared.runtime.schemas import RequestSchema, Text

#: Compared with what another service wrote, character by character; blanks just find nothing.
EXACT = {
    ("PageRequest", "cursor"),
    ("ListParkedRequest", "reason"),
    ("ListParkedRequest", "type"),
    ("ListParkedRequest", "subject"),
    ("ReplayAllRequest", "reason"),
    ("ReplayAllRequest", "type"),
    ("TraceRequest", "subject"),
    ("ReadEventsRequest", "after"),
    ("ReadEventsRequest", "partner"),
    ("ListActionsRequest", "partner"),
    ("ListEndpointsRequest", "partner"),
    ("CreateEndpointRequest", "partner"),
}
BLANKS = [" ", "   ", "\u3000\u3000", "\u00a0", "\u200b", "\n", "\u3164"]


def _schemas(base: type[RequestSchema]) -> Iterator[type[RequestSchema]]:
    for schema in base.__subclasses__():
        yield schema
        yield from _schemas(schema)


def _fields(kind: type[fields.Field[Any]]) -> list[Any]:
    for name in NAMES:
        application_of(name)  # the import declares its schemas
    found = {}
    for schema in _schemas(RequestSchema):
        if not schema.__module__.startswith(("services.", "shared.")):
            continue
        for name, field in schema._declared_fields.items():
            while isinstance(field, fields.List) and not issubclass(kind, fields.List):
                field = field.inner
            owner = next(c for c in reversed(schema.__mro__) if name in _declared(c))
            if isinstance(field, kind) and (owner.__name__, name) not in EXACT:
                found[f"{owner.__module__}.{owner.__name__}.{name}"] = field
    return [pytest.param(found[where], id=where) for where in sorted(found)]


def _declared(schema: type) -> dict[str, Any]:
    return getattr(schema, "_declared_fields", {})


@pytest.mark.parametrize("field", _fields(fields.String))
def test_blanks_fill_no_text(field: fields.String) -> None:
    for blank in BLANKS:
        with pytest.raises(ValidationError):
            field.deserialize(blank)


@pytest.mark.parametrize("field", _fields(Text))
def test_text_is_normalised_before_its_length_is_checked(field: Text) -> None:
    longest = "卓" * field.longest

    assert field.deserialize(f"\u3000{longest}\u200b ") == longest
    with pytest.raises(ValidationError):
        field.deserialize(longest + "卓")


@pytest.mark.parametrize("field", _fields(fields.Date))
def test_dates_that_no_calendar_sum_can_bear_are_refused(field: fields.Date) -> None:
    assert field.deserialize("2026-11-30").isoformat() == "2026-11-30"
    for day in ("0001-01-01", "1899-12-31", "2200-01-01", "9999-12-31"):
        with pytest.raises(ValidationError):
            field.deserialize(day)


@pytest.mark.parametrize("field", _fields(fields.DateTime))
def test_no_moment_that_no_time_zone_can_bear_comes_in(field: fields.DateTime) -> None:
    assert field.deserialize("2026-11-30T08:00:00+08:00").isoformat() == "2026-11-30T00:00:00+00:00"
    for moment in (
        "0001-01-01T00:00:00+14:00",
        "1899-12-31T23:59:59Z",
        "2200-01-01T00:00:00Z",
        "9999-12-31T23:59:59-12:00",
        "2026-11-30T08:00:00",
    ):
        try:
            taken = field.deserialize(moment)
        except ValidationError:
            continue
        # A till's clock is taken for the last moment there is, so that it can be told the time.
        assert in_calendar(taken) == taken


@pytest.mark.parametrize("field", [*_fields(fields.List), *_fields(fields.Dict)])
def test_a_list_or_an_object_says_how_many_parts_it_may_have(field: fields.Field[Any]) -> None:
    if isinstance(field, fields.Dict) and field.value_field is None:
        return  # free JSON, such as the data of an event, of which no part is looked at

    assert any(isinstance(check, Length) and check.max for check in field.validators)
