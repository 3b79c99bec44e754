"""The HTTP client of webhooks: one POST to an address that a partner chose.

- An address is checked when the client connects to it: the name is resolved once, and a private,
  link-local or otherwise special address is refused (requests-hardened), unless the operator allows
  its network. A name that changes its address gains nothing.
- An attempt ends after `SECONDS`, also if the server sends a byte now and then. requests limits
  only the time between two bytes, so `cut_overdue` closes the connections of overdue attempts.
- Redirects are not followed, the environment's proxies are not used, and there are no cookies.
- Of the answer only the status and the headers are read.
"""

import ipaddress
import logging
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from time import monotonic
from typing import Any, cast

import certifi
import requests
from requests.adapters import HTTPAdapter
from requests.exceptions import RequestException
from requests_hardened.ip_filter import InvalidIPAddress
from requests_hardened.ip_filter_adapter import IPFilterAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NameResolutionError

from services.notifications.push.networks import Network, networks_of
from services.notifications.rules.webhooks import GONE, Answer
from shared.runtime import clock
from shared.runtime.config import Settings, read
from shared.runtime.errors import Misconfigured

#: Seconds to connect, and of a whole attempt.
CONNECT_SECONDS, SECONDS = 5.0, 15.0
CERTIFICATES = "FARMGATE_WEBHOOK_CA"

# It warns of each refused address, which the delivery log says already.
logging.getLogger("requests_hardened").setLevel(logging.ERROR)


class _Attempt:
    """An attempt under way, which another thread can end."""

    def __init__(self, seconds: float) -> None:
        self.began = monotonic()
        self.deadline = self.began + seconds
        self.is_cut = False
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    @property
    def milliseconds(self) -> int:
        """How long it has taken so far."""
        return round((monotonic() - self.began) * 1000)

    def connected(self, connection: socket.socket) -> None:
        """Keep a handle of the connection: TLS replaces the socket, but not its descriptor."""
        with self._lock:
            self._socket = connection.dup()
        if self.is_cut:
            self.cut()

    def cut(self) -> None:
        """End the attempt: the thread that waits for a byte gets an error."""
        self.is_cut = True
        with self._lock, suppress(OSError):
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Release the handle."""
        with self._lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None


_current = threading.local()


class _Tracked:
    """A connection that tells the attempt of its thread about its socket."""

    def _new_conn(self) -> socket.socket:
        connection: socket.socket = super()._new_conn()  # type: ignore[misc]
        _current.attempt.connected(connection)
        return connection


class _Http(_Tracked, HTTPConnection):
    pass


class _Https(_Tracked, HTTPSConnection):
    pass


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _Http


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _Https


class PlainHttp(RequestException):
    """Raised for an http URL whose address is in none of the operator's networks."""


class _Adapter(IPFilterAdapter):
    """Connects to public addresses by https, and to the operator's networks."""

    def __init__(self, scheme: str, networks: Sequence[Network], context: ssl.SSLContext) -> None:
        self._networks = networks
        self._is_https = scheme == "https"
        self._context = context
        super().__init__(is_https_proto=self._is_https)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Make the pools, all with one context: to load the certificates takes 10 ms."""
        if self._is_https:
            options["ssl_context"] = self._context
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}

    def cert_verify(self, *args: Any) -> None:
        """Leave the certificates to the context, which requires a valid one."""

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> Any:
        """Resolve the host, and return the checked address to connect to.

        Raises:
            InvalidIPAddress: the address is special, and in none of the operator's networks.
            PlainHttp: the URL is http, and the address is in none of them.
        """
        try:
            host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
        except InvalidIPAddress as refused:
            (address,) = refused.args
            if not self._is_allowed(address):
                raise
            # The library names the host in the request before it refuses its address.
            host, pool = HTTPAdapter.build_connection_pool_key_attributes(
                self, request, verify, cert
            )
            name = host["host"]
            if self._is_https:
                pool |= cast(Any, {"assert_hostname": name, "server_hostname": name})
            host["host"] = f"[{address}]" if address.version == 6 else str(address)
            return host, pool
        address = ipaddress.ip_address(host["host"].strip("[]"))
        if not self._is_allowed(address):
            if not self._is_https:
                raise PlainHttp("http is for the operator's networks only")
            # Not in the library's list: the deprecated fec0::/10 and ::/96, and 240.0.0.0/4.
            if address.is_reserved or getattr(address, "is_site_local", False):
                raise InvalidIPAddress(address)
        return host, pool

    def _is_allowed(self, address: Any) -> bool:
        return any(address in network for network in self._networks)


class WebhookClient:
    """Sends webhooks; threads may share it. Somebody must call `cut_overdue` now and then."""

    def __init__(
        self, networks: Sequence[Network] = (), certificates: str = "", seconds: float = SECONDS
    ) -> None:
        self.seconds = seconds
        context = ssl.create_default_context(cafile=certifi.where())
        if certificates:
            context.load_verify_locations(cafile=certificates)
        self._adapters = {
            scheme: _Adapter(scheme, networks, context) for scheme in ("http", "https")
        }
        self._attempts: set[_Attempt] = set()

    @classmethod
    def of(cls, settings: Settings) -> "WebhookClient":
        """Return the client that the settings describe.

        Raises:
            Misconfigured: a network is malformed, or the file of certificates cannot be used.
        """
        certificates = read(settings.environment, CERTIFICATES, "")
        try:
            return cls(networks_of(settings.environment), certificates)
        except OSError as error:
            raise Misconfigured(
                f"{CERTIFICATES} must name a file of certificates in PEM: {error}."
            ) from error

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send `body` once and return the outcome; raises nothing."""
        with self._attempt() as attempt:
            try:
                request = requests.Request("POST", url, headers=dict(headers), data=body).prepare()
                adapter = self._adapters[url.partition(":")[0]]
                timeouts = (min(CONNECT_SECONDS, self.seconds), self.seconds)
                response = adapter.send(request, stream=True, timeout=timeouts)
            # Libraries raise what they like at a hostile answer.
            except Exception as error:
                reason = "timeout" if attempt.is_cut else _reason_of(error)
                return Answer(None, reason, attempt.milliseconds)
            with response:
                if attempt.is_cut:  # Python takes the end of the connection for that of the head
                    return Answer(None, "timeout", attempt.milliseconds)
                return _answer_of(response, attempt.milliseconds)

    def cut_overdue(self) -> None:
        """End the attempts that take longer than they may."""
        moment = monotonic()
        for attempt in list(self._attempts):
            if attempt.deadline < moment:
                attempt.cut()

    @contextmanager
    def _attempt(self) -> Iterator[_Attempt]:
        attempt = _current.attempt = _Attempt(self.seconds)
        self._attempts.add(attempt)
        try:
            yield attempt
        finally:
            self._attempts.discard(attempt)
            attempt.close()


def _answer_of(response: requests.Response, milliseconds: int) -> Answer:
    status = response.status_code
    if 200 <= status < 300:
        return Answer(status, None, milliseconds)
    reason = "redirect" if 300 <= status < 400 else "gone" if status == GONE else f"http_{status}"
    return Answer(status, reason, milliseconds, _retry_after(response.headers.get("Retry-After")))


def _retry_after(header: str | None) -> timedelta | None:
    """Return how long a server asks to wait: seconds or a date. Source: RFC 9110, 10.2.3."""
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return timedelta(seconds=min(int(text[:9]), 10**8))
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return max(timedelta(), moment - clock.now())
    except (TypeError, ValueError, OverflowError):
        return None


def _reason_of(error: BaseException) -> str:
    """Return a word for an error; its text would show a partner what our network looks like."""
    causes = [*_causes(error)]
    for kinds, reason in (
        ((InvalidIPAddress, PlainHttp), "address_not_allowed"),
        ((socket.gaierror, NameResolutionError), "name_not_found"),
        ((ssl.SSLError, ssl.CertificateError), "tls_failed"),
        ((requests.Timeout, TimeoutError), "timeout"),
        ((HTTPException,), "answer_malformed"),
        ((OSError,), "connection_failed"),
    ):
        # RequestException is an OSError, too, and says nothing by itself.
        if any(isinstance(each, kinds) and type(each) is not RequestException for each in causes):
            return reason
    return "answer_malformed"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        inner = getattr(error, "reason", None)
        error = inner if isinstance(inner, BaseException) else error.__cause__ or error.__context__
