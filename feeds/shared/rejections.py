"""Rows of an answer that cannot be used: noted on the call with the reason, so that the other rows are kept."""

from __future__ import annotations

from typing import Any

from feeds import errors
from feeds.base import RejectedRow
from feeds.loop import Call

REJECTED_ROWS = 500
EXCERPT_CHARACTERS = 200
ID_KEYS = ("symbol", "s", "pair", "market", "instId", "product_id", "ticker_id", "id", "name", "market_id")


def reject(call: Call, symbol: str, error: Exception | str, row: Any) -> None:
    if len(call.rejected) < REJECTED_ROWS:
        reason = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
        call.rejected.append(RejectedRow(errors.shorten(symbol, 100), errors.shorten(reason, 200), _brief(row)))


def name_of(row: Any, market: Any = None) -> str:
    if isinstance(market, dict) and isinstance(market.get("symbol"), str):
        return str(market["symbol"])
    if isinstance(row, dict):
        return next((row[key] for key in ID_KEYS if isinstance(row.get(key), str)), "")
    return ""


def _brief(row: Any) -> str:
    """Returns only the top level as text: an exchange's row can be nested deeper than repr can go."""
    if isinstance(row, dict):
        text = repr({key[:30]: _scalar(value) for key, value in list(row.items())[:20]})
    else:
        text = repr(_scalar(row))
    return errors.shorten(text, EXCERPT_CHARACTERS)


def _scalar(value: Any) -> Any:
    if isinstance(value, str):
        return value[:60]
    return value if isinstance(value, int | float | None) else type(value).__name__
