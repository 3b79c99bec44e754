"""How buyers are named and reached, and what orders keep of it: a masked phone, a hashed secret."""

import hashlib
import secrets

LANGUAGES = ("zh", "bo", "en")


def masked(phone: str) -> str:
    """Return an E.164 number with all but its beginning and its last two digits hidden.

    A clerk can tell two buyers apart by it, and can call neither. Of a text that is no number,
    only the last two characters are shown.
    """
    begins = phone[:6] if phone.startswith("+") and len(phone) > 8 else ""
    return f"{begins}{'*' * (len(phone) - len(begins) - 2)}{phone[-2:]}"


def phone_digest(phone: str) -> bytes:
    """Return the SHA-256 of a telephone number, by which its open orders are counted.

    A reader cannot see the number, but can find it by trying all numbers. So the digest is erased
    when the order is no longer open.
    """
    return hashlib.sha256(phone.encode()).digest()


def new_guest_secret() -> str:
    """Return a secret that nobody can guess (256 bits), fit for a link."""
    return secrets.token_urlsafe(32)


def secret_digest(secret: str) -> bytes:
    """Return the SHA-256 of a guest's secret, which is stored; a random secret needs no salt."""
    return hashlib.sha256(secret.encode()).digest()
