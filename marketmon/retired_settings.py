"""Names that were settings once: what each is now, and the warning for whoever still sets one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

SHOWN_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class Retired:
    """A name that was a setting; `place` is the module and name of the constant, with the reason for its value."""

    name: str
    value: float
    place: str


RETIRED = (
    Retired("API_KEY_CACHE_SECONDS", 0.5, "access.key_cache.REMEMBERED_SECONDS"),
    Retired("BACKFILL_DEADLINE_SECONDS", 3.0, "collectors.backfill.turns.DEADLINE_SECONDS"),
    Retired("CANDLE_HOLES_SECONDS", 3600.0, "metrics.candles.HOLES_SECONDS"),
    Retired("CANDLE_SETTLE_SECONDS", 5.0, "metrics.candles.SETTLE_SECONDS"),
    Retired("CONNECTIVITY_BUDGET_SECONDS", 10.0, "operations.onboarding.CHECKS_SECONDS"),
    Retired("COVERAGE_DAYS", 100, "collectors.retention.COVERAGE_DAYS"),
    Retired("DENIED_PAUSE_SECONDS", 900.0, "collectors.rules.breaker.DENIED_PAUSE_SECONDS"),
    Retired("DEPTH_DEADLINE_SECONDS", 5.0, "collectors.market_data.turns.DEADLINE_SECONDS"),
    Retired("FROZEN_LEAST_MOVE_SHARE", 0.001, "collectors.rules.frozen.LEAST_MOVE_SHARE"),
    Retired("MARKETS_REFRESH_SECONDS", 3600.0, "collectors.polling.market_list.REFRESH_SECONDS"),
    Retired("METRICS_EXCHANGE_SECONDS", 10.0, "metrics.collection.EXCHANGE_SECONDS"),
    Retired("METRICS_WAIT_SECONDS", 30.0, "metrics.collection.WAIT_SECONDS"),
    Retired("RATE_OUTLIER_SHARE", 0.05, "collectors.rules.pair_rates.OUTLIER_SHARE"),
    Retired("STREAM_BACKOFF_SECONDS", 1.0, "collectors.rules.streams.BACKOFF_SECONDS"),
    Retired("STREAM_DISAGREEMENT_SHARE", 0.01, "collectors.rules.streams.DISAGREEMENT_SHARE"),
    Retired("STREAM_FLUSH_ROWS", 2000, "collectors.streaming.session.FLUSH_ROWS"),
    Retired("STREAM_GOOD_UPDATES", 3, "collectors.streaming.handshake.GOOD_UPDATES"),
    Retired("STREAM_RECYCLE_SECONDS", 72_000.0, "collectors.streaming.session.RECYCLE_SECONDS"),
    Retired("STREAM_RUN_SECONDS", 5.0, "collectors.streaming.blocking_calls.RUN_SECONDS"),
    Retired("THROTTLE_PAUSE_SECONDS", 30.0, "collectors.rules.breaker.THROTTLE_PAUSE_SECONDS"),
    Retired("VALKEY_TIMEOUT_SECONDS", 1.0, "lib.valkey.TIMEOUT_SECONDS"),
    Retired("WORKER_MAX_TASKS_PER_CHILD", 20_000, "marketmon.settings.CELERY_WORKER_MAX_TASKS_PER_CHILD"),
)


def still_set(environ: Mapping[str, str] | None = None) -> list[tuple[Retired, str]]:
    """Returns the retired settings that are set although nobody reads them, with what they are set to."""
    environ = os.environ if environ is None else environ
    return [(retired, environ[retired.name]) for retired in RETIRED if retired.name in environ]


def in_words(retired: Retired, text: str) -> str:
    """Returns the warning for the log of whoever still sets it."""
    shown = text[:SHOWN_CHARACTERS]
    return f"{retired.name}={shown} is no longer a setting and has no effect: it is {retired.value:g} ({retired.place})"
