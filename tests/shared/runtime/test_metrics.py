"""Metrics of several processes add up, in files that never grow; a full disk is survived."""

import os
import subprocess
import sys
from pathlib import Path

from shared.runtime.metric_files import ROOM

COUNT = "metrics.count_request('things', 'GET', '/x', 200, 0.1)\n"
TOLD = "print(metrics.expose().decode())\n"


def start(folder: Path, code: str, before: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", f"{before}\nfrom shared.runtime import metrics\n{code}"],
        env=os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(folder: Path, code: str, before: str = "") -> tuple[int, str, str]:
    process = start(folder, code, before)
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err


def requests(scraped: str) -> float:
    series = 'farmgate_http_requests_total{method="GET",route="/x",service="things",status="200"} '
    (line,) = [line for line in scraped.splitlines() if line.startswith(series)]
    return float(line.removeprefix(series))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*.db")}


def test_processes_that_live_at_once_have_files_of_their_own_and_add_up(tmp_path: Path) -> None:
    first = start(tmp_path, f"{COUNT}print('counted', flush=True)\ninput()")
    assert first.stdout is not None
    assert first.stdout.readline() == "counted\n"

    _, scraped, _ = run(tmp_path, COUNT + TOLD)
    first.communicate("\n", timeout=30)

    assert requests(scraped) == 2
    assert names(tmp_path) == {f"{kind}_{number}.db" for kind in ROOM for number in (0, 1)}


def test_a_process_goes_on_in_the_files_of_one_that_was_killed(tmp_path: Path) -> None:
    killed = "import os\nos.kill(os.getpid(), 9)"
    for number in (1, 2, 3):
        run(tmp_path, f"{COUNT}metrics.set_backlog('things', {number}.0, {{}})\n{killed}")
    before = names(tmp_path)

    _, scraped, _ = run(tmp_path, COUNT + TOLD)

    assert requests(scraped) == 4
    assert 'farmgate_oldest_unpublished_seconds{service="things"} 3.0' in scraped
    assert names(tmp_path) == before == {f"{kind}_0.db" for kind in ROOM}


def test_what_a_dead_process_said_of_itself_is_forgotten(tmp_path: Path) -> None:
    run(tmp_path, "metrics.set_relay_blocked('things', True)")

    _, scraped, _ = run(tmp_path, TOLD)

    assert "farmgate_relay_blocked{" not in scraped


def test_the_room_of_the_files_is_taken_before_they_are_used(tmp_path: Path) -> None:
    # A file with holes would get its blocks when a mapped page is written: SIGBUS on a full disk.
    run(tmp_path, COUNT)

    for kind, room in ROOM.items():
        status = (tmp_path / f"{kind}_0.db").stat()
        assert status.st_size == room
        assert status.st_blocks * 512 >= room


def test_a_process_that_finds_no_room_for_its_metrics_does_its_work(tmp_path: Path) -> None:
    _, scraped, _ = run(tmp_path, COUNT + TOLD)
    found = names(tmp_path)
    neighbour = start(tmp_path, "print('there', flush=True)\ninput()")
    assert neighbour.stdout is not None
    assert neighbour.stdout.readline() == "there\n"

    # The least that a full disk does: nothing more can be written.
    full = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))"
    status, scraped, told = run(tmp_path, COUNT + TOLD, full)
    neighbour.communicate("\n", timeout=30)

    assert (status, requests(scraped)) == (0, 1)
    assert "metrics are not shared between processes" in told
    assert names(tmp_path) == found


def test_a_queue_that_is_gone_is_shown_as_empty(tmp_path: Path) -> None:
    full = "metrics.set_queues({'integrator.one': metrics.QueueMetrics(0.9, 60.0, True)})\n"

    status, scraped, errors = run(tmp_path, f"{full}metrics.set_queues({{}})\n{TOLD}")

    assert (status, errors) == (0, "")
    shown = [line for line in scraped.splitlines() if 'queue="integrator.one"' in line]
    assert len(shown) == 3
    assert all(line.endswith(" 0.0") for line in shown)
