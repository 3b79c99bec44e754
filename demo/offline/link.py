"""A bad link between a till and the centre, whose faults a seed decides.

It is down for a number of steps, loses requests and answers, sends requests twice at the same time,
delivers some after later ones, and sometimes a captive portal answers instead.
"""

from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any

from demo.offline.device import NoAnswer, Send
from farmgate.client import Client
from farmgate.failures import Refused, Unreachable

#: The answer of a hotel's network to every request, with status 200.
PORTAL = "<html><title>Welcome! Please sign in.</title></html>"


@dataclass(frozen=True)
class Weather:
    """How bad a link is: probabilities per step or request, and how long it stays down."""

    goes_down: float = 0.25
    #: The least and the most steps for which it stays down.
    down_for: tuple[int, int] = (2, 9)
    loses_request: float = 0.05
    loses_answer: float = 0.12
    doubles: float = 0.12
    keeps_back: float = 0.06
    portal: float = 0.03


#: A link without faults.
CLEAR = Weather(goes_down=0, loses_request=0, loses_answer=0, doubles=0, keeps_back=0, portal=0)


class Link:
    """A bad link to the centre. Each device has its own; one thread uses it."""

    def __init__(self, send: Send, random: Random, weather: Weather) -> None:
        self.weather = self._present = weather
        #: How often each fault happened; `requests` counts all requests.
        self.counts: Counter[str] = Counter()
        self._send = send
        self._random = random
        self._down = 0
        self._kept_back: list[tuple[str, str, str, Any, str | None]] = []

    @property
    def is_up(self) -> bool:
        """Whether the link is not down."""
        return self._down == 0

    def step(self) -> None:
        """Take one step: the link may go down, or come up again."""
        if self._down:
            self._down -= 1
        elif self._random.random() < self._present.goes_down:
            self._down = self._random.randint(*self._present.down_for)
            self.counts["outages"] += 1

    def set_up(self) -> None:
        """Turn faults off, and deliver the delayed requests."""
        self._present, self._down = CLEAR, 0
        self._deliver_kept_back()

    def leave(self) -> None:
        """Turn faults on again."""
        self._present = self.weather

    def __call__(self, service: str, method: str, path: str, body: Any, token: str | None) -> Any:
        """Send a request; see `device.Send`."""
        request = (service, method, path, body, token)
        if self._down:
            raise NoAnswer("the link is down")
        self.counts["requests"] += 1
        if self._happens("keeps_back"):
            self._kept_back.append(request)
            raise NoAnswer("the request is still on its way")
        if self._happens("loses_request"):
            raise NoAnswer("the request was lost")
        if self._happens("portal"):
            return PORTAL
        answer = self._twice(request) if self._happens("doubles") else self._send(*request)
        # Delayed requests arrive after this later one: out of order.
        self._deliver_kept_back()
        if self._happens("loses_answer"):
            raise NoAnswer("the answer was lost")
        return answer

    def _happens(self, fault: str) -> bool:
        happens = self._random.random() < getattr(self._present, fault)
        self.counts[fault] += happens
        return happens

    def _twice(self, request: tuple[str, str, str, Any, str | None]) -> Any:
        """Send a request twice at the same time, as two tabs do; return one of the answers."""
        with ThreadPoolExecutor(2) as both:
            answers = [both.submit(self._send, *request) for _ in range(2)]
        try:
            return answers[0].result()
        except NoAnswer:
            return answers[1].result()

    def _deliver_kept_back(self) -> None:
        kept_back, self._kept_back = self._kept_back, []
        for request in kept_back:
            with suppress(NoAnswer, Refused):
                self._send(*request)


class Line:
    """HTTP to the running services with the device's key, without retries."""

    def __init__(self, addresses: Mapping[str, str]) -> None:
        self._addresses = addresses
        self._clients: dict[str | None, Client] = {}

    def __call__(self, service: str, method: str, path: str, body: Any, token: str | None) -> Any:
        """Send a request; see `device.Send`."""
        client = self._clients.setdefault(token, Client(self._addresses, token, patience=0))
        try:
            return client.call(method, service, path, body=body)
        except Unreachable as error:
            raise NoAnswer(error.message) from error
