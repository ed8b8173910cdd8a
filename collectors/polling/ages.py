"""The age of each answer, by kind of market: read from the quotes that came, judged by `rules/age`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from collectors.polling import market_list
from collectors.rules import age
from collectors.rules.age import AnswerFacts, AnswerState
from collectors.rules.quote_checks import QuoteRow
from feeds.base import Poll


def after_poll(
    exchange_id: str, known: Mapping[str, AnswerState], poll: Poll, rows: Sequence[QuoteRow]
) -> dict[str, AnswerState]:
    """Returns the states of an exchange's kinds of markets after a poll; those of which nothing came stay."""
    states = _of_collected(exchange_id, known)
    for kind, (made_at, received_at) in _newest_by_kind(exchange_id, rows).items():
        made_at = poll.made_at if poll.made_at is not None else made_at
        answer = AnswerFacts(received_at, made_at, poll.cached_seconds, poll.server_time)
        states[kind] = age.after(states.get(kind), answer)
    return states


def after_batch(exchange_id: str, known: Mapping[str, AnswerState], rows: Sequence[QuoteRow]) -> dict[str, AnswerState]:
    """Returns the states after a batch of what a stream pushes."""
    states = _of_collected(exchange_id, known)
    for kind, (made_at, received_at) in _newest_by_kind(exchange_id, rows).items():
        states[kind] = age.after(states.get(kind), AnswerFacts(received_at, made_at), is_pushed=True)
    return states


def _of_collected(exchange_id: str, known: Mapping[str, AnswerState]) -> dict[str, AnswerState]:
    """Returns the states of kinds that are still collected: nobody would ever find the others new again."""
    markets = market_list.last_known(exchange_id)
    if markets is None:
        return dict(known)
    kinds = set(markets.kinds.values())
    return {kind: state for kind, state in known.items() if kind in kinds}


def _newest_by_kind(exchange_id: str, rows: Sequence[QuoteRow]) -> dict[str, tuple[float | None, float]]:
    """Returns by kind the newest stamp of the rows, and when they were received."""
    markets = market_list.last_known(exchange_id)
    kinds = markets.kinds if markets is not None else {}
    of_kind: dict[str, list[QuoteRow]] = {}
    if len(only := set(kinds.values())) == 1:  # as a rule: one look less at each of thousands of rows
        of_kind[only.pop()] = list(rows)
    else:
        for row in rows:
            of_kind.setdefault(kinds.get(row.pipeline_id, ""), []).append(row)
    return {
        kind: (age.newest(row.quote.exchange_at for row in group), max(row.quote.received_at for row in group))
        for kind, group in of_kind.items()
        if kind and group
    }
