"""Put a set, or some services of it, in the databases' place, and let events go out again.

Everything that can be refused is refused before anything is replaced.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from pika.exceptions import AMQPError
from sqlalchemy.exc import SQLAlchemyError

from farmgate.backup import manifest, placing, programs, replaying, saving
from farmgate.backup.manifest import Manifest, Part
from farmgate.backup.replaying import Receiver
from farmgate.backup.saving import Watch
from farmgate.backup.snapshots import kind_of
from farmgate.failures import Failed, Unreachable
from farmgate.services import NAMES, service_of
from shared.messaging import topology
from shared.runtime import migrations
from shared.runtime.clock import now
from shared.runtime.config import Settings
from shared.runtime.database import Database


@dataclass(frozen=True)
class Replacement:
    """What takes the place of what."""

    settings: Settings
    part: Part
    #: As in a manifest; None: there is nothing, or it cannot be read.
    present: Mapping[str, Any] | None


@dataclass(frozen=True)
class Plan:
    """A restore that may be done."""

    folder: Path
    found: Manifest
    replacements: tuple[Replacement, ...]
    #: Service → settings, of all four.
    settings: Mapping[str, Settings]

    @property
    def is_whole(self) -> bool:
        """Whether all four go back to one moment."""
        return len(self.replacements) == len(NAMES)


@dataclass
class Restored:
    """What was done."""

    made_at: str
    #: Service → its relay's new epoch.
    epochs: dict[str, int] = field(default_factory=dict)
    #: Service → where its old database is.
    kept: dict[str, str] = field(default_factory=dict)
    #: Service → events that go out again when it starts.
    again: dict[str, int] = field(default_factory=dict)


def plan(
    folder: Path, settings: Mapping[str, Settings], chosen: Sequence[str], watch: Watch
) -> Plan:
    """Look at a set and at the databases; nothing is changed.

    Raises:
        Failed: the set is not whole, is of a newer version, or a database is in use.
        Unreachable: a database does not answer.
    """
    found = manifest.read(folder)
    replacements = []
    for name in chosen:
        part = found.part(name)
        kind = kind_of(settings[name])
        if part.kind != kind:
            raise Failed(
                f"The set's {name} is of {part.kind}, and FARMGATE_{name.upper()}_DATABASE_URL "
                f"names {kind}. A set is restored to the kind of database it came from."
            )
        if not migrations.knows(name, part.revision):
            raise Failed(
                f"The set's {name} is at revision {part.revision}, which this version does not "
                f"know. Restore it with the version that made it: Farmgate {found.farmgate}."
            )
        manifest.check(folder, part, watch(name, "checked"))
        if kind == "postgresql":
            programs.program("psql")
            programs.program("pg_restore")
    for name in NAMES:  # also those that stay: what they publish again is marked in them
        placing.must_be_idle(settings[name])
    for name in chosen:
        present = placing.present_facts(settings[name])
        replacements.append(Replacement(settings[name], found.part(name), present))
    return Plan(folder, found, tuple(replacements), settings)


def restore(plan: Plan, broker: str, keep: bool, watch: Watch) -> Restored:
    """Do it. A service's database is replaced whole or stays; run again after an interruption.

    With `keep`, what PostgreSQL holds is first saved beside the embedded mode's data. When all
    four are restored, the queues of `broker` (its address, or empty) are emptied: what waits
    there was said by a future that is undone.

    Raises:
        Failed: something could not be done; the message says what to do.
        Unreachable: a database or the broker does not answer.
    """
    moment = now()
    stamp = moment.strftime("%Y%m%dT%H%M%SZ")
    done = Restored(plan.found.made_at.isoformat())
    on_postgres = [r.settings for r in plan.replacements if kind_of(r.settings) == "postgresql"]
    if keep and on_postgres:
        kept = on_postgres[0].data / f"before-restore-{stamp}"
        saving.save(on_postgres, kept, watch)
        done.kept = {settings.service: str(kept) for settings in on_postgres}
    if plan.is_whole and broker:
        _empty_queues(broker)
    # No aggregate gains a version each microsecond: more than whatever was handed out since.
    jump = max(1, (moment - plan.found.made_at) // timedelta(microseconds=1))
    for each in plan.replacements:
        name, part = each.settings.service, each.part
        epoch = _next_epoch(part.epoch, (each.present or {}).get("epoch", 0))
        try:
            old = placing.place(
                each.settings,
                plan.folder / part.file,
                part,
                epoch,
                jump,
                stamp,
                watch(name, "restored"),
            )
        except OSError as error:
            raise Failed(
                f"{name} could not be restored: {error.strerror or error}. Its database is as it "
                "was. Make room, then run this again."
            ) from error
        done.epochs[name] = epoch
        if old is not None:
            done.kept[name] = str(old)
    _let_go_out_again(plan.settings, done, watch)
    return done


def _next_epoch(*known: int) -> int:
    """Return an epoch above all that there were; a lost disk cannot say which it had."""
    return max(int(now().timestamp()), *(epoch + 1 for epoch in known))


def _empty_queues(broker: str) -> None:
    try:
        topology.purge(broker, [service_of(name) for name in NAMES])
    except (AMQPError, OSError) as error:
        raise Unreachable(
            f"The broker cannot be reached: {error!r}. Nothing was replaced. What waits in its "
            "queues must go when all four services go back: start it, then run this again."
        ) from error


def _let_go_out_again(settings: Mapping[str, Settings], done: Restored, watch: Watch) -> None:
    with ExitStack() as stack:
        databases, receivers = {}, []
        for name in NAMES:
            databases[name] = Database(settings[name].database_url)
            stack.callback(databases[name].close)
            types = frozenset(c.routing_key for c in service_of(name).subscriptions)
            receivers.append(Receiver(databases[name], types))
        for name in NAMES:
            show = watch(name, "compared")
            try:
                first = replaying.first_missing(databases[name], receivers)
                if first is not None:
                    epoch = done.epochs.get(name) or _next_epoch(
                        replaying.epoch_of(databases[name])
                    )
                    done.again[name] = replaying.set_back(databases[name], first, epoch)
                    done.epochs[name] = epoch
            except SQLAlchemyError as error:
                raise Unreachable(
                    f"What {name} must publish again could not be marked: "
                    f"{getattr(error, 'orig', None) or error}. Start nothing; see that all four "
                    "databases answer and are migrated, then run this again."
                ) from error
            show(1, 1)
