"""Renders workers in the words of the worker status and exchange management APIs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from collectors.rules.snapshot import Snapshot, WorkerView
from lib.clock import seconds_z


def render(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "workers": {worker.exchange: _entry(worker) for worker in snapshot.workers},
        "timestamp": seconds_z(snapshot.taken_at),
    }


def absent_on_market(now: datetime) -> dict[str, str]:
    return {"error": "Collector service is not available", "timestamp": seconds_z(now)}


def absent_on_exchanges() -> dict[str, str]:
    return {"error": "Collector service not available"}


def _entry(worker: WorkerView) -> dict[str, Any]:
    return {
        "exchange": worker.exchange,
        "status": worker.status,
        "last_update": seconds_z(worker.data_at) if worker.data_at else None,
        "error_count": worker.error_count,
        "symbols_tracked": worker.symbols_tracked,
    }
