"""A venue's tickers pushed over websockets, through ccxt.pro, without its trust in what comes.

ccxt's own loop dies of one frame that does not parse, and a watcher then waits for ever; a bulk watcher also shows one
ticker of those that came. So each ticker is noted where every parser of ccxt ends, a frame that does not parse is
counted and passed over, and who listens judges by what was delivered, never by what a watcher returns.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp.client_middlewares import ClientMiddlewareType

from feeds import errors
from feeds.base import FeedSpec, Quote, Unsupported
from feeds.ccxt import markets
from feeds.ccxt.feed import REQUEST_MILLISECONDS
from feeds.ccxt.lazy import listed_in
from feeds.ccxt.pushed import pushed_class
from feeds.ccxt.pushed_depth import PushedDepth
from feeds.ccxt.quirks import quirk_of
from feeds.request_gate import ConnectGate
from feeds.shared.addresses import rebase
from feeds.shared.numbers import number, seconds, side
from feeds.shared.session import open_session
from feeds.stream_gate import gatekeeper

CONNECTIONS = 64
CLOSE_SECONDS = 2.0
TRADES_KEPT = 10  # by ccxt, for each market: nobody reads them there
USUAL_GROUP = 100  # symbols in one subscription: request lines and frames of any venue hold that


@dataclass(frozen=True, slots=True)
class StreamRoute:
    """How a venue is subscribed to. `in_one`: a single subscription brings every market. `longest_seconds`: the age at
    which the venue ends a connection, less a margin."""

    group_size: int = USUAL_GROUP
    in_one: bool = False
    longest_seconds: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


DAY_SECONDS = 23.5 * 3600
USUAL_ROUTE = StreamRoute()
_FULL_TICKERS = {"watchTickers": {"name": "ticker"}}  # the default, miniTicker, has neither bid nor ask
ROUTES: Mapping[str, StreamRoute] = {
    "binance": StreamRoute(group_size=200, options=_FULL_TICKERS, longest_seconds=DAY_SECONDS),
    "binanceusdm": StreamRoute(group_size=200, options=_FULL_TICKERS, longest_seconds=DAY_SECONDS),
    "hyperliquid": StreamRoute(in_one=True),
    "kraken": StreamRoute(group_size=1000),  # one message a second may be sent
}


def can_stream(exchange_id: str) -> bool:
    """ccxt.pro watches this venue's tickers in bulk."""
    if exchange_id not in listed_in("ccxt.pro"):
        return False
    return bool(pushed_class(exchange_id)().has.get("watchTickers"))


class CcxtStream:
    """One venue's pushed tickers. Lives in one event loop; `close` may be followed by `subscribe` again."""

    def __init__(self, spec: FeedSpec, *, ping_seconds: float | None = None, gate: ConnectGate | None = None) -> None:
        """KeyError for an id that ccxt.pro does not speak. Without `ping_seconds` it pings as ccxt thinks fit."""
        self.spec = spec
        self._before_requests = [gatekeeper(gate)] if gate else []
        self._route = ROUTES.get(spec.exchange_id, USUAL_ROUTE)
        self._client = _build(spec, self._route)
        if ping_seconds:
            self._client.streaming = {**self._client.streaming, "keepAlive": int(ping_seconds * 1000)}
        self._secrets = errors.secrets_in(spec.credentials)
        self._groups: list[frozenset[str]] = []
        self._watchers: set[asyncio.Task[None]] = set()
        self._wanted: frozenset[str] = frozenset()
        self.depth = PushedDepth(self._client, self._route.group_size)

    @property
    def longest_seconds(self) -> float | None:
        return self._route.longest_seconds

    @property
    def groups(self) -> list[frozenset[str]]:
        """The symbols of each subscription, as they are wanted now."""
        return [group & self._wanted for group in self._groups if group & self._wanted]

    @property
    def rejected_frames(self) -> int:
        return int(self._client.rejected_frames)

    @property
    def complaint(self) -> str:
        """The newest word about what went wrong; empty while nothing has."""
        return errors.shorten(errors.redact(self._client.complaint, self._secrets))

    @property
    def is_broken(self) -> bool:
        """A connection has ended or refused us; delivery may go on over others."""
        return bool(self._client.is_broken)

    def install_markets(self, packed: bytes) -> None:
        """The list that this venue's feed has packed."""
        markets.install(self._client, packed)

    async def subscribe(self, symbols: Collection[str]) -> None:
        """Asks for what is wanted and not asked for yet; what is no longer wanted is not handed on. Never waits."""
        client = self._client
        if client.session is None:
            client.session = _open_session(self.spec, *self._before_requests)
        client.open()  # some of ccxt's start tasks before their first connection, in the loop that this sets
        known = frozenset(symbol for symbol in symbols if symbol in (client.markets or {}))
        if not known:
            raise Unsupported(f"{self.spec.exchange_id} lists none of the {len(symbols)} wanted markets")
        client.wanted = self._wanted = known
        new = known.difference(*self._groups) if self._groups else known
        for group in self._split(new):
            self._groups.append(frozenset(group))
            self._watch(None if self._route.in_one else group)

    def drain(self) -> list[Quote]:
        """The newest quote of each market since the last call, in the venue's own values."""
        noted = self._client.noted
        self._client.noted = {}
        return [quote for ticker, received_at in noted.values() if (quote := self._quote(ticker, received_at))]

    @property
    def dial_pause_seconds(self) -> float:
        """How long the venue asked us to stay away when it last refused a handshake."""
        dials = getattr(self._client, "ws_dial_backoff", None) or {}  # ccxt makes it at the first dial
        waits = [state["until"] / 1000 - time.time() for state in dials.values()]
        return float(max([0.0, *waits]))

    @property
    def overtaken_count(self) -> int:
        """Tickers that a newer one of the same market replaced before anybody took them."""
        return int(self._client.overtaken_count)

    async def close(self) -> None:
        """Ends every connection and forgets every subscription; markets are kept."""
        watchers, self._watchers = self._watchers, set()
        self._groups.clear()
        self.depth.forget()
        for watcher in watchers:
            watcher.cancel()
        client = self._client
        for connection in list(client.clients.values()):
            connection.connected.cancel()  # a dial that still waits must not be answered later
        with contextlib.suppress(Exception):  # of ccxt, aiohttp and TLS, about what is over; who cancels us is obeyed
            await asyncio.wait_for(_close_all(client), CLOSE_SECONDS)
        session, client.session = client.session, None
        if session is not None:
            with contextlib.suppress(Exception):  # the same
                await asyncio.wait_for(session.close(), CLOSE_SECONDS)
        client.clients = {}
        client.ws_dial_backoff = {}
        client.forget()

    def _split(self, symbols: Iterable[str]) -> list[list[str]]:
        """One group where one subscription brings everything, and only once."""
        ordered = sorted(symbols)
        if not ordered:
            return []
        if self._route.in_one:
            if self._groups:
                self._groups[0] |= frozenset(ordered)
                return []
            return [ordered]
        size = self._route.group_size
        return [ordered[start : start + size] for start in range(0, len(ordered), size)]

    def _watch(self, group: list[str] | None) -> None:
        watcher = asyncio.get_running_loop().create_task(self._first_word(group))
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)

    async def _first_word(self, group: list[str] | None) -> None:
        """Sends the subscription. What comes after the first ticker is noted without a watcher."""
        try:
            await self._client.watch_tickers(group)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - ccxt's classes, aiohttp's, bare KeyErrors
            self._client.complain(error)

    def _quote(self, ticker: Mapping[str, Any], received_at: float) -> Quote | None:
        """None, and counted, for what holds no numbers."""
        get = ticker.get
        try:
            last = get("last")
            return Quote(
                get("symbol", ""),
                number(get("close") if last is None else last),
                side(get("bid")),
                side(get("ask")),
                side(get("high")),
                side(get("low")),
                number(get("baseVolume")),
                number(get("quoteVolume")),
                seconds(get("timestamp")),
                received_at,
            )
        except (ValueError, OverflowError):
            self._client.rejected_frames += 1
            return None


def _build(spec: FeedSpec, route: StreamRoute) -> Any:
    options = {**quirk_of(spec.exchange_id).options, **route.options, "tradesLimit": TRADES_KEPT}
    config: dict[str, Any] = {"timeout": REQUEST_MILLISECONDS, "options": options, "timeout_on_exit": 0}
    if spec.proxy:
        config |= {"httpsProxy": spec.proxy, "wsProxy": spec.proxy}
    if spec.ca_file:
        config["cafile"] = spec.ca_file
    client = pushed_class(spec.exchange_id)(config)
    client.own_session = False
    client.ssl_context = False  # the session brings its own
    client.newUpdates = True
    client.clients = {}
    client.forget()
    if spec.base_url:
        client.urls["api"] = rebase(client.urls["api"], spec.base_url.rstrip("/"))
    return client


def _open_session(spec: FeedSpec, *before: ClientMiddlewareType) -> aiohttp.ClientSession:
    return open_session(spec.ca_file, *before, public_only=spec.public_only, connections=CONNECTIONS)


async def _close_all(client: Any) -> None:
    connections = list(client.clients.values())
    for connection in connections:
        connection.error = connection.error or _ended_by_us()  # not a disconnection to complain of
    await asyncio.gather(*(connection.close() for connection in connections), return_exceptions=True)


def _ended_by_us() -> Exception:
    return ConnectionAbortedError("closed by us")
