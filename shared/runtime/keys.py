"""Keys created at the first start: the key pair that signs tokens, and secrets for webhooks.

The files are in `<data>/keys`, and only their owner can read the private ones. A deployment with
its own issuer does not use the pair: `FARMGATE_JWKS` names that issuer's public keys.
"""

import base64
import fcntl
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_IMODE
from time import time
from typing import Any
from uuid import UUID

from joserfc import jwt
from joserfc.jwk import OKPKey

from shared.runtime.files import write_whole
from shared.runtime.ids import new_id

#: The name in RFC 9864; RFC 8037 calls the algorithm EdDSA.
ALGORITHM = "Ed25519"


def ensure(data: Path) -> None:
    """Create the missing files in `<data>/keys`; existing files do not change.

    Each file is created atomically, also when several processes start at once.

    Raises:
        OSError: the folder cannot be written.
    """
    folder = data / "keys"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (folder / "signing.json").exists():
        pair = OKPKey.generate_key("Ed25519", {"use": "sig", "alg": ALGORITHM}, auto_kid=True)
        _create(folder / "signing.json", json.dumps(pair.as_dict(private=True)), 0o600)
    if not (folder / "jwks.json").exists():
        # From the file, not from the pair above: another process may have created it first.
        public = _signing_key(data).as_dict(private=False)
        _create(folder / "jwks.json", json.dumps({"keys": [public]}), 0o644)
    if not (folder / "payment_secret").exists():
        secret = base64.b64encode(secrets.token_bytes(32)).decode()
        _create(folder / "payment_secret", f"whsec_{secret}", 0o600)
    if not (folder / "webhook_key").exists():
        _create(folder / "webhook_key", secrets.token_urlsafe(32), 0o600)


def issue_token(
    data: Path,
    subject: str,
    scopes: Sequence[str],
    seconds: int,
    *,
    issuer: str = "farmgate",
    audience: str = "farmgate",
    token_type: str = "at+jwt",
    site_ids: Iterable[UUID] | None = None,
    token_id: UUID | None = None,
) -> str:
    """Return a bearer token for `subject` with `scopes`, valid for `seconds` from now.

    `site_ids` limit the token to these sites. `token_id` serves to revoke it.

    Raises:
        OSError: there is no signing key; `ensure` creates one.
    """
    key, moment = _signing_key(data), time()
    claims: dict[str, Any] = {
        "iss": issuer,
        "aud": audience,
        "sub": subject,
        "scope": " ".join(scopes),
        # With fractions of a second: a token issued just after its subject's revocation is valid.
        "iat": moment,
        "nbf": int(moment),
        "exp": int(moment) + seconds,
        "jti": str(token_id or new_id()),
    }
    if site_ids is not None:
        claims["site_ids"] = sorted(map(str, site_ids))
    header = {"alg": ALGORITHM, "kid": key.kid, "typ": token_type}
    return jwt.encode(header, claims, key, algorithms=[ALGORITHM])


def revoke(
    data: Path, token_ids: Iterable[str], subjects: Iterable[str], longest_seconds: int
) -> None:
    """Add tokens to the key set's list of revoked ones: by id, or all issued so far to a subject.

    Revocations older than `longest_seconds`, the longest lifetime of a token, are removed: these
    tokens have expired.

    Raises:
        OSError: there is no key set; `ensure` creates one.
        ValueError: the key set is malformed.
    """
    path, moment = data / "keys" / "jwks.json", time()
    added = {"ids": token_ids, "subjects": subjects}
    with _lock(path.parent):
        document = json.loads(path.read_text(encoding="utf-8"))
        member = document.get("revoked", {})
        document["revoked"] = {
            kind: {
                name: at
                for name, at in (member.get(kind, {}) | dict.fromkeys(added[kind], moment)).items()
                if at > moment - longest_seconds
            }
            for kind in added
        }
        write_whole(path, json.dumps(document).encode(), S_IMODE(path.stat().st_mode))


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Lock the folder: of two concurrent revocations one would otherwise be lost."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # the kernel releases it if the process is killed
        yield
    finally:
        os.close(descriptor)


def _signing_key(data: Path) -> OKPKey:
    text = (data / "keys" / "signing.json").read_text(encoding="utf-8")
    return OKPKey.import_key(json.loads(text))


def _create(path: Path, text: str, mode: int) -> None:
    """Create a file atomically; a file that another process created first stays."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)  # unlike a rename, a link never replaces a file
    finally:
        draft.unlink()
