"""HTTP client of the four services; it retries a request with the same Idempotency-Key.

So a caller survives the restart of any process: a service performs a repeated request once.
"""

import json
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

import requests

from farmgate import run_file
from farmgate.failures import Failed, Refused, Unreachable
from farmgate.roles import SCOPES
from farmgate.services import ALSO, NAMES
from shared.runtime.addresses import check_http
from shared.runtime.backoff import pause_after
from shared.runtime.config import Settings, read

DEFAULT_URL = "http://127.0.0.1:8000"
#: Seconds a request is retried before the service counts as unreachable.
PATIENCE = 30.0
#: Seconds to connect, and to wait for a byte; orders' `Prefer: wait` takes up to 30.
TIMEOUTS = (3.05, 40)
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 1.0
#: Statuses of a server or gateway that is unavailable or overloaded for now.
UNAVAILABLE = (429, 502, 503, 504)
#: Problem type while the first request with the same key still runs.
STILL_RUNNING = "request-in-progress"
#: Seconds a token is valid that is made for one run of a command.
TOKEN_SECONDS = 24 * 3600


class Client:
    """A thread-safe client of the services."""

    def __init__(
        self, addresses: Mapping[str, str], token: str | None, patience: float = PATIENCE
    ) -> None:
        self.addresses = addresses
        self.patience = patience
        self._token = token
        self._local = threading.local()

    def get(self, service: str, path: str, **query: Any) -> Any:
        """Return the answer to a GET of `/api/<service>/v1` + `path`."""
        return self.call("GET", service, path, query=query)

    def post(self, service: str, path: str, body: Any = None, **options: Any) -> Any:
        """Return the answer to a POST, which takes effect once even if it is retried."""
        return self.call("POST", service, path, body={} if body is None else body, **options)

    def put(self, service: str, path: str, body: Any) -> Any:
        """Return the answer to a PUT."""
        return self.call("PUT", service, path, body=body)

    def pages(self, service: str, path: str, **query: Any) -> Iterator[Any]:
        """Yield all items of a list, page by page."""
        cursor: str | None = None
        while True:
            page = self.get(service, path, limit=200, cursor=cursor, **query)
            yield from page["items"]
            cursor = page["next"]
            if cursor is None:
                return

    def call(self, method: str, service: str, path: str, **options: Any) -> Any:
        """Return the answer's JSON; retry while the service is unavailable. Options as of `send`.

        Raises:
            Refused: the service answered with a problem.
            Unreachable: no answer came.
        """
        return self._read(service, self.send(method, service, path, **options))

    def post_once(
        self, service: str, path: str, body: Any, another: str | None = None
    ) -> tuple[Any, bool]:
        """Return the answer to a POST, and whether it is a repeat from the last 24 hours.

        The key is a hash of the request, so that the same command takes effect once; another
        value of `another` makes it a new request.

        Raises:
            Refused: the service answered with a problem.
            Unreachable: no answer came.
        """
        request = json.dumps([service, path, body, another], sort_keys=True)
        for attempt in count():
            key = str(uuid5(NAMESPACE_URL, f"{request} {attempt}"))
            answer = self.send("POST", service, path, body=body, key=key)
            was_done = answer.headers.get("Idempotency-Replayed") == "true"
            # The service also stores refusals; the reason for one may be gone, so try a new key.
            if answer.ok or not was_done:
                return self._read(service, answer), was_done
        raise AssertionError("never reached")

    def send(
        self,
        method: str,
        service: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        key: str | None = None,
        patience: float | None = None,
        seconds: float = TIMEOUTS[1],
    ) -> requests.Response:
        """Return the answer, whatever its status; retry while the service is unavailable.

        `content` is sent instead of JSON, with the content type in `headers`. An answer must
        begin within `seconds`.

        Raises:
            Failed: the request cannot be sent, such as with invalid characters in the token.
            Unreachable: no answer came within `patience` seconds.
        """
        deadline = monotonic() + (self.patience if patience is None else patience)
        sent = {"Idempotency-Key": key or str(uuid4())} if method == "POST" else {}
        sent |= headers or {}
        if self._token is not None:
            sent["Authorization"] = f"Bearer {self._token}"
        address = self.addresses[ALSO.get(service, service)]
        url = f"{address}/api/{service}/v1{path}"
        given = {name: value for name, value in (query or {}).items() if value is not None}
        attempts = 0
        while True:
            attempts += 1
            try:
                answer = self._session().request(
                    method,
                    url,
                    params=given,
                    json=body,
                    data=content,
                    headers=sent,
                    timeout=(TIMEOUTS[0], seconds),
                )
                if not self._is_unavailable(answer):
                    return answer
                reason = f"it answers {answer.status_code}"
            except (
                requests.ConnectionError,
                requests.Timeout,
                requests.exceptions.ChunkedEncodingError,
            ) as error:
                reason = type(error).__name__
            except (requests.RequestException, UnicodeError) as error:
                # Without the error's text, which may hold the token.
                raise Failed(
                    f"The request to {service} at {address} cannot be sent "
                    f"({type(error).__name__}): look for invalid characters in the arguments and "
                    "in FARMGATE_TOKEN."
                ) from error
            pause = pause_after(attempts, FIRST_PAUSE, LONGEST_PAUSE)
            if monotonic() + pause > deadline:
                raise Unreachable(
                    f"{service} at {address} cannot be reached ({reason}). "
                    "Start it with `farmgate up`, or set FARMGATE_URL."
                )
            sleep(pause)

    def ready(self, service: str) -> dict[str, Any] | None:
        """Return a service's readiness report, None if it does not answer."""
        url = f"{self.addresses[service]}/api/{service}/health/ready"
        try:
            return dict(self._session().get(url, timeout=(1, 5)).json())
        except (requests.RequestException, ValueError):
            return None

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
            # Proxy settings of the environment do not apply to our own services.
            session.trust_env = False
        return session

    @staticmethod
    def _is_unavailable(answer: requests.Response) -> bool:
        if answer.status_code in UNAVAILABLE:
            return True
        return answer.status_code == 409 and STILL_RUNNING in _problem(answer).get("type", "")

    @staticmethod
    def _read(service: str, answer: requests.Response) -> Any:
        if not answer.ok:
            raise Refused(service, answer.status_code, _problem(answer))
        if not answer.content:
            return None
        if "json" in answer.headers.get("Content-Type", ""):
            return answer.json()
        return answer.text


def _problem(answer: requests.Response) -> dict[str, Any]:
    try:
        problem = answer.json()
    except ValueError:
        problem = None
    return problem if isinstance(problem, dict) else {"title": answer.reason}


def addresses(environment: Mapping[str, str]) -> dict[str, str]:
    """Return each service's URL: FARMGATE_<SERVICE>_URL, FARMGATE_URL, or that of `farmgate up`."""
    running = run_file.read(Path(read(environment, "FARMGATE_DATA", "var")))
    found = running.urls if running else dict.fromkeys(NAMES, DEFAULT_URL)
    if "FARMGATE_URL" in environment:
        found = dict.fromkeys(NAMES, check_http("FARMGATE_URL", environment["FARMGATE_URL"]))
    settings = {name: f"FARMGATE_{name.upper()}_URL" for name in NAMES}
    return {
        name: check_http(setting, read(environment, setting, found[name]))
        for name, setting in settings.items()
    }


def make_token(
    environment: Mapping[str, str],
    subject: str,
    scopes: Sequence[str],
    seconds: int,
    *,
    site_ids: Iterable[UUID] | None = None,
    token_id: UUID | None = None,
) -> str:
    """Return a token signed with the data folder's key, valid for `seconds`.

    `site_ids` bind its bearer to these sites; `token_id` allows to revoke it.

    Raises:
        OSError: there is no key.
    """
    # Imported here: cryptography would be a quarter of the pages process's memory.
    from shared.runtime import keys

    settings = Settings.from_environment(NAMES[0], environment)
    return keys.issue_token(
        settings.data,
        subject,
        scopes,
        seconds,
        issuer=settings.issuer,
        audience=settings.audience,
        token_type=min(settings.token_types),
        site_ids=site_ids,
        token_id=token_id,
    )


def connect(environment: Mapping[str, str], patience: float = PATIENCE) -> Client:
    """Return a client with FARMGATE_TOKEN, or with an operator's token that is made here.

    Raises:
        Failed: there is no token and no key to sign one.
    """
    token = read(environment, "FARMGATE_TOKEN", "")
    if not token:
        try:
            token = make_token(environment, "operator", SCOPES, TOKEN_SECONDS)
        except OSError as error:
            raise Failed(
                f"There is no signing key for a token: {error}. Run this where `farmgate up` "
                "runs (same FARMGATE_DATA), or set FARMGATE_TOKEN to a token that `farmgate "
                "tokens issue` printed there."
            ) from error
    return Client(addresses(environment), token, patience)
