"""Order books and trades over the client that brings an exchange's tickers; what is refused or lost is asked again."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from feeds.base import BadReply, OrderBook, TradePage
from feeds.ccxt import books, trades
from feeds.ccxt.books import Reach
from feeds.ccxt.pushed import MOST_LEVELS, Asked, asking, of_family, take_back
from feeds.ccxt.subscriptions import by_kind, halves, in_groups, is_not_supported, is_refusal, kind_of, may_be_halved
from feeds.shared.pushed_trades import MOST_HELD, TakenTrades
from lib import clock

BOOKS, TRADES = "books", "trades"
Key = tuple[str, str]  # kind and symbol
LONGEST_PAUSE_DOUBLINGS = 8
STABLE_SECONDS = 60.0  # what came for so long has earned a quick second try
# ccxt's trades there are not those that REST counts. By the class that an exchange's own is derived from.
TRADE_PARAMETERS: Mapping[str, Mapping[str, Any]] = {"binance": {"name": "aggTrade"}}
# Books that are known to follow the exchange's, by the same class, and why. Other exchanges' books are asked for:
# their changes are numbered, too (deribit's change_id, phemex' sequence), but ccxt does not look at the numbers.
FOLLOWED_BOOKS: Mapping[str, str] = {
    "binance": "it begins with a request, and each change continues the number of the one before",
    "kraken": "each message carries a checksum, which is compared",
    "okx": "each change names the number of the one before",
    "hyperliquid": "each message is the whole book",
    "upbit": "each message is the whole book",
    "coinbase": "the exchange promises to deliver every change",
}
# Asked for a book that they send already, these send no beginning.
UNSUBSCRIBE: Mapping[str, Callable[[Mapping[str, Any]], Mapping[str, Any]]] = {
    "coinbase": lambda market: {"type": "unsubscribe", "product_ids": [market["id"]], "channel": "level2"},
    "kraken": lambda market: {
        "method": "unsubscribe",
        "params": {"channel": "book", "symbol": [market["symbol"]], "depth": MOST_LEVELS["kraken"]},
    },
}


@dataclass(slots=True)
class DepthSubscription:
    """A market's books or trades, as they were asked for, maybe with others; `attempts` since that went well."""

    asked: Asked
    part: int
    task: asyncio.Task[None]
    asked_at: float
    attempts: int

    @property
    def hashes(self) -> Sequence[str]:
        """Returns its own name, where there is one for each market that was asked for with it, else all names."""
        names = self.asked.hashes
        return names[self.part : self.part + 1] if len(names) == self.asked.parts else names


@dataclass(slots=True)
class PushedDepth:
    """Books and trades of one client. Lives in its event loop, like the stream that it belongs to."""

    client: Any
    group_size: int
    _books: frozenset[str] = frozenset()
    _trades: frozenset[str] = frozenset()
    _lines: dict[Key, DepthSubscription] = field(default_factory=dict)
    _unbroken: set[str] = field(default_factory=set)
    _attempts: dict[Key, int] = field(default_factory=dict)
    _unsupported: dict[Key, str] = field(default_factory=dict)  # by kind of what is asked for and kind of market
    _sizes: dict[Key, int] = field(default_factory=dict)  # of the same, where a larger group was refused
    _left_out: set[Key] = field(default_factory=set)  # single ones that ccxt cannot ask for beside the others

    @property
    def _follows_books(self) -> bool:
        return bool(of_family(FOLLOWED_BOOKS, self.client.id, ""))

    @property
    def complaint(self) -> str:
        return str(self.client.depth_complaint)

    def want(self, book_symbols: Collection[str], trade_symbols: Collection[str]) -> None:
        """Limits what is handed on to these from now on. What the exchange cannot do is not wanted."""
        client = self.client
        follows = self._follows_books and client.has.get("watchOrderBook")
        self._books = self._known(book_symbols) if follows else frozenset()
        self._trades = self._known(trade_symbols) if client.has.get("watchTrades") else frozenset()
        client.books_wanted = self._books
        held = client.trades_held
        client.trades_held = {symbol: held.get(symbol) or deque(maxlen=MOST_HELD) for symbol in self._trades}
        for key in [key for key in self._lines if key not in self._keys()]:
            self._drop(key)

    def ask(self, *, silence_seconds: float, pause_seconds: float, longest_pause_seconds: float) -> None:
        """Asks for what is wanted and not asked for, and again for what has ended or fallen silent. Never waits."""
        now, missing = clock.unix(), []
        while self.client.doubted:
            self.renew(self.client.doubted.pop())
        for key in sorted(self._keys()):
            line = self._lines.get(key)
            if line is None:
                missing.append(key)
                continue
            if now - line.asked_at > STABLE_SECONDS:
                line.attempts = 0
            doublings = min(line.attempts, LONGEST_PAUSE_DOUBLINGS)
            pause = min(longest_pause_seconds, pause_seconds * 2.0**doublings)
            if now - line.asked_at > pause and self._is_lost(key, line, now, silence_seconds):
                self._attempts[key] = line.attempts + 1
                self._drop(key)
                missing.append(key)
        for kind in (BOOKS, TRADES):
            self._subscribe(kind, [symbol for each, symbol in missing if each == kind])
        if not missing:
            self._close_unused()

    def books(self, symbols: Collection[str], depth: int) -> dict[str, OrderBook]:
        """Returns the newest book of each of them that has one, received when it last changed. One whose best levels
        have left what is known of it since its beginning begins anew."""
        found = {}
        for symbol in self._books.intersection(symbols):
            book, at = self.client.orderbooks.get(symbol), self.client.books_at.get(symbol)
            if book is None or at is None:
                continue
            if self._is_known(symbol, book.limit(), depth):
                with contextlib.suppress(BadReply):
                    found[symbol] = books.read(book, depth, at)
            else:
                self.client.doubt(symbol, "its price has left the levels that were known")
        return found

    def _is_known(self, symbol: str, book: Any, depth: int) -> bool:
        reach: Reach | None = self.client.reaches.get(symbol)
        if reach is None:
            return True
        reach.shorten(book)
        return reach.covers(book, depth)

    def take_trades(self) -> dict[str, TakenTrades]:
        """Returns what came since the last call, by market."""
        tape, taken = trades.TAPES.get(self.client.id, trades.UNKNOWN), {}
        for symbol, held in self.client.trades_held.items():
            if held:
                rows, rejected = trades.read(held, tape)
                held.clear()
                page = TradePage(rows, clock.unix(), tape.is_numbered, rejected)
                taken[symbol] = TakenTrades(page, symbol in self._unbroken and symbol not in self.client.dropped)
                self._unbroken.add(symbol)
        self.client.dropped.clear()
        return taken

    def renew(self, symbol: str) -> None:
        """Discards this market's book, which is not believed: it begins anew at the next `ask`."""
        key = BOOKS, symbol
        if line := self._lines.get(key):
            self._forget_subscription(key, line)
            self.client.orderbooks.pop(symbol, None)
            self.client.books_at.pop(symbol, None)

    def forget(self) -> None:
        """Forgets every subscription: the connections are gone."""
        for line in self._lines.values():
            line.task.cancel()
        self._lines.clear()
        self._unbroken.clear()
        self._attempts.clear()
        self._left_out.clear()

    def _known(self, symbols: Collection[str]) -> frozenset[str]:
        return frozenset(symbol for symbol in symbols if symbol in self.client.markets)

    def _keys(self) -> set[Key]:
        wanted = {(BOOKS, symbol) for symbol in self._books} | {(TRADES, symbol) for symbol in self._trades}
        wanted -= self._left_out
        return {key for key in wanted if self._in_kind(key) not in self._unsupported} if self._unsupported else wanted

    def _in_kind(self, key: Key) -> Key:
        return key[0], kind_of(self.client.markets[key[1]])

    def _is_lost(self, key: Key, line: DepthSubscription, now: float, silence_seconds: float) -> bool:
        if not line.asked.url:
            return line.task.done()
        connection = self.client.clients.get(line.asked.url)
        if connection is None or any(each not in connection.subscriptions for each in line.hashes):
            return True
        kind, symbol = key
        if kind == TRADES:
            return False  # nobody trades: that is no fault
        changed_at: float = self.client.books_at.get(symbol, 0.0)
        return now - max(line.asked_at, changed_at) > silence_seconds

    def _subscribe(self, kind: str, symbols: list[str]) -> None:
        """Asks for each kind of market by itself."""
        many = bool(self.client.has.get("watchOrderBookForSymbols" if kind == BOOKS else "watchTradesForSymbols"))
        for of, of_one_kind in by_kind(self.client.markets, symbols).items():
            size = self._sizes.get((kind, of), self.group_size) if many else 1
            for group in in_groups(of_one_kind, size):
                self._begin(kind, group, many=many)

    def _begin(self, kind: str, group: list[str], *, many: bool) -> None:
        asked = Asked(parts=len(group))
        task = asyncio.get_running_loop().create_task(self._first_word(kind, group, asked, many=many))
        for part, symbol in enumerate(group):
            attempts = self._attempts.pop((kind, symbol), 0)
            self._lines[kind, symbol] = DepthSubscription(asked, part, task, clock.unix(), attempts)
            if kind == TRADES:
                self._unbroken.discard(symbol)

    async def _first_word(self, kind: str, group: list[str], asked: Asked, *, many: bool) -> None:
        """Sends the subscription. What comes after the first word is noted without a watcher."""
        asking.set(asked)  # in this task alone
        try:
            await self._call(kind, group, many=many)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - ccxt's classes, aiohttp's, bare KeyErrors
            self.client.depth_complaint = f"{type(error).__name__}: {error}"[:1000]
            in_kind = self._in_kind((kind, group[0]))
            if is_not_supported(error):
                self._unsupported[in_kind] = str(error)
            elif is_refusal(error) and may_be_halved(group, accepted=0):
                self._sizes[in_kind] = min(self._sizes.get(in_kind, len(group)), len(halves(group)[0]))
                take_back(self.client, asked)
            elif len(group) == 1 and not asked.url and is_refusal(error):
                self._left_out.add((kind, group[0]))  # refused before a word was sent: so it will be again

    def _call(self, kind: str, group: list[str], *, many: bool) -> Any:
        client = self.client
        if kind == BOOKS:
            levels = MOST_LEVELS.get(client.id)
            if many:
                return client.watch_order_book_for_symbols(group, levels)
            return client.watch_order_book(group[0], levels)
        parameters = dict(of_family(TRADE_PARAMETERS, client.id, {}))
        if many:
            return client.watch_trades_for_symbols(group, None, None, parameters)
        return client.watch_trades(group[0], None, None, parameters)

    def _drop(self, key: Key) -> None:
        line = self._lines.pop(key)
        self._forget_subscription(key, line)
        if key[0] == BOOKS:  # changes of a book that has missed some are not believed
            self.client.orderbooks.pop(key[1], None)
            self.client.books_at.pop(key[1], None)
        if not any(other.task is line.task for other in self._lines.values()):
            line.task.cancel()

    def _forget_subscription(self, key: Key, line: DepthSubscription) -> None:
        """Makes ccxt ask anew; before that the exchange is told where it needs to be."""
        connection = self.client.clients.get(line.asked.url)
        if connection is None:
            return
        known = [connection.subscriptions.pop(each, None) for each in line.hashes]
        unsubscribe, market = UNSUBSCRIBE.get(self.client.id), self.client.markets.get(key[1])
        if unsubscribe and market and key[0] == BOOKS and any(each is not None for each in known):
            _start(_send(connection, unsubscribe(market)))

    def _close_unused(self) -> None:
        """Closes connections that carry nothing any more; those of the tickers stay."""
        used = {line.asked.url for line in self._lines.values()} | self.client.ticker_urls
        if "" in used:
            return  # what is just being asked for may need one
        for url in self.client.depth_urls - used:
            connection = self.client.clients.pop(url, None)
            if connection is not None:
                connection.error = ConnectionAbortedError("closed by us")
                _start(connection.close())


_started: set[asyncio.Task[None]] = set()


def _start(work: Coroutine[Any, Any, None]) -> None:
    """Starts work whose end nobody waits for."""
    _started.add(task := asyncio.get_running_loop().create_task(work))
    task.add_done_callback(_started.discard)


async def _send(connection: Any, message: Mapping[str, Any]) -> None:
    with contextlib.suppress(Exception):  # the connection's end is told by who reads it
        await connection.send(message)
