"""Only who proves who they are, and holds the scope, gets in."""

import base64
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from time import time
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient
from joserfc import jwt
from joserfc.jwk import OctKey, OKPKey

from shared import web
from shared.runtime import auth, callers, keys, public_keys
from shared.runtime.auth import Verifier
from shared.runtime.config import Settings
from shared.runtime.public_keys import KeySource, KeysUnavailable
from shared.web import Blueprint
from shared.web.access import EVERYBODY, scope_of

Headers = Callable[..., dict[str, str]]
THINGS = "/api/things/v1/things"


@pytest.fixture(params=["sqlite"])
def settings(tmp_path: Path) -> Settings:
    """Tokens need no database of any particular kind."""
    keys.ensure(tmp_path)
    return Settings.from_environment("things", {"FARMGATE_DATA": str(tmp_path)})


@pytest.fixture
def signed(settings: Settings) -> Callable[..., str]:
    """Sign claims with the signing key, or with another key and header.

    A claim's name with `_in` gives seconds from now.
    """

    def sign(key: Any = None, header: dict[str, Any] | None = None, **changes: Any) -> str:
        text = (settings.data / "keys" / "signing.json").read_text()
        document = json.loads(text)
        del document["alg"]  # so that it signs under either name of the algorithm
        own = OKPKey.import_key(document)
        claims = {
            "iss": "farmgate",
            "aud": "farmgate",
            "sub": "operator",
            "scope": "things:read",
            "iat_in": -1,
            "exp_in": 60,
        } | changes
        for name in ("exp", "iat"):
            if name in changes:
                del claims[f"{name}_in"]
        given = {
            name.removesuffix("_in"): int(time()) + value if name.endswith("_in") else value
            for name, value in claims.items()
            if value is not None
        }
        protected = {"alg": "Ed25519", "kid": own.kid, "typ": "at+jwt"} | (header or {})
        if protected["typ"] is None:
            del protected["typ"]
        return jwt.encode(protected, given, key or own, algorithms=["Ed25519", "EdDSA", "HS256"])

    return sign


def get(client: FlaskClient, token: str) -> Any:
    return client.get(THINGS, headers={"Authorization": f"Bearer {token}"})


def test_a_token_with_the_scope_opens_the_route(
    client: FlaskClient, signed: Callable[..., str]
) -> None:
    assert get(client, signed()).status_code == 200


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": ["other", "farmgate"]},
        {"scope": "other things:read"},
        {"scope": ["things:read"]},
        {"nbf_in": 5},
        {"exp_in": -5},
    ],
    ids=str,
)
def test_a_token_may_be_written_in_several_ways(
    client: FlaskClient, signed: Callable[..., str], claims: dict[str, Any]
) -> None:
    assert get(client, signed(**claims)).status_code == 200


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
def test_the_older_name_of_the_algorithm_counts_too(
    client: FlaskClient, signed: Callable[..., str]
) -> None:
    assert get(client, signed(header={"alg": "EdDSA"})).status_code == 200


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "someone"},
        {"iss": None},
        {"aud": "other"},
        {"aud": None},
        {"aud": []},
        {"exp_in": -3600},
        {"exp": None},
        {"exp": "tomorrow"},
        {"exp": True},
        {"nbf_in": 3600},
        {"nbf": "now"},
        {"iat": None},
        {"iat_in": 3600},
        {"exp_in": 90 * 24 * 3600 + 60},
        {"site_ids": "6f0a4b5e-0d57-4e2b-9c43-1f8f5b3a9c11"},
        {"site_ids": ["LULANG"]},
        {"site_ids": None, "iat": True},
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
        {"sub": "x" * 201},
        {"sub": "a\x00b"},
        {"scope": 7},
        {"scope": [7]},
    ],
    ids=str,
)
def test_expired_early_foreign_and_malformed_tokens_are_refused(
    client: FlaskClient, signed: Callable[..., str], claims: dict[str, Any]
) -> None:
    answer = get(client, signed(**claims))

    assert (answer.status_code, answer.json["type"]) == (401, "/problems/invalid-token")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="farmgate", error="invalid_token"'


def test_a_token_signed_by_another_key_is_refused(
    client: FlaskClient, signed: Callable[..., str]
) -> None:
    other = OKPKey.generate_key("Ed25519")

    assert get(client, signed(key=other)).status_code == 401


def test_a_token_that_names_an_unknown_key_is_refused(
    client: FlaskClient, signed: Callable[..., str]
) -> None:
    assert get(client, signed(header={"kid": "other"})).status_code == 401


def test_a_secret_made_of_the_public_key_signs_nothing(
    client: FlaskClient, settings: Settings, signed: Callable[..., str]
) -> None:
    public = json.loads((settings.data / "keys" / "jwks.json").read_text())["keys"][0]
    secret = OctKey.import_key({"kty": "oct", "k": public["x"]})

    assert get(client, signed(key=secret, header={"alg": "HS256"})).status_code == 401


def test_an_unsigned_token_is_refused(client: FlaskClient, signed: Callable[..., str]) -> None:
    head = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    body = signed().split(".")[1]

    assert get(client, f"{head}.{body}.").status_code == 401


def test_a_changed_token_is_refused(client: FlaskClient, signed: Callable[..., str]) -> None:
    token = signed()
    assert get(client, token).status_code == 200
    head, body, signature = token.split(".")

    assert get(client, f"{head}.{body[:-2]}{body[-1]}{body[-2]}.{signature}").status_code == 401


@pytest.mark.parametrize(
    "header",
    [
        *("", "Bearer", "Bearer ", "Basic dXNlcjpwYXNz", "x.y.z", "Bearer x", "Bearer a.b.c"),
        "Bearer " + "x" * 10_000,
        "Bearer " + base64.b64encode(b"[" * 5000).decode() + ".e.e",
    ],
    ids=lambda header: header[:12],
)
def test_what_is_no_token_is_refused(client: FlaskClient, header: str) -> None:
    answer = client.get(THINGS, headers={"Authorization": header})

    assert (answer.status_code, answer.json["type"]) == (401, "/problems/invalid-token")


def test_who_sends_no_token_is_asked_for_one(client: FlaskClient) -> None:
    answer = client.get(THINGS)

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="farmgate"'


def test_a_missing_scope_is_named(client: FlaskClient, token: Headers) -> None:
    answer = client.get(THINGS, headers=token("things:write"))

    assert (answer.status_code, answer.json["type"]) == (403, "/problems/missing-scope")
    assert answer.json["scope"] == "things:read"
    assert "things:read" in answer.json["detail"]
    assert 'error="insufficient_scope"' in answer.headers["WWW-Authenticate"]


def test_a_public_route_knows_nobody(client: FlaskClient, token: Headers) -> None:
    answer = client.get("/api/things/v1/caller", headers=token("things:read", subject="dolma"))

    assert answer.text == repr(callers.ANYBODY)


def test_every_route_declares_who_may_call_it(app: Flask) -> None:
    public = {name for name, view in app.view_functions.items() if scope_of(view) == EVERYBODY}

    assert all(scope_of(view) is not None for view in app.view_functions.values())
    assert {"docs.document", "operations.live", "operations.ready"} <= public
    assert "things.list_things" not in public


def test_an_application_with_an_undeclared_route_does_not_start(settings: Settings) -> None:
    blueprint = Blueprint("open", __name__, url_prefix="/api/things/v1")

    @blueprint.get("/door")
    @blueprint.response(200)
    def door() -> dict[str, str]:
        """Forget to say who may come in."""
        return {}

    with pytest.raises(TypeError, match=r"open\.door"):
        web.create_app("things", "Things", [blueprint], settings)


def test_a_route_added_after_the_start_is_closed(app: Flask) -> None:
    app.add_url_rule("/late", "late", lambda: "open")

    assert app.test_client().get("/late").status_code == 403


def test_options_are_no_way_round(client: FlaskClient) -> None:
    assert client.options(THINGS).status_code == 401


class Issuer:
    """An outside issuer that answers with a key set, counts, and can fail."""

    def __init__(self) -> None:
        self.body = b""
        self.status = 200
        self.asked = 0


@pytest.fixture
def issuer() -> Iterator[tuple[Issuer, str]]:
    state = Issuer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked += 1
            self.send_response(state.status)
            self.send_header("Content-Length", str(len(state.body)))
            self.send_header("Location", "/elsewhere")
            self.end_headers()
            self.wfile.write(state.body)

        def log_message(self, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield state, f"http://127.0.0.1:{server.server_port}/jwks"
    server.shutdown()
    thread.join()
    server.server_close()


def a_key(kid: str) -> dict[str, Any]:
    return OKPKey.generate_key("Ed25519", {"kid": kid}).as_dict(private=False)


def a_set(*public: dict[str, Any]) -> bytes:
    return json.dumps({"keys": public}).encode()


def test_keys_of_an_address_are_fetched_once(issuer: tuple[Issuer, str]) -> None:
    state, url = issuer
    state.body = a_set(a_key("one"))
    source = KeySource(url)

    found = [source.key("one") for _ in range(3)]

    assert None not in found
    assert state.asked == 1


def test_an_unknown_key_is_looked_for_but_not_at_each_request(
    issuer: tuple[Issuer, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    state, url = issuer
    state.body = a_set(a_key("one"))
    moment = [1000.0]
    monkeypatch.setattr(public_keys, "monotonic", lambda: moment[0])
    source = KeySource(url)
    assert source.key("one") is not None
    state.body = a_set(a_key("two"))

    at_once = [source.key("two") for _ in range(3)]
    moment[0] += public_keys.KEYS_PAUSE + 1
    later = source.key("two")

    assert at_once == [None] * 3
    assert later is not None
    assert state.asked == 2


def test_keys_are_kept_while_their_address_fails(
    issuer: tuple[Issuer, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    state, url = issuer
    state.body = a_set(a_key("one"))
    moment = [1000.0]
    monkeypatch.setattr(public_keys, "monotonic", lambda: moment[0])
    source = KeySource(url)
    assert source.key("one") is not None
    state.status = 500
    moment[0] += public_keys.KEYS_FRESH + 1

    assert source.key("one") is not None
    assert state.asked == 2


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b""),
        (302, b""),
        (204, b""),
        (200, b"no json"),
        (200, b"[]"),
        (200, b'{"keys": 7}'),
        (200, b" " * (public_keys.LARGEST_KEY_SET + 1)),
        (200, b'{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "?", "kid": "one"}]}'),
    ],
    ids=lambda value: str(value)[:20],
)
def test_without_any_keys_tokens_cannot_be_checked_for_now(
    issuer: tuple[Issuer, str], status: int, body: bytes
) -> None:
    state, url = issuer
    state.status, state.body = status, body
    source = KeySource(url)

    for _ in range(2):
        with pytest.raises(KeysUnavailable):
            source.key("one")
    assert state.asked == 1


def test_keys_for_other_uses_are_left_out(tmp_path: Path) -> None:
    good = a_key("good")
    others = [
        good | {"use": "enc", "kid": "enc"},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "rsa"},
        {name: value for name, value in good.items() if name != "kid"},
        "nonsense",
    ]
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": [good, *others]}))
    source = KeySource(str(path))

    assert source.key("good") is not None
    assert [source.key(kid) for kid in ("enc", "rsa")] == [None, None]


def test_a_replaced_key_file_counts_from_the_next_request_on(
    client: FlaskClient, settings: Settings, signed: Callable[..., str]
) -> None:
    token = signed()
    assert get(client, token).status_code == 200

    Path(settings.jwks).write_bytes(a_set(a_key("other")) + b" ")

    assert get(client, token).status_code == 401


def test_a_broken_key_file_leaves_the_keys_as_they_were(
    client: FlaskClient, settings: Settings, signed: Callable[..., str]
) -> None:
    assert get(client, signed()).status_code == 200

    Path(settings.jwks).write_text("half a fi")

    assert get(client, signed()).status_code == 200


def test_a_remembered_token_ends_when_it_says(
    settings: Settings, signed: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    verifier, token = Verifier(settings), signed()
    assert verifier.caller(token) is verifier.caller(token)

    monkeypatch.setattr(auth, "time", lambda: time() + 60 + auth.LEEWAY)

    with pytest.raises(auth.InvalidToken, match="expired"):
        verifier.caller(token)


def test_only_so_many_tokens_are_remembered(
    settings: Settings, signed: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "CACHED", 2)
    verifier = Verifier(settings)

    for number in range(5):
        verifier.caller(signed(sub=f"buyer-{number}"))

    assert verifier._verified.cache_info().currsize == 2


def test_missing_keys_make_requests_wait_not_fail(
    client: FlaskClient, settings: Settings, signed: Callable[..., str]
) -> None:
    token = signed()
    Path(settings.jwks).unlink()

    answer = get(client, token)

    assert (answer.status_code, answer.json["type"]) == (503, "/problems/keys-unavailable")
    assert "Retry-After" in answer.headers


def test_keys_are_made_once_and_for_their_owner_only(tmp_path: Path) -> None:
    keys.ensure(tmp_path)
    folder = tmp_path / "keys"
    first = {path.name: path.read_text() for path in folder.iterdir()}

    keys.ensure(tmp_path)

    assert {path.name: path.read_text() for path in folder.iterdir()} == first
    assert set(first) == {"signing.json", "jwks.json", "payment_secret", "webhook_key"}
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert modes["signing.json"] == modes["payment_secret"] == modes["webhook_key"] == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    assert first["payment_secret"].startswith("whsec_")
    assert "d" not in json.loads(first["jwks.json"])["keys"][0]


def test_processes_that_start_at_once_agree_on_the_keys(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: keys.ensure(tmp_path), range(8)))

    settings = Settings.from_environment("things", {"FARMGATE_DATA": str(tmp_path)})
    token = keys.issue_token(tmp_path, "operator", ["operate"], 60)
    assert Verifier(settings).caller(token).may("operate")
    assert len(list((tmp_path / "keys").iterdir())) == 4


def test_a_lost_public_key_is_made_from_the_private_one(tmp_path: Path) -> None:
    keys.ensure(tmp_path)
    public = (tmp_path / "keys" / "jwks.json").read_text()
    (tmp_path / "keys" / "jwks.json").unlink()

    keys.ensure(tmp_path)

    assert (tmp_path / "keys" / "jwks.json").read_text() == public


def test_without_a_signing_key_no_token_is_issued(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"signing\.json"):
        keys.issue_token(tmp_path, "operator", ["operate"], 60)


@pytest.mark.parametrize("named", ["JWT", "id+jwt", "", None])
def test_only_a_token_of_the_right_type_counts(
    client: FlaskClient, signed: Callable[..., str], named: Any
) -> None:
    answer = get(client, signed(header={"typ": named}))

    assert (answer.status_code, answer.json["type"]) == (401, "/problems/invalid-token")


@pytest.mark.parametrize("named", ["at+jwt", "application/at+jwt", "AT+JWT"])
def test_the_type_may_be_written_in_several_ways(
    client: FlaskClient, signed: Callable[..., str], named: str
) -> None:
    assert get(client, signed(header={"typ": named})).status_code == 200


def test_settings_say_which_types_count_and_how_long_a_token_may_live(
    settings: Settings, signed: Callable[..., str]
) -> None:
    environment = {
        "FARMGATE_DATA": str(settings.data),
        "FARMGATE_TOKEN_TYPES": "JWT at+jwt",
        "FARMGATE_TOKEN_DAYS": "1",
    }
    verifier = Verifier(Settings.from_environment("things", environment))

    assert verifier.caller(signed(header={"typ": "JWT"})).subject == "operator"
    assert verifier.caller(signed(exp_in=24 * 3600 - 5)).subject == "operator"
    with pytest.raises(callers.InvalidToken, match="lifetime is too long"):
        verifier.caller(signed(exp_in=24 * 3600 + 60))


def test_a_revoked_token_counts_no_more_and_others_of_its_subject_do(
    client: FlaskClient, settings: Settings, signed: Callable[..., str]
) -> None:
    token, other = signed(jti="one"), signed(jti="two")
    assert get(client, token).status_code == 200

    keys.revoke(settings.data, ["one"], [], 3600)

    answer = get(client, token)
    assert (answer.status_code, answer.json["revoked"]) == (401, True)
    assert get(client, other).status_code == 200


def test_all_tokens_of_a_subject_are_revoked_and_later_ones_count(
    client: FlaskClient, settings: Settings, signed: Callable[..., str]
) -> None:
    tashi, dolma = signed(sub="tashi"), signed(sub="dolma")
    assert (get(client, tashi).status_code, get(client, dolma).status_code) == (200, 200)

    keys.revoke(settings.data, [], ["tashi"], 3600)
    later = keys.issue_token(settings.data, "tashi", ["things:read"], 60)

    statuses = [get(client, token).status_code for token in (tashi, dolma, later)]
    assert statuses == [401, 200, 200]


def test_a_revocation_is_forgotten_when_its_tokens_have_run_out(settings: Settings) -> None:
    keys.revoke(settings.data, ["old"], ["tashi"], 3600)

    keys.revoke(settings.data, ["new"], [], 0)
    keys.revoke(settings.data, ["last"], [], 3600)

    document = json.loads((settings.data / "keys" / "jwks.json").read_text())
    assert set(document["revoked"]["ids"]) == {"last"}
    assert document["revoked"]["subjects"] == {}
    assert len(document["keys"]) == 1


def test_revocations_at_the_same_moment_all_count(
    settings: Settings, in_threads: Callable[..., list[Any]]
) -> None:
    def revoke(number: int) -> None:
        keys.revoke(settings.data, [f"token-{number}"], [], 3600)

    in_threads([partial(revoke, number) for number in range(20)])

    document = json.loads((settings.data / "keys" / "jwks.json").read_text())
    assert len(document["revoked"]["ids"]) == 20


def test_a_key_set_whose_revocations_cannot_be_read_changes_nothing(
    client: FlaskClient, settings: Settings, signed: Callable[..., str]
) -> None:
    keys.revoke(settings.data, ["one"], [], 3600)
    revoked, good = signed(jti="one"), signed()
    assert (get(client, revoked).status_code, get(client, good).status_code) == (401, 200)
    path = settings.data / "keys" / "jwks.json"
    document = json.loads(path.read_text())

    path.write_text(json.dumps(document | {"revoked": ["nonsense"]}))

    assert (get(client, revoked).status_code, get(client, good).status_code) == (401, 200)


def test_a_token_says_to_which_sites_its_bearer_belongs(
    settings: Settings, signed: Callable[..., str]
) -> None:
    site = UUID("6f0a4b5e-0d57-4e2b-9c43-1f8f5b3a9c11")
    verifier = Verifier(settings)

    assert verifier.caller(signed()).sites is None
    assert verifier.caller(signed(site_ids=[str(site)])).sites == {site}
    assert verifier.caller(signed(site_ids=[])).sites == frozenset()
    issued = keys.issue_token(settings.data, "dolma", ["x"], 60, site_ids=[site])
    assert verifier.caller(issued).sites == {site}
