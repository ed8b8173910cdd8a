"""Telling in compressed time, to receivers that really listen: one that was down for half an hour, five hundred rounds
of outward heartbeats while something is broken, and Alertmanager itself."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from collectors.gaps.sweep import note_sweep
from collectors.models import Worker
from incidents import claims, heartbeat, messages, people
from incidents.addresses import opened
from incidents.channels import SENDERS
from incidents.models import Delivery, Incident
from incidents.rules.words import Level
from lib import clock
from tests.incidents.conftest import Story, make_channel, make_route, trouble
from tests.incidents.receivers import HttpReceiver, http_receiver, send_due
from tests.lab.conftest import Program
from tests.sandbox_client import free_port, wait_for_http
from tests.world import add_exchange

pytestmark = pytest.mark.timeout(1200)
MESSAGES = 60
DOWN = timedelta(minutes=30)
ROUNDS = 500
BREAKS = ("pulse", "rows", "overdue", "system")


@pytest.fixture(autouse=True)
def _to_this_machine(settings: Any) -> None:
    settings.ALLOW_PRIVATE_ALERT_URLS = True


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    with http_receiver() as one:
        yield one


def try_all(now: datetime) -> None:
    """What notifiers would do in the second that begins now: each message that is due is tried once."""
    while rows := claims.claim(most=32, busy=[], now=now):
        for row in rows:
            outcome = asyncio.run(SENDERS[row.channel.kind](messages.of(row, now), opened(row.channel)))
            claims.record(row, outcome, now)


def test_a_receiver_that_was_down_for_half_an_hour_is_told_within_a_minute(
    db: None, receiver: HttpReceiver, capsys: pytest.CaptureFixture[str]
) -> None:
    make_channel("ops", "webhook", receiver.url)
    make_route()
    story, chance = Story(), random.Random(7)
    receiver.status = 503
    opens_at = sorted(story.now + chance.random() * DOWN for _ in range(MESSAGES))
    began, back_at, seen = story.now, story.now + DOWN, 0
    while story.now < back_at + timedelta(seconds=60):
        story.now += timedelta(seconds=5)
        while seen < MESSAGES and opens_at[seen] <= story.now:
            seen += 1
            open_one(story, seen)
        receiver.status = 503 if story.now < back_at else 200
        try_all(story.now)

    rows = Delivery.objects.filter(event="opened")
    late = [(row.sent_at - max(back_at, row.due_at)).total_seconds() for row in rows if row.sent_at]
    say(capsys, f"{MESSAGES} messages, a receiver that was down for {(back_at - began).seconds // 60} min: {len(late)} "
                f"delivered, the last {max(late):.0f} s after it was back")  # fmt: skip
    assert len(late) == len(rows) == MESSAGES
    assert max(late) <= 60
    assert not rows.filter(is_repeat=True).exists()


def open_one(story: Story, number: int) -> None:
    people.open_one(by="anna", now=story.now, title=f"no. {number}", severity=Level.CRITICAL)


# --- heartbeats -----------------------------------------------------------------------------------------------------


def test_no_heartbeat_says_that_all_is_well_while_something_is_broken(
    db: None, receiver: HttpReceiver, settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each round breaks one part or more, or none; what arrives says which."""
    settings.HEARTBEAT_URL = receiver.url
    add_exchange("kraken", since=clock.now() - timedelta(hours=1))
    channel = make_channel()
    chance, wrong, counts = random.Random(11), [], Counter[str]()
    for number in range(ROUNDS):
        broken = set(chance.sample(BREAKS, chance.choice([0, 1, 1, 2, 3])))
        now = clock.now()
        arrange(broken, channel.pk, now)
        receiver.got.clear()
        asyncio.run(heartbeat.send(heartbeat.read(now)))
        (got,) = receiver.got
        is_fail = got.path.endswith("/fail")
        counts["broken" if broken else "well", "fail" if is_fail else "beat"] += 1  # type: ignore[index]
        if is_fail != bool(broken) or bool(got.body) != bool(broken):
            wrong.append((number, broken, got.path, got.body))
    say(capsys, f"{ROUNDS} rounds: {dict(counts)}")

    assert wrong == []


def arrange(broken: set[str], channel: int, now: datetime) -> None:
    old = now - timedelta(minutes=5)
    note_sweep(old if "pulse" in broken else now)
    Worker.objects.update(stored_at=old if "rows" in broken else now)
    Delivery.objects.all().delete()
    Incident.objects.all().delete()
    if "overdue" in broken:
        Delivery.objects.create(channel_id=channel, event="test", due_at=old, next_try_at=old, created_at=old)
    if "system" in broken:
        Incident.objects.create(
            key="system:worker", kind="system", cause="worker", severity="critical", title="No worker runs", since=old,
            opened_at=old,
        )  # fmt: skip


# --- Alertmanager ---------------------------------------------------------------------------------------------------

CONFIGURATION = """
route: {receiver: none}
receivers: [{name: none}]
"""


@pytest.fixture
def alertmanager(debian: Program, tmp_path: Path) -> Iterator[str]:
    program = debian("prometheus-alertmanager", "prometheus-alertmanager")
    (tmp_path / "am.yml").write_text(CONFIGURATION)
    port = free_port()
    command = [
        program, f"--config.file={tmp_path}/am.yml", f"--storage.path={tmp_path}/data", "--cluster.listen-address=",
        f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for_http(f"http://127.0.0.1:{port}/-/ready", seconds=60)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def test_alertmanager_has_one_alert_from_the_beginning_to_the_end(alertmanager: str, db: None) -> None:
    make_channel("ops", "alertmanager", alertmanager)
    make_route()
    story = Story(now=clock.now() - timedelta(seconds=90))
    story.see(trouble(is_alone=True, since=story.now))
    send_due()
    send_due()
    (alert,) = alerts(alertmanager, 1)
    assert alert["labels"]["alertname"] == "MarketmonIncident"
    assert alert["labels"]["severity"] == "critical"
    assert alert["annotations"]["summary"] == "kraken is unreachable"
    assert alert["status"]["state"] in ("active", "unprocessed")

    story.see(after=1)
    story.see(after=31)
    send_due()

    assert Incident.objects.get().ended_at is not None
    assert alerts(alertmanager, 0) == []
    assert {row.state for row in Delivery.objects.all()} == {"sent"}


def alerts(address: str, count: int) -> list[dict[str, Any]]:
    deadline = time.monotonic() + 60
    while True:
        found: list[dict[str, Any]] = requests.get(f"{address}/api/v2/alerts", timeout=10).json()
        if len(found) == count or time.monotonic() > deadline:
            return found
        time.sleep(0.2)


def say(capsys: pytest.CaptureFixture[str], text: str) -> None:
    with capsys.disabled():
        sys.stdout.write(f"\n{text}\n")
