"""A bench on the servers that all tests share."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.bench import Bench, bench_on


@pytest.fixture
def bench(vhost: str, postgres: Callable[[str], str], tmp_path: Path) -> Iterator[Bench]:
    with bench_on(vhost, postgres("fault_sender"), postgres("fault_receiver"), tmp_path) as made:
        yield made
