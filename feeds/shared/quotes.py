"""The quotes of one answer as they are read: one for each market, and what was rejected on the way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from feeds.base import BadReply, Poll, Quote
from feeds.loop import Call
from feeds.shared.field_maps import FieldMap
from feeds.shared.numbers import number, seconds, side
from feeds.shared.rejections import name_of, reject

Market = Mapping[str, Any]


@dataclass(slots=True)
class QuoteBatch:
    """Quotes as they come in. Two rows for one market cannot both be right: the last is kept, the other reported."""

    call: Call
    wanted: Mapping[str, Market]
    quotes: dict[str, Quote] = field(default_factory=dict)

    def add(self, quote: Quote) -> None:
        if quote.symbol in self.quotes:
            reject(self.call, quote.symbol, "sent twice in one answer; the later row is used", None)
        self.quotes[quote.symbol] = quote

    def take_rows(self) -> None:
        """What ccxt's parser made since the last call, whatever ccxt returned of it."""
        rows, self.call.rows = self.call.rows, []
        for row in rows:
            symbol = row.get("symbol")
            if isinstance(symbol, str) and symbol in self.wanted:
                self._take(symbol, row)

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
        return Poll(tuple(self.quotes.values()), call.row_count, tuple(call.rejected))


def read_rows(
    batch: QuoteBatch, rows: Iterable[tuple[Any, Any]], field_map: FieldMap, symbols: Mapping[str, str]
) -> None:
    call, values_of, add = batch.call, field_map.values, batch.add
    received_at = call.answered_at
    for market_id, row in rows:
        call.row_count += 1
        try:
            symbol = symbols.get(market_id)
            if symbol is None:
                if market_id is None:
                    reject(call, "", "a row without a market id", row)
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
