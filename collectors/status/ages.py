"""Reads which sources answer old data, by kind of market; readers show those at the exchange's own time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from collectors.models import Worker
from collectors.rules.age import AnswerState, of_json
from collectors.rules.snapshot import OldAnswer
from collectors.status.workers import old_answers
from exchanges.models import Market

Source = tuple[str, str]  # exchange and kind of market


def read() -> dict[Source, OldAnswer]:
    """Returns the old answers; none, as a rule. One small query."""
    return of(Worker.objects.exclude(old_answers={}).only("exchange_id", "old_answers"))


def of(workers: Iterable[Worker]) -> dict[Source, OldAnswer]:
    """Returns the old answers of workers that have been read."""
    return {(worker.pk, answer.kind): answer for worker in workers for answer in old_answers(worker.old_answers)}


def states() -> dict[Source, AnswerState]:
    """Returns what is known of the answers of each source. One query over all workers."""
    rows = Worker.objects.exclude(answers={}).values_list("exchange_id", "answers")
    return {(exchange, kind): state for exchange, told in rows for kind, state in of_json(told).items()}


def by_market(old: Mapping[Source, OldAnswer]) -> dict[int, OldAnswer]:
    """Returns the old answers by the markets that they are of; no query where none is old."""
    if not old:
        return {}
    exchanges = {exchange for exchange, _ in old}
    markets = Market.objects.collected().filter(exchange_id__in=exchanges).values_list("id", "exchange_id", "kind")
    return {pk: old[exchange, kind] for pk, exchange, kind in markets if (exchange, kind) in old}
