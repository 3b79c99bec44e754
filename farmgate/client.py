"""HTTP calls to the four services, repeated with the same Idempotency-Key until they are answered.

So a caller survives the restart of any process: what was done counts once, and what was not
done is done by the repeat.
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
from farmgate.services import NAMES
from shared.runtime.addresses import check_http
from shared.runtime.backoff import pause_after
from shared.runtime.config import Settings, read

DEFAULT_URL = "http://127.0.0.1:8000"
#: Seconds a request is repeated for before the service counts as away.
PATIENCE = 30.0
#: Seconds to wait for a connection, and between two bytes; orders' `Prefer: wait` takes up to 30.
TIMEOUTS = (3.05, 40)
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 1.0
#: The server, or what stands before it, is away or overloaded for now.
AWAY = (429, 502, 503, 504)
#: Problem type of a key whose first request is still running.
STILL_RUNNING = "request-in-progress"
#: Seconds a token made for one run of the command is good for.
TOKEN_SECONDS = 24 * 3600


class Client:
    """Calls to the services, from any number of threads."""

    def __init__(
        self, addresses: Mapping[str, str], token: str | None, patience: float = PATIENCE
    ) -> None:
        self.addresses = addresses
        self.patience = patience
        self._token = token
        self._local = threading.local()

    def get(self, service: str, path: str, **query: Any) -> Any:
        """Return the answer to a GET; `path` is what follows `/api/<service>/v1`."""
        return self.call("GET", service, path, query=query)

    def post(self, service: str, path: str, body: Any = None, **options: Any) -> Any:
        """Return the answer to a POST, which counts once however often it is repeated."""
        return self.call("POST", service, path, body={} if body is None else body, **options)

    def put(self, service: str, path: str, body: Any) -> Any:
        """Return the answer to a PUT."""
        return self.call("PUT", service, path, body=body)

    def pages(self, service: str, path: str, **query: Any) -> Iterator[Any]:
        """Go through all items of a list, page by page."""
        cursor: str | None = None
        while True:
            page = self.get(service, path, limit=200, cursor=cursor, **query)
            yield from page["items"]
            cursor = page["next"]
            if cursor is None:
                return

    def call(self, method: str, service: str, path: str, **options: Any) -> Any:
        """Return the answer's JSON; repeat while the service is away. Options as of `send`.

        Raises:
            Refused: the service answered with a problem.
            Unreachable: nothing answered.
        """
        return self._read(service, self.send(method, service, path, **options))

    def post_once(
        self, service: str, path: str, body: Any, another: str | None = None
    ) -> tuple[Any, bool]:
        """Return the answer to a POST, and whether the same was done within the last 24 hours.

        The key is made of what is asked for, so that a command that is run again does nothing
        twice; `another` tells apart what is meant twice.

        Raises:
            Refused: the service answered with a problem.
            Unreachable: nothing answered.
        """
        asked = json.dumps([service, path, body, another], sort_keys=True)
        for attempt in count():
            key = str(uuid5(NAMESPACE_URL, f"{asked} {attempt}"))
            answer = self.send("POST", service, path, body=body, key=key)
            was_done = answer.headers.get("Idempotency-Replayed") == "true"
            # A refusal is kept under its key as well; what it was about may be right by now.
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
        """Return the answer, of whatever status; repeat while the service is away.

        `content` is sent instead of JSON, with the content type in `headers`. `seconds` is how
        long an answer may take to begin.

        Raises:
            Unreachable: nothing answered for `patience` seconds.
        """
        deadline = monotonic() + (self.patience if patience is None else patience)
        sent = {"Idempotency-Key": key or str(uuid4())} if method == "POST" else {}
        sent |= headers or {}
        if self._token is not None:
            sent["Authorization"] = f"Bearer {self._token}"
        url = f"{self.addresses[service]}/api/{service}/v1{path}"
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
                if not self._is_away(answer):
                    return answer
                trouble = f"it answers {answer.status_code}"
            except (
                requests.ConnectionError,
                requests.Timeout,
                requests.exceptions.ChunkedEncodingError,
            ) as error:
                trouble = type(error).__name__
            except (requests.RequestException, UnicodeError) as error:
                # Not the error's own words: they may hold the token.
                raise Failed(
                    f"{service} at {self.addresses[service]} cannot be asked that "
                    f"({type(error).__name__}): look for characters that are no text in what was "
                    "typed, and in FARMGATE_TOKEN."
                ) from error
            pause = pause_after(attempts, FIRST_PAUSE, LONGEST_PAUSE)
            if monotonic() + pause > deadline:
                raise Unreachable(
                    f"{service} at {self.addresses[service]} cannot be reached ({trouble}). "
                    "Start it with `farmgate up`, or set FARMGATE_URL."
                )
            sleep(pause)

    def ready(self, service: str) -> dict[str, Any] | None:
        """Return what a service says about its readiness; None: it does not answer."""
        url = f"{self.addresses[service]}/api/{service}/health/ready"
        try:
            return dict(self._session().get(url, timeout=(1, 5)).json())
        except (requests.RequestException, ValueError):
            return None

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
            # A proxy of the environment is for the world, not for our own services.
            session.trust_env = False
        return session

    @staticmethod
    def _is_away(answer: requests.Response) -> bool:
        if answer.status_code in AWAY:
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
    """Return where each service is: `FARMGATE_<SERVICE>_URL`, `FARMGATE_URL`, or what is up."""
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
    """Return a token signed with the key of the data folder, as the services expect it.

    With `site_ids` its bearer belongs to these sites; `token_id` is what it can be revoked by.

    Raises:
        OSError: there is no key.
    """
    # Here, since the pages only ask: cryptography would be a quarter of their memory.
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
    """Return a client that may do everything, with `FARMGATE_TOKEN` or a token made here.

    Raises:
        Failed: there is no token and no key to make one.
    """
    token = read(environment, "FARMGATE_TOKEN", "")
    if not token:
        try:
            token = make_token(environment, "operator", SCOPES, TOKEN_SECONDS)
        except OSError as error:
            raise Failed(
                f"There is no signing key to make a token: {error}. Run this where `farmgate up` "
                "runs (same FARMGATE_DATA), or set FARMGATE_TOKEN to one made by `farmgate "
                "tokens issue` there."
            ) from error
    return Client(addresses(environment), token, patience)
