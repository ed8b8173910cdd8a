"""The protocol that every source of quotes speaks, its values, and its errors.

A feed answers or raises a FeedError; it never returns an invented value. Errors are named by what the caller does next,
so that nobody outside this package knows an exchange's or ccxt's error words.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from feeds.shared.halt_words import NOT_ACTIVE

# Kind and exchange's id of each market of a list, by the symbol that it has there.
Identities = Mapping[str, tuple[str, str]]

BOOK_MAY_REST_SECONDS = 86_400.0  # no order of a whole day: what is shown is no longer the market's


class Quote(NamedTuple):
    """One market's ticker as the exchange sent it; what it did not send is None, never derived.

    A named tuple, not a dataclass: thousands are made per second and it costs a quarter.
    Times are Unix seconds in UTC. `received_at` is our clock when the answer had arrived,
    `exchange_at` the exchange's own stamp.
    """

    symbol: str
    last: float | None
    bid: float | None
    ask: float | None
    high: float | None
    low: float | None
    base_volume: float | None
    quote_volume: float | None
    exchange_at: float | None
    received_at: float


class Candle(NamedTuple):
    """A closed or running bar; `opened_at` is the Unix second at which its period starts."""

    opened_at: float
    open: float
    high: float
    low: float
    close: float
    base_volume: float | None


class Trade(NamedTuple):
    """A public trade; `trade_id` is the exchange's, None where it gives none."""

    trade_id: str | None
    traded_at: float
    price: float
    amount: float
    side: str | None


class TradeSpan(NamedTuple):
    """Trades to ask for again: from this number on where the exchange looks up by number, else between two moments."""

    first_number: int | None
    since: float
    until: float


class TradePage(NamedTuple):
    """The trades of one answer, oldest first. `is_numbered`: the exchange counts each market's trades one by one, so
    that a number that is missing is a trade that is missing."""

    trades: tuple[Trade, ...]
    received_at: float
    is_numbered: bool = False
    rejected: tuple[RejectedRow, ...] = ()


class OrderBook(NamedTuple):
    """Price levels, best first, as (price, amount); `sequence` is the exchange's number of this state of the book.
    `repaired` levels had no amount, or the price of another level."""

    bids: tuple[tuple[float, float], ...]
    asks: tuple[tuple[float, float], ...]
    exchange_at: float | None
    received_at: float
    sequence: int | None = None
    repaired: int = 0


class FundingRate(NamedTuple):
    """The rate that holders of a perpetual pay: `rate` is due at `next_at`, then every `interval_seconds`."""

    symbol: str
    rate: float
    interval_seconds: float | None
    next_at: float | None
    mark_price: float | None
    index_price: float | None
    exchange_at: float | None
    received_at: float


@dataclass(frozen=True, slots=True)
class Listing:
    """A market as the exchange lists it. `kind` is spot, swap, future, option or prediction. `active`: it is traded;
    else `halt` is the exchange's word for why not, where it has one. One that is not `is_genuine` is another market
    than its name says: it counts as not listed."""

    symbol: str
    base: str
    quote: str
    kind: str
    venue_id: str
    active: bool
    taker_fee: float | None = None
    halt: str = ""
    is_genuine: bool = True

    @property
    def halted_because(self) -> str:
        """Returns why it is listed and not traded; empty where it is traded."""
        return "" if self.active else self.halt or NOT_ACTIVE


@dataclass(frozen=True, slots=True)
class Capabilities:
    """An exchange's abilities, as its client says; `rate_limit_ms` is the pause after a call of cost 1, on average
    over `rate_window_seconds` (None: the exchange says no such window). `needs_credentials` are those without
    which it gives not even public data."""

    name: str
    has: Mapping[str, bool]
    timeframes: tuple[str, ...]
    rate_limit_ms: float
    rate_window_seconds: float | None = None
    needs_credentials: tuple[str, ...] = ()


class RejectedRow(NamedTuple):
    """A row of an answer that could not become a Quote. `symbol` is the exchange's word where ours is unknown."""

    symbol: str
    reason: str
    excerpt: str


class MissingPart(NamedTuple):
    """Markets for which a poll brought nothing though it brought others: a kind of market or a request of its own.

    `kind` is the word of the FeedError that says why (FeedError.kind), `symbols` are the wanted markets of that part.
    """

    part: str
    kind: str
    reason: str
    symbols: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Poll:
    """All quotes of one collection run, and how many market rows the exchange's answers held.

    At most one quote per symbol. Values that are numbers but make no sense (negative, non-finite, crossed)
    are in `quotes`: judging them is not the feed's business. Of prediction markets the prices are chances of an
    outcome, from 0 to 1. `missing` is what could not be had though the rest could. `unknown_count` rows have ids that
    the market list in hand does not know; `unknown_ids` are the first of them. `cached_seconds` is the largest `Age`
    header of the answers, `server_time` their newest `Date` header in Unix seconds. `made_at` is the exchange's own
    time of the whole answer, where it says one that is not in its rows. `identities` are those of the list by which the
    rows were read: a symbol may be another market's in the next one.
    """

    quotes: tuple[Quote, ...]
    answered_count: int
    rejected: tuple[RejectedRow, ...] = ()
    prices_are_chances: bool = False
    missing: tuple[MissingPart, ...] = ()
    unknown_count: int = 0
    unknown_ids: tuple[str, ...] = ()
    cached_seconds: float | None = None
    server_time: float | None = None
    made_at: float | None = None
    identities: Identities = field(default_factory=dict)


class MarketCache(Protocol):
    """A store of parsed market lists that processes share, so that each is downloaded once an hour."""

    def load(self, key: str) -> bytes | None: ...

    def store(self, key: str, value: bytes, *, ttl_seconds: int) -> None: ...


@dataclass(frozen=True, slots=True)
class FeedSpec:
    """The way to reach one exchange. Two equal specs may share one warm client.

    `base_url` rebases every address of the exchange (https://H/P becomes base_url/H/P); `proxy` is an
    ordinary CONNECT proxy for REST and websocket; `ca_file` a PEM bundle to trust instead of the system's. With
    `public_only` nothing is connected to on a private network, whatever its name was when it was entered.
    `markets_digest` names the market list to go by; empty where any will do.
    """

    exchange_id: str
    base_url: str = ""
    proxy: str = ""
    ca_file: str = ""
    credentials: Mapping[str, str] = field(default_factory=dict, hash=False)
    public_only: bool = False
    markets_digest: str = field(default="", compare=False)


class Feed(Protocol):
    """A source of market data. Every call is bounded by `deadline_seconds`, whatever the exchange does.

    `may_call`, where given, is asked before every single request; when it answers False the call ends
    with Superseded and no further request leaves this process.
    """

    @property
    def capabilities(self) -> Capabilities: ...

    def load_markets(
        self, *, deadline_seconds: float, may_call: MayCall | None = None, accept: AcceptMarkets | None = None
    ) -> tuple[Listing, ...]:
        """Asks the venue, whatever is known. The list is used and shared only when `accept` has returned; what it
        raises is raised, and the list before stays."""
        ...

    def recall_markets(self) -> bool:
        """Takes over the list that the spec names from the cache, without a request; False where it is not there."""
        ...

    def identities(self) -> Identities:
        """Returns those of the list in hand; empty before there is one. The same object until the list changes."""
        ...

    def fetch_quotes(
        self, symbols: Collection[str], *, deadline_seconds: float, may_call: MayCall | None = None
    ) -> Poll: ...

    def fetch_candles(
        self,
        symbol: str,
        *,
        timeframe: str,
        since: float | None,
        limit: int | None,
        deadline_seconds: float,
        may_call: MayCall | None = None,
    ) -> tuple[Candle, ...]: ...

    def fetch_trades(
        self,
        symbol: str,
        *,
        since: float | None,
        limit: int | None,
        deadline_seconds: float,
        may_call: MayCall | None = None,
    ) -> tuple[Trade, ...]: ...

    def fetch_trade_page(
        self,
        symbol: str,
        *,
        span: TradeSpan | None,
        limit: int,
        deadline_seconds: float,
        may_call: MayCall | None = None,
    ) -> TradePage:
        """Returns the newest trades, or with a span those in it, as many as one request gives."""
        ...

    def fetch_order_book(
        self, symbol: str, *, depth: int, deadline_seconds: float, may_call: MayCall | None = None
    ) -> OrderBook: ...

    def fetch_funding(
        self, symbols: Collection[str], *, deadline_seconds: float, may_call: MayCall | None = None
    ) -> tuple[FundingRate, ...]:
        """Returns the rates of those symbols that the exchange answered for; raises BadReply if there are none."""
        ...

    def fetch_balance(
        self, *, deadline_seconds: float, may_call: MayCall | None = None
    ) -> Mapping[str, Mapping[str, Any]]: ...

    def ping(self, *, deadline_seconds: float, may_call: MayCall | None = None) -> None:
        """Sends the cheapest call that proves the exchange answers (time, status or one ticker); raises FeedError."""
        ...


MayCall = Callable[[], bool]
AcceptMarkets = Callable[[Sequence[Listing], str], object]  # with the list's digest; raises where it is refused


class FeedError(Exception):
    """A call that brought no data.

    `status` is the HTTP status if there was one, `excerpt` the first 500 characters of the body. With
    `retry_after_seconds` the exchange has said when it may be asked again (maintenance that ends then, say).
    """

    kind = "failed"
    obstacle = ""  # a word of feeds.obstacles.Obstacle, where the exchange could not even answer

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        excerpt: str = "",
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.excerpt = excerpt[:500]
        self.retry_after_seconds = retry_after_seconds


class Throttled(FeedError):
    """The exchange asks us to wait: no retry, not before `retry_after_seconds` (None: it did not say). `banned`: this
    address is shut out, and each further request may prolong that."""

    kind = "throttled"

    def __init__(self, message: str, *, banned: bool = False, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.banned = banned


class Unreachable(FeedError):
    """Nothing usable came in time: network, timeout, 5xx, maintenance. One retry is worth a try."""

    kind = "unreachable"


class BadReply(FeedError):
    """An answer that is no data: HTML, empty, broken, far too few rows. Asking again at once is useless."""

    kind = "bad_reply"


class Denied(FeedError):
    """Something that needs a human: key, permission, region, certificate."""

    kind = "denied"


class NotConnected(Denied):
    """A connection that we refused to make: the exchange has no part in it. Needs a human as well."""

    kind = "not_connected"
    obstacle = "private"


class Unsupported(FeedError):
    """Something that this exchange cannot do, or a market that it does not know. Not the exchange's failure."""

    kind = "unsupported"


class Superseded(FeedError):
    """A call that `may_call` ended: an operator stopped or restarted this exchange while the call was running."""

    kind = "superseded"
