"""`python -m sandbox adversary`: serves all adversaries, and takes orders.

Lists grow and shrink, ids collide and are renamed, places shift, markets halt, caches answer what is old, parts are
missing, stamps come in other units. All by one seed, in the documented shapes of sixteen real exchanges. An exchange is
asked below `/VENUE/`, so `base_url` ends with its name.

    GET  /_adversary/served?venue=…   what was sent of each id, and the list as it is now
    POST /_adversary/lie      {"venue": …, "kind": "freeze", "seconds": 30, "seconds_ago": 3600}
    POST /_adversary/refuse   {"venue": …, "kind": "html", "seconds": 10}
    POST /_adversary/still    {"still": true}    lists move no more, and nothing fails by chance
    POST /_adversary/move     {"venue": …}       a list moves once
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from sandbox.adversaries import shapes, unnamed
from sandbox.adversaries.exchange import Adversary, Lie, Row
from sandbox.adversaries.streams import SHAPES, Listener

CHANCE_KINDS = ("html", "wait", "empty", "cut")
LIES = ("freeze", "stale", "leap", "short")


@dataclass(frozen=True)
class AdverseVenue:
    """How an adversary is asked: ids by number, an answer for each end of a path, and what it has nothing of."""

    id_of: Callable[[int], str]
    answers: Mapping[str, Callable[[Adversary, Row], Any]]
    others: Mapping[str, Any] = field(default_factory=dict)


VENUES = {
    "binance": AdverseVenue(
        lambda number: f"N{number}USDT",
        {"/api/v3/exchangeInfo": shapes.binance_list, "/api/v3/ticker/24hr": shapes.binance_tickers},
        {"/api/v3/time": {"serverTime": 0}},
    ),
    "gate": AdverseVenue(
        lambda number: f"N{number}_USDT",
        {"/spot/currency_pairs": shapes.gate_list, "/spot/tickers": shapes.gate_tickers},
        {"/spot/currencies": [], "/margin/currency_pairs": [], "/contracts": [], "/underlyings": []},
    ),
    "kraken": AdverseVenue(
        lambda number: f"N{number}USD",
        {"/public/AssetPairs": shapes.kraken_list, "/public/Ticker": shapes.kraken_tickers},
        {"/public/Assets": {"error": [], "result": {}}, "/public/Time": {"error": [], "result": {"unixtime": 0}}},
    ),
    "hyperliquid": AdverseVenue(lambda number: f"@{number + 1}", {"/info": shapes.hyperliquid}),
} | {
    name: AdverseVenue(id_of, answers, unnamed.NOTHING.get(name, {}))
    for name, (id_of, answers) in unnamed.ANSWERS.items()
}


class AdversaryServer:
    """The adversaries, what goes wrong with them by chance or by order, and what caches have kept of them."""

    def __init__(self, *, seed: int = 1, fault_share: float = 0.03, push_seconds: float = 1.0) -> None:
        self._chance = random.Random(seed)
        self._fault_share, self._push_seconds = fault_share, push_seconds
        self._last: dict[tuple[str, str], Any] = {}
        self._refusals: dict[str, tuple[str, float]] = {}
        self._is_still = False
        self.adversaries = {
            name: Adversary(name, random.Random(f"{seed}{name}"), venue.id_of) for name, venue in VENUES.items()
        }

    def application(self) -> web.Application:
        application = web.Application()
        application.router.add_get("/_adversary/served", self.tell)
        for name, order in (("lie", self.lie), ("refuse", self.refuse), ("still", self.still), ("move", self.move)):
            application.router.add_post(f"/_adversary/{name}", order)
        application.router.add_route("*", "/{venue}/{place:.*}", self.answer)
        return application

    # --- orders -------------------------------------------------------------------------------------------------

    async def tell(self, request: web.Request) -> web.Response:
        of = self.adversaries[request.query["venue"]]
        listed = {market.id: market.is_halted for market in of.markets.values()}
        return web.json_response(
            {"answers": of.answers, "lists": of.lists, "served": of.served, "listed": listed, "lied": sorted(of.lied),
             "true_at": of.true_at, "names": {market.id: market.name for market in of.markets.values()}}
        )  # fmt: skip

    async def lie(self, request: web.Request) -> web.Response:
        order = await request.json()
        if order["kind"] not in LIES:
            return web.json_response({"error": f"kind is one of {LIES}"}, status=400)
        now = time.time()
        ago = float(order.get("seconds_ago", 0))
        of = self.adversaries[order["venue"]]
        of.lies = [lie for lie in of.lies if lie.until > now and lie.kind != order["kind"]]
        of.kept.clear()
        of.lies.append(Lie(order["kind"], now + float(order["seconds"]), ago, now))
        return web.json_response({})

    async def refuse(self, request: web.Request) -> web.Response:
        order = await request.json()
        self._refusals[order["venue"]] = order["kind"], time.time() + float(order["seconds"])
        return web.json_response({})

    async def still(self, request: web.Request) -> web.Response:
        self._is_still = bool((await request.json())["still"])
        for of in self.adversaries.values():
            of.is_still = self._is_still
        return web.json_response({})

    async def move(self, request: web.Request) -> web.Response:
        of = self.adversaries[(await request.json())["venue"]]
        was, of.is_still = of.is_still, False
        of.move()
        of.is_still = was
        return web.json_response({})

    # --- answers ------------------------------------------------------------------------------------------------

    async def answer(self, request: web.Request) -> web.StreamResponse:
        name, path = request.match_info["venue"], f"/{request.match_info['place']}"
        venue = VENUES.get(name)
        if venue is None:
            return web.json_response({"error": f"no adversary {name}"}, status=404)
        if (kind := self._fault(name)) is not None:
            return _instead(kind)
        if request.headers.get("Upgrade", "").lower() == "websocket" and name in SHAPES:
            return await Listener(self.adversaries[name], SHAPES[name], self._push_seconds).serve(request)
        for end, make in venue.answers.items():
            if path.endswith(end):
                return self._answered(name, make, {**request.query, **await _content(request)})
        other = next((each for end, each in venue.others.items() if path.endswith(end)), None)
        if other is None:
            return web.json_response({"error": f"{path} is not here"}, status=404)
        return web.json_response(other)

    def _answered(self, venue: str, make: Callable[[Adversary, Row], Any], asked: Row) -> web.Response:
        """Answers anew, or now and then what a cache has kept, which says its age."""
        key = (venue, f"{make.__name__} {asked}")
        kept = self._last.get(key)
        if kept is not None and not self._is_still and self._chance.random() < self._fault_share:
            return web.json_response(kept[1], headers={"Age": str(int(time.time() - kept[0]))})
        content = make(self.adversaries[venue], asked)
        self._last[key] = (time.time(), content)
        return web.json_response(content)

    def _fault(self, venue: str) -> str | None:
        kind, until = self._refusals.get(venue, ("", 0.0))
        if until > time.time():
            return kind
        if self._is_still or self._chance.random() >= self._fault_share:
            return None
        return self._chance.choice(CHANCE_KINDS)


def _instead(kind: str) -> web.Response:
    if kind == "html":
        return web.Response(status=502, text="<html>bad gateway</html>", content_type="text/html")
    if kind == "waf":
        return web.Response(status=403, text="<html>Just a moment...</html>", content_type="text/html")
    if kind == "wait":
        return web.json_response({"error": "too many requests"}, status=429, headers={"Retry-After": "1"})
    return web.Response(text="" if kind == "empty" else '{"symbols": [', content_type="application/json")


async def _content(request: web.Request) -> Row:
    if request.method != "POST" or not request.can_read_body:
        return {}
    content = await request.json()
    return content if isinstance(content, dict) else {}
