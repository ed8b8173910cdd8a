"""Names of sources in the pipelines API: a pure rule over an exchange and the kinds of market it lists."""

from __future__ import annotations

from collections.abc import Set

SUFFIX_BY_KIND = {"spot": "_spot", "swap": "_futures", "future": "_futures", "option": "_options"}
# ccxt splits some exchanges into several ids that the pipelines API names as one.
STEM = {"binanceusdm": "binance", "binancecoinm": "binance"}
ALWAYS_SUFFIXED = frozenset({"binance", "binanceusdm", "binancecoinm"})
NEVER_SUFFIXED = frozenset({"hyperliquid", "polymarket", "kalshi", "chainlink"})


def source_label(exchange_id: str, kind: str, kinds: Set[str]) -> str:
    """Returns `binance_spot`, `binance_futures`; the bare id for exchanges whose markets are all of one kind."""
    stem = STEM.get(exchange_id, exchange_id)
    is_split = exchange_id in ALWAYS_SUFFIXED or len({SUFFIX_BY_KIND.get(each, each) for each in kinds}) > 1
    if exchange_id in NEVER_SUFFIXED or not is_split:
        return stem
    return stem + SUFFIX_BY_KIND.get(kind, f"_{kind}")
