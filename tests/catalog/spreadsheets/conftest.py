"""Import and export a file."""

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.catalog.spreadsheets.rows import URL


@pytest.fixture
def send(client: FlaskClient, token: Callable[..., dict[str, str]]) -> Callable[..., Any]:
    """Import a file; returns the answer."""

    def post(kind: str, text: str | bytes, dry_run: bool = False, **headers: str) -> Any:
        scopes = token("catalog:write", "stock:write")
        return client.post(
            f"{URL}/imports/{kind}",
            query_string={"dry_run": "true"} if dry_run else {},
            data=text.encode() if isinstance(text, str) else text,
            headers=scopes | {"Content-Type": "text/csv; charset=utf-8"} | headers,
        )

    return post


@pytest.fixture
def fetch(client: FlaskClient, token: Callable[..., dict[str, str]]) -> Callable[[str], str]:
    """Export a file; returns its text."""

    def get(kind: str) -> str:
        answer = client.get(f"{URL}/exports/{kind}.csv", headers=token("stock:read"))
        assert answer.status_code == 200
        assert answer.mimetype == "text/csv"
        return answer.get_data(as_text=True)

    return get
