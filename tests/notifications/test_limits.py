"""Messages are no weapon: to which numbers they go, and how many; operators hear of the rest."""

from datetime import timedelta
from typing import Any

import phonenumbers
import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from services.notifications.models import VerifiedPhone
from services.notifications.rules import messages as rules
from services.notifications.timers import COUNTRIES, limits_of, run_erase, run_send
from shared.events import (
    CollectionCodeIssued,
    ContactGiven,
    EnterpriseContactGiven,
    OrderConfirmed,
    OrderPlaced,
    ShipmentCollected,
)
from shared.runtime.config import Settings
from shared.runtime.database import Database
from shared.runtime.errors import Misconfigured
from tests.notifications.conftest import NOON

VICTIM = "+8613889041234"
COUNTRY_CODES = frozenset(COUNTRIES.replace("+", "").split())


@pytest.fixture(autouse=True)
def _at_noon(at: Any) -> None:
    at(NOON)


@pytest.fixture
def ordered(deliver: Any, an_order: Any, known_place: Any) -> Any:
    """Let somebody order and give `phone` as theirs; returns the confirmed order."""

    def do(phone: str = VICTIM, buyer_id: str | None = None) -> Any:
        made = known_place(an_order())
        deliver(ContactGiven, **made.contact(phone=phone, buyer_id=buyer_id))
        deliver(OrderPlaced, **made.placed(buyer_id=buyer_id))
        deliver(OrderConfirmed, **made.confirmed())
        return made

    return do


@pytest.fixture
def collect(deliver: Any, send: Any) -> Any:
    """Let an order's parcel wait at its site, and somebody take it, by `proof`."""

    def do(order: Any, *, proof: str | None = "code", sent: bool = True) -> None:
        deliver(CollectionCodeIssued, **order.shipment(site_id=order.site_id, code="123456"))
        if sent:
            send()
        said = {} if proof is None else {"proof": proof}
        deliver(ShipmentCollected, **order.shipment(collected_fen=204000), **said)

    return do


@pytest.fixture
def setting(database: Database, app_settings: Settings) -> Any:
    """Send with other settings."""

    def do(**changes: str) -> None:
        given = {f"FARMGATE_NOTIFICATIONS_{name}": value for name, value in changes.items()}
        environment = {**app_settings.environment, **given}
        run_send(database, Settings.from_environment("notifications", environment))

    return do


def ends(messages: Any, template: str = "order_confirmed") -> list[tuple[str, str | None]]:
    return [(each.status, each.reason) for each in messages(template)]


# --- How many -------------------------------------------------------------------------------------


def test_a_number_that_anybody_may_have_typed_gets_a_few_messages_a_day(
    ordered: Any, send: Any, messages: Any
) -> None:
    for number in range(10):
        ordered(buyer_id=f"invented-{number}")

    send()

    told = ends(messages)
    assert told.count(("sent", None)) == 8
    assert told.count(("suppressed", "unverified_number")) == 2


def test_a_collection_code_is_sent_although_routine_messages_used_up_the_day(
    ordered: Any, deliver: Any, send: Any, messages: Any
) -> None:
    orders = [ordered() for _ in range(9)]
    send()
    for each in orders:
        deliver(CollectionCodeIssued, **each.shipment(site_id=each.site_id, code="123456"))

    send()

    assert ends(messages, "collection_code") == [("sent", None)] * 8 + [
        ("suppressed", "unverified_number")
    ]


def test_a_number_whose_owner_showed_its_code_gets_the_usual_number(
    ordered: Any, collect: Any, send: Any, messages: Any, at: Any
) -> None:
    collect(ordered())
    at(NOON + timedelta(days=1))
    for _ in range(45):
        ordered()

    while send():
        pass

    told = ends(messages)[1:]
    # The thanks of yesterday's collection is among today's forty.
    assert told.count(("sent", None)) == 39
    assert told.count(("suppressed", "daily_cap")) == 6


@pytest.mark.parametrize(
    "how",
    [{"proof": "name"}, {"proof": None}, {"sent": False}],
    ids=["by name", "as older versions said", "by a code that never left"],
)
def test_no_other_way_to_take_the_goods_verifies_a_number(
    ordered: Any, collect: Any, database: Database, how: dict[str, Any]
) -> None:
    collect(ordered(), **how)

    with database.readers() as reader:
        assert reader.scalars(select(VerifiedPhone)).all() == []


def test_a_verified_number_is_kept_as_a_digest_and_for_a_year(
    ordered: Any, collect: Any, database: Database, app_settings: Settings, at: Any
) -> None:
    def known() -> list[VerifiedPhone]:
        run_erase(database, app_settings)
        with database.readers() as reader:
            return list(reader.scalars(select(VerifiedPhone)))

    collect(ordered())
    collect(ordered())
    (row,) = known()
    assert b"13889041234" not in row.digest

    at(NOON + timedelta(days=364))
    assert len(known()) == 1
    at(NOON + timedelta(days=366))
    assert known() == []


def test_producers_are_told_of_each_sale_and_need_no_code(
    deliver: Any, placed: Any, send: Any, messages: Any, an_order: Any
) -> None:
    for _ in range(10):
        made = an_order()
        made.variant_id, made.site_id, made.producer_id = (
            placed.variant_id,
            placed.site_id,
            placed.producer_id,
        )
        deliver(ContactGiven, **made.contact())
        deliver(OrderPlaced, **made.placed())
        deliver(OrderConfirmed, **made.confirmed())

    send()

    assert ends(messages, "goods_sold") == [("sent", None)] * 10


def test_the_number_of_messages_is_a_setting(ordered: Any, setting: Any, messages: Any) -> None:
    for _ in range(3):
        ordered()

    setting(UNVERIFIED_CAP="2")

    assert ends(messages).count(("sent", None)) == 2


def test_who_wished_for_less_is_not_told_to_operators(
    ordered: Any, client: FlaskClient, token: Any, send: Any, messages: Any, recorded_events: Any
) -> None:
    wishes = {
        "language": None,
        "quiet_from": "00:00",
        "quiet_to": "00:00",
        "channels": ["file"],
        "daily_cap": 1,
    }
    path = "/api/notifications/v1/preferences/buyer:dolma"
    client.put(path, json=wishes, headers=token("messages:read", subject="dolma"))
    ordered(buyer_id="dolma")
    ordered(buyer_id="dolma")

    send()

    assert sorted(ends(messages), key=str) == [("sent", None), ("suppressed", "wished_cap")]


# --- To whom --------------------------------------------------------------------------------------


def test_a_country_that_is_not_named_gets_no_message_and_operators_hear_of_it(
    ordered: Any, send: Any, messages: Any, client: FlaskClient, token: Any
) -> None:
    ordered(phone="+447911123456")

    send()

    assert ends(messages) == [("suppressed", "country_not_allowed")]
    listed = client.get(
        "/api/notifications/v1/messages?status=suppressed", headers=token("messages:operate")
    ).json["items"]
    assert [each["reason"] for each in listed] == ["country_not_allowed"]


def test_producers_abroad_are_told_once_their_country_is_named(
    deliver: Any, placed: Any, setting: Any, messages: Any
) -> None:
    deliver(
        EnterpriseContactGiven,
        enterprise_id=placed.producer_id,
        name="Tashi",
        phone="+9779841234567",
        language="en",
    )
    deliver(OrderConfirmed, **placed.confirmed())

    setting(COUNTRIES="+86, +977")

    assert ends(messages, "goods_sold") == [("sent", None)]


@pytest.mark.parametrize(
    ("phone", "countries", "word"),
    [
        (VICTIM, COUNTRY_CODES, None),
        ("+868945801234", COUNTRY_CODES, None),
        ("+85291234567", COUNTRY_CODES, None),
        ("+447911123456", COUNTRY_CODES, "country_not_allowed"),
        ("+447911123456", {"44"}, None),
        ("+449098790000", {"44"}, "costly_number"),
        ("+85290012345678", {"852"}, "costly_number"),
        ("+8616812345", {"86"}, "costly_number"),
        ("+19002345678", {"1"}, "costly_number"),
        ("+8614155552671", set(), "country_not_allowed"),
        (None, COUNTRY_CODES, None),
        ("?", COUNTRY_CODES, None),
    ],
)
def test_numbers_that_cost_or_lie_abroad_are_barred(
    phone: str | None, countries: Any, word: str | None
) -> None:
    assert rules.block_reason(phone, countries) == word


def test_a_mobile_number_of_the_mainland_is_never_costly() -> None:
    numbers = [f"+86{prefix}5678901"[:14] for prefix in range(1300, 2000)]

    kinds = {phonenumbers.number_type(phonenumbers.parse(number)) for number in numbers}

    assert not kinds & rules._COSTLY
    assert {rules.block_reason(number, {"86"}) for number in numbers} == {None}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FARMGATE_NOTIFICATIONS_COUNTRIES", "+86, china"),
        ("FARMGATE_NOTIFICATIONS_COUNTRIES", "999"),
        ("FARMGATE_NOTIFICATIONS_UNVERIFIED_CAP", "few"),
        ("FARMGATE_NOTIFICATIONS_UNVERIFIED_CAP", "-1"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(Misconfigured, match=name):
        limits_of({name: value})


def test_without_settings_messages_go_to_china() -> None:
    assert limits_of({}) == rules.Limits(40, 8, frozenset(("86", "852", "853", "886")))
