"""`farmgate topology`: exchange, queues and bindings at the broker."""

import os
import signal

import click

from farmgate import subscriptions
from farmgate.broker_address import topology_url
from farmgate.broker_inspector import ManagementInspector
from farmgate.declaring import declare_topology
from farmgate.parameters import Seconds
from farmgate.printing import say
from shared.messaging.reconciler import TopologyReconciler
from shared.runtime import logs
from shared.runtime.supervision import Stopping, supervise


@click.command("topology")
@click.option("--prune", is_flag=True, help="Remove bindings that no service asks for any more.")
@click.option("--watch", is_flag=True, help="Keep running, and restore what somebody deletes.")
@click.option(
    "--every",
    type=Seconds(min=0.5, max=600),
    default=5.0,
    show_default=True,
    help="Seconds between looks, with --watch.",
)
def command(prune: bool, watch: bool, every: float) -> None:
    """Declare exchange, queues, dead-letter queues, the stream and all bindings.

    Run it before a deployment, and with --prune after it. The address is
    FARMGATE_TOPOLOGY_BROKER_URL (a user that may configure), else FARMGATE_BROKER_URL; the
    services' own users may not configure anything.

    Queues of integrators are among them, if the broker's management API is on; its address is
    FARMGATE_BROKER_MANAGEMENT_URL, else port 15672 of the broker.

    With --watch it stays, until SIGTERM, and waits for a broker that is away. When a queue or a
    binding was deleted, the services' workers publish again what may be lost; receivers know by
    its id what took effect. Bindings are seen by the management API.
    """
    if not watch:
        for line in declare_topology(os.environ, prune=prune):
            say(line)
        return
    if prune:
        raise click.UsageError("--prune is done once, after a deployment: leave out --watch.")
    reconciler = TopologyReconciler(
        topology_url(os.environ), subscriptions.load(), ManagementInspector(os.environ)
    )
    logs.configure("topology")
    # Before any thread, so that all inherit it; see shared/messaging/worker.py.
    signals = (signal.SIGTERM, signal.SIGINT)
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    stopping = Stopping()
    thread = supervise("topology", lambda: reconciler.run(every, stopping), stopping)
    signal.sigwait(signals)
    stopping.set()
    thread.join(5)
