"""Takes every request that is not the control's, and answers as the venue would, or as a fault says."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

import orjson
from aiohttp import web

from sandbox import control
from sandbox.delivery import Answer, Vanished, deliver, encode, instead, obstruct
from sandbox.exchange import Exchange, Exchanges
from sandbox.faults import Fault, Faults
from sandbox.journal import Entry, Journal
from sandbox.limits import Limits
from sandbox.streams.session import Session
from sandbox.target import Target, resolve
from sandbox.venues import VENUES
from sandbox.venues.base import LIST, Ask, Refused

VENUE_BY_HOST = {host: venue for venue in VENUES.values() for host in venue.hosts}
STREAM_BY_HOST = {host: (venue, dialect) for venue in VENUES.values() for host, dialect in venue.streams.items()}
BODY_BYTES = 1_000_000


class Sandbox:
    def __init__(self, *, size: int | None = None, stream_seconds: float = 1.0) -> None:
        self.exchanges = Exchanges(size)
        self.stream_seconds = stream_seconds
        self.faults = Faults()
        self.limits = Limits()
        self.journal = Journal()

    def application(self) -> web.Application:
        application = web.Application(client_max_size=BODY_BYTES)
        application.add_routes(control.Control(self.exchanges, self.faults, self.journal, self.limits).routes())
        application.router.add_route("*", "/{target:.*}", self.answer)
        return application

    async def answer(self, request: web.Request) -> web.StreamResponse:
        target = resolve(request.raw_path, request.headers.get("Host", ""))
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self.stream(request, target)
        venue = VENUE_BY_HOST.get(target.host)
        if venue is None:
            return _nobody(target)
        exchange = self.exchanges.get(venue, target.clone)
        values, query = _parameters(target, await request.read())
        now = time.time()  # with the whole request here: the journal is in the order of its times
        met = self.faults.take(exchange.id, f"{target.host}{target.path}?{query}", now)
        met += self.limits.refusals(exchange.id, now)
        kinds = ",".join(fault.kind for fault in met) or None
        entry = Entry(
            now, exchange.id, request.method, target.host, target.path, query, exchange.second(now), fault=kinds
        )
        self.journal.begin(entry)
        try:
            return await self._answer(request, exchange, entry, values, met)
        finally:
            self.journal.end(entry)

    async def stream(self, request: web.Request, target: Target) -> web.StreamResponse:
        """Serves a handshake, and the connection that comes of it."""
        found = STREAM_BY_HOST.get(target.host)
        if found is None:
            return _nobody(target)
        venue, dialect = found
        now = time.time()
        exchange = self.exchanges.get(venue, target.clone)
        met = self.faults.take(exchange.id, f"{target.host}{target.path}?{target.query}", now)
        met += self.limits.refusals(exchange.id, now)
        kinds = ",".join(fault.kind for fault in met) or None
        entry = Entry(
            now, exchange.id, "OPEN", target.host, target.path, target.query, exchange.second(now), fault=kinds
        )
        self.journal.note(entry)
        try:
            await obstruct(request, met)
            answer = instead(met, exchange.venue.error, request.raw_path)
            if answer is not None:
                entry.status = answer.status
                return await deliver(request, answer, met)
            session = Session(exchange, dialect, self.faults, self.journal, target, self.stream_seconds)
            return await session.serve(request, entry)
        except Vanished:
            return web.Response(status=499)
        finally:
            entry.ended_at = time.time()

    async def _answer(
        self, request: web.Request, exchange: Exchange, entry: Entry, values: dict[str, Any], met: list[Fault]
    ) -> web.StreamResponse:
        try:
            await obstruct(request, met)
            answer = instead(met, exchange.venue.error, request.raw_path)
            if answer is None:
                answer = _render(exchange, entry, values, met, headers=request.headers)
            entry.status = answer.status
            return await deliver(request, answer, met)
        except Vanished:
            return web.Response(status=499)  # never sent: the connection is closed


def _render(
    exchange: Exchange, entry: Entry, values: dict[str, Any], met: list[Fault], *, headers: Mapping[str, str]
) -> Answer:
    """Renders the answer at the end of any delay: a late answer is not an old one."""
    view = exchange.view(time.time(), met)
    entry.second = view.second
    route = exchange.venue.find_route(entry.path)
    if route is None:
        return encode(404, exchange.venue.error(404))
    renderer, named = route
    try:
        payload = renderer(view, Ask(values, named, entry.query, headers))
    except Refused as refusal:
        return encode(refusal.status, refusal.body)
    if view.lies.values:
        payload = view.lies.edit(payload, {market.symbol: id_ for id_, market in view.markets.items()})
    return encode(200, payload)


def _parameters(target: Target, body: bytes) -> tuple[dict[str, Any], str]:
    """Returns the parameters of the query and of a JSON body, and the log's query, which shows both."""
    values: dict[str, Any] = dict(parse_qs(target.query, keep_blank_values=True)) if target.query else {}
    if not body:
        return values, target.query
    try:
        sent = orjson.loads(body)
    except orjson.JSONDecodeError:
        return values, target.query
    if isinstance(sent, list):
        return values | {LIST: sent}, target.query
    if isinstance(sent, dict):
        values |= sent
    flat = {**sent, **sent["req"]} if isinstance(sent, dict) and isinstance(sent.get("req"), dict) else sent
    shown = "&".join(f"{key}={value}" for key, value in flat.items() if not isinstance(value, dict | list))
    return values, "&".join(filter(None, [target.query, shown]))


def _nobody(target: Target) -> web.Response:
    message = f"no venue here answers for the host {target.host!r}; /_sandbox/venues lists them"
    return web.json_response({"error": message}, status=404)
