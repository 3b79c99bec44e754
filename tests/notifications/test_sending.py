"""From the queue to the channels: claimed, handed over, recorded."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from services.notifications import channels
from services.notifications.batch import NotificationsBatch
from services.notifications.channels import TAKEN
from services.notifications.models import (
    Attempt,
    Contact,
    Message,
    OrderReadModel,
    PhoneTally,
    Preference,
)
from services.notifications.rules import messages as rules
from services.notifications.rules.messages import Result
from services.notifications.timers import run_erase, run_send
from services.notifications.use_cases import (
    Outgoing,
    claim_messages,
    read_message,
    record_attempts,
)
from shared.events import (
    CollectionCodeIssued,
    ContactGiven,
    OrderCancelled,
    OrderCompleted,
    OrderConfirmed,
    OrderPlaced,
    PaymentFailed,
    PaymentRequested,
    ShipmentDispatched,
)
from shared.messaging.batch import transaction
from shared.runtime.config import Settings
from shared.runtime.database import Database

#: Noon and eleven at night in Asia/Shanghai.
NOON = datetime(2026, 8, 20, 4, 0, tzinfo=UTC)
NIGHT = datetime(2026, 8, 20, 15, 0, tzinfo=UTC)
LIMITS = rules.Limits(daily_cap=40, unverified_cap=8, countries=frozenset(("86",)))


class Channel:
    """A way out that answers as told, and keeps what it was given."""

    name = "apprise"
    at_once = 1
    needs_phone = True

    def __init__(self, *answers: Result) -> None:
        self.answers = list(answers)
        self.taken: list[Outgoing] = []

    def send(self, messages: Any) -> list[Result]:
        self.taken += messages
        return [self.answers.pop(0) if self.answers else TAKEN for _ in messages]


@pytest.fixture(autouse=True)
def _at_noon(at: Any) -> None:
    at(NOON)


@pytest.fixture
def channel(monkeypatch: pytest.MonkeyPatch) -> Channel:
    """A gateway instead of the file."""
    made = Channel()
    monkeypatch.setattr(channels, "channels_of", lambda settings: [made])
    return made


def lines_in(folder: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for path in sorted(folder.glob("*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]


def wish(database: Database, person: str = "buyer:dolma", **changes: Any) -> None:
    """Let a person wish something."""
    usual = {"language": None, "quiet_from": 0, "quiet_to": 0, "channels": ["file", "apprise"]}
    with database.sessions.begin() as session:
        session.add(Preference(person=person, **(usual | changes)))


def test_a_confirmed_order_reaches_buyer_and_producer(confirmed, send, message_file, messages):
    more = send()

    told = {line["to"]: line["body"] for line in lines_in(message_file)}
    assert told == {
        "buyer:dolma": (
            "订单 ORD-7KQ2M9XH 已确认：松茸（鲜） [1] 1.5公斤（3斤）。"
            "到巴河镇后会发给您取货码。取货或收货时请付 ¥2,040.00。"
        ),
        f"enterprise:{confirmed.producer_id}": (
            "订单 ORD-7KQ2M9XH 售出您的 松茸（鲜） [1] 1.5公斤（3斤），请备好货。"
        ),
    }
    assert not more
    assert {m.status for m in messages()} == {"sent"}


def test_nothing_is_sent_twice(confirmed, send, message_file):
    send()
    send()

    assert len(lines_in(message_file)) == 2


def test_each_attempt_is_on_record(confirmed, send, at, database, channel, messages):
    channel.answers = [Result("gateway_refused")]
    send()
    at(NOON + timedelta(seconds=31))
    send()

    with database.readers() as reader:
        told = [read_message(reader, each.id) for each in messages() if each.attempts]
        tries = [[(a.number, a.at, a.results) for a in each.tries] for each in told]
    refused, sent = {"apprise": "gateway_refused"}, {"apprise": "sent"}
    assert tries == [
        [(1, NOON, refused), (2, NOON + timedelta(seconds=31), sent)],
        [(1, NOON, sent)],
    ]


def test_a_message_that_is_sent_at_once_costs_no_row_of_its_own_for_that(confirmed, send, database):
    send()

    with database.readers() as reader:
        assert reader.scalars(select(Attempt)).all() == []


def test_a_refused_message_is_tried_again_after_its_pause_and_not_before(
    confirmed, send, at, channel, messages
):
    channel.answers = [Result("gateway_refused")]
    send()
    (buyers,) = messages("order_confirmed")
    first = (buyers.status, buyers.reason, buyers.due_at)

    at(NOON + timedelta(seconds=29))
    send()
    early = len(channel.taken)
    at(NOON + timedelta(seconds=31))
    send()

    assert first == ("retrying", "gateway_refused", NOON + timedelta(seconds=30))
    assert early == 2
    assert [each.attempt for each in channel.taken] == [1, 1, 2]
    assert messages("order_confirmed")[0].status == "sent"


def test_a_message_that_is_refused_to_the_end_is_dead_and_says_so(
    deliver, placed, send, at, channel, messages
):
    deliver(CollectionCodeIssued, **placed.shipment(site_id=placed.site_id, code="123456"))
    deliver(OrderConfirmed, **placed.confirmed())
    moment = NOON
    channel.answers = [Result("gateway_refused")] * 100

    for _ in range(rules.ATTEMPTS + 2):
        send()
        moment += rules.LONGEST_PAUSE
        at(moment)

    (code,) = messages("collection_code")
    assert (code.status, code.reason) == ("dead", "attempts_used_up")
    assert (code.attempts, code.due_at) == (rules.ATTEMPTS, None)


def test_a_number_that_is_none_is_given_up_at_once(confirmed, send, channel, messages):
    channel.answers = [Result("phone_malformed", final=True)]

    send()

    assert messages("order_confirmed")[0].status == "dead"
    assert messages("goods_sold")[0].status == "sent"


def test_a_second_channel_is_tried_again_without_repeating_the_first(
    confirmed, database, at, messages
):
    both = {"file": False, "apprise": True}
    with transaction(database, NotificationsBatch) as batch:
        first, _ = claim_messages(batch, channels=both, limits=LIMITS, limit=10)
    results = [{"file": TAKEN, "apprise": Result("gateway_refused")} for _ in first]
    with transaction(database, NotificationsBatch) as batch:
        record_attempts(batch, first, results)
    at(NOON + timedelta(minutes=1))

    with transaction(database, NotificationsBatch) as batch:
        second, _ = claim_messages(batch, channels=both, limits=LIMITS, limit=10)

    assert {each.channels for each in first} == {("file", "apprise")}
    assert {each.channels for each in second} == {("apprise",)}


def test_a_message_whose_sender_died_is_claimed_again_when_the_lease_ends(
    confirmed, database, at, send, message_file, app_settings
):
    """The sender dies after handing over and before recording: the file has each message once."""
    with transaction(database, NotificationsBatch) as batch:
        claimed, _ = claim_messages(batch, channels={"file": False}, limits=LIMITS, limit=10)
    channels.file_channel(app_settings).send(claimed)

    send()
    before = len(lines_in(message_file))
    at(NOON + rules.LEASE + timedelta(seconds=1))
    send()

    assert len(claimed) == before == len(lines_in(message_file)) == 2
    with database.readers() as reader:
        states = set(reader.scalars(select(Message.status)))
        tries = sorted(reader.scalars(select(Attempt.number)))
    assert states == {"sent"}
    assert tries == [2, 2]  # the first ones ended without a result


def test_a_sender_that_overran_its_lease_records_nothing(confirmed, database, at, messages):
    with transaction(database, NotificationsBatch) as batch:
        late, _ = claim_messages(batch, channels={"file": False}, limits=LIMITS, limit=10)
    at(NOON + rules.LEASE + timedelta(seconds=1))
    with transaction(database, NotificationsBatch) as batch:
        again, _ = claim_messages(batch, channels={"file": False}, limits=LIMITS, limit=10)

    with transaction(database, NotificationsBatch) as batch:
        record_attempts(batch, late, [{"file": TAKEN} for _ in late])

    assert [each.attempt for each in again] == [2, 2]
    assert {m.status for m in messages() if m.template != "order_placed"} == {"sending"}


def test_a_message_in_quiet_hours_waits_for_the_morning(confirmed, send, at, message_file):
    at(NIGHT)
    send()
    at_night = lines_in(message_file)

    at(NIGHT + timedelta(hours=8, seconds=1))
    send()

    assert at_night == []
    assert len(lines_in(message_file)) == 2


def test_an_urgent_message_does_not_wait(deliver, confirmed, send, at, message_file):
    send()
    at(NIGHT)
    deliver(CollectionCodeIssued, **confirmed.shipment(site_id=confirmed.site_id, code="123456"))

    send()

    assert "123456" in lines_in(message_file)[-1]["body"]


def test_the_language_of_the_preferences_comes_before_that_of_the_order(
    database, confirmed, send, message_file
):
    wish(database, language="en")

    send()

    told = {line["to"]: line for line in lines_in(message_file)}
    assert told["buyer:dolma"]["language"] == "en"
    assert told["buyer:dolma"]["body"].startswith("Your order ORD-7KQ2M9XH is confirmed: Matsu")
    assert told[f"enterprise:{confirmed.producer_id}"]["language"] == "zh"


def test_who_switched_the_channels_off_has_the_inbox_only(
    database, confirmed, send, message_file, messages
):
    wish(database, channels=[])

    send()

    (message,) = messages("order_confirmed")
    assert (message.status, message.reason) == ("suppressed", "switched_off")
    assert [line["to"] for line in lines_in(message_file)] == [
        f"enterprise:{confirmed.producer_id}"
    ]


def test_one_phone_gets_no_more_than_its_cap_a_day(
    deliver, database, an_order, known_place, send, at, message_file
):
    wish(database, daily_cap=3)

    def order_another() -> None:
        order = known_place(an_order())
        deliver(ContactGiven, **order.contact())
        deliver(OrderPlaced, **order.placed())
        deliver(OrderConfirmed, **order.confirmed())

    for _ in range(5):
        order_another()
    send()
    today = [line for line in lines_in(message_file) if line["to"] == "buyer:dolma"]
    at(NOON + timedelta(days=1))
    order_another()
    send()

    assert len(today) == 3
    assert len([line for line in lines_in(message_file) if line["to"] == "buyer:dolma"]) == 4


def test_a_message_waits_for_facts_of_other_services(deliver, order, send, at, message_file):
    """A dispatch overtakes everything that orders said: nothing is lost, nothing is guessed."""
    dispatched = order.shipment(shipment_ref="S-1", lines=[], promised_on=date(2026, 8, 22))
    deliver(ShipmentDispatched, **dispatched)
    send()
    before = lines_in(message_file)

    deliver(ContactGiven, **order.contact())
    deliver(OrderPlaced, **order.placed())
    at(NOON + timedelta(seconds=5))
    send()

    assert before == []
    assert [(line["to"], line["body"]) for line in lines_in(message_file)] == [
        ("buyer:dolma", "订单 ORD-7KQ2M9XH 已发货。预计 8月22日 到达。")
    ]


def test_a_message_for_nobody_ends_dead(deliver, order, send, at, messages):
    deliver(ShipmentDispatched, **order.shipment(shipment_ref="S-1", lines=[]))

    at(NOON + timedelta(days=4))
    send()

    assert [m.status for m in messages()] == ["dead"]


def test_a_message_that_is_too_late_is_not_sent(confirmed, send, at, messages, message_file):
    at(NOON + timedelta(days=2, minutes=1))

    send()

    assert messages("order_confirmed")[0].status == "stale"
    assert messages("goods_sold")[0].status == "sent"


def test_nobody_is_asked_to_pay_for_an_order_that_has_ended(
    deliver, order, send, messages, message_file
):
    deliver(ContactGiven, **order.contact())
    deliver(OrderPlaced, **order.placed(payment_method="prepaid"))
    deliver(PaymentRequested, **order.ref(amount_fen=204000, expires_at=NOON))
    deliver(PaymentFailed, **order.ref(reason="declined"))
    deliver(OrderCancelled, **order.ref(reason="mistake"))

    send()

    assert {m.template: m.status for m in messages()} == {
        "order_placed": "sent",
        "payment_requested": "stale",
        "payment_failed": "stale",
        "order_cancelled": "sent",
    }


def test_an_enterprise_that_gave_no_phone_is_told_in_its_inbox(
    deliver, an_order, channel, send, messages
):
    order = an_order()
    deliver(ContactGiven, **order.contact())
    deliver(OrderPlaced, **order.placed())
    deliver(OrderConfirmed, **order.confirmed())

    send()

    (message,) = messages("goods_sold")
    assert message.person == f"enterprise:{order.producer_id}"
    assert message.reason == "incomplete"  # until catalog says what the variant is called


def test_the_number_of_statements_does_not_grow_with_the_messages(
    deliver, an_order, known_place, send, count_statements, message_file
):
    def life(many: int) -> int:
        orders = [an_order() for _ in range(many)]
        known_place(orders[0])
        for each in orders[1:]:
            each.variant_id, each.site_id = orders[0].variant_id, orders[0].site_id
        deliver(
            ContactGiven,
            _many=[o.contact(buyer_id=None, phone=f"+86138{n:08d}") for n, o in enumerate(orders)],
        )
        deliver(OrderPlaced, _many=[o.placed(buyer_id=None) for o in orders])
        deliver(OrderConfirmed, _many=[o.confirmed() for o in orders])
        with count_statements() as statements:
            send()
        return len(statements)

    few = life(3)
    many = life(200)

    assert many == few
    assert len(lines_in(message_file)) == 2 * 203


def test_contacts_are_erased_some_time_after_the_order_ended(
    deliver, confirmed, database: Database, app_settings: Settings, at
):
    deliver(OrderCompleted, **confirmed.ref(total_fen=204000))

    def contacts() -> list[str]:
        with database.readers() as reader:
            return sorted(key.partition(":")[0] for key in reader.scalars(select(Contact.key)))

    at(NOON + timedelta(days=29))
    run_erase(database, app_settings)
    before = contacts()
    at(NOON + timedelta(days=31))
    run_erase(database, app_settings)

    assert before == ["enterprise", "order"]
    assert contacts() == ["enterprise"]


def test_the_contact_of_an_order_that_never_ended_is_erased_after_a_year(
    confirmed, database, app_settings, at
):
    with database.sessions.begin() as session:
        session.execute(update(Contact).values(given_at=NOON - timedelta(days=366)))

    run_erase(database, app_settings)

    with database.readers() as reader:
        assert [key[:5] for key in reader.scalars(select(Contact.key))] == ["enter"]


def test_tallies_and_files_are_erased_too(
    confirmed, send, database, app_settings, at, message_file
):
    send()
    at(NOON + timedelta(days=40))

    run_erase(database, app_settings)

    with database.readers() as reader:
        assert reader.scalars(select(PhoneTally)).all() == []
    assert lines_in(message_file) == []


def test_an_order_paid_after_it_expired_keeps_its_contact(deliver, confirmed, database):
    deliver(OrderConfirmed, **confirmed.confirmed())

    with database.readers() as reader:
        assert reader.scalars(select(OrderReadModel)).one().contact_unused_since is None


def test_run_send_stops_when_nothing_is_due(database, app_settings):
    assert run_send(database, app_settings) is False
