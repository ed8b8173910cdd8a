"""A layer over ccxt.pro's classes: notes tickers, trades and books as they come, and trusts no frame."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from feeds.ccxt.books import Reach
from feeds.ccxt.checksums import with_checks
from feeds.ccxt.frames import with_short_way
from feeds.ccxt.lazy import pro_class
from feeds.request_gate import request_cost
from feeds.shared.pushed_trades import MOST_HELD
from lib import clock

if TYPE_CHECKING:
    Client = Any
else:
    Client = object

TRADE_STAMPS: Mapping[str, str] = {"upbit": "trade_timestamp"}  # ccxt takes when the message was made
MESSAGE_NUMBERS = frozenset({"id", "req_id", "reqId", "nonce", "time"})
T = TypeVar("T")
MOST_LEVELS: Mapping[str, int] = {"kraken": 100}  # asked for; other venues send what they have


@dataclass(slots=True)
class Asked:
    """A subscription: the connection it went over and ccxt's names for its parts."""

    is_depth: bool = True  # of books or trades
    parts: int = 1
    url: str = ""
    hashes: Sequence[str] = ()


# Set in the task that asks, where ccxt's own code runs until it has told `watch` what it wants.
asking: ContextVar[Asked | None] = ContextVar("asking", default=None)


class Pushed(Client):
    """A ccxt.pro client that notes every ticker, survives every frame, and says when a connection ends."""

    noted: dict[str, tuple[dict[str, Any], float]]
    wanted: frozenset[str] = frozenset()
    overtaken_count = 0
    rejected_frames = 0
    complaint = ""
    is_broken = False
    depth_complaint = ""
    trades_held: dict[str, deque[dict[str, Any]]]
    dropped: set[str]  # markets whose oldest trades nobody took in time
    books_wanted: frozenset[str] = frozenset()
    books_at: dict[str, float]
    reaches: dict[str, Reach]  # of books that begin with a request
    begun_with: dict[str, Any]  # the number of such a beginning, until a change has continued it
    doubted: set[str]  # markets whose books have missed a change
    ticker_urls: set[str]
    depth_urls: set[str]
    sent: dict[str, set[str]]  # subscriptions of tickers, by address

    def forget(self) -> None:
        self.noted = {}
        self.complaint, self.is_broken, self.depth_complaint = "", False, ""
        self.books_at, self.trades_held, self.dropped, self.doubted = {}, {}, set(), set()
        self.ticker_urls, self.depth_urls, self.sent = set(), set(), {}
        self.reaches, self.begun_with = {}, {}
        self.orderbooks: dict[str, Any] = {}
        self.trades: dict[str, Any] = {}

    def forget_markets(self, symbols: Collection[str]) -> None:
        """Forgets what came of these: they are other markets by now, or none."""
        for symbol in symbols:
            for held in (self.noted, self.orderbooks, self.books_at, self.trades_held, self.trades, self.tickers,
                         self.reaches, self.begun_with):  # fmt: skip
                held.pop(symbol, None)

    def complain(self, error: object) -> None:
        self.is_broken = True
        self.complaint = in_words(error)

    def doubt(self, symbol: str, why: str) -> None:
        """Hands this market's book on no longer."""
        self.orderbooks.pop(symbol, None)
        self.books_at.pop(symbol, None)
        self.doubted.add(symbol)
        self.depth_complaint = f"{symbol}: {why}"

    def safe_ticker(self, ticker: dict[str, Any], market: Any = None) -> dict[str, Any]:
        """Keeps the ticker as it is, not copied: some parsers add the time only afterwards."""
        symbol = ticker.get("symbol")
        if symbol in self.wanted:
            self.overtaken_count += symbol in self.noted
            self.noted[symbol] = (ticker, clock.unix())
        return ticker

    def safe_trade(self, trade: dict[str, Any], market: Any = None) -> Any:
        parsed = super().safe_trade(trade, market)
        stamp = _get(parsed.get("info"), TRADE_STAMPS.get(self.id))
        if stamp is not None:
            parsed["timestamp"] = stamp
        symbol = str(parsed.get("symbol"))
        held = self.trades_held.get(symbol)
        if held is not None:
            if len(held) == MOST_HELD:
                self.dropped.add(symbol)
            held.append(parsed)
        return parsed

    def iso8601(self, timestamp: Any = None) -> Any:
        """Returns None: nobody reads times as text."""
        return None

    async def throttle(self, cost: float | None = None) -> None:
        request_cost.set(1.0 if cost is None else float(cost))
        await super().throttle(cost)

    def stream(self, kind: Any, subscription_hash: Any, *count: Any) -> Any:
        """Returns Binance's stream: all that is asked for besides tickers shares a connection, in whatever groups."""
        return super().stream(kind, "depth" if _asks_for_depth() else subscription_hash, *count)

    async def fetch_rest_order_book_safe(self, symbol: Any, limit: Any = None, params: Any = None) -> Any:
        """Returns the beginning of a book whose changes are pushed."""
        book = await super().fetch_rest_order_book_safe(symbol, limit, params or {})
        self.books_at.pop(symbol, None)
        self.begun_with[symbol] = book.get("nonce")
        if limit:
            self.reaches[symbol] = Reach(limit)
            self.reaches[symbol].shorten(book)
        return book

    def watch(
        self, url: str, message_hash: str, message: Any = None, subscribe_hash: Any = None, subscription: Any = None
    ) -> Any:
        self._note_asked(url, [subscribe_hash])
        return super().watch(url, message_hash, message, subscribe_hash, subscription)

    def watch_multiple(
        self, url: str, message_hashes: Any, message: Any = None, subscribe_hashes: Any = None, subscription: Any = None
    ) -> Any:
        self._note_asked(url, list(subscribe_hashes or ()))
        once = self._unless_sent(url, message)
        return super().watch_multiple(url, message_hashes, once, subscribe_hashes, subscription)

    def _unless_sent(self, url: str, message: Any) -> Any:
        """Returns None for a message of tickers that went over the connection already: a channel of all markets is
        asked for by each of its subscriptions."""
        if _asks_for_depth() or not isinstance(message, dict):
            return message
        content = repr({name: value for name, value in message.items() if name not in MESSAGE_NUMBERS})
        sent = self.sent.setdefault(url, set())
        if content in sent:
            return None
        sent.add(content)
        return message

    def _note_asked(self, url: str, hashes: Sequence[str]) -> None:
        (self.depth_urls if _asks_for_depth() else self.ticker_urls).add(url)
        if (asked := asking.get()) is not None:
            asked.url, asked.hashes = url, hashes

    def client(self, url: str) -> Any:
        known = url in (self.clients or {})
        connection = super().client(url)
        if not known:
            read = with_short_way(self, connection.handle_text_or_binary_message)
            read, resolve = with_checks(self, read, MOST_LEVELS.get(self.id, 0)), connection.resolve
            connection.handle_text_or_binary_message = lambda data: self._read(read, data)
            connection.resolve = lambda result, message_hash: self._resolve(resolve, result, message_hash)
        return connection

    def on_error(self, client: Any, error: Any) -> None:
        if self._is_current(client):
            self._complain_of(client, error)
            super().on_error(client, error)

    def on_close(self, client: Any, code: Any) -> None:
        if self._is_current(client):
            self._complain_of(client, f"the venue closed the connection with code {code}")
            super().on_close(client, code)

    def _complain_of(self, client: Any, error: object) -> None:
        """Notes a complaint where it belongs: a connection that carries no tickers is none of their business."""
        if client.url in self.depth_urls and client.url not in self.ticker_urls:
            self.depth_complaint = in_words(error)
        else:
            self.complain(error)

    def _is_current(self, client: Any) -> bool:
        """Says whether it is in use: one that we closed may yet fail, at a subscription held by the rate limit."""
        return (self.clients or {}).get(client.url) is client

    def _read(self, read: Any, data: Any) -> None:
        try:
            read(data)
        except Exception as error:  # noqa: BLE001 - a frame can make ccxt's parsers stumble over anything
            self.rejected_frames += 1
            self.complaint = f"a frame that does not parse: {type(error).__name__}: {error}"[:1000]

    def _resolve(self, resolve: Any, result: Any, message_hash: Any) -> Any:
        """Notes when a book changed: every handler of every exchange ends here with the book that it has changed."""
        if self.books_wanted and isinstance(result, dict) and "bids" in result:
            symbol = result.get("symbol")
            if symbol in self.books_wanted and self._is_confirmed(symbol, result):
                self.books_at[symbol] = clock.unix()
        return resolve(result, message_hash)

    def _is_confirmed(self, symbol: str, book: dict[str, Any]) -> bool:
        """Says whether a change has followed on the request that the book began with."""
        if symbol in self.begun_with and self.begun_with[symbol] == book.get("nonce"):
            return False
        self.begun_with.pop(symbol, None)
        return True

    async def fetch_order_book_snapshot(self, client: Any, message: Any, subscription: Any) -> Any:
        """Fetches a book of Binance: contracts of both kinds count changes alike; ccxt knows only linear ones do."""
        market = self.markets.get(subscription.get("symbol")) or {}
        if market.get("inverse"):
            subscription = {**subscription, "type": "linear"}
        return await super().fetch_order_book_snapshot(client, message, subscription)


@cache
def pushed_class(exchange_id: str) -> type[Any]:
    original = pro_class(exchange_id)
    return type(original.__name__, (Pushed, original), {})


def of_family(table: Mapping[str, T], exchange_id: str, default: T) -> T:
    """Returns what `table` says of the exchange, or of the nearest class that ccxt's own for it is derived from."""
    names = (each.__name__ for each in pro_class(exchange_id).__mro__)
    return next((table[name] for name in (exchange_id, *names) if name in table), default)


def take_back(client: Any, asked: Asked) -> None:
    """Makes ccxt ask anew for what was refused."""
    client.sent.pop(asked.url, None)
    connection: Any = (client.clients or {}).get(asked.url)
    for each in asked.hashes if connection is not None else ():
        connection.subscriptions.pop(each, None)
        connection.rejections.pop(each, None)


def _get(row: Any, name: str | None) -> Any:
    return row.get(name) if name is not None and isinstance(row, dict) else None


def _asks_for_depth() -> bool:
    asked = asking.get()
    return asked is not None and asked.is_depth


def in_words(error: object) -> str:
    text = f"{type(error).__name__}: {error}" if isinstance(error, BaseException) else str(error)
    return text[:1000]
