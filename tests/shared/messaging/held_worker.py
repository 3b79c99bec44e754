"""A worker of the probe's service that waits in its handler until it is let go on.

It is let go on by a file `go` in the folder that the first argument names. The second one says
how many seconds its threads have to end.
"""

import pathlib
import sys

from shared.events import OrderPaid
from shared.messaging import worker
from shared.messaging.service import Service
from shared.runtime.config import Settings
from tests.support import probe
from tests.support.servers import wait_until

folder = pathlib.Path(sys.argv[1])


def handler(batch, event):
    (folder / "begun").touch()
    wait_until((folder / "go").exists, 60, "the test lets it go on")
    probe.on_order_paid(batch, event)


if len(sys.argv) > 2:
    worker.LAST_SECONDS = float(sys.argv[2])
service = Service("notifications", {OrderPaid: handler})
worker.run(service, Settings.from_environment("notifications"))
