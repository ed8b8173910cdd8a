"""VALR's tickers pushed over one websocket: a list of pairs, answered by a summary of each whenever it changes.

Books and trades come over the same connection (`valr_depth.py`)."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Collection, Iterable
from typing import Any

import aiohttp
import orjson

from feeds import errors
from feeds.base import FeedSpec, Listing, Quote, Unsupported
from feeds.native.feed import unpack_markets
from feeds.native.valr import SUMMARY
from feeds.native.valr_depth import EVENTS as DEPTH_EVENTS
from feeds.native.valr_depth import ValrDepth
from feeds.request_gate import ConnectGate
from feeds.shared.addresses import rebase
from feeds.shared.numbers import number, seconds, side
from feeds.shared.session import open_session
from feeds.stream_gate import gatekeeper
from lib import clock

ADDRESS = "wss://api.valr.com/ws/trade"
EVENT = "MARKET_SUMMARY_UPDATE"
PING_SECONDS = 30.0
MISSED_PINGS = 2.5  # so many intervals without an answer end a connection
KEYLESS_SECONDS = 840.0  # VALR cuts a connection without keys after 15 minutes
DIAL_SECONDS = 10.0
CLOSE_SECONDS = 2.0


class ValrStream:
    """VALR's pushed tickers. Lives in one event loop; `close` may be followed by `subscribe` again."""

    longest_seconds: float | None = KEYLESS_SECONDS

    def __init__(self, spec: FeedSpec, *, ping_seconds: float | None = None, gate: ConnectGate | None = None) -> None:
        self.spec = spec
        self._before_requests = [gatekeeper(gate)] if gate else []
        self.rejected_frames = 0
        self.overtaken_count = 0
        self.dial_pause_seconds = 0.0
        self._ping_seconds = ping_seconds or PING_SECONDS
        self._secrets = errors.secrets_in(spec.credentials)
        self._markets: dict[str, Listing] = {}
        self._symbols: dict[str, str] = {}  # wanted ones, by VALR's names
        self._noted: dict[str, Quote] = {}
        self._complaint = ""
        self._ended = False
        self._answered_at = 0.0
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._life: asyncio.Task[None] | None = None
        self._sending: set[asyncio.Task[None]] = set()
        self.depth = ValrDepth(self._tell)

    @property
    def groups(self) -> list[frozenset[str]]:
        return [frozenset(self._symbols.values())] if self._symbols else []

    @property
    def complaint(self) -> str:
        return errors.shorten(errors.redact(self._complaint, self._secrets))

    @property
    def is_broken(self) -> bool:
        return self._ended

    def install_markets(self, packed: bytes) -> None:
        known = unpack_markets(packed)
        moved = [name for name, market in self._markets.items() if known.get(name, market).venue_id != market.venue_id]
        self._noted = {name: quote for name, quote in self._noted.items() if name not in moved}
        self._markets = known
        self.depth.install_markets(self._markets)

    async def subscribe(self, symbols: Collection[str]) -> None:
        """Tells a changed list to the connection that is there. Never waits for the exchange."""
        wanted = {self._markets[symbol].venue_id: symbol for symbol in symbols if symbol in self._markets}
        if not wanted:
            raise Unsupported(f"VALR lists none of the {len(symbols)} wanted markets")
        is_changed, self._symbols = wanted.keys() != self._symbols.keys(), wanted
        if self._life is None:
            self._ended = False
            self._life = asyncio.get_running_loop().create_task(self._live())
        elif self._socket is not None and is_changed:
            await self._ask(self._socket, EVENT, self._symbols)

    def drain(self) -> list[Quote]:
        noted, self._noted = self._noted, {}
        return list(noted.values())

    async def close(self) -> None:
        life, self._life = self._life, None
        if life is not None:
            life.cancel()
            await asyncio.wait([life], timeout=CLOSE_SECONDS)
        self._symbols, self._noted = {}, {}
        self._complaint, self._ended = "", False

    async def _live(self) -> None:
        """Runs one connection from the dial to its end, whoever ends it."""
        session = open_session(self.spec.ca_file, *self._before_requests, public_only=self.spec.public_only)
        pings = None
        try:
            self._socket = socket = await self._dial(session)
            await self._ask(socket, EVENT, self._symbols)
            self._answered_at = time.monotonic()
            pings = asyncio.create_task(self._ping(socket))
            async for message in socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    self._hear(message.data)
            self._end(self._complaint or f"the venue closed the connection with code {socket.close_code}")
        except Exception as error:  # noqa: BLE001 - aiohttp's, and sockets': each ends this connection
            self._end(f"{type(error).__name__}: {error}")
        finally:
            self._socket = None
            self.depth.forget()
            if pings is not None:
                pings.cancel()
            with contextlib.suppress(Exception):
                await asyncio.wait_for(session.close(), CLOSE_SECONDS)

    async def _dial(self, session: aiohttp.ClientSession) -> aiohttp.ClientWebSocketResponse:
        address = rebase(ADDRESS, self.spec.base_url.rstrip("/")) if self.spec.base_url else ADDRESS
        self.dial_pause_seconds = 0.0
        try:
            async with asyncio.timeout(DIAL_SECONDS):
                return await session.ws_connect(address, proxy=self.spec.proxy or None, autoclose=True)
        except aiohttp.WSServerHandshakeError as error:
            wait = error.headers.get("Retry-After", "") if error.headers else ""
            self.dial_pause_seconds = float(wait) if wait.isdigit() else 0.0
            raise

    def _tell(self, event: str, pairs: Iterable[str]) -> bool:
        """Sends the list as `_ask` does, without waiting; returns False without a connection."""
        if self._socket is None:
            return False
        sending = asyncio.get_running_loop().create_task(self._ask(self._socket, event, pairs))
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)
        return True

    async def _ask(self, socket: aiohttp.ClientWebSocketResponse, event: str, pairs: Iterable[str]) -> None:
        """Sends a list, which replaces the one before of the same event."""
        wanted = {"type": "SUBSCRIBE", "subscriptions": [{"event": event, "pairs": sorted(pairs)}]}
        with contextlib.suppress(ConnectionError):  # the reader tells of the end
            await socket.send_str(orjson.dumps(wanted).decode())

    async def _ping(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        while not socket.closed:
            await asyncio.sleep(self._ping_seconds)
            if time.monotonic() - self._answered_at > self._ping_seconds * MISSED_PINGS:
                self._end("pings are not answered")
                await socket.close()
                return
            with contextlib.suppress(ConnectionError):  # the reader tells of the end
                await socket.send_str('{"type":"PING"}')

    # {"type":"MARKET_SUMMARY_UPDATE","currencyPairSymbol":"BTCZAR","data":{"currencyPairSymbol":"BTCZAR",
    #   "askPrice":"1170500","bidPrice":"1170000","lastTradedPrice":"1170200","baseVolume":"12.34",
    #   "quoteVolume":"14440000","highPrice":"1180000","lowPrice":"1160000","created":"2026-11-20T10:00:00.001Z"}}
    def _hear(self, text: str) -> None:
        try:
            said = orjson.loads(text)
            kind = said["type"]
            if kind == EVENT:
                self._note(said["currencyPairSymbol"], said["data"])
            elif kind in DEPTH_EVENTS:
                self.depth.hear(kind, said["currencyPairSymbol"], said)
            elif kind == "PONG":
                self._answered_at = time.monotonic()
            elif kind == "SUBSCRIBED":
                self.depth.confirm(str(said.get("message")))
            elif kind != "UNSUBSCRIBED" and "message" in said:
                self._complain(str(said["message"]))
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            self.rejected_frames += 1
            self._complaint = f"a frame that does not parse: {type(error).__name__}: {error}"[:1000]

    def _note(self, pair: str, row: Any) -> None:
        symbol = self._symbols.get(pair)
        if symbol is None:
            return
        last, bid, ask, high, low, base_volume, quote_volume, stamp = SUMMARY.values(row)
        sides = side(bid), side(ask), side(high), side(low)
        quote = Quote(
            symbol, number(last), *sides, number(base_volume), number(quote_volume), seconds(stamp), clock.unix()
        )
        self.overtaken_count += symbol in self._noted
        self._noted[symbol] = quote

    def _complain(self, message: str) -> None:
        """Notes a complaint of VALR's, such as "Channel NEW_TRADE, pair BTCZAR combination invalid"."""
        words = f"VALR says: {message}"[:1000]
        if any(event in message for event in DEPTH_EVENTS):
            self.depth.complaint = words
        else:
            self._complaint = words

    def _end(self, why: str) -> None:
        self._ended, self._complaint = True, why[:1000]
