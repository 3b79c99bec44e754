"""The gateway's TLS certificate: installed by the operator, or signed by the deployment's own CA.

A till sells offline only in a secure context, which browsers grant over TLS only. Public CAs do not
sign names of a local network, so a deployment makes its own CA, and each till's machine is
configured to trust it. The CA's key signs only this gateway's certificate, and the gateway cannot
read the key.
"""

import ipaddress
import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from farmgate.failures import Failed
from shared.runtime.files import write_whole

#: Browsers accept 398 days; one less for wrong clocks.
SERVER_VALIDITY = timedelta(days=397)
CA_VALIDITY = timedelta(days=3650)
#: A certificate is renewed this long before it expires.
RENEWED_BEFORE = timedelta(days=30)
#: Certificates are valid from this long ago: a till's clock may be slow.
BACKDATED = timedelta(days=1)
#: Files in the gateway's folder.
CERTIFICATE, KEY, AUTHORITY = "server.crt", "server.key", "ca.crt"
#: Marks an installed certificate, which is never replaced.
GIVEN = "given"


def install(gateway: Path, certificate: Path, key: Path) -> datetime:
    """Install a certificate (with its chain) and its key; return when it expires.

    Raises:
        Failed: a file cannot be read or is no PEM, or the key is not the certificate's.
    """
    try:
        chain, secret = certificate.read_bytes(), key.read_bytes()
        first = x509.load_pem_x509_certificates(chain)[0]
        loaded = serialization.load_pem_private_key(secret, None)
    except (OSError, ValueError, TypeError) as error:
        raise Failed(f"The certificate or its key cannot be used: {error}.") from error
    if _public(loaded.public_key()) != _public(first.public_key()):
        raise Failed("The key does not belong to the certificate; give both files of one pair.")
    write_whole(gateway / CERTIFICATE, chain, 0o444)
    write_whole(gateway / KEY, secret, 0o400)
    write_whole(gateway / GIVEN, b"", 0o444)
    (gateway / AUTHORITY).unlink(missing_ok=True)
    return first.not_valid_after_utc


def ensure(gateway: Path, authority: Path, names: Sequence[str]) -> datetime:
    """Make a certificate for `names` unless there is a valid one; return when it expires.

    The CA is made once, in the folder `authority`.

    Raises:
        Failed: a folder cannot be written.
    """
    moment = datetime.now(UTC)
    try:
        present = _present(gateway)
        if present is not None and (gateway / GIVEN).exists():
            return present.not_valid_after_utc
        ca, ca_key = _authority(authority, moment)
        if present is not None and _is_valid_for(present, ca, names, moment):
            return present.not_valid_after_utc
        certificate, key = _signed(ca, ca_key, names, moment)
        write_whole(gateway / AUTHORITY, _pem(ca), 0o444)
        write_whole(gateway / KEY, _secret(key), 0o400)
        write_whole(gateway / CERTIFICATE, _pem(certificate), 0o444)
    except OSError as error:
        raise Failed(f"Certificates cannot be written: {error}.") from error
    return certificate.not_valid_after_utc


def names(gateway: Path, otherwise: Sequence[str]) -> list[str]:
    """Return the names and addresses in the gateway's certificate, else `otherwise`."""
    present, found = _present(gateway), list[str]()
    with suppress(x509.ExtensionNotFound):
        if present is not None:
            subjects = present.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            found = subjects.get_values_for_type(x509.DNSName)
            found += map(str, subjects.get_values_for_type(x509.IPAddress))
    # Only characters that are safe in nginx's configuration.
    return [name for name in found if re.fullmatch("[A-Za-z0-9*.:-]+", name)] or list(otherwise)


def _present(gateway: Path) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificates((gateway / CERTIFICATE).read_bytes())[0]
    except (FileNotFoundError, ValueError):
        return None


def _is_valid_for(
    present: x509.Certificate, ca: x509.Certificate, names: Sequence[str], moment: datetime
) -> bool:
    subjects = present.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return (
        present.issuer == ca.subject
        and set(subjects) == set(_alternatives(names))
        and present.not_valid_after_utc - moment > RENEWED_BEFORE
    )


def _authority(
    folder: Path, moment: datetime
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    certificate, key = folder / AUTHORITY, folder / "ca.key"
    if certificate.exists() and key.exists():
        loaded = serialization.load_pem_private_key(key.read_bytes(), None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        return x509.load_pem_x509_certificate(certificate.read_bytes()), loaded
    made = ec.generate_private_key(ec.SECP256R1())
    # The time tells two deployments' CAs apart in a till's list.
    name = _name(f"Farmgate's own authority of {moment:%Y-%m-%d %H:%M:%S}")
    ca = (
        _builder(name, name, made, moment, CA_VALIDITY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .sign(made, hashes.SHA256())
    )
    write_whole(key, _secret(made), 0o400)
    write_whole(certificate, _pem(ca), 0o444)
    return ca, made


def _signed(
    ca: x509.Certificate, ca_key: ec.EllipticCurvePrivateKey, names: Sequence[str], moment: datetime
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder(_name(names[0]), ca.subject, key, moment, SERVER_VALIDITY)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.SubjectAlternativeName(_alternatives(names)), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        .sign(ca_key, hashes.SHA256())
    )
    return certificate, key


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    moment: datetime,
    validity: timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - BACKDATED)
        .not_valid_after(moment - BACKDATED + validity)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _alternatives(names: Sequence[str]) -> list[x509.GeneralName]:
    found: list[x509.GeneralName] = []
    for name in names:
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            found.append(x509.DNSName(name))
    return found


def _public(key: object) -> bytes:
    encoded: bytes = key.public_bytes(  # type: ignore[attr-defined]
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return encoded


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _secret(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
