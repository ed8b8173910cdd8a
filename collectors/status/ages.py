"""Reads which sources answer old data, by kind of market; readers show those at the exchange's own time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from collectors.models import Worker
from exchanges.models import Market

Source = tuple[str, str]  # exchange and kind of market


@dataclass(frozen=True, slots=True)
class OldAnswer:
    """The newest answer of one kind of an exchange's markets, where it is old: the exchange's own time of it, how old
    it was when it came, since when its answers are so, and why it is called old."""

    made_at: datetime
    lag_seconds: float
    since: datetime
    reason: str


def read() -> dict[Source, OldAnswer]:
    """Returns the old answers; none, as a rule. One small query."""
    rows = Worker.objects.exclude(old_answers={}).values_list("exchange_id", "old_answers")
    return {(exchange, kind): answer for exchange, old in rows for kind, answer in of_worker(old).items()}


def of_worker(old_answers: Any) -> dict[str, OldAnswer]:
    """Returns the old answers of one worker's row, by kind of market."""
    found = old_answers.items() if isinstance(old_answers, Mapping) else ()
    return {
        kind: OldAnswer(
            _moment(told["made_at"]), float(told["lag_seconds"]), _moment(told["old_since"]), str(told["reason"])
        )
        for kind, told in found
    }


def by_market(old: Mapping[Source, OldAnswer]) -> dict[int, OldAnswer]:
    """Returns the old answers by the markets that they are of; no query where none is old."""
    if not old:
        return {}
    exchanges = {exchange for exchange, _ in old}
    markets = Market.objects.collected().filter(exchange_id__in=exchanges).values_list("id", "exchange_id", "kind")
    return {pk: old[exchange, kind] for pk, exchange, kind in markets if (exchange, kind) in old}


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
