"""Marks a price that moves far in one answer, alone of all exchanges, until something confirms it.

The row is stored as it came: who sent it, sent it. Only rates leave it out. `store` composes MARKED into its statement:
`s` are the rows that came, `p` the pipelines. Other exchanges are looked at only where something has jumped.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

MOST_ANSWERS = 3  # after the jump, of which none agrees with the one before: then this is how the market is
FRESH = timedelta(minutes=10)

_NEW = "COALESCE(s.last, (s.bid + s.ask) / 2)"
_HELD = "COALESCE(p.last, (p.bid + p.ask) / 2)"
# In MERGE's SET. A jump is confirmed by the next answer that agrees with it, and over when the price comes back.
MARKED = f"""
        unconfirmed_count = CASE
            WHEN p.unconfirmed_count = 0
            THEN COALESCE((abs({_NEW} - {_HELD}) > %(jump_share)s * {_HELD})::int, 0)
            WHEN abs({_NEW} - {_HELD}) <= %(jump_share)s * {_HELD}
                 OR abs({_NEW} - p.trusted_price) <= %(jump_share)s * p.trusted_price
                 OR p.unconfirmed_count >= {MOST_ANSWERS} THEN 0
            ELSE p.unconfirmed_count + 1 END,
        trusted_price = CASE WHEN p.unconfirmed_count = 0 THEN {_HELD} ELSE p.trusted_price END"""
RETURNED = "p.unconfirmed_count = 1 AND old.unconfirmed_count = 0 AS has_jumped"
HAVE_JUMPED = "EXISTS (SELECT FROM merged WHERE has_jumped)"

# Another exchange is there already, or has moved alike. Of other kinds of markets no rate is made.
CONFIRM = """
UPDATE collectors_pipeline AS p SET unconfirmed_count = 0
FROM stage_quotes AS s JOIN exchanges_market AS m ON m.id = s.pipeline_id
CROSS JOIN LATERAL (SELECT COALESCE(s.last, (s.bid + s.ask) / 2) AS price) AS jumped
WHERE p.market_id = s.pipeline_id AND p.unconfirmed_count = 1
  AND (m.kind NOT IN ('spot', 'swap') OR EXISTS (
    SELECT FROM exchanges_market AS n
    JOIN collectors_pipeline AS q ON q.market_id = n.id
    WHERE n.base = m.base AND n.quote = m.quote AND n.exchange_id <> m.exchange_id AND n.kind IN ('spot', 'swap')
      AND n.is_collected AND n.halted_at IS NULL AND NOT q.frozen AND q.received_at > %(fresh_since)s
      AND abs(COALESCE(q.last, (q.bid + q.ask) / 2) - jumped.price) <= %(share)s * jumped.price))
"""


def confirm(cursor: Any, *, now: datetime, share: float) -> int:
    """Confirms jumps among the rows in `stage_quotes` that others have made, too; returns how many."""
    cursor.execute(CONFIRM, {"fresh_since": now - FRESH, "share": share})
    return int(cursor.rowcount)
