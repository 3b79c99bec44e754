"""The issuer's public keys and revoked tokens, read from a file or fetched from a URL.

The fetching is our own: joserfc does not fetch keys, and PyJWT's client drops its keys while the
issuer is unavailable and sends a request for every unknown key id.
"""

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from shared.runtime.errors import Unavailable
from shared.runtime.logs import get

log = get(__name__)

#: Seconds after which keys from a URL are fetched again, and at least between two attempts.
KEYS_FRESH, KEYS_PAUSE = 300, 30
#: Bytes of a key set at most.
LARGEST_KEY_SET = 262_144


class KeysUnavailable(Unavailable):
    """Raised when the public keys cannot be read, so that no token can be verified."""


@dataclass(frozen=True, eq=False)
class KeySet:
    """One reading of an issuer's keys, by key id, and of its revoked tokens."""

    keys: Mapping[str, OKPKey] = field(default_factory=dict)
    #: Ids (`jti`) of revoked tokens.
    revoked_ids: frozenset[str] = frozenset()
    #: Subject → moment (seconds since the epoch): all its tokens issued until then are revoked.
    revoked_subjects: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> "KeySet":
        """Parse a JSON Web Key Set, with our own member `revoked` (RFC 7517 allows new members).

        Raises:
            ValueError, JoseError: it is malformed, or `revoked` is not in the form that
                `farmgate tokens revoke` writes.
        """
        document = json.loads(text)
        if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
            raise ValueError("not a JSON Web Key Set")
        revoked = document.get("revoked", {})
        try:
            ids = frozenset(map(str, revoked.get("ids", {})))
            subjects = {str(name): float(at) for name, at in revoked.get("subjects", {}).items()}
        except (AttributeError, TypeError, ValueError) as error:
            raise ValueError("the key set's member `revoked` is malformed") from error
        return cls(_usable(document["keys"]), ids, subjects)


def _usable(entries: list[Any]) -> dict[str, OKPKey]:
    # A set may hold keys for other uses, and a token names its key by id. The entry's algorithm is
    # left out: it may be either of the two accepted names.
    return {
        entry["kid"]: OKPKey.import_key(
            {name: entry[name] for name in ("kty", "crv", "x", "kid") if name in entry}
        )
        for entry in entries
        if isinstance(entry, dict)
        and (entry.get("kty"), entry.get("crv")) == ("OKP", "Ed25519")
        and entry.get("use", "sig") == "sig"
        and isinstance(entry.get("kid"), str)
    }


class KeySource:
    """A key set that is read again when it may have changed; on failure the last stays in use."""

    def __init__(self, where: str) -> None:
        self.where = where
        self._is_address = where.startswith(("http://", "https://"))
        #: The key set as last read.
        self.latest = KeySet()
        self._stamp: tuple[int, int] | None = None
        self._read_at = self._tried_at = float("-inf")
        self._failure = ""
        self._lock = threading.Lock()

    def current(self) -> KeySet:
        """Return the current key set.

        Raises:
            KeysUnavailable: no key has been read yet, and none can be read now.
        """
        # Only one thread reads it again; the others use the last one meanwhile.
        if self._lock.acquire(blocking=not self.latest.keys):
            try:
                self._refresh(unknown=False)
            finally:
                self._lock.release()
        return self.latest

    def key(self, kid: str) -> OKPKey | None:
        """Return the key with this id, or None.

        An unknown id causes a new reading, from a URL at most one in `KEYS_PAUSE`.

        Raises:
            KeysUnavailable: no key has been read yet, and none can be read now.
        """
        with self._lock:
            self._refresh(unknown=kid not in self.latest.keys)
            return self.latest.keys.get(kid)

    def _refresh(self, *, unknown: bool) -> None:
        """Read the key set again if it may have changed; the caller holds the lock."""
        try:
            text = self._fetch(unknown) if self._is_address else self._open()
            if text is not None:
                self.latest, self._failure = KeySet.parse(text), ""
        except (OSError, ValueError, JoseError) as error:  # requests' errors are OSErrors
            if self._failure != str(error):  # once per failure, not once per request
                self._failure = str(error)
                log.error("public keys cannot be read", error=repr(error))
            if not self.latest.keys:
                raise KeysUnavailable(
                    "Tokens cannot be verified now: the public keys in FARMGATE_JWKS cannot be "
                    "read. Try again later."
                ) from error

    def _open(self) -> str | None:
        status = Path(self.where).stat()
        stamp = (status.st_mtime_ns, status.st_size)
        if stamp == self._stamp:
            return None
        text = Path(self.where).read_text(encoding="utf-8")
        self._stamp = stamp
        return text

    def _fetch(self, unknown: bool) -> str | None:
        moment = monotonic()
        wanted = unknown or moment - self._read_at > KEYS_FRESH
        if not wanted or moment - self._tried_at < KEYS_PAUSE:
            if not self.latest.keys:
                raise OSError(f"{self.where} did not answer a moment ago")
            return None
        self._tried_at = moment
        # Imported here: it takes 5 MB of memory, and most processes read the keys from a file.
        import requests

        with requests.get(self.where, timeout=(3, 5), stream=True, allow_redirects=False) as answer:
            answer.raise_for_status()
            if answer.status_code != 200:
                raise OSError(f"{self.where} answers {answer.status_code}")
            raw = answer.raw.read(LARGEST_KEY_SET + 1, decode_content=True)
        if len(raw) > LARGEST_KEY_SET:
            raise OSError(f"{self.where} answers more than {LARGEST_KEY_SET} bytes")
        self._read_at = moment
        return bytes(raw).decode()
