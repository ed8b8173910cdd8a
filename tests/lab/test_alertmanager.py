"""A real Alertmanager, with the example's configuration: drills, incidents and ends reach the receivers it names."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from incidents import drills
from incidents.models import Delivery
from lib import clock
from lib.home import PROJECT_DIR
from tests.incidents.conftest import Story, make_channel, make_route, trouble
from tests.incidents.receivers import HttpReceiver, http_receiver, send_due
from tests.lab.conftest import Program

EXAMPLE = PROJECT_DIR / "docs" / "grafana" / "alertmanager.yml"
PATIENCE_SECONDS = 120


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    with http_receiver() as one:
        yield one


@pytest.fixture
def alertmanager(debian: Program, receiver: HttpReceiver, tmp_path: Path) -> Iterator[str]:
    """The example, whose receivers are ours and whose pauses are short; the address of a running server."""
    program = debian("prometheus-alertmanager", "prometheus-alertmanager")
    config = yaml.safe_load(EXAMPLE.read_text())
    config["route"] |= {"group_wait": "1s", "group_interval": "2s"}
    for each in config["receivers"]:
        each["webhook_configs"][0]["url"] = receiver.url.replace("/hook", f"/{each['name']}")
    (tmp_path / "alertmanager.yml").write_text(yaml.safe_dump(config))
    with http_receiver() as free:  # a port that is free when this block is left
        port = int(free.url.split(":")[2].split("/")[0])
    process = subprocess.Popen(
        [program, f"--config.file={tmp_path / 'alertmanager.yml'}", f"--storage.path={tmp_path / 'data'}",
         f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        _wait(lambda: _answers(f"http://127.0.0.1:{port}/-/ready"), "Alertmanager is not ready")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _wait(is_so: Any, what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


def _got(receiver: HttpReceiver, name: str, status: str) -> list[dict[str, Any]]:
    bodies = [json.loads(each.body) for each in receiver.got if each.path == f"/{name}"]
    return [alert for body in bodies for alert in body["alerts"] if alert["status"] == status]


@pytest.mark.parametrize(
    ("labels", "name"),
    [
        ({"severity": "warning", "alertname": "ExchangeStale"}, "ops"),
        ({"severity": "critical", "alertname": "ExchangeStale"}, "pager"),
        ({"severity": "critical", "drill": "true"}, "drills"),
    ],
)
def test_the_examples_routes_lead_where_it_says(debian: Program, labels: dict[str, str], name: str) -> None:
    amtool = debian("amtool", "prometheus-alertmanager")
    checked = subprocess.run([amtool, "check-config", str(EXAMPLE)], capture_output=True, text=True, timeout=60)
    words = [f"{key}={value}" for key, value in labels.items()]
    routed = subprocess.run(
        [amtool, "config", "routes", "test", "--config.file", str(EXAMPLE), *words],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip

    assert (checked.returncode, checked.stderr) == (0, "")
    assert routed.stdout.strip() == name


def test_incidents_and_drills_arrive_through_a_real_alertmanager(
    alertmanager: str, receiver: HttpReceiver, db: None, settings: Any
) -> None:
    settings.ALLOW_PRIVATE_ALERT_URLS = True
    make_channel("ops", "alertmanager", alertmanager)
    route = make_route()
    story = Story(now=clock.now())
    story.see(trouble(is_alone=True, since=story.now))
    drills.start(route, by="anna", now=clock.now())
    send_due()
    assert {row.state for row in Delivery.objects.all()} == {"sent"}
    _wait(lambda: _got(receiver, "pager", "firing"), "no incident arrived")
    _wait(lambda: _got(receiver, "drills", "firing"), "no drill arrived")

    story.see(after=1)
    story.see(after=31)
    Delivery.objects.filter(state="queued").update(next_try_at=clock.now())
    send_due()
    _wait(lambda: _got(receiver, "pager", "resolved"), "no end arrived")
    (fired, *_) = _got(receiver, "pager", "firing")
    (over, *_) = _got(receiver, "pager", "resolved")

    assert over["fingerprint"] == fired["fingerprint"]
    assert not _got(receiver, "ops", "firing")
