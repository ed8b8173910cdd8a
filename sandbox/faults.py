"""Faults as data: which requests go wrong, how, and for how long. `delivery` and `lies` carry them out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import orjson

from sandbox.lies import CROSSED, EVERY_SYMBOL, HONEST, MISSING, Lies, Override

EVERY_EXCHANGE = "*"
# Every kind with its parameters and their defaults; a parameter that is not here is refused.
KINDS: Mapping[str, Mapping[str, Any]] = {
    # before the answer
    "delay": {"seconds": 1.0},
    "hang": {},
    "reset": {},
    # instead of the answer
    "status": {"code": 500, "retry_after": None, "retry_after_date": False, "body": None, "headers": {}},
    "html": {"status": 200, "body": "<!DOCTYPE html><html><body><h1>We will be back soon</h1></body></html>"},
    "empty": {"status": 200},
    "null": {"status": 200},
    "json": {"status": 200, "body": "{}"},
    "body": {"status": 200, "body": "", "body_base64": None, "headers": {}},
    "redirect": {"status": 302, "location": None},
    # the answer, damaged on its way
    "truncated": {"keep": 0.5},
    "short_content_length": {"missing_bytes": 100},
    "drip": {"bytes_per_second": 20.0},
    "bad_gzip": {},
    "padding": {"bytes": 10_000_000},
    # the answer, whole and untrue
    "drop_symbols": {"share": 0.0, "symbols": []},
    "override": {"symbol": EVERY_SYMBOL, "field": "last", "value": None, "raw": None, "missing": False},
    "frozen_prices": {},
    "frozen_stamps": {},
    "future_stamps": {"seconds": 300.0},
    # websockets only; a handshake meets the kinds above that come before or instead of an answer
    "ws_close": {"code": 1013},
    "ws_reset": {},
    "ws_silence": {"channels": ""},  # of the topics that this pattern finds; empty: of all, and of the connection
    "ws_broken": {},
    "ws_nan": {},
    "ws_unknown_symbol": {},
    "ws_refuse": {},
    "ws_no_answer": {},
    "ws_no_pong": {},
    "ws_burst": {"frames": 10_000},
}
LIES = frozenset({"drop_symbols", "override", "frozen_prices", "frozen_stamps", "future_stamps"})
OF_REQUESTS = frozenset(kind for kind in KINDS if not kind.startswith("ws_"))


class WrongFault(ValueError):
    """An order that was not understood; the message says why."""


@dataclass
class Fault:
    """A fault in requests of one exchange (or all, `*`) whose `host/path?query` matches, while it lasts."""

    id: int
    exchange: str
    kind: str
    params: Mapping[str, Any]
    starts_at: float
    path: str | None = None
    ends_at: float | None = None
    remaining: int | None = None
    hits: int = 0
    _pattern: re.Pattern[str] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.path is not None:
            self._pattern = _pattern(self.path)

    def is_over(self, now: float) -> bool:
        return self.remaining == 0 or (self.ends_at is not None and now >= self.ends_at)

    def meets(self, exchange: str, target: str, now: float) -> bool:
        return (
            self.exchange in (exchange, EVERY_EXCHANGE)
            and now >= self.starts_at
            and not self.is_over(now)
            and self._matches(target)
        )

    def _matches(self, target: str) -> bool:
        """Says whether the target matches: a path is a part of it as it stands, or a regular expression."""
        if self.path is None or self._pattern is None:
            return True
        return self.path in target or self._pattern.search(target) is not None

    def render(self) -> dict[str, Any]:
        names = ("id", "exchange", "kind", "path", "params", "starts_at", "ends_at", "remaining", "hits")
        return {name: getattr(self, name) for name in names}


class Faults:
    def __init__(self) -> None:
        self._faults: dict[int, Fault] = {}
        self._ids = count(1)

    def add(self, order: Mapping[str, Any], *, now: float, known: Iterable[str]) -> Fault:
        fault = _read(order, next(self._ids), now=now)
        if fault.exchange not in (EVERY_EXCHANGE, *known) and not fault.exchange.startswith("clone-"):
            raise WrongFault(f"no exchange {fault.exchange!r}; known: {', '.join(known)}, clone-<n>, *")
        self._faults[fault.id] = fault
        return fault

    def take(self, exchange: str, target: str, now: float, *, kinds: frozenset[str] = OF_REQUESTS) -> list[Fault]:
        """Returns the faults of these kinds that this request meets; each has one use less afterwards."""
        if not self._faults:
            return []
        met = [fault for fault in self._faults.values() if fault.kind in kinds and fault.meets(exchange, target, now)]
        for fault in met:
            fault.hits += 1
            if fault.remaining is not None:
                fault.remaining -= 1
        return met

    def all(self) -> list[Fault]:
        """Returns all faults; those that are over are kept, so that their hits can be read."""
        return list(self._faults.values())

    def remove(self, id_: int | None = None) -> int:
        ids = [id_] if id_ is not None else list(self._faults)
        return sum(self._faults.pop(one, None) is not None for one in ids)


def lies_of(faults: Iterable[Fault]) -> Lies:
    dropped: set[str] = set()
    share = 0.0
    values = []
    for fault in faults:
        if fault.kind == "drop_symbols":
            dropped.update(fault.params["symbols"])
            share = max(share, fault.params["share"])
        elif fault.kind == "override":
            values.append(_override(fault.params))
    return Lies(frozenset(dropped), share, tuple(values)) if dropped or share or values else HONEST


def _override(params: Mapping[str, Any]) -> Override:
    """Reads an override: `raw` goes into JSON as it is (NaN, 1e400), `value` encoded; `missing` leaves the key out."""
    value = params["value"]
    if params["missing"]:
        value = MISSING
    elif params["raw"] is not None:
        value = orjson.Fragment(params["raw"])
    return Override(params["symbol"], params["field"], value)


def _read(order: Mapping[str, Any], id_: int, *, now: float) -> Fault:
    unknown = set(order) - {"exchange", "path", "kind", "count", "for_seconds", "after_seconds", "params"}
    if unknown:
        raise WrongFault(f"unknown: {', '.join(sorted(unknown))}; parameters of a kind go into params")
    kind = order.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise WrongFault(f"no kind {kind!r}; known: {', '.join(KINDS)}")
    starts_at = now + _number(order, "after_seconds", 0.0)
    lasts = _number(order, "for_seconds", None)
    uses = _number(order, "count", None)
    path = order.get("path")
    if not isinstance(path, str | None):
        raise WrongFault(f"path is {path!r}; a part of host/path?query or a regular expression was expected")
    return Fault(
        id=id_,
        exchange=str(order.get("exchange", EVERY_EXCHANGE)),
        kind=kind,
        params=_params(kind, order.get("params") or {}),
        starts_at=starts_at,
        path=path,
        ends_at=None if lasts is None else starts_at + lasts,
        remaining=None if uses is None else int(uses),
    )


def _params(kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
    defaults = KINDS[kind]
    if kind == "override" and given.get(CROSSED):
        given = {name: value for name, value in given.items() if name != CROSSED} | {"field": CROSSED}
    unknown = set(given) - set(defaults)
    if unknown:
        raise WrongFault(f"{kind} has no {', '.join(sorted(unknown))}; it has {', '.join(defaults) or 'no parameters'}")
    for name, value in given.items():
        if not _fits(value, defaults[name]):
            raise WrongFault(f"{kind}: {name} is {value!r}; something like {defaults[name]!r} was expected")
    return {**defaults, **given}


def _fits(value: Any, default: Any) -> bool:
    """Says whether a value fits: numbers for numbers, texts for texts; where the default is null, anything goes."""
    if isinstance(default, bool):
        return isinstance(value, bool)
    if isinstance(default, int | float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return default is None or isinstance(value, type(default))


def _number(order: Mapping[str, Any], name: str, default: Any) -> Any:
    value = order.get(name, default)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or value < 0):
        raise WrongFault(f"{name} is {value!r}; a number, 0 or more, was expected")
    return value


def _pattern(path: str) -> re.Pattern[str]:
    try:
        return re.compile(path)
    except re.error:
        return re.compile(re.escape(path))
