"""Where six venues keep a ticker's numbers in their raw answers.

ccxt's parsers spend 40 to 100 µs per ticker, mostly on values derived from others. A venue listed here is read
straight from its JSON with equal values (tests/feeds compares both); any other goes through ccxt's own parser.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from feeds.base import BadReply
from feeds.shared.field_maps import FieldMap, Request, Row, Values


def _listed(reply: Any, *, id_key: str) -> Iterator[Row]:
    if not isinstance(reply, list):
        raise TypeError(f"expected a list of tickers, got {type(reply).__name__}")
    for row in reply:
        yield (row.get(id_key) if isinstance(row, dict) else None), row


# [{"symbol":"BTCUSDT","lastPrice":"65000.00","bidPrice":"64999.90","askPrice":"65000.10","highPrice":"65500.00",
#   "lowPrice":"64100.00","volume":"12345.6","quoteVolume":"801234567.8","closeTime":1795000000000}]
def _binance_rows(reply: Any) -> Iterator[Row]:
    return _listed(reply, id_key="symbol")


def _binance_values(row: Any) -> Values:
    get = row.get
    return (
        get("lastPrice"),
        get("bidPrice"),
        get("askPrice"),
        get("highPrice"),
        get("lowPrice"),
        get("volume"),
        get("quoteVolume"),
        get("closeTime"),
    )


# {"products":[{"product_id":"BTC-USD","price":"65000.00","volume_24h":"1000",
#   "approximate_quote_24h_volume":"65000000"}]}
def _coinbase_rows(reply: Any) -> Iterator[Row]:
    return _listed(reply["products"], id_key="product_id")


def _coinbase_values(row: Any) -> Values:
    get = row.get
    return get("price"), None, None, None, None, get("volume_24h"), get("approximate_quote_24h_volume"), None


# {"error":[],"result":{"XXBTZUSD":{"a":["65000.1","1","1.000"],"b":["64999.9","1","1.000"],"c":["65000.0","0.01"],
#   "v":["10.0","100.0"],"l":["64500.0","64100.0"],"h":["65300.0","65500.0"]}}}: [today, 24 h] pairs
def _kraken_rows(reply: Any) -> Iterable[Row]:
    rows: Iterable[Row] = reply["result"].items()
    return rows


def _kraken_values(row: Any) -> Values:
    get = row.get
    return (
        _item(get("c"), 0),
        _item(get("b"), 0),
        _item(get("a"), 0),
        _item(get("h"), 1),
        _item(get("l"), 1),
        _item(get("v"), 1),
        None,  # ccxt gives volume times vwap; kraken does not send it
        None,
    )


def _item(values: Any, index: int) -> Any:
    return values[index] if isinstance(values, list) and index < len(values) else None


# {"tickers":[{"pair":"XBTZAR","timestamp":1795000000000,"bid":"1170000.00","ask":"1170500.00",
#   "last_trade":"1170200.00","rolling_24_hour_volume":"12.34","status":"ACTIVE"}]}
def _luno_rows(reply: Any) -> Iterator[Row]:
    return _listed(reply["tickers"], id_key="pair")


def _luno_values(row: Any) -> Values:
    get = row.get
    return (
        get("last_trade"),
        get("bid"),
        get("ask"),
        None,
        None,
        get("rolling_24_hour_volume"),
        None,
        get("timestamp"),
    )


# [{"universe":[{"name":"BTC"}]},[{"midPx":"65000.5","impactPxs":["64999.0","65002.0"],"dayNtlVlm":"2800000000.0"}]]
def _hyperliquid_swap_rows(reply: Any) -> Iterator[Row]:
    """The name in this very answer says which coin a context is of: a place in the list is another's tomorrow."""
    universe, contexts = reply[0]["universe"], reply[1]
    if len(universe) != len(contexts):
        raise BadReply(f"{len(universe)} coins and {len(contexts)} contexts")
    for coin, row in zip(universe, contexts, strict=True):
        yield (coin.get("name") if isinstance(coin, dict) else None), row


# [{"tokens":[…],"universe":[{"name":"PURR/USDC","index":0}]},
#  [{"coin":"PURR/USDC","midPx":"0.2001","dayNtlVlm":"1000.0"}]]
def _hyperliquid_spot_rows(reply: Any) -> Iterator[Row]:
    """By the coin that a context names; where none does, by the index that its market has."""
    contexts = reply[1]
    named = {row.get("coin"): row for row in contexts if isinstance(row, dict)}
    for market in reply[0]["universe"]:
        name, index = market.get("name"), market.get("index")
        if name in named:
            yield name, named[name]
        elif type(index) is int and 0 <= index < len(contexts) and not _item_named(contexts[index]):
            yield name, contexts[index]


def _item_named(row: Any) -> bool:
    return isinstance(row, dict) and row.get("coin") is not None


def _hyperliquid_id(market: Mapping[str, Any]) -> Any:
    return market.get("baseName") if market.get("swap") else market["id"]


def _is_spot(market: Mapping[str, Any]) -> bool:
    return not market.get("swap")


def _is_swap(market: Mapping[str, Any]) -> bool:
    return bool(market.get("swap"))


def _hyperliquid_values(row: Any) -> Values:
    get = row.get
    impact = get("impactPxs")
    return get("midPx"), _item(impact, 0), _item(impact, 1), None, None, None, get("dayNtlVlm"), None


FIELD_MAPS: Mapping[str, FieldMap] = {
    "binance": FieldMap([Request("publicGetTicker24hr", _binance_rows)], _binance_values),
    "binanceusdm": FieldMap([Request("fapiPublicGetTicker24hr", _binance_rows)], _binance_values),
    "coinbase": FieldMap([Request("v3PublicGetBrokerageMarketProducts", _coinbase_rows)], _coinbase_values),
    "kraken": FieldMap([Request("publicGetTicker", _kraken_rows)], _kraken_values),
    "luno": FieldMap([Request("publicGetTickers", _luno_rows)], _luno_values),
    "hyperliquid": FieldMap(
        [
            Request(
                "publicPostInfo",
                _hyperliquid_spot_rows,
                {"type": "spotMetaAndAssetCtxs"},
                part="spot",
                covers=_is_spot,
            ),
            Request(
                "publicPostInfo", _hyperliquid_swap_rows, {"type": "metaAndAssetCtxs"}, part="swap", covers=_is_swap
            ),
        ],
        _hyperliquid_values,
        _hyperliquid_id,
    ),
}
