"""What single venues need, as data. An exchange that is not named here works by its ccxt id alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Quirk:
    """`because` says what happens without it."""

    because: str
    options: Mapping[str, Any] = field(default_factory=dict)
    skips_currencies: bool = False
    keeps_market_info: bool = False
    rate_limit_ms: float | None = None


NO_QUIRK = Quirk(because="nothing known")
_READS_INFO = "its public calls read the venue's raw market row"

QUIRKS: Mapping[str, Quirk] = {
    "binance": Quirk(
        because="by default load_markets asks three hosts (spot, linear, inverse); futures are binanceusdm here",
        options={"fetchMarkets": {"types": ["spot"]}, "defaultType": "spot", "fetchMargins": False},
        skips_currencies=True,  # with a key set, this and the margin lists would be signed requests
    ),
    "binanceusdm": Quirk(
        because="the currency list and the margin lists are signed spot requests",
        options={"fetchMargins": False},
        skips_currencies=True,
    ),
    "coinbase": Quirk(because="three currency requests that the product list does not need", skips_currencies=True),
    "hyperliquid": Quirk(
        because="HIP-3 dexes cost one more request each (up to 11) in every poll",
        options={"fetchMarkets": {"types": ["spot", "swap"]}},
        skips_currencies=True,  # only HIP-3 names need it
    ),
    "kalshi": Quirk(
        because="ccxt waits 200 ms a request; the venue grants 20 requests a second without a key", rate_limit_ms=55
    ),
    "prediction:polymarket": Quirk(
        because="a full first page crashes ccxt's paging with UnboundLocalError", options={"eventsPageSize": 500}
    ),
    "backpack": Quirk(because=_READS_INFO, keeps_market_info=True),
    "btse": Quirk(because=_READS_INFO, keeps_market_info=True),
    "coinbaseinternational": Quirk(because=_READS_INFO, keeps_market_info=True),
    "dydx": Quirk(because=_READS_INFO, keeps_market_info=True),
    "extended": Quirk(because=_READS_INFO, keeps_market_info=True),
    "hibachi": Quirk(because=_READS_INFO, keeps_market_info=True),
    "lighter": Quirk(because=_READS_INFO, keeps_market_info=True),
    "nado": Quirk(because=_READS_INFO, keeps_market_info=True),
    "polymarket_perpetuals": Quirk(because=_READS_INFO, keeps_market_info=True),
    "tokocrypto": Quirk(because=_READS_INFO, keeps_market_info=True),
    "toobit": Quirk(because=_READS_INFO, keeps_market_info=True),
}


def quirk_of(exchange_id: str) -> Quirk:
    return QUIRKS.get(exchange_id, NO_QUIRK)


# ccxt gives every venue a window of 60 s unless its class says another; these really document a minute.
CCXT_WINDOW_MS = 60_000.0
COUNTED_BY_THE_MINUTE = frozenset(
    {"binance", "binancecoinm", "binanceus", "binanceusdm", "bitvavo", "hyperliquid", "luno"}
)


def window_seconds(ccxt_id: str, ccxt_window_ms: float) -> float | None:
    """The time over which the venue counts requests; None where ccxt knows only how fast they may follow."""
    if ccxt_id in COUNTED_BY_THE_MINUTE:
        return 60.0
    return ccxt_window_ms / 1000 if ccxt_window_ms not in (0.0, CCXT_WINDOW_MS) else None
