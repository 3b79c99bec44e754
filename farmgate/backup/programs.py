"""What copies a database to a file and back: SQLite's own backup, PostgreSQL's own programs."""

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from psycopg.conninfo import make_conninfo
from sqlalchemy.engine import make_url

from farmgate.backup.manifest import Show
from farmgate.failures import Failed

#: Seconds between looks at how far a program is.
LOOK = 0.2
#: Bytes of what a program complains that are shown.
COMPLAINT = 2000

#: Empties the schema, also of what a newer version made there.
_EMPTY = """
SET client_min_messages = warning;
DO $$ DECLARE each record; BEGIN
  FOR each IN SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public' LOOP
    EXECUTE format('DROP TABLE public.%I CASCADE', each.name);
  END LOOP;
  FOR each IN SELECT sequencename AS name FROM pg_sequences WHERE schemaname = 'public' LOOP
    EXECUTE format('DROP SEQUENCE public.%I CASCADE', each.name);
  END LOOP;
  FOR each IN SELECT p.oid::regprocedure AS name FROM pg_proc p
    WHERE p.pronamespace = 'public'::regnamespace AND NOT EXISTS
      (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e') LOOP
    EXECUTE format('DROP ROUTINE %s CASCADE', each.name);
  END LOOP;
END $$;
"""
#: Undoes everything unless each table has the rows that the manifest names.
_COUNT = """
DO $$ DECLARE found bigint; BEGIN
  SELECT count(*) INTO found FROM public."{table}";
  IF found <> {rows} THEN RAISE EXCEPTION '{table} has % rows, not {rows}', found; END IF;
END $$;
"""


def copy_sqlite(source: Any, path: Path, pages: int, show: Show) -> None:
    """Copy what an open connection sees into a new file that needs no other beside it."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with closing(sqlite3.connect(path, isolation_level=None)) as copy:
        source.backup(
            copy, pages=pages, progress=lambda status, left, total: show(total - left, total)
        )
        copy.execute("PRAGMA journal_mode=DELETE")
        (found,) = copy.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise Failed(f"SQLite finds the copy damaged: {found}. Look at the disk, then again.")


def dump_postgresql(url: str, snapshot: str, path: Path, show: Show) -> None:
    """Write what an exported snapshot sees into a new file, in pg_dump's custom format.

    Raises:
        Failed: pg_dump is missing or failed.
    """
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    command = [
        *(program("pg_dump"), "--format=custom", "--no-owner", "--no-privileges"),
        *(f"--snapshot={snapshot}", "--lock-wait-timeout=30s", f"--file={path}"),
        f"--dbname={address_of(url)}",
    ]
    with TemporaryFile() as said:
        running = subprocess.Popen(
            command, env=_environment(url), stdin=subprocess.DEVNULL, stdout=said, stderr=said
        )
        try:
            while _still(running):
                show(path.stat().st_size, 0)
        finally:
            _end(running)
        _must_be_well("pg_dump", running, said)
    show(path.stat().st_size, path.stat().st_size)


def load_postgresql(url: str, path: Path, rows: dict[str, int], show: Show) -> None:
    """Put a dump in the place of everything in a database, in one transaction.

    Raises:
        Failed: a program is missing or failed, or a table has other than `rows`; the database
            is as it was.
    """
    counts = "".join(_COUNT.format(table=table, rows=count) for table, count in rows.items())
    unpack = [program("pg_restore"), "--no-owner", "--no-privileges", "--file=-", str(path)]
    load = [
        *(program("psql"), "--no-psqlrc", "--quiet", "--single-transaction"),
        *("--set=ON_ERROR_STOP=1", f"--command={_EMPTY}", "--file=-", f"--command={counts}"),
        f"--dbname={address_of(url)}",
    ]
    with TemporaryFile() as unpack_said, TemporaryFile() as load_said:
        unpacking = subprocess.Popen(unpack, stdout=subprocess.PIPE, stderr=unpack_said)
        assert unpacking.stdout is not None
        loading = subprocess.Popen(
            load,
            env=_environment(url),
            stdin=unpacking.stdout,
            stdout=subprocess.DEVNULL,
            stderr=load_said,
        )
        unpacking.stdout.close()
        try:
            while _still(loading):
                show(0, 0)
            unpacking.wait()
        finally:
            _end(loading)
            _end(unpacking)
        # The counts are the last word: a dump that ended early commits nothing.
        _must_be_well("psql", loading, load_said)
        _must_be_well("pg_restore", unpacking, unpack_said)
    show(1, 1)


def program(name: str) -> str:
    """Return the path of one of PostgreSQL's client programs.

    Raises:
        Failed: it is not installed.
    """
    found = shutil.which(name)
    if found is None:
        raise Failed(
            f"{name} is not installed: apt-get install postgresql-client (of the server's "
            "version or newer), then run this again."
        )
    return found


def address_of(url: str) -> str:
    """Return SQLAlchemy's address the way PostgreSQL's programs take it, without the password.

    Several servers, `?host=first:5432&host=second:5432`, stay several.
    """
    parts = make_url(url)
    options: dict[str, Any] = dict(parts.query)
    named = options.pop("host", None)
    places = [named] if isinstance(named, str) else list(named or ())
    host, port = parts.host, str(parts.port) if parts.port else None
    if places:
        split = [place.rpartition(":") if ":" in place else (place, "", "5432") for place in places]
        host = ",".join(name for name, _, _ in split)
        port = ",".join(number for _, _, number in split)
    return make_conninfo(
        host=host, port=port, user=parts.username, dbname=parts.database, **options
    )


def _environment(url: str) -> dict[str, str]:
    """Return the environment of a program: a password among its arguments could be read by all."""
    password = make_url(url).password
    return dict(os.environ) | ({"PGPASSWORD": str(password)} if password is not None else {})


def _still(running: "subprocess.Popen[bytes]") -> bool:
    try:
        running.wait(LOOK)
    except subprocess.TimeoutExpired:
        return True
    return False


def _end(running: "subprocess.Popen[bytes]") -> None:
    if running.poll() is None:
        running.kill()
        running.wait()


def _must_be_well(name: str, ended: "subprocess.Popen[bytes]", said: IO[bytes]) -> None:
    if ended.returncode == 0:
        return
    said.seek(0)
    complaint = said.read()[-COMPLAINT:].decode("utf-8", "replace").strip()
    raise Failed(f"{name} failed ({ended.returncode}): {complaint or 'it said nothing'}")
