"""The till where each service has processes and a port of its own."""

import os
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from farmgate.client import connect
from farmgate.services import NAMES, port_of
from tests.support import processes
from tests.support.servers import wait_until

pytestmark = [
    pytest.mark.system,
    pytest.mark.browser,
    pytest.mark.broker,
    pytest.mark.postgres,
]


def five_ports() -> int:
    """Return a port that is free now, with the four after it.

    Below those that the system gives to connections, or one of these might come in between.
    """
    for port in range(20_000 + os.getpid() % 1_000 * 10, 32_000, 5):
        try:
            with ExitStack() as stack:
                for each in range(port, port + 5):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", each))
        except OSError:
            continue
        return port
    raise AssertionError("no five ports are free")


@pytest.mark.rest
def test_the_page_reaches_all_services_on_its_own_origin(
    tmp_path: Path,
    empty_vhost: str,
    postgres: Callable[[str], str],
    open_centre: Any,
    make_till: Any,
) -> None:
    system = processes.embedded(
        tmp_path,
        FARMGATE_BROKER_URL=empty_vhost,
        **{f"FARMGATE_{name.upper()}_DATABASE_URL": postgres(name) for name in NAMES},
    )
    port = five_ports()
    url = f"http://127.0.0.1:{port}"
    system.commands["all"] = ["up", "--port", str(port)]
    for name in NAMES:
        system.urls[name] = f"http://127.0.0.1:{port_of(name, port)}"
        system.environment[f"FARMGATE_{name.upper()}_URL"] = system.urls[name]
    with system:
        system.start()
        centre = open_centre(system, connect(system.environment))
        device, lot = centre.device(), centre.lot("HONEY", 10_000)
        till = make_till(url)
        till.enrol(device["enrolment_code"])
        centre.grant(device, lot, 2_000)
        till.open_shift()
        till.reach()

        till.sell(750)

        # The key is known to orders as soon as catalog's event has come.
        def sent() -> bool:
            till.reach()
            return bool(till.unsent() == 0)

        wait_until(sent, 30, "all is sent")
        assert [e["status"] for e in centre.entries(device)] == ["accepted", "accepted"]
        centre.await_sold(device, lot, 750)
        assert centre.differences() == []
