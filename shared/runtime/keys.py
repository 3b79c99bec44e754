"""Keys made at first start: the pair that signs tokens, and the payment provider's secret.

They lie in `<data>/keys`, readable by their owner only. A deployment with an issuer of its own
does without the pair: it names that issuer's public keys by `FARMGATE_JWKS`.
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

#: RFC 9864's name of the algorithm that RFC 8037 called EdDSA, over this curve.
ALGORITHM = "Ed25519"


def ensure(data: Path) -> None:
    """Make what is missing under `<data>/keys`; what is there is never changed.

    Each file appears whole or not at all, also when several processes start at once.

    Raises:
        OSError: the folder cannot be written.
    """
    folder = data / "keys"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (folder / "signing.json").exists():
        pair = OKPKey.generate_key("Ed25519", {"use": "sig", "alg": ALGORITHM}, auto_kid=True)
        _create(folder / "signing.json", json.dumps(pair.as_dict(private=True)), 0o600)
    if not (folder / "jwks.json").exists():
        # From the file, not from the pair above: another process may have been first.
        public = _signing_key(data).as_dict(private=False)
        _create(folder / "jwks.json", json.dumps({"keys": [public]}), 0o644)
    if not (folder / "payment_secret").exists():
        secret = base64.b64encode(secrets.token_bytes(32)).decode()
        _create(folder / "payment_secret", f"whsec_{secret}", 0o600)


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
    """Return a bearer token for `subject` that opens `scopes` for `seconds` from now.

    With `site_ids` its bearer belongs to these sites. `token_id` is what it can be revoked by.

    Raises:
        OSError: there is no signing key; `ensure` makes one.
    """
    key, moment = _signing_key(data), time()
    claims: dict[str, Any] = {
        "iss": issuer,
        "aud": audience,
        "sub": subject,
        "scope": " ".join(scopes),
        # With its fraction: issued just after its subject's other tokens were revoked, it counts.
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
    """Note in the key set that tokens count no more; those of a subject as far as issued by now.

    What was noted longer than `longest_seconds` ago is left out: these tokens have run out.

    Raises:
        OSError: there is no key set; `ensure` makes one.
        ValueError: the key set cannot be read.
    """
    path, moment = data / "keys" / "jwks.json", time()
    added = {"ids": token_ids, "subjects": subjects}
    with _alone_in(path.parent):
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
def _alone_in(folder: Path) -> Iterator[None]:
    """Wait until no other process changes the folder: of two at once, one word would be lost."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # the system releases it, however the process ends
        yield
    finally:
        os.close(descriptor)


def _signing_key(data: Path) -> OKPKey:
    text = (data / "keys" / "signing.json").read_text(encoding="utf-8")
    return OKPKey.import_key(json.loads(text))


def _create(path: Path, text: str, mode: int) -> None:
    """Write a new file; one that appeared meanwhile is left as it is."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)  # unlike a rename, it never replaces
    finally:
        draft.unlink()
