"""GET /metrics: what Prometheus reads, what it must never read, and what dashboards and alerts are made of."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.db import OperationalError
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from access.models import Tier
from collectors.gaps import sweep
from collectors.models import Pipeline, Run, Watermark, Worker
from exchanges.models import Exchange
from lib import valkey
from metrics import analysis, exposition, incident_series
from metrics.models import Verdict
from tests.metrics.conftest import Place
from tests.metrics.series import ranging

DOCS = Path(__file__).resolve().parents[2] / "docs"
NAME = re.compile(r"\bmarketmon_[a-z0-9_]+")


def scrape(client: Client) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    families = text_string_to_metric_families(answer.content.decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def value(client: Client, name: str, **labels: str) -> float | None:
    return scrape(client).get((f"marketmon_{name}", tuple(sorted(labels.items()))))


def test_every_part_of_the_snapshot_has_its_series(place: Place, api: Client) -> None:
    Run.objects.create(exchange_id="kraken", started_at=place.now, duration_ms=250, outcome="stored", rows_stored=3)
    Watermark.objects.update_or_create(name="beat", defaults={"reached_at": place.now})
    sweep.note_sweep(place.now)

    found = scrape(api)

    def one(name: str, **labels: str) -> float:
        return found[(f"marketmon_{name}", tuple(sorted(labels.items())))]

    assert one("component_up", component="database") == 1
    assert one("component_up", component="valkey") == 1
    assert one("pipelines", exchange="kraken", status="healthy") == 3
    assert one("runs_5m", exchange="kraken", outcome="stored") == 1
    assert one("rows_stored_5m", exchange="kraken") == 3
    assert one("run_duration_seconds", exchange="kraken", outcome="stored") == 0.25
    assert one("worker_freshness_seconds", exchange="kraken") < 60
    assert one("queue_depth", queue="poll") >= 0
    assert one("beat_lag_seconds") < 60
    assert one("pulse_lag_seconds") < 60


@pytest.mark.parametrize(("seconds", "status"), [(59, "healthy"), (61, "degraded"), (299, "degraded"), (301, "down")])
def test_pipelines_are_counted_by_their_delay(place: Place, api: Client, seconds: float, status: str) -> None:
    place.age("kraken", seconds)

    assert value(api, "pipelines", exchange="kraken", status=status) == 3


def test_what_never_happened_is_infinitely_old_and_never_healthy(place: Place, api: Client) -> None:
    Pipeline.objects.update(received_at=None)
    Worker.objects.update(stored_at=None, heartbeat_at=None)
    Watermark.objects.all().delete()

    found = scrape(api)

    ages = ("worker_freshness_seconds", "worker_heartbeat_age_seconds", "pipeline_delay_seconds_max")
    for name in ages:
        assert found[(f"marketmon_{name}", (("exchange", "kraken"),))] == float("inf")
    assert found[("marketmon_beat_lag_seconds", ())] == float("inf")
    assert found[("marketmon_pulse_lag_seconds", ())] == float("inf")
    assert found[("marketmon_metrics_collection_age_seconds", ())] == float("inf")
    assert found[("marketmon_pipelines", (("exchange", "kraken"), ("status", "healthy")))] == 0
    assert found[("marketmon_pipelines", (("exchange", "kraken"), ("status", "down")))] == 3


def test_without_a_database_nothing_of_it_is_there_and_it_is_said(place: Place, api: Client, monkeypatch: Any) -> None:
    def away(_: Any) -> Any:
        raise OperationalError("gone")

    monkeypatch.setattr(exposition, "pipeline_families", away)

    names = {name for name, _ in scrape(api)}

    of_no_database = {"component_up", "collection_enabled", "queue_depth", "build_info", "processes", "clocks_wrong"}
    assert names - {"marketmon_clock_ahead_seconds"} == {f"marketmon_{name}" for name in of_no_database}
    assert value(api, "component_up", component="database") == 0


def test_without_valkey_there_is_no_queue_depth(place: Place, api: Client, settings: Any) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:9/0"
    valkey._client.cache_clear()
    try:
        found = scrape(api)
    finally:
        valkey._client.cache_clear()

    assert found[("marketmon_component_up", (("component", "valkey"),))] == 0
    assert not [name for name, _ in found if name == "marketmon_queue_depth"]


def test_a_proof_that_never_came_is_infinitely_old_and_a_laptops_is_nobodys_business(
    place: Place, api: Client, settings: Any
) -> None:
    assert value(api, "restore_proven_age_seconds") is None
    settings.BACKUPS_ARE_EXPECTED = True
    assert value(api, "restore_proven_age_seconds") == float("inf")
    Watermark.objects.create(name="restore_proven", reached_at=place.now - timedelta(hours=14))
    assert value(api, "restore_proven_age_seconds") == pytest.approx(14 * 3600, abs=60)


def test_seconds_of_listening_are_no_duration_of_a_poll(place: Place, api: Client) -> None:
    listened = {"exchange_id": "kraken", "started_at": place.now, "transport": "stream", "outcome": "stored"}
    Run.objects.create(duration_ms=5242, **listened)
    assert value(api, "runs_5m", exchange="kraken", outcome="stored") == 1
    assert value(api, "run_duration_seconds", exchange="kraken", outcome="stored") is None

    Run.objects.create(exchange_id="kraken", started_at=place.now, duration_ms=250, outcome="stored")

    assert value(api, "run_duration_seconds", exchange="kraken", outcome="stored") == 0.25


def test_the_series_of_a_removed_exchange_end(place: Place, api: Client) -> None:
    Run.objects.create(exchange_id="kraken", started_at=place.now, duration_ms=250, outcome="stored")
    Exchange.objects.filter(pk="kraken").update(enabled=False, removed_at=place.now)

    assert not [labels for _, labels in scrape(api) if ("exchange", "kraken") in labels]


def test_a_stopped_exchange_is_not_wanted_and_has_no_pipelines(place: Place, api: Client) -> None:
    Exchange.objects.filter(pk="kraken").update(enabled=False)

    assert value(api, "worker_wanted", exchange="kraken") == 0
    assert value(api, "worker_status", exchange="kraken", status="stopped") == 1
    assert value(api, "pipelines", exchange="kraken", status="healthy") is None


def test_an_open_breaker_is_seen(place: Place, api: Client) -> None:
    Worker.objects.filter(pk="kraken").update(retry_at=place.now + timedelta(minutes=5), error_count=3)

    assert value(api, "breaker_open", exchange="kraken") == 1
    assert value(api, "breaker_open", exchange="binance") == 0
    assert value(api, "worker_consecutive_errors", exchange="kraken") == 3


def test_zero_is_said_where_zero_is_known(place: Place, api: Client) -> None:
    Tier.objects.get_or_create(name="gold", defaults={"rank": 9, "max_rows": 10})

    assert value(api, "rows_stored_5m", exchange="kraken") == 0
    assert value(api, "api_calls_today", tier="gold") == 0


# --- dashboards, alerts, workflow --------------------------------------------------------------------------------


def exported_names() -> set[str]:
    """Every name that the exposition can ever use, from its source."""
    source = "".join(Path(each.__file__).read_text() for each in (exposition, incident_series))
    return {f"marketmon_{name}" for name in re.findall(r'gauge\(\s*"([a-z0-9_]+)"', source)}


def test_every_name_of_the_source_is_really_exported(place: Place, api: Client, settings: Any, tmp_path: Path) -> None:
    settings.DATABASE_FOLDER, settings.BACKUPS_ARE_EXPECTED = str(tmp_path), True
    text = api.get("/metrics").content.decode()

    assert exported_names() == set(re.findall(r"# TYPE (marketmon_[a-z0-9_]+) gauge", text))


@pytest.mark.parametrize("path", sorted((DOCS / "grafana").glob("*.*")), ids=lambda path: path.name)
def test_dashboards_and_alerts_use_only_names_that_are_exported(path: Path) -> None:
    used = set(NAME.findall(path.read_text()))

    assert used <= exported_names()


def test_there_is_a_dashboard_and_every_panel_has_a_query() -> None:
    board = json.loads((DOCS / "grafana" / "dashboard.json").read_text())

    assert len(board["panels"]) >= 10
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    for panel in board["panels"]:
        assert panel["targets"]
        for target in panel["targets"]:
            assert NAME.search(target["expr"]), panel["title"]


def test_every_alert_says_how_bad_it_is_and_what_to_do() -> None:
    groups = yaml.safe_load((DOCS / "grafana" / "alerts.yml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]

    assert len(rules) >= 8
    for rule in rules:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(rule["annotations"]) == {"summary", "description"}


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool comes with Debian's package prometheus")
@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", str(DOCS / "grafana" / "prometheus.yml")),
        ("test", "rules", str(Path(__file__).with_name("alerts_test.yml"))),
    ],
    ids=["scrape configuration and rules", "alerts on made-up series"],
)
def test_prometheus_own_tool_agrees(arguments: Sequence[str]) -> None:
    answer = subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=60)

    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool comes with Debian's package prometheus")
def test_prometheus_own_tool_finds_nothing_to_say_about_the_exposition(place: Place, api: Client) -> None:
    body = api.get("/metrics").content

    answer = subprocess.run(["promtool", "check", "metrics"], input=body, capture_output=True, timeout=60)

    assert (answer.returncode, answer.stderr) == (0, b"")


def test_every_alert_is_tried_on_made_up_series_or_says_the_obvious() -> None:
    tried = Path(__file__).with_name("alerts_test.yml").read_text()
    rules = yaml.safe_load((DOCS / "grafana" / "alerts.yml").read_text())["groups"][0]["rules"]

    assert {rule["alert"] for rule in rules if rule["alert"] not in tried} == {"CollectionSwitchedOff"}


def test_the_workflow_calls_the_webhook_hourly_and_branches_on_errors() -> None:
    flow = json.loads((DOCS / "n8n" / "collect-metrics.json").read_text())
    nodes = {node["name"]: node for node in flow["nodes"]}
    kinds = {node["type"].removeprefix("n8n-nodes-base.") for node in flow["nodes"]}

    assert {"scheduleTrigger", "httpRequest", "if"} <= kinds
    request = next(node for node in flow["nodes"] if node["type"].endswith("httpRequest"))
    assert request["parameters"]["method"] == "POST"
    assert request["parameters"]["url"] == "={{ $json.url }}/metrics/collect"
    assert nodes["Where marketmon is"]["type"] == "n8n-nodes-base.set"
    assert "$env" not in json.dumps(flow)  # n8n 2 lets no node read the environment
    interval = next(node for node in flow["nodes"] if node["type"].endswith("scheduleTrigger"))
    assert interval["parameters"]["rule"]["interval"] == [{"field": "hours", "hoursInterval": 1}]
    for name, outputs in flow["connections"].items():
        assert name in nodes
        for branch in outputs["main"]:
            assert all(step["node"] in nodes for step in branch)
    decision = next(node["name"] for node in flow["nodes"] if node["type"].endswith(".if"))
    assert len(flow["connections"][decision]["main"]) == 2


# --- admin --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["collection", "series", "verdict", "exittransition", "notice", "grid"])
def test_every_list_in_the_admin_opens(place: Place, admin_client: Client, model: str) -> None:
    fill(place, admin_client)

    assert admin_client.get(f"/admin/metrics/{model}/").status_code == 200


def test_series_verdicts_and_grids_have_a_chart(place: Place, admin_client: Client) -> None:
    fill(place, admin_client)
    verdict = Verdict.objects.get()

    pages = [f"series/{verdict.series_id}", f"verdict/{verdict.pk}", "grid/g1"]

    for page in pages:
        answer = admin_client.get(f"/admin/metrics/{page}/change/")
        assert answer.status_code == 200
        assert b'class="chart"' in answer.content


def fill(place: Place, client: Client) -> None:
    place.candles(ranging(250))
    analysis.analyze(place.series(), now=place.now, source="test")
    client.post("/metrics/collect", {}, "application/json")
    grid = {
        "market": "BTC/USDT",
        "exchange": "binance",
        "grid_id": "g1",
        "price_range": {"lower_bound": 90, "upper_bound": 110},
        "grid_structure": {"levels": 5, "amount_per_grid": 1},
    }
    client.post("/grids/create", grid, "application/json")
    Verdict.objects.exclude(source="test").delete()


def test_scrapers_that_come_together_share_one_exposition(client: Client, db: None, monkeypatch: Any) -> None:
    read: list[int] = []
    facts = exposition.ExpositionFacts.from_database
    monkeypatch.setattr(exposition, "HELD_SECONDS", 1.0)
    monkeypatch.setattr(
        exposition.ExpositionFacts,
        "from_database",
        lambda self: read.append(1) or facts(self),  # type: ignore[func-returns-value]
    )
    exposition.forget()

    bodies = {client.get("/metrics").content for _ in range(5)}
    other = client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})

    exposition.forget()
    assert (len(bodies), len(read)) == (1, 2)
    assert other.content.endswith(b"# EOF\n")
