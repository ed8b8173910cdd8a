from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from collectors.rules.snapshot import WorkerFacts
from collectors.rules.worker_status import worker_status

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
WELL = WorkerFacts(
    exchange="kraken",
    is_collected=True,
    interval_seconds=10,
    error_count=0,
    is_paused=False,
    resumed_at=NOW - timedelta(hours=1),
    heartbeat_at=NOW - timedelta(seconds=4),
    stored_at=NOW - timedelta(seconds=4),
    symbols_tracked=300,
    last_error="kraken answered 200 with no tickers",
)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "running"),
        ({"is_collected": False}, "stopped"),
        ({"is_collected": False, "error_count": 9}, "stopped"),
        ({"error_count": 2}, "running"),
        ({"error_count": 3}, "error"),
        ({"is_paused": True, "error_count": 1}, "error"),
        ({"heartbeat_at": ago(120)}, "running"),
        ({"heartbeat_at": ago(120.001)}, "error"),
        ({"heartbeat_at": ago(180), "interval_seconds": 60.0}, "running"),
        ({"heartbeat_at": ago(180.001), "interval_seconds": 60.0}, "error"),
        ({"heartbeat_at": None, "resumed_at": ago(120)}, "stopped"),
        ({"heartbeat_at": None, "resumed_at": ago(121)}, "error"),
        ({"heartbeat_at": ago(5), "resumed_at": ago(5)}, "running"),
        ({"heartbeat_at": ago(900), "resumed_at": ago(5)}, "stopped"),
        ({"heartbeat_at": ago(900), "resumed_at": ago(121)}, "error"),
    ],
    ids=[
        "well",
        "stopped by an operator",
        "stopped wins over errors",
        "two failures",
        "three failures",
        "denied",
        "silent for exactly the floor",
        "silent for longer",
        "three intervals are longer than the floor",
        "longer than three intervals",
        "waiting to start",
        "never started",
        "polled as it was resumed",
        "resumed, not yet polled",
        "resumed and never polled",
    ],
)
def test_worker_status(changes: dict, expected: str):
    status, reason = worker_status(replace(WELL, **changes), NOW)

    assert status == expected
    assert bool(reason) == (expected != "running")
