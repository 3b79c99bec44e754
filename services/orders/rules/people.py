"""How buyers are named and reached, and what orders keep of it: a masked phone, a hashed secret."""

import hashlib
import secrets

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberFormat

LANGUAGES = ("zh", "bo", "en")


def phone_e164(text: str) -> str:
    """Return a phone number in E.164; without a country code it is one of mainland China.

    Raises:
        ValueError: no such number can exist.
    """
    try:
        number = phonenumbers.parse(text, "CN")
    except NumberParseException as error:
        raise ValueError("Not a phone number.") from error
    if not phonenumbers.is_valid_number(number):
        raise ValueError("No phone has this number; check its digits.")
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)


def masked(phone: str) -> str:
    """Return an E.164 number with all but its beginning and its last two digits hidden.

    Enough for a clerk to tell two buyers apart, too little to call either.
    """
    return f"{phone[:6]}{'*' * (len(phone) - 8)}{phone[-2:]}"


def new_guest_secret() -> str:
    """Return a secret that nobody can guess (256 bits), fit for a link."""
    return secrets.token_urlsafe(32)


def secret_digest(secret: str) -> bytes:
    """Return what is stored of a guest's secret: its SHA-256; a random secret needs no salt."""
    return hashlib.sha256(secret.encode()).digest()
