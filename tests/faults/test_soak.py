"""A short soak: a few faults of one seed on the whole system; `make soak` goes on for hours."""

import json
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from tests.faults.soak.faults import FAULTS
from tests.faults.soak.ledger import Ledger
from tests.faults.soak.running import AT_ONCE, plan
from tests.support.servers import RabbitMQ

SEED, COUNT = "1", 8
#: Seconds that it may take; it is over in about 80.
SECONDS = 600


@pytest.mark.rest
@pytest.mark.system
@pytest.mark.broker
@pytest.mark.postgres
def test_a_few_faults_under_load_lose_nothing(tmp_path: Path, broker: RabbitMQ) -> None:
    """Slow: eight processes under load, and each fault is recovered from before the next."""
    report = tmp_path / "report.json"
    arguments = [
        "--faults",
        str(COUNT),
        "--seed",
        SEED,
        "--json",
        str(report),
        "--folder",
        str(tmp_path),
    ]
    soak = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.soak", *arguments],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        out, _ = soak.communicate(timeout=SECONDS)
    finally:
        soak.terminate()
        soak.wait()
    assert soak.returncode == 0, out[-4000:]
    found = json.loads(report.read_text(encoding="utf-8"))
    assert found["faults"] == COUNT
    for kind in ("orders", "cancellations", "payments", "station entries", "effects of events"):
        assert found["ledger"]["operations"][kind]["kept"] > 0, kind


def test_a_seed_decides_the_faults_and_no_two_of_a_round_meet() -> None:
    rounds = plan(Random(7), 60)
    assert rounds == plan(Random(7), 60)
    assert rounds != plan(Random(8), 60)
    assert sum(map(len, rounds)) == 60
    for faults in rounds:
        assert len({fault.area for fault in faults}) == len(faults) <= max(AT_ONCE)
    names = {fault.name for fault in FAULTS}
    assert len(names) == len(FAULTS)


def test_a_ledger_with_any_damage_is_not_clean() -> None:
    assert Ledger().is_clean
    for damage in ("lost", "doubled", "unexpected"):
        ledger = Ledger()
        setattr(ledger.of("orders"), damage, 1)
        assert not ledger.is_clean
    for damage in ("out_of_order", "oversold", "gaps"):
        assert not Ledger(**{damage: 1}).is_clean
    assert not Ledger(wrong=["an answer that nobody should get"]).is_clean
