"""The manifest of a backup set and its checks. A folder without a manifest is not a backup set."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from farmgate.failures import Failed
from farmgate.integrators import Account
from farmgate.services import NAMES

#: The format that this version writes; it reads this and older ones.
FORMAT = 1
NAME = "manifest.json"
#: Bytes read at once.
CHUNK = 1 << 20

#: Called with the bytes done and the bytes in total; 0 in total if that is unknown.
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Part:
    """One service's database in a set."""

    service: str
    #: `sqlite` or `postgresql`; it can only be restored to the same kind.
    kind: str
    file: str
    #: The database's Alembic revision.
    revision: str
    #: The relay's epoch, and its last position.
    epoch: int
    position: int
    #: Table → rows.
    rows: Mapping[str, int]
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """One backup set; its parts form one consistent snapshot."""

    format: int
    #: The Farmgate version that made it.
    farmgate: str
    made_at: datetime
    parts: tuple[Part, ...]
    #: The broker's integrators; None if there was no broker or it could not be asked.
    integrators: tuple[Account, ...] | None = None

    def part(self, service: str) -> Part:
        """Return a service's part.

        Raises:
            Failed: the set does not have this service.
        """
        for part in self.parts:
            if part.service == service:
                return part
        raise Failed(f"The set does not have {service}; it has {', '.join(self.services)}.")

    @property
    def services(self) -> list[str]:
        """The services whose databases are in the set."""
        return [part.service for part in self.parts]

    def as_json(self) -> dict[str, Any]:
        """Return the manifest for display: integrators by name, without their password hashes."""
        names = self.integrators and [account.integrator.name for account in self.integrators]
        return _as_written(self) | {"integrators": names}


def _as_written(manifest: Manifest) -> dict[str, Any]:
    return asdict(manifest) | {"made_at": manifest.made_at.isoformat()}


def write(folder: Path, manifest: Manifest) -> None:
    """Write the manifest; the set's other files must be on disk already."""
    text = json.dumps(_as_written(manifest), indent=2) + "\n"
    descriptor = os.open(folder / NAME, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def read(folder: Path) -> Manifest:
    """Return a set's manifest; the set's other files are not checked.

    Raises:
        Failed: the folder is not a backup set, or has a newer format.
    """
    try:
        found = json.loads((folder / NAME).read_text(encoding="utf-8"))
    except OSError as error:
        raise Failed(
            f"{folder} is not a complete set: {NAME} cannot be read ({error.strerror}). A backup "
            "writes it last, so an interrupted backup has none. Name another folder."
        ) from error
    except ValueError as error:
        raise Failed(f"{folder / NAME} is damaged: {error}. Use another set.") from error
    try:
        if found["format"] > FORMAT:
            raise Failed(
                f"{folder} has format {found['format']}, made by Farmgate {found['farmgate']}; "
                f"this version reads up to {FORMAT}. Use the version that made it, or a newer one."
            )
        parts = tuple(Part(**part) for part in found["parts"])
        made_at = datetime.fromisoformat(found["made_at"])
        # A forged name could lead to a file outside the set.
        if any(part.service not in NAMES or Path(part.file).name != part.file for part in parts):
            raise ValueError("a part has an invalid name")
        # Older sets have no integrators.
        accounts = found.get("integrators")
        integrators = None if accounts is None else tuple(map(Account.of, accounts))
        return Manifest(found["format"], found["farmgate"], made_at, parts, integrators)
    except (KeyError, TypeError, ValueError) as error:
        raise Failed(f"{folder / NAME} is damaged: {error!r}. Use another set.") from error


def check(folder: Path, part: Part, show: OnProgress) -> None:
    """Compare a part's file with its size and SHA-256 in the manifest.

    Raises:
        Failed: the file is missing, unreadable, or changed.
    """
    path = folder / part.file
    try:
        size, digest = path.stat().st_size, digest_of(path, show)
    except OSError as error:
        raise Failed(f"{path} cannot be read: {error.strerror}. Use another set.") from error
    if (size, digest) != (part.bytes, part.sha256):
        raise Failed(
            f"{path} was changed or damaged: {size:,} bytes with SHA-256 {digest[:12]}…, not "
            f"{part.bytes:,} with {part.sha256[:12]}…. Use another set."
        )


def digest_of(path: Path, show: OnProgress) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    digest, total, done = hashlib.sha256(), path.stat().st_size, 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            done += len(chunk)
            show(done, total)
    return digest.hexdigest()
