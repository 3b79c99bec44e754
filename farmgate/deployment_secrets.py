"""The passwords and keys of a deployment, made at its first start, in one folder per container.

`operator` has everything, and is the source: each password is a file in `operator/passwords`.
The other folders are written from it at every start, so that a changed password reaches all who
use it, and a start that was interrupted is finished by the next one. A container sees its own
folder only.
"""

import json
import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from farmgate import broker_users
from farmgate.failures import Failed
from farmgate.management import AMQP_PORT, MANAGEMENT_FILE, MANAGEMENT_PORT
from farmgate.services import NAMES
from shared.runtime import addresses, keys
from shared.runtime.files import write_whole

#: The database server's own administrator.
SUPERUSER = "postgres"
OPERATOR = "operator"
#: What only one of a service's processes has: its web process publishes nothing, its worker takes
#: no payments. Beside the folder that both have.
WORKER, WEB = "{}-worker", "{}-web"
#: Folders of our own containers.
OURS = (
    *(OPERATOR, broker_users.TOPOLOGY, *NAMES),
    *(WORKER.format(name) for name in NAMES),
    WEB.format("orders"),
)
#: Folders of containers that are not ours: they run as a user whose number we do not know.
SERVERS = ("postgres", "rabbitmq")


@dataclass(frozen=True)
class Servers:
    """Where the two servers are, each as host or host:port; by default in the same deployment."""

    #: Several are one server with its standbys: who connects takes the one that can be written to.
    databases: tuple[str, ...] = ("postgres",)
    broker: str = "rabbitmq"

    def database_url(self, name: str, password: str) -> str:
        """Return a service's address of its own database."""
        user = addresses.user(name, password)
        if len(self.databases) == 1:
            return f"postgresql+psycopg://{user}@{self.databases[0]}/{name}"
        hosts = "&".join(f"host={host}" for host in self.databases)
        options = f"{hosts}&target_session_attrs=read-write"
        return f"postgresql+psycopg://{user}@/{name}?{options}"

    def broker_url(self, user: str, password: str) -> str:
        """Return a user's address of the broker."""
        place = self.broker if ":" in self.broker else f"{self.broker}:{AMQP_PORT}"
        return f"amqp://{addresses.user(user, password)}@{place}/%2F"

    def management_url(self, user: str, password: str) -> str:
        """Return a user's address of the broker's management API."""
        host = self.broker.partition(":")[0]
        return f"http://{addresses.user(user, password)}@{host}:{MANAGEMENT_PORT}"


def ensure(folder: Path, owner: int | None = None, servers: Servers | None = None) -> list[str]:
    """Make what is missing under `folder`; return the names of the secrets that were made.

    Farmgate's own files belong to user `owner` and nobody else can read them. Addresses are
    written anew each time, of where the `servers` are.

    Raises:
        Failed: a folder cannot be written.
    """
    try:
        return _ensure(folder, owner, servers or Servers())
    except OSError as error:
        raise Failed(
            f"Secrets cannot be written: {error}. Run this as a user who may write {folder}, or "
            "remove what is in the way."
        ) from error


def _ensure(folder: Path, owner: int | None, servers: Servers) -> list[str]:
    operator = folder / OPERATOR
    made: list[str] = []
    databases = {name: _password(operator, f"database-{name}", made) for name in NAMES}
    databases[SUPERUSER] = _password(operator, f"database-{SUPERUSER}", made)
    users = (*NAMES, broker_users.TOPOLOGY, broker_users.OPERATOR)
    broker = {name: _password(operator, f"broker-{name}", made) for name in users}
    if not (operator / "keys" / "signing.json").exists():
        made.append("signing key")
    keys.ensure(operator)

    for name, password in databases.items():
        _write(folder / "postgres" / name, password)
    _write(folder / "rabbitmq" / "definitions.json", json.dumps(broker_users.definitions(broker)))
    jwks = (operator / "keys" / "jwks.json").read_text(encoding="utf-8")
    for name in NAMES:
        database = servers.database_url(name, databases[name])
        _write(folder / name / "database_url", database)
        _write(folder / WORKER.format(name) / "broker_url", servers.broker_url(name, broker[name]))
        _write(folder / name / "jwks.json", jwks)
        # Where version 0.1 wrote them, for all of a service's processes.
        for moved in ("broker_url", "payment_secret"):
            (folder / name / moved).unlink(missing_ok=True)
        _write(operator / f"{name}_database_url", database)
        # To publish its events again, and to see that its user can log in.
        _write(operator / f"{name}_broker_url", servers.broker_url(name, broker[name]))
    payment = (operator / "keys" / "payment_secret").read_text(encoding="utf-8")
    _write(folder / WEB.format("orders") / "payment_secret", payment)
    topology = broker_users.TOPOLOGY
    for name in (OPERATOR, topology):
        _write(folder / name / "broker_url", servers.broker_url(topology, broker[topology]))
    administrator = broker_users.OPERATOR
    management = servers.management_url(administrator, broker[administrator])
    _write(operator / MANAGEMENT_FILE, management)
    _protect(folder, owner)
    return made


def _password(operator: Path, name: str, made: list[str]) -> str:
    path = operator / "passwords" / name
    with suppress(FileNotFoundError):
        if password := path.read_text(encoding="utf-8").strip():
            return password
    password = secrets.token_urlsafe(24)
    _write(path, password)
    made.append(name)
    return password


def _write(path: Path, text: str) -> None:
    """Write a file, whole or not at all; one that says the same already is left alone."""
    with suppress(FileNotFoundError):
        if path.read_text(encoding="utf-8") == text:
            return
    write_whole(path, text.encode())


def _protect(folder: Path, owner: int | None) -> None:
    """Let each file be read by whom it is for."""
    for path in _below(folder / name for name in SERVERS):
        path.chmod(0o755 if path.is_dir() else 0o444)
    for path in _below(folder / name for name in OURS):
        path.chmod(0o700 if path.is_dir() else 0o600)
        if owner is not None:
            os.chown(path, owner, owner)


def _below(folders: Iterable[Path]) -> Iterable[Path]:
    for folder in folders:
        yield folder
        yield from folder.rglob("*")
