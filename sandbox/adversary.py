"""`python -m sandbox adversary`: exchanges whose answers are sound and mean something else than one would assume.

Lists grow and shrink, ids collide and are renamed, places shift, markets halt, caches answer what is old, parts are
missing, stamps come in other units. All by one seed, in the documented shapes of four real exchanges.

A price tells whose it is: market number k in answer n costs `100 + k + n / 10,000`. What was served is at
`/_adversary/served?venue=&since=`, so that each stored row can be held against the answer it claims to be of.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

FIRST_PRICE = 100
ANSWERS_IN_A_UNIT = 10_000
KEPT = 2_000_000
LIST_LASTS = 25  # answers
LEAST_MARKETS, MOST_MARKETS = 30, 90
UNKNOWN = 900  # numbers from here on are markets that no list has
HALTED_SHARE, LEFT_OUT_SHARE, UNKNOWN_SHARE, TWICE_SHARE = 0.05, 0.04, 0.03, 0.03

Row = dict[str, Any]


@dataclass
class AdverseMarket:
    """A market of an adversary: `number` makes its prices, `name` is what it is called now."""

    number: int
    id: str
    name: str
    is_halted: bool = False


@dataclass(frozen=True, slots=True)
class ServedRow:
    """A row that was sent: of which market, with which price and stamp (Unix milliseconds; None where it said none)."""

    id: str
    number: int
    answer: int
    stamp_ms: int | None


@dataclass
class Adversary:
    """One exchange: its markets as they are now, the list that it shows, and what it has served."""

    venue: str
    chance: random.Random
    id_of: Callable[[int], str]
    markets: dict[str, AdverseMarket] = field(default_factory=dict)
    served: deque[ServedRow] = field(default_factory=lambda: deque(maxlen=KEPT))
    answers: int = 0
    lists: int = 0

    def list_markets(self) -> list[AdverseMarket]:
        """Returns the list as it is asked for now: shuffled, and changed since the last time."""
        self.lists += 1
        self._move()
        found = list(self.markets.values())
        self.chance.shuffle(found)
        return found

    def rows(self, shape: Callable[[AdverseMarket, str, int | None], Row]) -> list[Row]:
        """Returns the rows of one answer; `shape` makes the exchange's own of a market, its price and its stamp."""
        self.answers += 1
        if self.answers % LIST_LASTS == 0:
            self._move()
        number, stamp = self.answers % ANSWERS_IN_A_UNIT, int(time.time() * 1000)
        found = []
        for market in self._answered():
            said = self._stamp(stamp)
            found.append(shape(market, price(market.number, number), said))
            self.served.append(ServedRow(market.id, market.number, number, stamp if said is not None else None))
        self.chance.shuffle(found)
        return found

    def _answered(self) -> list[AdverseMarket]:
        known = [market for market in self.markets.values() if self.chance.random() > LEFT_OUT_SHARE]
        known = [market for market in known if not market.is_halted or self.chance.random() < 0.5]
        known += [each for each in known if self.chance.random() < TWICE_SHARE]
        if self.chance.random() < UNKNOWN_SHARE * 5:
            number = UNKNOWN + self.chance.randrange(50)
            known.append(AdverseMarket(number, self.id_of(number), f"N{number}"))
        return known

    def _stamp(self, stamp: int) -> int | None:
        """Returns the stamp as it is sent: mostly whole, now and then none, or in another unit."""
        unit = self.chance.random()
        if unit < 0.02:
            return None
        if unit < 0.03:
            return stamp * 1000
        return stamp

    def _move(self) -> None:
        """Lists some, delists some, renames some, halts some; ids stay with their numbers, names do not."""
        wanted = self.chance.randint(LEAST_MARKETS, MOST_MARKETS)
        while len(self.markets) > wanted:
            self.markets.pop(self.chance.choice(list(self.markets)))
        while len(self.markets) < wanted:
            number = self.chance.randrange(200)
            self.markets.setdefault(self.id_of(number), AdverseMarket(number, self.id_of(number), f"N{number}"))
        for market in self.markets.values():
            market.is_halted = self.chance.random() < HALTED_SHARE
            if self.chance.random() < 0.05:  # a new name, or one that another has, too
                market.name = f"N{self.chance.randrange(200)}"


def price(number: int, answer: int) -> str:
    return f"{FIRST_PRICE + number + answer / ANSWERS_IN_A_UNIT:.4f}"


def whose(value: float) -> tuple[int, int]:
    """Returns the number of the market and of the answer that a price tells."""
    units = round((value - FIRST_PRICE) * ANSWERS_IN_A_UNIT)
    return divmod(units, ANSWERS_IN_A_UNIT)


# --- the shapes of real exchanges ---------------------------------------------------------------------------------


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
    def row(market: AdverseMarket, last: str, stamp: int | None) -> Row:
        return {
            "symbol": market.id, "lastPrice": last, "bidPrice": last, "askPrice": f"{float(last) + 0.0001:.4f}",
            "openPrice": last, "highPrice": last, "lowPrice": last, "volume": "10", "quoteVolume": "1000",
            "closeTime": stamp if stamp is not None else 0, "bidQty": "1", "askQty": "1", "count": 1,
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
    def row(market: AdverseMarket, last: str, stamp: int | None) -> Row:
        return {
            "currency_pair": market.id, "last": last, "lowest_ask": f"{float(last) + 0.0001:.4f}", "highest_bid": last,
            "change_percentage": "0", "base_volume": "10", "quote_volume": "1000", "high_24h": last, "low_24h": last,
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

    def row(market: AdverseMarket, last: str, stamp: int | None) -> Row:
        ask = f"{float(last) + 0.0001:.4f}"
        found[market.id] = {
            "a": [ask, "1", "1"], "b": [last, "1", "1"], "c": [last, "1"], "v": ["1", "10"], "p": [last, last],
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

    def row(market: AdverseMarket, last: str, stamp: int | None) -> Row:
        return {"coin": market.id, "dayNtlVlm": "1000.0", "markPx": last, "midPx": last, "prevDayPx": last}

    contexts = {context["coin"]: context for context in of.rows(row)}
    named = [contexts[each["name"]] for each in universe if each["name"] in contexts]
    return [{"tokens": tokens, "universe": universe}, named]


# --- the server ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AdverseVenue:
    """How an adversary is asked: ids by number, and an answer for each end of a path."""

    id_of: Callable[[int], str]
    answers: dict[str, Callable[[Adversary, Row], Any]]


VENUES = {
    "binance": AdverseVenue(
        lambda number: f"N{number}USDT",
        {"/api/v3/exchangeInfo": binance_list, "/api/v3/ticker/24hr": binance_tickers},
    ),
    "gate": AdverseVenue(
        lambda number: f"N{number}_USDT", {"/spot/currency_pairs": gate_list, "/spot/tickers": gate_tickers}
    ),
    "kraken": AdverseVenue(
        lambda number: f"N{number}USD", {"/public/AssetPairs": kraken_list, "/public/Ticker": kraken_tickers}
    ),
    "hyperliquid": AdverseVenue(lambda number: f"@{number + 1}", {"/info": hyperliquid}),
}
OTHER_ANSWERS: dict[str, Any] = {
    "/spot/currencies": [],
    "/margin/currency_pairs": [],
    "/contracts": [],
    "/underlyings": [],
    "/public/Assets": {"error": [], "result": {}},
    "/api/v3/time": {"serverTime": 0},
    "/public/Time": {"error": [], "result": {"unixtime": 0}},
}


class AdversaryServer:
    """Serves all adversaries; a venue is asked below `/VENUE/`, so `base_url` ends with its name."""

    def __init__(self, *, seed: int = 1, fault_share: float = 0.03) -> None:
        self._chance = random.Random(seed)
        self._fault_share = fault_share
        self.adversaries = {
            name: Adversary(name, random.Random(f"{seed}{name}"), venue.id_of) for name, venue in VENUES.items()
        }
        self._last: dict[tuple[str, str], Any] = {}

    def application(self) -> web.Application:
        application = web.Application()
        application.router.add_get("/_adversary/served", self.tell)
        application.router.add_route("*", "/{venue}/{place:.*}", self.answer)
        return application

    async def tell(self, request: web.Request) -> web.Response:
        of = self.adversaries[request.query["venue"]]
        rows = [[row.id, row.number, row.answer, row.stamp_ms] for row in of.served]
        listed = {market.id: market.is_halted for market in of.markets.values()}
        return web.json_response({"answers": of.answers, "lists": of.lists, "served": rows, "listed": listed})

    async def answer(self, request: web.Request) -> web.Response:
        venue, path = request.match_info["venue"], f"/{request.match_info['place']}"
        if venue not in VENUES:
            return web.json_response({"error": f"no adversary {venue}"}, status=404)
        if (fault := self._fault()) is not None:
            return fault
        for end, make in VENUES[venue].answers.items():
            if path.endswith(end):
                return self._answered(venue, make, await _content(request))
        other = next((each for end, each in OTHER_ANSWERS.items() if path.endswith(end)), None)
        if other is None:
            return web.json_response({"error": "not here"}, status=404)
        return web.json_response(other)

    def _answered(self, venue: str, make: Callable[[Adversary, Row], Any], asked: Row) -> web.Response:
        """Answers anew, or now and then what a cache has kept, which says its age."""
        key = (venue, f"{make.__name__} {asked}")
        kept = self._last.get(key)
        if kept is not None and self._chance.random() < self._fault_share:
            return web.json_response(kept[1], headers={"Age": str(int(time.time() - kept[0]))})
        content = make(self.adversaries[venue], asked)
        self._last[key] = (time.time(), content)
        return web.json_response(content)

    def _fault(self) -> web.Response | None:
        if self._chance.random() >= self._fault_share:
            return None
        kind = self._chance.choice(("html", "wait", "empty", "cut"))
        if kind == "html":
            return web.Response(status=502, text="<html>bad gateway</html>", content_type="text/html")
        if kind == "wait":
            return web.json_response({"error": "too many requests"}, status=429, headers={"Retry-After": "1"})
        return web.Response(text="" if kind == "empty" else '{"symbols": [', content_type="application/json")


async def _content(request: web.Request) -> Row:
    if request.method != "POST":
        return {}
    content = await request.json()
    return content if isinstance(content, dict) else {}
