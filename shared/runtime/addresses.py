"""URLs of databases, brokers and HTTP servers: built from parts, checked where they are read.

A path or a password may hold any character. `%`, `#`, `?`, `@` and `/` have a meaning in a URL, so
each is percent-encoded: `%25`, `%23`, `%3F`, `%40` and `%2F`.
"""

import re
from pathlib import Path
from urllib.parse import SplitResult, quote, urlsplit

from shared.runtime.errors import Misconfigured

_QUOTED = "In a name or password, write % # ? @ : / as %25 %23 %3F %40 %3A %2F."
#: The URLs that SQLAlchemy reads without error.
_DATABASE = re.compile(
    r"sqlite(\+\w+)?://(/.*)?"
    r"|postgresql(\+\w+)?://([^@]*@)?(\[[0-9A-Fa-f:.]+\]|[^@/:?\[\]]*)(:[0-9]+)?([/?][^@]*)?"
)
_HOST = re.compile(r"[\w.-]+|[0-9A-Fa-f:.]+")


def sqlite(path: Path) -> str:
    """Return SQLAlchemy's URL of an SQLite file.

    Raises:
        Misconfigured: the path cannot be encoded in UTF-8.
    """
    try:
        return f"sqlite:///{quote(path.as_posix())}"
    except UnicodeEncodeError as error:
        raise Misconfigured(
            f"The path {path!r} is not valid UTF-8; set FARMGATE_DATA to another folder."
        ) from error


def host_and_port(host: str, port: int | str) -> str:
    """Return `host:port` for a URL, with IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reachable(host: str) -> str:
    """Return the host to connect to, on this machine, when a server listens on `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def user(name: str, password: str) -> str:
    """Return `user:password` for a URL, percent-encoded."""
    return f"{quote(name, safe='')}:{quote(password, safe='')}"


def check_database(name: str, url: str) -> str:
    """Return the database URL from setting `name`.

    Raises:
        Misconfigured: the URL is malformed. The message does not quote it: it holds a password.
    """
    if _DATABASE.fullmatch(url) is None:
        raise Misconfigured(
            f"{name} must be sqlite:///PATH or postgresql+psycopg://USER:PASSWORD@HOST:PORT/NAME. "
            + _QUOTED
        )
    return url


def check_broker(name: str, url: str) -> str:
    """Return the broker URL from setting `name`; an empty one means that there is no broker.

    Raises:
        Misconfigured: the URL is malformed.
    """
    parts = _split(url)
    if url and not (_is_of(parts, "amqp", "amqps") and parts and parts.path.count("/") <= 1):
        raise Misconfigured(
            f"{name} must be amqp://USER:PASSWORD@HOST:PORT/VHOST, with amqps for TLS. {_QUOTED}"
        )
    return url


def check_http(name: str, url: str) -> str:
    """Return the base URL from setting `name`, without a final slash.

    Raises:
        Misconfigured: the URL is malformed or has a query.
    """
    parts = _split(url)
    if not (_is_of(parts, "http", "https") and parts and not parts.query):
        raise Misconfigured(f"{name} must be http://HOST:PORT or https://HOST:PORT. {_QUOTED}")
    return url.rstrip("/")


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 (a malformed port raises)
    except ValueError:
        return None
    return parts


def _is_of(parts: SplitResult | None, *schemes: str) -> bool:
    return (
        parts is not None
        and parts.scheme in schemes
        and _HOST.fullmatch(parts.hostname or "") is not None
        and not parts.fragment
    )
