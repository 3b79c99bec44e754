"""Make a set: all copies first, the manifest last, and the folder's name last of all."""

import os
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
from farmgate.backup.manifest import FORMAT, Manifest, Part, Show
from farmgate.backup.snapshots import Snapshot, freeze_all, kind_of
from farmgate.failures import Failed, Unreachable
from farmgate.integrators import Account
from shared.runtime.clock import now
from shared.runtime.config import Settings

#: Given a service and what is done, returns whom to tell how far it is.
Watch = Callable[[str, str], Show]

_FILES = {"sqlite": ".db", "postgresql": ".dump"}


def save(
    every: Sequence[Settings],
    folder: Path,
    watch: Watch,
    integrators: Sequence[Account] | None = None,
) -> Manifest:
    """Write the services' databases, as they are at one moment, into a new folder.

    Writers wait for an instant; copies are made while they go on. What is interrupted leaves no
    folder of that name. `integrators` are kept beside, None when nobody knows them.

    Raises:
        Failed: the folder exists or cannot be written, a program is missing, or the writers
            could not be held.
        Unreachable: a database cannot be used.
    """
    if folder.exists():
        raise Failed(f"{folder} exists already. Name a new folder; a set is never written over.")
    for settings in every:
        _must_be_there(settings)
    if any(kind_of(settings) == "postgresql" for settings in every):
        programs.program("pg_dump")  # before anybody waits
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Readable by its owner alone: it holds names, addresses and telephone numbers.
        made = Path(mkdtemp(prefix=f".{folder.name}.", suffix=".partial", dir=folder.parent))
        try:
            parts, made_at = _fill(made, every, watch)
            known = None if integrators is None else tuple(integrators)
            found = Manifest(FORMAT, version("farmgate"), made_at, parts, known)
            manifest.write(made, found)
            _to_disk(made)
            made.rename(folder)
            _to_disk(folder.parent)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
    except OSError as error:
        raise Failed(
            f"{folder} cannot be written: {error.strerror or error}. Make room, or name another "
            "place."
        ) from error
    return found


def _must_be_there(settings: Settings) -> None:
    url = make_url(settings.database_url)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
        raise Failed(
            f"{url.database} is missing. Is FARMGATE_DATA the folder of the running system? Else "
            f"run: farmgate migrate {settings.service}"
        )


def _fill(
    folder: Path, every: Sequence[Settings], watch: Watch
) -> tuple[tuple[Part, ...], datetime]:
    with ExitStack() as stack:
        snapshots = []
        for settings in every:
            snapshots.append(Snapshot(settings))
            stack.callback(snapshots[-1].close)
        freeze_all(snapshots)
        made_at = now()
        parts = []
        for snapshot in snapshots:
            try:
                parts.append(_copy(snapshot, folder, watch))
            except (SQLAlchemyError, sqlite3.Error) as error:
                reason = getattr(error, "orig", None) or error
                raise Unreachable(
                    f"The database of {snapshot.service} cannot be copied: {reason}. Nothing is "
                    "left of this set; run it again."
                ) from error
    return tuple(parts), made_at


def _copy(snapshot: Snapshot, folder: Path, watch: Watch) -> Part:
    name = snapshot.service + _FILES[snapshot.kind]
    path = folder / name
    facts = snapshot.facts()
    snapshot.dump(path, watch(snapshot.service, "copied"))
    _to_disk(path)
    digest = manifest.digest_of(path, lambda done, total: None)
    return Part(
        service=snapshot.service,
        kind=snapshot.kind,
        file=name,
        bytes=path.stat().st_size,
        sha256=digest,
        **facts,
    )


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
