"""Lists and tickers of twelve exchanges that marketmon collects by their ccxt ids alone, in their documented shapes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from sandbox.adversaries.exchange import Adversary, AdverseMarket, AdverseQuote, Row

Answer = Callable[[Adversary, Row], Any]


def _milliseconds() -> int:
    return int(time.time() * 1000)


def _is_spot(asked: Row, name: str, value: str) -> bool:
    return str(asked.get(name, value)).lower() == value


# --- okx ----------------------------------------------------------------------------------------------------------


def okx_list(of: Adversary, asked: Row) -> Row:
    if not _is_spot(asked, "instType", "spot"):
        return {"code": "0", "data": [], "msg": ""}
    rows: list[Row] = [
        {
            "alias": "", "baseCcy": market.name, "category": "1", "ctMult": "", "ctType": "", "ctVal": "",
            "ctValCcy": "", "expTime": "", "instId": market.id, "instType": "SPOT", "lever": "10",
            "listTime": "1548133413000", "lotSz": "0.00000001", "minSz": "0.00001", "optType": "", "quoteCcy": "USDT",
            "settleCcy": "", "state": "suspend" if market.is_halted else "live", "stk": "", "tickSz": "0.0001",
            "uly": "",
        }
        for market in of.list_markets()
    ]  # fmt: skip
    return {"code": "0", "data": rows, "msg": ""}


def okx_row(market: AdverseMarket, quote: AdverseQuote) -> Row:
    return {
        "instType": "SPOT", "instId": market.id, "last": quote.last, "lastSz": "1", "askPx": quote.ask, "askSz": "1",
        "bidPx": quote.last, "bidSz": "1", "open24h": quote.last, "high24h": quote.last, "low24h": quote.last,
        "volCcy24h": "1000", "vol24h": "10", "ts": str(quote.stamp_or(0)), "sodUtc0": "1", "sodUtc8": "1",
    }  # fmt: skip


def okx_tickers(of: Adversary, asked: Row) -> Row:
    return {"code": "0", "msg": "", "data": of.rows(okx_row) if _is_spot(asked, "instType", "spot") else []}


# --- bybit --------------------------------------------------------------------------------------------------------


def bybit_list(of: Adversary, asked: Row) -> Row:
    rows = [
        {
            "symbol": market.id, "baseCoin": market.name, "quoteCoin": "USDT", "innovation": "0",
            "status": "PreLaunch" if market.is_halted else "Trading", "marginTrading": "none",
            "lotSizeFilter": {"basePrecision": "0.0001", "quotePrecision": "0.0001", "minOrderQty": "0.01",
                              "maxOrderQty": "100", "minOrderAmt": "1", "maxOrderAmt": "100"},
            "priceFilter": {"tickSize": "0.0001"},
        }
        for market in (of.list_markets() if _is_spot(asked, "category", "spot") else [])
    ]  # fmt: skip
    result = {"category": asked.get("category", "spot"), "list": rows, "nextPageCursor": ""}
    return {"retCode": 0, "retMsg": "OK", "result": result, "time": _milliseconds()}


def bybit_row(market: AdverseMarket, quote: AdverseQuote) -> Row:
    return {
        "symbol": market.id, "bid1Price": quote.last, "bid1Size": "1", "ask1Price": quote.ask, "ask1Size": "1",
        "lastPrice": quote.last, "prevPrice24h": quote.last, "price24hPcnt": "0", "highPrice24h": quote.last,
        "lowPrice24h": quote.last, "turnover24h": "1000", "volume24h": "10", "usdIndexPrice": "",
    }  # fmt: skip


def bybit_tickers(of: Adversary, asked: Row) -> Row:
    rows = of.rows(bybit_row) if _is_spot(asked, "category", "spot") else []
    result = {"category": asked.get("category", "spot"), "list": rows}
    return {"retCode": 0, "retMsg": "OK", "result": result, "time": _milliseconds()}


# --- kucoin -------------------------------------------------------------------------------------------------------


def kucoin_list(of: Adversary, _: Row) -> Row:
    rows = [
        {
            "symbol": market.id, "name": f"{market.name}-USDT", "baseCurrency": market.name, "quoteCurrency": "USDT",
            "feeCurrency": "USDT", "market": "USDS", "baseMinSize": "0.1", "quoteMinSize": "0.01",
            "baseMaxSize": "10000000", "quoteMaxSize": "999999", "baseIncrement": "0.0001", "quoteIncrement": "0.0001",
            "priceIncrement": "0.0001", "isMarginEnabled": False, "enableTrading": not market.is_halted,
        }
        for market in of.list_markets()
    ]  # fmt: skip
    return {"code": "200000", "data": rows}


def kucoin_tickers(of: Adversary, _: Row) -> Row:
    stamps: list[int] = []

    def row(market: AdverseMarket, quote: AdverseQuote) -> Row:
        stamps.append(quote.stamp_or(0))
        of.served[market.id][quote.last] = None  # one time for the whole answer
        return {
            "symbol": market.id, "symbolName": f"{market.name}-USDT", "buy": quote.last, "sell": quote.ask,
            "changeRate": "0", "changePrice": "0", "high": quote.last, "low": quote.last, "vol": "10",
            "volValue": "1000", "last": quote.last, "averagePrice": quote.last, "takerFeeRate": "0.001",
            "makerFeeRate": "0.001", "takerCoefficient": "1", "makerCoefficient": "1",
        }  # fmt: skip

    rows = of.rows(row)
    whole = sorted(stamps)[len(stamps) // 2] if stamps else _milliseconds()
    return {"code": "200000", "data": {"time": whole, "ticker": rows}}


# --- bitget -------------------------------------------------------------------------------------------------------


def bitget_list(of: Adversary, _: Row) -> Row:
    rows = [
        {
            "symbol": market.id, "baseCoin": market.name, "quoteCoin": "USDT", "minTradeAmount": "0",
            "maxTradeAmount": "10000000", "takerFeeRate": "0.002", "makerFeeRate": "0.002", "pricePrecision": "4",
            "quantityPrecision": "4", "quotePrecision": "8", "minTradeUSDT": "1",
            "status": "halt" if market.is_halted else "online",
        }
        for market in of.list_markets()
    ]  # fmt: skip
    return {"code": "00000", "msg": "success", "requestTime": _milliseconds(), "data": rows}


def bitget_row(market: AdverseMarket, quote: AdverseQuote) -> Row:
    return {
        "symbol": market.id, "open": quote.last, "high24h": quote.last, "low24h": quote.last, "lastPr": quote.last,
        "quoteVolume": "1000", "baseVolume": "10", "usdtVolume": "1000", "bidPr": quote.last, "askPr": quote.ask,
        "bidSz": "1", "askSz": "1", "openUtc": quote.last, "ts": str(quote.stamp_or(0)), "change24h": "0",
    }  # fmt: skip


def bitget_tickers(of: Adversary, _: Row) -> Row:
    return {"code": "00000", "msg": "success", "requestTime": _milliseconds(), "data": of.rows(bitget_row)}


# --- whitebit, xt, bigone, btcturk --------------------------------------------------------------------------------


def whitebit_list(of: Adversary, _: Row) -> list[Row]:
    return [
        {
            "name": market.id, "stock": market.name, "money": "USDT", "stockPrec": "4", "moneyPrec": "4",
            "feePrec": "4", "makerFee": "0.1", "takerFee": "0.1", "minAmount": "0.01", "minTotal": "1",
            "maxTotal": "100000", "tradesEnabled": not market.is_halted, "isCollateral": False, "type": "spot",
        }
        for market in of.list_markets()
    ]  # fmt: skip


def whitebit_tickers(of: Adversary, _: Row) -> Row:
    found: Row = {}

    def row(market: AdverseMarket, quote: AdverseQuote) -> Row:
        found[market.id] = {
            "base_id": market.number, "quote_id": 825, "last_price": quote.last, "quote_volume": "1000",
            "base_volume": "10", "isFrozen": market.is_halted, "change": "0",
        }  # fmt: skip
        return {}

    of.rows(row)
    return found


def xt_list(of: Adversary, _: Row) -> Row:
    rows = [
        {
            "id": market.number, "symbol": market.id, "state": "OFFLINE" if market.is_halted else "ONLINE",
            "tradingEnabled": not market.is_halted, "openapiEnabled": True, "baseCurrency": market.name.lower(),
            "quoteCurrency": "usdt", "pricePrecision": 4, "quantityPrecision": 2, "displayLevel": "FULL",
            "filters": [{"filter": "QUOTE_QTY", "min": "1"}],
        }
        for market in of.list_markets()
    ]  # fmt: skip
    return {"rc": 0, "mc": "SUCCESS", "ma": [], "result": {"time": _milliseconds(), "version": "1", "symbols": rows}}


def xt_tickers(of: Adversary, _: Row) -> Row:
    def row(market: AdverseMarket, quote: AdverseQuote) -> Row:
        return {
            "s": market.id, "t": quote.stamp_or(0), "cv": "0", "cr": "0", "o": quote.last, "l": quote.last,
            "h": quote.last, "c": quote.last, "q": "10", "v": "1000",
        }  # fmt: skip

    return {"rc": 0, "mc": "SUCCESS", "ma": [], "result": of.rows(row)}


def bigone_list(of: Adversary, _: Row) -> Row:
    rows = [
        {
            "id": f"{market.number:08x}", "name": market.id, "quote_scale": 4, "base_scale": 4,
            "min_quote_value": "1", "max_quote_value": "100000",
            "base_asset": {"id": f"b{market.number}", "symbol": market.name, "name": market.name},
            "quote_asset": {"id": "u", "symbol": "USDT", "name": "Tether"},
        }
        for market in of.list_markets()
    ]  # fmt: skip
    return {"code": 0, "message": "", "data": rows}


def bigone_tickers(of: Adversary, _: Row) -> Row:
    def row(market: AdverseMarket, quote: AdverseQuote) -> Row:
        return {
            "asset_pair_name": market.id, "bid": {"price": quote.last, "order_count": 1, "quantity": "1"},
            "ask": {"price": quote.ask, "order_count": 1, "quantity": "1"}, "open": quote.last, "high": quote.last,
            "low": quote.last, "close": quote.last, "volume": "10", "daily_change": "0",
        }  # fmt: skip

    return {"code": 0, "message": "", "data": of.rows(row)}


def btcturk_list(of: Adversary, _: Row) -> Row:
    rows: list[Row] = [
        {
            "id": str(market.number), "name": market.id, "nameNormalized": f"{market.name}_USDT",
            "status": "HALTED" if market.is_halted else "TRADING", "numerator": market.name, "denominator": "USDT",
            "numeratorScale": "8", "denominatorScale": "4", "hasFraction": True, "filters": [],
        }
        for market in of.list_markets()
    ]  # fmt: skip
    return {"data": {"timeZone": "UTC", "serverTime": str(_milliseconds()), "symbols": rows}, "success": True}


def btcturk_tickers(of: Adversary, _: Row) -> Row:
    def row(market: AdverseMarket, quote: AdverseQuote) -> Row:
        last = float(quote.last)
        return {
            "pair": market.id, "pairNormalized": f"{market.name}_USDT", "timestamp": quote.stamp_or(0), "last": last,
            "high": last, "low": last, "bid": last, "ask": float(quote.ask), "open": last, "volume": 10.5,
            "average": last, "daily": 0, "dailyPercent": 0, "denominatorSymbol": "USDT",
            "numeratorSymbol": market.name, "order": market.number,
        }  # fmt: skip

    return {"data": of.rows(row), "success": True, "message": None, "code": 0}


# --- lbank, latoken, digifinex, hashkey ---------------------------------------------------------------------------


def lbank_list(of: Adversary, _: Row) -> Row:
    rows = [
        {"symbol": market.id, "quantityAccuracy": "4", "minTranQua": "0.0001", "priceAccuracy": "4"}
        for market in of.list_markets()
    ]
    return {"result": "true", "data": rows, "error_code": 0, "ts": _milliseconds()}


def lbank_tickers(of: Adversary, _: Row) -> Row:
    def row(market: AdverseMarket, quote: AdverseQuote) -> Row:
        ticker = {"high": quote.last, "vol": "10", "low": quote.last, "change": "0", "turnover": "1000"}
        return {
            "symbol": market.id, "ticker": {**ticker, "latest": quote.last}, "timestamp": quote.stamp_or(0)
        }  # fmt: skip

    return {"result": "true", "data": of.rows(row), "error_code": 0, "ts": _milliseconds()}


def latoken_currencies(of: Adversary, _: Row) -> list[Row]:
    """Returns the currencies; a pair is named by their tags alone, and its tickers know no id of the pair."""
    names = {f"c{market.number}": market.name for market in of.list_markets()} | {"usdt": "USDT"}
    return [
        {"id": id_, "status": "CURRENCY_STATUS_ACTIVE", "type": "CURRENCY_TYPE_CRYPTO", "name": name, "tag": name,
         "decimals": 8, "created": 1572912000000, "tier": 1, "minTransferAmount": 0}
        for id_, name in names.items()
    ]  # fmt: skip


def latoken_time(of: Adversary, _: Row) -> Row:
    return {"serverTime": _milliseconds()}


def latoken_list(of: Adversary, _: Row) -> list[Row]:
    return [
        {
            "id": market.id, "status": "PAIR_STATUS_INACTIVE" if market.is_halted else "PAIR_STATUS_ACTIVE",
            "baseCurrency": f"c{market.number}", "quoteCurrency": "usdt", "priceTick": "0.0001", "priceDecimals": 4,
            "quantityTick": "0.01", "quantityDecimals": 2, "created": 1572957210501, "minOrderQuantity": "0",
        }
        for market in of.markets.values()
    ]  # fmt: skip


def latoken_tickers(of: Adversary, _: Row) -> list[Row]:
    def row(market: AdverseMarket, quote: AdverseQuote) -> Row:
        return {
            "symbol": f"{market.name}/USDT", "baseCurrency": f"c{market.number}", "quoteCurrency": "usdt",
            "volume24h": "1000", "amount24h": "10", "change24h": "0", "lastPrice": quote.last, "lastQuantity": "1",
            "bestBid": quote.last, "bestBidQuantity": "1", "bestAsk": quote.ask, "bestAskQuantity": "1",
            "updateTimestamp": quote.stamp_or(0),
        }  # fmt: skip

    return of.rows(row)


def digifinex_list(of: Adversary, _: Row) -> Row:
    rows = [
        {
            "order_types": ["LIMIT"], "quote_asset": "USDT", "minimum_value": 2, "amount_precision": 4,
            "status": "HALT" if market.is_halted else "TRADING", "minimum_amount": 0.0001, "symbol": market.id,
            "is_allow": 0 if market.is_halted else 1, "zone": "MAIN", "base_asset": market.name, "price_precision": 4,
        }
        for market in of.list_markets()
    ]  # fmt: skip
    return {"symbol_list": rows, "code": 0}


def digifinex_tickers(of: Adversary, _: Row) -> Row:
    def row(market: AdverseMarket, quote: AdverseQuote) -> Row:
        last = float(quote.last)
        of.served[market.id][quote.last] = None  # one time for the whole answer
        return {
            "vol": 10.5, "change": 0, "base_vol": 1000.5, "sell": float(quote.ask), "last": last,
            "symbol": market.id.lower(), "low": last, "buy": last, "high": last,
        }  # fmt: skip

    return {"ticker": of.rows(row), "date": int(time.time()), "code": 0}


def hashkey_list(of: Adversary, _: Row) -> Row:
    rows: list[Row] = [
        {
            "symbol": market.id, "symbolName": market.id, "status": "HALT" if market.is_halted else "TRADING",
            "baseAsset": market.name, "baseAssetName": market.name, "baseAssetPrecision": "0.0001",
            "quoteAsset": "USDT", "quoteAssetName": "USDT", "quotePrecision": "0.0001", "filters": [],
        }
        for market in of.list_markets()
    ]  # fmt: skip
    return {"timezone": "UTC", "serverTime": str(_milliseconds()), "symbols": rows, "options": [], "contracts": []}


def hashkey_tickers(of: Adversary, _: Row) -> list[Row]:
    def row(market: AdverseMarket, quote: AdverseQuote) -> Row:
        return {
            "t": quote.stamp_or(0), "s": market.id, "c": quote.last, "h": quote.last, "l": quote.last, "o": quote.last,
            "b": quote.last, "a": quote.ask, "v": "10", "qv": "1000",
        }  # fmt: skip

    return of.rows(row)


ANSWERS: Mapping[str, tuple[Callable[[int], str], Mapping[str, Answer]]] = {
    "okx": (
        lambda number: f"N{number}-USDT", {"/public/instruments": okx_list, "/market/tickers": okx_tickers},
    ),
    "bybit": (
        lambda number: f"N{number}USDT", {"/instruments-info": bybit_list, "/market/tickers": bybit_tickers},
    ),
    "kucoin": (lambda number: f"N{number}-USDT", {"/symbols": kucoin_list, "/allTickers": kucoin_tickers}),
    "bitget": (
        lambda number: f"N{number}USDT", {"/public/symbols": bitget_list, "/spot/market/tickers": bitget_tickers},
    ),
    "whitebit": (lambda number: f"N{number}_USDT", {"/markets": whitebit_list, "/ticker": whitebit_tickers}),
    "xt": (lambda number: f"n{number}_usdt", {"/public/symbol": xt_list, "/ticker/24h": xt_tickers}),
    "bigone": (lambda number: f"N{number}-USDT", {"/asset_pairs": bigone_list, "/tickers": bigone_tickers}),
    "btcturk": (lambda number: f"N{number}USDT", {"/exchangeinfo": btcturk_list, "/ticker": btcturk_tickers}),
    "lbank": (lambda number: f"n{number}_usdt", {"/accuracy.do": lbank_list, "/24hr.do": lbank_tickers}),
    "latoken": (
        lambda number: f"pair-{number}",
        {"/currency": latoken_currencies, "/pair": latoken_list, "/ticker": latoken_tickers, "/time": latoken_time},
    ),
    "digifinex": (lambda number: f"N{number}_USDT", {"/symbols": digifinex_list, "/ticker": digifinex_tickers}),
    "hashkey": (lambda number: f"N{number}USDT", {"/exchangeInfo": hashkey_list, "/ticker/24hr": hashkey_tickers}),
}  # fmt: skip
# What else these exchanges are asked for: they have none of it.
NOTHING: Mapping[str, Mapping[str, Any]] = {
    "kucoin": {"": {"code": "200000", "data": []}},
    "bitget": {"": {"code": "00000", "msg": "success", "data": []}},
    "whitebit": {"": {}},
    "xt": {"/currencies": {"rc": 0, "mc": "SUCCESS", "result": {"currencies": []}},
           "/currency": {"rc": 0, "mc": "SUCCESS", "result": []}, "": {"returnCode": 0, "result": []}},
    "bigone": {"/assets": {"code": 0, "data": []}, "": []},
    "lbank": {"": {"result": "true", "data": [], "error_code": 0}},
    "digifinex": {"": {"code": 0, "data": []}},
}  # fmt: skip
