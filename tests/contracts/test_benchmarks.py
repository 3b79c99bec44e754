"""The benchmark of growth writes rows into the services' tables; they must be rows of these."""

from collections.abc import Callable
from uuid import uuid4

import pytest

from benchmarks import history
from benchmarks.surroundings import sql
from shared.runtime import migrations


@pytest.mark.postgres
def test_the_rows_of_a_history_fit_the_tables(postgres: Callable[[str], str]) -> None:
    urls = {service: postgres(service) for service in history.TABLES}
    for service, url in urls.items():
        migrations.upgrade(service, url)
    variants, sites, centre, producer = ([str(uuid4()) for _ in range(n)] for n in (3, 2, 1, 1))
    goods = history.Goods(variants, sites, centre[0], producer[0])

    for orders in (1000, 3000):
        history.fill(lambda service: sql(urls[service]), goods, orders)

    for service, tables in history.TABLES.items():
        with sql(urls[service]) as connection:
            for table in tables:
                found = connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
                assert found is not None and found[0] > 0, table
