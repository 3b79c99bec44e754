"""Who is asking: bearer tokens checked against public keys from a file or an address.

Only Ed25519 signatures count. A token says who (`sub`), what they may (`scope`) and, if they
belong to sites, where (`site_ids`); it must be of the right type, name our issuer and audience, and
live no longer than the setting allows. The key set can also name tokens that were revoked.
Source: RFC 9068, RFC 8725; docs/decisions/0015.
"""

import json
import threading
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, time
from typing import Any
from uuid import UUID

from joserfc import jwt
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import OKPKey

from shared.runtime.callers import Caller, InvalidToken
from shared.runtime.config import Settings
from shared.runtime.errors import Unavailable
from shared.runtime.logs import get

log = get(__name__)

# The name of RFC 8037, which most issuers still write, besides that of RFC 9864.
ALGORITHMS = ["Ed25519", "EdDSA"]
warnings.filterwarnings("ignore", message="EdDSA is deprecated", category=SecurityWarning)

#: Seconds by which two machines' clocks may differ.
LEEWAY = 30
#: Seconds after which keys from an address are fetched again, and the least between two tries.
KEYS_FRESH, KEYS_PAUSE = 300, 30
#: Bytes of a key set, of a token.
LARGEST_KEY_SET, LARGEST_TOKEN = 262_144, 8_192
#: Tokens remembered as verified, so that a busy client's is not verified at each request.
REMEMBERED = 1_000


@dataclass(frozen=True)
class Revoked:
    """Tokens that count no more: by their own id, and by subject those issued up to a moment."""

    ids: frozenset[str] = frozenset()
    #: Seconds since the epoch, by subject.
    subjects: Mapping[str, float] = field(default_factory=dict)


class KeysUnavailable(Unavailable):
    """Raised when no token can be checked, because the public keys cannot be read."""


class KeySource:
    """The public keys by their ids, read again when they may have changed."""

    def __init__(self, where: str) -> None:
        self.where = where
        self._is_address = where.startswith(("http://", "https://"))
        self._keys: dict[str, OKPKey] = {}
        #: As last read with the keys.
        self.revoked = Revoked()
        self._stamp: tuple[int, int] | None = None
        self._read_at = self._tried_at = float("-inf")
        self._failure = ""
        self._lock = threading.Lock()
        #: Grows whenever the keys change: what was verified before is then forgotten.
        self.generation = 0

    def key(self, kid: str) -> OKPKey | None:
        """Return the key with this id, or None.

        Raises:
            KeysUnavailable: no key has been read yet, and none can be.
        """
        with self._lock:
            self._refresh(unknown=kid not in self._keys)
            return self._keys.get(kid)

    def look(self) -> int:
        """Return the generation of the keys as they are now."""
        # Only one thread reads them again; the others go on with the keys they have.
        if self._lock.acquire(blocking=not self._keys):
            try:
                self._refresh(unknown=False)
            finally:
                self._lock.release()
        return self.generation

    def _refresh(self, *, unknown: bool) -> None:
        """Read the keys again if they may have changed; the caller holds the lock."""
        try:
            text = self._fetch(unknown) if self._is_address else self._open()
            if text is not None:
                document = _key_set(text)
                self._keys, self.revoked = _public_keys(document), revoked_of(document)
                self.generation += 1
                self._failure = ""
        except (OSError, ValueError, JoseError) as error:  # requests' errors are OSErrors
            if self._failure != str(error):  # once, and not at each request
                self._failure = str(error)
                log.error("public keys cannot be read", error=repr(error))
            if not self._keys:
                raise KeysUnavailable(
                    "Tokens cannot be checked now: the public keys named by FARMGATE_JWKS "
                    "cannot be read. Try again later."
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
            if not self._keys:
                raise OSError(f"{self.where} did not answer a moment ago")
            return None
        self._tried_at = moment
        # Here, since most read the keys from a file, and it is 5 MB of each process.
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


def bearer_of(header: str | None) -> str:
    """Return the token of an `Authorization` header.

    Raises:
        InvalidToken: there is no header, or it holds something else.
    """
    scheme, _, token = (header or "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise InvalidToken("Send a token: `Authorization: Bearer …`.")
    return token


def _key_set(text: str) -> dict[str, Any]:
    document = json.loads(text)
    if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
        raise ValueError("no JSON Web Key Set")
    return document


def revoked_of(document: Mapping[str, Any]) -> Revoked:
    """Return what a key set says of revoked tokens; RFC 7517 lets it have members of one's own.

    Raises:
        ValueError: it is not as `farmgate tokens revoke` writes it.
    """
    member = document.get("revoked", {})
    try:
        subjects = {str(name): float(at) for name, at in member.get("subjects", {}).items()}
        return Revoked(frozenset(map(str, member.get("ids", {}))), subjects)
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError("the key set's member `revoked` cannot be read") from error


def _public_keys(document: Mapping[str, Any]) -> dict[str, OKPKey]:
    usable = {}
    for entry in document["keys"]:
        # A set may hold keys for other uses; without an id none can be named by a token.
        if (
            isinstance(entry, dict)
            and (entry.get("kty"), entry.get("crv")) == ("OKP", "Ed25519")
            and entry.get("use", "sig") == "sig"
            and isinstance(entry.get("kid"), str)
        ):
            public = {name: entry[name] for name in ("kty", "crv", "x", "kid") if name in entry}
            usable[entry["kid"]] = OKPKey.import_key(public)
    return usable


class Verifier:
    """Turns tokens into callers, for one issuer and one audience."""

    def __init__(self, settings: Settings) -> None:
        self.keys = KeySource(settings.jwks)
        self.issuer, self.audience = settings.issuer, settings.audience
        self.types, self.longest = settings.token_types, settings.token_days * 24 * 3600
        self._known: OrderedDict[str, tuple[Caller, float]] = OrderedDict()
        self._generation = -1
        self._lock = threading.Lock()

    def caller(self, token: str) -> Caller:
        """Return who bears `token`.

        Raises:
            InvalidToken: it is malformed, wrongly signed, foreign, not yet or no longer valid.
            KeysUnavailable: the public keys cannot be read.
        """
        if len(token) > LARGEST_TOKEN:
            raise InvalidToken("The token is too long to be one of ours.")
        generation = self.keys.look()
        with self._lock:
            if generation != self._generation:
                self._known.clear()
                self._generation = generation
            known = self._known.get(token)
            if known is not None and time() < known[1]:
                self._known.move_to_end(token)
                return known[0]
        caller, until = self._verify(token)
        with self._lock:
            if generation == self._generation:
                self._known[token] = (caller, until)
                if len(self._known) > REMEMBERED:
                    self._known.popitem(last=False)
        return caller

    def _verify(self, token: str) -> tuple[Caller, float]:
        try:
            decoded = jwt.decode(token, self._key_of, algorithms=ALGORITHMS)
        except (JoseError, ValueError, TypeError, RecursionError) as error:
            raise InvalidToken("The token is malformed or not signed by our issuer.") from error
        claims = decoded.claims
        self._check_type(decoded.header)
        self._check_parties(claims)
        moment = time()
        expires, begins = _moment(claims, "exp"), _moment(claims, "nbf", 0)
        issued = _moment(claims, "iat")
        if issued > moment + LEEWAY:
            raise InvalidToken("The token was issued in the future; set its issuer's clock.")
        if expires - issued > self.longest + LEEWAY:
            raise InvalidToken("The token lives longer than is allowed here; ask for another.")
        if moment >= expires + LEEWAY:
            raise InvalidToken("The token has expired; ask for a new one.")
        if moment < begins - LEEWAY:
            raise InvalidToken("The token is not valid yet.")
        subject, scope = claims.get("sub"), claims.get("scope", "")
        if not isinstance(subject, str) or not 0 < len(subject) <= 200:
            raise InvalidToken("The token does not say who bears it.")
        revoked = self.keys.revoked
        if str(claims.get("jti")) in revoked.ids or issued <= revoked.subjects.get(
            subject, float("-inf")
        ):
            raise InvalidToken("The token was revoked; ask for a new one.", revoked=True)
        if not subject.isprintable():
            raise InvalidToken("The token's subject has characters that cannot be printed.")
        words = scope.split() if isinstance(scope, str) else scope
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise InvalidToken("The token's scope must be words separated by spaces.")
        caller = Caller(subject, frozenset(words), sites=_sites(claims))
        return caller, expires + LEEWAY

    def _key_of(self, candidate: Any) -> OKPKey:
        kid = candidate.headers().get("kid")
        key = self.keys.key(kid) if isinstance(kid, str) else None
        if key is None:
            raise InvalidToken("The token is signed by a key that is not our issuer's.")
        return key

    def _check_type(self, header: Mapping[str, Any]) -> None:
        # Else an ID token, or what our issuer signs for another purpose, would be taken.
        named = str(header.get("typ", "")).lower().removeprefix("application/")
        if named not in self.types:
            raise InvalidToken("The token is not of the type of an access token (at+jwt).")

    def _check_parties(self, claims: Mapping[str, Any]) -> None:
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        if claims.get("iss") != self.issuer or self.audience not in audiences:
            raise InvalidToken("The token is of another issuer, or meant for another audience.")


def _sites(claims: Mapping[str, Any]) -> frozenset[UUID] | None:
    if "site_ids" not in claims:
        return None
    try:
        # A list only: a text would be taken letter by letter.
        return frozenset(UUID(each) for each in list[str]() + claims["site_ids"])
    except (TypeError, ValueError, AttributeError) as error:
        raise InvalidToken("The token's site_ids must be a list of sites' ids.") from error


def _moment(claims: Mapping[str, Any], name: str, default: float | None = None) -> float:
    value = claims.get(name, default)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise InvalidToken("The token does not say from when until when it is valid.")
    return value
