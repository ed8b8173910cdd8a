"""Answers as the venues give them: market lists and tickers, a few markets each, invented prices."""

from __future__ import annotations

from typing import Any

NOW_MS = 1_795_000_000_000
COINS = ("BTC", "ETH", "SOL", "XRP", "DOGE")


def binance_markets(*, futures: bool = False) -> dict[str, Any]:
    extra = {"marginAsset": "USDT", "contractType": "PERPETUAL", "pair": "x"} if futures else {}
    return {
        "timezone": "UTC",
        "serverTime": NOW_MS,
        "symbols": [
            {
                "symbol": f"{coin}USDT",
                "status": "TRADING",
                "baseAsset": coin,
                "quoteAsset": "USDT",
                "permissionSets": [["SPOT"]],
                "filters": [
                    {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000000.00", "tickSize": "0.01"},
                    {"filterType": "LOT_SIZE", "minQty": "0.00001", "maxQty": "9000.0", "stepSize": "0.00001"},
                ],
            }
            | extra
            for coin in COINS
        ],
    }


def binance_ticker(coin: str = "BTC", *, futures: bool = False, **changes: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "symbol": f"{coin}USDT",
        "priceChange": "120.00",
        "priceChangePercent": "0.185",
        "weightedAvgPrice": "64900.10",
        "lastPrice": "65000.12345678",
        "openPrice": "64880.00",
        "highPrice": "65500.00",
        "lowPrice": "64100.00",
        "volume": "12345.6",
        "quoteVolume": "801234567.8",
        "openTime": NOW_MS - 86_400_000,
        "closeTime": NOW_MS,
        "firstId": 1,
        "lastId": 9,
        "count": 9,
    }
    if not futures:
        row |= {
            "prevClosePrice": "64880.00",
            "bidPrice": "64999.90",
            "bidQty": "1.2",
            "askPrice": "65000.50",
            "askQty": "0.8",
        }
    row |= changes
    return {key: value for key, value in row.items() if value is not ...}


def coinbase_products() -> dict[str, Any]:
    return {
        "products": [
            {
                "product_id": f"{coin}-USD",
                "price": "65000.00",
                "price_percentage_change_24h": "0.5",
                "volume_24h": "1000.25",
                "approximate_quote_24h_volume": "65000000",
                "base_increment": "0.00000001",
                "quote_increment": "0.01",
                "price_increment": "0.01",
                "quote_min_size": "1",
                "quote_max_size": "150000000",
                "base_min_size": "0.00000001",
                "base_max_size": "3400",
                "status": "online",
                "trading_disabled": False,
                "product_type": "SPOT",
                "base_currency_id": coin,
                "quote_currency_id": "USD",
                "alias": "",
                "alias_to": [],
            }
            for coin in COINS
        ],
        "num_products": len(COINS),
    }


COINBASE_FIAT = {"data": [{"id": "USD", "name": "US Dollar", "min_size": "0.01"}]}
COINBASE_CRYPTO = {
    "data": [{"asset_id": coin, "code": coin, "name": coin, "type": "crypto", "exponent": 8} for coin in COINS]
}

KRAKEN_ASSETS = {
    "error": [],
    "result": {
        "XXBT": {"aclass": "currency", "altname": "XBT", "decimals": 10, "display_decimals": 5, "status": "enabled"},
        "XETH": {"aclass": "currency", "altname": "ETH", "decimals": 10, "display_decimals": 5, "status": "enabled"},
        "ZUSD": {"aclass": "currency", "altname": "USD", "decimals": 4, "display_decimals": 2, "status": "enabled"},
    },
}


def _kraken_pair(altname: str, base: str) -> dict[str, Any]:
    return {
        "altname": altname,
        "wsname": f"{altname[:3]}/USD",
        "base": base,
        "quote": "ZUSD",
        "pair_decimals": 1,
        "lot_decimals": 8,
        "leverage_buy": [],
        "fees": [[0, 0.4]],
        "fees_maker": [[0, 0.25]],
        "ordermin": "0.00005",
        "costmin": "0.5",
        "tick_size": "0.1",
        "status": "online",
    }


KRAKEN_PAIRS = {
    "error": [],
    "result": {"XXBTZUSD": _kraken_pair("XBTUSD", "XXBT"), "XETHZUSD": _kraken_pair("ETHUSD", "XETH")},
}


def kraken_ticker(**changes: Any) -> dict[str, Any]:
    return {
        "a": ["65000.1", "1", "1.000"],
        "b": ["64999.9", "1", "1.000"],
        "c": ["65000.0", "0.01"],
        "v": ["10.0", "100.5"],
        "p": ["64900.0", "64950.0"],
        "t": [10, 100],
        "l": ["64500.0", "64100.0"],
        "h": ["65300.0", "65500.0"],
        "o": "64880.0",
    } | changes


KRAKEN_TICKERS = {"error": [], "result": {"XXBTZUSD": kraken_ticker(), "XETHZUSD": kraken_ticker(c=["3500.5", "1"])}}

LUNO_MARKETS = {
    "markets": [
        {
            "market_id": f"{base}ZAR",
            "trading_status": "ACTIVE",
            "base_currency": base,
            "counter_currency": "ZAR",
            "min_volume": "0.0001",
            "max_volume": "100.00",
            "volume_scale": 6,
            "min_price": "10.00",
            "max_price": "9999999.00",
            "price_scale": 0,
            "fee_scale": 8,
        }
        for base in ("XBT", "ETH")
    ]
}
LUNO_TICKERS = {
    "tickers": [
        {
            "pair": f"{base}ZAR",
            "timestamp": NOW_MS,
            "bid": "1170000.00",
            "ask": "1170500.00",
            "last_trade": "1170200.00",
            "rolling_24_hour_volume": "12.34",
            "status": "ACTIVE",
        }
        for base in ("XBT", "ETH")
    ]
}

HYPERLIQUID_SWAP = [
    {
        "universe": [
            {"szDecimals": 5, "name": "BTC", "maxLeverage": 40, "marginTableId": 56},
            {"szDecimals": 4, "name": "ETH", "maxLeverage": 25, "marginTableId": 55},
        ],
        "marginTables": [],
        "collateralToken": 0,
    },
    [
        {
            "funding": "0.0000125",
            "openInterest": "31000.5",
            "prevDayPx": "64800.0",
            "dayNtlVlm": "2800000000.0",
            "premium": "0.0001",
            "oraclePx": "65010.0",
            "markPx": "65005.0",
            "midPx": price,
            "impactPxs": ["64999.0", "65002.0"],
            "dayBaseVlm": "43000.1",
        }
        for price in ("65000.5", "3500.25")
    ],
]
HYPERLIQUID_SPOT = [
    {
        "tokens": [
            {"name": "USDC", "szDecimals": 8, "weiDecimals": 8, "index": 0, "tokenId": "0x6d", "isCanonical": True},
            {"name": "PURR", "szDecimals": 0, "weiDecimals": 5, "index": 1, "tokenId": "0xc1", "isCanonical": True},
        ],
        "universe": [{"name": "PURR/USDC", "tokens": [1, 0], "index": 0, "isCanonical": True}],
    },
    [
        {
            "dayNtlVlm": "1000.0",
            "markPx": "0.2",
            "midPx": "0.2001",
            "prevDayPx": "0.19",
            "circulatingSupply": "1",
            "coin": "PURR/USDC",
        }
    ],
]
