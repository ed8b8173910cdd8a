"""What is asked of rows that only files have: the same answer, to the byte, as before they were dropped."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection

from collectors.history import archived_rows, candle_formats, candles, quality, reading
from collectors.history.candles import CandleQuery
from collectors.models import Gap
from collectors.rules import intervals
from tests.archive.conftest import Archived, kept

__all__ = ["kept"]


def answers(kept: Archived, *, as_of: float | None) -> dict[str, Any]:
    """Every question about the three days that the archive is asked for, at one moment."""
    pipeline = kept.markets[0].pk
    moment = None if as_of is None else kept.at(as_of)
    span: dict[str, Any] = {"start": kept.at(0), "end": kept.at(3), "now": kept.at(4), "as_of": moment}
    found: dict[str, Any] = {"quality": quality.of_span(pipeline, **span).body()}
    for grain in ("raw", "minute"):
        found[grain] = reading.read(pipeline, limit=1000, grain=grain, **span).rows
    for interval in ("1m", "7m", "1d", "10s"):
        query = CandleQuery(
            pipeline, intervals.parse(interval), span["start"], span["end"], ZoneInfo("Europe/Berlin"), kept.at(4),
            1000, as_of=moment,
        )  # fmt: skip
        found[interval] = candle_formats.as_json(candles.read(query))
        found[f"{interval} arrow"] = candle_formats.arrow_table(query)[0].to_pylist()
    return found


def store_three_days(kept: Archived) -> None:
    market = kept.markets[0].pk
    for day in range(3):
        kept.store(day=day, rows=20, price=100.0 + day)
    kept.roll_up(0, 1, 2)
    kept.fetch_later(second=3600, known_after=2.2)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO collectors_minutecandle SELECT %s, true, %s + n * interval '1 minute', 1, 2, 0.5, 1.5, 7, %s"
            " FROM generate_series(60, 70) AS n",
            [market, kept.at(1), kept.at(2.5)],
        )
        cursor.execute(
            "INSERT INTO collectors_trade (pipeline_id, trade_id, number, traded_at, received_at, price, amount, side,"
            " is_filled) SELECT %s, n, n, %s + n * interval '10 seconds', %s, 100 + n, 0.5, 'buy', false"
            " FROM generate_series(1, 90) AS n",
            [market, kept.at(2), kept.at(2)],
        )
    kept.roll_up(0, 1)
    Gap.objects.get_or_create(
        pipeline_id=market, started_at=kept.at(0.5), ended_at=kept.at(0.75), missed_count=2160, detected_at=kept.at(0.6)
    )


def test_every_answer_is_the_same_after_the_rows_were_dropped(kept: Archived) -> None:
    store_three_days(kept)
    now, then = answers(kept, as_of=None), answers(kept, as_of=2.1)
    assert now["raw"] != then["raw"]
    assert now["minute"] != then["minute"]
    assert {bar["source"] for bar in now["1m"]} == {"candles", "trades", "ticks"}
    assert now["quality"]["worst_cause"]
    for name in ("RAW_RETENTION_HOURS", "ROLLUP_RETENTION_DAYS", "TRADE_RETENTION_DAYS"):
        setattr(kept.settings, name, 1)

    kept.round(after=4.2)
    kept.round(after=4.2)

    with connection.cursor() as cursor:
        cursor.execute("SELECT (SELECT count(*) FROM collectors_tick), (SELECT count(*) FROM collectors_rollup)")
        assert cursor.fetchone() == (0, 0)
    Gap.objects.all().delete()
    assert answers(kept, as_of=None) == now
    assert answers(kept, as_of=2.1) == then


def test_a_span_over_the_border_is_archived_and_hot_rows_as_one(kept: Archived) -> None:
    store_three_days(kept)
    before = answers(kept, as_of=None)
    kept.round(after=3.9)  # of ticks the first day is dropped
    with connection.cursor() as cursor:
        cursor.execute("SELECT min(received_at) FROM collectors_tick")
        assert cursor.fetchone()[0] >= kept.at(1)

    assert answers(kept, as_of=None) == before


def test_a_row_that_is_in_the_table_again_is_not_shown_twice(kept: Archived) -> None:
    from collectors.history import partitions

    kept.store()
    kept.roll_up(0)
    before = reading.read(
        kept.markets[0].pk, start=kept.at(0), end=kept.at(1), limit=1000, now=kept.at(4), grain="raw"
    ).rows
    kept.round(after=3.5)
    partitions.ensure_since(kept.at(0), kept.at(3.5))
    kept.store(rows=2)

    after = reading.read(kept.markets[0].pk, start=kept.at(0), end=kept.at(1), limit=1000, now=kept.at(4), grain="raw")

    assert [row[0] for row in after.rows] == [row[0] for row in before]


def test_nothing_of_it_is_left_in_the_session(kept: Archived) -> None:
    kept.store()
    kept.round(after=3.5)

    with archived_rows.readable(kept.markets[0].pk, kept.at(0), kept.at(1), archived_rows.OF_BARS):
        pass
    reading.read(kept.markets[0].pk, start=kept.at(0), end=kept.at(1), limit=9, now=kept.at(4), grain="raw")

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = pg_my_temp_schema() AND relkind IN ('r', 'v')"
            " AND (relname LIKE 'archived%' OR relname LIKE 'collectors%')"
        )
        assert cursor.fetchall() == []


def test_an_archive_that_cannot_be_read_is_said_and_never_a_hole(kept: Archived) -> None:
    kept.store()
    kept.round(after=3.5)
    for file in kept.files():
        (kept.folder / file.path).unlink()

    with pytest.raises(archived_rows.CannotReadArchive, match="cannot be read"):
        reading.read(kept.markets[0].pk, start=kept.at(0), end=kept.at(1), limit=9, now=kept.at(4), grain="raw")


def test_short_spans_of_archived_days_are_raw(kept: Archived) -> None:
    kept.store()
    kept.roll_up(0)
    kept.round(after=3.5)

    hour = {"start": kept.at(0), "end": kept.at(0) + timedelta(hours=1), "limit": 9, "now": kept.at(4)}

    assert reading.read(kept.markets[0].pk, **hour).grain == "raw"
    assert len(reading.read(kept.markets[0].pk, **hour).rows) == 6
