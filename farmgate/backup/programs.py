"""Copy a database to a file and back, with SQLite's backup API and PostgreSQL's client programs."""

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

from farmgate.backup.manifest import OnProgress
from farmgate.failures import Failed

#: Seconds between updates of the progress bar.
POLL_SECONDS = 0.2
#: Bytes of a program's output in an error message: the last ones.
SHOWN_OUTPUT_BYTES = 2000

#: Drops everything in the schema, including tables of a newer version.
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
#: Rolls back unless the table has the number of rows in the manifest.
_COUNT = """
DO $$ DECLARE found bigint; BEGIN
  SELECT count(*) INTO found FROM public."{table}";
  IF found <> {rows} THEN RAISE EXCEPTION '{table} has % rows, not {rows}', found; END IF;
END $$;
"""


def copy_sqlite(source: Any, path: Path, pages: int, show: OnProgress) -> None:
    """Copy an open connection's snapshot into a new file, which needs no -wal file."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with closing(sqlite3.connect(path, isolation_level=None)) as copy:
        source.backup(
            copy, pages=pages, progress=lambda status, left, total: show(total - left, total)
        )
        copy.execute("PRAGMA journal_mode=DELETE")
        (found,) = copy.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise Failed(
            f"SQLite found the copy damaged: {found}. Check the disk, then run this again."
        )


def dump_postgresql(url: str, snapshot: str, path: Path, show: OnProgress) -> None:
    """Dump an exported snapshot into a new file, in pg_dump's custom format.

    Raises:
        Failed: pg_dump is missing or failed.
    """
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    command = [
        *(program("pg_dump"), "--format=custom", "--no-owner", "--no-privileges"),
        *(f"--snapshot={snapshot}", "--lock-wait-timeout=30s", f"--file={path}"),
        f"--dbname={address_of(url)}",
    ]
    with TemporaryFile() as output:
        process = subprocess.Popen(
            command, env=_environment(url), stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        try:
            while _is_running(process):
                show(path.stat().st_size, 0)
        finally:
            _kill(process)
        _check_exit("pg_dump", process, output)
    show(path.stat().st_size, path.stat().st_size)


def load_postgresql(url: str, path: Path, rows: dict[str, int], show: OnProgress) -> None:
    """Replace everything in a database by a dump, in one transaction.

    Raises:
        Failed: a program is missing or failed, or a table's row count differs from `rows`; the
            database is unchanged.
    """
    counts = "".join(_COUNT.format(table=table, rows=count) for table, count in rows.items())
    unpack = [program("pg_restore"), "--no-owner", "--no-privileges", "--file=-", str(path)]
    load = [
        *(program("psql"), "--no-psqlrc", "--quiet", "--single-transaction"),
        *("--set=ON_ERROR_STOP=1", f"--command={_EMPTY}", "--file=-", f"--command={counts}"),
        f"--dbname={address_of(url)}",
    ]
    with TemporaryFile() as unpack_output, TemporaryFile() as load_output:
        unpacking = subprocess.Popen(unpack, stdout=subprocess.PIPE, stderr=unpack_output)
        assert unpacking.stdout is not None
        loading = subprocess.Popen(
            load,
            env=_environment(url),
            stdin=unpacking.stdout,
            stdout=subprocess.DEVNULL,
            stderr=load_output,
        )
        unpacking.stdout.close()
        try:
            while _is_running(loading):
                show(0, 0)
            unpacking.wait()
        finally:
            _kill(loading)
            _kill(unpacking)
        # psql checks the row counts before it commits, so a truncated dump commits nothing.
        _check_exit("psql", loading, load_output)
        _check_exit("pg_restore", unpacking, unpack_output)
    show(1, 1)


def sync_to_disk(path: Path) -> None:
    """Flush a file's content, or a folder's names, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
    """Return a SQLAlchemy URL as a connection string of libpq, without the password.

    Several servers, `?host=first:5432&host=second:5432`, stay in their order.
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
    """Return a program's environment with PGPASSWORD: every user can read its arguments."""
    password = make_url(url).password
    return dict(os.environ) | ({"PGPASSWORD": str(password)} if password is not None else {})


def _is_running(process: "subprocess.Popen[bytes]") -> bool:
    try:
        process.wait(POLL_SECONDS)
    except subprocess.TimeoutExpired:
        return True
    return False


def _kill(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.kill()
        process.wait()


def _check_exit(name: str, process: "subprocess.Popen[bytes]", output: IO[bytes]) -> None:
    if process.returncode == 0:
        return
    output.seek(0)
    shown = output.read()[-SHOWN_OUTPUT_BYTES:].decode("utf-8", "replace").strip()
    raise Failed(f"{name} failed ({process.returncode}): {shown or 'no output'}")
