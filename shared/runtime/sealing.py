"""Text that only whoever knows the key can read: AES-256-GCM, each with a nonce of its own.

Apart from those who ask for it: workers need no cryptography.
"""

import os

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

#: Bytes of a nonce. Source: NIST SP 800-38D, 8.2.
NONCE = 12


def seal(key: bytes, plain: bytes) -> bytes:
    """Return `plain`, readable only with `key` (32 bytes)."""
    nonce = os.urandom(NONCE)
    return nonce + AESGCM(key).encrypt(nonce, plain, None)


def unseal(key: bytes, sealed: bytes) -> bytes:
    """Return what was sealed with `key`.

    Raises:
        cryptography.exceptions.InvalidTag: it was sealed with another key, or changed since.
    """
    return AESGCM(key).decrypt(sealed[:NONCE], sealed[NONCE:], None)
