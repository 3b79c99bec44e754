"""Dashboards and alarms ask for what the services really tell."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

from farmgate.services import NAMES
from services.catalog import gauges as catalog_gauges
from services.orders import gauges as orders_gauges
from shared import metrics

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


@pytest.mark.skipif(
    shutil.which("promtool") is None,
    reason="promtool is not installed (apt-get install prometheus)",
)
def test_prometheus_itself_accepts_the_rules() -> None:
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
