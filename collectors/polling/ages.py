"""The age of each answer, by kind of market: read from the quotes that came, judged by `rules/age`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from collectors.polling import market_list
from collectors.rules import age, answer_stamps
from collectors.rules.age import AnswerFacts, AnswerState
from collectors.rules.quote_checks import QuoteRow
from feeds.base import Poll


def after_poll(
    exchange_id: str, known: Mapping[str, AnswerState], poll: Poll, rows: Sequence[QuoteRow]
) -> dict[str, AnswerState]:
    """Returns the states of an exchange's kinds of markets after a poll; those of which nothing came stay."""
    states = _of_collected(exchange_id, known)
    for kind, group in _by_kind(exchange_id, rows).items():
        stamps = [row.quote.exchange_at for row in group]
        if poll.made_at is None:
            made_at, word = age.newest(stamps), answer_stamps.spread_of(stamps)
        else:
            made_at, word = poll.made_at, answer_stamps.TOGETHER
        answer = AnswerFacts(_received_at(group), made_at, poll.cached_seconds, poll.server_time, word)
        states[kind] = age.after(states.get(kind), answer)
    return states


def after_batch(exchange_id: str, known: Mapping[str, AnswerState], rows: Sequence[QuoteRow]) -> dict[str, AnswerState]:
    """Returns the states after a batch of what a stream pushes."""
    states = _of_collected(exchange_id, known)
    counts = _market_counts(exchange_id)
    for kind, group in _by_kind(exchange_id, rows).items():
        stamps = [row.quote.exchange_at for row in group]
        word = answer_stamps.spread_of_pushed(stamps, market_count=counts.get(kind, 0))
        answer = AnswerFacts(_received_at(group), age.newest(stamps), stamps=word)
        states[kind] = age.after(states.get(kind), answer, is_pushed=True)
    return states


def _of_collected(exchange_id: str, known: Mapping[str, AnswerState]) -> dict[str, AnswerState]:
    """Returns the states of kinds that are still collected: nobody would ever find the others new again."""
    markets = market_list.last_known(exchange_id)
    if markets is None:
        return dict(known)
    kinds = set(markets.kinds.values())
    return {kind: state for kind, state in known.items() if kind in kinds}


def _by_kind(exchange_id: str, rows: Sequence[QuoteRow]) -> dict[str, Sequence[QuoteRow]]:
    markets = market_list.last_known(exchange_id)
    kinds = markets.kinds if markets is not None else {}
    if len(only := set(kinds.values())) == 1:  # as a rule: one look less at each of thousands of rows
        return {only.pop(): rows} if rows else {}
    of_kind: dict[str, list[QuoteRow]] = {}
    for row in rows:
        of_kind.setdefault(kinds.get(row.pipeline_id, ""), []).append(row)
    return {kind: group for kind, group in of_kind.items() if kind}


def _received_at(rows: Sequence[QuoteRow]) -> float:
    return max(row.quote.received_at for row in rows)


def _market_counts(exchange_id: str) -> Counter[str]:
    """Returns how many markets of each kind are collected."""
    markets = market_list.last_known(exchange_id)
    return Counter() if markets is None else Counter(markets.kinds[pk] for pk in markets.collected.values())
