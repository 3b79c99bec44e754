"""Keep the broker's topology as declared: what somebody deleted is there again within seconds.

Runs with the user that may configure, beside the services, which may not. Exchange and queues are
looked for. AMQP shows no bindings: a `Witness` tells of them, and without one they are simply made
again, which changes nothing where they exist.

A queue that was missing took its messages with it, and they had been confirmed; what a deleted
binding would have carried was confirmed if another queue took it; and an exchange that is made anew
takes events before its last binding is. So before any of them is there again, its publishers are
asked to publish anew (see `shared.messaging.dead_letters`): the request is durable at the broker,
so that it outlives this process, and inboxes drop what took effect. An integrator's queue comes
back empty, since every other integrator would get what is published anew a second time: that is
for an operator to decide.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

import pika
from pika.adapters.blocking_connection import BlockingChannel

from shared.messaging import topology
from shared.messaging.broker import parameters_of
from shared.messaging.topology import Integrator, Seen, Subscriber
from shared.runtime.clock import now, rfc3339
from shared.runtime.logs import get
from shared.runtime.supervision import Stopping

log = get(__name__)

#: Before the last moment at which all was well. A consumer may hold what it took for as long as the
#: broker lets it, 30 minutes; and the clock of a publisher may be an hour wrong.
MARGIN = timedelta(hours=1)
#: For a queue that was never seen empty: all that the outboxes keep.
EVER = datetime(1970, 1, 1, tzinfo=UTC)
#: How long a witness may see nothing before bindings are made again unseen.
PATIENCE = timedelta(minutes=1)
#: After which the moment that is remembered is worth another word at the broker.
REMEMBERED = timedelta(minutes=1)

#: Queue → event types, such as `shared.messaging.topology.Topology` has them.
Bindings = Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class Whole:
    """Bindings that were there, all of them, at a moment."""

    bindings: Bindings
    at: datetime


class Witness(Protocol):
    """Who sees what AMQP does not show, and remembers what must outlive the keeper."""

    def integrators(self) -> Sequence[Integrator]:
        """Return whose queues are to be kept besides the services'."""

    def bound(self) -> Bindings | None:
        """Return what is bound to the exchange; None when that cannot be seen."""

    def remembered(self) -> Whole | None:
        """Return what `remember` was told last, by whichever process."""

    def remember(self, whole: Whole) -> None:
        """Keep it where it outlives this process."""


class Blind:
    """A witness where there is none."""

    def integrators(self) -> Sequence[Integrator]:
        """Know of nobody."""
        return ()

    def bound(self) -> None:
        """See nothing."""

    def remembered(self) -> None:
        """Remember nothing."""

    def remember(self, whole: Whole) -> None:
        """Forget it."""


class Healer:
    """Looks and mends, round by round; knows since when what a queue held is unknown."""

    def __init__(
        self,
        url: str,
        services: Sequence[Subscriber],
        witness: Witness | None = None,
    ) -> None:
        """Keep what `services` need, and what `witness` tells of."""
        self.url, self.services, self.witness = url, services, witness or Blind()
        self._bindings = topology.topology_of(services).bindings
        #: Queue → the last moment at which it was seen with a consumer and without a message.
        self._empty_at: dict[str, datetime] = {}
        #: The last moment at which all was bound, and the last that is kept by the witness.
        self._whole: Whole | None = None
        self._kept: Whole | None = None
        #: When bindings could be seen last, at the earliest when this began.
        self._seen_at = EVER if witness is None else now()
        #: Queues that were seen to be there and of no use.
        self._down: set[str] = set()

    def run(self, every: float, stopping: Stopping) -> None:
        """Mend every so many seconds, over one connection, until the process stops.

        Raises:
            OSError, pika.exceptions.AMQPError: the broker is away or refused; start again.
        """
        connection = pika.BlockingConnection(parameters_of(self.url))
        try:
            while not stopping.is_set():
                self.mend(connection)
                connection.process_data_events(time_limit=0)
                stopping.wait(every)
        finally:
            if connection.is_open:
                connection.close()

    def mend(self, connection: pika.BlockingConnection) -> list[str]:
        """Declare again what is missing, and have published anew what it held or would have got.

        Returns the names of what was missing, a binding as `queue < event type`.

        Raises:
            pika.exceptions.AMQPError: the broker refused or is away.
        """
        moment = now()
        # Before the queues are looked for: of one that is deleted in between, the look tells.
        bound = self.witness.bound()
        found = topology.look(connection, self.services)
        absent = [name for name, seen in found.items() if seen is None]
        self._empty_at |= {
            name: moment
            for name, seen in found.items()
            if seen is not None and seen.messages == 0 and seen.consumers > 0
        }
        unbound = self._unbound(bound, found)
        self._tell_down({name for name, seen in found.items() if seen and seen.is_down})
        # What is seen to be whole is left alone: what somebody deletes just now, the next look
        # tells. Declared anew, nobody would know.
        if absent or unbound or self._is_blind(bound, moment):
            channel = connection.channel()
            channel.confirm_delivery()
            # Before they are there again: else a death in between would leave them looking
            # whole, with nobody who knows what they lost.
            self._ask(channel, self._wanted(absent, unbound))
            topology.declare_on(channel, self.services)
            if channel.is_open:
                channel.close()
        elif bound is not None:
            self._note(Whole(self._bindings, moment))
        for name in absent:
            self._empty_at.pop(name, None)
            log.warning("topology restored", queue=name)
        for queue, type_ in unbound:
            log.warning("topology restored", queue=queue, event_type=type_)
        absent += [f"{queue} < {type_}" for queue, type_ in unbound]
        return absent + self._mend_integrators(connection)

    def _is_blind(self, bound: Bindings | None, moment: datetime) -> bool:
        """Tell whether nobody sees bindings, and not just while the broker is starting."""
        if bound is not None:
            self._seen_at = moment
        return moment - self._seen_at > PATIENCE

    def _unbound(
        self, bound: Bindings | None, found: Mapping[str, Seen | None]
    ) -> list[tuple[str, str]]:
        """Return the bindings that are missing though their queue and the exchange are there."""
        if bound is None or found[topology.EXCHANGE] is None:
            return []
        return [
            (queue, type_)
            for queue, types in self._bindings.items()
            if (seen := found[queue]) is not None and not seen.is_down
            for type_ in sorted(types - bound.get(queue, frozenset()))
        ]

    def _tell_down(self, down: set[str]) -> None:
        for name in sorted(down - self._down):
            log.error("queue is down", queue=name, reason=topology.DOWN_HELP)
        self._down = down

    def _note(self, whole: Whole) -> None:
        """Know that all was bound, also in a next life."""
        self._whole, kept = whole, self._kept
        if kept is None or whole.bindings != kept.bindings or whole.at - kept.at > REMEMBERED:
            self.witness.remember(whole)
            self._kept = whole

    def _mend_integrators(self, connection: pika.BlockingConnection) -> list[str]:
        """Declare integrators' queues again, last, so that no trouble with one is the services'."""
        absent = []
        for integrator in self.witness.integrators():
            queue = integrator.queue
            if topology.look_for(connection, queue) is None:
                reason = "what it held is gone: see `farmgate events republish`"
                log.warning("topology restored", queue=queue, reason=reason)
                absent.append(queue)
            channel = connection.channel()
            try:
                topology.declare_integrator(channel, integrator)
                channel.close()
            except pika.exceptions.ChannelClosedByBroker as error:
                # Most likely made by hand, with other arguments.
                log.error("an integrator's queue is not as declared", queue=queue, error=str(error))
        return absent

    def _wanted(
        self, absent: Sequence[str], unbound: Sequence[tuple[str, str]]
    ) -> dict[str, datetime]:
        """Return since when each publisher that may have lost something is to publish again."""
        wanted: dict[str, datetime] = {}
        if topology.EXCHANGE in absent:
            # Until the last binding is made, the new exchange takes events for some queues only.
            every = {type_ for types in self._bindings.values() for type_ in types}
            wanted = dict.fromkeys({t.partition(".")[0] for t in every}, now() - MARGIN)
        for name in absent:
            # What was in a dead queue came from the queue that it belongs to.
            types = self._bindings.get(name.removesuffix(topology.DEAD), frozenset())
            since = self._empty_at[name] - MARGIN if name in self._empty_at else EVER
            for publisher in {type_.partition(".")[0] for type_ in types}:
                wanted[publisher] = min(since, wanted.get(publisher, since))
        whole = (self._whole or self.witness.remembered()) if unbound else None
        for queue, type_ in unbound:
            # One that never was is of a newer version, which is to begin with what comes.
            if whole is not None and type_ in whole.bindings.get(queue, ()):
                publisher, since = type_.partition(".")[0], whole.at - MARGIN
                wanted[publisher] = min(since, wanted.get(publisher, since))
        return wanted

    def _ask(self, channel: BlockingChannel, wanted: Mapping[str, datetime]) -> None:
        for publisher, since in wanted.items():
            topology.declare_dead_queue(channel, publisher)
            channel.basic_publish(
                "",
                topology.dead_queue_of(publisher),
                json.dumps({"since": rfc3339(since)}).encode(),
                pika.BasicProperties(delivery_mode=2, type=topology.REPLAY),
                mandatory=True,
            )
            reason = f"what was published since {rfc3339(since)} may be lost"
            log.warning("asked to publish again", outbox=publisher, reason=reason)
