"""The passwords and keys of a deployment, generated at its first start, one folder per container.

The folder `operator` is the source: each password is a file in `operator/passwords`. Every start
writes the other folders from it, so that a changed password reaches all containers, and the next
start completes an interrupted one. A container mounts its own folder only.
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
#: Folders for only one of a service's processes, beside the folder for both: the web process
#: publishes no events, and the worker takes no payments.
WORKER, WEB = "{}-worker", "{}-web"
#: Folders of Farmgate's own containers.
OURS = (
    *(OPERATOR, broker_users.TOPOLOGY, *NAMES),
    *(WORKER.format(name) for name in NAMES),
    WEB.format("orders"),
)
#: Folders of the servers' containers, whose user ids are unknown.
SERVERS = ("postgres", "rabbitmq")


@dataclass(frozen=True)
class Servers:
    """The hosts of database and broker, as host or host:port; by default in the same deployment."""

    #: The primary and its standbys; a client connects to the one that accepts writes.
    databases: tuple[str, ...] = ("postgres",)
    broker: str = "rabbitmq"

    def database_url(self, name: str, password: str) -> str:
        """Return the URL of a service's database."""
        user = addresses.user(name, password)
        if len(self.databases) == 1:
            return f"postgresql+psycopg://{user}@{self.databases[0]}/{name}"
        hosts = "&".join(f"host={host}" for host in self.databases)
        options = f"{hosts}&target_session_attrs=read-write"
        return f"postgresql+psycopg://{user}@/{name}?{options}"

    def broker_url(self, user: str, password: str) -> str:
        """Return the broker's URL for a user."""
        place = self.broker if ":" in self.broker else f"{self.broker}:{AMQP_PORT}"
        return f"amqp://{addresses.user(user, password)}@{place}/%2F"

    def management_url(self, user: str, password: str) -> str:
        """Return the URL of the broker's management API for a user."""
        host = self.broker.partition(":")[0]
        return f"http://{addresses.user(user, password)}@{host}:{MANAGEMENT_PORT}"


def ensure(folder: Path, owner: int | None = None, servers: Servers | None = None) -> list[str]:
    """Generate missing secrets under `folder`; return the names of the new ones.

    The files of Farmgate's containers belong to the user id `owner` and only this user can read
    them. URLs are rewritten each time, for the hosts in `servers`.

    Raises:
        Failed: a folder cannot be written.
    """
    try:
        return _ensure(folder, owner, servers or Servers())
    except OSError as error:
        raise Failed(
            f"Secrets cannot be written: {error}. Run this as a user who may write to {folder}."
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
        # Version 0.1 wrote these for all of a service's processes.
        for moved in ("broker_url", "payment_secret"):
            (folder / name / moved).unlink(missing_ok=True)
        _write(operator / f"{name}_database_url", database)
        # For `farmgate events republish`, and for doctor's check of the login.
        _write(operator / f"{name}_broker_url", servers.broker_url(name, broker[name]))
    payment = (operator / "keys" / "payment_secret").read_text(encoding="utf-8")
    _write(folder / WEB.format("orders") / "payment_secret", payment)
    webhook_key = (operator / "keys" / "webhook_key").read_text(encoding="utf-8")
    _write(folder / "notifications" / "webhook_key", webhook_key)
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
    """Write a file atomically, unless it has this content already."""
    with suppress(FileNotFoundError):
        if path.read_text(encoding="utf-8") == text:
            return
    write_whole(path, text.encode())


def _protect(folder: Path, owner: int | None) -> None:
    """Set the files' permissions and owners."""
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
