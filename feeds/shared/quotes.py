"""The quotes of one answer as they are read: one for each market, and what was rejected on the way."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from feeds import errors
from feeds.base import BadReply, FeedError, MissingPart, Poll, Quote
from feeds.loop import Call
from feeds.shared.field_maps import FieldMap
from feeds.shared.numbers import number, seconds, side
from feeds.shared.rejections import name_of, reject

Market = Mapping[str, Any]

SHOWN_UNKNOWN_IDS = 5
UNKNOWN_ID_CHARACTERS = 60
NOTHING_KNOWN: Final[Container[Any]] = ()


def newer(one: Quote, other: Quote) -> Quote | None:
    """Returns that of two rows of one market with the newer stamp, None where no stamp tells them apart. Of two rows
    with equal values it is all the same: that which tells a time."""
    if one[:8] == other[:8] and None in (one.exchange_at, other.exchange_at):
        return one if other.exchange_at is None else other
    if one[:9] == other[:9]:
        return one
    if one.exchange_at is None or other.exchange_at is None or one.exchange_at == other.exchange_at:
        return None
    return one if one.exchange_at > other.exchange_at else other


@dataclass(slots=True)
class QuoteBatch:
    """Quotes as they come in. Of two rows of one market in one answer the newer stamp wins, and without stamps that
    differ neither is kept. A later answer replaces an earlier one, unless its own stamp is older. `known` holds the ids
    (or symbols) of the whole market list in hand: a row of none of them is counted."""

    call: Call
    wanted: Mapping[str, Market]
    known: Container[Any] = NOTHING_KNOWN
    quotes: dict[str, Quote] = field(default_factory=dict)
    missing: list[MissingPart] = field(default_factory=list)
    failures: list[FeedError] = field(default_factory=list)  # those of `missing`, in its order
    unknown_count: int = 0
    unknown_ids: dict[str, None] = field(default_factory=dict)
    made_at: float | None = None
    _contested: dict[str, Quote] = field(default_factory=dict)

    def add(self, quote: Quote) -> None:
        symbol = quote.symbol
        held = self.quotes.get(symbol)
        if held is None and symbol not in self._contested:
            self.quotes[symbol] = quote
        else:
            self._settle(quote, held or self._contested.pop(symbol), is_contested=held is None)

    def _settle(self, quote: Quote, held: Quote, *, is_contested: bool) -> None:
        symbol = quote.symbol
        if held.received_at != quote.received_at:
            is_older = None not in (held.exchange_at, quote.exchange_at) and quote.exchange_at < held.exchange_at  # type: ignore[operator]
            self.quotes[symbol] = held if is_older and not is_contested else quote
            return
        winner = newer(held, quote)
        if winner is None or (is_contested and winner is held):
            self.quotes.pop(symbol, None)
            self._contested[symbol] = held
            reject(self.call, symbol, "sent twice in one answer, without a time that tells which is newer", None)
            return
        self.quotes[symbol] = winner
        if held[:9] != quote[:9]:
            reject(self.call, symbol, "sent twice in one answer; the row with the newer time is used", None)

    def note_unknown(self, market_id: object) -> None:
        """Counts a row of a market that the list in hand does not have: a newer list may."""
        self.unknown_count += 1
        if len(self.unknown_ids) < SHOWN_UNKNOWN_IDS:
            self.unknown_ids[errors.shorten(str(market_id), UNKNOWN_ID_CHARACTERS)] = None

    def note_missing(self, part: str, error: Exception, symbols: Collection[str]) -> None:
        """Notes a part that could not be had; the rest is kept, and an exchange's wish that we wait is heeded."""
        failure = errors.from_exception(error)
        self.call.part_failed(failure)
        self.failures.append(failure)
        self.missing.append(MissingPart(part, failure.kind, str(failure), tuple(symbols)))

    def take_rows(self) -> None:
        """Takes what ccxt's parser made since the last call, whatever ccxt returned of it."""
        rows, self.call.rows = self.call.rows, []
        wanted, known = self.wanted, self.known
        for row in rows:
            symbol = row.get("symbol")
            if isinstance(symbol, str) and symbol in wanted:
                self._take(symbol, row)
            elif known is not NOTHING_KNOWN and symbol is not None and symbol not in known:
                self.note_unknown(symbol)

    def _take(self, symbol: str, row: Mapping[str, Any]) -> None:
        try:
            stamp = seconds(row.get("timestamp"))
        except (ValueError, OverflowError) as error:
            reject(self.call, symbol, error, row.get("info"))
            return
        self.add(
            Quote(
                symbol,
                row.get("last"),
                row.get("bid"),
                row.get("ask"),
                row.get("high"),
                row.get("low"),
                row.get("baseVolume"),
                row.get("quoteVolume"),
                stamp,
                self.call.answered_at,
            )
        )

    def poll(self) -> Poll:
        call = self.call
        if not self.quotes and not call.rejected:
            raise BadReply(
                f"{call.row_count} tickers came, none of the {len(self.wanted)} wanted",
                status=call.status,
                excerpt=call.body,
            )
        return Poll(
            tuple(self.quotes.values()),
            call.row_count,
            tuple(call.rejected),
            missing=tuple(self.missing),
            unknown_count=self.unknown_count,
            unknown_ids=tuple(self.unknown_ids),
            cached_seconds=call.cached_seconds,
            server_time=call.server_time,
            made_at=self.made_at,
        )


def read_rows(
    batch: QuoteBatch, rows: Iterable[tuple[Any, Any]], field_map: FieldMap, symbols: Mapping[str, str]
) -> None:
    """Reads the rows; `symbols` are those of the wanted markets by the id that the rows carry."""
    call, values_of, add, known = batch.call, field_map.values, batch.add, batch.known
    received_at = call.answered_at
    for market_id, row in rows:
        call.row_count += 1
        try:
            symbol = symbols.get(market_id)
            if symbol is None:
                if market_id is None:
                    reject(call, "", "a row without a market id", row)
                elif known is not NOTHING_KNOWN and market_id not in known:
                    batch.note_unknown(market_id)
                continue
            last, bid, ask, high, low, base_volume, quote_volume, stamp = values_of(row)
            quote = Quote(
                symbol,
                number(last),
                side(bid),
                side(ask),
                side(high),
                side(low),
                number(base_volume),
                number(quote_volume),
                seconds(stamp),
                received_at,
            )
        except (ValueError, TypeError, AttributeError, OverflowError) as error:
            reject(call, str(symbols.get(market_id, "")) if isinstance(market_id, str) else name_of(row), error, row)
            continue
        add(quote)
