"""Replace one service's database from a backup set; a kill leaves the old one or the new one."""

import os
import sqlite3
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import BigInteger, Integer, SmallInteger, create_engine, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from farmgate.backup import programs
from farmgate.backup.manifest import CHUNK, OnProgress, Part
from farmgate.backup.snapshots import kind_of, metadata_of
from farmgate.failures import Failed, database_unreachable, reason_of
from shared.runtime import addresses, migrations
from shared.runtime.config import Settings
from shared.runtime.database import Database

_CONNECTIONS = text(
    "SELECT count(*) AS connections, string_agg(DISTINCT usename || ' from ' || "
    "coalesce(host(client_addr), 'this machine'), ', ') AS whose FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid() "
    "AND backend_type = 'client backend'"
)


def check_idle(settings: Settings) -> None:
    """Check that nobody is connected to a service's database.

    Raises:
        Failed: somebody is connected.
        Unreachable: PostgreSQL does not answer.
    """
    name = settings.service
    if kind_of(settings) == "sqlite":
        path = _path(settings)
        if not path.exists():
            return
        try:
            with closing(sqlite3.connect(path, timeout=1)) as connection:
                # Succeeds only without other connections, and merges the -wal file.
                connection.execute("PRAGMA journal_mode=DELETE")
        except sqlite3.OperationalError as error:
            raise Failed(
                f"The database of {name} is in use ({error}): stop what runs on {path} "
                "(farmgate up), then run this again."
            ) from error
        except sqlite3.DatabaseError:
            return  # A damaged database may be replaced.
        return
    engine = create_engine(settings.database_url)
    try:
        with engine.connect() as connection:
            found = connection.execute(_CONNECTIONS).one()
    except SQLAlchemyError as error:
        raise database_unreachable(settings.service, error) from error
    finally:
        engine.dispose()
    if found.connections:
        raise Failed(
            f"The database of {name} is in use: {found.connections} connections ({found.whose}). "
            "Stop all web and worker processes, of all four services, then run this again."
        )


def current_metadata(settings: Settings) -> dict[str, Any] | None:
    """Return the database's metadata, as in a manifest; None if it is missing or unreadable.

    Raises:
        Unreachable: PostgreSQL does not answer.
    """
    if kind_of(settings) == "sqlite" and not _path(settings).exists():
        return None
    database = Database(settings.database_url)
    try:
        with database.read_engine.connect() as connection:
            return metadata_of(connection)
    except Failed:
        return None
    except SQLAlchemyError as error:
        if kind_of(settings) == "sqlite":
            return None
        raise database_unreachable(settings.service, error) from error
    finally:
        database.close()


def replace_database(
    settings: Settings, file: Path, part: Part, epoch: int, jump: int, stamp: str, show: OnProgress
) -> Path | None:
    """Replace a database by a file of the set, migrate it, and set its relay's epoch.

    `jump` is added to every aggregate's version. Returns the path of the old SQLite database;
    an old PostgreSQL database is overwritten.

    Raises:
        Failed, OSError: the database is unchanged, but a PostgreSQL database may be replaced and
            not migrated; the message says so.
    """
    if kind_of(settings) == "postgresql":
        programs.load_postgresql(settings.database_url, file, dict(part.rows), show)
        _migrate_and_advance(settings, epoch, jump)
        return None
    path = _path(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".restoring")
    for leftover in _files(new):
        leftover.unlink(missing_ok=True)
    _copy(file, new, show)
    fresh = replace(settings, database_url=addresses.sqlite(new))
    _migrate_and_advance(fresh, epoch, jump)
    with closing(sqlite3.connect(new)) as connection:
        # One file without -wal, so that one rename replaces the whole database.
        connection.execute("PRAGMA journal_mode=DELETE")
    programs.sync_to_disk(new)
    kept = _keep_old(path, stamp)
    os.replace(new, path)
    programs.sync_to_disk(path.parent)
    return kept


def _migrate_and_advance(settings: Settings, epoch: int, jump: int) -> None:
    """Migrate; set the epoch and raise the versions, so that none is used twice."""
    try:
        migrations.upgrade(settings.service, settings.database_url)
        engine = create_engine(settings.database_url)
        try:
            with engine.begin() as connection:
                connection.execute(
                    text(
                        "INSERT INTO relay_state (id, epoch, position) VALUES (1, :epoch, 0) "
                        "ON CONFLICT (id) DO UPDATE SET epoch = excluded.epoch"
                    ),
                    {"epoch": epoch},
                )
                for table in aggregate_tables(inspect(connection)):
                    connection.execute(
                        text(f'UPDATE "{table}" SET version = version + :jump'), {"jump": jump}
                    )
        finally:
            engine.dispose()
    except SQLAlchemyError as error:
        raise Failed(
            f"{settings.service} was restored but not migrated: "
            f"{reason_of(error)}. Do not start it; run this again."
        ) from error


def aggregate_tables(inspector: Any) -> list[str]:
    """Return the tables with a `version` column, which counts the events of each aggregate."""
    return [
        table
        for table in sorted(inspector.get_table_names())
        for column in inspector.get_columns(table)
        if column["name"] == "version"
        and isinstance(column["type"], (BigInteger, Integer))
        and not isinstance(column["type"], SmallInteger)
    ]


def _keep_old(path: Path, stamp: str) -> Path | None:
    """Hard-link the old database under a second name; the path itself always has a database."""
    if not path.exists():
        return None
    kept = path.with_name(f"{path.name}.before-restore-{stamp}")
    # Only a damaged database still has -wal and -shm files; they would damage the new one.
    for beside in _files(path)[1:]:
        with suppress(FileNotFoundError):
            beside.rename(Path(str(beside).replace(path.name, kept.name)))
    os.link(path, kept)
    return kept


def _files(path: Path) -> list[Path]:
    return [path, *(path.with_name(path.name + end) for end in ("-wal", "-shm", "-journal"))]


def _copy(source: Path, target: Path, show: OnProgress) -> None:
    total, done = source.stat().st_size, 0
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with source.open("rb") as read, open(descriptor, "wb") as write:
        while chunk := read.read(CHUNK):
            write.write(chunk)
            done += len(chunk)
            show(done, total)


def _path(settings: Settings) -> Path:
    return Path(make_url(settings.database_url).database or "")
