"""Where an exchange keeps a ticker's numbers in its raw answers, declared: requests, rows, values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# last, bid, ask, high, low, base volume, quote volume, millisecond stamp: as sent
Values = tuple[Any, Any, Any, Any, Any, Any, Any, Any]
Row = tuple[Any, Any]  # market id and raw row


@dataclass(frozen=True, slots=True)
class Request:
    """One bulk request: ccxt's name of the endpoint, and how to get rows from its answer. Where a venue needs several,
    `part` names what this one brings, and `covers` says which markets that are."""

    endpoint: str
    rows: Callable[[Any], Iterable[Row]]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    part: str = ""
    covers: Callable[[Mapping[str, Any]], bool] = lambda market: True


def market_id(market: Mapping[str, Any]) -> Any:
    return market["id"]


@dataclass(frozen=True, slots=True)
class FieldMap:
    """`id_of` gives the id of a market that the answers' rows carry."""

    requests: Sequence[Request]
    values: Callable[[Any], Values]
    id_of: Callable[[Mapping[str, Any]], Any] = market_id
