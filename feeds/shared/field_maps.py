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
    """One bulk request: ccxt's name of the endpoint, and how to get rows from its answer."""

    endpoint: str
    rows: Callable[[Any], Iterable[Row]]
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FieldMap:
    requests: Sequence[Request]
    values: Callable[[Any], Values]
