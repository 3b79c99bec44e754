"""One Alembic history per service, over its own tables and the messaging tables.

`python -m shared.runtime.migrations SERVICE "what changes"` writes the next revision from the
models. Revisions only go forward: the way back is a backup. A revision's id names its service, so
that a database of another service is not taken for an older one of this service.
"""

import importlib
import sys
from pathlib import Path
from typing import Any, Literal

from alembic import command, context
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, create_engine, text
from sqlalchemy.engine import make_url

from shared.runtime import database_errors  # noqa: F401 (hides values)
from shared.runtime.tables import SharedBase, UtcDateTime

TEMPLATE = '''"""${message}"""

import sqlalchemy as sa
from alembic import op
from shared.runtime.tables import UtcDateTime
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}
'''


def folder(service: str) -> Path:
    """Return where a service keeps its migrations."""
    package = importlib.import_module(f"services.{service}")
    assert package.__file__ is not None
    return Path(package.__file__).parent / "migrations"


def config_of(service: str, connection: Connection | None = None) -> Config:
    """Return what Alembic must know of a service's history, and of the database it is about."""
    config = Config()
    # Alembic reads a % in it as the beginning of another option's name.
    config.set_main_option("script_location", str(folder(service)).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def upgrade(service: str, url: str) -> None:
    """Bring a database to the newest revision, or leave it as it is when that fails.

    Safe to call twice, also at the same time.
    """
    database = make_url(url).database
    if url.startswith("sqlite") and database is not None:
        Path(database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('migrate'))"))
            else:
                # The driver begins no transaction before DDL: a migration that is killed would
                # leave half of its tables, and two at once would disturb each other.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            command.upgrade(config_of(service, connection), "head")
    finally:
        engine.dispose()


def revisions(service: str, url: str) -> tuple[str | None, str | None]:
    """Return the revision a database is at and the newest there is; equal when up to date."""
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            present = MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()
    return present, ScriptDirectory.from_config(config_of(service)).get_current_head()


def knows(service: str, revision: str) -> bool:
    """Tell whether a revision is one of this version's; a newer version's is not."""
    scripts = ScriptDirectory.from_config(config_of(service))
    return revision in {script.revision for script in scripts.walk_revisions()}


def run(metadata: MetaData) -> None:
    """Run what Alembic was asked for; each service's `env.py` calls this and nothing else."""

    def render(kind: str, thing: Any, autogenerate: Any) -> str | Literal[False]:
        return "UtcDateTime()" if kind == "type" and isinstance(thing, UtcDateTime) else False

    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=[metadata, SharedBase.metadata],
        render_item=render,
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def revise(service: str, message: str) -> None:
    """Write the next revision from the difference between the migrations and the models."""
    place = folder(service)
    (place / "versions").mkdir(parents=True, exist_ok=True)
    template = place / "script.py.mako"
    number = len(list((place / "versions").glob("[0-9]*.py"))) + 1
    engine = create_engine("sqlite://")
    template.write_text(TEMPLATE, encoding="utf-8")
    try:
        with engine.begin() as connection:
            config = config_of(service, connection)
            config.set_main_option("file_template", f"{number:04d}_%%(slug)s")
            if number > 1:
                command.upgrade(config, "head")
            revision = f"{service}_{number:04d}"
            command.revision(config, message, autogenerate=True, rev_id=revision)
    finally:
        template.unlink()
        engine.dispose()


if __name__ == "__main__":
    revise(*sys.argv[1:3])
