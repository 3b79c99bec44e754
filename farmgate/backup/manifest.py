"""What a set holds, and whether it is whole. A folder without a manifest is no set."""

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

#: What this version writes, and the newest one that it reads.
FORMAT = 1
NAME = "manifest.json"
#: Bytes read at once.
CHUNK = 1 << 20

#: Told of a file: how many bytes of how many; 0 in all when that is not known before.
Show = Callable[[int, int], None]


@dataclass(frozen=True)
class Part:
    """One service's database in a set."""

    service: str
    #: `sqlite` or `postgresql`: what it was copied from, and can be restored to.
    kind: str
    file: str
    #: Of its migrations.
    revision: str
    #: Of its relay, and the last position handed out.
    epoch: int
    position: int
    #: Table → rows.
    rows: Mapping[str, int]
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """One set; its parts are of one moment."""

    format: int
    #: Version that made it.
    farmgate: str
    made_at: datetime
    parts: tuple[Part, ...]
    #: Who gets events at the broker; None where it could not be asked, or there is none.
    integrators: tuple[Account, ...] | None = None

    def part(self, service: str) -> Part:
        """Return a service's part.

        Raises:
            Failed: the set was made without it.
        """
        for part in self.parts:
            if part.service == service:
                return part
        raise Failed(f"The set has nothing of {service}; it holds {', '.join(self.services)}.")

    @property
    def services(self) -> list[str]:
        """Whose databases are in it."""
        return [part.service for part in self.parts]

    def as_json(self) -> dict[str, Any]:
        """Return it as it is shown: integrators by name, without what would let a guesser in."""
        names = self.integrators and [account.integrator.name for account in self.integrators]
        return _as_written(self) | {"integrators": names}


def _as_written(manifest: Manifest) -> dict[str, Any]:
    return asdict(manifest) | {"made_at": manifest.made_at.isoformat()}


def write(folder: Path, manifest: Manifest) -> None:
    """Write the manifest of a set whose other files are on disk already."""
    text = json.dumps(_as_written(manifest), indent=2) + "\n"
    descriptor = os.open(folder / NAME, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def read(folder: Path) -> Manifest:
    """Return what a set says of itself; its files are not looked at.

    Raises:
        Failed: it is no set, or one of a newer format.
    """
    try:
        found = json.loads((folder / NAME).read_text(encoding="utf-8"))
    except OSError as error:
        raise Failed(
            f"{folder} is no whole set: {NAME} cannot be read ({error.strerror}). A backup writes "
            "it last, so one that was interrupted has none. Name another folder."
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
        # A file outside the set would be read, and a name that is no service be a path.
        if any(part.service not in NAMES or Path(part.file).name != part.file for part in parts):
            raise ValueError("a part has a strange name")
        # Sets from before integrators were in them are whole, too.
        kept = found.get("integrators")
        integrators = None if kept is None else tuple(Account.of(one) for one in kept)
        return Manifest(found["format"], found["farmgate"], made_at, parts, integrators)
    except (KeyError, TypeError, ValueError) as error:
        raise Failed(f"{folder / NAME} is damaged: {error!r}. Use another set.") from error


def check(folder: Path, part: Part, show: Show) -> None:
    """Read a part's file and compare it with the manifest.

    Raises:
        Failed: it is missing, cannot be read, or is not what was written.
    """
    path = folder / part.file
    try:
        size, digest = path.stat().st_size, digest_of(path, show)
    except OSError as error:
        raise Failed(f"{path} cannot be read: {error.strerror}. Use another set.") from error
    if (size, digest) != (part.bytes, part.sha256):
        raise Failed(
            f"{path} is not what was written: {size:,} bytes with SHA-256 {digest[:12]}…, not "
            f"{part.bytes:,} with {part.sha256[:12]}…. Use another set."
        )


def digest_of(path: Path, show: Show) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    digest, total, done = hashlib.sha256(), path.stat().st_size, 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            done += len(chunk)
            show(done, total)
    return digest.hexdigest()
