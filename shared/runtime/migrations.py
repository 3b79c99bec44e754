"""One Alembic history per service, over its own tables and the messaging tables.

`python -m shared.runtime.migrations SERVICE MESSAGE` writes the next revision from the models.
There are no downgrades: an operator restores a backup instead. A revision's id contains the name of
its service, so that a database of another service is not taken for an old one of this service.
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
    """Return the folder of a service's migrations."""
    package = importlib.import_module(f"services.{service}")
    assert package.__file__ is not None
    return Path(package.__file__).parent / "migrations"


def config_of(service: str, connection: Connection | None = None) -> Config:
    """Return Alembic's configuration for a service's history and, if given, its database."""
    config = Config()
    # Alembic interpolates % in option values.
    config.set_main_option("script_location", str(folder(service)).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def upgrade(service: str, url: str) -> None:
    """Upgrade a database to the newest revision; a failed upgrade changes nothing.

    Safe to repeat and to run concurrently.
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
                # The driver begins no transaction before DDL: a killed migration would leave half
                # of its tables, and concurrent migrations would conflict.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            command.upgrade(config_of(service, connection), "head")
    finally:
        engine.dispose()


def revisions(service: str, url: str) -> tuple[str | None, str | None]:
    """Return the database's revision and the newest revision; equal when up to date."""
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            present = MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()
    return present, ScriptDirectory.from_config(config_of(service)).get_current_head()


def knows(service: str, revision: str) -> bool:
    """Tell whether this version of the code has `revision`."""
    scripts = ScriptDirectory.from_config(config_of(service))
    return revision in {script.revision for script in scripts.walk_revisions()}


def run(metadata: MetaData) -> None:
    """Run Alembic's current command; each service's `env.py` only calls this."""

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
    """Write the next revision: the difference between the migrations and the models."""
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
