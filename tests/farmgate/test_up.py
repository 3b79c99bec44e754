"""`farmgate up` starts, says where, stops cleanly, and starts again on the same data."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

import pytest
import requests

from farmgate import run_file, start_page
from farmgate.embedded import by_prefix
from farmgate.services import NAMES
from farmgate.supervised import FIRST_PAUSE, Process
from shared.runtime import keys
from tests.support.forking import Program
from tests.support.servers import free_port, wait_until

Start = Callable[[], Program]


@pytest.fixture
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where each started process writes to: `0.txt`, `1.txt`."""
    return tmp_path_factory.mktemp("outputs")


@pytest.fixture
def up(tmp_path: Path, outputs: Path) -> Iterator[Start]:
    """Start `farmgate up` on a data folder of this test, and wait until it answers."""
    started: list[Program] = []
    port = free_port()
    environment = {**os.environ, "FARMGATE_DATA": str(tmp_path)}

    def start() -> Program:
        output = outputs / f"{len(started)}.txt"
        process = Program("farmgate", ["up", "--port", str(port)], environment, output)
        started.append(process)
        wait_until(
            lambda: process.poll() is not None or _runs(tmp_path, process.pid), 30, "it runs"
        )
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def _runs(data: Path, pid: int) -> bool:
    run = run_file.read(data)
    return run is not None and run.pid == pid


def test_it_runs_all_services_and_stops_cleanly(up: Start, tmp_path: Path, outputs: Path) -> None:
    process = up()
    run = run_file.read(tmp_path)
    assert run is not None

    for name in NAMES:
        ready = requests.get(f"{run.urls[name]}/api/{name}/health/ready", timeout=5).json()
        assert ready["status"] == "ready"
    states = requests.get(f"{run.url}/status.json", timeout=10).json()
    assert {name: state["state"] for name, state in states.items()} == dict.fromkeys(NAMES, "ready")
    process.send_signal(signal.SIGTERM)

    assert process.wait(30) == 0
    assert (outputs / "0.txt").read_text("utf-8").splitlines() == [
        f"Farmgate is on {run.url} (data in {tmp_path}); Ctrl-C stops it.",
        "Stopped.",
    ]
    assert not run_file.path(tmp_path).exists()


def test_after_a_kill_it_starts_again_with_the_same_keys(up: Start, tmp_path: Path) -> None:
    first = up()
    key = (tmp_path / "keys" / "signing.json").read_bytes()
    first.kill()
    first.wait()

    second = up()

    assert second.poll() is None
    assert (tmp_path / "keys" / "signing.json").read_bytes() == key


def _open_to_others(folder: Path) -> list[str]:
    found = [folder, *folder.rglob("*")]
    return [str(path.relative_to(folder)) for path in found if path.stat().st_mode & 0o077]


@pytest.fixture
def open_umask() -> Iterator[None]:
    """Let files be as readable as a process of ours makes them."""
    before = os.umask(0)
    yield
    os.umask(before)


def test_nobody_else_can_read_what_it_keeps(up: Start, tmp_path: Path, open_umask: None) -> None:
    process = up()
    tmp_path.chmod(0o755)
    for name in NAMES:
        (tmp_path / f"{name}.db").chmod(0o644)
    process.send_signal(signal.SIGTERM)
    process.wait(30)
    # As the version before left it.
    assert "orders.db" in _open_to_others(tmp_path)

    up()

    assert {f"{name}.db" for name in NAMES} <= {path.name for path in tmp_path.iterdir()}
    assert _open_to_others(tmp_path) == []


def test_nobody_else_can_read_what_a_services_own_processes_keep(
    tmp_path: Path, outputs: Path, open_umask: None
) -> None:
    port, data = free_port(), tmp_path / "data"
    environment = {**os.environ, "FARMGATE_DATA": str(data)}
    data.mkdir(mode=0o700)
    keys.ensure(data)
    migrate = Program("farmgate", ["migrate", "catalog"], environment, outputs / "0.txt")
    assert migrate.wait(60) == 0
    # Not forked: the command says where to count before it imports what counts.
    command = [sys.executable, "-m", "farmgate", "web", "catalog", "--port", str(port)]
    web = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: _answers(port), 30, "it answers")
        made = {path.name for path in data.rglob("*")}
        assert {"catalog.db", "counter_0.db"} <= made
        assert [path for path in _open_to_others(data) if path != "keys/jwks.json"] == []
    finally:
        web.terminate()
        web.wait(30)


def _answers(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/health/ready", timeout=2).ok
    except requests.RequestException:
        return False


def test_a_second_one_on_the_same_data_is_refused(up: Start, outputs: Path) -> None:
    first = up()

    second = up()

    assert second.wait(30) == 1
    assert f"Process {first.pid} already runs" in (outputs / "1.txt").read_text("utf-8")
    assert first.poll() is None


def test_requests_go_to_the_service_their_path_names() -> None:
    def saying(word: str) -> Callable[..., list[bytes]]:
        return lambda environ, start_response: [word.encode()]

    dispatch = by_prefix({"orders": saying("orders")}, saying("page"))

    answers = {
        path: b"".join(dispatch({"PATH_INFO": path}, lambda *_: None)).decode()
        for path in ("/api/orders/v1/orders", "/api/orders", "/api/fly/v1", "/", "/api", "")
    }
    assert answers == {
        "/api/orders/v1/orders": "orders",
        "/api/orders": "orders",
        "/api/fly/v1": "page",
        "/": "page",
        "/api": "page",
        "": "page",
    }


def test_the_start_page_shows_which_service_is_away_in_both_languages() -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    client = start_page.create_app(dict.fromkeys(NAMES, nowhere)).test_client()

    chinese = client.get("/", headers={"Accept-Language": "zh-CN,zh;q=0.9"})
    english = client.get("/?lang=en")

    assert chinese.text.count("无应答") == len(NAMES)
    assert english.text.count("no answer") == len(NAMES)
    assert f'href="{nowhere}/api/orders/docs"' in english.text
    assert "<script" not in english.text
    assert "default-src 'none'" in english.headers["Content-Security-Policy"]
    for name in NAMES:
        assert json.loads(client.get("/status.json").text)[name]["state"] == "away"


def test_the_start_pages_style_is_served_by_itself() -> None:
    client = start_page.create_app(dict.fromkeys(NAMES, "http://127.0.0.1:9")).test_client()

    with client.get("/bootstrap/static/css/bootstrap.min.css") as style:
        assert style.status_code == 200
    assert "://" not in client.get("/").text.partition("<head>")[2].partition("</head>")[0]


def test_a_process_that_dies_is_started_again_with_growing_pauses(tmp_path: Path) -> None:
    process = Process("worker", ("fly",), os.environ, tmp_path / "worker.log")

    lines: list[str] = []

    def look() -> bool:
        line = process.poll()
        lines.extend([line] if line else [])
        return line is not None

    assert look()
    wait_until(look, 30, "it ended")
    ended = monotonic()
    wait_until(look, 30, "it runs again")
    waited = monotonic() - ended
    assert process.running is not None
    process.running.wait()
    assert look()

    assert "runs as process" in lines[0]
    assert "ended (exit code 2), again in 0.5 s" in lines[1]
    assert waited > FIRST_PAUSE * 0.8
    assert "again in 1.0 s" in lines[3]
    assert "No such command" in (tmp_path / "worker.log").read_text()
