"""What becomes of incidents over time, and who is told of it: one message for one cause."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from incidents import maintenance, outbox
from incidents.models import AlertRoute, Delivery, Incident, IncidentEntry, Maintenance
from incidents.rules.words import Level
from tests.incidents.conftest import START, Story, make_channel, make_route, trouble

WORKER, KRAKEN, BINANCE = "system:worker", "exchange:kraken", "exchange:binance"


def test_a_trouble_is_one_incident_however_often_it_is_seen(story: Story, route: AlertRoute) -> None:
    for _ in range(60):
        story.see(trouble())

    assert Incident.objects.count() == 1
    assert story.due() == [f"opened {KRAKEN}"]


def test_what_nothing_explains_is_told_after_fifteen_seconds_and_at_once_when_it_is_alone(
    story: Story, route: AlertRoute
) -> None:
    story.see(trouble(), trouble("exchange:luno", is_alone=True))
    assert story.due() == ["opened exchange:luno"]

    story.see(trouble(), trouble("exchange:luno", is_alone=True), after=15)
    assert story.due() == [f"opened {KRAKEN}"]


def test_a_hung_worker_is_one_incident_with_five_exchanges(story: Story, route: AlertRoute) -> None:
    names = [f"exchange:{name}" for name in ("binance", "coinbase", "kraken", "luno", "valr")]
    silent = [trouble(name, cause="silent", explained_by=[WORKER]) for name in names]
    story.see(trouble(WORKER))
    for _ in range(40):
        story.see(trouble(WORKER), *silent)

    root = Incident.objects.get(parent__isnull=True)
    assert (root.key, root.children.count()) == (WORKER, 5)
    assert story.due() == [f"opened {WORKER}"]


def test_a_cause_that_shows_within_fifteen_seconds_takes_what_it_explains(story: Story, route: AlertRoute) -> None:
    silent = trouble(cause="silent", explained_by=[WORKER])
    story.see(silent)
    story.see(silent, trouble(WORKER), after=14)
    story.see(silent, trouble(WORKER), after=10)

    assert Incident.objects.get(key=KRAKEN).parent.key == WORKER
    assert story.due() == [f"opened {WORKER}"]
    assert Delivery.objects.get(incident__key=KRAKEN).state == "expired"


def test_a_cause_that_shows_later_is_told_apart(story: Story, route: AlertRoute) -> None:
    silent = trouble(explained_by=[WORKER])
    story.see(silent)
    story.see(silent, trouble(WORKER), after=20)

    assert Incident.objects.filter(parent__isnull=True).count() == 2


def test_what_lasts_after_its_cause_is_over_is_told_then(story: Story, route: AlertRoute) -> None:
    child = trouble(explained_by=[WORKER])
    story.see(trouble(WORKER), child)
    story.due()
    for _ in range(8):
        story.see(child, after=10)
    assert story.due() == [f"healed {WORKER}"]
    for _ in range(5):
        story.see(child, after=10)

    assert story.due() == [f"opened {KRAKEN}"]
    assert Incident.objects.get(key=KRAKEN).parent is None


def test_what_a_cause_brings_about_after_it_is_over_is_part_of_it(story: Story, route: AlertRoute) -> None:
    story.see(trouble("system:valkey"))
    story.due()
    for _ in range(6):
        story.see(trouble("system:streams", explained_by=["system:valkey"]), after=5)
    for _ in range(5):
        story.see(after=20)

    assert story.due() == ["healed system:valkey"]
    assert Incident.objects.get(key="system:streams").parent.key == "system:valkey"


def test_another_fault_under_a_cause_that_is_watched_is_told_at_once(story: Story, route: AlertRoute) -> None:
    story.see(trouble(WORKER), trouble(cause="silent", explained_by=[WORKER]))
    story.due()
    story.see(after=5)
    story.see(trouble(cause="unreachable"), after=5)

    assert story.due() == [f"opened {KRAKEN}"]


def test_it_ends_when_its_signs_went_and_its_end_is_told_to_those_who_were_told(
    story: Story, route: AlertRoute
) -> None:
    story.see(trouble(is_alone=True))
    story.due()
    story.see()
    gone_at = story.now
    assert Incident.objects.get().state == "monitoring"
    story.see(after=30)

    incident = Incident.objects.get()
    assert (incident.state, incident.ended_at) == ("resolved", gone_at)
    assert story.due() == [f"healed {KRAKEN}"]


def test_what_is_over_before_it_was_told_is_told_to_nobody(story: Story, route: AlertRoute) -> None:
    story.see(trouble())
    story.see(after=5)
    story.see(after=31)

    assert Incident.objects.get().ended_at is not None
    assert story.due() == []
    assert {row.state for row in Delivery.objects.all()} == {"expired"}


def test_missing_input_ends_nothing(story: Story, route: AlertRoute) -> None:
    story.see(trouble())
    for _ in range(10):
        story.see(after=60, unknown=[KRAKEN])

    assert Incident.objects.get().quiet_since is None


@pytest.mark.parametrize(("down", "up"), [(45, 45), (90, 90), (20, 70)])
def test_flapping_every_ninety_seconds_for_an_hour_is_three_messages_at_most(
    story: Story, route: AlertRoute, down: int, up: int
) -> None:
    for _ in range(3600 // (down + up)):
        for second in range(0, down + up, 5):
            story.see(*([trouble(is_alone=True)] if second < down else []), after=5)
            story.due()

    assert 1 <= len(story.told) <= 3
    assert Incident.objects.count() == 1
    assert "flapping" in {entry.kind for entry in IncidentEntry.objects.all()}

    for _ in range(150):
        story.see(after=5)
    assert Incident.objects.get().ended_at is not None


def test_more_markets_are_no_news_and_worse_is(story: Story, route: AlertRoute) -> None:
    key = "markets:kraken"
    for dead in range(1, 401, 20):
        story.see(trouble(key, severity=Level.WARNING, affected=dead, is_alone=True))
    assert story.due() == [f"opened {key}"]

    story.see(trouble(key, severity=Level.CRITICAL, affected=400))
    assert story.due() == [f"grew {key}"]
    assert Incident.objects.get().affected == 400


def test_planned_work_keeps_the_timeline_and_tells_nobody(story: Story, route: AlertRoute) -> None:
    Maintenance.objects.create(
        reason="move", starts_at=START, ends_at=START + timedelta(hours=1), expires_at=START + timedelta(hours=1)
    )
    story.see(trouble(is_alone=True))
    for _ in range(10):
        story.see(trouble(is_alone=True), after=60)
    assert story.due() == []
    story.see(after=10)
    story.see(after=40)

    assert [entry.kind for entry in IncidentEntry.objects.order_by("pk")] == [
        "opened", "maintenance", "quiet", "healed",
    ]  # fmt: skip
    story.now = START + timedelta(hours=2)
    assert story.due() == []


def test_what_lasts_longer_than_planned_work_is_told_at_its_end(story: Story, route: AlertRoute) -> None:
    Maintenance.objects.create(
        reason="move", exchanges=["kraken"], starts_at=START, ends_at=START + timedelta(hours=1),
        expires_at=START + timedelta(hours=1),
    )  # fmt: skip
    story.see(trouble(is_alone=True), trouble(BINANCE, is_alone=True))
    assert story.due() == [f"opened {BINANCE}"]

    story.see(trouble(), trouble(BINANCE), after=3600)
    assert story.due() == [f"opened {KRAKEN}"]


def test_a_rule_repeats_planned_work_by_the_clock_of_its_zone(story: Story) -> None:
    Maintenance.objects.create(
        reason="weekly", starts_at=START, ends_at=START + timedelta(hours=1), rrule="FREQ=WEEKLY", zone="Europe/Berlin",
        expires_at=START + timedelta(days=200),
    )  # fmt: skip
    in_summer = START + timedelta(days=7 * 20)  # the same hour there is an hour earlier by UTC

    assert maintenance.covered_until([], now=START + timedelta(days=7, minutes=5)) is not None
    assert maintenance.covered_until([], now=START + timedelta(days=6)) is None
    assert maintenance.covered_until([], now=in_summer + timedelta(minutes=5)) is None
    assert maintenance.covered_until([], now=in_summer - timedelta(minutes=55)) is not None


def test_routes_choose_by_exchange_severity_and_step(story: Story, db: None) -> None:
    for name in ("ops", "boss", "night"):
        make_channel(name, address=f"{name}@example.com")
    make_route(
        "kraken", exchanges=["kraken"], steps=[{"channels": ["ops"]}, {"after_seconds": 900, "channels": ["boss"]}]
    )
    make_route("small", severities=["info"], steps=[{"channels": ["night"]}])
    story.see(trouble(is_alone=True), trouble(BINANCE, is_alone=True))

    rows = Delivery.objects.order_by("pk").select_related("channel")
    assert [(row.channel.name, (row.due_at - story.now).total_seconds()) for row in rows] == [("ops", 0), ("boss", 900)]


def test_nothing_new_costs_one_query(story: Story, route: AlertRoute) -> None:
    story.see(trouble())
    with CaptureQueriesContext(connection) as queries:
        story.see(trouble())

    assert len(queries) == 1


def test_a_pause_lets_timers_stand_still(story: Story, db: None) -> None:
    make_channel()
    make_route(steps=[{"after_seconds": 600, "channels": ["ops"]}])
    story.see(trouble(is_alone=True))
    incident = Incident.objects.get()
    story.now += timedelta(seconds=300)
    outbox.stand_still(incident, until=story.now + timedelta(hours=1), now=story.now)

    story.now += timedelta(hours=1, seconds=299)
    assert story.due() == []
    story.now += timedelta(seconds=2)
    assert story.due() == [f"opened {KRAKEN}"]


def test_what_is_found_by_its_effect_is_told_after_what_may_be_behind_it(story: Story, route: AlertRoute) -> None:
    polls = trouble("system:polls", cause="polls", explained_by=["system:queue"])
    queue = trouble("system:queue", cause="queue", explained_by=["system:polls"])
    story.see(polls)
    for _ in range(5):
        story.see(polls, queue, after=5)

    assert story.due() == ["opened system:polls"]
    assert Incident.objects.get(key="system:queue").parent.key == "system:polls"


def test_a_network_that_is_gone_explains_streams_that_are(story: Story, route: AlertRoute) -> None:
    line = trouble("line:direct")
    streams = trouble("system:streams", cause="streams", explained_by=["line:direct"])
    story.see(line, streams)
    for _ in range(4):
        story.see(line, streams, after=5)

    assert story.due() == ["opened line:direct"]


def test_what_another_cause_explains_by_now_changes_its_place_and_is_told_to_nobody(
    story: Story, route: AlertRoute
) -> None:
    story.see(trouble("line:proxy"), trouble(explained_by=["line:proxy"]))
    failed = trouble(cause="failed", explained_by=["system:disk"])
    story.see(trouble("line:proxy"), trouble("system:disk"), failed, after=60)
    story.see(trouble("line:proxy"), trouble("system:disk"), failed, after=60)

    assert story.due() == ["opened line:proxy", "opened system:disk"]
    assert Incident.objects.get(key=KRAKEN).parent.key == "system:disk"
