"""Who is asking: bearer tokens checked against the issuer's public keys.

Only Ed25519 signatures count. A token says who (`sub`), what they may (`scope`) and, if they
belong to sites, where (`site_ids`); it must be of the right type, name our issuer and audience, and
live no longer than the setting allows. The key set can also name tokens that were revoked.
Source: RFC 9068, RFC 8725; docs/decisions/0015.
"""

import warnings
from collections.abc import Mapping
from functools import lru_cache
from time import time
from typing import Any
from uuid import UUID

from joserfc import jwt
from joserfc.errors import ClaimError, ExpiredTokenError, JoseError, SecurityWarning
from joserfc.jwk import OKPKey

from shared.runtime.callers import Caller, InvalidToken
from shared.runtime.config import Settings
from shared.runtime.public_keys import KeySet, KeySource

# The name of RFC 8037, which most issuers still write, besides that of RFC 9864.
ALGORITHMS = ["Ed25519", "EdDSA"]
warnings.filterwarnings("ignore", message="EdDSA is deprecated", category=SecurityWarning)

#: Seconds by which two machines' clocks may differ.
LEEWAY = 30
#: Bytes of a token.
LARGEST_TOKEN = 8_192
#: Tokens remembered as verified, so that a busy client's is not verified at each request.
REMEMBERED = 1_000
EXPIRED = "The token has expired; ask for a new one."


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


class Verifier:
    """Turns tokens into callers, for one issuer and one audience."""

    def __init__(self, settings: Settings) -> None:
        self.keys = KeySource(settings.jwks)
        self.types, self.longest = settings.token_types, settings.token_days * 24 * 3600
        self.claims = jwt.JWTClaimsRegistry(
            now=lambda: int(time()),
            leeway=LEEWAY,
            iss={"essential": True, "value": settings.issuer},
            aud={"essential": True, "value": settings.audience},
            sub={"essential": True},
            iat={"essential": True},
            exp={"essential": True},
        )
        self._verified = lru_cache(REMEMBERED)(self._verify)

    def caller(self, token: str) -> Caller:
        """Return who bears `token`.

        Raises:
            InvalidToken: it is malformed, wrongly signed, foreign, not yet or no longer valid.
            KeysUnavailable: the public keys cannot be read.
        """
        if len(token) > LARGEST_TOKEN:
            raise InvalidToken("The token is too long to be one of ours.")
        caller, expires = self._verified(token, self.keys.current())
        if time() >= expires + LEEWAY:
            raise InvalidToken(EXPIRED)
        return caller

    def _verify(self, token: str, known_with: KeySet) -> tuple[Caller, float]:
        """Return the token's bearer, and when it expires (seconds since the epoch).

        What was verified is remembered with the key set of that moment: the next one verifies anew.
        """
        try:
            decoded = jwt.decode(token, self._key_of, algorithms=ALGORITHMS)
        except (JoseError, ValueError, TypeError, RecursionError) as error:
            raise InvalidToken("The token is malformed or not signed by our issuer.") from error
        claims = decoded.claims
        self._check_type(decoded.header)
        try:
            self.claims.validate(claims)
        except ExpiredTokenError as error:
            raise InvalidToken(EXPIRED) from error
        except ClaimError as error:
            raise InvalidToken(f"The token does not count here. {error.description}.") from error
        subject, issued, expires = claims["sub"], claims["iat"], claims["exp"]
        if expires - issued > self.longest + LEEWAY:
            raise InvalidToken("The token lives longer than is allowed here; ask for another.")
        if len(subject) > 200 or not subject.isprintable():
            raise InvalidToken("The token's subject is too long, or cannot be printed.")
        revoked = self.keys.latest
        if claims.get("jti") in revoked.revoked_ids or issued <= revoked.revoked_subjects.get(
            subject, float("-inf")
        ):
            raise InvalidToken("The token was revoked; ask for a new one.", revoked=True)
        return Caller(subject, _scopes(claims), sites=_sites(claims)), expires

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


def _scopes(claims: Mapping[str, Any]) -> frozenset[str]:
    scope = claims.get("scope", "")
    words = scope.split() if isinstance(scope, str) else scope
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise InvalidToken("The token's scope must be words separated by spaces.")
    return frozenset(words)


def _sites(claims: Mapping[str, Any]) -> frozenset[UUID] | None:
    if "site_ids" not in claims:
        return None
    try:
        # A list only: a text would be taken letter by letter.
        return frozenset(UUID(each) for each in list[str]() + claims["site_ids"])
    except (TypeError, ValueError, AttributeError) as error:
        raise InvalidToken("The token's site_ids must be a list of sites' ids.") from error
