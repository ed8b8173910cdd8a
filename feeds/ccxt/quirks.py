"""What single venues need, as data. An exchange that is not named here works by its ccxt id alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

# A decoded answer, as it should have been.
Repair = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Quirk:
    """`because` says what happens without it.

    `keeps_market_info` keeps each market's raw row, `keeps` only these of its keys. `repair` puts an answer right
    before ccxt reads it. `derives_quote_volume`: ccxt's quote volume is base volume times average price, and not sent.
    """

    because: str
    options: Mapping[str, Any] = field(default_factory=dict)
    skips_currencies: bool = False
    keeps_market_info: bool = False
    keeps: frozenset[str] = frozenset()
    rate_limit_ms: float | None = None
    derives_quote_volume: bool = False
    needs_credentials: tuple[str, ...] = ()
    candles_are_stamped_at_their_end: bool = False
    repair: Repair | None = None


# [{"tokens":[{"name":"USDC","index":0},{"name":"AAA","index":3}],"universe":[{"name":"@1","tokens":[3,0]}]},[…]]
def tokens_by_index(answer: Any) -> Any:
    """ccxt takes a token's index for its place in the list, which has holes; each is put where its index says."""
    meta = answer[0] if isinstance(answer, list) and answer else None
    if not isinstance(meta, dict) or not isinstance(tokens := meta.get("tokens"), list):
        return answer
    by_index = {token.get("index"): token for token in tokens if isinstance(token, dict)}
    places = [index for index in by_index if type(index) is int and 0 <= index < MOST_TOKENS]
    meta["tokens"] = [by_index.get(place, {}) for place in range(max(places, default=-1) + 1)]
    return answer


_DERIVES = Quirk(because="ccxt multiplies volume and average price where none was sent", derives_quote_volume=True)
NO_QUIRK = Quirk(because="nothing known")
MOST_TOKENS = 100_000
_READS_INFO = "its public calls read the venue's raw market row"
_BYBIT = Quirk(because="the interval of funding stands in the raw market row", keeps=frozenset({"fundingInterval"}))

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
        repair=tokens_by_index,
    ),
    "kalshi": Quirk(
        because="ccxt waits 200 ms a request; the venue grants 20 requests a second without a key", rate_limit_ms=55
    ),
    "prediction:polymarket": Quirk(
        because="a full first page crashes ccxt's paging with UnboundLocalError", options={"eventsPageSize": 500}
    ),
    "alpaca": Quirk(because="its public data need a key", needs_credentials=("apiKey", "secret")),
    "mudrex": Quirk(because="its public data need a key", needs_credentials=("secret",)),
    "bybit": _BYBIT,
    "bybiteu": _BYBIT,
    "bybitid": _BYBIT,
    "kraken": Quirk(because="answers for books are at times keyed by this name", keeps=frozenset({"wsname"})),
    "paradex": Quirk(
        because="the interval of funding stands in the raw market row", keeps=frozenset({"funding_period_hours"})
    ),
    "bitso": _DERIVES,
    "bitstamp": _DERIVES,
    "paymium": _DERIVES,
    "zaif": _DERIVES,
    "binancecoinm": _DERIVES,
    "ndax": Quirk(
        because="candles carry their end first, which ccxt gives as their beginning",
        candles_are_stamped_at_their_end=True,
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
