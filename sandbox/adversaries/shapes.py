"""Lists and tickers of four exchanges that our feeds read by field maps, in their documented shapes."""

from __future__ import annotations

import time
from typing import Any

from sandbox.adversaries.exchange import Adversary, AdverseMarket, AdverseQuote, Row


def binance_list(of: Adversary, _: Row) -> Row:
    filters = [
        {"filterType": "PRICE_FILTER", "minPrice": "0.0001", "maxPrice": "1000000.00", "tickSize": "0.0001"},
        {"filterType": "LOT_SIZE", "minQty": "0.00001", "maxQty": "9000.0", "stepSize": "0.00001"},
    ]
    symbols = [
        {
            "symbol": market.id, "status": "BREAK" if market.is_halted else "TRADING", "baseAsset": market.name,
            "quoteAsset": "USDT", "permissionSets": [["SPOT"]], "filters": filters, "isSpotTradingAllowed": True,
        }
        for market in of.list_markets()
    ]  # fmt: skip
    return {"timezone": "UTC", "serverTime": int(time.time() * 1000), "symbols": symbols}


def binance_tickers(of: Adversary, _: Row) -> list[Row]:
    def row(market: AdverseMarket, quote: AdverseQuote) -> Row:
        return {
            "symbol": market.id, "lastPrice": quote.last, "bidPrice": quote.last, "askPrice": quote.ask,
            "openPrice": quote.last, "highPrice": quote.last, "lowPrice": quote.last, "volume": "10",
            "quoteVolume": "1000", "closeTime": quote.stamp_or(0), "bidQty": "1", "askQty": "1", "count": 1,
        }  # fmt: skip

    return of.rows(row)


def gate_list(of: Adversary, _: Row) -> list[Row]:
    return [
        {
            "id": market.id, "base": market.name, "base_name": market.name, "quote": "USDT", "quote_name": "Tether",
            "fee": "0.2", "amount_precision": 2, "precision": 4, "sell_start": 1, "buy_start": 1, "type": "normal",
            "trade_status": "untradable" if market.is_halted else "tradable",
        }
        for market in of.list_markets()
    ]  # fmt: skip


def gate_tickers(of: Adversary, _: Row) -> list[Row]:
    def row(market: AdverseMarket, quote: AdverseQuote) -> Row:
        return {
            "currency_pair": market.id, "last": quote.last, "lowest_ask": quote.ask, "highest_bid": quote.last,
            "change_percentage": "0", "base_volume": "10", "quote_volume": "1000", "high_24h": quote.last,
            "low_24h": quote.last,
        }  # fmt: skip

    return of.rows(row)


def kraken_list(of: Adversary, _: Row) -> Row:
    pairs = {
        market.id: {
            "altname": market.id, "wsname": f"{market.name}/USD", "base": market.name, "quote": "ZUSD",
            "pair_decimals": 4, "lot_decimals": 8, "leverage_buy": [], "fees": [[0, 0.4]], "fees_maker": [[0, 0.25]],
            "ordermin": "0.00005", "costmin": "0.5", "tick_size": "0.0001",
            "status": "cancel_only" if market.is_halted else "online",
        }
        for market in of.list_markets()
    }  # fmt: skip
    return {"error": [], "result": pairs}


def kraken_tickers(of: Adversary, _: Row) -> Row:
    found: Row = {}

    def row(market: AdverseMarket, quote: AdverseQuote) -> Row:
        last = quote.last
        found[market.id] = {
            "a": [quote.ask, "1", "1"], "b": [last, "1", "1"], "c": [last, "1"], "v": ["1", "10"], "p": [last, last],
            "t": [1, 10], "l": [last, last], "h": [last, last], "o": last,
        }  # fmt: skip
        return {}

    of.rows(row)
    return {"error": [], "result": found}


def hyperliquid(of: Adversary, asked: Row) -> list[Any]:
    """Returns the spot markets; there are no perpetuals."""
    if "spot" in str(asked.get("type")):
        return hyperliquid_spot(of)
    if asked.get("type") == "perpDexs":
        return [None]
    return [{"universe": [], "marginTables": [], "collateralToken": 0}, []]


def hyperliquid_spot(of: Adversary) -> list[Any]:
    """Returns names, tokens and contexts; the list of tokens has holes, and every place shifts."""
    listed = of.list_markets()
    tokens = [{"name": "USDC", "szDecimals": 8, "weiDecimals": 8, "index": 0, "tokenId": "0x0", "isCanonical": True}]
    tokens += [
        {"name": market.name, "szDecimals": 2, "weiDecimals": 8, "index": market.number + 1,
         "tokenId": hex(market.number + 1), "isCanonical": True}
        for market in listed
    ]  # fmt: skip
    universe = [
        {"name": market.id, "tokens": [market.number + 1, 0], "index": market.number + 1, "isCanonical": False}
        for market in listed
    ]

    def row(market: AdverseMarket, quote: AdverseQuote) -> Row:
        last = quote.last
        return {"coin": market.id, "dayNtlVlm": "1000.0", "markPx": last, "midPx": last, "prevDayPx": last}

    contexts = {context["coin"]: context for context in of.rows(row)}
    named = [contexts[each["name"]] for each in universe if each["name"] in contexts]
    return [{"tokens": tokens, "universe": universe}, named]
