"""The pauses between good polls, in which one more request at a time may be made: for gaps, or for market data."""

from __future__ import annotations

from dataclasses import dataclass

from exchanges.models import Exchange

GUARD_SECONDS = 1.0  # polls may come this much before they are due
LEAST_WINDOW_SECONDS = 0.3

# An exchange whose polls fail, or that told us to wait, is left alone.
IS_WELL = """
e.is_collected AND w.cycle_started_at IS NOT NULL
      AND w.error_count = 0 AND w.last_outcome = 'stored'
      AND (w.retry_at IS NULL OR w.retry_at <= clock_timestamp())
"""
# One exchange and how many `seconds` a request may take: the last poll was good, nobody calls now, and it ends before
# the next poll is due. An exchange that a stream delivers is not polled, but for a comparison poll at times.
WINDOW = f"""
    SELECT w.exchange_id, w.generation,
           CASE WHEN s.exchange_id IS NOT NULL THEN %(deadline)s ELSE
           least(%(deadline)s, e.poll_interval_seconds - least(%(guard)s, e.poll_interval_seconds / 10)
                 - extract(epoch FROM clock_timestamp() - w.cycle_started_at)) END AS seconds
    FROM collectors_worker AS w JOIN exchanges_exchange AS e ON e.id = w.exchange_id
    LEFT JOIN collectors_stream AS s
           ON s.exchange_id = e.id AND s.is_delivering AND s.held_until > clock_timestamp()
    WHERE e.id = %(exchange)s AND {IS_WELL}
      AND (s.exchange_id IS NOT NULL OR w.lease_until IS NULL OR w.lease_until < clock_timestamp())
"""


@dataclass(frozen=True, slots=True)
class RequestSlot:
    """The right to make one request to an exchange."""

    exchange: Exchange
    generation: int
    deadline_seconds: float


def parameters(exchange: Exchange, *, deadline_seconds: float) -> dict[str, str | float]:
    """Returns the parameters of WINDOW, and the `least` seconds that it must hold."""
    return {
        "exchange": exchange.id,
        "deadline": deadline_seconds,
        "guard": GUARD_SECONDS,
        "least": LEAST_WINDOW_SECONDS,
    }
