"""Fills gaps with what the exchange really returns: closed minute candles, or trades where no minute fits.

Live polling comes first: a request is made only in the pause after a good poll, when the next is not due before the
request must have ended, one at a time and so many a minute. Nothing here moves a pipeline's live state.

`choice` says which gap, `turns` says when, `asking` makes the request, `answers` reads it, `outcome` writes the result;
`filling` calls them in this order, and `importing` when no gap is left: what the exchange has from before the start.
"""

from collectors.backfill.choice import GapSelection, due, is_wanted, plan, requests_left
from collectors.backfill.filling import fill

__all__ = ["GapSelection", "due", "fill", "is_wanted", "plan", "requests_left"]
