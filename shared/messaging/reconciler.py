"""Restore the broker's topology: what somebody deleted is declared again within seconds.

It runs with the user that may configure, beside the services, which may not. AMQP shows exchange
and queues but no bindings: an `Inspector` reads those. Without one, bindings are declared at every
look, which changes nothing where they exist.

A deleted queue takes confirmed events along. A deleted binding loses events that were confirmed
because another queue took them. A new exchange takes events before its last binding exists. So,
before anything is declared again, the publishers concerned are asked to publish again (see
`shared.messaging.dead_letters`). The request is durable at the broker, so it outlives this process;
inboxes drop the events that took effect. An integrator's queue comes back empty: the service that
feeds it is asked, in the same way, to feed it again from the last place that was surely taken.
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
from shared.messaging.topology import Integrator, QueueInfo, Subscriber
from shared.runtime.clock import now, rfc3339
from shared.runtime.logs import get
from shared.runtime.supervision import Stopping

log = get(__name__)

#: Subtracted from the last moment without loss. The broker lets a consumer hold a message for
#: 30 minutes, and a publisher's clock may be an hour wrong.
MARGIN = timedelta(hours=1)
#: For a queue that was never seen empty: everything that the outboxes keep.
EVER = datetime(1970, 1, 1, tzinfo=UTC)
#: How long an inspector may fail before bindings are declared without it. The management API of a
#: broker that starts is the last to answer.
PATIENCE = timedelta(minutes=1)
#: How often the last complete set of bindings is saved.
SAVED_EVERY = timedelta(minutes=1)

#: Queue → event types, as in `shared.messaging.topology.Topology`.
Bindings = Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class CompleteBindings:
    """The bindings of a moment at which none was missing."""

    bindings: Bindings
    at: datetime


class Inspector(Protocol):
    """Reads what AMQP does not show, and saves what the next process must know."""

    def integrators(self) -> Sequence[Integrator]:
        """Return the integrators whose queues are to be declared, too."""

    def bindings(self) -> Bindings | None:
        """Return what is bound to the exchange; None when it cannot be read."""

    def load(self) -> CompleteBindings | None:
        """Return what was saved last, by whichever process."""

    def save(self, complete: CompleteBindings) -> None:
        """Save it where it outlives this process."""


class TopologyReconciler:
    """Compares the broker with the declared topology, round by round, and restores the rest."""

    def __init__(
        self, url: str, services: Sequence[Subscriber], inspector: Inspector | None = None
    ) -> None:
        """Restore what `services` need, and the queues of the inspector's integrators."""
        self.url, self.services, self.inspector = url, services, inspector
        self._bindings = topology.topology_of(services).bindings
        self._feeder = topology.feeder_of(services)
        #: Queue → the last moment at which it had a consumer and no message.
        self._empty_at: dict[str, datetime] = {}
        self._complete: CompleteBindings | None = None
        self._saved: CompleteBindings | None = None
        #: When bindings were read last.
        self._read_at = EVER if inspector is None else now()
        #: Queues that exist and cannot be used, as logged.
        self._down: set[str] = set()
        #: Integrators' queues with other arguments, as logged.
        self._different: set[str] = set()

    def run(self, every: float, stopping: Stopping) -> None:
        """Reconcile every so many seconds, over one connection, until the process stops.

        Raises:
            OSError, pika.exceptions.AMQPError: the broker is unavailable or refused; start again.
        """
        connection = pika.BlockingConnection(parameters_of(self.url))
        try:
            while not stopping.is_set():
                self.reconcile(connection)
                connection.process_data_events(time_limit=0)
                stopping.wait(every)
        finally:
            if connection.is_open:
                connection.close()

    def reconcile(self, connection: pika.BlockingConnection) -> list[str]:
        """Declare what is missing, and ask for the events that it held or would have got.

        Returns the names of what was missing, a binding as `queue < event type`.

        Raises:
            pika.exceptions.AMQPError: the broker is unavailable or refused.
        """
        moment = now()
        # Bindings first: a queue that is deleted between the two reads is reported as absent.
        bound = None if self.inspector is None else self.inspector.bindings()
        found = topology.look(connection, self.services)
        absent = [name for name, info in found.items() if info is None]
        self._empty_at |= {
            name: moment
            for name, info in found.items()
            if info is not None and info.messages == 0 and info.consumers > 0
        }
        unbound = self._unbound(bound, found)
        self._log_down({name for name, info in found.items() if info and info.is_down})
        if bound is not None:
            self._read_at = moment
        # A complete topology is left alone: a binding that is deleted between look and
        # declaration would come back, and nobody would ask for the events that it missed.
        if absent or unbound or moment - self._read_at > PATIENCE:
            channel = connection.channel()
            channel.confirm_delivery()
            # First, since a kill after the declaration would leave a complete topology and nobody
            # who knows what it lost.
            self._request_replay(channel, self._replay_since(absent, unbound))
            topology.declare_on(channel, self.services)
            if channel.is_open:
                channel.close()
        elif bound is not None:
            self._keep(CompleteBindings(self._bindings, moment))
        for name in absent:
            self._empty_at.pop(name, None)
            log.warning("topology restored", queue=name)
        for queue, type_ in unbound:
            log.warning("topology restored", queue=queue, event_type=type_)
        absent += [f"{queue} < {type_}" for queue, type_ in unbound]
        return absent + self._restore_integrators(connection)

    def _unbound(
        self, bound: Bindings | None, found: Mapping[str, QueueInfo | None]
    ) -> list[tuple[str, str]]:
        """Return the missing bindings of queues that exist, while the exchange exists."""
        if bound is None or found[topology.EXCHANGE] is None:
            return []
        return [
            (queue, type_)
            for queue, types in self._bindings.items()
            if (info := found[queue]) is not None and not info.is_down
            for type_ in sorted(types - bound.get(queue, frozenset()))
        ]

    def _log_down(self, down: set[str]) -> None:
        for name in sorted(down - self._down):
            log.error("queue is down", queue=name, reason=topology.DOWN_HELP)
        self._down = down

    def _keep(self, complete: CompleteBindings) -> None:
        """Keep the last complete bindings, once a minute also for the next process."""
        self._complete, saved = complete, self._saved
        if (
            saved is None
            or complete.bindings != saved.bindings
            or complete.at - saved.at > SAVED_EVERY
        ):
            assert self.inspector is not None
            self.inspector.save(complete)
            self._saved = complete

    def _restore_integrators(self, connection: pika.BlockingConnection) -> list[str]:
        """Declare integrators' queues, last, so that a failure with one is not the services'."""
        absent, different = [], set()
        for integrator in self.inspector.integrators() if self.inspector is not None else ():
            queue = integrator.queue
            if topology.look_for(connection, queue) is None:
                log.warning("topology restored", queue=queue)
                absent.append(queue)
            try:
                topology.declare_integrator(connection, integrator, self._feeder)
            except (topology.QueueDiffers, pika.exceptions.ChannelClosedByBroker) as error:
                # Of an older version, or made by hand.
                different.add(queue)
                if queue not in self._different:
                    log.error(
                        "an integrator's queue is not as declared", queue=queue, error=f"{error}"
                    )
        self._different = different
        return absent

    def _replay_since(
        self, absent: Sequence[str], unbound: Sequence[tuple[str, str]]
    ) -> dict[str, datetime]:
        """Return, for each publisher that may have lost events, since when to publish again."""
        wanted: dict[str, datetime] = {}
        if topology.EXCHANGE in absent:
            # Until its last binding exists, the new exchange takes events for some queues only.
            every = {type_ for types in self._bindings.values() for type_ in types}
            wanted = dict.fromkeys({t.partition(".")[0] for t in every}, now() - MARGIN)
        for name in absent:
            # The events of a dead queue came from the queue that it belongs to.
            types = self._bindings.get(name.removesuffix(topology.DEAD), frozenset())
            since = self._empty_at[name] - MARGIN if name in self._empty_at else EVER
            for publisher in {type_.partition(".")[0] for type_ in types}:
                wanted[publisher] = min(since, wanted.get(publisher, since))
        for queue, type_ in unbound:
            complete = self._last_complete()
            # A binding that never existed belongs to a newer version of the service, which begins
            # with the next event and not with a month of history.
            if complete is not None and type_ in complete.bindings.get(queue, ()):
                publisher, since = type_.partition(".")[0], complete.at - MARGIN
                wanted[publisher] = min(since, wanted.get(publisher, since))
        return wanted

    def _last_complete(self) -> CompleteBindings | None:
        if self._complete is None and self.inspector is not None:
            self._complete = self.inspector.load()
        return self._complete

    def _request_replay(self, channel: BlockingChannel, wanted: Mapping[str, datetime]) -> None:
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
