"""What the OpenAPI document says of the HTTP base is what requests made from it find."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, assume, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS

from tests.support.chance import examples

Headers = Callable[..., dict[str, str]]

#: A request that fits the document may still be refused: a key used before, an unknown cursor.
FITTING_MAY_BE_REFUSED = "positive_data_acceptance"


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_requests_made_from_the_document_find_nothing(
    app: Flask, token: Headers, door: Any, mode: GenerationMode
) -> None:
    door.names_mean_trouble = False
    schema = schemathesis.openapi.from_wsgi("/api/things/openapi.json", app)
    given_token = token("things:read", "things:write", "operate")["Authorization"]

    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path.endswith("/slow") or "/kept/" in operation.path:
            continue  # made to time out, and to answer with any status
        if mode is GenerationMode.NEGATIVE and "/trace/" in operation.path:
            continue  # a wrong kind of value, written into a query, is a list of words again

        @settings(
            max_examples=examples(20),
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def call(case: Any) -> None:
            # An empty list is not there any more once it is written into a query.
            assume([] not in (case.query or {}).values())
            case.call_and_validate(
                headers={"Authorization": given_token},
                excluded_checks=[CHECKS.get_one(FITTING_MAY_BE_REFUSED)],
            )

        with suppress(Unsatisfiable):  # a route without parameters can be asked in one way only
            call()
