"""Dashboards and alarms ask for what the services really tell."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

from farmgate.services import NAMES, application_of
from services.catalog import gauges as catalog_gauges
from services.orders import gauges as orders_gauges
from shared.runtime import metrics
from shared.runtime.config import Settings
from shared.runtime.metric_files import ROOM
from tests.support.serving import missing

DEPLOY = Path(__file__).parents[2] / "deploy"
#: What a sample's name may have more than its metric's.
SUFFIXES = ("", "_total", "_bucket", "_sum", "_count", "_created")
#: Labels that Prometheus or the histogram adds.
ADDED = {"le", "job", "instance"}


def _told() -> dict[str, set[str]]:
    """Return the labels of every metric of ours, by each name that its samples may have."""
    found: dict[str, set[str]] = {}
    for module in (metrics, catalog_gauges, orders_gauges):
        for value in vars(module).values():
            if isinstance(value, MetricWrapperBase):
                for suffix in SUFFIXES:
                    found[value._name + suffix] = set(value._labelnames)
    return found


def _dashboards() -> list[Path]:
    return sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))


def _expressions() -> list[str]:
    rules: Any = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())
    found = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    for path in _dashboards():
        for panel in json.loads(path.read_text())["panels"]:
            found += [target["expr"] for target in panel["targets"]]
    return found


@pytest.mark.parametrize("expression", _expressions())
def test_an_expression_asks_for_metrics_and_labels_that_exist(expression: str) -> None:
    told = _told()
    names = re.findall(r"\b(?:farmgate_\w+|up)\b", expression)
    assert names, "it asks for nothing"
    unknown = [name for name in names if name not in told and name != "up"]
    assert unknown == []

    known = set().union(*(told.get(name, set()) for name in names), ADDED)
    used = {
        label.strip() for group in re.findall(r"by \(([^)]*)\)", expression)
        for label in group.split(",")
    }  # fmt: skip
    used |= set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", expression))
    assert used <= known


def test_what_an_operator_looks_for_first_is_on_the_dashboard() -> None:
    (path,) = _dashboards()
    shown = path.read_text()

    for metric in (
        "farmgate_orders_of_a_day",
        "farmgate_oldest_unpublished_seconds",
        "farmgate_parked_events",
        "farmgate_allotted_stock",
        "farmgate_http_request_seconds_bucket",
    ):
        assert metric in shown


def test_every_process_of_every_service_is_scraped() -> None:
    told: Any = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    scraped = {
        name
        for job in told["scrape_configs"]
        for found in job["dns_sd_configs"]
        for name in found["names"]
    }

    assert scraped == {f"{name}-{kind}" for name in NAMES for kind in ("web", "worker")}


def test_a_dashboard_asks_the_source_that_is_provisioned() -> None:
    sources: Any = yaml.safe_load(
        (DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text()
    )
    uids = {source["uid"] for source in sources["datasources"]}
    for path in _dashboards():
        for panel in json.loads(path.read_text())["panels"]:
            assert panel["datasource"]["uid"] in uids


def test_our_metrics_are_registered_where_they_are_shown() -> None:
    registered = {metric.name for metric in REGISTRY.collect()}

    assert {"farmgate_orders_of_a_day", "farmgate_allotted_stock"} <= registered


def test_prometheus_itself_accepts_the_rules() -> None:
    if shutil.which("promtool") is None:
        missing("promtool, of Prometheus,")
    done = subprocess.run(
        ["promtool", "check", "rules", DEPLOY / "prometheus" / "alerts.yml"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_operators_guide_names_every_alarm() -> None:
    rules: Any = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())
    guide = (DEPLOY.parent / "docs" / "operations.md").read_text("utf-8")
    alarms = [rule["alert"] for group in rules["groups"] for rule in group["rules"]]

    assert alarms
    assert [alarm for alarm in alarms if f"`{alarm}`" not in guide] == []


ASK = """
import sys
from pathlib import Path
from farmgate.services import application_of
from prometheus_client.mmap_dict import MmapedDict
from shared.runtime import metrics
from shared.runtime.config import Settings

name, data, folder = sys.argv[1:]
settings = Settings.from_environment(name, {"FARMGATE_DATA": data})
client = application_of(name)(settings).test_client()
path = f"/api/{name}/openapi.json"


def look():
    files = sorted(Path(folder).glob("*.db"))
    series = [key for file in files for key, *_ in MmapedDict.read_all_values_from_file(str(file))]
    return series, [(file.name, file.stat().st_size) for file in files]


for number in range(10_001):
    client.open(path if number % 2 else "/nowhere", method=f"INVENTED{number}")
    if number == 1:
        before = look()
assert look() == before, look()
assert "INVENTED" not in metrics.expose().decode()
assert metrics.OTHER_METHOD in metrics.expose().decode()
"""


def test_ten_thousand_invented_methods_leave_metrics_and_their_folder_as_they_were(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "metrics"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", ASK, "orders", str(tmp_path), str(folder)],
        env=os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]


#: More statuses than any one route answers with.
STATUSES = 20


@pytest.mark.parametrize("name", NAMES)
def test_all_series_that_a_service_could_ever_have_fit_into_its_files(
    name: str, tmp_path: Path
) -> None:
    from prometheus_client.mmap_dict import mmap_key

    app = application_of(name)(Settings.from_environment(name, {"FARMGATE_DATA": str(tmp_path)}))
    routes = {(m, rule.rule) for rule in app.url_map.iter_rules() for m in rule.methods or ()}
    routes |= {(method, "(none)") for method in (*metrics.METHODS, metrics.OTHER_METHOD)}

    def size(metric: MetricWrapperBase, sample: str, **labels: str) -> int:
        # Length, padding, value and moment.
        return 32 + len(
            mmap_key(
                metric._name,
                sample,
                list(labels),
                list(labels.values()),
                metric._documentation,
            ).encode()
        )

    counters = sum(
        size(metrics._requests, "farmgate_http_requests_total", **labels)
        for method, route in routes
        for labels in [{"service": name, "method": method, "route": route, "status": "200"}]
    )
    buckets = sum(
        size(metrics._seconds, "farmgate_http_request_seconds_bucket", le=str(bound), **labels)
        for method, route in routes
        for bound in (*metrics._seconds._upper_bounds, "sum")
        for labels in [{"service": name, "method": method, "route": route}]
    )

    # Besides requests only events are counted, by a handful of outcomes.
    assert counters * STATUSES + 4096 < ROOM["counter"]
    assert buckets < ROOM["histogram"]
