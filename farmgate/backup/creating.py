"""Write a backup set: the copies, then the manifest, then the rename to the final folder."""

import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import mkdtemp

from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from farmgate.backup import manifest, programs
from farmgate.backup.manifest import FORMAT, Manifest, OnProgress, Part
from farmgate.backup.snapshots import Snapshot, kind_of, take_all
from farmgate.failures import Failed, Unreachable, reason_of
from farmgate.integrators import Account
from shared.runtime.clock import now
from shared.runtime.config import Settings

#: Called with a service and a step; returns the callback for that step's progress.
Reporter = Callable[[str, str], OnProgress]

_FILES = {"sqlite": ".db", "postgresql": ".dump"}


def save(
    every: Sequence[Settings],
    folder: Path,
    report: Reporter,
    integrators: Sequence[Account] | None = None,
) -> Manifest:
    """Write a consistent copy of the services' databases into a new folder.

    Writers wait only while the snapshots are taken. An interrupted backup leaves no folder of
    that name. `integrators` go into the manifest; None means unknown.

    Raises:
        Failed: the folder exists or cannot be written, a program is missing, or the writers
            could not be locked out.
        Unreachable: a database cannot be used.
    """
    if folder.exists():
        raise Failed(f"{folder} exists already. Name a new folder; a backup overwrites nothing.")
    for settings in every:
        _check_exists(settings)
    if any(kind_of(settings) == "postgresql" for settings in every):
        programs.program("pg_dump")  # checked before writers wait
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Mode 0700: the set holds names, addresses and telephone numbers.
        made = Path(mkdtemp(prefix=f".{folder.name}.", suffix=".partial", dir=folder.parent))
        try:
            parts, made_at = _fill(made, every, report)
            accounts = None if integrators is None else tuple(integrators)
            written = Manifest(FORMAT, version("farmgate"), made_at, parts, accounts)
            manifest.write(made, written)
            programs.sync_to_disk(made)
            made.rename(folder)
            programs.sync_to_disk(folder.parent)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
    except OSError as error:
        raise Failed(
            f"{folder} cannot be written: {error.strerror or error}. Free disk space, or name "
            "another folder."
        ) from error
    return written


def _check_exists(settings: Settings) -> None:
    url = make_url(settings.database_url)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
        raise Failed(
            f"{url.database} is missing. Is FARMGATE_DATA the folder of the running system? Else "
            f"run: farmgate migrate {settings.service}"
        )


def _fill(
    folder: Path, every: Sequence[Settings], report: Reporter
) -> tuple[tuple[Part, ...], datetime]:
    with ExitStack() as stack:
        snapshots = []
        for settings in every:
            snapshots.append(Snapshot(settings))
            stack.callback(snapshots[-1].close)
        take_all(snapshots)
        made_at = now()
        parts = []
        for snapshot in snapshots:
            try:
                parts.append(_copy(snapshot, folder, report))
            except (SQLAlchemyError, sqlite3.Error) as error:
                raise Unreachable(
                    f"The database of {snapshot.service} cannot be copied: {reason_of(error)}. The "
                    "incomplete set was deleted; run this again."
                ) from error
    return tuple(parts), made_at


def _copy(snapshot: Snapshot, folder: Path, report: Reporter) -> Part:
    name = snapshot.service + _FILES[snapshot.kind]
    path = folder / name
    metadata = snapshot.metadata()
    snapshot.dump(path, report(snapshot.service, "copied"))
    programs.sync_to_disk(path)
    digest = manifest.digest_of(path, lambda done, total: None)
    return Part(
        service=snapshot.service,
        kind=snapshot.kind,
        file=name,
        bytes=path.stat().st_size,
        sha256=digest,
        **metadata,
    )
