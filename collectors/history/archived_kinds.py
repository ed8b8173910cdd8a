"""The kinds that are archived: each table of history, its columns, and what makes a row of it one. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from archive.datasets import ArchiveColumn, ColumnKind, Dataset, DayNotes

PIPELINE = ArchiveColumn("pipeline_id", ColumnKind.NUMBER)


def _columns(kind: ColumnKind, names: str, *, is_nullable: bool = False) -> Iterable[ArchiveColumn]:
    return [ArchiveColumn(name, kind, is_nullable) for name in names.split()]


def _time(name: str, *, is_nullable: bool = False) -> ArchiveColumn:
    return ArchiveColumn(name, ColumnKind.TIME, is_nullable)


_TEXT, _NUMBER = ColumnKind.TEXT, ColumnKind.NUMBER
# What is missing in a day, as far as it is known when the day's newest file is written.
GAPS = DayNotes(
    """
SELECT g.*, m.symbol FROM collectors_gap AS g JOIN exchanges_market AS m ON m.id = g.pipeline_id
WHERE m.exchange_id = %(exchange)s AND g.started_at < %(end)s AND (g.ended_at IS NULL OR g.ended_at > %(start)s)
ORDER BY g.pipeline_id, g.started_at
""",
    (
        ArchiveColumn("id", ColumnKind.WHOLE), PIPELINE, ArchiveColumn("symbol", _TEXT), _time("started_at"),
        _time("ended_at", is_nullable=True), ArchiveColumn("missed_count", _NUMBER), ArchiveColumn("cause", _TEXT),
        ArchiveColumn("evidence", _TEXT), ArchiveColumn("is_judged", ColumnKind.TRUTH), _time("detected_at"),
        ArchiveColumn("state", _TEXT), _time("filled_until", is_nullable=True),
        *_columns(_NUMBER, "filled_count lacking_count"), ArchiveColumn("lacking_reason", _TEXT),
        ArchiveColumn("attempts", ColumnKind.SMALL), _time("next_try_at", is_nullable=True),
    ),
)  # fmt: skip
HOLES = DayNotes(
    """
SELECT h.*, m.symbol FROM collectors_tradehole AS h JOIN exchanges_market AS m ON m.id = h.pipeline_id
WHERE m.exchange_id = %(exchange)s AND h.started_at < %(end)s AND h.ended_at > %(start)s
ORDER BY h.pipeline_id, h.started_at
""",
    (
        ArchiveColumn("id", ColumnKind.WHOLE), PIPELINE, ArchiveColumn("symbol", _TEXT),
        *_columns(ColumnKind.WHOLE, "first_number last_number", is_nullable=True),
        *(_time(name) for name in ("started_at", "ended_at")), ArchiveColumn("missing_count", ColumnKind.WHOLE, True),
        ArchiveColumn("filled_count", ColumnKind.WHOLE), ArchiveColumn("state", _TEXT), _time("detected_at"),
    ),
)  # fmt: skip
VALUES = "open high low close bid ask base_volume volume"
TICKS = Dataset(
    "ticks", "collectors_tick", "received_at", ("pipeline_id", "received_at"),
    (
        PIPELINE, ArchiveColumn("origin", ColumnKind.SMALL), _time("received_at"),
        _time("exchange_at", is_nullable=True),
        *_columns(ColumnKind.FLOAT, "last bid ask high low base_volume quote_volume", is_nullable=True),
        _time("known_at", is_nullable=True),
    ),
    notes=GAPS,
)  # fmt: skip
# A minute that changes counts once more: what it was is among the revisions.
MINUTES = Dataset(
    "minutes", "collectors_rollup", "minute_at", ("pipeline_id", "minute_at", "revision"),
    (
        PIPELINE, ArchiveColumn("samples", ColumnKind.SMALL), _time("minute_at"),
        *_columns(ColumnKind.FLOAT, VALUES, is_nullable=True),
        *_columns(ColumnKind.SMALL, "live candle trade revision", is_nullable=True),
        _time("known_at", is_nullable=True),
    ),
    count="sum(coalesce(revision, 0) + 1)",
    notes=GAPS,
)  # fmt: skip
REVISIONS = Dataset(
    "revisions", "collectors_rolluprevision", "minute_at", ("pipeline_id", "minute_at", "revision"),
    (
        PIPELINE, *_columns(ColumnKind.SMALL, "samples revision"), _time("minute_at"),
        *_columns(ColumnKind.FLOAT, VALUES, is_nullable=True),
        *_columns(ColumnKind.SMALL, "live candle trade", is_nullable=True),
        _time("known_at", is_nullable=True), _time("replaced_at"),
    ),
)  # fmt: skip
CANDLES = Dataset(
    "candles", "collectors_minutecandle", "opened_at", ("pipeline_id", "opened_at"),
    (
        PIPELINE, ArchiveColumn("has_trades", ColumnKind.TRUTH), _time("opened_at"),
        *_columns(ColumnKind.FLOAT, "open high low close"), ArchiveColumn("volume", ColumnKind.FLOAT, True),
        _time("fetched_at"),
    ),
)  # fmt: skip
TRADES = Dataset(
    "trades", "collectors_trade", "traded_at", ("pipeline_id", "traded_at", "trade_id"),
    (
        ArchiveColumn("id", ColumnKind.WHOLE), PIPELINE, ArchiveColumn("trade_id", ColumnKind.TEXT),
        ArchiveColumn("number", ColumnKind.WHOLE, True), _time("traded_at"), _time("received_at"),
        *_columns(ColumnKind.FLOAT, "price amount"), ArchiveColumn("side", ColumnKind.TEXT, True),
        ArchiveColumn("is_filled", ColumnKind.TRUTH),
    ),
    notes=HOLES,
)  # fmt: skip
BOOKS = Dataset(
    "books", "collectors_orderbook", "received_at", ("pipeline_id", "received_at"),
    (
        ArchiveColumn("id", ColumnKind.WHOLE), PIPELINE, _time("received_at"), _time("exchange_at", is_nullable=True),
        ArchiveColumn("sequence", ColumnKind.WHOLE, True),
        *_columns(ColumnKind.FLOATS, "bid_prices bid_amounts ask_prices ask_amounts"),
    ),
)  # fmt: skip
FUNDING = Dataset(
    "funding", "collectors_funding", "received_at", ("pipeline_id", "received_at"),
    (
        ArchiveColumn("id", ColumnKind.WHOLE), PIPELINE, _time("received_at"), _time("exchange_at", is_nullable=True),
        ArchiveColumn("rate", ColumnKind.FLOAT), ArchiveColumn("interval_seconds", ColumnKind.FLOAT, True),
        _time("next_at", is_nullable=True),
        *_columns(ColumnKind.FLOAT, "mark_price index_price", is_nullable=True),
    ),
)  # fmt: skip
KINDS = (TICKS, MINUTES, REVISIONS, CANDLES, TRADES, BOOKS, FUNDING)
OF_TABLE = {dataset.table: dataset for dataset in KINDS}
