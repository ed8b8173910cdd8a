"""Why a market is listed and not traded, from the row in which the exchange lists it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

LONGEST_WORD = 60
NOT_ACTIVE: Final = "not active"  # where the exchange has no word of its own

_FLAGS = ("trading_disabled", "is_disabled", "view_only", "cancel_only", "post_only", "auction_mode")
_STATUS_KEYS = (
    "status", "state", "trading_status", "tradingStatus", "trade_status", "tradeStatus", "contractStatus",
    "market_state", "marketState", "symbolStatus", "symbol_status",
)  # fmt: skip
# Words under which orders are not matched, whatever else is allowed.
_HALTS = frozenset(
    {
        "halt", "halted", "break", "suspend", "suspended", "suspension", "pause", "paused", "cancelonly", "postonly",
        "viewonly", "auction", "auctionmode", "auctionmatch", "callauction", "maintenance", "preopen", "prelaunch",
        "pretrading", "posttrading", "endofday", "haltedtrading", "tradinghalted", "tradingsuspended",
    }
)  # fmt: skip
_NO_LETTERS = re.compile(r"[^a-z]+")


def halt_of(row: Any, *, is_active: bool | None) -> str:
    """Returns the exchange's word for why this market is not traded; empty where it is, or where nothing is said.

    `is_active` is what its client made of the row, None for nothing. A row that names a halt counts all the same:
    clients know a few words of few exchanges.
    """
    facts: Mapping[str, Any] = row if isinstance(row, dict) else {}
    flag = next((name for name in _FLAGS if facts.get(name) in (True, "true", "True")), "")
    if flag:
        return flag
    named = (facts.get(key) for key in _STATUS_KEYS)
    words = [word[:LONGEST_WORD] for word in named if isinstance(word, str) and word.isprintable() and word]
    halted = next((word for word in words if _NO_LETTERS.sub("", word.lower()) in _HALTS), "")
    if halted or is_active is not False:
        return halted
    return words[0] if words else NOT_ACTIVE
