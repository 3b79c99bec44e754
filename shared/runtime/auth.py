"""Authentication: bearer tokens verified with the issuer's public keys.

Only Ed25519 signatures are accepted. A token names its subject (`sub`), its scopes (`scope`) and,
for a caller who belongs to sites, these sites (`site_ids`). Its type, issuer and audience must be
the configured ones, and its lifetime must not exceed the configured limit. The key set can also
list revoked tokens. Source: RFC 9068, RFC 8725; docs/decisions/0015.
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

# The algorithm's name in RFC 9864, and its older name in RFC 8037, which most issuers still use.
ALGORITHMS = ["Ed25519", "EdDSA"]
warnings.filterwarnings("ignore", message="EdDSA is deprecated", category=SecurityWarning)

#: Seconds by which the clocks of issuer and service may differ.
LEEWAY = 30
#: Characters of a token at most.
LARGEST_TOKEN = 8_192
#: Verified tokens in the cache, so that a busy client's token is not verified at each request.
CACHED = 1_000
EXPIRED = "The token has expired; ask for a new one."


def bearer_of(header: str | None) -> str:
    """Return the token of an `Authorization` header.

    Raises:
        InvalidToken: there is no header, or it holds no bearer token.
    """
    scheme, _, token = (header or "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise InvalidToken("Send a token: `Authorization: Bearer …`.")
    return token


class Verifier:
    """Verifies tokens of one issuer for one audience."""

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
        self._verified = lru_cache(CACHED)(self._verify)

    def caller(self, token: str) -> Caller:
        """Return the caller whom `token` authenticates.

        Raises:
            InvalidToken: it is malformed, has a wrong signature, issuer or audience, is expired,
                not valid yet, or revoked.
            KeysUnavailable: the public keys cannot be read.
        """
        if len(token) > LARGEST_TOKEN:
            raise InvalidToken(f"The token is longer than {LARGEST_TOKEN} characters.")
        caller, expires = self._verified(token, self.keys.current())
        if time() >= expires + LEEWAY:
            raise InvalidToken(EXPIRED)
        return caller

    def _verify(self, token: str, key_set: KeySet) -> tuple[Caller, float]:
        """Return the caller, and the moment of expiry (seconds since the epoch).

        The key set is part of the cache key: with a new key set each token is verified again.
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
            raise InvalidToken(f"The token is not valid here. {error.description}.") from error
        subject, issued, expires = claims["sub"], claims["iat"], claims["exp"]
        if expires - issued > self.longest + LEEWAY:
            raise InvalidToken("The token's lifetime is too long; ask for a shorter-lived token.")
        if len(subject) > 200 or not subject.isprintable():
            raise InvalidToken("The token's subject is too long or not printable.")
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
            raise InvalidToken("The token is signed with a key that our issuer does not publish.")
        return key

    def _check_type(self, header: Mapping[str, Any]) -> None:
        # Otherwise an ID token, or another kind of token of our issuer, would be accepted.
        named = str(header.get("typ", "")).lower().removeprefix("application/")
        if named not in self.types:
            raise InvalidToken("The token's type is not that of an access token (at+jwt).")


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
        # A list only: a string would be iterated letter by letter.
        return frozenset(UUID(each) for each in list[str]() + claims["site_ids"])
    except (TypeError, ValueError, AttributeError) as error:
        raise InvalidToken("The token's site_ids must be a list of site ids.") from error
