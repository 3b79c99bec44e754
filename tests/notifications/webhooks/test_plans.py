"""What a round of the sender costs does not grow with the log of deliveries."""

import pytest
from sqlalchemy import event

from services.notifications.batch import NotificationsBatch
from services.notifications.rules.webhooks import Answer
from services.notifications.use_cases import webhooks
from shared.messaging.batch import transaction


@pytest.mark.parametrize("harness", ["sqlite"], indirect=True)
def test_no_statement_of_a_round_reads_the_whole_log(world):
    endpoint_id = world.endpoint("acme", "https://shop.example/")
    world.events("acme", *(f"order/{n % 3}" for n in range(6)))
    plans: dict[str, str] = {}

    def explain(connection, cursor, statement, parameters, context, many):
        if "deliveries" in statement and statement.startswith(("SELECT", "UPDATE")) and not many:
            other = connection.connection.cursor()
            other.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans[statement] = "\n".join(row[3] for row in other.fetchall())

    engines = (world.database.engine, world.database.read_engine)
    for engine in engines:
        event.listen(engine, "before_cursor_execute", explain)
    try:
        with world.database.readers() as session:
            assert webhooks.load_unread(session, set()) == [endpoint_id]
        for answer in (Answer(500, "http_500", 5), Answer(200, None, 5)):
            with transaction(world.database, NotificationsBatch) as batch:
                webhooks.read_ahead(batch, [endpoint_id])
            with world.database.readers() as session:
                due = webhooks.load_due(session, 10)
            assert due
            with transaction(world.database, NotificationsBatch) as batch:
                webhooks.record_results(batch, [(each, answer) for each in due[:1]])
            world.set(endpoint_id, failures=9)
    finally:
        for engine in engines:
            event.remove(engine, "before_cursor_execute", explain)

    assert len(plans) > 5
    assert [each for each, plan in plans.items() if "SCAN deliveries" in plan] == []
