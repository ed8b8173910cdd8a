"""What the pulse draws and the web hands out: only changed parts, never a stale picture, as few queries as ever."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from board import fragments, live, sparkline, tiles
from collectors import retention
from collectors.gaps import sweep
from collectors.models import Gap, Pipeline, Run, Stream, Switch, Transition, Watermark, Worker
from collectors.streaming.ownership import PROCESSES
from exchanges.models import Exchange, Market
from incidents.signs import health
from lib import clock, processes, queues, valkey
from tests.api.conftest import Fill, make_exchange, now, operator, world
from tests.board.boards import Browser, forget, forgetful, hear, look_again

__all__ = ["forgetful", "now", "operator", "world"]

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>"
QUERIES = 15  # thirteen of the signs, one of the incidents, one of the events


@pytest.fixture
def well(world: Fill, now: datetime, forgetful: None, monkeypatch: pytest.MonkeyPatch) -> datetime:
    """Two exchanges that deliver, with forty pipelines between them and no gap; no task waits."""
    world(40)
    valkey.client().flushdb()
    Gap.objects.all().delete()
    Pipeline.objects.update(gap_open=False)
    Transition.objects.all().delete()
    Run.objects.all().delete()
    for name in ("beat", "pulse"):
        Watermark.objects.create(name=name, reached_at=now)
    PROCESSES.say("a stream process", now=now.timestamp(), seconds=60)
    valkey.client().delete(processes.KEY)
    hear(monkeypatch)
    return now


def fail(exchange_id: str, now: datetime, *, error: str = "429 Too Many Requests") -> None:
    """As a cycle that was told to wait leaves the worker."""
    Worker.objects.filter(pk=exchange_id).update(
        error_count=1, last_outcome="throttled", last_error=error, retry_at=now + timedelta(seconds=30)
    )
    Run.objects.create(
        exchange_id=exchange_id, started_at=now + timedelta(seconds=1), duration_ms=20, outcome="throttled"
    )


def test_a_browser_is_sent_everything_once_and_then_nothing(operator: Client, well: datetime) -> None:
    browser = Browser(operator)
    live.publish(clock.now())

    first, second = browser.ask(), browser.ask()

    assert first is not None
    assert first["names"] == list(browser.parts)
    assert list(browser.parts)[:6] == ["verdict", "incidents", "moments", "health", "tile:binance", "tile:kraken"]
    assert "All 2 sources deliver" in browser.shows("verdict")
    assert second is None


def test_only_what_has_changed_is_sent(operator: Client, well: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = Browser(operator)
    live.publish(well)
    browser.ask()

    Worker.objects.filter(pk="kraken").update(stored_at=well + timedelta(seconds=1))
    live.publish(well)
    look_again(monkeypatch)
    answer = browser.ask()

    assert answer is not None
    assert answer["changed"].keys() - {"health"} == {"moments"}
    assert "names" not in answer


def test_a_failing_exchange_moves_to_the_front_and_the_others_are_not_sent_again(
    operator: Client, well: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = Browser(operator)
    live.publish(well)
    browser.ask()

    fail("kraken", well)
    live.publish(well + timedelta(seconds=2))
    look_again(monkeypatch)
    answer = browser.ask()

    assert answer is not None
    assert answer["changed"].keys() - {"health"} == {"verdict", "tile:kraken"}  # the database's speed is in it
    assert answer["names"][4:6] == ["tile:kraken", "tile:binance"]
    assert "1 of 2 sources degraded" in browser.shows("verdict")
    assert "rate-limited since" in browser.shows("tile:kraken")
    assert f'datetime="{clock.seconds_z(well + timedelta(seconds=1))}"' in browser.shows("tile:kraken")
    assert "next try" in browser.shows("tile:kraken")


def test_a_part_whose_values_are_the_same_is_not_rendered_again(well: datetime) -> None:
    first = fragments.render(tiles.read(well))
    second = fragments.render(tiles.read(well + timedelta(milliseconds=100)))

    assert {name for name in first if first[name] is not second[name]} <= {"health"}


def test_while_the_pulse_is_silent_the_web_draws_for_itself(
    operator: Client, well: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = Browser(operator)
    live.publish(clock.now() - timedelta(seconds=live.SILENCE_SECONDS))
    fail("kraken", well - timedelta(seconds=2))
    forget(monkeypatch)

    browser.ask()

    assert "1 of 2 sources degraded" in browser.shows("verdict")


def test_what_the_pulse_drew_less_than_three_seconds_ago_is_handed_out(operator: Client, well: datetime) -> None:
    live.publish(clock.now() - timedelta(seconds=1))
    fail("kraken", well)
    browser = Browser(operator)

    with CaptureQueriesContext(connection) as queries:
        browser.ask()

    assert "All 2 sources deliver" in browser.shows("verdict")
    assert len(queries) == 2  # session and user


def test_without_valkey_the_board_is_drawn_and_says_so(operator: Client, well: datetime, settings: object) -> None:
    valkey._client.cache_clear()
    settings.REDIS_URL = "unix:///nowhere/valkey.sock"  # type: ignore[attr-defined]
    browser = Browser(operator)
    try:
        browser.ask()
    finally:
        valkey._client.cache_clear()

    assert "All 2 sources deliver" in browser.shows("verdict")
    assert "poll: no answer" in browser.shows("health")


@pytest.mark.parametrize("count", [10, 1000])
def test_the_board_costs_the_same_queries_whatever_there_is(world: Fill, forgetful: None, count: int) -> None:
    world(count)
    live.draw(clock.now())  # the market list is read when it has changed

    with CaptureQueriesContext(connection) as queries:
        live.draw(clock.now())

    assert len(queries) == QUERIES


def test_what_a_hostile_exchange_says_stays_text(operator: Client, well: datetime) -> None:
    Exchange.objects.filter(pk="kraken").update(name=HOSTILE, transport="auto")
    Stream.objects.create(exchange_id="kraken", reason=HOSTILE)
    fail("kraken", well - timedelta(seconds=2), error=HOSTILE)
    Transition.objects.create(
        exchange_id="kraken", happened_at=well, from_status="running", to_status="error", reason=HOSTILE
    )
    Switch.objects.create(exchange_id="kraken", happened_at=well, to_transport="poll", reason=HOSTILE)
    Gap.objects.create(
        pipeline=Pipeline.objects.filter(market__exchange="kraken").first(), started_at=well, missed_count=1,
        cause="unknown", evidence=HOSTILE, detected_at=well,
    )  # fmt: skip
    browser = Browser(operator)
    browser.ask()

    page = operator.get("/board/").content.decode()
    for html in (page, *(html for _, html in browser.parts.values())):
        assert "<script>alert" not in html
        assert "<img" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in browser.shows("tile:kraken")
    assert browser.shows("timeline").count("&lt;script&gt;") == 2
    assert "&lt;script&gt;" in browser.shows("gaps")


def test_a_removed_exchange_leaves_the_board(operator: Client, well: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = Browser(operator)
    browser.ask()

    Exchange.objects.filter(pk="kraken").update(removed_at=well, enabled=False)
    look_again(monkeypatch)
    browser.ask()

    assert [name for name in browser.parts if name.startswith("tile:")] == ["tile:binance"]
    assert "The only source delivers" in browser.shows("verdict")


def test_a_listening_exchange_shows_the_transport_that_it_really_uses(well: datetime) -> None:
    Exchange.objects.update(transport="auto")
    soon = well + timedelta(seconds=9)
    Stream.objects.create(exchange_id="binance", is_delivering=True, held_until=soon)
    Stream.objects.create(exchange_id="kraken", is_delivering=False, held_until=soon, reason="no ticker for 6 s")

    binance, kraken = tiles.read(well).tiles

    assert (binance.transport, binance.transport_note) == ("stream", "")
    assert (kraken.transport, kraken.transport_note) == ("poll", "no ticker for 6 s")


def test_what_others_still_bring_is_counted_by_pair(well: datetime) -> None:
    mine = list(Market.objects.filter(exchange="kraken").order_by("id"))
    theirs = list(Market.objects.filter(exchange="binance").order_by("id"))
    for one, other in zip(mine[:3], theirs, strict=False):
        Market.objects.filter(pk=other.pk).update(base=one.base, quote=one.quote)
    Pipeline.objects.filter(market=theirs[0]).update(received_at=well - timedelta(seconds=61))
    fail("kraken", well)

    (clause,) = tiles.read(well + timedelta(seconds=2)).verdict.clauses

    assert clause.elsewhere is not None
    assert (clause.elsewhere.pairs, clause.elsewhere.sources) == (2, 1)


def test_rows_of_a_minute_are_drawn_when_the_minute_is_over(well: datetime) -> None:
    minute = well.replace(second=0, microsecond=0)
    for minutes_ago, rows, outcome in ((2, 30, "stored"), (1, 40, "stored"), (1, 0, "unreachable"), (0, 99, "stored")):
        Run.objects.create(
            exchange_id="kraken", started_at=minute - timedelta(minutes=minutes_ago), duration_ms=1, outcome=outcome,
            rows_stored=rows,
        )  # fmt: skip

    kraken = next(tile for tile in tiles.read(well).tiles if tile.exchange == "kraken")

    assert kraken.rows[-3:] == (0, 30, 40)
    assert kraken.error_percent == 25


def test_nothing_was_stored_draws_nothing() -> None:
    assert sparkline.sparkline([0, 0]) == ""
    assert sparkline.sparkline([0, 5, 10]) == "M0 20V20h1V10h1V0h1V20Z"


def test_collection_that_is_switched_off_is_not_healthy(well: datetime, settings: object) -> None:
    settings.COLLECTION_ENABLED = False  # type: ignore[attr-defined]

    verdict = tiles.read(well).verdict

    assert verdict.tone == "danger"
    assert verdict.claim.startswith("Nothing is collected: collection is switched off")


def test_a_new_exchange_is_unknown_until_it_brings_a_row(well: datetime) -> None:
    make_exchange("luno", well)
    Worker.objects.filter(pk="luno").update(stored_at=None, heartbeat_at=None)

    board = tiles.read(well)

    assert board.verdict.text().startswith("1 of 3 sources without data yet: luno waiting for its first row")
    assert board.tiles[0].condition.state == "unknown"


@pytest.mark.parametrize(
    ("dead", "words"),
    [
        ({"pulse": 31, "beat": 1}, "The pulse does not run"),
        ({"pulse": 1, "beat": 61}, "no poll is sent"),
        ({"pulse": 1, "beat": 1}, ""),
    ],
    ids=["pulse", "scheduler", "none"],
)
def test_a_process_that_is_dead_is_in_the_sentence_at_the_top(
    well: datetime, dead: dict[str, float], words: str
) -> None:
    """Its exchanges may deliver for a while yet, and a green board is not read any further."""
    for name, seconds in dead.items():
        Watermark.objects.update_or_create(name=name, defaults={"reached_at": well - timedelta(seconds=seconds)})

    board = tiles.read(well)

    assert board.verdict.tone == ("danger" if words else "success")
    html = fragments.render_anew(board)["verdict"].html
    assert (words or "sources deliver") in html
    assert ("What to do" in html) is bool(words)


def said(now: datetime) -> str:
    return fragments.render_anew(tiles.read(now))["verdict"].html


def test_a_missing_worker_is_one_cause_at_the_top(well: datetime) -> None:
    valkey.client().delete(processes.KEY)

    html = said(well)

    assert "No worker runs: nobody takes the polls of 2 exchanges" in html
    assert "0 processes" in fragments.render_anew(tiles.read(well))["health"].html


def test_a_clock_that_differs_is_named_at_the_top(well: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    hear(monkeypatch, "stream:elsewhere:7", clock.ClockState(-3600.0, True, False, False))

    assert "stream on elsewhere, 3600 s behind" in said(well)


def test_where_all_clocks_differ_alike_the_databases_host_is_named(
    well: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("worker:here:1", "beat:here:2"):
        hear(monkeypatch, name, clock.ClockState(3600.0, True, True, False))

    assert "PostgreSQL&#x27;s clock differs from every process" in said(well)


@pytest.mark.parametrize(("seconds", "told"), [(37.2, "37 s"), (3_000.0, "50 min"), (864_000.0, "240 h")])
def test_a_leap_of_the_databases_clock_is_said(
    well: datetime, monkeypatch: pytest.MonkeyPatch, seconds: float, told: str
) -> None:
    hear(monkeypatch, state=clock.ClockState(0.0, False, False, False, leapt_seconds=seconds))

    assert f"leapt ahead by {told}: nothing is deleted" in said(well)


@pytest.mark.parametrize(("waiting", "is_said"), [(10, False), (11, True)])
def test_a_queue_is_busy_by_what_is_in_it_whatever_its_priority(well: datetime, waiting: int, is_said: bool) -> None:
    for number in range(waiting):
        valkey.client().lpush(queues.KEYS["poll"][number % 4], b"a poll")
    try:
        board = tiles.read(well)
    finally:
        valkey.client().delete(*queues.KEYS["poll"])

    assert board.health.queues[0] == ("poll", waiting)
    assert board.health.is_queue_busy is is_said
    assert ("Tasks wait in the queue" in fragments.render_anew(board)["verdict"].html) is is_said


@pytest.mark.parametrize(("minutes", "is_said"), [(2, False), (14, False), (16, True)])
def test_rollups_that_do_not_follow_are_in_the_sentence_at_the_top(well: datetime, minutes: int, is_said: bool) -> None:
    Watermark.objects.create(name="rollups", reached_at=well - timedelta(minutes=minutes))

    board = tiles.read(well)

    assert board.verdict.tone == ("warning" if is_said else "success")
    assert ("Minutes are not rolled up" in fragments.render_anew(board)["verdict"].html) is is_said


def test_a_failing_source_says_what_can_be_done(well: datetime) -> None:
    fail("kraken", well)

    html = fragments.render_anew(tiles.read(well))["tile:kraken"].html

    assert "raise the interval" in html
    assert 'href="/admin/exchanges/exchange/kraken/change/"' in html


def test_only_a_sweep_shows_that_the_pulse_lives(well: datetime) -> None:
    """The upkeep of each minute runs on workers: it spoke for a dead pulse, and but half the time for a living one."""
    Watermark.objects.filter(name="pulse").delete()
    retention.settle_gaps(well)
    assert health.ask_processes()[0].pulse_at is None

    for seconds in (0, 1, 6, 10):
        sweep.run(well + timedelta(seconds=seconds))
    retention.settle_gaps(well + timedelta(seconds=60))

    assert health.ask_processes()[0].pulse_at == well + timedelta(seconds=6)


def test_a_clock_that_was_set_back_does_not_keep_a_dead_pulse_alive(well: datetime) -> None:
    sweep.note_sweep(well + timedelta(hours=1))

    sweep.note_sweep(well)

    assert health.ask_processes()[0].pulse_at == well


@pytest.mark.parametrize(
    ("seconds", "is_dead", "words"),
    [(None, True, "pulse never seen"), (31, True, 'data-newest="pulse"'), (3, False, 'data-newest="pulse"')],
    ids=["never", "long ago", "just now"],
)
def test_a_pulse_that_is_dead_is_seen_on_the_board(
    well: datetime, seconds: float | None, is_dead: bool, words: str
) -> None:
    """Without it no gap is opened, and a board that is drawn without it looks as well as ever."""
    Watermark.objects.all().delete()
    Watermark.objects.create(name="beat", reached_at=well)
    if seconds is not None:
        sweep.note_sweep(well - timedelta(seconds=seconds))

    board = tiles.read(well)

    assert board.health.is_pulse_dead is is_dead
    html = fragments.render_anew(board)["health"].html
    assert words in html
    assert ("bd-bad" in html.partition("<dt>scheduler</dt>")[0].rpartition("<div")[2]) is is_dead


def test_every_answer_tells_the_servers_clock(operator: Client, well: datetime) -> None:
    """A browser counts "ago" from it, so that a viewer's wrong clock makes nothing look older or newer."""
    page = operator.get("/board/").content.decode()
    whole = operator.get("/board/live/")
    nothing = operator.get("/board/live/", {"order": live.current().order, "have": _hashes()})

    assert 'data-server-now="20' in page
    assert nothing.status_code == 304
    for answer in (whole, nothing):
        told = datetime.fromisoformat(answer.headers["Server-Now"])
        assert abs((told - clock.now()).total_seconds()) < 60


def _hashes() -> str:
    return "".join(part.hash for part in live.current().parts.values())
