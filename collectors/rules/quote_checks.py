"""Is this quote fit to be stored? Judged from the quote alone, so that no bad past can poison the judgement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import NamedTuple

from feeds.base import Quote, RejectedRow
from feeds.shared.quotes import newer

OLDEST_STAMP = 1_230_768_000.0  # 2009-01-01: before the first Bitcoin block a stamp is a unit error
STAMP_MAY_LEAD_SECONDS = 900.0  # venues' clocks were seen minutes ahead; seconds-for-milliseconds is years
RANGE_TOLERANCE = 1.5  # a last price half beyond its own 24 h range is a spike or another unit
MID_TOLERANCE = 5.0  # thin books are wide, but not by a factor of five


class QuoteRow(NamedTuple):
    """A quote that may be stored, with its pipeline's number."""

    pipeline_id: int
    quote: Quote


@dataclass(frozen=True, slots=True)
class JudgedQuotes:
    """`repaired` names accepted rows that are stored without a part that made no sense: their stamp."""

    accepted: tuple[QuoteRow, ...]
    rejected: tuple[RejectedRow, ...]
    repaired: tuple[RejectedRow, ...] = ()


def judge(quotes: Iterable[Quote], pipelines: Mapping[str, int], *, are_chances: bool = False) -> JudgedQuotes:
    """Sorts quotes into rows by pipeline number and rejections. Of two quotes of one market the one with the newer
    stamp counts, and neither where no stamp tells. A stamp that cannot be right is left out and the price kept."""
    find_fault = chance_fault if are_chances else fault
    accepted: dict[int, QuoteRow] = {}
    rejected: list[RejectedRow] = []
    repaired: list[RejectedRow] = []
    contested: set[int] = set()
    for quote in quotes:
        pipeline_id = pipelines.get(quote.symbol)
        if pipeline_id is None:
            continue  # not a market that we collect
        if stamp_fault := _stamp_fault(quote):
            repaired.append(RejectedRow(quote.symbol[:100], stamp_fault, _excerpt(quote)))
            quote = quote._replace(exchange_at=None)
        held = accepted.get(pipeline_id)
        reason = find_fault(quote)
        if reason:
            rejected.append(RejectedRow(quote.symbol[:100], reason, _excerpt(quote)))
        elif held is None and pipeline_id not in contested:
            accepted[pipeline_id] = QuoteRow(pipeline_id, quote)
        elif held is not None and (winner := newer(held.quote, quote)) is not None:
            accepted[pipeline_id] = QuoteRow(pipeline_id, winner)
        else:
            contested.add(pipeline_id)
            accepted.pop(pipeline_id, None)
            rejected.append(RejectedRow(quote.symbol[:100], "two values and no time that tells", _excerpt(quote)))
    return JudgedQuotes(tuple(accepted[key] for key in sorted(accepted)), tuple(rejected), tuple(repaired))


def fault(quote: Quote) -> str:
    """Why this quote must not be stored; empty when it may."""
    return _price_fault(quote) or _volume_fault(quote) or _range_fault(quote)


def chance_fault(quote: Quote) -> str:
    """The same for a chance from 0 to 1. Its last trade may be days old and far from today's bid and ask."""
    above = next((price for price in (quote.last, quote.bid, quote.ask) if price is not None and price > 1), None)
    if above is not None:
        return "a chance above 1"
    return _price_fault(quote) or _volume_fault(quote)


def _price_fault(quote: Quote) -> str:
    last, bid, ask = quote.last, quote.bid, quote.ask
    if last is None and (bid is None or ask is None) and not (_is_option(quote) and (bid or ask)):
        return "no price"
    for name, value in (("last", last), ("bid", bid), ("ask", ask)):
        if value is not None and not (isfinite(value) and value > 0):
            return f"{name} is not a positive number"
    if bid is not None and ask is not None and bid > ask:
        return "bid above ask"
    return ""


def _stamp_fault(quote: Quote) -> str:
    stamp = quote.exchange_at
    if stamp is None:
        return ""
    if not OLDEST_STAMP <= stamp <= quote.received_at + STAMP_MAY_LEAD_SECONDS:
        return "implausible exchange time"
    return ""


def _volume_fault(quote: Quote) -> str:
    for name, value in (("base volume", quote.base_volume), ("quote volume", quote.quote_volume)):
        if value is not None and not (isfinite(value) and value >= 0):
            return f"{name} is not a number from zero up"
    return ""


def _range_fault(quote: Quote) -> str:
    last, high, low = quote.last, quote.high, quote.low
    for name, value in (("high", high), ("low", low)):
        if value is not None and not isfinite(value):
            return f"{name} is not a number"
    if last is None:
        return ""
    if high is not None and 0 < high * RANGE_TOLERANCE < last:  # a high of nothing was not told
        return "last far above its own 24 h high"
    if low is not None and last * RANGE_TOLERANCE < low:
        return "last far below its own 24 h low"
    if quote.bid and quote.ask and not _is_option(quote):
        middle = (quote.bid + quote.ask) / 2
        if not middle / MID_TOLERANCE <= last <= middle * MID_TOLERANCE:
            return "last far from bid and ask"
    return ""


def _is_option(quote: Quote) -> bool:
    """Its last trade may be days old and far from a live book, and a book of one side is all that there is."""
    return quote.symbol[-2:] in ("-C", "-P") and ":" in quote.symbol


def _excerpt(quote: Quote) -> str:
    return f"last={quote.last} bid={quote.bid} ask={quote.ask} at={quote.exchange_at}"
