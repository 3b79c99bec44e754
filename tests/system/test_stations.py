"""Stations, online buyers and `kill -9`: nothing is lost, doubled or oversold, on both set-ups.

20 devices sell from lots that eight buyers empty at the same time (farmgate demo --offline),
with all the troubles of their links, power cuts and a restored backup. Meanwhile processes of
the system are killed in a random order and started again. In the end devices, centre and the
four services agree. `make soak-stations` tells more of these stories.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from random import Random

import pytest

from tests.support.processes import SERVICES, Processes

#: Where chance begins, and how many stories each set-up tells.
SEED = int(os.environ.get("SOAK_SEED", "1"))
STORIES = max(1, int(os.environ.get("SOAK_ROUNDS", "100")) // 100)
#: Seconds between two kills, least and most; and kills of one story, at most.
BETWEEN_KILLS, MOST_KILLS = (1.0, 4.0), 10
#: Seconds that one story may take, however often processes were killed.
STORY_SECONDS = 400

SETUPS = [
    pytest.param("embedded", marks=pytest.mark.system),
    pytest.param(
        "distributed", marks=[pytest.mark.system, pytest.mark.broker, pytest.mark.postgres]
    ),
]


def live_and_kill(system: Processes, seed: int) -> subprocess.CompletedProcess[str]:
    """Run the demo while processes are killed; return how it ended."""
    random = Random(f"{seed}/kills")
    kills = 0
    demo = subprocess.Popen(
        [sys.executable, "-m", "farmgate", "demo", "--offline", "--json", "--seed", str(seed)],
        env=system.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while True:
            seconds = random.uniform(*BETWEEN_KILLS) if kills < MOST_KILLS else STORY_SECONDS
            try:
                out, err = demo.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                assert kills < MOST_KILLS, f"not over after {STORY_SECONDS} s"
                name = random.choice(list(system.commands))
                system.kill(name)
                system.start(name)
                kills += 1
            else:
                return subprocess.CompletedProcess(demo.args, demo.returncode, out, err)
    finally:
        if demo.poll() is None:
            demo.kill()
            demo.communicate()


@pytest.mark.parametrize("setup", SETUPS)
def test_devices_centre_and_services_agree_after_any_kill(
    start_with_sample: Callable[[str], Processes], setup: str
) -> None:
    system = start_with_sample(setup)

    for seed in range(SEED, SEED + STORIES):
        ended = live_and_kill(system, seed)

        assert ended.returncode == 0, f"seed {seed}: {ended.stdout[-3000:]} {ended.stderr[-2000:]}"
        result = json.loads(ended.stdout)
        assert result["agree"], result["differences"]
        restored = [device for device in result["devices"] if device["restored"]]
        # Who sold twice is known, who did not is never suspected.
        assert {sale["device"] for sale in result["disputed"]} == {
            device["device"] for device in restored
        }
        for service in SERVICES:
            report = system.ready(service)
            assert report["parked"] == {}, f"seed {seed}, {service}: {report}"
        verified = system.command("verify")
        assert verified.returncode == 0, f"seed {seed}: {verified.stdout}"
    doctor = system.command("doctor")
    assert doctor.returncode == 0, doctor.stdout
