"""Authenticated encryption: AES-256-GCM with a random nonce per message.

In a module of its own because workers do not import cryptography.
"""

import os

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

#: Bytes of a nonce. Source: NIST SP 800-38D, 8.2.
NONCE = 12


def seal(key: bytes, plain: bytes) -> bytes:
    """Return `plain` encrypted with `key` (32 bytes)."""
    nonce = os.urandom(NONCE)
    return nonce + AESGCM(key).encrypt(nonce, plain, None)


def unseal(key: bytes, sealed: bytes) -> bytes:
    """Return the bytes that were sealed with `key`.

    Raises:
        cryptography.exceptions.InvalidTag: the key is another one, or the bytes were changed.
    """
    return AESGCM(key).decrypt(sealed[:NONCE], sealed[NONCE:], None)
