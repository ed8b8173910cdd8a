"""What anybody may know: the public page and its JSON."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from board import incidents, public, status_page, uptime
from board.uptime import Count
from collectors.history import partitions
from collectors.models import Coverage, Pipeline, Transition, Worker
from exchanges.models import SANDBOX_PLACEHOLDER, Exchange, Market
from incidents.models import Incident, IncidentEntry, Maintenance
from lib import clock

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
Add = Callable[..., Worker]


@pytest.fixture
def now(db: None) -> datetime:
    moment = clock.now()
    partitions.ensure(moment)
    return moment


@pytest.fixture
def add(now: datetime) -> Add:
    """An exchange that runs, with the named facts of its worker replaced."""

    def one(exchange_id: str, *, markets: int = 0, silent: int = 0, simulated: bool = False, **facts: object) -> Worker:
        exchange = Exchange.objects.create(
            id=exchange_id, name=exchange_id.title(), base_url=SANDBOX_PLACEHOLDER if simulated else ""
        )
        worker = Worker(
            exchange=exchange, resumed_at=now - DAY, status_since=now - DAY, heartbeat_at=now, stored_at=now,
            symbols_tracked=markets, status="running", last_error="HTTP 418 from 10.1.2.3: key abc is wrong",
        )  # fmt: skip
        for name, value in facts.items():
            setattr(worker, name, value)
        worker.save()
        for number in range(markets):
            market = Market.objects.create(
                exchange=exchange, symbol=f"C{number}/USD", base=f"C{number}", quote="USD", kind="spot",
                venue_id=str(number), source=exchange_id, listed_at=now - DAY,
            )  # fmt: skip
            Pipeline.objects.create(market=market, received_at=now, expected_seconds=10, gap_open=number < silent)
        return worker

    return one


def fail(worker: Worker) -> None:
    worker.error_count = 3
    worker.save()


# --- uptime ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expected", "stored", "words", "level"),
    [
        (0, 0, "no data", "none"),
        (1_000_000, 1_000_000, "100 %", "full"),
        (1_000_000, 999_999, "99.99 %", "full"),
        (1000, 995, "99.50 %", "full"),
        (10_000, 9949, "99.49 %", "part"),
        (100, 95, "95.00 %", "part"),
        (10_000, 9499, "94.99 %", "low"),
        (3, 0, "0.00 %", "low"),
    ],
    ids=["nothing known", "all", "one missing", "at 99.5", "below 99.5", "at 95", "below 95", "none stored"],
)
def test_a_share_is_cut_and_never_rounded_up(expected, stored, words, level):
    count = Count(expected, stored)

    assert (uptime.in_words(count), count.level) == (words, level)


def test_uptime_is_by_day_of_utc_and_ends_today(add, now):
    add("kraken")
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    for moment, stored in (
        (today - 90 * DAY, 1),
        (today - 89 * DAY, 2),
        (today - timedelta(minutes=15), 3),
        (today, 4),
    ):
        Coverage.objects.create(exchange_id="kraken", quarter_at=moment, expected_minutes=10, stored_minutes=stored)

    counts = uptime.read(now)

    by_age = {(today.date() - day).days: count.stored for (_, day), count in counts.items()}
    assert by_age == {89: 2, 1: 3, 0: 4}


def test_a_day_without_data_is_grey(client, add, now):
    add("kraken")
    Coverage.objects.create(
        exchange_id="kraken", quarter_at=now.replace(minute=0, second=0, microsecond=0), expected_minutes=9,
        stored_minutes=9,
    )  # fmt: skip

    text = client.get("/status").content.decode()
    days = re.findall(r'<i class="(\w+)" title="[\d-]+: ([^"]+)">', text)

    assert len(days) == 90
    assert days[:-1] == [("none", "no data")] * 89
    assert days[-1] == ("full", "100 %")


# --- states -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "state", "words"),
    [
        ({}, "operational", "Operational"),
        ({"error_count": 3}, "down", "No current data"),
        ({"stored_at": None}, "degraded", "Starting: no data yet"),
        ({"stored_at": "late"}, "degraded", "Data is delayed"),
        ({"markets": 10, "silent": 1}, "operational", "Operational"),
        ({"markets": 10, "silent": 2}, "degraded", "Part of the data is missing"),
    ],
    ids=["well", "in error", "no row yet", "old rows", "one of ten silent", "two of ten silent"],
)
def test_the_state_is_that_of_the_data(add, now, facts, state, words):
    if facts.get("stored_at") == "late":
        facts = {**facts, "stored_at": now - timedelta(seconds=121)}
    add("kraken", **facts)

    (exchange,) = public.read(now).exchanges

    assert (exchange.state, exchange.words) == (state, words)


def test_what_is_stopped_on_purpose_is_paused_and_counts_for_nothing(add, now):
    add("kraken")
    add("binance")
    Exchange.objects.filter(pk="binance").update(blacklisted=True)

    report = public.read(now)

    assert [(each.id, each.state) for each in report.exchanges] == [("kraken", "operational"), ("binance", "paused")]
    assert public.overall(report.exchanges) == ("operational", "The one exchange is operational.")


def test_the_overall_sentence_counts_the_troubled(add, now):
    for name in ("kraken", "binance", "luno"):
        add(name)
    fail(Worker.objects.get(pk="luno"))

    assert public.overall(public.read(now).exchanges) == ("degraded", "1 of 3 exchanges has problems: Luno.")


def test_a_removed_exchange_is_not_shown(client, add, now):
    add("kraken")
    Exchange.objects.filter(pk="kraken").update(enabled=False, removed_at=now)

    assert client.get("/status.json").json()["exchanges"] == []
    assert b"Kraken" not in client.get("/status").content


# --- incidents --------------------------------------------------------------------------------------------------------


def incident(key: str = "exchange:kraken", *, since: datetime, **facts: object) -> Incident:
    kind, _, name = key.partition(":")
    usual = {
        "cause": "unreachable", "severity": "critical", "title": f"{name} is unreachable", "detail": "secret 10.1.2.3",
        "exchanges": [name] if kind == "exchange" else [], "opened_at": since, "openings": [since],
    }  # fmt: skip
    return Incident.objects.create(key=key, kind=kind, since=since, **{**usual, **facts})


def test_an_incident_is_told_in_words_for_everybody(client, add, now):
    add("kraken", markets=3)
    row = incident(since=now - 61 * MINUTE, ended_at=now - 20 * MINUTE, state="resolved")

    (told,) = client.get("/status.json").json()["incidents"]

    assert told == {
        "id": row.pk,
        "exchanges": ["kraken"],
        "message": "The exchange did not answer, or answered without data.",
        "state": "resolved",
        "started_at": clock.seconds_z(now - 61 * MINUTE),
        "ended_at": clock.seconds_z(now - 20 * MINUTE),
        "updates": [],
    }


def test_a_hung_worker_is_one_incident_of_all_exchanges(client, add, now):
    root = incident("system:worker", since=now - HOUR, cause="worker")
    for name in ("kraken", "binance"):
        add(name, markets=1)
        incident(f"exchange:{name}", since=now - HOUR, cause="silent", parent=root)

    text = client.get("/status").content.decode()

    assert len(client.get("/status.json").json()["incidents"]) == 1
    assert re.search(
        r"<h3>All exchanges <span[^>]*>investigating</span></h3>\s*<p>Our own collection was interrupted.", text
    )


def test_drills_short_ones_and_what_concerns_no_data_are_not_told(add, now):
    add("kraken")
    incident(since=now - HOUR, is_drill=True)
    incident("exchange:luno", since=now - HOUR, ended_at=now - HOUR + 59 * timedelta(seconds=1))
    incident("system:channel", since=now - HOUR, cause="channel", severity="warning")
    incident("transport:kraken", since=now - HOUR, severity="info")

    assert incidents.read(now) == []


def test_operators_messages_are_told_with_their_state(client, add, now):
    add("kraken")
    row = incident(since=now - HOUR, state="identified")
    IncidentEntry.objects.create(incident=row, happened_at=now, kind="note", text="for us alone")
    IncidentEntry.objects.create(
        incident=row, happened_at=now, kind="note", text="We <b>know</b> why.", is_public=True, state="identified"
    )

    (told,) = client.get("/status.json").json()["incidents"]
    assert [(each["state"], each["text"]) for each in told["updates"]] == [("identified", "We <b>know</b> why.")]
    text = client.get("/status").content.decode()
    assert "We &lt;b&gt;know&lt;/b&gt; why." in text
    assert "for us alone" not in text
    feed = client.get("/status.rss")
    assert feed["Content-Type"].startswith("application/rss+xml")
    assert "know" in feed.content.decode()


def test_planned_work_is_announced(client, add, now):
    add("kraken")
    for reason, is_public in (("new disks", True), ("a secret", False)):
        Maintenance.objects.create(
            reason=reason, exchanges=["kraken"], starts_at=now + DAY, ends_at=now + DAY + HOUR,
            expires_at=now + DAY + HOUR, is_public=is_public,
        )  # fmt: skip

    (work,) = client.get("/status.json").json()["maintenance"]
    assert work == {
        "reason": "new disks",
        "exchanges": ["kraken"],
        "starts_at": clock.seconds_z(now + DAY),
        "ends_at": clock.seconds_z(now + DAY + HOUR),
    }
    for path in ("/status", "/status.rss"):
        text = client.get(path).content.decode()
        assert "new disks" in text
        assert "a secret" not in text


def test_a_running_incident_comes_first_and_has_no_end(client, add, now):
    add("kraken")
    incident("exchange:luno", since=now - 5 * MINUTE, ended_at=now - 2 * MINUTE)
    incident(since=now - 12 * MINUTE)

    text = client.get("/status").content.decode()

    assert "until now (12 min so far)" in text
    assert client.get("/status.json").json()["incidents"][0]["ended_at"] is None


# --- the answers ----------------------------------------------------------------------------------------------------


def test_the_page_needs_no_login_no_cookie_and_no_script(client, add):
    add("kraken", simulated=True)

    response = client.get("/status")

    assert response.status_code == 200
    assert not response.cookies
    policy = response["Content-Security-Policy"]
    assert "script-src 'none'" in policy
    assert "unsafe" not in policy
    text = response.content.decode()
    assert "<script" not in text
    assert "style=" not in text
    assert "simulated data" in text
    assert re.findall(r"<h[1-6]", text)[0] == "<h1"


@pytest.mark.parametrize("path", ["/status", "/status.json", "/status.rss", "/badge/exchange/kraken.svg"])
@pytest.mark.parametrize("cookie", ["x", "0" * 32, ""], ids=["none of ours", "an old one", "empty"])
def test_what_anybody_may_keep_sets_no_cookie(client, add, path, cookie):
    """A stale session's cookie was answered with its deletion, in an answer that caches hand on."""
    add("kraken")
    client.cookies["sessionid"] = cookie

    response = client.get(path)

    assert response.status_code == 200
    assert "public" in response["Cache-Control"]
    assert not response.cookies
    assert "Cookie" not in response.get("Vary", "")


def test_nothing_of_the_operators_is_told(client, add, now):
    fail(add("kraken", markets=1))
    Exchange.objects.update(proxy="http://u:p@10.9.9.9:1", base_url="https://inside.example")
    Transition.objects.create(
        exchange_id="kraken",
        happened_at=now - HOUR,
        from_status="running",
        to_status="error",
        reason="10.1.2.3 said no",
    )

    incident(since=now - HOUR)
    for path in ("/status", "/status.json", "/status.rss", "/badge/exchange/kraken.svg"):
        text = client.get(path).content.decode()
        for secret in ("10.1.2.3", "10.9.9.9", "inside.example", "418", "said no"):
            assert secret not in text


def test_names_are_escaped(client, add):
    add("kraken")
    Exchange.objects.update(name='<img src=x onerror="1">')

    assert b"<img src=x" not in client.get("/status").content


@pytest.mark.parametrize("path", ["/status", "/status.json", "/status/", "/status.json/"])
def test_answers_may_be_cached_and_are_not_sent_twice(client, add, path):
    add("kraken")

    first = client.get(path)
    second = client.get(path, headers={"If-None-Match": first["ETag"]})

    assert first["Cache-Control"] == "public, max-age=5"
    assert (second.status_code, second.content) == (304, b"")
    assert second["ETag"] == first["ETag"]


def test_a_browser_gets_it_compressed(client, add):
    add("kraken")

    packed = client.get("/status", headers={"Accept-Encoding": "gzip, br"})

    assert packed["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.content) == client.get("/status").content
    assert packed["Vary"] == "Accept-Encoding"


def test_the_copy_is_read_once_for_all_and_only_for_seconds(client, add, monkeypatch):
    add("kraken")
    client.get("/status")
    fail(Worker.objects.get())

    with CaptureQueriesContext(
        connection,
    ) as queries:
        held = client.get("/status.json").json()["status"]
    assert (held, len(queries)) == ("operational", 0)

    monkeypatch.setattr(public.COPY, "good_for_seconds", 0.0)
    assert client.get("/status.json").json()["status"] == "down"


def queries_of(client, path: str) -> int:
    public.forget()
    with CaptureQueriesContext(connection) as queries:
        assert client.get(path).status_code == 200
    return len(queries)


def test_the_number_of_queries_is_fixed(client, add):
    add("kraken", markets=2)
    few = queries_of(client, "/status")
    for number in range(9):
        add(f"other{number}", markets=3, silent=1)

    assert queries_of(client, "/status") == few == 7


def test_what_is_over_is_not_read_each_time(client, add, monkeypatch):
    add("kraken")
    client.get("/status")
    monkeypatch.setattr(public.COPY, "good_for_seconds", 0.0)

    with CaptureQueriesContext(connection) as queries:
        client.get("/status")

    assert len(queries) == 6


def test_switched_off_nothing_of_it_exists(client, add, settings):
    add("kraken")
    settings.PUBLIC_STATUS = False

    for path in ("/status", "/status.json", "/badge/exchange/kraken.svg", "/badge/pair/BTC-USD.svg"):
        assert client.get(path).status_code == 404


def test_without_a_collector_it_says_so_with_503(client, db, settings):
    settings.COLLECTION_ENABLED = False

    page, data = client.get("/status"), client.get("/status.json")

    assert page.status_code == data.status_code == 503
    assert status_page.AWAY in page.content.decode()
    assert "script-src 'none'" in page["Content-Security-Policy"]
    assert data.json()["message"] == status_page.AWAY


def test_writing_methods_are_refused(client, db):
    assert client.post("/status").status_code == 405


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(5, "1 min"), (59 * 60 + 59, "59 min"), (3600, "1 h"), (3660, "1 h 1 min"), (48 * 3600, "2 d 0 h")],
)
def test_spans_are_in_words(seconds, words):
    assert status_page.in_time_words(timedelta(seconds=seconds)) == words


def test_days_end_today():
    days = uptime.days_until(date(2026, 11, 21))

    assert (len(days), days[0], days[-1]) == (90, date(2026, 8, 24), date(2026, 11, 21))


# --- the browser's tab ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("failing", "icon"), [(0, "well"), (1, "warning"), (2, "danger")])
def test_the_tab_shows_the_state_by_title_and_icon(add: Add, now: datetime, failing: int, icon: str) -> None:
    for number, name in enumerate(("kraken", "luno")):
        worker = add(name, markets=1)
        if number < failing:
            fail(worker)
            Worker.objects.filter(pk=worker.pk).update(status="error")
    html = status_page.render_page(public.read(now)).decode()
    title = re.search("<title>(.*?)</title>", html)

    assert f"favicon-{icon}." in html
    assert title is not None
    assert title[1].startswith(("All 2 exchanges are operational", "1 of 2", "2 of 2")[failing])
