"""Settings of one service's process, read once from the environment.

Without any setting a service runs embedded: SQLite and keys under `FARMGATE_DATA` (`var`). For each
setting `X`, `X_FILE` may name a file that holds the value.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from shared.runtime import addresses
from shared.runtime.errors import Misconfigured


def read(environment: Mapping[str, str], name: str, default: str | None = None) -> str:
    """Return setting `name`: the variable, else the content of file `name_FILE`, else `default`.

    Raises:
        Misconfigured: it is not set and has no default, or its file cannot be read.
    """
    if name in environment:
        return environment[name]
    path = environment.get(f"{name}_FILE")
    if path is not None:
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise Misconfigured(
                f"{name}_FILE names {path}, which cannot be read: {error}"
            ) from error
    if default is None:
        raise Misconfigured(f"Set {name} (or {name}_FILE); it has no default.")
    return default


#: The largest body limit that can be set, in bytes, as for CSV files: the HTTP server refuses
#: bodies of twice this size.
MOST_BODY_BYTES = 8 * 1024 * 1024


def read_integer(
    environment: Mapping[str, str],
    name: str,
    default: int,
    least: int = 0,
    most: int | None = None,
) -> int:
    """Return setting `name` as a whole number.

    Raises:
        Misconfigured: it is no whole number, less than `least`, or more than `most`.
    """
    text = read(environment, name, str(default))
    number = int(text) if re.fullmatch("-?[0-9]+", text) else None
    if number is None or number < least or (most is not None and number > most):
        limits = f"of at least {least}" + (f" and at most {most}" if most is not None else "")
        raise Misconfigured(f"{name} must be a whole number {limits}, not {text!r}.")
    return number


@dataclass(frozen=True)
class Settings:
    """The settings of every process of a service."""

    service: str
    #: SQLAlchemy URL: `sqlite:///…` or `postgresql+psycopg://…`.
    database_url: str
    #: AMQP URL with this service's own broker user; None: embedded, no broker.
    broker_url: str | None
    #: The folder of the embedded mode's databases and keys.
    data: Path
    #: The JSON Web Key Set of the issuer: a file's path or an http(s) URL.
    jwks: str
    issuer: str
    audience: str
    #: Accepted values of a token's `typ` header, in lower case (RFC 9068: `at+jwt`).
    token_types: frozenset[str] = frozenset({"at+jwt"})
    #: The longest lifetime of a token, in days.
    token_days: int = 90
    #: Days that published outbox rows and inbox rows are kept; see docs/architecture.md.
    outbox_days: int = 30
    inbox_days: int = 90
    #: Largest request body, in bytes.
    max_body_bytes: int = 1_048_576
    #: For a service's own settings, with `read` and `read_integer`.
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def from_environment(
        cls, service: str, environment: Mapping[str, str] | None = None
    ) -> "Settings":
        """Read the settings of `service`.

        Raises:
            Misconfigured: a value is missing or malformed.
        """
        env = os.environ if environment is None else environment
        data = Path(read(env, "FARMGATE_DATA", "var"))
        upper = service.upper()
        database, own = f"FARMGATE_{upper}_DATABASE_URL", f"FARMGATE_{upper}_BROKER_URL"
        broker = addresses.check_broker(
            f"{own} or FARMGATE_BROKER_URL", read(env, own, read(env, "FARMGATE_BROKER_URL", ""))
        )
        inbox_days = read_integer(env, "FARMGATE_INBOX_DAYS", 90, least=1)
        outbox_days = read_integer(env, "FARMGATE_OUTBOX_DAYS", 30, least=1)
        token_types = frozenset(read(env, "FARMGATE_TOKEN_TYPES", "at+jwt").lower().split())
        if not token_types:
            raise Misconfigured("FARMGATE_TOKEN_TYPES must name a type, such as at+jwt.")
        if inbox_days < outbox_days:
            raise Misconfigured(
                "FARMGATE_INBOX_DAYS must not be less than FARMGATE_OUTBOX_DAYS: an event "
                "published again from the outbox would otherwise take effect twice."
            )
        return cls(
            service=service,
            database_url=addresses.check_database(
                database, read(env, database, addresses.sqlite(data / f"{service}.db"))
            ),
            broker_url=broker or None,
            data=data,
            jwks=read(env, "FARMGATE_JWKS", str(data / "keys" / "jwks.json")),
            issuer=read(env, "FARMGATE_TOKEN_ISSUER", "farmgate"),
            audience=read(env, "FARMGATE_TOKEN_AUDIENCE", "farmgate"),
            token_types=token_types,
            token_days=read_integer(env, "FARMGATE_TOKEN_DAYS", 90, least=1),
            outbox_days=outbox_days,
            inbox_days=inbox_days,
            max_body_bytes=read_integer(
                env, "FARMGATE_MAX_BODY_BYTES", 1_048_576, 1024, MOST_BODY_BYTES
            ),
            environment=env,
        )
