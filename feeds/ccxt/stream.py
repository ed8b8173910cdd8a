"""An exchange's tickers pushed over websockets, through ccxt.pro, with each frame checked.

ccxt's own loop dies of one frame that does not parse, and a watcher then waits for ever; a bulk watcher also shows one
ticker of those that came. So each ticker is noted where every parser of ccxt ends, a frame that does not parse is
counted and passed over, and the listener judges by what was delivered, never by what a watcher returns.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp.client_middlewares import ClientMiddlewareType

from feeds import errors
from feeds.base import FeedSpec, Quote, Unsupported
from feeds.ccxt import markets
from feeds.ccxt.feed import REQUEST_MILLISECONDS
from feeds.ccxt.lazy import listed_in
from feeds.ccxt.pushed import Asked, asking, in_words, of_family, pushed_class, take_back
from feeds.ccxt.pushed_depth import PushedDepth
from feeds.ccxt.quirks import quirk_of
from feeds.ccxt.subscriptions import (
    NotStreamed,
    by_kind,
    halves,
    in_groups,
    is_not_supported,
    is_refusal,
    learned_of,
    may_be_halved,
)
from feeds.request_gate import ConnectGate
from feeds.shared.addresses import rebase
from feeds.shared.numbers import number, seconds, side
from feeds.shared.session import open_session
from feeds.stream_gate import gatekeeper

CONNECTIONS = 64
CLOSE_SECONDS = 2.0
TRADES_KEPT = 10  # by ccxt, for each market: nobody reads them there
USUAL_GROUP = 100  # symbols in one subscription: request lines and frames of any venue hold that
SMALL_GROUP = 20  # fewer markets may all be quiet at once


@dataclass(frozen=True, slots=True)
class StreamRoute:
    """The way to subscribe to an exchange. `in_one`: a single subscription brings every market. `longest_seconds`:
    the age at which the exchange ends a connection, less a margin."""

    group_size: int = USUAL_GROUP
    in_one: bool = False
    longest_seconds: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


DAY_SECONDS = 23.5 * 3600
USUAL_ROUTE = StreamRoute()
_FULL_TICKERS = {"watchTickers": {"name": "ticker"}}  # the default, miniTicker, has neither bid nor ask
# By the class that an exchange's own is derived from in ccxt: binanceus, binanceusdm and binancecoinm are binance's.
ROUTES: Mapping[str, StreamRoute] = {
    "binance": StreamRoute(group_size=200, options=_FULL_TICKERS, longest_seconds=DAY_SECONDS),
    "hyperliquid": StreamRoute(in_one=True),
    "kraken": StreamRoute(group_size=1000),  # one message a second may be sent
}
EVERYTHING = "every kind"  # where one subscription brings all


@dataclass(frozen=True, slots=True)
class Subscription:
    kind: str
    symbols: frozenset[str]


def can_stream(exchange_id: str) -> bool:
    """Says whether ccxt.pro watches this exchange's tickers in bulk."""
    if exchange_id not in listed_in("ccxt.pro"):
        return False
    return bool(pushed_class(exchange_id)().has.get("watchTickers"))


class CcxtStream:
    """One exchange's pushed tickers. Lives in one event loop; `close` may be followed by `subscribe` again."""

    def __init__(self, spec: FeedSpec, *, ping_seconds: float | None = None, gate: ConnectGate | None = None) -> None:
        """Raises KeyError for an id that ccxt.pro does not speak; without `ping_seconds` ccxt's own interval holds."""
        self.spec = spec
        self._before_requests = [gatekeeper(gate)] if gate else []
        self._route = of_family(ROUTES, spec.exchange_id, USUAL_ROUTE)
        self._learned = learned_of(spec.exchange_id)
        self._client = _build(spec, self._route)
        if ping_seconds:
            self._client.streaming = {**self._client.streaming, "keepAlive": int(ping_seconds * 1000)}
        self._secrets = errors.secrets_in(spec.credentials)
        self._subscriptions: list[Subscription] = []
        self._accepted: dict[str, int] = {}  # the largest subscription of each kind that has brought something
        self._watchers: set[asyncio.Task[None]] = set()
        self._wanted: frozenset[str] = frozenset()
        self.depth = PushedDepth(self._client, self._route.group_size)

    @property
    def longest_seconds(self) -> float | None:
        return self._route.longest_seconds

    @property
    def groups(self) -> list[frozenset[str]]:
        """Returns the symbols of each subscription, as they are wanted now. A kind that comes in small ones is one
        group: so few markets may all be quiet for long."""
        united: dict[str, frozenset[str]] = {}
        found = []
        for each in self._subscriptions:
            if self._learned.sizes.get(each.kind, USUAL_GROUP) < SMALL_GROUP:
                united[each.kind] = united.get(each.kind, frozenset()) | each.symbols
            else:
                found.append(each.symbols)
        return [group & self._wanted for group in (*found, *united.values()) if group & self._wanted]

    @property
    def unstreamed(self) -> str:
        """Returns what of the wanted markets is not pushed, and why; empty where all is."""
        kinds = by_kind(self._client.markets, self._wanted) if self._wanted else ()
        said = [f"{kind}: {why}" for kind, why in self._learned.unstreamed.items() if kind in (*kinds, EVERYTHING)]
        return errors.shorten(errors.redact("; ".join(said), self._secrets))

    @property
    def rejected_frames(self) -> int:
        return int(self._client.rejected_frames)

    @property
    def complaint(self) -> str:
        """Returns the newest word about what went wrong; empty while nothing has."""
        return errors.shorten(errors.redact(self._client.complaint, self._secrets))

    @property
    def is_broken(self) -> bool:
        """Says whether a connection has ended or refused us; delivery may go on over others."""
        return bool(self._client.is_broken)

    def install_markets(self, packed: bytes) -> None:
        """Installs the list that this exchange's feed has packed. What came of a symbol that is another market's now is
        forgotten."""
        before = markets.identities((self._client.markets or {}).values())
        markets.install(self._client, packed)
        now = markets.identities(self._client.markets.values())
        self._client.forget_markets([symbol for symbol, each in before.items() if now.get(symbol) != each])

    async def subscribe(self, symbols: Collection[str]) -> None:
        """Asks for what is wanted and not asked for yet; what is no longer wanted is not handed on. Never waits."""
        client = self._client
        known = frozenset(symbol for symbol in symbols if symbol in (client.markets or {}))
        if not known:
            raise Unsupported(f"{self.spec.exchange_id} lists none of the {len(symbols)} wanted markets")
        client.wanted = self._wanted = known
        pushed = self._pushed(known)
        self._learned.streams_nothing = not pushed
        if not pushed:
            raise NotStreamed(self.unstreamed)
        if client.session is None:
            client.session = _open_session(self.spec, *self._before_requests)
        client.open()  # some of ccxt's start tasks before their first connection, in the loop that this sets
        for kind, wanted in pushed.items():
            self._ask_for(kind, wanted)

    def drain(self) -> list[Quote]:
        """Returns the newest quote of each market since the last call, in the exchange's own values."""
        noted = self._client.noted
        self._client.noted = {}
        return [quote for ticker, received_at in noted.values() if (quote := self._quote(ticker, received_at))]

    @property
    def dial_pause_seconds(self) -> float:
        """Returns for how many seconds the exchange asked us to stay away when it last refused a handshake."""
        dials = getattr(self._client, "ws_dial_backoff", None) or {}  # ccxt makes it at the first dial
        waits = [state["until"] / 1000 - time.time() for state in dials.values()]
        return float(max([0.0, *waits]))

    @property
    def overtaken_count(self) -> int:
        """Returns how many tickers a newer one of the same market replaced before anybody took them."""
        return int(self._client.overtaken_count)

    async def close(self) -> None:
        """Ends every connection and forgets every subscription; markets are kept."""
        watchers, self._watchers = self._watchers, set()
        self._subscriptions.clear()
        self._accepted.clear()
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

    def _pushed(self, symbols: frozenset[str]) -> dict[str, list[str]]:
        """Returns the symbols by kind, without the kinds that the exchange does not push."""
        kinds = {EVERYTHING: sorted(symbols)} if self._route.in_one else by_kind(self._client.markets, symbols)
        return {kind: group for kind, group in kinds.items() if kind not in self._learned.unstreamed}

    def _ask_for(self, kind: str, symbols: Collection[str]) -> None:
        """Watches what is not watched yet. Where one subscription brings everything, it is made only once."""
        mine = [each for each in self._subscriptions if each.kind == kind]
        new = frozenset(symbols).difference(*(each.symbols for each in mine))
        if not new:
            return
        if not self._route.in_one:
            size = self._learned.sizes.get(kind, self._route.group_size)
            for group in in_groups(new, size):
                self._watch(kind, group)
        elif not mine:
            self._watch(kind, sorted(new))
        else:
            self._subscriptions = [Subscription(kind, mine[0].symbols | new)]

    def _watch(self, kind: str, group: list[str]) -> None:
        self._subscriptions.append(subscription := Subscription(kind, frozenset(group)))
        watcher = asyncio.get_running_loop().create_task(self._first_word(subscription))
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)

    async def _first_word(self, subscription: Subscription) -> None:
        """Sends the subscription. What comes after the first ticker is noted without a watcher."""
        asking.set(asked := Asked(is_depth=False))  # in this task alone
        try:
            await self._client.watch_tickers(None if self._route.in_one else sorted(subscription.symbols))
            self._note_accepted(subscription.kind, len(subscription.symbols))
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - ccxt's classes, aiohttp's, bare KeyErrors
            self._heed(subscription, asked, error)

    def _heed(self, subscription: Subscription, asked: Asked, error: Exception) -> None:
        """Asks for less, or not at all, where that is what the refusal means."""
        kind, group = subscription.kind, sorted(subscription.symbols)
        accepted = self._accepted.get(kind, 0)
        if is_not_supported(error):
            self._learned.unstreamed[kind] = str(error)
            self._subscriptions = [each for each in self._subscriptions if each.kind != kind]
            if not self._subscriptions:
                self._client.complain(error)
        elif self._route == USUAL_ROUTE and is_refusal(error) and may_be_halved(group, accepted=accepted):
            self._take_back(subscription, asked)
            if len(group) > accepted:  # else a market in it is to blame
                self._learned.sizes[kind] = min(self._learned.sizes.get(kind, len(group)), len(halves(group)[0]))
            for half in halves(group):
                self._watch(kind, half)
        elif is_refusal(error) and accepted and len(group) == 1:
            self._take_back(subscription, asked)  # this market alone is left to polls
            self._client.complaint = in_words(error)
        else:
            if not accepted:
                self._learned.sizes.pop(kind, None)  # smaller ones were refused, too: it was not their size
            self._client.complain(error)

    def _note_accepted(self, kind: str, size: int) -> None:
        """Notes an accepted size: where one was refused, the largest accepted is the size of the next ones."""
        self._accepted[kind] = max(size, self._accepted.get(kind, 0))
        if kind in self._learned.sizes:
            self._learned.sizes[kind] = max(size, self._learned.sizes[kind])

    def _take_back(self, subscription: Subscription, asked: Asked) -> None:
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)
        take_back(self._client, asked)

    def _quote(self, ticker: Mapping[str, Any], received_at: float) -> Quote | None:
        """Returns the ticker as a quote; None, and counted, for what holds no numbers."""
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
