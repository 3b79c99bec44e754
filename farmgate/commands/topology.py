"""`farmgate topology`: declare exchange, queues and bindings at the broker."""

import os
import signal

import click

from farmgate import subscriptions
from farmgate.broker_address import topology_url
from farmgate.broker_inspector import ManagementInspector
from farmgate.declaring import declare_topology
from farmgate.parameters import Seconds
from farmgate.printing import echo
from shared.messaging.reconciler import TopologyReconciler
from shared.runtime import logs
from shared.runtime.supervision import Stopping, supervise


@click.command("topology")
@click.option(
    "--prune",
    is_flag=True,
    help="Remove bindings that no service needs any more, and the stream orders.log.",
)
@click.option(
    "--watch", is_flag=True, help="Keep running, and restore deleted queues and bindings."
)
@click.option(
    "--every",
    type=Seconds(min=0.5, max=600),
    default=5.0,
    show_default=True,
    help="With --watch: seconds between checks.",
)
def command(prune: bool, watch: bool, every: float) -> None:
    """Declare exchanges, queues, dead-letter queues and all bindings.

    Run it before a deployment, and with --prune after it. The broker's URL is
    FARMGATE_TOPOLOGY_BROKER_URL (with a user that may configure), else FARMGATE_BROKER_URL; the
    services' own users may not configure.

    Queues of integrators are declared, too, if the broker's management API is on; its URL is
    FARMGATE_BROKER_MANAGEMENT_URL, else port 15672 of the broker. A queue of an older version is
    replaced when it is empty and nobody is connected; until then a line says what keeps it.

    With --watch it runs until SIGTERM, and waits while the broker is unavailable. After a queue or
    a binding was deleted, the services' workers publish events again that may be lost; consumers
    drop events that took effect already. To check bindings needs the management API.
    """
    if not watch:
        for line in declare_topology(os.environ, prune=prune):
            echo(line)
        return
    if prune:
        raise click.UsageError("--prune runs once, after a deployment: leave out --watch.")
    reconciler = TopologyReconciler(
        topology_url(os.environ), subscriptions.load(), ManagementInspector(os.environ)
    )
    logs.configure("topology")
    # Blocked before any thread starts, so that all inherit it; see shared/messaging/worker.py.
    signals = (signal.SIGTERM, signal.SIGINT)
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    stopping = Stopping()
    thread = supervise("topology", lambda: reconciler.run(every, stopping), stopping)
    signal.sigwait(signals)
    stopping.set()
    thread.join(5)
