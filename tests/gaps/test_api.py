"""Pipelines and gaps in full, and their export as CSV."""

from __future__ import annotations

import csv
import io
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.db import DatabaseError, ProgrammingError, connection, transaction
from django.test.utils import CaptureQueriesContext

from board import gap_rows
from collectors.gaps import sweep
from collectors.history import exports, rollups
from collectors.models import Gap, Pipeline, Tick, Watermark
from collectors.polling import store
from exchanges.models import Market
from lib import clock
from tests.gaps.conftest import INTERVAL

ADMIN = {"X-Admin-Key": django_settings.ADMIN_API_KEY}


@pytest.fixture
def told(field_):
    """Kraken with a gap in both of its markets; the moment of the newest row."""
    field_.add("kraken", 2)
    start = field_.begun + timedelta(minutes=50)
    for slot in (0, 1, 2, 9, 10):
        field_.store("kraken", start + timedelta(seconds=INTERVAL * slot))
    sweep.run(start + timedelta(seconds=105))
    return start


def roll_up(told):
    Watermark.objects.create(name=rollups.CURSOR, reached_at=told.replace(second=0, microsecond=0))
    rollups.run(told + timedelta(minutes=4))


def test_a_pipeline_tells_its_cadence_its_origins_and_whether_it_is_frozen(client, field_, told):
    first, second = field_.pipelines["kraken"]
    Tick.objects.create(pipeline_id=first, received_at=told + timedelta(seconds=60), origin=2, last=1.0)
    Pipeline.objects.filter(pk=first).update(frozen=True, expected_seconds=30)
    roll_up(told)

    rows = {row["id"]: row for row in client.get("/api/v1/pipelines").json()["results"]}

    assert rows[first]["origins"] == {"live": 5, "candle": 0, "trade": 1}
    assert (rows[first]["frozen"], rows[second]["frozen"]) == (True, False)
    assert "nine of ten" in rows[first]["cadence_reason"]
    assert rows[second]["cadence_reason"] == "every poll (10 s)"
    found = client.get("/api/v1/pipelines?frozen=true").json()["results"]
    assert [row["id"] for row in found] == [first]
    assert client.get(f"/api/v1/pipelines/{first}").json() == rows[first]


def test_origins_are_unknown_while_no_minute_of_the_hour_is_rolled_up(client, field_, told):
    [row, _] = client.get("/api/v1/pipelines").json()["results"]

    assert row["origins"] is None


def test_origins_count_what_is_in_their_hour(client, field_, told):
    """Not those before it, nor what is stored but not rolled up yet."""
    first, _ = field_.pipelines["kraken"]
    roll_up(told)
    until = Watermark.objects.get(name=rollups.CURSOR).reached_at
    since = until - timedelta(hours=1)
    for minutes in (-1, 0, 8):
        at = since + timedelta(minutes=minutes)
        Tick.objects.create(pipeline_id=first, received_at=at, origin=2, last=1.0)
        rollups.again(first, start=at, end=at, now=clock.now())
    Tick.objects.create(pipeline_id=first, received_at=until, origin=0, last=1.0)

    row = client.get(f"/api/v1/pipelines/{first}").json()

    assert row["origins"] == {"live": 5, "candle": 0, "trade": 2}


def test_a_page_of_pipelines_costs_the_same_queries_for_any_number(client, field_, told):
    counts = []
    for limit in (1, 2):
        with CaptureQueriesContext(connection) as queries:
            client.get(f"/api/v1/pipelines?limit={limit}")
        counts.append(len(queries))

    assert counts[0] == counts[1]


def test_a_gap_tells_why_and_how_far_it_is_filled(client, field_, told):
    gap = Gap.objects.first()
    Gap.objects.filter(pk=gap.pk).update(
        state="filling", filled_until=gap.started_at + (gap.ended_at - gap.started_at) / 4, filled_count=3
    )

    row = client.get(f"/api/v1/gaps/{gap.pk}").json()

    assert (row["cause"], row["state"], row["progress"], row["filled_count"]) == ("our outage", "filling", 0.25, 3)
    assert "no run was finished" in row["evidence"]
    assert len(client.get("/api/v1/gaps?state=filling").json()["results"]) == 1
    assert len(client.get("/api/v1/gaps?state=open&cause=our outage").json()["results"]) == 1


def test_a_gap_that_lasts_says_what_was_missed_by_now(client, field_):
    """Opened at 25 s with one row missed; asked about ten minutes later. The board and the export say the same."""
    field_.add("kraken", 2)
    now = clock.now()
    for slot in range(2):
        field_.store("kraken", now - timedelta(seconds=603 + INTERVAL * (1 - slot)))
    last = now - timedelta(seconds=603)
    sweep.run(last + timedelta(seconds=25))
    gap = Gap.objects.select_related("pipeline__market").filter(ended_at=None).first()
    assert (gap.started_at, gap.missed_count) == (last, 1)

    row = client.get(f"/api/v1/gaps/{gap.pk}").json()
    [exported] = [one for one in exported_gaps(client, last) if one["id"] == str(gap.pk)]

    assert 59 <= row["missed_count"] <= 61
    assert int(exported["missed_count"]) in (row["missed_count"], row["missed_count"] + 1)
    assert gap_rows.rows([gap], last + timedelta(seconds=600))[0].missed_count == 59


def exported_gaps(client, since):
    start = since.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return table(client.get("/api/v1/gaps/export/", {"from": start}, headers=ADMIN))


def table(response) -> list[dict[str, str]]:
    assert response.status_code == 200, response.content
    return list(csv.DictReader(io.StringIO(b"".join(response.streaming_content).decode())))


def span(told) -> dict[str, str]:
    return {"from": (told - timedelta(minutes=1)).isoformat(), "to": (told + timedelta(minutes=5)).isoformat()}


def test_gaps_ticks_and_rollups_are_exported(client, field_, told):
    from collectors.history import rollups

    rollups.again(field_.pipelines["kraken"][0], start=told, end=told + timedelta(minutes=2), now=told)

    gaps = table(client.get("/api/v1/gaps/export/", span(told), headers=ADMIN))
    ticks = table(client.get("/api/v1/ticks/export/", {**span(told), "exchange": "kraken"}, headers=ADMIN))
    minutes = table(client.get("/api/v1/rollups/export", {**span(told), "exchange": "kraken"}, headers=ADMIN))

    assert [(row["exchange"], row["cause"], row["state"]) for row in gaps] == [("kraken", "our outage", "open")] * 2
    assert len(ticks) == 10
    assert {row["origin"] for row in ticks} == {"live"}
    assert float(ticks[0]["last"]) == 100.0
    assert sum(int(row["samples"]) for row in minutes) == 5


@pytest.mark.parametrize("symbol", ["=cmd|' /C calc'!A0", "+1/USD", "-1/USD", "@SUM(A1)", "\tX/USD"])
def test_a_cell_is_never_a_formula(client, field_, told, symbol):
    Market.objects.filter(pk=field_.pipelines["kraken"][0]).update(symbol=symbol)

    rows = table(client.get("/api/v1/gaps/export", span(told), headers=ADMIN))

    assert next(row["symbol"] for row in rows) == f"'{symbol}"


@pytest.mark.parametrize(
    ("kind", "query"),
    [
        ("gaps", {}),
        ("gaps", {"from": "2026-01-01T00:00:00Z", "to": "2026-03-01T00:00:00Z"}),
        ("gaps", {"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}),
        ("ticks", {"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T01:00:00Z"}),
        ("ticks", {"from": "2026-01-01T00:00:00Z", "to": "2026-01-03T00:00:00Z", "exchange": "kraken"}),
        ("gaps", {"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z", "cause": "boredom"}),
    ],
    ids=["no span", "too long", "the wrong way round", "everybody's ticks", "two days of ticks", "no such cause"],
)
def test_an_export_is_bounded(client, db, kind, query):
    assert client.get(f"/api/v1/{kind}/export", query, headers=ADMIN).status_code == 400


def test_an_export_is_for_operators(client, field_, told):
    assert client.get("/api/v1/gaps/export", span(told)).status_code == 401
    client.force_login(User.objects.create_user("ann", is_staff=True))
    assert client.get("/api/v1/gaps/export", span(told)).status_code == 403
    client.force_login(User.objects.create_superuser("olga"))
    assert client.get("/api/v1/gaps/export", span(told)).status_code == 200


def test_an_abandoned_export_gives_its_connection_back(field_, told):
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO collectors_tick (pipeline_id, received_at, last) "
            "SELECT %s, %s + (n + 0.5) * interval '1 millisecond', n FROM generate_series(1, 60000) AS n",
            [field_.pipelines["kraken"][0], told],
        )
    values = {"start": told, "end": told + timedelta(minutes=5)}
    held = [exports.stream(exports.KINDS["ticks"], values) for _ in range(exports.MOST_AT_ONCE)]
    assert next(held[0]).startswith(b"pipeline,exchange,symbol")

    with pytest.raises(exports.TooMany):
        exports.stream(exports.KINDS["ticks"], values)
    for one in held:
        next(one, None)
        one.close()
    for thread in threading.enumerate():
        if thread.name == "export":
            thread.join(timeout=10)

    assert sum(chunk.count(b"\n") for chunk in exports.stream(exports.KINDS["ticks"], values)) == 60011


def test_an_export_ends_with_its_number_of_rows_when_that_is_wanted(client, field_, told):
    query = {**span(told), "exchange": "kraken"}

    plain = b"".join(client.get("/api/v1/ticks/export/", query, headers=ADMIN).streaming_content)
    counted = b"".join(
        client.get("/api/v1/ticks/export/", {**query, "with_count": "true"}, headers=ADMIN).streaming_content
    )

    assert counted == plain + b"# rows: 10\n"
    assert client.get("/api/v1/ticks/export/", {**query, "with_count": "x"}, headers=ADMIN).status_code == 400


def test_an_export_whose_backend_ends_is_an_error_and_no_end(field_, told):
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO collectors_tick (pipeline_id, received_at, last) "
            "SELECT %s, %s + (n + 0.5) * interval '1 millisecond', n FROM generate_series(1, 90000) AS n",
            [field_.pipelines["kraken"][0], told],
        )
    chunks = exports.stream(exports.KINDS["ticks"], {"start": told, "end": told + timedelta(minutes=5)})
    next(chunks)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND query LIKE 'COPY (%'"
        )
        assert cursor.fetchone() == (1,)

    with pytest.raises(DatabaseError):
        list(chunks)


def test_an_export_that_the_database_gives_up_is_503(client, field_, told, monkeypatch):
    monkeypatch.setattr(exports, "STATEMENT_SECONDS", 0.1)
    with ThreadPoolExecutor(1) as pool, transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE collectors_gap IN ACCESS EXCLUSIVE MODE")
        answer = pool.submit(client.get, "/api/v1/gaps/export", span(told), headers=ADMIN)
        assert answer.result().status_code == 503


def test_what_breaks_while_rows_are_copied_is_an_error_of_djangos(field_, told, monkeypatch):
    """Those who store, the streams among them, expect no other."""
    monkeypatch.setattr(store, "COPY", "COPY no_such_table FROM STDIN (FORMAT binary)")

    with pytest.raises(ProgrammingError):
        field_.store("kraken", told + timedelta(seconds=10))


@pytest.mark.parametrize("headers", [{}, {"X-Admin-Key": "x" * 40}], ids=["none", "wrong"])
def test_an_export_without_the_key_is_refused_in_the_documents_words(client, db, headers):
    answer = client.get("/api/v1/gaps/export", headers=headers)

    assert (answer.status_code, answer.json()) == (
        401,
        {
            "error": "Unauthorized",
            "message": "Valid admin API key required for this endpoint",
            "code": "ADMIN_AUTH_FAILED",
        },
    )
