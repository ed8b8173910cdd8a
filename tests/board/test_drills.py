"""Drills on a sandbox: what is broken is noticed, shown and overcome, and nothing real is ever broken."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.urls import reverse

from board import live
from board.drills import faults, observations, runner
from board.drills.faults import FAULTS, CollectionPace
from board.models import Drill, DrillState
from board.tiles import Tile
from collectors.history import partitions
from collectors.models import Worker
from collectors.polling import poll
from exchanges.models import SANDBOX_PLACEHOLDER, AuditEntry, Exchange
from incidents.rules.conditions import Condition, SourceState
from lib import clock
from marketmon import pulse
from operations import commands
from operations.commands import CommandRefused
from tests.sandbox_client import Sandbox, free_port

BEGUN = datetime(2026, 3, 4, 12, tzinfo=UTC)
PATIENCE = timedelta(seconds=60)
INTERVAL_SECONDS = 0.5


# --- judging -------------------------------------------------------------------------------------------------------


def drill_of(**moments: float) -> Drill:
    """Half a minute from BEGUN; moments are seconds after it."""
    drill = Drill(exchange_id="kraken", symbol="BTC/USD", fault="html", seconds=30, started_at=BEGUN)
    for name, seconds in moments.items():
        setattr(drill, name, BEGUN + timedelta(seconds=seconds))
    return drill


VERDICTS: dict[str, tuple[dict[str, float], float, str | None]] = {
    "nothing yet": ({}, 20, None),
    "nothing, and the patience just lasts": ({}, 89.9, None),
    "nothing, and it is over": ({}, 90, "Never noticed: nothing in the database tells of the fault."),
    "detected only": ({"detected_at": 5}, 90, "Detected, and never shown to readers."),
    "not healed yet": ({"detected_at": 5, "shown_at": 6, "lifted_at": 30}, 89, None),
    "never healed": (
        {"detected_at": 5, "shown_at": 6, "lifted_at": 30},
        90,
        "Not well again 60 s after the fault's end.",
    ),
    "just in time": (
        {"detected_at": 5, "shown_at": 8, "lifted_at": 30, "healed_at": 42},
        43,
        "Detected after 5.0 s, shown 3.0 s later, well again 12.0 s after the fault's end.",
    ),
    "shown late": (
        {"detected_at": 5, "shown_at": 8.1, "lifted_at": 30, "healed_at": 42},
        43,
        "Shown only 3.1 s after it was detected; 3 s are allowed.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", VERDICTS)
def test_a_drill_is_judged_by_its_moments(name: str):
    moments, seconds, verdict = VERDICTS[name]

    outcome = runner.judge(drill_of(**moments), BEGUN + timedelta(seconds=seconds), patience=PATIENCE)

    assert (outcome and outcome.verdict) == verdict
    if outcome:
        assert outcome.state == (DrillState.PASSED if name == "just in time" else DrillState.FAILED)


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [("html", 13), ("hang", 21), ("missing", 33), ("silent-stream", 9)],
    ids=lambda value: str(value),
)
def test_a_fault_must_last_until_it_is_noticed_for_sure(fault: str, seconds: float):
    pace = CollectionPace(interval_seconds=10, deadline_seconds=8, stream_silence_seconds=6)

    assert faults.least_seconds(fault, pace) == seconds


def test_every_fault_is_one_that_the_sandbox_knows(sandbox: Sandbox):
    orders = [faults.order(name, exchange="kraken", symbol="BTC/USD", seconds=0.1) for name in FAULTS]

    numbers = {sandbox.fault(**order) for order in orders}

    assert len(numbers) == len(FAULTS)


TROUBLES: dict[str, tuple[dict[str, Any], bool, str]] = {
    "all is well": ({}, False, ""),
    "degraded": ({"condition": Condition("kraken", SourceState.DEGRADED, "unreachable", BEGUN)}, False, "degraded"),
    "down": ({"condition": Condition("kraken", SourceState.DOWN, "silent", BEGUN)}, False, "down"),
    "a silent market": ({"open_gaps": 2}, False, "2 silent"),
    "polled as ever": ({"transport": "poll"}, False, ""),
    "polled though a stream is wanted": ({"transport": "poll", "transport_note": "no ticker"}, True, "transport poll"),
    "listened to": ({"transport": "stream"}, True, ""),
}


@pytest.mark.parametrize("name", TROUBLES)
def test_a_tile_that_is_not_well_says_what_is_wrong(name: str):
    values, is_streamed, words = TROUBLES[name]
    well = Tile(
        exchange="kraken", name="Kraken", condition=Condition("kraken", SourceState.DELIVERS), next_try_at=None,
        fresh=3, markets=3, error_percent=0, transport="poll", transport_note="", is_simulated=True,
        is_blacklisted=False, open_gaps=0, rows=(1, 2, 3),
    )  # fmt: skip

    assert observations.trouble(replace(well, **values), is_streamed=is_streamed) == words


# --- in a running system -------------------------------------------------------------------------------------------


@pytest.fixture
def kraken(sandbox: Sandbox, transactional_db: None, settings: Any, monkeypatch: Any) -> Iterator[Exchange]:
    """Simulated, polled twice a second, and well."""
    settings.ALLOW_PRIVATE_EXCHANGE_URLS = True
    settings.BREAKER_PAUSE_MAX_SECONDS = settings.STREAM_BACKOFF_MAX_SECONDS = 1.0
    settings.POLL_DEADLINE_SECONDS = 2.0
    monkeypatch.setattr(faults, "SLACK_SECONDS", 0.5)
    partitions.ensure(clock.now())
    commands.create(
        "kraken", by="test", now=clock.now(), base_url=SANDBOX_PLACEHOLDER, poll_interval_seconds=INTERVAL_SECONDS
    )
    assert poll.collect_once("kraken", now=clock.now()) == "stored"
    return Exchange.objects.get(pk="kraken")


@pytest.fixture
def collecting(kraken: Exchange) -> Iterator[None]:
    """What beat, a worker and the pulse do, in a thread."""
    is_over = threading.Event()

    def work() -> None:
        while not is_over.is_set():
            poll.collect_once(kraken.pk, now=clock.now())
            pulse.tick()
            is_over.wait(INTERVAL_SECONDS / 2)
        connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    yield
    is_over.set()
    thread.join()


@pytest.mark.parametrize("fault", ["server-error", "rate-limited"])  # `make lab` has the others
def test_what_is_broken_is_detected_shown_and_healed(fault: str, collecting: None):
    check_drill(fault)


def check_drill(fault: str) -> None:
    said = StringIO()

    call_command("drill", fault, "kraken", "BTC/USD", seconds=2.5, stdout=said)

    drill = Drill.objects.get()
    assert drill.state == DrillState.PASSED, drill.verdict
    assert drill.started_at < drill.detected_at <= drill.shown_at
    assert drill.lifted_at < drill.healed_at
    told = [line.split()[2] for line in said.getvalue().splitlines()[1:-1]]
    assert sorted(told) == ["detected", "healed", "lifted", "shown"]
    assert f"passed: {drill.verdict}" in said.getvalue()


def test_who_was_sent_a_board_from_before_the_fault_has_not_been_told_of_it(kraken: Exchange):
    pulse.publish(clock.now())
    drill = Drill(exchange=kraken, symbol="BTC/USD", fault="server-error", seconds=30, started_at=clock.now())
    Worker.objects.filter(pk="kraken").update(error_count=1, last_outcome="unreachable", last_error="503")
    assert live.current().taken_at < drill.started_at

    before = observations.showing(drill)
    pulse.publish(clock.now())

    assert before is None
    assert _comes(lambda: observations.showing(drill) is not None, seconds=1)
    assert observations.showing(drill).words == "the board's tile: degraded"


def test_a_drill_that_nobody_notices_fails_the_command(kraken: Exchange, settings: Any, monkeypatch: Any):
    monkeypatch.setattr(runner, "GRACE_SECONDS", 0.0)
    settings.BREAKER_PAUSE_MAX_SECONDS = settings.STREAM_BACKOFF_MAX_SECONDS = settings.POLL_DEADLINE_SECONDS = 0.1

    with pytest.raises(CommandError, match="the drill failed"):
        call_command("drill", "html", "kraken", seconds=1.0, stdout=StringIO())  # nobody polls

    assert Drill.objects.get().verdict.startswith("Never noticed")


def test_the_pulse_goes_on_with_a_drill_whose_starter_has_died(collecting: None):
    drill = runner.start("server-error", "kraken", seconds=1.5, now=clock.now())

    assert _comes(lambda: not Drill.objects.filter(state=DrillState.RUNNING).exists())

    drill.refresh_from_db()
    assert drill.state == DrillState.PASSED, drill.verdict


def _comes(is_so: Callable[[], bool], seconds: float = 60.0) -> bool:
    pause = threading.Event()
    give_up_at = clock.now() + timedelta(seconds=seconds)
    while not is_so():
        if clock.now() > give_up_at:
            return False
        pause.wait(0.1)
    return True


# --- refusals ------------------------------------------------------------------------------------------------------


def refusal(*arguments: str, **details: Any) -> str:
    with pytest.raises(CommandRefused) as refused:
        runner.start(*arguments, now=clock.now(), **details)
    return str(refused.value)


def test_what_is_real_is_never_broken(kraken: Exchange, sandbox: Sandbox):
    Exchange.objects.update(base_url="")

    assert "is a real exchange" in refusal("html", "kraken")
    assert not Drill.objects.exists()
    assert not AuditEntry.objects.filter(verb="drill").exists()


def test_a_drill_that_would_prove_nothing_is_refused(kraken: Exchange, sandbox: Sandbox):
    assert "There is no exchange nobody" in refusal("html", "nobody")
    assert "There is no fault earthquake" in refusal("earthquake", "kraken")
    assert "kraken is polled" in refusal("silent-stream", "kraken")
    assert "has no DOGE/XXX" in refusal("html", "kraken", symbol="DOGE/XXX")
    assert "must last 1 to 3600 s" in refusal("html", "kraken", seconds=0.5)
    sandbox.fault("kraken", "html")
    assert _comes(lambda: poll.collect_once("kraken", now=clock.now()) == "bad_reply")
    assert "kraken is not well now (running, with 1 errors)" in refusal("html", "kraken")


def test_one_drill_at_a_time_on_an_exchange(kraken: Exchange):
    runner.start("html", "kraken", now=clock.now())

    assert "A drill is running on kraken already" in refusal("cut", "kraken")
    assert Drill.objects.count() == 1


def test_without_a_sandbox_nothing_is_broken_and_nothing_is_noted(kraken: Exchange, settings: Any):
    settings.SANDBOX_URL = f"http://127.0.0.1:{free_port()}"

    assert "Nothing was broken: no sandbox answers at" in refusal("html", "kraken")
    assert not Drill.objects.exists()
    assert not AuditEntry.objects.filter(verb="drill").exists()


# --- the pages -----------------------------------------------------------------------------------------------------


def browser(name: str, *permissions: str) -> Client:
    user = User.objects.create_user(name, password="x", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


def test_an_operator_starts_and_stops_a_drill_and_both_are_known(kraken: Exchange, sandbox: Sandbox):
    operator = browser("ann", "view_drill", "add_drill")

    answer = operator.post(
        reverse("board-drill-start"), {"exchange": "kraken", "fault": "html"}, headers={"HX-Request": "true"}
    )
    drill = Drill.objects.get()
    assert "Stop and lift the fault" in answer.content.decode()
    assert _comes(lambda: poll.collect_once("kraken", now=clock.now()) == "bad_reply")

    operator.post(reverse("board-drill-stop", args=[drill.pk]))

    drill.refresh_from_db()
    assert (drill.state, drill.verdict) == (DrillState.FAILED, "Stopped by ann.")
    assert _comes(lambda: poll.collect_once("kraken", now=clock.now()) == "stored")
    assert AuditEntry.objects.get(verb="drill").who == "ann"


def test_a_refusal_is_told_in_words(kraken: Exchange):
    operator = browser("ann", "view_drill", "add_drill")

    for seconds, words in (("0.2", "must last"), ("soon", "no number of seconds")):
        answer = operator.post(
            reverse("board-drill-start"),
            {"exchange": "kraken", "fault": "html", "seconds": seconds},
            headers={"HX-Request": "true"},
        )
        assert words in answer.content.decode()


def test_who_may_only_look_sees_drills_and_no_buttons(kraken: Exchange):
    runner.start("html", "kraken", now=clock.now())
    viewer = browser("eve", "view_drill")

    page = viewer.get(reverse("board-drills")).content.decode()

    assert "html" in page
    assert "Start drill" not in page
    assert "Stop and lift" not in page
    assert viewer.post(reverse("board-drill-start"), {"exchange": "kraken", "fault": "html"}).status_code == 403
    assert viewer.post(reverse("board-drill-stop", args=[Drill.objects.get().pk])).status_code == 403


def test_the_history_costs_the_same_for_any_number_of_drills(kraken: Exchange, django_assert_max_num_queries: Any):
    moment = clock.now()
    Drill.objects.bulk_create(
        Drill(
            exchange=kraken, symbol="BTC/USD", fault="html", seconds=30, state=DrillState.PASSED,
            started_at=moment - timedelta(minutes=number),
        )
        for number in range(30)
    )  # fmt: skip
    operator = browser("ann", "view_drill", "add_drill")

    with django_assert_max_num_queries(12):
        page = operator.get(reverse("board-drills"))

    assert page.content.decode().count('data-label="result"') == 30
