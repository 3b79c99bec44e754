"""How buyers are named and reached, and what orders keep of it: a masked phone, a hashed secret."""

import hashlib
import secrets

LANGUAGES = ("zh", "bo", "en")


def masked(phone: str) -> str:
    """Return an E.164 number with all but its beginning and its last two digits hidden.

    Enough for a clerk to tell two buyers apart, too little to call either. Of what a till took
    for a number, and is none, only the last two characters are shown.
    """
    begins = phone[:6] if phone.startswith("+") and len(phone) > 8 else ""
    return f"{begins}{'*' * (len(phone) - len(begins) - 2)}{phone[-2:]}"


def phone_digest(phone: str) -> bytes:
    """Return by what orders of one telephone are counted while they are open: its SHA-256.

    It hides the number from a reader and not from who tries them all: it is erased with the
    last need for it.
    """
    return hashlib.sha256(phone.encode()).digest()


def new_guest_secret() -> str:
    """Return a secret that nobody can guess (256 bits), fit for a link."""
    return secrets.token_urlsafe(32)


def secret_digest(secret: str) -> bytes:
    """Return what is stored of a guest's secret: its SHA-256; a random secret needs no salt."""
    return hashlib.sha256(secret.encode()).digest()
