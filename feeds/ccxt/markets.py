"""An exchange's market list, without what a collector never reads, as bytes that other processes can take over.

ccxt keeps 16 kB per market (raw row, limits, precision, fees, everything twice); this keeps about a sixth.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from feeds.base import Identities, Listing
from feeds.ccxt.quirks import quirk_of
from feeds.shared.halt_words import NOT_ACTIVE, halt_of

KINDS = frozenset({"spot", "swap", "future", "option", "prediction"})
LONGEST_NAME = 100  # characters; the longest real symbols (options) have about 40
DROPPED = frozenset(
    {"info", "limits", "precision", "marginModes", "maker", "tierBased", "percentage", "feeSide", "created"}
)

# What ccxt derives from a list, and `install` replaces as one.
STATE = ("markets", "markets_by_id", "symbols", "ids", "currencies", "currencies_by_id", "codes")

_NONE: dict[str, None] = {}
_LIMITS = {name: {"min": None, "max": None} for name in ("leverage", "amount", "price", "cost")}
_PRECISION = dict.fromkeys(("amount", "price", "cost", "base", "quote"))
_MARGIN_MODES = dict.fromkeys(("cross", "isolated"))


def pack(client: Any, *, keep_info: bool) -> bytes:
    """Returns as bytes the markets `client` has just loaded; of each raw row all, or what its quirk keeps."""
    dropped = DROPPED - {"info"} if keep_info else DROPPED
    kept_keys = quirk_of(client.id).keeps
    markets = client.markets
    return orjson.dumps(
        {
            "markets": [
                _packed(market, dropped) | _kept(market, kept_keys) | _halt(market) for market in markets.values()
            ],
            "ids": {key: [m["symbol"] for m in group] for key, group in client.markets_by_id.items()},
            "currencies": {code: currency.get("id") for code, currency in (client.currencies or {}).items()},
            "common": client.commonCurrencies,
        },
        option=orjson.OPT_NON_STR_KEYS,
    )


def pack_rows(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Returns as bytes markets that ccxt did not load: id, symbol, base, quote, type and what else a client needs."""
    ids = {row["id"]: [row["symbol"]] for row in rows}
    return orjson.dumps({"markets": list(rows), "ids": ids, "currencies": {}, "common": {}})


def install(client: Any, packed: bytes) -> None:
    """Gives `client` a packed list as if it had loaded it."""
    content = orjson.loads(packed)
    template = client.safe_market_structure() | {
        "limits": _LIMITS,
        "precision": _PRECISION,
        "marginModes": _MARGIN_MODES,
        "info": _NONE,
    }
    markets = {row["symbol"]: template | _interned(row) for row in content["markets"]}
    client.commonCurrencies.update(content["common"])
    client.markets = markets
    client.markets_by_id = {
        sys.intern(key): [markets[name] for name in names if name in markets] for key, names in content["ids"].items()
    }
    client.symbols = sorted(markets)
    client.ids = sorted(client.markets_by_id)
    client.currencies = {code: _currency(code, venue_id) for code, venue_id in content["currencies"].items()}
    client.currencies_by_id = {entry["id"]: entry for entry in client.currencies.values() if entry["id"]}
    client.codes = sorted(client.currencies)
    # The finished load still holds the list as ccxt made it, five times the size of ours.
    client.markets_loading = None
    client.baseCurrencies = client.quoteCurrencies = client.currencies


def remember(client: Any) -> dict[str, Any]:
    return {name: getattr(client, name) for name in STATE}


def restore(client: Any, remembered: Mapping[str, Any]) -> None:
    for name, value in remembered.items():
        setattr(client, name, value)
    client.markets_loading = None  # the finished load holds the list that is given up


def listings_of(packed: bytes) -> tuple[Listing, ...]:
    """Returns the usable markets of a packed list."""
    return listings(orjson.loads(packed)["markets"])


def listings(markets: Iterable[Mapping[str, Any]]) -> tuple[Listing, ...]:
    return tuple(_listing(market) for market in markets if _is_usable(market))


def identities_in(packed: bytes) -> Identities:
    """Returns kind and id of each market of a packed list."""
    return identities(orjson.loads(packed)["markets"])


def identities(markets: Iterable[Mapping[str, Any]]) -> Identities:
    """Returns kind and id of each market, by its symbol."""
    return {market["symbol"]: (str(market.get("type")), str(market.get("id"))) for market in markets}


def _packed(market: Mapping[str, Any], dropped: frozenset[str]) -> dict[str, Any]:
    return {key: value for key, value in market.items() if value is not None and key not in dropped}


def _kept(market: Mapping[str, Any], keys: frozenset[str]) -> dict[str, Any]:
    info = market.get("info")
    found = {key: info[key] for key in keys if info.get(key) is not None} if keys and isinstance(info, dict) else {}
    return {"info": found} if found else {}


def _halt(market: Mapping[str, Any]) -> dict[str, str]:
    word = halt_of(market.get("info"), is_active=market.get("active"))
    return {"halt": word} if word else {}


def _interned(row: dict[str, Any]) -> dict[str, Any]:
    return {sys.intern(key): sys.intern(value) if type(value) is str else value for key, value in row.items()}


def _currency(code: str, venue_id: str | None) -> dict[str, Any]:
    return {"id": venue_id, "code": code, "numericId": None, "precision": None, "networks": {}, "info": _NONE}


def _is_usable(market: Mapping[str, Any]) -> bool:
    names = (market.get("symbol"), market.get("base"), market.get("quote"), market.get("id"))
    return market.get("type") in KINDS and all(
        isinstance(name, str) and 0 < len(name) <= LONGEST_NAME and name.isprintable() for name in names
    )


def _listing(market: Mapping[str, Any]) -> Listing:
    taker = market.get("taker")
    halt = market.get("halt") or (NOT_ACTIVE if market.get("active") is False else "")
    return Listing(
        symbol=market["symbol"],
        base=market["base"],
        quote=market["quote"],
        kind=market["type"],
        venue_id=market["id"],
        active=not halt,
        taker_fee=float(taker) if isinstance(taker, int | float) else None,
        halt=halt,
    )
