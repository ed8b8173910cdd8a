"""The metrics webhook API's bodies, key by key. Pure: rows in, dicts out; numbers are JSON numbers, unknown is null."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from lib.clock import milliseconds_z
from metrics import analysis
from metrics.grids import GridStatus
from metrics.models import Balance, Collection, Series, Verdict
from metrics.rules.regime import METRIC_NAMES

Body = dict[str, Any]


def outcome(collection: Collection) -> Body:
    """Returns the answer of POST /metrics/collect, the same whenever it is given."""
    if collection.status != "success":
        return failed(collection.trigger_source, collection.error, now=collection.started_at)
    return {
        "status": "success",
        "collection_id": collection.collection_id,
        "timestamp": milliseconds_z(collection.started_at),
        "data_points_collected": collection.data_points_collected,
        "storage_status": collection.storage_status,
        "dashboard_updated": collection.dashboard_updated,
        "trigger_source": collection.trigger_source,
    }


def failed(trigger_source: str, error: str, *, now: datetime) -> Body:
    return {
        "status": "error",
        "collection_id": "failed",
        "timestamp": milliseconds_z(now),
        "data_points_collected": 0,
        "storage_status": "failed",
        "dashboard_updated": False,
        "trigger_source": trigger_source,
        "error": error,
    }


def refusal(message: str, *, now: datetime) -> Body:
    return {"status": "error", "timestamp": milliseconds_z(now), "error": message}


def listed(name: str, entries: Sequence[Body], *, now: datetime, **more: Any) -> Body:
    return {"status": "success", "timestamp": milliseconds_z(now), "count": len(entries), **more, name: entries}


def history_entry(collection: Collection) -> Body:
    return {
        "collection_id": collection.collection_id,
        "timestamp": milliseconds_z(collection.started_at),
        "trigger_source": collection.trigger_source,
        "trigger_time": collection.trigger_time,
        "status": collection.status,
        "storage_status": collection.storage_status,
        "data_points_collected": collection.data_points_collected,
        "dashboard_updated": collection.dashboard_updated,
        "duration_ms": collection.duration_ms,
        "error": collection.error or None,
    }


def balance_entry(balance: Balance) -> Body:
    amounts = {name: _number(getattr(balance, name)) for name in ("free", "used", "total")}
    return {"exchange": balance.exchange_id, "asset": balance.asset, **amounts}


def market_entry(row: Mapping[str, Any]) -> Body:
    return {
        "exchange": row["market__exchange_id"],
        "market": row["market__symbol"],
        "last": row["last"],
        "bid": row["bid"],
        "ask": row["ask"],
        "volume_24h": row["volume_24h"],
        "timestamp": milliseconds_z(row["received_at"]),
    }


def regime_entry(verdict: Verdict, *, now: datetime, error: str = "") -> Body:
    """Returns the body of a verdict; `error` is in it only when there is one."""
    series = verdict.series
    body = {
        "market": series.market.symbol,
        "exchange": series.market.exchange_id,
        "timeframe": series.timeframe,
        "verdict": verdict.verdict or None,
        "confidence": verdict.confidence,
        "trend_score": verdict.trend_score,
        "analyzed_at": milliseconds_z(verdict.analyzed_at),
        "bar_time": verdict.bar_at and milliseconds_z(verdict.bar_at),
        "bars_used": verdict.bars_used,
        "insufficient_data": verdict.insufficient_data,
        "stale": analysis.is_stale(verdict, now),
        "range": {"lower_bound": verdict.lower_bound, "upper_bound": verdict.upper_bound},
        "metrics": {name: verdict.metrics.get(name) for name in METRIC_NAMES},
        "exit_state": verdict.exit_state or None,
        "exit_reasons": verdict.exit_reasons,
    }
    reason = error or verdict.error
    return {**body, "error": reason} if reason else body


def regime_failure(series: Series, error: str) -> Body:
    """Returns the body of a market that could not be judged at all."""
    empty = dict.fromkeys(("verdict", "confidence", "trend_score", "analyzed_at", "bar_time"))
    return {
        "market": series.market.symbol,
        "exchange": series.market.exchange_id,
        "timeframe": series.timeframe,
        **empty,
        "bars_used": 0,
        "insufficient_data": True,
        "stale": True,
        "range": {"lower_bound": None, "upper_bound": None},
        "metrics": dict.fromkeys(METRIC_NAMES),
        "exit_state": None,
        "exit_reasons": [],
        "error": error,
    }


def grid_entry(standing: GridStatus) -> Body:
    grid, verdict = standing.grid, standing.verdict
    lowest, highest = standing.ladder.profits_pct
    body = {
        "grid_id": grid.pk,
        "market": grid.market.symbol,
        "exchange": grid.market.exchange_id,
        "enabled": grid.enabled,
        "state": standing.state,
        "price_range": {"lower_bound": _number(grid.lower_bound), "upper_bound": _number(grid.upper_bound)},
        "grid_structure": {
            "levels": grid.levels,
            "spacing": grid.spacing,
            "step": _number(standing.ladder.step),
            "amount_per_grid": _number(grid.amount_per_grid),
        },
        "stop_loss": _number(grid.stop_loss),
        "profit_per_grid_pct": {"min": _number(lowest), "max": _number(highest)},
        "position": {
            "last_price": standing.last_price,
            "in_range": standing.in_range,
            "distance_to_lower_pct": standing.to_lower_pct,
            "distance_to_upper_pct": standing.to_upper_pct,
            "last_update": standing.last_update and milliseconds_z(standing.last_update),
        },
        "regime": {
            "verdict": (verdict and verdict.verdict) or None,
            "confidence": verdict.confidence if verdict else None,
        },
        "exit_state": standing.exit_state,
        "exit_reasons": list(standing.exit_reasons),
        "updated_at": milliseconds_z(grid.updated_at),
    }
    return {**body, "error": standing.error} if standing.error else body


def grid_entries(standings: Iterable[GridStatus]) -> list[Body]:
    return [grid_entry(standing) for standing in standings]


def _number(value: Decimal | None) -> float | None:
    return None if value is None else float(value)
