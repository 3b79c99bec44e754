"""Restore a backup set, or some services of it, and mark events that must be published again.

All checks run before the first database is replaced.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from pika.exceptions import AMQPError
from sqlalchemy.exc import SQLAlchemyError

from farmgate.backup import creating, manifest, programs, replacing, republishing
from farmgate.backup.creating import Reporter
from farmgate.backup.manifest import Manifest, Part
from farmgate.backup.republishing import Receiver
from farmgate.backup.snapshots import kind_of
from farmgate.failures import Failed, Unreachable, reason_of
from farmgate.services import NAMES, service_of
from shared.messaging import topology
from shared.runtime import migrations
from shared.runtime.clock import now
from shared.runtime.config import Settings
from shared.runtime.database import Database


@dataclass(frozen=True)
class Replacement:
    """A service's database and the part of the set that replaces it."""

    settings: Settings
    part: Part
    #: The present database's metadata, as in a manifest; None if missing or unreadable.
    present: Mapping[str, Any] | None


@dataclass(frozen=True)
class Plan:
    """A restore whose checks all passed."""

    folder: Path
    found: Manifest
    replacements: tuple[Replacement, ...]
    #: Service → settings, for all four services.
    settings: Mapping[str, Settings]

    @property
    def is_complete(self) -> bool:
        """Whether it restores all four services."""
        return len(self.replacements) == len(NAMES)


@dataclass
class Restored:
    """The result of a restore."""

    made_at: str
    #: Service → its relay's new epoch.
    epochs: dict[str, int] = field(default_factory=dict)
    #: Service → path of its old database.
    kept: dict[str, str] = field(default_factory=dict)
    #: Service → number of events that it publishes again after its start.
    again: dict[str, int] = field(default_factory=dict)


def plan(
    folder: Path, settings: Mapping[str, Settings], chosen: Sequence[str], report: Reporter
) -> Plan:
    """Check the set and the databases; change nothing.

    Raises:
        Failed: the set is incomplete or of a newer version, or a database is in use.
        Unreachable: a database does not answer.
    """
    found = manifest.read(folder)
    replacements = []
    for name in chosen:
        part = found.part(name)
        kind = kind_of(settings[name])
        if part.kind != kind:
            raise Failed(
                f"The set has {name} from {part.kind}, and FARMGATE_{name.upper()}_DATABASE_URL "
                f"names {kind}. A backup can only be restored to the same kind of database."
            )
        if not migrations.knows(name, part.revision):
            raise Failed(
                f"The set has {name} at revision {part.revision}, which this version does not "
                f"know. Restore it with the version that ran on these databases; the set was made "
                f"with Farmgate {found.farmgate}."
            )
        manifest.check(folder, part, report(name, "checked"))
        if kind == "postgresql":
            programs.program("psql")
            programs.program("pg_restore")
    # All four: a restore also marks events in the outboxes of services that it does not replace.
    for name in NAMES:
        replacing.check_idle(settings[name])
    for name in chosen:
        present = replacing.current_metadata(settings[name])
        replacements.append(Replacement(settings[name], found.part(name), present))
    return Plan(folder, found, tuple(replacements), settings)


def restore(plan: Plan, broker: str, keep: bool, report: Reporter) -> Restored:
    """Replace the databases of a plan; after an interruption, run it again.

    Each database is replaced completely or stays unchanged. With `keep`, PostgreSQL databases
    are first backed up in the data folder. If all four services are restored, the queues of
    `broker` (a URL, or empty) are purged: their events are newer than the set.

    Raises:
        Failed: a database could not be replaced; the message says what to do.
        Unreachable: a database or the broker does not answer.
    """
    moment = now()
    stamp = moment.strftime("%Y%m%dT%H%M%SZ")
    done = Restored(plan.found.made_at.isoformat())
    on_postgres = [r.settings for r in plan.replacements if kind_of(r.settings) == "postgresql"]
    if keep and on_postgres:
        kept = on_postgres[0].data / f"before-restore-{stamp}"
        creating.save(on_postgres, kept, report)
        done.kept = {settings.service: str(kept) for settings in on_postgres}
    if plan.is_complete and broker:
        _purge_queues(broker)
    # An aggregate gains fewer versions than microseconds pass, so no version is used twice.
    jump = max(1, (moment - plan.found.made_at) // timedelta(microseconds=1))
    for each in plan.replacements:
        name, part = each.settings.service, each.part
        epoch = _next_epoch(part.epoch, (each.present or {}).get("epoch", 0))
        try:
            old = replacing.replace_database(
                each.settings,
                plan.folder / part.file,
                part,
                epoch,
                jump,
                stamp,
                report(name, "restored"),
            )
        except OSError as error:
            raise Failed(
                f"{name} could not be restored: {error.strerror or error}. Its database is "
                "unchanged. Free disk space, then run this again."
            ) from error
        done.epochs[name] = epoch
        if old is not None:
            done.kept[name] = str(old)
    _republish_missing(plan.settings, done, report)
    return done


def _next_epoch(*used: int) -> int:
    """Return an epoch above all used ones: now in seconds, as a lost database's is unknown."""
    return max(int(now().timestamp()), *(epoch + 1 for epoch in used))


def _purge_queues(broker: str) -> None:
    try:
        topology.purge(broker, [service_of(name) for name in NAMES])
    except (AMQPError, OSError) as error:
        raise Unreachable(
            f"The broker cannot be reached: {error!r}. Nothing was replaced. A restore of all four "
            "services purges the broker's queues: start it, then run this again."
        ) from error


def _republish_missing(settings: Mapping[str, Settings], done: Restored, report: Reporter) -> None:
    with ExitStack() as stack:
        databases, receivers = {}, []
        for name in NAMES:
            databases[name] = Database(settings[name].database_url)
            stack.callback(databases[name].close)
            types = frozenset(c.routing_key for c in service_of(name).subscriptions)
            receivers.append(Receiver(databases[name], types))
        for name in NAMES:
            show = report(name, "compared")
            try:
                first = republishing.first_missing(databases[name], receivers)
                if first is not None:
                    epoch = done.epochs.get(name) or _next_epoch(
                        republishing.epoch_of(databases[name])
                    )
                    done.again[name] = republishing.mark_for_republish(
                        databases[name], first, epoch
                    )
                    done.epochs[name] = epoch
            except SQLAlchemyError as error:
                raise Unreachable(
                    f"The events that {name} must publish again could not be marked: "
                    f"{reason_of(error)}. Start nothing; make sure that all four databases answer "
                    "and are migrated, then run this again."
                ) from error
            show(1, 1)
