"""The gateway's certificate: who signs it, whom it names, and what is left alone."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography import x509

from farmgate import certificates
from farmgate.cli import main
from farmgate.failures import Failed

NAMES = ["farmgate.lan", "192.168.1.10"]


def test_who_trusts_the_authority_accepts_the_certificate(tmp_path: Path) -> None:
    certificates.ensure(tmp_path / "gateway", tmp_path / "authority", NAMES)

    ca = x509.load_pem_x509_certificate((tmp_path / "gateway/ca.crt").read_bytes())
    made = x509.load_pem_x509_certificate((tmp_path / "gateway/server.crt").read_bytes())
    made.verify_directly_issued_by(ca)
    told = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert told.get_values_for_type(x509.DNSName) == ["farmgate.lan"]
    assert [str(ip) for ip in told.get_values_for_type(x509.IPAddress)] == ["192.168.1.10"]
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "gateway/server.crt", tmp_path / "gateway/server.key")


def test_the_gateway_has_no_key_of_the_authority_and_others_read_none(tmp_path: Path) -> None:
    certificates.ensure(tmp_path / "gateway", tmp_path / "authority", NAMES)

    assert not list((tmp_path / "gateway").glob("ca.key"))
    for key in ("gateway/server.key", "authority/ca.key"):
        assert (tmp_path / key).stat().st_mode & 0o077 == 0


def test_a_second_run_changes_nothing_and_other_names_change_no_authority(tmp_path: Path) -> None:
    def run(names: list[str]) -> tuple[bytes, bytes]:
        certificates.ensure(tmp_path / "gateway", tmp_path / "authority", names)
        folder = tmp_path / "gateway"
        return (folder / "ca.crt").read_bytes(), (folder / "server.crt").read_bytes()

    ca, first = run(NAMES)
    assert run(NAMES) == (ca, first)

    again, other = run(["farmgate.example"])
    assert again == ca
    assert other != first


def test_a_certificate_is_made_anew_before_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificates, "SERVER_VALIDITY", timedelta(days=20))
    short = certificates.ensure(tmp_path / "gateway", tmp_path / "authority", NAMES)
    monkeypatch.undo()

    until = certificates.ensure(tmp_path / "gateway", tmp_path / "authority", NAMES)

    assert until - short > timedelta(days=300)
    assert until < datetime.now(UTC) + timedelta(days=398)


def test_a_certificate_that_was_given_stays(tmp_path: Path) -> None:
    certificates.ensure(tmp_path / "other", tmp_path / "theirs", ["shop.example"])
    pair = [str(tmp_path / "other" / name) for name in ("server.crt", "server.key")]
    folders = [str(tmp_path / "gateway"), str(tmp_path / "authority")]
    run = CliRunner().invoke

    given = run(main, ["certificate", *folders, "--given", *pair])
    later = run(main, ["certificate", *folders, "--names", "farmgate.lan"])

    assert (given.exit_code, later.exit_code) == (0, 0), given.output + later.output
    assert (tmp_path / "gateway/server.crt").read_text() == Path(pair[0]).read_text()
    assert "ca.crt" not in later.output


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    certificates.ensure(tmp_path / "one", tmp_path / "authority", NAMES)
    certificates.ensure(tmp_path / "two", tmp_path / "authority", NAMES)

    with pytest.raises(Failed, match="does not belong to the certificate"):
        certificates.install(
            tmp_path / "gateway", tmp_path / "one/server.crt", tmp_path / "two/server.key"
        )


@pytest.mark.parametrize(
    ("names", "port", "redirect"),
    [
        (
            ["farmgate.lan", "192.168.1.9", "fd00::9"],
            8443,
            'map "" $tls_port { default ":8443"; }\n'
            'map $host $tls_host { hostnames; default "farmgate.lan"; "farmgate.lan" $host; '
            '"192.168.1.9" $host; "[fd00::9]" $host; }\n',
        ),
        (
            ["*.example.org"],
            443,
            'map "" $tls_port { default ""; }\n'
            'map $host $tls_host { hostnames; default "example.org"; "*.example.org" $host; }\n',
        ),
    ],
)
def test_clients_are_sent_to_a_name_of_the_certificate_whatever_they_call_us(
    tmp_path: Path, names: list[str], port: int, redirect: str
) -> None:
    folders = [str(tmp_path / "gateway"), str(tmp_path / "authority")]
    options = ["--names", ",".join(names), "--port", str(port)]

    done = CliRunner().invoke(main, ["certificate", *folders, *options])

    assert done.exit_code == 0, done.output
    assert (tmp_path / "gateway/port.conf").read_text() == redirect


def test_the_gateways_user_can_enter_a_folder_that_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, int] = {}
    monkeypatch.setattr("os.chown", lambda path, uid, gid: given.update({Path(path).name: uid}))
    folders = [str(tmp_path / "gateway"), str(tmp_path / "authority")]

    done = CliRunner().invoke(main, ["certificate", "--owner", "10002", *folders])

    assert done.exit_code == 0, done.output
    names = ("gateway", "server.crt", "server.key", "ca.crt", "port.conf")
    assert given == dict.fromkeys(names, 10002)
