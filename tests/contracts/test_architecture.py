"""What import contracts cannot say about the four services."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine

from farmgate.services import NAMES, application_of
from shared.runtime import keys, migrations
from shared.runtime.config import Settings
from shared.runtime.tables import SharedBase
from shared.web.access import scope_of

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("name", NAMES)
def test_every_route_declares_a_scope_or_that_it_is_public(name: str, tmp_path: Path) -> None:
    keys.ensure(tmp_path)
    app = application_of(name)(
        Settings.from_environment(
            name, {"FARMGATE_DATA": str(tmp_path), "FARMGATE_PAYMENT_SECRET": "whsec_c2VjcmV0"}
        )
    )

    undeclared = [
        rule.rule
        for rule in app.url_map.iter_rules()
        if scope_of(app.view_functions[rule.endpoint]) is None
    ]

    assert undeclared == []


@pytest.mark.parametrize("name", NAMES)
def test_nothing_but_edges_commits(name: str) -> None:
    folder = ROOT / "services" / name
    inner = [
        path
        for path in folder.rglob("*.py")
        if any(part.split(".")[0] in ("use_cases", "handlers", "rules") for part in path.parts)
    ]

    assert inner
    for path in inner:
        assert not re.search(r"\.(commit|rollback)\(", path.read_text(encoding="utf-8")), path


def _differences(name: str, url: str) -> list[object]:
    models = __import__(f"services.{name}.models", fromlist=["Base"])
    migrations.upgrade(name, url)
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": False})
            return list(
                compare_metadata(context, [models.Base.metadata, SharedBase.metadata])  # type: ignore[arg-type]
            )
    finally:
        engine.dispose()


@pytest.mark.parametrize("name", NAMES)
def test_migrations_make_what_the_models_say_on_sqlite(name: str, tmp_path: Path) -> None:
    assert _differences(name, f"sqlite:///{tmp_path}/{name}.db") == []


@pytest.mark.postgres
@pytest.mark.parametrize("name", NAMES)
def test_migrations_make_what_the_models_say_on_postgresql(
    name: str, postgres: Callable[[str], str]
) -> None:
    url = postgres(name)

    assert _differences(name, url) == []
    assert migrations.revisions(name, url)[0] == migrations.revisions(name, url)[1]
