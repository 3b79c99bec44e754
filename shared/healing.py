"""Keep the broker's topology as declared: what somebody deleted is there again within seconds.

Runs with the user that may configure, beside the services, which may not. Exchange and queues are
looked for; bindings cannot be seen over AMQP, so they are simply made again, which changes nothing
where they exist.

A queue that was missing took its messages with it, and they had been confirmed; an exchange that is
made anew takes events before its last binding is. So before either is there again, its publishers
are asked to publish anew (see `shared.dead_letters`): the request is durable at the broker, so that
it outlives this process, and inboxes drop what took effect. An integrator's queue comes back empty,
since every other integrator would get what is published anew a second time: that is for an
operator to decide.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pika
from pika.adapters.blocking_connection import BlockingChannel

from shared import topology
from shared.broker import parameters_of
from shared.clock import now, rfc3339
from shared.logs import get
from shared.supervision import Stopping
from shared.topology import Integrator, Subscriber

log = get(__name__)

#: Before the last moment at which a queue was seen empty. A consumer may hold what it took for as
#: long as the broker lets it: 30 minutes.
MARGIN = timedelta(hours=1)
#: By which clocks of two machines may differ.
SKEW = timedelta(minutes=5)
#: For a queue that was never seen empty: all that the outboxes keep.
EVER = datetime(1970, 1, 1, tzinfo=UTC)


class Healer:
    """Looks and mends, round by round; knows since when what a queue held is unknown."""

    def __init__(
        self,
        url: str,
        services: Sequence[Subscriber],
        integrators: Callable[[], Sequence[Integrator]] = tuple,
    ) -> None:
        """Keep what `services` need and what the `integrators` of the moment have."""
        self.url, self.services, self.integrators = url, services, integrators
        self._bindings = topology.topology_of(services).bindings
        #: Queue → the last moment at which it was seen with a consumer and without a message.
        self._empty_at: dict[str, datetime] = {}

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
        """Declare all again, and have published anew what missing queues held.

        Returns the names of what was missing.

        Raises:
            pika.exceptions.AMQPError: the broker refused or is away.
        """
        moment = now()
        found = topology.look(connection, self.services)
        absent = [name for name, seen in found.items() if seen is None]
        self._empty_at |= {
            name: moment
            for name, seen in found.items()
            if seen is not None and seen.messages == 0 and seen.consumers > 0
        }
        channel = connection.channel()
        channel.confirm_delivery()
        # Before the queues are there again: else a death in between would leave them looking
        # whole, with nobody who knows what they lost.
        self._ask(channel, self._wanted(absent))
        topology.declare_on(channel, self.services)
        channel.close()
        for name in absent:
            self._empty_at.pop(name, None)
            log.warning("topology restored", queue=name)
        return absent + self._mend_integrators(connection)

    def _mend_integrators(self, connection: pika.BlockingConnection) -> list[str]:
        """Declare integrators' queues again, last, so that no trouble with one is the services'."""
        absent = []
        for integrator in self.integrators():
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

    def _wanted(self, absent: Sequence[str]) -> dict[str, datetime]:
        """Return since when each publisher that may have lost something is to publish again."""
        wanted: dict[str, datetime] = {}
        if topology.EXCHANGE in absent:
            # Until the last binding is made, the new exchange takes events for some queues only.
            every = {type_ for types in self._bindings.values() for type_ in types}
            wanted = dict.fromkeys({t.partition(".")[0] for t in every}, now() - SKEW)
        for name in absent:
            # What was in a dead queue came from the queue that it belongs to.
            types = self._bindings.get(name.removesuffix(topology.DEAD), frozenset())
            since = self._empty_at[name] - MARGIN if name in self._empty_at else EVER
            for publisher in {type_.partition(".")[0] for type_ in types}:
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
