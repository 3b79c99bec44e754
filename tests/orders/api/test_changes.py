"""Lists of what changed: a mirror that reads them again and again misses no change."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from services.orders.batch import OrdersBatch
from services.orders.models import Order
from services.orders.use_cases import decide
from shared.messaging.batch import transaction
from shared.runtime import clock, paging
from shared.runtime.database import Database
from tests.orders.reading import ORDERS, Builder, Place, Token

Ask = Callable[..., Any]


@pytest.fixture
def changed(client: FlaskClient, token: Token) -> Ask:
    """List what changed, as an operator unless told otherwise; returns the whole answer."""

    def ask(since: datetime | str, subject: str | None = None, **query: Any) -> Any:
        scopes = ("orders:read", "orders:operate") if subject is None else ("orders:read",)
        given = {"changed_since": since if isinstance(since, str) else since.isoformat(), **query}
        headers = token(*scopes, subject=subject or "erp")
        return client.get(ORDERS, query_string=given, headers=headers)

    return ask


@pytest.fixture
def read(changed: Ask) -> Callable[..., tuple[list[dict[str, Any]], str]]:
    """Read all pages; returns the orders, and where the next reading begins."""

    def read_all(since: datetime | str, **query: Any) -> tuple[list[dict[str, Any]], str]:
        items, following, cursor = [], set(), {}
        while True:
            answer = changed(since, **query, **cursor)
            assert answer.status_code == 200, answer.text
            items += answer.json["items"]
            following.add(answer.json["next_changed_since"])
            if answer.json["next"] is None:
                assert len(following) == 1, "all pages of a reading say the same"
                return items, following.pop()
            cursor = {"cursor": answer.json["next"]}

    return read_all


def refs(orders: list[dict[str, Any]]) -> list[str]:
    return [order["order_ref"] for order in orders]


def long_ago() -> datetime:
    return clock.now() - timedelta(days=1)


def test_what_changed_comes_in_the_order_of_its_last_change(
    place: Place, reserve: Any, read: Ask
) -> None:
    first, second, third = place(), place(), place()
    reserve(first)

    listed, _ = read(long_ago(), limit=1)

    assert refs(listed) == refs([second, third, first])
    moments = [order["changed_at"] for order in listed]
    assert moments == sorted(moments)


def test_only_what_changed_at_the_moment_or_later_is_listed(
    place: Place, reserve: Any, read: Ask, read_order: Callable[[str], Order]
) -> None:
    first, second = place(), place()
    reserve(first)
    moment = read_order(first["order_id"]).changed_at

    assert refs(read(moment)[0]) == [first["order_ref"]]
    assert refs(read(moment + timedelta(microseconds=1))[0]) == []
    assert refs(read(read_order(second["order_id"]).changed_at)[0]) == refs([second, first])


def test_the_next_reading_begins_before_this_one_and_so_finds_every_change(
    place: Place, reserve: Any, read: Ask
) -> None:
    first, second = place(), place()
    _, following = read(long_ago())
    reserve(second)

    again, _ = read(following)

    # The first one comes again, because it changed less than two minutes ago.
    assert refs(again) == refs([first, second])
    assert again[1]["state"] == "confirmed"
    assert following.endswith("Z")
    behind = clock.now() - datetime.fromisoformat(following)
    assert timedelta(minutes=2) < behind < timedelta(minutes=3)


def test_what_changes_during_a_reading_belongs_to_the_next_one(
    place: Place, reserve: Any, changed: Ask
) -> None:
    first, second, third = place(), place(), place()
    page = changed(long_ago(), limit=1).json
    fourth = place()
    reserve(second)

    rest = changed(long_ago(), limit=10, cursor=page["next"]).json

    assert refs(page["items"]) == [first["order_ref"]]
    assert (refs(rest["items"]), rest["next"]) == ([third["order_ref"]], None)
    following = changed(rest["next_changed_since"]).json
    assert refs(following["items"]) == refs([first, third, fourth, second])


@pytest.mark.parametrize("harness", ["postgresql"], indirect=True)
@pytest.mark.parametrize("usual", [timedelta(minutes=2), timedelta(0)])
@pytest.mark.postgres
def test_a_change_that_is_committed_late_is_in_the_next_reading(
    place: Place,
    reserve: Any,
    read: Ask,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    usual: timedelta,
) -> None:
    """Without the usual overlap each commit is later than usual: the test takes no minutes."""
    monkeypatch.setattr(paging, "LATE", usual)
    late, other = place(), place()
    with transaction(database, OrdersBatch) as batch:
        order = batch.lock_order(UUID(late["order_id"]))
        decide.cancel_order(batch, order, "changed_mind")
        batch.session.flush()
        reserve(other)
        # The mirror sees the later change, and not yet the earlier one.
        before, following = read(long_ago(), limit=1)
    seen = {order["order_ref"]: order["state"] for order in before}

    after, _ = read(following)

    assert seen == {late["order_ref"]: "placed", other["order_ref"]: "confirmed"}
    assert {order["order_ref"]: order["state"] for order in after} == {
        late["order_ref"]: "cancelled",
        other["order_ref"]: "confirmed",
    }


def test_orders_that_changed_at_one_moment_are_each_listed_once(
    place: Place, database: Database, read: Ask
) -> None:
    placed = [place() for _ in range(7)]
    with database.sessions.begin() as session:
        session.query(Order).update({"changed_at": clock.now()})

    listed, _ = read(long_ago(), limit=2)

    assert sorted(refs(listed)) == sorted(refs(placed))


def test_a_partner_lists_its_own_changes_with_its_filters(
    client: FlaskClient, token: Token, an_order: Builder, place: Place, reserve: Any, read: Ask
) -> None:
    def order(subject: str) -> dict[str, Any]:
        headers = token("orders:place", "orders:place_for", subject=subject)
        return dict(client.post(ORDERS, json=an_order(buyer_id=None), headers=headers).json)

    first, second = order("market"), order("market")
    order("other")
    place()
    reserve(first)

    assert refs(read(long_ago(), subject="market")[0]) == refs([second, first])
    assert refs(read(long_ago(), subject="market", state="placed")[0]) == [second["order_ref"]]


def test_without_changed_since_the_list_is_as_before(place: Place, ask: Ask) -> None:
    first, second = place(), place()

    listed = ask("orders")

    assert refs(listed["items"]) == refs([second, first])
    assert listed["next_changed_since"] is None


@pytest.mark.parametrize("harness", ["sqlite"], indirect=True)
def test_a_cursor_belongs_to_one_of_both_lists(place: Place, ask: Ask, changed: Ask) -> None:
    place(), place()
    of_changes = changed(long_ago(), limit=1).json["next"]
    of_all = ask("orders?limit=1")["next"]

    astray = changed(long_ago(), cursor=of_all)

    assert (astray.status_code, astray.json["type"]) == (422, "/problems/malformed-cursor")
    with pytest.raises(AssertionError, match="malformed-cursor"):
        ask(f"orders?cursor={of_changes}")


@pytest.mark.parametrize("harness", ["sqlite"], indirect=True)
@pytest.mark.parametrize("since", ["yesterday", "2026-11-30", "2026-11-30T12:00:00", ""])
def test_a_moment_without_a_zone_is_refused(changed: Ask, since: str) -> None:
    answer = changed(since)

    assert (answer.status_code, answer.json["type"]) == (422, "/problems/validation-failed")


@pytest.fixture
def many_orders(database: Database, place: Place) -> Iterator[None]:
    """Fill the table, so that PostgreSQL reads it by an index where there is one."""
    place()
    with database.sessions.begin() as session:
        columns = [column.name for column in Order.__table__.columns]
        own = {
            "id": "gen_random_uuid()",
            "arrival": "gen_random_uuid()",
            "order_ref": "'ORD-' || lpad(n::text, 8, '0')",
            "partner": "'market-' || n % 7",
            "external_ref": "'SO-' || n",
            "changed_at": "changed_at - n * interval '1 minute'",
        }
        chosen = ", ".join(own.get(name, name) for name in columns)
        session.execute(
            text(
                f"INSERT INTO orders ({', '.join(columns)}) "
                f"SELECT {chosen} FROM orders, generate_series(1, 20000) AS n"
            )
        )
    with database.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("ANALYZE orders"))
    yield


@pytest.mark.parametrize("harness", ["postgresql"], indirect=True)
@pytest.mark.postgres
def test_an_index_finds_what_changed_and_a_partners_number(
    many_orders: None, client: FlaskClient, changed: Ask, ask: Ask, database: Database
) -> None:
    def rows_read() -> int:
        with database.engine.connect() as connection:
            connection.execute(text("SELECT pg_stat_force_next_flush()"))
            connection.commit()
            statement = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables "
            return int(connection.scalar(text(f"{statement} WHERE relname = 'orders'")) or 0)

    def cost(do: Callable[[], Any]) -> int:
        before = rows_read()
        do()
        database.close()  # a connection reports what it has read when it ends
        client.application.extensions["farmgate"].database.close()
        return rows_read() - before

    hour_ago = clock.now() - timedelta(hours=1)
    assert cost(lambda: changed(hour_ago)) < 1_000
    assert cost(lambda: ask("orders?external_ref=SO-777")) < 1_000
    assert cost(lambda: ask("orders?q=SO-77777")) < 1_000
