"""The sandbox's own interface under /_sandbox/: order faults, move clocks and markets, read what was asked."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from aiohttp import web

from sandbox import prices
from sandbox.exchange import CLONE, Exchange, Exchanges
from sandbox.faults import KINDS, Faults, WrongFault
from sandbox.journal import Journal
from sandbox.limits import Limits, WrongLimit
from sandbox.venues import VENUES

SYMBOL = re.compile(r"[A-Za-z0-9]{1,40}/[A-Za-z0-9]{1,40}(:[A-Za-z0-9.-]{1,60})?")
USUAL_LIMIT = 1000
CLOCKS = ("price", "stamp", "both")


class Wrong(Exception):
    """An order that is not carried out; the message says why."""


class Control:
    def __init__(self, exchanges: Exchanges, faults: Faults, journal: Journal, limits: Limits) -> None:
        self._exchanges = exchanges
        self._faults = faults
        self._journal = journal
        self._limits = limits
        self._started_at = time.time()

    def routes(self) -> list[web.RouteDef]:
        table: dict[tuple[str, str], Callable[[web.Request], Awaitable[Any]]] = {
            ("GET", "/health"): self.health,
            ("GET", "/venues"): self.venues,
            ("GET", "/price"): self.price,
            ("GET", "/requests"): self.requests,
            ("DELETE", "/requests"): self.forget,
            ("GET", "/concurrency"): self.concurrency,
            ("GET", "/faults"): self.faults,
            ("POST", "/faults"): self.order,
            ("DELETE", "/faults"): self.lift,
            ("DELETE", "/faults/{id}"): self.lift,
            ("GET", "/kinds"): self.kinds,
            ("GET", "/limits"): self.limits,
            ("POST", "/limits"): self.limit,
            ("DELETE", "/limits"): self.unlimit,
            ("GET", "/clocks"): self.clocks,
            ("POST", "/clocks"): self.set_clock,
            ("POST", "/markets"): self.move_markets,
            ("POST", "/reset"): self.reset,
        }
        return [web.route(method, f"/_sandbox{path}", _as_json(handle)) for (method, path), handle in table.items()]

    async def health(self, _: web.Request) -> Any:
        return {"status": "ok", "pid": os.getpid(), "started_at": self._started_at, "venues": sorted(VENUES)}

    async def venues(self, _: web.Request) -> Any:
        return [_render(exchange) for exchange in self._exchanges.all()]

    async def price(self, request: web.Request) -> Any:
        exchange, symbol = _text(request.query, "exchange"), _symbol(request.query.get("symbol"))
        second = int(_number(request.query, "second", time.time()))
        value = prices.price(exchange, symbol, second)
        wire = prices.wire_price(exchange, symbol, second)
        return {"exchange": exchange, "symbol": symbol, "second": second, "price": value, "wire": wire}

    async def requests(self, request: web.Request) -> Any:
        query = request.query
        found = self._journal.find(
            exchange=query.get("exchange"),
            since=_number(query, "since", 0),
            path=query.get("path", ""),
            limit=int(_number(query, "limit", USUAL_LIMIT)),
        )
        return [entry.render() for entry in found]

    async def forget(self, _: web.Request) -> Any:
        """Clears the log; also starts the counting of simultaneous requests anew."""
        self._journal.clear()
        return {"cleared": True}

    async def concurrency(self, _: web.Request) -> Any:
        return self._journal.peaks()

    async def faults(self, _: web.Request) -> Any:
        return [fault.render() for fault in self._faults.all()]

    async def order(self, request: web.Request) -> Any:
        known = [exchange.id for exchange in self._exchanges.all()]
        return self._faults.add(await _order(request), now=time.time(), known=known).render()

    async def lift(self, request: web.Request) -> Any:
        id_ = request.match_info.get("id")
        if id_ is not None and not id_.isdigit():
            raise Wrong(f"{id_!r} is no fault's number")
        return {"removed": self._faults.remove(None if id_ is None else int(id_))}

    async def kinds(self, _: web.Request) -> Any:
        return KINDS

    async def limits(self, _: web.Request) -> Any:
        """Lists limits with the most requests that any window held, and how many were refused."""
        return [limit.render() for limit in self._limits.all()]

    async def limit(self, request: web.Request) -> Any:
        return self._limits.order(await _order(request)).render()

    async def unlimit(self, _: web.Request) -> Any:
        self._limits.clear()
        return {"cleared": True}

    async def clocks(self, _: web.Request) -> Any:
        now = time.time()
        return {
            exchange.id: {"price": exchange.price_clock.render(now), "stamp": exchange.stamp_clock.render(now)}
            for exchange in self._exchanges.all()
        }

    async def set_clock(self, request: web.Request) -> Any:
        """Sets clocks; what the order does not name stays as it is."""
        order, now = await _order(request), time.time()
        which, offset, is_frozen = order.get("clock", "both"), order.get("offset_seconds"), order.get("frozen")
        if which not in CLOCKS or not isinstance(is_frozen, bool | None) or not isinstance(offset, int | float | None):
            raise Wrong("clock is price, stamp or both; offset_seconds a number; frozen true or false")
        for exchange in self._named(order):
            pairs = {"price": [exchange.price_clock], "stamp": [exchange.stamp_clock]}
            for clock in pairs.get(which, [exchange.price_clock, exchange.stamp_clock]):
                clock.offset_seconds = clock.offset_seconds if offset is None else float(offset)
                if is_frozen is not None:
                    clock.frozen_at = now if is_frozen else None
        return await self.clocks(request)

    async def move_markets(self, request: web.Request) -> Any:
        """Moves markets: `list`, `delist`, `halt`, `resume` hold symbols each."""
        order = await _order(request)
        wishes = {verb: [_symbol(one) for one in order.get(verb, [])] for verb in ("list", "delist", "halt", "resume")}
        exchanges = self._named(order)
        for exchange in exchanges:
            for symbol in wishes["list"]:
                exchange.enlist(symbol)
            for symbol in wishes["delist"]:
                exchange.delist(symbol)
            for symbol in wishes["halt"]:
                exchange.halt(symbol, is_halted=True)
            for symbol in wishes["resume"]:
                exchange.halt(symbol, is_halted=False)
        return [_render(exchange) for exchange in exchanges]

    async def reset(self, _: web.Request) -> Any:
        """Resets everything as if just started: no faults, real time, all markets, an empty log."""
        self._faults.remove()
        self._limits.clear()
        self._journal.clear()
        for exchange in self._exchanges.all():
            exchange.restore()
        return {"reset": True}

    def _named(self, order: Mapping[str, Any]) -> list[Exchange]:
        name = order.get("exchange")
        exchanges = self._exchanges.all() if name == "*" else self._exchanges.named(str(name))
        if not exchanges:
            hint = " (a clone exists once it was asked for something)" if CLONE.fullmatch(str(name)) else ""
            raise Wrong(f"no exchange {name!r}{hint}")
        return exchanges


def _as_json(handle: Callable[[web.Request], Awaitable[Any]]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        try:
            status, content = 200, await handle(request)
        except (Wrong, WrongFault, WrongLimit) as wrong:
            status, content = 400, {"error": str(wrong)}
        return web.Response(status=status, body=orjson.dumps(content), content_type="application/json")

    return answer


def _render(exchange: Exchange) -> dict[str, Any]:
    markets = list(exchange.markets.values())
    return {
        "id": exchange.id,
        "venue": exchange.venue.id,
        "hosts": exchange.venue.hosts,
        "market_count": len(markets),
        "symbols": [market.symbol for market in markets if not market.is_halted],
        "halted": [market.symbol for market in markets if market.is_halted],
    }


async def _order(request: web.Request) -> dict[str, Any]:
    try:
        order = orjson.loads(await request.read())
    except orjson.JSONDecodeError as error:
        raise Wrong(f"the body is not JSON: {error}") from error
    if not isinstance(order, dict):
        raise Wrong("the body is not a JSON object")
    return order


def _symbol(given: Any) -> str:
    if not isinstance(given, str) or not SYMBOL.fullmatch(given):
        raise Wrong(f"{given!r} is no symbol; like BTC/USDT or BTC/USDT:USDT")
    return given


def _text(query: Mapping[str, str], name: str) -> str:
    if not query.get(name):
        raise Wrong(f"{name} is missing")
    return query[name]


def _number(query: Mapping[str, str], name: str, default: float) -> float:
    try:
        return float(query.get(name, default))
    except ValueError as error:
        raise Wrong(f"{name} is {query[name]!r}; a number was expected") from error
