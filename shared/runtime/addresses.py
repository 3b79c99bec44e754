"""Addresses, built from their parts and checked where they come in: none is pasted together.

A path or a password may hold any character, and `%`, `#`, `?`, `@` and `/` mean something else in
an address: there they are written as `%25`, `%23`, `%3F`, `%40` and `%2F`.
"""

import re
from pathlib import Path
from urllib.parse import SplitResult, quote, urlsplit

from shared.runtime.errors import Misconfigured

_QUOTED = "% # ? @ : / in a name or password are written as %25 %23 %3F %40 %3A %2F."
#: What SQLAlchemy can read: of PostgreSQL nothing follows the password but host, port and database.
_DATABASE = re.compile(
    r"sqlite(\+\w+)?://(/.*)?"
    r"|postgresql(\+\w+)?://([^@]*@)?(\[[0-9A-Fa-f:.]+\]|[^@/:?\[\]]*)(:[0-9]+)?([/?][^@]*)?"
)
_HOST = re.compile(r"[\w.-]+|[0-9A-Fa-f:.]+")


def sqlite(path: Path) -> str:
    """Return SQLAlchemy's address of an SQLite file.

    Raises:
        Misconfigured: the path is no text.
    """
    try:
        return f"sqlite:///{quote(path.as_posix())}"
    except UnicodeEncodeError as error:
        raise Misconfigured(
            f"{path!r} is no text in UTF-8; set FARMGATE_DATA to a folder whose path is."
        ) from error


def place(host: str, port: int | str) -> str:
    """Return host and port as an address has them: IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reachable(host: str) -> str:
    """Return the host at which one that listens on `host` is reached from here."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def user(name: str, password: str) -> str:
    """Return a user with a password as an address has them, before its `@`."""
    return f"{quote(name, safe='')}:{quote(password, safe='')}"


def check_database(name: str, url: str) -> str:
    """Return a database's address that setting `name` gave.

    Raises:
        Misconfigured: it cannot be read. The message holds nothing of it, since it has a password.
    """
    if _DATABASE.fullmatch(url) is None:
        raise Misconfigured(
            f"{name} must be sqlite:///PATH or postgresql+psycopg://USER:PASSWORD@HOST:PORT/NAME. "
            + _QUOTED
        )
    return url


def check_broker(name: str, url: str) -> str:
    """Return a broker's address that setting `name` gave; empty: there is no broker.

    Raises:
        Misconfigured: it cannot be read.
    """
    parts = _split(url)
    if url and not (_is_of(parts, "amqp", "amqps") and parts and parts.path.count("/") <= 1):
        raise Misconfigured(
            f"{name} must be amqp://USER:PASSWORD@HOST:PORT/VHOST, with amqps for TLS. {_QUOTED}"
        )
    return url


def check_http(name: str, url: str) -> str:
    """Return an HTTP address that setting `name` gave, to which paths are added.

    Raises:
        Misconfigured: it cannot be read, or has a query.
    """
    parts = _split(url)
    if not (_is_of(parts, "http", "https") and parts and not parts.query):
        raise Misconfigured(f"{name} must be http://HOST:PORT or https://HOST:PORT. {_QUOTED}")
    return url.rstrip("/")


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 (a wrong one raises)
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
