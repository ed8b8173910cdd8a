"""VALR's order books and trades, over the connection that brings its tickers.

A list of pairs is sent for each event and replaces the one before; each pair is confirmed or refused. Books come whole,
and only when they change: a quiet one is no fault, and left to requests.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from feeds import errors
from feeds.base import BadReply, Listing, OrderBook, RejectedRow, Trade, TradePage
from feeds.native.valr import book_of, trade_of
from feeds.shared.pushed_trades import MOST_HELD, TakenTrades
from lib import clock

BOOK, TRADE = "AGGREGATED_ORDERBOOK_UPDATE", "NEW_TRADE"
EVENTS = (BOOK, TRADE)
MOST_REJECTED = 100
EXCERPT_CHARACTERS = 200
MOST_DOUBLINGS = 8

Tell = Callable[[str, Iterable[str]], bool]
"""Asks for an event's pairs, which replace those before; False when there is no connection."""


@dataclass(slots=True)
class Channel:
    """One event's pairs, by VALR's names: wanted, asked for over this connection (None: nothing yet), and confirmed.
    `attempts` count those since the list last changed."""

    wanted: frozenset[str] = frozenset()
    asked: frozenset[str] | None = None
    confirmed: set[str] = field(default_factory=set)
    asked_at: float = -math.inf
    attempts: int = 0


@dataclass(slots=True)
class HeldTrades:
    """A market's trades that nobody has taken yet. `is_whole`: none is missing since those taken before."""

    trades: deque[Trade] = field(default_factory=lambda: deque(maxlen=MOST_HELD))
    rejected: list[RejectedRow] = field(default_factory=list)
    is_whole: bool = False


class ValrDepth:
    """Books and trades of VALR. Lives in the event loop of the stream whose connection it shares."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._markets: Mapping[str, Listing] = {}
        self._symbols: dict[str, str] = {}  # by VALR's names, of wanted markets
        self._channels = {event: Channel() for event in EVENTS}
        self._books: dict[str, tuple[Any, float]] = {}  # the newest frame of each market, and when it came
        self._tapes: dict[str, HeldTrades] = {}
        self.complaint = ""

    def install_markets(self, markets: Mapping[str, Listing]) -> None:
        self._markets = markets

    def want(self, book_symbols: Collection[str], trade_symbols: Collection[str]) -> None:
        """Limits what is handed on to these from now on."""
        for event, symbols in ((BOOK, book_symbols), (TRADE, trade_symbols)):
            known = {self._markets[symbol].venue_id: symbol for symbol in symbols if symbol in self._markets}
            self._symbols |= known
            self._channels[event].wanted = frozenset(known)
        self._books = {symbol: known for symbol, known in self._books.items() if symbol in book_symbols}
        self._tapes = {
            symbol: self._tapes.get(symbol) or HeldTrades() for symbol in trade_symbols if symbol in self._markets
        }

    def ask(self, *, silence_seconds: float, pause_seconds: float, longest_pause_seconds: float) -> None:
        """Asks for what is wanted and not asked for, and again for what is not confirmed. Never waits."""
        now = time.monotonic()
        for event, channel in self._channels.items():
            if channel.asked == channel.wanted or not (channel.asked or channel.wanted):
                pause = pause_seconds * 2.0 ** min(channel.attempts, MOST_DOUBLINGS)
                patience = max(silence_seconds, min(longest_pause_seconds, pause))
                if channel.wanted <= channel.confirmed or now - channel.asked_at < patience:
                    continue
                channel.attempts += 1
            else:
                channel.attempts = 0
            if self._tell(event, sorted(channel.wanted)):
                channel.asked, channel.asked_at = channel.wanted, now
                channel.confirmed &= channel.wanted

    def books(self, symbols: Collection[str], depth: int) -> dict[str, OrderBook]:
        """Returns the newest book of each of them that has one, received when it last changed."""
        found = {}
        for symbol in self._books.keys() & set(symbols):
            frame, at = self._books[symbol]
            try:
                found[symbol] = book_of(frame, depth, at)
            except (BadReply, ValueError, TypeError, KeyError, AttributeError) as error:
                del self._books[symbol]
                self.complaint = f"a book of {symbol} that does not parse: {type(error).__name__}: {error}"[:1000]
        return found

    def take_trades(self) -> dict[str, TakenTrades]:
        """Returns what came since the last call, by market."""
        taken = {}
        for symbol, tape in self._tapes.items():
            if tape.trades or tape.rejected:
                trades = sorted(tape.trades, key=lambda trade: trade.traded_at)
                page = TradePage(tuple(trades), clock.unix(), rejected=tuple(tape.rejected))
                taken[symbol] = TakenTrades(page, tape.is_whole)
                self._tapes[symbol] = HeldTrades(is_whole=True)
        return taken

    def renew(self, symbol: str) -> None:
        """Discards this market's book: each book comes whole, so the next one is a new one."""
        self._books.pop(symbol, None)

    def forget(self) -> None:
        """Forgets what was asked and the books: the connection is gone."""
        self._channels = {event: Channel(wanted=channel.wanted) for event, channel in self._channels.items()}
        self._books.clear()
        for tape in self._tapes.values():
            tape.is_whole = False

    def hear(self, event: str, pair: str, frame: Mapping[str, Any]) -> None:
        """Notes a frame of one of EVENTS. What it holds is read when it is asked for."""
        channel, symbol = self._channels[event], self._symbols.get(pair)
        if symbol is None or pair not in channel.wanted:
            return
        channel.confirmed.add(pair)
        if event == BOOK:
            self._books[symbol] = frame["data"], clock.unix()
        else:
            self._note_trade(symbol, frame["data"])

    def confirm(self, message: str) -> None:
        """Notes a confirmation such as NEW_TRADE:BTCZAR; other events are none of ours."""
        event, _, pair = message.partition(":")
        if event in self._channels:
            self._channels[event].confirmed.add(pair)

    def _note_trade(self, symbol: str, row: Any) -> None:
        tape = self._tapes[symbol]
        try:
            found = trade_of(row)
        except (ValueError, TypeError, AttributeError):
            found = None
        if found is not None:
            tape.is_whole &= len(tape.trades) < MOST_HELD
            tape.trades.append(found)
        elif len(tape.rejected) < MOST_REJECTED:
            reason = "no time, price or amount that is a number"
            tape.rejected.append(RejectedRow(symbol, reason, errors.shorten(repr(row), EXCERPT_CHARACTERS)))
