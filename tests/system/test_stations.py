"""Stations, online buyers and `kill -9`: nothing is lost, doubled or oversold, on both set-ups.

20 devices sell from lots that eight buyers empty at the same time (farmgate demo --offline),
with all the troubles of their links, power cuts and a restored backup. Meanwhile processes of
the system are killed in a random order and started again. In the end devices, centre and the
four services agree. `make soak-stations` tells more of these stories.
"""

import json
import os
import subprocess
from collections.abc import Callable
from random import Random

import pytest

from tests.support.processes import SERVICES, Processes
from tests.support.systems import EMBEDDED_FIRST

#: Where chance begins, and how many stories each set-up tells.
SEED = int(os.environ.get("SOAK_SEED", "1"))
STORIES = max(1, int(os.environ.get("SOAK_ROUNDS", "100")) // 100)
#: How much each clerk does, and kills of one story: in `make soak-stations`, and otherwise.
STEPS, MOST_KILLS = ("60", 10) if "SOAK_ROUNDS" in os.environ else ("30", 4)
#: Seconds between two kills, least and most.
BETWEEN_KILLS = (1.0, 4.0)
#: Seconds that one story may take, however often processes were killed.
STORY_SECONDS = 400


def live_and_kill(system: Processes, seed: int) -> subprocess.CompletedProcess[str]:
    """Run the demo while processes are killed; return how it ended."""
    random = Random(f"{seed}/kills")
    kills = 0
    told = ("demo", "--offline", "--json", "--seed", str(seed), "--steps", STEPS)
    with system.begin(*told) as demo:
        while True:
            seconds = random.uniform(*BETWEEN_KILLS) if kills < MOST_KILLS else STORY_SECONDS
            try:
                return demo.end(seconds)
            except subprocess.TimeoutExpired:
                assert kills < MOST_KILLS, f"not over after {STORY_SECONDS} s"
                name = random.choice(list(system.commands))
                system.kill(name)
                system.start(name)
                kills += 1


@pytest.mark.parametrize("setup", EMBEDDED_FIRST)
def test_devices_centre_and_services_agree_after_any_kill(
    start_with_sample: Callable[[str], Processes], setup: str
) -> None:
    """Slow: 20 devices and 8 buyers live through a day while processes are killed."""
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
